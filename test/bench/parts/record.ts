import { labUnavailable } from '../../../src/lab/available.js';
import { createChurnLab } from '../churn-lab.js';
import type { Context, Part } from '../context.js';
import { figureOf } from '../figure.js';
import { tcpdumpRecord, type Written, whichpodRecord } from '../observers.js';
import { judged, type Measured, type PartReport, type Row, ratioOf } from '../report.js';

const LOAD = { connections: 60_000, perSecond: 10_000 };
const QUICK_LOAD = { connections: 100, perSecond: 200 };
/** Live runs take long and load the whole machine. */
const ROUNDS = 3;

export const record: Part = {
  name: 'record',
  purpose: 'a node that is recorded: bytes, CPU and loss, beside tcpdump writing the same packets',
  needs: ['tcpdump'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const { connections, perSecond } = context.quick ? QUICK_LOAD : LOAD;
  const report = {
    part: 'record',
    input: `${connections} connections at ${perSecond}/s from two Pods to a Service with two, each reset by its client as soon as it stands`,
    runs: [],
  };
  const unavailable = labUnavailable({ ruleBackend: 'iptables-nft' });
  if (unavailable !== undefined) return { ...report, rows: [], skipped: [unavailable] };
  const node = await createChurnLab(context.scratch);
  try {
    const observers = [whichpodRecord(context, node), tcpdumpRecord(context, node)];
    const written: Written[][] = observers.map(() => []);
    const rates: number[] = [];
    let all = 0;
    for (let round = 0; round < Math.min(context.rounds, ROUNDS); round++) {
      for (const [i, { name, watch }] of observers.entries()) {
        const it = await watch(async () => {
          const churned = await node.churn(connections, perSecond);
          rates.push(churned.perSecond);
          all = churned.connections;
        });
        written[i]?.push(it);
        context.say(
          `  ${name}: ${it.cpuSeconds.toFixed(2)} s CPU, ${Math.round(it.bytes / all)} bytes a connection; ${it.remark}`,
        );
      }
    }
    const [ours = [], peer = []] = written;
    const [mine = '', theirs = ''] = observers.map(({ name }) => name);
    const remark = `${Math.round(figureOf(rates).median)} connections/s reached; ${ours.at(-1)?.remark ?? ''}; peer: ${peer.at(-1)?.remark ?? ''}`;
    const compared = (id: string, unit: Measured['unit'], value: (it: Written) => number): Row => {
      const told = (what: string, of: readonly Written[]): Measured => ({
        what,
        unit,
        figure: figureOf(of.map(value)),
      });
      const row = { ours: told(mine, ours), peer: told(theirs, peer) };
      return { id, ...row, ratio: ratioOf(row.ours, row.peer), remark };
    };
    const rows: Row[] = [
      { ...compared('bytes', 'bytes', (it) => it.bytes / all), target: 'bytes per connection' },
      {
        ...compared('cpu', 's', (it) => (it.cpuSeconds / all) * 1e6),
        target: 'CPU per million connections',
      },
      judged(
        {
          id: 'loss',
          target: 'nothing lost, all attributed when the file is replayed',
          ours: {
            what: 'connections missing or too many, losses, dropped packets',
            unit: 'count',
            figure: figureOf(ours.map((it) => it.wrong(all))),
          },
          remark,
        },
        { side: 'at most', value: 0 },
        figureOf(ours.map((it) => it.wrong(all))).max,
      ),
    ];
    return { ...report, rows, skipped: [] };
  } finally {
    await node.close();
  }
}
