import { longestBlock } from './event-loop.js';

interface PlainJob {
  readonly url: string;
}

interface PlainResult {
  readonly seconds: number;
  readonly blockMs: number;
  readonly residentMegabytes: number;
  readonly objects: number;
}

const LISTS = [
  '/api/v1/pods',
  '/api/v1/services',
  '/apis/discovery.k8s.io/v1/endpointslices',
  '/api/v1/nodes',
];

/** The same lists each in one request, parsed and kept as they are: how an informer's store begins. */
export async function job({ url }: PlainJob): Promise<PlainResult> {
  const kept: unknown[] = [];
  const { result: seconds, blockMs } = await longestBlock(async () => {
    const start = performance.now();
    for (const path of LISTS) {
      const response = await fetch(`${url}${path}`);
      const { items } = (await response.json()) as { items: unknown[] };
      for (const item of items) kept.push(item);
    }
    return (performance.now() - start) / 1000;
  });
  globalThis.gc?.();
  const residentMegabytes = process.memoryUsage.rss() / 2 ** 20;
  return { seconds, blockMs, residentMegabytes, objects: kept.length };
}
