import { expect, test } from 'vitest';
import { systemTiming } from '../../../src/sources/cluster/timing.js';

const HOUR_MS = 3_600_000;

test('a wait ends when it is no longer wanted', async () => {
  const ended = new AbortController();
  const waiting = systemTiming.wait(HOUR_MS, ended.signal);
  ended.abort();
  await waiting;
  await systemTiming.wait(HOUR_MS, ended.signal);
});

test('a wait ends after its time', async () => {
  await systemTiming.wait(1, new AbortController().signal);
});

test('a guard runs once, and not at all when it was cancelled', async () => {
  let runs = 0;
  await new Promise<void>((resolve) => {
    const cancelled = systemTiming.guard(1, () => runs++);
    cancelled.cancel();
    const guard = systemTiming.guard(2, () => {
      runs++;
      resolve();
    });
    guard.restart();
  });
  expect(runs).toBe(1);
});

test('the clock counts nanoseconds since 1970', () => {
  const before = BigInt(Date.now()) * 1_000_000n;
  expect(systemTiming.now()).toBeGreaterThanOrEqual(before);
});
