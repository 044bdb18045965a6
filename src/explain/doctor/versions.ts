/** Compares `1.8.9` with `1.8.10`: negative, 0 or positive; parts that are missing count as 0. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) =>
    text.split('.').map((part) => Number.parseInt(part, 10)),
  );
  const parts = Math.max(left?.length ?? 0, right?.length ?? 0);
  for (let i = 0; i < parts; i++) {
    const difference = (left?.[i] || 0) - (right?.[i] || 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
