const UNITS: readonly (readonly [string, number])[] = [
  ['s', 1e9],
  ['ms', 1e6],
  ['µs', 1e3],
];

/** A duration for people: `850ns`, `1.2ms`, `310µs`, `75s`: two digits at least, at most five columns up to a day. */
export function humanDuration(ns: number): string {
  for (const [unit, size] of UNITS) {
    if (ns < size) continue;
    const value = ns / size;
    return `${value < 9.95 ? value.toFixed(1) : Math.round(value)}${unit}`;
  }
  return `${Math.round(ns)}ns`;
}

/** `12,345`: the same everywhere, whatever the locale. */
export function humanCount(count: number): string {
  return String(count).replace(/\B(?=(?:\d{3})+$)/g, ',');
}
