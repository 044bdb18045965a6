import type { Context, Part } from '../context.js';
import type { RecordingShape } from '../generate/recording.js';
import { judged, type PartReport, type Row, type Run, ratioOf } from '../report.js';
import { tcpdump, whichpod } from './readers.js';
import { against, describe, generated, measure, rate, shapeOf } from './recordings.js';

const TCPDUMP_TIMES = 2;
const PCAPNG_MORE = 1.2;

interface Kind {
  readonly name: string;
  readonly shape: Partial<RecordingShape>;
}

/** What a capture may be, each beside tcpdump on the same file; pcap and pcapng are compared. */
const KINDS: readonly Kind[] = [
  { name: 'pcap', shape: {} },
  { name: 'pcapng', shape: { format: 'pcapng' } },
  { name: 'big-endian', shape: { format: 'pcap-be' } },
  { name: 'one in five over IPv6', shape: { ipv6Share: 0.2 } },
  { name: 'VLAN', shape: { vlan: true } },
  { name: 'SLL2, nanoseconds', shape: { link: 'sll2', format: 'pcap-ns' } },
];
const QUICK_KINDS: readonly Kind[] = [
  { name: 'pcap', shape: {} },
  { name: 'pcapng', shape: { format: 'pcapng', ipv6Share: 0.2 } },
  { name: 'big-endian, VLAN', shape: { format: 'pcap-be', vlan: true } },
  { name: 'SLL2, nanoseconds', shape: { link: 'sll2', format: 'pcap-ns' } },
];

export const formats: Part = {
  name: 'formats',
  purpose: 'kinds of captures and links, each beside tcpdump',
  needs: ['tcpdump'],
  run,
};

async function run(context: Context): Promise<PartReport> {
  const shape = shapeOf(context);
  const rows: Row[] = [];
  const runs: Run[] = [];
  const kinds = context.quick ? QUICK_KINDS : KINDS;
  const pairs = kinds.map(({ name, shape: kind }) => {
    const file = generated(context, name.replaceAll(/\W+/g, '-'), { ...shape, ...kind });
    const [peer, ours] = [tcpdump(file), whichpod(context, file, 'summary')];
    return [
      { ...peer, name: `${peer.name}: ${name}` },
      { ...ours, name: `${ours.name}: ${name}` },
    ] as const;
  });
  const all = await measure(context, pairs.flat());
  for (const [i, { name }] of kinds.entries()) {
    const [peer, ours] = all.slice(2 * i);
    if (peer === undefined || ours === undefined) continue;
    runs.push(peer, ours);
    rows.push(against(name, ours, peer, TCPDUMP_TIMES));
  }
  const [, pcap, , pcapng] = runs;
  if (pcap !== undefined && pcapng !== undefined) rows.push(pcapngRow(pcapng, pcap));
  return {
    part: 'formats',
    input: describe(shape),
    counted: 'packets',
    rows,
    runs,
    skipped: [],
  };
}

function pcapngRow(pcapng: Run, pcap: Run): Row {
  const [ours, peer] = [rate(pcapng), rate(pcap)];
  const ratio = ratioOf(ours, peer);
  return judged(
    { id: 'pcapng-pcap', target: 'pcapng within 20 % of pcap', ours, peer, ratio },
    { side: 'at least', value: 1 / PCAPNG_MORE },
    ratio,
  );
}
