import { NANOS_PER_SECOND } from '../../model/time.js';

/** A moment in the two words of a row. */
export interface Stamp {
  /** Whole seconds since 1970, kept within 32 unsigned bits: what lies outside is moved to the border. */
  seconds: number;
  /** 0 to 999,999,999. */
  nanoseconds: number;
}

const LAST_SECOND = 0xffff_ffff;
/** Up to so many units a second their number fits into 31 bits, as the division below needs. */
const MAX_FAST_UNITS = NANOS_PER_SECOND;
/** From here on seconds do not fit into 32 bits. */
const FAR = 0x1_0000_0000;

/**
 * How a pcapng interface counts time: `if_tsresol` and `if_tsoffset` (draft-ietf-opsawg-pcapng,
 * section 4.2).
 */
export class TimeScale {
  /** A time stamp is a multiple of this many ns: rounded up, at least 1. */
  readonly resolutionNs: number;
  private readonly offsetSeconds: number;
  /** Units a second where 32 bits hold what is left of a division by them, else 0 and `units` counts. */
  private readonly fastUnits: number;
  private readonly nanosPerUnit: number;
  private readonly units: bigint;
  /** Where the second of the last time stamp began (`high` -1: not known), and that second: times of one second come together. */
  private high = -1;
  private low = 0;
  private seconds = 0;

  /**
   * `tsresol`: negative power of 10, or of 2 with the highest bit set. `offsetSeconds` is added to
   * every time; beyond 2^53 it is not exact, and far outside of what a row can hold.
   */
  constructor(tsresol: number, offsetSeconds: number) {
    const power = tsresol & 0x7f;
    this.units = (tsresol & 0x80) === 0 ? 10n ** BigInt(power) : 1n << BigInt(power);
    this.offsetSeconds = offsetSeconds;
    const units = Number(this.units);
    // A power of ten divides 10^9; others would have to multiply beyond 2^53.
    this.fastUnits = units <= MAX_FAST_UNITS && NANOS_PER_SECOND % units === 0 ? units : 0;
    this.nanosPerUnit = NANOS_PER_SECOND / units;
    this.resolutionNs = Math.max(1, Math.ceil(NANOS_PER_SECOND / units));
  }

  /** The moment of a time stamp's two words, rounded down to ns. */
  read(high: number, low: number, into: Stamp): void {
    if (high === this.high && low >= this.low && low - this.low < this.fastUnits) {
      into.seconds = this.seconds;
      into.nanoseconds = (low - this.low) * this.nanosPerUnit;
      return;
    }
    this.divide(high, low, into);
  }

  private divide(high: number, low: number, into: Stamp): void {
    let seconds: number;
    let nanoseconds: number;
    const units = this.fastUnits;
    // Right or one too much: the sum is rounded by less than a second, and whole seconds are not rounded
    // at all (5^9 times 32 bits fit into a double), so no sum is rounded to below one.
    const about = units === 0 ? FAR : Math.floor((high * 0x1_0000_0000 + low) / units);
    if (about < FAR) {
      // What is left lies between -units and units: its lower 32 bits are all of it.
      let rest = (low - Math.imul(about, units)) | 0;
      seconds = about;
      if (rest < 0) {
        rest += units;
        seconds--;
      }
      nanoseconds = rest * this.nanosPerUnit;
      // Below 0 where the second began before the low word did: the differences are right all the same.
      this.high = high;
      this.low = low - rest;
    } else {
      const time = (BigInt(high) << 32n) | BigInt(low);
      seconds = Number(time / this.units);
      nanoseconds = Number(((time % this.units) * BigInt(NANOS_PER_SECOND)) / this.units);
    }
    into.seconds = seconds + this.offsetSeconds;
    into.nanoseconds = nanoseconds;
    clampStamp(into);
    this.seconds = into.seconds;
    if (into.seconds !== seconds + this.offsetSeconds) this.high = -1;
  }
}

/** Brings a moment into what a row can hold; nanoseconds of a second or more are carried over. */
export function clampStamp(stamp: Stamp): void {
  if (stamp.nanoseconds >= NANOS_PER_SECOND) {
    stamp.seconds += Math.floor(stamp.nanoseconds / NANOS_PER_SECOND);
    stamp.nanoseconds %= NANOS_PER_SECOND;
  }
  if (stamp.seconds < 0) {
    stamp.seconds = 0;
    stamp.nanoseconds = 0;
  } else if (stamp.seconds > LAST_SECOND) {
    stamp.seconds = LAST_SECOND;
    stamp.nanoseconds = NANOS_PER_SECOND - 1;
  }
}
