import type { Context, Part } from '../context.js';
import { figureOf, mapFigure } from '../figure.js';
import { type Measured, type PartReport, ratioOf } from '../report.js';
import { runJob } from '../run-job.js';
import { describe, generated, shapeOf } from './recordings.js';

/** Fits into memory, and the slow reader is done with it in a second or two. */
const PACKETS = 1_000_000;

export const decode: Part = {
  name: 'decode',
  purpose: 'the decoder alone over a file in memory, beside a plain reader in idiomatic JavaScript',
  needs: [],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const asked = shapeOf(context);
  const packets = Math.min(PACKETS, asked.packets);
  // What the plain reader understands.
  const plain = { format: 'pcap', link: 'ethernet', vlan: false, ipv6Share: 0 } as const;
  const shape = { ...asked, ...plain, packets, connections: Math.floor(packets / 10) };
  const { capture } = generated(context, 'decode', shape);
  const { result } = await runJob('decode', { capture, rounds: context.rounds });
  if (result.rows !== result.idiomaticRows) {
    throw new Error(`${result.rows} rows, but ${result.idiomaticRows} by the plain reader`);
  }
  const rate = (what: string, seconds: readonly number[]): Measured => ({
    what,
    unit: '/s',
    figure: mapFigure(figureOf(seconds), (s) => packets / s),
  });
  const ours = rate('decoder to rows', result.ours);
  const peer = rate('idiomatic reader', result.idiomatic);
  return {
    part: 'decode',
    input: `${describe(shape)}; in one process, packets/s`,
    rows: [{ id: 'decode', ours, peer, ratio: ratioOf(ours, peer) }],
    runs: [],
    skipped: [],
  };
}
