import type { Nanos } from '../model/time.js';

/** The time of day, to the millisecond: for what a source says of itself (losses, notices). */
export function wallClock(ms: number = Date.now()): Nanos {
  return BigInt(ms) * 1_000_000n;
}
