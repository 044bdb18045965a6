/** First wait after a failure; doubled at each further one. */
const FIRST_MS = 500;
/** Longest wait: what a user who has just repaired the network will put up with. */
const LONGEST_MS = 30_000;

/**
 * How long to wait after each failure in a row. Half of each wait is chance, so that the watchers of
 * many nodes do not come back to a restarted API server in step.
 */
export class Backoff {
  private readonly random: () => number;
  private nextMs = FIRST_MS;

  constructor(random: () => number) {
    this.random = random;
  }

  next(): number {
    const ms = this.nextMs;
    this.nextMs = Math.min(LONGEST_MS, ms * 2);
    return Math.round(ms * (0.5 + this.random() / 2));
  }

  reset(): void {
    this.nextMs = FIRST_MS;
  }
}
