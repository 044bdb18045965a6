import { monitorEventLoopDelay } from 'node:perf_hooks';

/** The histogram's clock ticks this often: a block shows as what exceeds it. */
const RESOLUTION_MS = 1;

/** Does something and tells how long the event loop was held up by it at most, in ms. */
export async function longestBlock<T>(
  work: () => Promise<T>,
): Promise<{ readonly result: T; readonly blockMs: number }> {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  histogram.enable();
  // What blocks at once would else come before the first tick.
  await new Promise((resolve) => setTimeout(resolve, 10 * RESOLUTION_MS));
  histogram.reset();
  const result = await work();
  await new Promise((resolve) => setTimeout(resolve, 10 * RESOLUTION_MS));
  histogram.disable();
  return { result, blockMs: histogram.max / 1e6 };
}
