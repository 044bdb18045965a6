/**
 * Work that may be interrupted wherever it yields, and does no more than a few ms between: who must not be
 * held up by it lets something else happen there.
 */
export type Steps<T> = Generator<undefined, T>;

/** What there is in the end, without interruption. */
export function drain<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}
