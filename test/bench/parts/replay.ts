import type { Context, Part } from '../context.js';
import { mapFigure } from '../figure.js';
import { judged, type PartReport } from '../report.js';
import { tcpdump, tshark, whichpod } from './readers.js';
import { against, describe, generated, measure, memoryRow, shapeOf } from './recordings.js';

/** tshark takes two hundred times as long: it gets a smaller file, and its packets a second are compared. */
const TSHARK_PACKETS = 500_000;

const TCPDUMP_TIMES = 2;
const TSHARK_TIMES = 100;
const NDJSON_PER_SECOND = 250_000;

export const replay: Part = {
  name: 'replay',
  purpose: 'a capture with its rules and objects, beside tcpdump and tshark',
  needs: ['tcpdump', 'tshark'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const shape = shapeOf(context);
  const file = generated(context, 'standard', shape);
  const share = Math.min(1, TSHARK_PACKETS / shape.packets);
  const connections = Math.ceil(shape.connections * share);
  const packets = Math.ceil(shape.packets * share);
  const small = generated(context, 'small', { ...shape, packets, connections });
  const [peer, summary, ndjson, shark] = await measure(context, [
    tcpdump(file),
    whichpod(context, file, 'summary'),
    whichpod(context, file, 'ndjson'),
    tshark(small),
  ]);
  const written = {
    what: ndjson.name,
    unit: '/s',
    figure: mapFigure(ndjson.seconds, (s) => shape.connections / s),
  } as const;
  return {
    part: 'replay',
    input: describe(shape),
    counted: 'packets',
    rows: [
      against('summary', summary, peer, TCPDUMP_TIMES),
      judged(
        {
          id: 'ndjson',
          target: `at least ${NDJSON_PER_SECOND / 1000} k connections/s written`,
          ours: written,
        },
        { side: 'at least', value: NDJSON_PER_SECOND },
      ),
      against(
        'ndjson-tshark',
        ndjson,
        shark,
        TSHARK_TIMES,
        `packets/s; tshark's file has ${packets} packets`,
      ),
      memoryRow('memory', summary, shape.live),
    ],
    runs: [peer, summary, ndjson, shark],
    skipped: [],
  };
}
