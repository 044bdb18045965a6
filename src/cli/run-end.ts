import type { OutputEvent } from '../model/attribution.js';

/** The end of a live run: asked for by the user, a bound, a reader that left, or a failure; once. */
export class RunEnd {
  /** Resolves when the end is asked for; rejects with what failed. */
  readonly promise: Promise<void>;
  private resolve: () => void = () => undefined;
  private reject: (error: unknown) => void = () => undefined;

  constructor(signals: readonly AbortSignal[]) {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    for (const signal of signals) {
      if (signal.aborted) this.resolve();
      else signal.addEventListener('abort', () => this.resolve(), { once: true });
    }
  }

  ask(): void {
    this.resolve();
  }

  fail(error: unknown): void {
    this.reject(error);
  }
}

/** After the last connection that was asked for, its outcome is waited for this long. */
const OUTCOME_MS = 1_500;

/** `--count N`: enough when N connections were shown and each is said to its outcome, or that takes too long. */
export class Quota {
  private readonly wanted: number;
  private readonly shown = new Set<string>();
  private readonly open = new Set<string>();
  private full: number | undefined;

  constructor(wanted: number | undefined) {
    this.wanted = wanted ?? Number.POSITIVE_INFINITY;
  }

  /** Takes what was shown. */
  take(events: readonly OutputEvent[]): void {
    if (this.wanted === Number.POSITIVE_INFINITY) return;
    for (const event of events) {
      if (event.type !== 'attribution' && event.type !== 'close') continue;
      const { connection, outcome } = event.attribution;
      if (!this.shown.has(connection) && this.shown.size < this.wanted) this.shown.add(connection);
      if (!this.shown.has(connection)) continue;
      if (outcome === 'open') this.open.add(connection);
      else this.open.delete(connection);
    }
  }

  enough(nowMs: number): boolean {
    if (this.shown.size < this.wanted) return false;
    this.full ??= nowMs;
    return this.open.size === 0 || nowMs - this.full > OUTCOME_MS;
  }
}
