import { filter, firstValueFrom, lastValueFrom, map, reduce, Subject, take, tap } from 'rxjs';
import { Correlator } from '../../../src/correlate/correlator.js';
import { CLUSTER_KINDS } from '../../../src/model/cluster.js';
import type { InputEvent } from '../../../src/model/event.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { watchCluster } from '../../../src/sources/cluster/watch.js';
import { longestBlock } from './event-loop.js';
import { askWithPacket } from './first-packet.js';

interface ClusterJob {
  readonly kubeconfig: string;
  /** So many come on the watches when everything was listed twice. */
  readonly changes: number;
}

interface ClusterResult {
  readonly seconds: number;
  /** The longest that the event loop stood still: while all was listed, listed again, and changes came. */
  readonly blockMs: number;
  readonly againMs: number;
  readonly changesMs: number;
  /** After a collection of garbage, everything known. */
  readonly residentMegabytes: number;
  readonly objects: number;
}

/** Lists a cluster as `live` does, into the machine; then what was listed has expired, so again; then changes come. */
export async function job({ kubeconfig, changes }: ClusterJob): Promise<ClusterResult> {
  // Loading the client takes its time before anything is captured; what is asked is what listing costs.
  await import('@kubernetes/client-node');
  const machine = new Correlator({ interfaces: new Interfaces(), baseSeconds: 0 });
  const events = new Subject<InputEvent>();
  const lists = (again: boolean) =>
    events.pipe(
      map((event) => itemsOf(event, again)),
      filter((items) => items !== undefined),
      take(CLUSTER_KINDS.length),
      reduce((sum, items) => sum + items.length, 0),
    );
  const listed = firstValueFrom(lists(false));
  const listedAgain = firstValueFrom(lists(true));
  const changed = lastValueFrom(
    events.pipe(
      filter((event) => event.type === 'cluster' && event.change.op !== 'list'),
      take(changes),
    ),
  );
  const start = performance.now();
  const first = await longestBlock(async () => {
    const subscription = watchCluster({ kubeconfig })
      .pipe(tap((event) => machine.push(event)))
      .subscribe(events);
    const objects = await listed;
    await askWithPacket(machine);
    return { seconds: (performance.now() - start) / 1000, objects, subscription };
  });
  const { seconds, objects, subscription } = first.result;
  const again = await longestBlock(async () => {
    await listedAgain;
    await askWithPacket(machine);
  });
  globalThis.gc?.();
  const residentMegabytes = process.memoryUsage.rss() / 2 ** 20;
  const watched = await longestBlock(async () => {
    await changed;
    await askWithPacket(machine);
  });
  subscription.unsubscribe();
  return {
    seconds,
    blockMs: first.blockMs,
    againMs: again.blockMs,
    changesMs: watched.blockMs,
    residentMegabytes,
    objects,
  };
}

/** Of a list; only a later one than the first has a time. */
function itemsOf(event: InputEvent, again: boolean): readonly unknown[] | undefined {
  if (event.type !== 'cluster' || event.change.op !== 'list') return undefined;
  return (event.time !== undefined) === again ? event.change.items : undefined;
}
