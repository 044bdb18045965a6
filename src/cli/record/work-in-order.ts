import type { Steps } from '../../decode/rules/steps.js';

/** One turn of the event loop does no more than about this: packets wait no longer for it. */
const SLICE_MS = 4;
/** More memory than this is not given to what waits: it is then done at once, however long that takes. */
const MAX_WAITING_BYTES = 128 * 1024 * 1024;

/** What is done at once, or gives steps to be done. */
type Work = () => Steps<void> | undefined;

interface Waiting {
  readonly work: Work;
  readonly bytes: number;
}

/**
 * Work that is done in the order in which it is added, right away as long as none of it is long. What is long is done in slices
 * of the event loop's time, and what is added meanwhile waits behind it. What work throws comes out of the next call, and
 * none is done any more.
 */
export class WorkInOrder {
  private waiting: Waiting[] = [];
  /** Those before this one are done. */
  private next = 0;
  private bytes = 0;
  private steps: Steps<void> | undefined;
  private turn: NodeJS.Immediate | undefined;
  private failure: { readonly error: unknown } | undefined;

  /** Nothing waits: what is added is done before `add` returns, if it gives no steps. */
  get isIdle(): boolean {
    this.check();
    return this.turn === undefined;
  }

  /** `bytes`: about what it holds while it waits. */
  add(work: Work, bytes = 0): void {
    this.check();
    this.waiting.push({ work, bytes });
    this.bytes += bytes;
    if (this.bytes > MAX_WAITING_BYTES) this.finish();
    else if (this.turn === undefined) this.slice();
  }

  /** Does all that is left. */
  finish(): void {
    this.check();
    clearImmediate(this.turn);
    this.turn = undefined;
    let more = true;
    while (more) more = this.step();
  }

  private slice(): void {
    const until = performance.now() + SLICE_MS;
    this.turn = undefined;
    while (this.step()) {
      if (performance.now() < until) continue;
      this.turn = setImmediate(() => {
        try {
          this.slice();
        } catch (error) {
          this.failure = { error };
        }
      });
      return;
    }
  }

  /** false: there was nothing to do. */
  private step(): boolean {
    if (this.steps !== undefined) {
      if (this.steps.next().done) this.steps = undefined;
      return true;
    }
    const next = this.waiting[this.next++];
    if (next === undefined) {
      this.waiting = [];
      this.next = 0;
      return false;
    }
    this.bytes -= next.bytes;
    this.steps = next.work();
    return true;
  }

  private check(): void {
    if (this.failure !== undefined) throw this.failure.error;
  }
}
