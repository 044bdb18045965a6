import type { Context, Part } from '../context.js';
import { figureOf } from '../figure.js';
import { judged, type PartReport, type Row } from '../report.js';
import { runJob } from '../run-job.js';
import { allowedMegabytes } from './recordings.js';

const BYTES_EACH = 100;
const OPEN = 1_000_000;
/** Well above what the machine has room for from the start. */
const QUICK_OPEN = 20_000;

const WAVES = 10;
const QUICK_WAVES = 3;
/** A fifth of the connections: ten waves of all would take minutes and show no more. */
const WAVE_SHARE = 0.2;
/** Between the waves after the first, when all tables have their size, and the last ones. */
const GROWTH = 1.1;
/** What is resident jumps by V8's young generation (50 MB), kept or given back: several waves together tell more than one. */
const COMPARED = 4;

export const memory: Part = {
  name: 'memory',
  purpose: 'bytes of an open connection, and what is left when all have ended, wave after wave',
  needs: [],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const open = context.quick ? QUICK_OPEN : OPEN;
  const waves = context.quick ? QUICK_WAVES : WAVES;
  const rows: Row[] = [];
  for (const describes of [false, true]) {
    context.say(`  ${open} open connections, ${wordFor(describes)}`);
    const { result } = await runJob('memory', { connections: open, waves: 1, describes });
    check(result.attributed, open);
    rows.push(...openRows(open, describes, result));
  }
  const each = open * WAVE_SHARE;
  for (const describes of [false, true]) {
    context.say(`  ${waves} waves of ${each} connections, ${wordFor(describes)}`);
    const { result } = await runJob('memory', { connections: each, waves, describes });
    check(result.attributed, each * waves);
    rows.push(growthRow(each, describes, result));
  }
  return {
    part: 'memory',
    input:
      'Connections as rows into the machine in one process: 100 Services with 10 Pods each, SYN and SYN-ACK on both sides, later FINs, then 300 s without packets',
    rows,
    runs: [],
    skipped: [],
  };
}

const wordFor = (describes: boolean): string => (describes ? 'described' : 'counted');

type Result = Awaited<ReturnType<typeof runJob<'memory'>>>['result'];

function openRows(open: number, describes: boolean, result: Result): Row[] {
  const how = describes ? 'rows of output' : 'summary';
  const allowed = allowedMegabytes(open);
  const after = result.afterMegabytes[0] ?? Number.NaN;
  return [
    judged(
      {
        id: `bytes-${wordFor(describes)}`,
        target: `at most ${BYTES_EACH} B of an open connection`,
        ours: {
          what: `heap and buffers, ${how}`,
          unit: 'bytes',
          figure: figureOf([result.bytesEach]),
        },
        remark: `${open} open`,
      },
      { side: 'at most', value: BYTES_EACH },
    ),
    judged(
      {
        id: `resident-${wordFor(describes)}`,
        target: `at most ${Math.round(allowed)} MB resident with ${open} open`,
        ours: { what: how, unit: 'MB', figure: figureOf([result.openMegabytes]) },
        remark: `${Math.round(result.idleMegabytes)} MB before, ${Math.round(after)} MB after they ended`,
      },
      { side: 'at most', value: allowed },
    ),
  ];
}

function growthRow(each: number, describes: boolean, result: Result): Row {
  const settled = figureOf(result.afterMegabytes.slice(1, 1 + COMPARED));
  const last = figureOf(result.afterMegabytes.slice(-COMPARED));
  const ratio = last.median / settled.median;
  const state = result.afterStateMegabytes.map((it) => it.toFixed(1)).join(', ');
  return judged(
    {
      id: `waves-${wordFor(describes)}`,
      target: `after the last waves at most ${GROWTH}x what was resident after the second to fifth`,
      ours: { what: `last waves, ${wordFor(describes)}`, unit: 'MB', figure: last },
      peer: { what: 'second to fifth wave', unit: 'MB', figure: settled },
      ratio,
      remark: `${result.afterMegabytes.length} waves of ${each}; heap and buffers after each: ${state} MB`,
    },
    { side: 'at most', value: GROWTH },
    ratio,
  );
}

function check(attributed: number, connections: number): void {
  if (attributed !== connections) {
    throw new Error(`${attributed} of ${connections} connections were attributed`);
  }
}
