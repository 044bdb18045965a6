import { Correlator } from '../../../src/correlate/correlator.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { watchCluster } from '../../../src/sources/cluster/watch.js';
import { longestBlock } from './event-loop.js';

interface ClusterJob {
  readonly kubeconfig: string;
}

interface ClusterResult {
  readonly seconds: number;
  readonly blockMs: number;
  /** After a collection of garbage, everything known. */
  readonly residentMegabytes: number;
  readonly objects: number;
}

/** Lists a cluster as `live` does, into the machine. */
export async function job({ kubeconfig }: ClusterJob): Promise<ClusterResult> {
  // Loading the client takes its time before anything is captured; what is asked is what listing costs.
  await import('@kubernetes/client-node');
  const machine = new Correlator({ interfaces: new Interfaces(), baseSeconds: 0 });
  let objects = 0;
  const { result, blockMs } = await longestBlock(async () => {
    const start = performance.now();
    const subscription = await new Promise<{ unsubscribe(): void }>((resolve, reject) => {
      const watching = watchCluster({ kubeconfig }).subscribe({
        next: (event) => {
          machine.push(event);
          if (event.type === 'cluster' && event.change.op === 'list') {
            objects += event.change.items.length;
          }
          if (event.type === 'notice' && event.notice.code === 'cluster-listed') resolve(watching);
        },
        error: reject,
      });
    });
    return { seconds: (performance.now() - start) / 1000, subscription };
  });
  globalThis.gc?.();
  const residentMegabytes = process.memoryUsage.rss() / 2 ** 20;
  result.subscription.unsubscribe();
  return { seconds: result.seconds, blockMs, residentMegabytes, objects };
}
