import type { Context, Part } from '../context.js';
import { judged, type PartReport, type Row, ratioOf } from '../report.js';
import { whichpod } from './readers.js';
import { generated, measure, memoryRow, rate, shapeOf } from './recordings.js';

/** Same packets, same connections: only how many are open at a time differs. */
const OPEN = [1_000, 10_000, 100_000, 1_000_000] as const;
const SHAPE = { packets: 10_000_000, connections: 1_000_000 };
const QUICK_OPEN = [10, 400] as const;
const QUICK_SHAPE = { packets: 4_000, connections: 400 };

/** Larger tables miss the processor's caches more often; more than this would be a cost that grows. */
const MORE = 1.5;

/** Enough for a median of runs that take long. */
const ROUNDS = 3;

export const scale: Part = {
  name: 'scale',
  purpose: 'cost of a packet and memory by the number of open connections',
  needs: [],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const size = context.quick ? QUICK_SHAPE : SHAPE;
  const shape = { ...shapeOf(context), ...size, payload: 0 };
  const opens = context.quick ? QUICK_OPEN : OPEN;
  const readers = opens.map((live) => {
    const reader = whichpod(
      context,
      generated(context, `open-${live}`, { ...shape, live }),
      'summary',
    );
    return { ...reader, name: `${live} connections open` };
  });
  const rounds = Math.min(context.rounds, ROUNDS);
  const runs = await measure({ ...context, rounds }, readers);
  const [least] = runs;
  const rows: Row[] = [];
  for (const [i, most] of runs.entries()) {
    rows.push(memoryRow(`memory-${i}`, most, opens[i] ?? 0));
    if (least === undefined || i !== runs.length - 1) continue;
    const [ours, peer] = [rate(most), rate(least)];
    const ratio = ratioOf(ours, peer);
    const target = `cost of a packet constant (at most ${MORE} times)`;
    rows.push(
      judged(
        { id: 'constant', target, ours, peer, ratio },
        { side: 'at least', value: 1 / MORE },
        ratio,
      ),
    );
  }
  return {
    part: 'scale',
    input: `${shape.packets} packets without payload, ${shape.connections} connections, \`whichpod replay -o summary\``,
    counted: 'packets',
    rows,
    runs,
    skipped: [],
  };
}
