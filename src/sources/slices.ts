import type { Steps } from '../decode/rules/steps.js';

/** One turn of the event loop does no more than about this: packets wait no longer for it. */
const SLICE_MS = 2;

/**
 * Does long work step by step: whenever it yields and its slice of time is used up, the event loop turns.
 * `undefined` if the signal was aborted before the end; the work is left where it was.
 */
export async function inSlices<T>(steps: Steps<T>, signal: AbortSignal): Promise<T | undefined> {
  let until = performance.now() + SLICE_MS;
  for (;;) {
    if (signal.aborted) return undefined;
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() < until) continue;
    await nextTurn();
    until = performance.now() + SLICE_MS;
  }
}

/** Resolves when the event loop has turned. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Gives each who asks a turn of the event loop of its own: pieces of work that become due together do not add up. */
export class Turns {
  private last: Promise<void> = Promise.resolve();

  next(): Promise<void> {
    this.last = this.last.then(nextTurn);
    return this.last;
  }
}
