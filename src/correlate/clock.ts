import { NANOS_PER_SECOND, type Nanos, nanosOf } from '../model/time.js';

/**
 * The run's scale of time: nanoseconds as a double, counted from a base second. Exact to the
 * nanosecond within 104 days of the base, to 4 ns within a year.
 */
export class Clock {
  private readonly base: Nanos;
  private readonly baseSeconds: number;

  constructor(baseSeconds: number) {
    this.baseSeconds = baseSeconds;
    this.base = nanosOf(baseSeconds, 0);
  }

  /** From two words of a row. */
  at(seconds: number, nanoseconds: number): number {
    return (seconds - this.baseSeconds) * NANOS_PER_SECOND + nanoseconds;
  }

  relative(time: Nanos): number {
    return Number(time - this.base);
  }

  absolute(relative: number): Nanos {
    return this.base + BigInt(relative);
  }
}
