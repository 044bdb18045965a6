import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type Context, type Part, programOf } from '../context.js';
import { figureOf } from '../figure.js';
import { measureProgram } from '../program.js';
import { type Measured, type PartReport, type Row, ratioOf } from '../report.js';
import { checkSummary, type Reader } from './readers.js';
import { describe, generated, measure, rate, shapeOf } from './recordings.js';

export const annotate: Part = {
  name: 'annotate',
  purpose: 'a capture written once more with names and comments, beside tcpdump copying it',
  needs: ['tcpdump'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const shape = shapeOf(context);
  const { folder, capture } = generated(context, 'standard', shape);
  const { packets, connections } = shape;
  const sizes: number[] = [];
  const peerSizes: number[] = [];
  const ours = join(context.scratch, 'annotated.pcapng');
  const theirs = join(context.scratch, 'copied.pcap');
  const whichpod: Reader = {
    name: 'whichpod replay -o summary -w FILE',
    packets,
    run: async () => {
      const replay = ['replay', folder, '-o', 'summary', '-w', ours];
      const it = await measureProgram([process.execPath, programOf(context), ...replay]);
      checkSummary(it.stdout, connections);
      sizes.push(statSync(ours).size);
      return it;
    },
  };
  const tcpdump: Reader = {
    name: 'tcpdump -r -w FILE',
    packets,
    run: async () => {
      const it = await measureProgram(['tcpdump', '-Z', 'root', '-r', capture, '-w', theirs]);
      peerSizes.push(statSync(theirs).size);
      return it;
    },
  };
  const runs = await measure(context, [tcpdump, whichpod]);
  const [copied, annotated] = runs;
  const both = { ours: rate(annotated), peer: rate(copied) };
  const size = (what: string, of: readonly number[]): Measured => ({
    what,
    unit: 'bytes',
    figure: figureOf(of.map((bytes) => bytes / connections)),
  });
  const written = { ours: size(whichpod.name, sizes), peer: size(tcpdump.name, peerSizes) };
  const rows: Row[] = [
    {
      id: 'rate',
      target: 'packets copied, those of interest attributed',
      ...both,
      ratio: ratioOf(both.ours, both.peer),
    },
    {
      id: 'bytes',
      target: 'bytes per connection',
      ...written,
      ratio: ratioOf(written.ours, written.peer),
    },
  ];
  return {
    part: 'annotate',
    input: describe(shape),
    counted: 'packets',
    rows,
    runs: [...runs],
    skipped: [],
  };
}
