import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { LabOptions } from '../../src/lab/spec.js';
import type { TruthRow } from '../../src/lab/traffic-client.js';
import { score } from '../support/score.js';
import { inNodeLab, type NodeLab, nodeState } from './node-lab.js';
import { buildProgram, endAll, type Said, Whichpod } from './program.js';

/** Whether a line is the last word on a connection, or the first. */
const spoken = (line: Said): boolean => line.type === 'attribution';

let node: NodeLab;

beforeAll(() => {
  if (process.platform === 'linux') buildProgram();
});

afterEach(endAll);

const inLab = (shape: Pick<LabOptions, 'layout' | 'ruleBackend' | 'chainNames'>): void =>
  inNodeLab(shape, (made) => {
    node = made;
  });

function live(...args: string[]): Whichpod {
  return new Whichpod(
    ['live', '--objects', node.objects, '-o', 'ndjson', ...args],
    node.lab.enter('node'),
  );
}

/** How long a connection whose evidence has not come may still get it, before the run is ended and scored as it is. */
const STRAGGLERS_MS = 4_000;

/** Complaints that a failure shows; more of the same kind explain no more. */
const SHOWN = 8;

/** Runs live while `traffic` is sent; ends it as Ctrl-C does, when each connection was named or it is too late. */
async function watched(
  args: readonly string[],
  traffic: () => Promise<readonly (readonly TruthRow[])[]>,
): Promise<{ truth: readonly TruthRow[]; run: Whichpod; code: number | null }> {
  const run = live(...args);
  await run.watching();
  const truth = (await traffic()).flat();
  const named = new Set<unknown>();
  const all = run.said.until((line) => {
    if (spoken(line)) named.add(line['connection']);
    return named.size >= truth.length;
  });
  for (const line of run.said.all) if (spoken(line)) named.add(line['connection']);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, STRAGGLERS_MS);
  });
  if (named.size < truth.length) await Promise.race([all, late]);
  all.catch(() => undefined);
  clearTimeout(timer);
  run.signal('SIGINT');
  const { code } = await run.ended;
  return { truth, run, code };
}

/** Two thirds to the Service whose port is its Pods', one third to the one whose port is translated too. */
const MIX = [
  ['shop/web', 2 / 3],
  ['shop/api', 1 / 3],
] as const;

function churn(connections: number, perSecond: number): Promise<readonly (readonly TruthRow[])[]> {
  return Promise.all(
    MIX.map(([to, share]) =>
      node.lab.churn({
        from: 'client',
        to,
        connections: Math.round(connections * share),
        concurrency: 64,
        perSecond: perSecond * share,
      }),
    ),
  );
}

const CASES = [
  {
    shape: { layout: 'bridge', ruleBackend: 'iptables-nft', chainNames: 'current' },
    runs: [
      ['ring', 'netlink'],
      ['ring', 'none'],
      ['ring', 'list'],
      ['cap', 'none'],
    ],
  },
  {
    shape: { layout: 'routed', ruleBackend: 'iptables-legacy', chainNames: '1.19' },
    runs: [
      ['ring', 'auto'],
      ['ring', 'events'],
      ['ring', 'none'],
      ['cap', 'netlink'],
    ],
  },
] as const;

describe.each<(typeof CASES)[number]>(CASES)(
  'live on a $shape.layout node with $shape.ruleBackend',
  ({ shape, runs }) => {
    inLab(shape);

    it.each<readonly [string, string]>(runs)(
      'names the Pod of each of 2,000 connections: %s, conntrack %s',
      async (...how) => {
        const [backend, conntrack] = how;
        const { truth, run, code } = await watched(
          ['--backend', backend, '--conntrack', conntrack],
          () => churn(2_000, backend === 'cap' ? 500 : 1_000),
        );
        expect(truth.length).toBe(2_000);
        // conntrack 1.4.7 keeps 170 events for a program that must wait for a processor, whatever it is asked for.
        const expected = conntrack === 'events' ? { lossy: 'netlink' } : {};
        expect(score(truth, run.said.all, expected).slice(0, SHOWN)).toEqual([]);
        expect(code).toBe(130);
      },
    );

    it('tells uses of one tuple apart', async () => {
      const { truth, run } = await watched(['--conntrack', 'netlink'], async () => [
        await node.lab.churn({
          from: 'client',
          to: 'shop/web',
          connections: 60,
          concurrency: 1,
          sourcePorts: { first: 20_000, size: 4 },
        }),
      ]);
      expect(new Set(truth.map((row) => row.sport)).size).toBe(4);
      expect(score(truth, run.said.all).slice(0, SHOWN)).toEqual([]);
    });

    it.each(['netlink', 'none'])('names the Pod of each UDP flow: conntrack %s', async (how) => {
      const { truth, run } = await watched(['--conntrack', how], async () => [
        await node.lab.request({
          from: 'client',
          to: 'shop/dns',
          protocol: 'udp',
          count: 200,
          concurrency: 8,
          perSecond: 400,
          // The same port again would be the same flow, as long as conntrack keeps it.
          sourcePorts: { first: how === 'none' ? 21_000 : 22_000, size: 200 },
        }),
      ]);
      expect(score(truth, run.said.all).slice(0, SHOWN)).toEqual([]);
    });

    it.each(['netlink', 'events'])(
      'knows the peer that the Pod sees when the node itself asks: conntrack %s',
      async (how) => {
        const { truth, run } = await watched(['--conntrack', how], async () => [
          await node.lab.churn({ from: 'node', to: 'shop/api', connections: 100, concurrency: 4 }),
        ]);
        const masqueraded = truth.filter((row) => row.seenSrc !== row.src);
        expect(masqueraded.length).toBe(truth.length);
        expect(score(truth, run.said.all).slice(0, SHOWN)).toEqual([]);
      },
    );

    it.each(['netlink', 'none'])(
      'says which Pod refused, and that nobody stands behind a Service: conntrack %s',
      async (how) => {
        const send = (to: string): Promise<readonly TruthRow[]> =>
          node.lab.churn({
            from: 'client',
            to,
            connections: 20,
            concurrency: 2,
            sourcePorts: { first: 30_000, size: 1_000 },
          });
        const { truth, run } = await watched(['--conntrack', how], async () => [
          (await send('shop/deaf')).map(withSource),
        ]);
        expect(truth.every((row) => row.err === 'ECONNREFUSED')).toBe(true);
        const refused = { failed: { verdict: 'attributed', outcome: 'refused' } };
        expect(score(truth, run.said.all, refused).slice(0, SHOWN)).toEqual([]);

        const rejected = await watched(['--conntrack', how], async () => [
          (await send('shop/empty')).map(withSource),
        ]);
        expect(
          score(rejected.truth, rejected.run.said.all, {
            failed: { verdict: 'unattributed', reason: 'no-endpoints', outcome: 'rejected' },
          }),
        ).toEqual([]);
      },
    );

    it('changes nothing on the node, and no interface becomes promiscuous', async () => {
      const before = await nodeState(node.lab);
      const run = live('--backend', 'ring', '--conntrack', 'netlink');
      await run.watching();
      const during = await nodeState(node.lab);
      await node.lab.churn({ from: 'client', to: 'shop/web', connections: 10 });
      run.signal('SIGINT');
      await run.ended;
      const throughCap = live('--backend', 'cap', '--conntrack', 'events');
      await throughCap.watching();
      const duringCap = await nodeState(node.lab);
      throughCap.signal('SIGINT');
      await throughCap.ended;
      expect(before).toMatch(/KUBE-SVC-\w+ .*KUBE-SEP-/);
      expect(before).toMatch(/^1: lo\npromiscuity 0$/m);
      expect(during).toBe(before);
      expect(duringCap).toBe(before);
      expect(await nodeState(node.lab)).toBe(before);
    });
  },
);

/** A connection that was never made does not know its own address: it can only be the client's. */
function withSource(row: TruthRow): TruthRow {
  const src = node.lab.options.pods.find((pod) => pod.name === row.from)?.ip;
  return src === undefined ? row : { src, ...row };
}
