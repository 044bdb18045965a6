import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CaptureReader } from '../../../src/decode/capture/reader.js';
import { formatEndpoint } from '../../../src/model/address.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { formatNanos, parseEpoch } from '../../../src/model/time.js';
import {
  authentication,
  bytesOf,
  chunk,
  ethernet,
  extension,
  fragment6,
  geneve,
  icmp,
  initBody,
  ipv4,
  ipv6,
  loopback,
  pcap,
  sctp,
  sll,
  sll2,
  synOptions,
  tcp,
  udp,
  vxlan,
} from '../../support/capture-builder.js';
import { type PacketView, viewsOf } from '../../support/packet-view.js';

/**
 * Beginnings of real recordings (tcpdump, dumpcap; kube-proxy on Linux 6.18), read by us and by tshark.
 * In the two pcapng files the lengths of the descriptive blocks were made right again.
 */
const FILES = [
  'seed-client.pcap',
  'seed-any.pcap',
  'seed-multi.pcapng',
  'udp-client.pcap',
  'udp-multi.pcapng',
  'dual-stack-client.pcap',
  'dual-stack-any.pcap',
  'sctp-any.pcap',
  'vxlan-eth0.pcap',
  'refused-any.pcap',
] as const;

/** One packet as both say it. Fields that a packet does not have are empty. */
interface Row {
  readonly time: string;
  readonly interface: string;
  readonly direction: number;
  readonly protocol: string;
  readonly src: string;
  readonly dst: string;
  readonly class: string;
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  readonly tsval: number;
  readonly payload: number;
  readonly sender: string;
}

const FIELDS = [
  'frame.time_epoch',
  'frame.interface_name',
  'sll.ifindex',
  'sll.pkttype',
  'ip.src',
  'ip.dst',
  'ipv6.src',
  'ipv6.dst',
  'icmp.type',
  'icmp.code',
  'icmpv6.type',
  'icmpv6.code',
  'tcp.srcport',
  'tcp.dstport',
  'tcp.flags',
  'tcp.seq',
  'tcp.ack_raw',
  'tcp.len',
  'tcp.options.timestamp.tsval',
  'udp.srcport',
  'udp.dstport',
  'udp.length',
  'sctp.srcport',
  'sctp.dstport',
  'sctp.chunk_type',
  'sctp.verification_tag',
  'sctp.init_initiate_tag',
  'sctp.initack_initiate_tag',
] as const;
type Field = (typeof FIELDS)[number];
type Packet = Readonly<Record<Field, readonly string[]>>;

const TSHARK = 'tshark';

let folder = '';
let missing: string | undefined;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'whichpod-recordings-'));
  const { error } = spawnSync(TSHARK, ['--version']);
  if (error !== undefined) missing = 'tshark is not installed';
});
afterAll(() => rmSync(folder, { recursive: true }));

function recording(name: string): Uint8Array {
  return gunzipSync(readFileSync(new URL(`./data/${name}.gz`, import.meta.url)));
}

function readByTshark(name: string, content: Uint8Array): Packet[] {
  const file = join(folder, name);
  writeFileSync(file, content);
  const preferences = [
    'ip.defragment:FALSE',
    'ipv6.defragment:FALSE',
    'tcp.desegment_tcp_streams:FALSE',
    'tcp.relative_sequence_numbers:FALSE',
  ];
  const run = spawnSync(
    TSHARK,
    [
      ...['-n', '-r', file, '-d', 'udp.port==8472,vxlan', '-T', 'fields', '-E', 'separator=/t'],
      ...preferences.flatMap((preference) => ['-o', preference]),
      ...FIELDS.flatMap((field) => ['-e', field]),
    ],
    { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024, env: { ...process.env, LC_ALL: 'C' } },
  );
  expect(run.status).toBe(0);
  const lines = run.stdout.split('\n').slice(0, -1);
  return lines.map((line) => {
    const values = line.split('\t');
    const entries = FIELDS.map((field, i) => [
      field,
      values[i] === '' || values[i] === undefined ? [] : values[i].split(','),
    ]);
    return Object.fromEntries(entries) as Packet;
  });
}

const last = (values: readonly string[]): string => values.at(-1) ?? '';
const lastNumber = (values: readonly string[]): number => Number(values.at(-1) ?? 0);

/** What the correlator needs of a packet, by tshark's fields: an independent second opinion. */
function expectedOf(packet: Packet): Row | undefined {
  const six = packet['ipv6.src'].length > 0;
  const sources = six ? packet['ipv6.src'] : packet['ip.src'];
  const type = lastNumber(six ? packet['icmpv6.type'] : packet['icmp.type']);
  const icmp = (six ? packet['icmpv6.type'] : packet['icmp.type']).length > 0;
  const error = icmp && (six ? type >= 1 && type <= 4 : [3, 11, 12].includes(type));
  if (icmp && !error) return undefined;
  const code = lastNumber(six ? packet['icmpv6.code'] : packet['icmp.code']);
  // With a tunnel or a quotation there are several headers: the innermost counts.
  const endpoint = (address: 'src' | 'dst', port: readonly string[]): string =>
    formatEndpoint(last(packet[`${six ? 'ipv6' : 'ip'}.${address}` as const]), lastNumber(port));
  const common = {
    time: formatNanos(parseEpoch(last(packet['frame.time_epoch'])) ?? 0n),
    interface:
      packet['sll.ifindex'].map((index) => `if${index}`)[0] ?? last(packet['frame.interface_name']),
    direction: packet['sll.pkttype'].map((it) => [1, 1, 1, 3, 2][Number(it)] ?? 0)[0] ?? 0,
    class: error ? 'error' : 'segment',
    sender: error ? (sources.at(-2) ?? '') : '',
  };
  const chunk = packet['sctp.chunk_type'][0];
  if (packet['tcp.srcport'].length > 0) {
    const flags = lastNumber(packet['tcp.flags']);
    if (!error && (flags & 7) === 0) return undefined;
    return {
      ...common,
      protocol: 'tcp',
      src: endpoint('src', packet['tcp.srcport']),
      dst: endpoint('dst', packet['tcp.dstport']),
      flags: error ? (type << 8) | code : flags & 0xff,
      seq: lastNumber(packet['tcp.seq']),
      ack: error ? 0 : lastNumber(packet['tcp.ack_raw']),
      tsval: error ? 0 : lastNumber(packet['tcp.options.timestamp.tsval']),
      payload: error ? 0 : lastNumber(packet['tcp.len']),
    };
  }
  if (chunk !== undefined) {
    if (![1, 2, 6, 7, 14].includes(Number(chunk)) && !error) return undefined;
    const tags = [...packet['sctp.init_initiate_tag'], ...packet['sctp.initack_initiate_tag']];
    return {
      ...common,
      protocol: 'sctp',
      src: endpoint('src', packet['sctp.srcport']),
      dst: endpoint('dst', packet['sctp.dstport']),
      flags: error ? (type << 8) | code : Number(chunk),
      seq: lastNumber(tags),
      ack: lastNumber(packet['sctp.verification_tag']),
      tsval: 0,
      payload: error ? 0 : -1,
    };
  }
  if (packet['udp.srcport'].length === 0) return undefined;
  return {
    ...common,
    protocol: 'udp',
    src: endpoint('src', packet['udp.srcport']),
    dst: endpoint('dst', packet['udp.dstport']),
    flags: error ? (type << 8) | code : 0,
    seq: 0,
    ack: 0,
    tsval: 0,
    payload: error ? 0 : lastNumber(packet['udp.length']) - 8,
  };
}

function readByUs(content: Uint8Array): Row[] {
  const interfaces = new Interfaces();
  const reader = new CaptureReader({ interfaces });
  reader.feed(content);
  reader.end();
  expect(reader.problems).toEqual([]);
  return viewsOf(reader.rows).map((view) => ({
    time: view.time,
    interface: interfaces.name(view.interface) ?? '',
    direction: view.direction,
    protocol: view.protocol,
    src: view.src,
    dst: view.dst,
    class: view.class === 1 ? 'error' : 'segment',
    flags: view.flags,
    seq: view.seq,
    ack: view.ack,
    tsval: view.tsval,
    // tshark has no such field for SCTP.
    payload: view.protocol === 'sctp' && view.class === 0 ? -1 : view.payload,
    sender: view.sender ?? '',
  }));
}

function shownByTshark(name: string, content: Uint8Array): Row[] {
  return readByTshark(name, content).flatMap((packet) => expectedOf(packet) ?? []);
}

/** Of each kind that the recordings lack, one packet. */
const SYN = tcp({ options: synOptions() });
const SYN4 = ipv4(SYN, { protocol: 6 });
const SYN6 = ipv6(SYN, { next: 6 });
const QUERY = udp(bytesOf(0, 1, 2, 3, 4, 5, 6, 7), { dport: 9_000 });
const INIT = sctp(chunk(1, initBody(0xcafe0001)));
const PACKETS = [
  SYN4,
  SYN6,
  ipv4(SYN, { protocol: 6, options: bytesOf(1, 1, 1, 0) }),
  ipv4(QUERY, { protocol: 17 }),
  ipv6(QUERY, { next: 17 }),
  ipv4(INIT, { protocol: 132 }),
  ipv6(INIT, { next: 132 }),
  ipv6(extension(extension(authentication(fragment6(SYN, 6, 0, false), 44), 51), 43), { next: 0 }),
  ...[1, 2, 3, 4].map((type) => ipv6(icmp(type, 0, SYN6), { next: 58, src: 'fd00::12' })),
  ipv6(icmp(1, 4, ipv6(QUERY, { next: 17 })), { next: 58, src: 'fd00::12' }),
  ipv6(icmp(1, 4, ipv6(INIT, { next: 132 })), { next: 58, src: 'fd00::12' }),
  ...[3, 11, 12].map((type) => ipv4(icmp(type, 0, SYN4), { protocol: 1, src: '192.168.77.12' })),
  ipv4(udp(vxlan(ethernet(SYN6)), { dport: 8_472 }), { protocol: 17 }),
  ipv4(udp(geneve(ethernet(SYN4), { options: new Uint8Array(8) }), { dport: 6_081 }), {
    protocol: 17,
  }),
  ipv4(SYN4, { protocol: 4, src: '192.168.77.11', dst: '192.168.77.12' }),
];

/** What a file must hold for the comparison to mean something. */
function kindsOf(rows: readonly Row[]): string[] {
  return [
    ...new Set(
      rows.map((row) => `${row.protocol}${row.src.startsWith('[') ? '6' : '4'} ${row.class}`),
    ),
  ].sort();
}

describe('real recordings', () => {
  it.for(FILES)('%s gives the packets that tshark shows', { timeout: 60_000 }, (name, { skip }) => {
    if (missing !== undefined && !('CI' in process.env)) skip(missing);
    expect(missing).toBeUndefined();
    expect(readByUs(recording(name))).toEqual(shownByTshark(name, recording(name)));
  });

  it.for([
    ['Ethernet', 1, (packet: Uint8Array) => ethernet(packet, { tags: [0x88a8, 0x8100] })],
    ['LINUX_SLL', 113, (packet: Uint8Array) => sll(packet, { packetType: 4 })],
    ['LINUX_SLL2', 276, (packet: Uint8Array) => sll2(packet, { packetType: 3, index: 12 })],
    ['RAW', 101, (packet: Uint8Array) => packet],
    [
      'LOOP',
      108,
      (packet: Uint8Array) => loopback(packet, (packet[0] ?? 0) >>> 4 === 6 ? 24 : 2, false),
    ],
  ] as const)(
    '%s frames made by hand give what tshark shows',
    { timeout: 60_000 },
    (row, { skip }) => {
      if (missing !== undefined && !('CI' in process.env)) skip(missing);
      const [name, linkType, wrap] = row;
      const records = PACKETS.map((packet, i) => ({ frame: wrap(packet), fraction: i * 11_111 }));
      const content = pcap(records, { linkType });
      const shown = shownByTshark(`${name}.pcap`, content);
      expect(shown).toHaveLength(PACKETS.length);
      expect(readByUs(content)).toEqual(shown);
    },
  );

  it.each([
    ['seed-client.pcap', 800, ['tcp4 segment']],
    ['seed-any.pcap', 1_200, ['tcp4 segment']],
    ['seed-multi.pcapng', 1_200, ['tcp4 segment']],
    ['udp-client.pcap', 843, ['tcp4 segment', 'udp4 error', 'udp4 segment']],
    ['udp-multi.pcapng', 900, ['udp4 segment']],
    ['dual-stack-client.pcap', 800, ['tcp6 segment']],
    ['dual-stack-any.pcap', 900, ['tcp6 segment']],
    ['sctp-any.pcap', 353, ['sctp4 segment']],
    ['vxlan-eth0.pcap', 700, ['tcp4 segment']],
    ['refused-any.pcap', 205, ['tcp4 error', 'tcp4 segment', 'udp4 error', 'udp4 segment']],
  ])('%s has %i packets of the kinds that it stands for', (name, packets, kinds) => {
    const reader = new CaptureReader({ interfaces: new Interfaces() });
    reader.feed(recording(name));
    expect(reader.packets).toBe(packets);
    expect(reader.frames.seen).toBe(packets);
    expect(reader.frames.kept).toBe(reader.rows.length);
    expect(kindsOf(readByUs(recording(name)))).toEqual(kinds);
  });

  it('a SYN keeps its print and its number across translation, in every copy', () => {
    const reader = new CaptureReader({ interfaces: new Interfaces() });
    reader.feed(recording('seed-any.pcap'));
    const syns = viewsOf(reader.rows).filter((view) => view.flags === 2);
    const byNumber = new Map<string, PacketView[]>();
    for (const view of syns) {
      const key = `${view.seq} ${view.tsval}`;
      byNumber.set(key, [...(byNumber.get(key) ?? []), view]);
    }
    expect(byNumber.size).toBe(40);
    for (const copies of byNumber.values()) {
      expect(new Set(copies.map((view) => view.print)).size).toBe(1);
      expect(new Set(copies.map((view) => view.ipid)).size).toBe(1);
    }
    const translated = [...byNumber.values()].filter(
      (copies) => new Set(copies.map((view) => view.dst)).size === 2,
    );
    expect(translated).toHaveLength(40);
  });
});
