import { NANOS_PER_SECOND, type Nanos, nanosOf } from '../model/time.js';

const TWO_32 = 0x1_0000_0000;

/**
 * The run's scale of time: nanoseconds as a double, counted from a base second. Exact to the
 * nanosecond within 104 days of the base, to 4 ns within a year.
 */
export class Clock {
  private readonly base: Nanos;
  private readonly baseSeconds: number;
  private readonly baseLow: number;
  private readonly baseHigh: number;

  constructor(baseSeconds: number) {
    this.baseSeconds = baseSeconds;
    this.base = nanosOf(baseSeconds, 0);
    this.baseLow = Number(BigInt.asUintN(32, this.base));
    this.baseHigh = Number(BigInt.asIntN(32, this.base >> 32n));
  }

  /** From two words of a row. */
  at(seconds: number, nanoseconds: number): number {
    return (seconds - this.baseSeconds) * NANOS_PER_SECOND + nanoseconds;
  }

  relative(time: Nanos): number {
    return Number(time - this.base);
  }

  /** The 64 bits of a moment since 1970, low word first; zeros for none. No bigint is made. */
  split(relative: number | undefined, into: Uint32Array): void {
    if (relative === undefined) {
      into.fill(0);
      return;
    }
    const high = Math.floor(relative / TWO_32);
    const low = relative - high * TWO_32 + this.baseLow;
    into[0] = low;
    into[1] = this.baseHigh + high + (low >= TWO_32 ? 1 : 0);
  }

  absolute(relative: number): Nanos {
    return this.base + BigInt(relative);
  }
}
