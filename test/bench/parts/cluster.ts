import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { FakeApiServer } from '../../support/fake-api-server.js';
import { writeKubeconfig } from '../../support/kubeconfig.js';
import type { Context, Part } from '../context.js';
import { figureOf } from '../figure.js';
import { endpointSlices, pods, services } from '../generate/objects.js';
import type { World } from '../generate/world.js';
import { inTurn, runOf } from '../in-turn.js';
import { judged, type Measured, type PartReport, ratioOf } from '../report.js';
import { runJob } from '../run-job.js';

/** 10,000 Pods, 5,000 Services. */
const WORLD: World = { services: 5_000, endpointsEach: 2, clients: 0 };
const QUICK_WORLD: World = { services: 50, endpointsEach: 2, clients: 0 };

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
    return await measure(context, world, server.url);
  } finally {
    await server.stop();
  }
}

async function measure(context: Context, world: World, url: string): Promise<PartReport> {
  const folder = join(context.scratch, 'cluster');
  mkdirSync(folder, { recursive: true });
  const kubeconfig = writeKubeconfig(folder, { server: url, user: {} });
  const objects = world.services * (world.endpointsEach + 2);
  const names = ['cluster source to the machine', 'lists parsed and kept'] as const;
  const told = names.map(() => ({ seconds: [], blockMs: [], residentMegabytes: [] }) as Told);
  const keep = (at: number, run: Awaited<ReturnType<typeof plain>>): typeof run => {
    if (run.result.objects !== objects) {
      throw new Error(`${names[at]}: ${run.result.objects} of ${objects} objects were read`);
    }
    told[at]?.seconds.push(run.result.seconds);
    told[at]?.blockMs.push(run.result.blockMs);
    told[at]?.residentMegabytes.push(run.result.residentMegabytes);
    return run;
  };
  const plain = () => runJob('cluster-plain', { url });
  const [ours = [], kept = []] = await inTurn(context, [
    { name: names[0], run: async () => keep(0, await runJob('cluster', { kubeconfig })) },
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

function load(server: FakeApiServer, world: World): void {
  const metadata = { resourceVersion: '1000' };
  server.load('pods', { metadata, items: [...pods(world, [4])] });
  server.load('services', { metadata, items: [...services(world, [4])] });
  server.load('endpointslices', { metadata, items: [...endpointSlices(world, [4])] });
  server.load('nodes', { metadata, items: [] });
}
