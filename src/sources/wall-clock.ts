import type { Nanos } from '../model/time.js';

/** The time of day, to the millisecond: for what a source says of itself (losses, notices). */
export function wallClock(): Nanos {
  return BigInt(Date.now()) * 1_000_000n;
}
