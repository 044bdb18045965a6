import { cpuTimeMs } from './cpu-time.js';

/** What readings may take of a core in the long run. */
const SHARE = 0.05;
/**
 * CPU time that may be spent ahead of it: a dozen readings of a small node's rules one after the other. A
 * reading that costs more is paid for by rest before the next one.
 */
const AHEAD_MS = 500;

/** CPU time for reading rules: shared by all who read some, it holds for all of them together. */
export class Budget {
  private readonly now: () => number;
  private readonly spentMs: () => number | undefined;
  private credit = AHEAD_MS;
  private creditAt: number;

  /** `spentMs`: CPU time spent so far; where it is not known, the time that readings take counts. */
  constructor(now: () => number = Date.now, spentMs: () => number | undefined = cpuTimeMs) {
    this.now = now;
    this.spentMs = spentMs;
    this.creditAt = now();
  }

  /** A reading begins; call what is returned at its end. */
  begin(): () => void {
    const started = this.now();
    const before = this.spentMs();
    return () => {
      const took = this.now() - started;
      const after = this.spentMs();
      // Programs run one at a time, so what others of the process do meanwhile is not charged beyond that.
      const cost = before === undefined || after === undefined ? took : after - before;
      this.refill();
      this.credit -= Math.min(took, cost);
    };
  }

  /** How long to wait for the next reading. */
  restMs(): number {
    this.refill();
    return Math.max(0, -this.credit / SHARE);
  }

  private refill(): void {
    const now = this.now();
    this.credit = Math.min(AHEAD_MS, this.credit + SHARE * Math.max(0, now - this.creditAt));
    this.creditAt = now;
  }
}
