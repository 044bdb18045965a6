import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { FakeApiServer, RESOURCES } from '../../support/fake-api-server.js';
import { writeKubeconfig } from '../../support/kubeconfig.js';
import type { Context, Part } from '../context.js';
import { figureOf } from '../figure.js';
import { type ApiObject, endpointSlices, pods, services } from '../generate/objects.js';
import type { World } from '../generate/world.js';
import { inTurn, runOf } from '../in-turn.js';
import { judged, type Measured, type PartReport, ratioOf } from '../report.js';
import { runJob } from '../run-job.js';

/** 10,000 Pods, 5,000 Services. */
const WORLD: World = { services: 5_000, endpointsEach: 2, clients: 0 };
const QUICK_WORLD: World = { services: 50, endpointsEach: 2, clients: 0 };

/** On the watches, of all three kinds in turn. */
const CHANGES = 600;
const QUICK_CHANGES = 12;
const CHANGES_PER_SECOND = 200;

const MEGABYTES = 200;
const BLOCK_MS = 20;

export const cluster: Part = {
  name: 'cluster',
  purpose: 'a large cluster listed and watched, beside the same lists parsed and kept',
  needs: [],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const world = context.quick ? QUICK_WORLD : WORLD;
  const server = await FakeApiServer.start();
  try {
    load(server, world);
    return await measure(context, world, server);
  } finally {
    await server.stop();
  }
}

async function measure(context: Context, world: World, server: FakeApiServer): Promise<PartReport> {
  const { url } = server;
  const folder = join(context.scratch, 'cluster');
  mkdirSync(folder, { recursive: true });
  const kubeconfig = writeKubeconfig(folder, { server: url, user: {} });
  const objects = world.services * (world.endpointsEach + 2);
  const names = ['cluster source to the machine', 'lists parsed and kept'] as const;
  const told = names.map(() => ({ seconds: [], blockMs: [], residentMegabytes: [] }) as Told);
  const keep = <R extends Awaited<ReturnType<typeof plain>>>(at: number, run: R): R => {
    if (run.result.objects !== objects) {
      throw new Error(`${names[at]}: ${run.result.objects} of ${objects} objects were read`);
    }
    told[at]?.seconds.push(run.result.seconds);
    told[at]?.blockMs.push(run.result.blockMs);
    told[at]?.residentMegabytes.push(run.result.residentMegabytes);
    return run;
  };
  const again: number[] = [];
  const changed: number[] = [];
  const plain = () => runJob('cluster-plain', { url });
  const [ours = [], kept = []] = await inTurn(context, [
    {
      name: names[0],
      run: async () => {
        const changes = context.quick ? QUICK_CHANGES : CHANGES;
        const expired = { do: 'status', status: 410 } as const;
        for (const resource of RESOURCES) server.fail(resource, 'watch', expired);
        const running = runJob('cluster', { kubeconfig, changes });
        const stop = sendChanges(server, world, changes);
        const done = await running.finally(stop);
        again.push(done.result.againMs);
        changed.push(done.result.changesMs);
        return keep(0, done);
      },
    },
    { name: names[1], run: async () => keep(1, await plain()) },
  ]);
  const figure = (at: number, field: keyof Told): Measured['figure'] =>
    figureOf((told[at]?.[field] ?? []).slice(-ours.length));
  const pair = (field: keyof Told, unit: Measured['unit'], what: string) => {
    const mine: Measured = { what, unit, figure: figure(0, field) };
    const peer: Measured = { what: names[1], unit, figure: figure(1, field) };
    return { ours: mine, peer, ratio: ratioOf(mine, peer) };
  };
  return {
    part: 'cluster',
    input: `${world.services * world.endpointsEach} Pods, ${world.services} Services, ${world.services} EndpointSlices from an API server in the benchmark's own process`,
    rows: [
      judged(
        {
          id: 'memory',
          target: `at most ${MEGABYTES} MB resident`,
          ...pair('residentMegabytes', 'MB', 'everything listed'),
        },
        { side: 'at most', value: MEGABYTES },
      ),
      judged(
        {
          id: 'block',
          target: `the event loop stands still for at most ${BLOCK_MS} ms`,
          ...pair('blockMs', 'ms', 'longest'),
          remark: 'traffic is watched only after it',
        },
        { side: 'at most', value: BLOCK_MS },
      ),
      ...(
        [
          ['block-again', 'listed again after a watch expired', again],
          ['block-changes', `${CHANGES_PER_SECOND} changes a second`, changed],
        ] as const
      ).map(([id, when, ms]) =>
        judged(
          {
            id,
            target: `the event loop stands still for at most ${BLOCK_MS} ms, ${when}`,
            ours: { what: 'longest', unit: 'ms', figure: figureOf(ms.slice(-ours.length)) },
          },
          { side: 'at most', value: BLOCK_MS },
        ),
      ),
      { id: 'time', ...pair('seconds', 's', 'until everything is known') },
    ],
    runs: [runOf(names[0], ours), runOf(names[1], kept)],
    skipped: [],
  };
}

interface Told {
  readonly seconds: number[];
  readonly blockMs: number[];
  readonly residentMegabytes: number[];
}

/** Begins when everything was listed twice and is watched; what it gives back ends it. */
function sendChanges(server: FakeApiServer, world: World, changes: number): () => void {
  const kinds = [
    ['pods', 'Pod', pods(world, [4])],
    ['services', 'Service', services(world, [4])],
    ['endpointslices', 'EndpointSlice', endpointSlices(world, [4])],
  ] as const;
  const sent: ApiObject[] = [];
  let due = 0;
  const timer = setInterval(() => {
    if (RESOURCES.some((resource) => server.watching(resource) === 0)) return;
    due += CHANGES_PER_SECOND / 100;
    while (sent.length < Math.min(due, changes)) {
      const [resource, kind, objects] = kinds[sent.length % kinds.length] ?? kinds[0];
      const { value } = objects.next();
      if (value === undefined) throw new Error(`there are no more ${resource} to change`);
      sent.push(value);
      // The server gives it the next version.
      const { resourceVersion: _, ...metadata } = value.metadata;
      server.change(resource, 'MODIFIED', { ...value, kind, metadata });
    }
    if (sent.length >= changes) clearInterval(timer);
  }, 10);
  return () => clearInterval(timer);
}

function load(server: FakeApiServer, world: World): void {
  const metadata = { resourceVersion: '1000' };
  server.load('pods', { metadata, items: [...pods(world, [4])] });
  server.load('services', { metadata, items: [...services(world, [4])] });
  server.load('endpointslices', { metadata, items: [...endpointSlices(world, [4])] });
  server.load('nodes', { metadata, items: [] });
}
