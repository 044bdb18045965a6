import type { Nanos } from '../../model/time.js';

/** Clock, chance and timers of the cluster source: parameters, so that tests need not wait. */
export interface Timing {
  /** The wall clock. */
  now(): Nanos;
  /** In [0, 1). */
  random(): number;
  /** Resolves after so many ms, or at once when the signal is aborted; never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>;
  /** Calls `run` once when so many ms have gone by without `restart`. */
  guard(ms: number, run: () => void): Guard;
}

interface Guard {
  restart(): void;
  cancel(): void;
}

const NANOS_PER_MILLISECOND = 1_000_000n;

export const systemTiming: Timing = {
  now: () => BigInt(Date.now()) * NANOS_PER_MILLISECOND,
  random: () => Math.random(),
  wait: (ms, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) {
        resolve();
        return;
      }
      const done = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener('abort', done);
    }),
  guard: (ms, run) => {
    const timer = setTimeout(run, ms);
    return {
      restart: () => {
        timer.refresh();
      },
      cancel: () => clearTimeout(timer),
    };
  },
};
