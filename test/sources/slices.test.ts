import { expect, test } from 'vitest';
import { inSlices } from '../../src/sources/slices.js';

function* count(to: number, stepMs: number): Generator<undefined, number> {
  for (let i = 0; i < to; i++) {
    const until = performance.now() + stepMs;
    while (performance.now() < until);
    yield;
  }
  return to;
}

test('long work gives its result and lets other things happen meanwhile', async () => {
  let turns = 0;
  let isOver = false;
  const turn = (): void => {
    turns++;
    if (!isOver) setImmediate(turn);
  };
  setImmediate(turn);
  expect(await inSlices(count(40, 1), new AbortController().signal)).toBe(40);
  isOver = true;
  // 40 ms of work in slices of some 4 ms.
  expect(turns).toBeGreaterThanOrEqual(5);
});

test('work without a step in between is done at once', async () => {
  let isTurned = false;
  setImmediate(() => {
    isTurned = true;
  });
  expect(await inSlices(count(0, 0), new AbortController().signal)).toBe(0);
  expect(isTurned).toBe(false);
});

test('work that is no longer wanted is left', async () => {
  const abort = new AbortController();
  const work = inSlices(count(1_000_000, 1), abort.signal);
  setImmediate(() => abort.abort());
  expect(await work).toBeUndefined();
});
