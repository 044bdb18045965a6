import { labUnavailable } from '../../../src/lab/available.js';
import { type ChurnLab, createChurnLab } from '../churn-lab.js';
import { type Context, type Part, pause } from '../context.js';
import { type Figure, figureOf } from '../figure.js';
import { type Latencies, measureLatency, type Shares } from '../latency.js';
import {
  capAlone,
  conntrackEvents,
  type Observed,
  type Observer,
  tcpdumpLive,
  whichpodLive,
  whichpodLiveUnread,
} from '../observers.js';
import { judged, type PartReport, type Row, ratioOf } from '../report.js';

/** CPU s per million connections, output included. */
const CPU_PER_MILLION = 1.5;

/** µs: at once while it is quiet, coalesced above. */
const LATENCIES = [
  { perSecond: 2_000, p50: 150, p99: 1_500 },
  { perSecond: 10_000, p50: 1_500, p99: 5_000 },
] as const;

interface Load {
  readonly name: string;
  readonly connections: number;
  readonly perSecond?: number;
}

const STEADY: Load = { name: '10 k/s', connections: 150_000, perSecond: 10_000 };
const MOST: Load = { name: 'as fast as it goes', connections: 150_000 };
const QUICK_STEADY: Load = { name: '200/s', connections: 100, perSecond: 200 };
const QUICK_MOST: Load = { name: 'as fast as it goes', connections: 200 };
const LATENCY_SECONDS = 5;
/** After so many V8 has compiled what it will compile; then it works off what waits. */
const WARM_UP: Load = { name: 'warm-up', connections: 60_000, perSecond: 10_000 };
const WORK_OFF_MS = 5_000;
const QUICK_LATENCY = { connections: 100, perSecond: 200 };

/** Live runs take long and load the whole machine. */
const ROUNDS = 3;

export const live: Part = {
  name: 'live',
  purpose: 'a node in network namespaces under connections, beside tcpdump and conntrack -E',
  needs: ['tcpdump', 'conntrack'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const report = {
    part: 'live',
    input:
      'Connections from two Pods to a Service with two, each reset by its client as soon as it stands; clients, servers, node and observer share the processors',
    runs: [],
  };
  const unavailable = labUnavailable({ ruleBackend: 'iptables-nft' });
  if (unavailable !== undefined) return { ...report, rows: [], skipped: [unavailable] };
  const node = await createChurnLab(context.scratch);
  try {
    const rounds = Math.min(context.rounds, ROUNDS);
    const few = { ...context, rounds };
    const rows = [
      ...(await cpuRows(few, node, context.quick ? QUICK_STEADY : STEADY, CPU_PER_MILLION)),
      ...(await cpuRows(few, node, context.quick ? QUICK_MOST : MOST)),
      ...(await latencyRows(few, node)),
    ];
    return { ...report, rows, skipped: [] };
  } finally {
    await node.close();
  }
}

/** What each observer uses and sees of the same load, in turn. */
async function cpuRows(
  context: Context,
  node: ChurnLab,
  load: Load,
  target?: number,
): Promise<Row[]> {
  const observers: readonly Observer[] = [
    whichpodLiveUnread(context, node),
    whichpodLive(context, node),
    tcpdumpLive(context, node),
    conntrackEvents(context, node),
    capAlone(context, node),
  ];
  const observed: Observed[][] = observers.map(() => []);
  const rates: number[] = [];
  let connections = 0;
  for (let round = 0; round < context.rounds; round++) {
    for (const [i, observer] of observers.entries()) {
      let rate = 0;
      const it = await observer.watch(async () => {
        const churned = await node.churn(load.connections, load.perSecond);
        rate = churned.perSecond;
        connections = churned.connections;
      });
      observed[i]?.push(it);
      if (i === 0) rates.push(rate);
      context.say(
        `  ${observer.name}, ${load.name}: ${it.cpuSeconds.toFixed(2)} s CPU at ${Math.round(rate)}/s; ${it.remark}`,
      );
    }
  }
  const [ours = [], checked = [], ...peers] = observed;
  const perMillion = (all: readonly Observed[]): Figure =>
    figureOf(all.map((it) => (it.cpuSeconds / connections) * 1e6));
  const reached = `${Math.round(figureOf(rates).median)} connections/s reached`;
  const told = (i: number, all: readonly Observed[]) =>
    ({ what: observers[i]?.name ?? '', unit: 's', figure: perMillion(all) }) as const;
  const mine = told(0, ours);
  const rows = peers.map((all, i): Row => {
    const peer = told(i + 2, all);
    const ratio = ratioOf(mine, peer);
    const { times } = observers[i + 2] ?? {};
    const words = times === undefined ? `at most ${target} s` : `at least ${times}x less`;
    const row: Row = {
      id: `cpu-${load.name}-${i}`,
      target: `CPU per million connections, ${load.name}${target === undefined ? '' : `: ${words}`}`,
      ours: mine,
      peer,
      ratio,
      remark: `${reached}; peer: ${all.at(-1)?.remark ?? ''}`,
    };
    if (target === undefined) return row;
    return times === undefined
      ? judged(row, { side: 'at most', value: target })
      : judged(row, { side: 'at least', value: times }, ratio);
  });
  const lost = figureOf(checked.map((it) => it.wrong(connections)));
  rows.push(
    judged(
      {
        id: `loss-${load.name}`,
        target: `nothing lost, all attributed, ${load.name}`,
        ours: {
          what: 'connections missing or too many, losses, dropped packets',
          unit: 'count',
          figure: lost,
        },
        remark: `${checked.at(-1)?.remark ?? ''}; into a file, for which it takes ${perMillion(checked).median.toFixed(1)} s a million`,
      },
      { side: 'at most', value: 0 },
      lost.max,
    ),
  );
  return rows;
}

async function latencyRows(context: Context, node: ChurnLab): Promise<Row[]> {
  const rows: Row[] = [];
  for (const { perSecond, p50, p99 } of context.quick ? LATENCIES.slice(0, 1) : LATENCIES) {
    const load = context.quick
      ? QUICK_LATENCY
      : { connections: perSecond * LATENCY_SECONDS, perSecond };
    const measured: Latencies[] = [];
    const rates: number[] = [];
    const some = async (times: string): Promise<void> => {
      rates.push((await node.churn(load.connections, load.perSecond, times)).perSecond);
    };
    const between = async (times: string): Promise<void> => {
      const more = WARM_UP.connections - load.connections;
      if (more > 0) await node.churn(more, WARM_UP.perSecond, times);
      await pause(WORK_OFF_MS);
    };
    const traffic = context.quick ? { cold: some } : { cold: some, between, warm: some };
    for (let round = 0; round < context.rounds; round++) {
      const one = await measureLatency(context, node, traffic);
      measured.push(one);
      const words = ({ p50: half, p99: tail }: Shares): string =>
        `p50 ${Math.round(half)} µs, p99 ${Math.round(tail)} µs`;
      context.say(
        `  latency at ${Math.round(rates.at(-1) ?? 0)}/s: ${words(one.cold)}; warm ${words(one.warm)}`,
      );
    }
    const reached = `${Math.round(figureOf(rates).median)} connections/s reached`;
    const row = (when: 'cold' | 'warm', name: 'p50' | 'p99', most: number): Row =>
      judged(
        {
          id: `latency-${perSecond}-${name}-${when}`,
          target: `connect to line at ${perSecond}/s, ${name}: at most ${most} µs`,
          ours: {
            what: `${name}, ${when === 'cold' ? 'of the first connections it sees' : `after ${WARM_UP.connections} others`}`,
            unit: 'us',
            figure: figureOf(measured.map((one) => one[when][name])),
          },
          remark: reached,
        },
        { side: 'at most', value: most },
      );
    for (const when of context.quick ? (['cold'] as const) : (['cold', 'warm'] as const)) {
      rows.push(row(when, 'p50', p50), row(when, 'p99', p99));
    }
  }
  return rows;
}
