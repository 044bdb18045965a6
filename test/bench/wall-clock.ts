/** Turns of the millisecond that are waited for. */
const TURNS = 5;

/**
 * What must be added to `performance.now()` to get milliseconds since 1970 by the clock that the kernel
 * stamps packets with, to a few microseconds. `Date.now()` counts whole milliseconds, so its turns are
 * watched; who notices one late gets too little, so the greatest counts. Blocks for some milliseconds.
 */
export function wallClockOffset(): number {
  let greatest = Number.NEGATIVE_INFINITY;
  for (let turn = 0; turn < TURNS; turn++) {
    const before = Date.now();
    let now = before;
    while (now === before) now = Date.now();
    greatest = Math.max(greatest, now - performance.now());
  }
  return greatest;
}
