import { describe, expect, it } from 'vitest';
import { FrameDecoder } from '../../../src/decode/capture/frame.js';
import { PacketRows } from '../../../src/model/packet-rows.js';
import {
  authentication,
  bytesOf,
  chunk,
  concat,
  ethernet,
  extension,
  fragment6,
  geneve,
  icmp,
  initBody,
  ipv4,
  ipv6,
  loopback,
  sctp,
  sll,
  sll2,
  synOptions,
  tcp,
  udp,
  vxlan,
} from '../../support/capture-builder.js';
import { type PacketView, viewsOf } from '../../support/packet-view.js';

const ETHERNET = 1;
const SLL = 113;
const SLL2 = 276;
const RAW = 101;

const SYN = tcp({ options: synOptions() });
const SYN4 = ipv4(SYN, { protocol: 6 });
const SYN6 = ipv6(SYN, { next: 6 });
const QUERY = Uint8Array.from({ length: 40 }, (_, i) => i + 1);
const INIT = sctp(chunk(1, initBody(0xcafe0001)));

interface Decoded {
  /** The row, if there is one; more than one is an error. */
  readonly row: PacketView | undefined;
  readonly counters: string;
  readonly linkIndex: number;
}

function countersOf(decoder: FrameDecoder): string {
  const names = [
    'kept',
    'cut',
    'malformed',
    'unsupportedLink',
    'nonIp',
    'laterFragments',
    'otherTransport',
  ] as const;
  expect(decoder.seen).toBe(1);
  return names.filter((name) => decoder[name] === 1).join(' ') || 'unneeded';
}

/** Decodes one frame that lies in the middle of other bytes. */
function decode(linkType: number, frame: Uint8Array, onWire = frame.length): Decoded {
  const rows = new PacketRows(1);
  const decoder = new FrameDecoder(rows);
  // All ones around it: whoever reads outside finds flags set and lengths that are enormous.
  const around = new Uint8Array(64).fill(0xff);
  const at = decoder.decode(linkType, concat(around, frame, around), 64, frame.length, onWire);
  const [row, ...more] = viewsOf(rows);
  expect(more).toEqual([]);
  expect(at).toBe(row === undefined ? -1 : 0);
  return { row, counters: countersOf(decoder), linkIndex: decoder.linkIndex };
}

const TCP_ROW = {
  protocol: 'tcp',
  class: 0,
  flags: 2,
  src: '10.244.1.2:36033',
  dst: '10.96.81.51:80',
  seq: 0x95fa6586,
  ack: 0,
  ipid: 0x1234,
  ttl: 64,
  payload: 0,
  tsval: 0x703fbdc7,
  bytes: 60,
  encapsulation: 0,
};
const TCP6_ROW = {
  ...TCP_ROW,
  src: '[fd00:10:244:1::2]:36033',
  dst: '[fd00:10:96::51]:80',
  ipid: 0,
  bytes: 80,
};

describe('link headers', () => {
  const LINKS: [string, number, Uint8Array, object][] = [
    ['Ethernet', ETHERNET, ethernet(SYN4), { direction: 0 }],
    ['a VLAN tag', ETHERNET, ethernet(SYN4, { tags: [0x8100] }), { direction: 0 }],
    ['802.1ad', ETHERNET, ethernet(SYN4, { tags: [0x88a8, 0x8100] }), {}],
    ['the old stacked tags', ETHERNET, ethernet(SYN4, { tags: [0x9100, 0x9100, 0x8100] }), {}],
    ['eight VLAN tags', ETHERNET, ethernet(SYN4, { tags: Array(8).fill(0x8100) }), {}],
    ['SLL to us', SLL, sll(SYN4), { direction: 1 }],
    ['SLL broadcast', SLL, sll(SYN4, { packetType: 1 }), { direction: 1 }],
    ['SLL multicast', SLL, sll(SYN4, { packetType: 2 }), { direction: 1 }],
    ['SLL to another host', SLL, sll(SYN4, { packetType: 3 }), { direction: 3 }],
    ['SLL outgoing', SLL, sll(SYN4, { packetType: 4 }), { direction: 2 }],
    ['SLL of an unknown packet type', SLL, sll(SYN4, { packetType: 6 }), { direction: 0 }],
    ['SLL with a VLAN tag', SLL, sll(SYN4, { tags: [0x8100] }), { direction: 1 }],
    ['SLL2 to us', SLL2, sll2(SYN4), { direction: 1 }],
    ['SLL2 to another host', SLL2, sll2(SYN4, { packetType: 3 }), { direction: 3 }],
    ['SLL2 outgoing', SLL2, sll2(SYN4, { packetType: 4 }), { direction: 2 }],
    ['SLL2 with a VLAN tag', SLL2, sll2(SYN4, { tags: [0x8100] }), { direction: 1 }],
    ['SLL2 with two VLAN tags', SLL2, sll2(SYN4, { tags: [0x88a8, 0x8100] }), {}],
    ['RAW', RAW, SYN4, { direction: 0 }],
    ['RAW as 12', 12, SYN4, {}],
    ['RAW as 14', 14, SYN4, {}],
    ['IPV4', 228, SYN4, {}],
    ['NULL, little-endian', 0, loopback(SYN4, 2, true), {}],
    ['NULL, big-endian', 0, loopback(SYN4, 2, false), {}],
    ['LOOP', 108, loopback(SYN4, 2, false), {}],
  ];
  it.each(LINKS)('reads an IPv4 SYN behind %s', (_name, linkType, frame, extra) => {
    const { row, counters, linkIndex } = decode(linkType, frame);
    expect(row).toMatchObject({ ...TCP_ROW, ...extra });
    expect(counters).toBe('kept');
    expect(linkIndex).toBe(linkType === SLL2 ? 7 : 0);
  });

  const LINKS6: [string, number, Uint8Array][] = [
    ['Ethernet', ETHERNET, ethernet(SYN6)],
    ['a VLAN tag', ETHERNET, ethernet(SYN6, { tags: [0x8100] })],
    ['SLL', SLL, sll(SYN6)],
    ['SLL2', SLL2, sll2(SYN6)],
    ['RAW', RAW, SYN6],
    ['IPV6', 229, SYN6],
    ...[24, 28, 30, 10].flatMap((family): [string, number, Uint8Array][] => [
      [`NULL family ${family}, little-endian`, 0, loopback(SYN6, family, true)],
      [`NULL family ${family}, big-endian`, 0, loopback(SYN6, family, false)],
      [`LOOP family ${family}`, 108, loopback(SYN6, family, false)],
    ]),
  ];
  it.each(LINKS6)('reads an IPv6 SYN behind %s', (_name, linkType, frame) => {
    expect(decode(linkType, frame).row).toMatchObject(TCP6_ROW);
  });

  const REFUSED: [string, number, Uint8Array, string][] = [
    ['an ARP frame', ETHERNET, ethernet(new Uint8Array(46), { type: 0x0806 }), 'nonIp'],
    ['an 802.3 length', ETHERNET, ethernet(new Uint8Array(46), { type: 46 }), 'nonIp'],
    ['ARP in a VLAN', ETHERNET, ethernet(SYN4, { tags: [0x8100], type: 0x0806 }), 'nonIp'],
    ['nine VLAN tags', ETHERNET, ethernet(SYN4, { tags: Array(9).fill(0x8100) }), 'malformed'],
    ['ARP in SLL', SLL, sll(SYN4, { type: 0x0806 }), 'nonIp'],
    ['ARP in SLL2', SLL2, sll2(SYN4, { type: 0x0806 }), 'nonIp'],
    ['an unknown family', 0, loopback(SYN4, 7), 'nonIp'],
    ['a family of 32 bits', 0, loopback(SYN4, 0x00020002), 'nonIp'],
    ['IPv6 where the family is IPv4', 0, loopback(SYN6, 2), 'malformed'],
    ['IPv6 in IPV4', 228, SYN6, 'malformed'],
    ['IPv4 in IPV6', 229, SYN4, 'malformed'],
    ['neither version in RAW', RAW, bytesOf(0x50, ...SYN4.subarray(1)), 'nonIp'],
    [
      'a version that contradicts the type',
      ETHERNET,
      ethernet(ipv4(SYN, { protocol: 6, version: 5 })),
      'malformed',
    ],
    ['an unsupported link type', 127, ethernet(SYN4), 'unsupportedLink'],
    ['no bytes at all', ETHERNET, new Uint8Array(0), 'malformed'],
    ['no bytes of RAW', RAW, new Uint8Array(0), 'malformed'],
  ];
  it.each(REFUSED)('counts %s and keeps nothing', (_name, linkType, frame, counter) => {
    expect(decode(linkType, frame)).toMatchObject({ row: undefined, counters: counter });
  });
});

describe('IP headers', () => {
  const NOPS = new Uint8Array(40).fill(1);
  const KEPT: [string, Uint8Array, object][] = [
    ['IPv4 options', ipv4(SYN, { protocol: 6, options: NOPS }), { ...TCP_ROW, bytes: 100 }],
    ['a first fragment', ipv4(SYN, { protocol: 6, fragment: 0x2000 }), TCP_ROW],
    ['total length 0 (off-load)', ipv4(SYN, { protocol: 6, length: 0 }), TCP_ROW],
    [
      'a total length beyond the wire',
      ipv4(SYN, { protocol: 6, length: 1_500 }),
      { ...TCP_ROW, bytes: 1_500, payload: 1_440 },
    ],
    ['IPv6 payload length 0 (jumbo)', ipv6(SYN, { next: 6, length: 0 }), TCP6_ROW],
    ['hop-by-hop', ipv6(extension(SYN, 6), { next: 0 }), { ...TCP6_ROW, bytes: 88 }],
    ['routing', ipv6(extension(SYN, 6, 3), { next: 43 }), { ...TCP6_ROW, bytes: 104 }],
    ['destination options', ipv6(extension(SYN, 6), { next: 60 }), {}],
    ['authentication', ipv6(authentication(SYN, 6), { next: 51 }), { ...TCP6_ROW, bytes: 104 }],
    ['an atomic fragment', ipv6(fragment6(SYN, 6, 0, false), { next: 44 }), {}],
    ['a first IPv6 fragment', ipv6(fragment6(SYN, 6, 0, true), { next: 44 }), {}],
    [
      'five extension headers',
      ipv6(
        extension(
          extension(extension(authentication(fragment6(SYN, 6, 0, false), 44), 51), 43),
          60,
        ),
        {
          next: 0,
        },
      ),
      { ...TCP6_ROW, bytes: 80 + 3 * 8 + 24 + 8 },
    ],
  ];
  it.each(KEPT)('passes over %s', (_name, packet, expected) => {
    const { row, counters } = decode(ETHERNET, ethernet(packet));
    expect(row).toMatchObject({ flags: 2, seq: 0x95fa6586, ...expected });
    expect(counters).toBe('kept');
  });

  const chain = (headers: number): Uint8Array => {
    let packet = SYN;
    for (let i = 0; i < headers; i++) packet = extension(packet, i === 0 ? 6 : 60);
    return ipv6(packet, { next: 60 });
  };
  const REFUSED: [string, Uint8Array, string][] = [
    ['a later fragment', ipv4(SYN, { protocol: 6, fragment: 0x2001 }), 'laterFragments'],
    ['the last fragment', ipv4(SYN, { protocol: 6, fragment: 185 }), 'laterFragments'],
    ['a later IPv6 fragment', ipv6(fragment6(SYN, 6, 1, true), { next: 44 }), 'laterFragments'],
    ['a header length of 4 words', ipv4(SYN, { protocol: 6, headerWords: 4 }), 'malformed'],
    ['a total length below the header', ipv4(SYN, { protocol: 6, length: 19 }), 'malformed'],
    [
      'a header longer than the packet',
      ipv4(SYN, { protocol: 6, headerWords: 15, length: 59 }),
      'malformed',
    ],
    ['a payload too short for TCP', ipv4(SYN, { protocol: 6, length: 39 }), 'malformed'],
    ['a payload too short for UDP', ipv4(udp(QUERY), { protocol: 17, length: 27 }), 'malformed'],
    [
      'an extension header beyond the packet',
      ipv6(concat(bytesOf(6, 99, 0, 0, 0, 0, 0, 0), SYN), { next: 60 }),
      'malformed',
    ],
    ['more extension headers than allowed', chain(11), 'malformed'],
    [
      'an extension header for which the packet has no room',
      ipv6(extension(new Uint8Array(60), 50), { next: 60, length: 4 }),
      'malformed',
    ],
    [
      'an extension header beyond a packet of another protocol',
      ipv6(extension(new Uint8Array(60), 50, 3), { next: 60, length: 16 }),
      'malformed',
    ],
    ['ESP', ipv4(new Uint8Array(40), { protocol: 50 }), 'otherTransport'],
    ['GRE', ipv4(new Uint8Array(40), { protocol: 47 }), 'otherTransport'],
    ['no next header', ipv6(new Uint8Array(0), { next: 59 }), 'otherTransport'],
    ['ICMPv6 in IPv4', ipv4(icmp(1, 0, SYN4), { protocol: 58 }), 'otherTransport'],
    ['ICMP in IPv6', ipv6(icmp(3, 0, SYN6), { next: 1 }), 'otherTransport'],
  ];
  it.each(REFUSED)('counts %s and keeps nothing', (_name, packet, counter) => {
    expect(decode(ETHERNET, ethernet(packet))).toMatchObject({ row: undefined, counters: counter });
  });

  it('takes ten extension headers', () => {
    expect(decode(RAW, chain(10)).row).toMatchObject({ seq: 0x95fa6586 });
  });

  it('counts a later fragment as one even if its bytes look like a segment', () => {
    const fragment = ipv4(tcp({ flags: 0x10 }), { protocol: 6, fragment: 5 });
    expect(decode(ETHERNET, ethernet(fragment)).counters).toBe('laterFragments');
  });

  it('does not take Ethernet padding for payload', () => {
    const padded = concat(ethernet(ipv4(tcp({ flags: 0x11 }), { protocol: 6 })), new Uint8Array(6));
    expect(decode(ETHERNET, padded).row).toMatchObject({ bytes: 40, payload: 0, flags: 0x11 });
  });

  it('takes the wire length for the length of an off-loaded segment that was cut', () => {
    const frame = ethernet(ipv4(tcp({ flags: 0x11 }), { protocol: 6, length: 0 }));
    expect(decode(ETHERNET, frame, 100_014).row).toMatchObject({ bytes: 100_000, payload: 99_960 });
  });
});

describe('TCP', () => {
  it.each([
    ['SYN', 0x02, true],
    ['SYN with ECN', 0xc2, true],
    ['SYN-ACK', 0x12, true],
    ['FIN', 0x11, true],
    ['RST', 0x04, true],
    ['RST-ACK', 0x14, true],
    ['ACK', 0x10, false],
    ['data', 0x18, false],
    ['no flag', 0x00, false],
    ['urgent', 0x30, false],
  ])('%s is decided alike on every link and in both families', (_name, flags, kept) => {
    const segment = tcp({ flags, ack: 77, payload: bytesOf(1, 2, 3) });
    const v4 = ipv4(segment, { protocol: 6 });
    const v6 = ipv6(segment, { next: 6 });
    const frames: [number, Uint8Array][] = [
      [ETHERNET, ethernet(v4)],
      [ETHERNET, ethernet(v4, { tags: [0x8100] })],
      [ETHERNET, ethernet(ipv4(segment, { protocol: 6, options: bytesOf(1, 1, 1, 1) }))],
      [ETHERNET, ethernet(v6)],
      [SLL, sll(v4)],
      [SLL2, sll2(v4)],
      [SLL2, sll2(v6)],
      [RAW, v4],
      [RAW, v6],
    ];
    for (const [linkType, frame] of frames) {
      const { row, counters } = decode(linkType, frame);
      expect(counters).toBe(kept ? 'kept' : 'unneeded');
      if (kept) expect(row).toMatchObject({ flags, ack: 77, payload: 3 });
    }
  });

  const printOf = (segment: Uint8Array): number =>
    decode(RAW, ipv4(segment, { protocol: 6 })).row?.print ?? -1;

  it('leaves MSS and what NAT changes out of the print', () => {
    const print = printOf(SYN);
    expect(print).toBeGreaterThan(0);
    expect(printOf(tcp({ options: synOptions({ mss: 1_410 }) }))).toBe(print);
    expect(printOf(tcp({ options: synOptions(), sport: 1_024, dport: 8_080, seq: 1 }))).toBe(print);
    // An MSS option that was added on the way.
    expect(printOf(tcp({ options: synOptions().subarray(4) }))).toBe(print);
  });

  it.each([
    ['another time stamp', tcp({ options: synOptions({ tsval: 0x703fbdc8 }) })],
    ['another window', tcp({ options: synOptions(), window: 64_241 })],
    ['other flags', tcp({ options: synOptions(), flags: 0xc2 })],
    ['no options', tcp()],
    [
      'options in another order',
      tcp({ options: concat(synOptions().subarray(16), synOptions().subarray(0, 16)) }),
    ],
  ])('gives another print for %s', (_name, segment) => {
    expect(printOf(segment)).not.toBe(printOf(SYN));
    expect(printOf(segment)).toBeGreaterThan(0);
  });

  it.each([
    ['an option of length 0', bytesOf(8, 0, 0, 0)],
    ['an option of length 1', bytesOf(2, 1, 0, 0)],
    ['an option beyond the header', bytesOf(8, 10, 0, 0)],
    ['a kind without a length', bytesOf(1, 1, 1, 8)],
    ['a time stamp of another length', bytesOf(8, 6, 1, 2, 3, 4, 1, 1)],
    ['the end mark before a time stamp', concat(bytesOf(0, 0), synOptions().subarray(6, 16))],
  ])('keeps a segment with %s, without TSval', (_name, options) => {
    const { row } = decode(RAW, ipv4(tcp({ options }), { protocol: 6 }));
    expect(row).toMatchObject({ flags: 2, tsval: 0 });
    expect(row?.print).toBeGreaterThan(0);
  });

  it.each([
    ['below five words', 4],
    ['beyond the packet', 15],
  ])('refuses a header length %s', (_name, headerWords) => {
    const packet = ipv4(tcp({ headerWords }), { protocol: 6 });
    expect(decode(RAW, packet)).toMatchObject({ row: undefined, counters: 'malformed' });
  });

  it('keeps a SYN whose options were cut off, without print', () => {
    const frame = ethernet(SYN4);
    for (let captured = 54; captured < 74; captured++) {
      const { row } = decode(ETHERNET, frame.subarray(0, captured), frame.length);
      expect(row).toMatchObject({ ...TCP_ROW, print: 0, tsval: 0 });
    }
  });
});

describe('UDP', () => {
  const query = (payload: Uint8Array, more = {}): Uint8Array =>
    ipv4(udp(payload, more), { protocol: 17 });

  it('keeps every datagram', () => {
    expect(decode(ETHERNET, ethernet(query(QUERY))).row).toMatchObject({
      protocol: 'udp',
      class: 0,
      flags: 0,
      src: '10.244.1.2:40000',
      dst: '10.96.81.51:53',
      payload: 40,
      bytes: 68,
      seq: 0,
      ack: 0,
    });
  });

  it('prints the beginning of the payload and its length', () => {
    const printOf = (packet: Uint8Array): number => decode(RAW, packet).row?.print ?? -1;
    const print = printOf(query(QUERY));
    const changed = (at: number): Uint8Array => QUERY.map((byte, i) => (i === at ? 0xff : byte));
    expect(printOf(query(QUERY, { sport: 1, dport: 2 }))).toBe(print);
    expect(printOf(query(changed(32)))).toBe(print);
    for (let at = 0; at < 32; at++) expect(printOf(query(changed(at)))).not.toBe(print);
    expect(printOf(query(concat(QUERY, bytesOf(0))))).not.toBe(print);
    expect(printOf(query(new Uint8Array(0)))).toBeGreaterThan(0);
    expect(printOf(query(bytesOf(0)))).not.toBe(printOf(query(new Uint8Array(0))));
    expect(printOf(query(bytesOf(0)))).not.toBe(printOf(query(bytesOf(0, 0))));
  });

  it.each([
    ['a length below the header', query(QUERY, { length: 7 }), 'malformed'],
    ['a length beyond the packet', query(QUERY, { length: 49 }), 'malformed'],
  ])('refuses %s', (_name, packet, counter) => {
    expect(decode(RAW, packet)).toMatchObject({ row: undefined, counters: counter });
  });

  it('takes a length beyond the packet in a first fragment, and a length of 0', () => {
    const first = ipv4(udp(QUERY, { length: 3_000 }), { protocol: 17, fragment: 0x2000 });
    expect(decode(RAW, first).row).toMatchObject({ payload: 2_992 });
    expect(decode(RAW, query(QUERY, { length: 0 })).row).toMatchObject({ payload: 40 });
  });
});

describe('SCTP', () => {
  const packet = (chunks: Uint8Array, tag = 0): Uint8Array =>
    ipv4(sctp(chunks, { tag }), { protocol: 132 });
  const INIT_CHUNK = chunk(1, initBody(0xcafe0001));
  const DATA = chunk(0, new Uint8Array(16));

  it.each([
    ['INIT', INIT_CHUNK, 0, { flags: 1, seq: 0xcafe0001, ack: 0 }],
    ['INIT ACK', chunk(2, initBody(0xcafe0002)), 9, { flags: 2, seq: 0xcafe0002, ack: 9 }],
    ['ABORT', chunk(6, bytesOf()), 9, { flags: 6, seq: 0, ack: 9 }],
    ['SHUTDOWN', chunk(7, bytesOf(0, 0, 0, 1)), 9, { flags: 7, ack: 9 }],
    ['SHUTDOWN COMPLETE', chunk(14, bytesOf()), 9, { flags: 14, ack: 9 }],
    ['ABORT before DATA', concat(chunk(6, bytesOf()), DATA), 9, { flags: 6 }],
  ])('keeps %s', (_name, chunks, tag, expected) => {
    const { row } = decode(ETHERNET, ethernet(packet(chunks, tag)));
    expect(row).toMatchObject({
      protocol: 'sctp',
      src: '10.244.1.2:5000',
      dst: '10.96.81.51:9999',
      ...expected,
    });
    expect(row?.print).toBeGreaterThan(0);
  });

  it.each([
    ['DATA', DATA],
    ['ERROR', chunk(9, bytesOf(0, 1, 0, 4))],
    ['COOKIE ECHO', chunk(10, bytesOf(1, 2, 3, 4))],
    ['SHUTDOWN ACK', chunk(8, bytesOf())],
    ['HEARTBEAT', chunk(4, bytesOf(1, 2, 3, 4))],
    ['DATA before ABORT', concat(DATA, chunk(6, bytesOf()))],
  ])('does not keep %s', (_name, chunks) => {
    expect(decode(RAW, packet(chunks))).toMatchObject({ row: undefined, counters: 'unneeded' });
  });

  it.each([
    ['no chunk', ipv4(sctp(bytesOf()), { protocol: 132 })],
    ['a chunk shorter than its header', packet(chunk(6, bytesOf(), 3))],
    ['a chunk longer than the packet', packet(chunk(7, bytesOf(0, 0, 0, 1), 9))],
    ['an INIT without its fixed part', packet(chunk(1, new Uint8Array(12)))],
  ])('refuses %s', (_name, bytes) => {
    expect(decode(RAW, bytes)).toMatchObject({ row: undefined, counters: 'malformed' });
  });

  it('prints the initiate tag and what follows it', () => {
    const printOf = (bytes: Uint8Array): number => decode(RAW, bytes).row?.print ?? -1;
    expect(printOf(packet(INIT_CHUNK))).toBe(printOf(packet(INIT_CHUNK, 5)));
    expect(printOf(packet(chunk(1, initBody(1))))).not.toBe(printOf(packet(chunk(1, initBody(2)))));
    const parameters = chunk(1, initBody(1, bytesOf(0, 12, 0, 6, 0, 5, 0, 0)));
    expect(printOf(packet(parameters))).not.toBe(printOf(packet(chunk(1, initBody(1)))));
  });
});

describe('ICMP errors', () => {
  const error4 = (type: number, quoted: Uint8Array, code = 3): Uint8Array =>
    ipv4(icmp(type, code, quoted), {
      protocol: 1,
      src: '192.168.77.12',
      dst: '10.244.1.2',
      ttl: 63,
    });
  const error6 = (type: number, quoted: Uint8Array): Uint8Array =>
    ipv6(icmp(type, 4, quoted), { next: 58, src: 'fd00::12', dst: 'fd00::2' });
  const QUOTED_UDP = ipv4(udp(QUERY), { protocol: 17 });
  const QUOTED_SCTP = ipv4(INIT, { protocol: 132 });

  it.each([3, 11, 12])('type %i gives the quoted tuple', (type) => {
    expect(decode(ETHERNET, ethernet(error4(type, SYN4))).row).toMatchObject({
      protocol: 'tcp',
      class: 1,
      flags: (type << 8) | 3,
      src: '10.244.1.2:36033',
      dst: '10.96.81.51:80',
      sender: '192.168.77.12',
      seq: 0x95fa6586,
      ack: 0,
      print: 0,
      ttl: 63,
      payload: 0,
      bytes: 88,
    });
  });

  it.each([1, 2, 3, 4])('ICMPv6 type %i gives the quoted tuple', (type) => {
    const quoted = ipv6(extension(SYN, 6), { next: 0 });
    expect(decode(ETHERNET, ethernet(error6(type, quoted))).row).toMatchObject({
      protocol: 'tcp',
      class: 1,
      flags: (type << 8) | 4,
      src: '[fd00:10:244:1::2]:36033',
      dst: '[fd00:10:96::51]:80',
      sender: 'fd00::12',
      seq: 0x95fa6586,
    });
  });

  it('needs only eight bytes of the quoted transport', () => {
    for (const [quoted, expected] of [
      [SYN4, { protocol: 'tcp', seq: 0x95fa6586 }],
      [QUOTED_UDP, { protocol: 'udp', seq: 0, dst: '10.96.81.51:53' }],
      [QUOTED_SCTP, { protocol: 'sctp', seq: 0, ack: 0, dst: '10.96.81.51:9999' }],
    ] as const) {
      expect(decode(RAW, error4(3, quoted.subarray(0, 28))).row).toMatchObject(expected);
      expect(decode(RAW, error4(3, quoted.subarray(0, 27))).counters).toBe('malformed');
    }
  });

  it('takes the tags of a quoted SCTP packet as far as they are there', () => {
    expect(decode(RAW, error4(3, QUOTED_SCTP)).row).toMatchObject({ seq: 0xcafe0001, ack: 0 });
    const cut = concat(error4(3, QUOTED_SCTP.subarray(0, 28)), QUOTED_SCTP.subarray(28));
    expect(decode(ETHERNET, ethernet(cut)).row).toMatchObject({ seq: 0, ack: 0 });
    const data = ipv4(sctp(chunk(0, new Uint8Array(16)), { tag: 0xbeef }), { protocol: 132 });
    expect(decode(RAW, error4(3, data)).row).toMatchObject({ seq: 0, ack: 0xbeef });
  });

  it.each([
    ['an echo', error4(8, SYN4), 'otherTransport'],
    ['a redirect', error4(5, SYN4), 'otherTransport'],
    ['a source quench', error4(4, SYN4), 'otherTransport'],
    ['a neighbour solicitation', error6(135, SYN6), 'otherTransport'],
    ['ICMPv6 type 0', error6(0, SYN6), 'otherTransport'],
    [
      'an error about an echo',
      error4(3, ipv4(icmp(8, 0, QUERY), { protocol: 1 })),
      'otherTransport',
    ],
    [
      'an error about a later fragment',
      error4(3, ipv4(SYN, { protocol: 6, fragment: 5 })),
      'laterFragments',
    ],
    ['an error that quotes the other family', error4(3, SYN6), 'malformed'],
    ['an error that quotes nothing', error4(3, bytesOf()), 'malformed'],
    ['an error that quotes no IP', error4(3, bytesOf(1, 2, 3, 4)), 'malformed'],
    ['an ICMP message of 7 bytes', ipv4(new Uint8Array(7), { protocol: 1 }), 'malformed'],
  ])('does not keep %s', (_name, packet, counter) => {
    expect(decode(RAW, packet)).toMatchObject({ row: undefined, counters: counter });
  });
});

describe('tunnels', () => {
  const inner = ethernet(SYN4);
  const outer = (payload: Uint8Array, dport: number): Uint8Array =>
    ethernet(
      ipv4(udp(payload, { sport: 55_555, dport }), {
        protocol: 17,
        src: '192.168.77.11',
        dst: '192.168.77.12',
      }),
    );
  const v6Options = { next: 41, src: 'fd00::a', dst: 'fd00::b' };
  const v4Outer = { src: '192.168.77.11', dst: '192.168.77.12' };

  it.each([
    ['VXLAN on 8472', outer(vxlan(inner), 8_472), 1, TCP_ROW],
    ['VXLAN on 4789', outer(vxlan(inner), 4_789), 1, TCP_ROW],
    [
      'VXLAN with a tagged frame',
      outer(vxlan(ethernet(SYN4, { tags: [0x8100] })), 4_789),
      1,
      TCP_ROW,
    ],
    ['VXLAN with IPv6', outer(vxlan(ethernet(SYN6)), 8_472), 1, TCP6_ROW],
    [
      'VXLAN over IPv6',
      ethernet(ipv6(udp(vxlan(inner), { dport: 8_472 }), { next: 17 })),
      1,
      TCP_ROW,
    ],
    ['Geneve', outer(geneve(inner), 6_081), 2, TCP_ROW],
    [
      'Geneve with options',
      outer(geneve(inner, { options: new Uint8Array(12) }), 6_081),
      2,
      TCP_ROW,
    ],
    ['Geneve with critical options', outer(geneve(inner, { second: 0x40 }), 6_081), 2, TCP_ROW],
    ['Geneve with IPv4', outer(geneve(SYN4, { type: 0x0800 }), 6_081), 2, TCP_ROW],
    ['Geneve with IPv6', outer(geneve(SYN6, { type: 0x86dd }), 6_081), 2, TCP6_ROW],
    ['IP in IP', ethernet(ipv4(SYN4, { protocol: 4, ...v4Outer })), 3, TCP_ROW],
    ['IPv6 in IP', ethernet(ipv4(SYN6, { protocol: 41, ...v4Outer })), 3, TCP6_ROW],
    ['IPv6 in IPv6', ethernet(ipv6(SYN6, v6Options)), 3, TCP6_ROW],
    ['IP in IPv6', ethernet(ipv6(SYN4, { ...v6Options, next: 4 })), 3, TCP_ROW],
  ])('%s gives the inner packet', (_name, frame, encapsulation, expected) => {
    const { row, counters } = decode(ETHERNET, frame);
    expect(row).toMatchObject({ ...expected, encapsulation });
    expect(counters).toBe('kept');
  });

  it('gives an ICMP error inside a tunnel, and the direction of the outer frame', () => {
    const error = ipv4(icmp(3, 3, SYN4), { protocol: 1, src: '10.244.2.9' });
    const packet = ipv4(udp(vxlan(ethernet(error)), { dport: 8_472 }), { protocol: 17 });
    expect(decode(SLL2, sll2(packet, { packetType: 4 })).row).toMatchObject({
      class: 1,
      sender: '10.244.2.9',
      encapsulation: 1,
      direction: 2,
    });
  });

  const ack = ipv4(tcp({ flags: 0x10 }), { protocol: 6 });
  it.each([
    ['an inner ACK', outer(vxlan(ethernet(ack)), 8_472), 'unneeded'],
    ['an inner ARP', outer(vxlan(ethernet(SYN4, { type: 0x0806 })), 8_472), 'nonIp'],
    [
      'an inner fragment',
      outer(geneve(ethernet(ipv4(SYN, { protocol: 6, fragment: 9 }))), 6_081),
      'laterFragments',
    ],
    [
      'an inner header that lies',
      outer(vxlan(ethernet(ipv4(SYN, { protocol: 6, headerWords: 1 }))), 8_472),
      'malformed',
    ],
    ['an inner frame of 13 bytes', outer(vxlan(inner.subarray(0, 13)), 8_472), 'malformed'],
    ['an inner ACK in IP in IP', ethernet(ipv4(ack, { protocol: 4 })), 'unneeded'],
    ['no inner header', ethernet(ipv4(bytesOf(), { protocol: 4 })), 'malformed'],
    [
      'IP in IP in IP',
      ethernet(ipv4(ipv4(SYN4, { protocol: 4 }), { protocol: 4 })),
      'otherTransport',
    ],
  ])('%s gives nothing', (_name, frame, counter) => {
    expect(decode(ETHERNET, frame)).toMatchObject({ row: undefined, counters: counter });
  });

  it.each([
    ['a payload below a VXLAN header', bytesOf(8, 0, 0, 0, 0, 0, 1), 8_472],
    ['another flag', vxlan(inner, [9, 0, 0, 0, 0, 0, 1, 0]), 8_472],
    ['no flag', vxlan(inner, [0, 0, 0, 0, 0, 0, 1, 0]), 8_472],
    ['reserved bits at the front', vxlan(inner, [8, 0, 0, 1, 0, 0, 1, 0]), 4_789],
    ['a reserved bit at the end', vxlan(inner, [8, 0, 0, 0, 0, 0, 1, 1]), 4_789],
    ['another Geneve version', geneve(inner, { first: 0x40 }), 6_081],
    ['a Geneve control packet', geneve(inner, { second: 0x80 }), 6_081],
    ['a reserved Geneve bit', geneve(inner, { second: 0x01 }), 6_081],
    ['a reserved Geneve byte', geneve(inner, { last: 1 }), 6_081],
    ['an unknown Geneve type', geneve(inner, { type: 0x1234 }), 6_081],
    ['Geneve options beyond the datagram', geneve(bytesOf(), { first: 1 }), 6_081],
    ['VXLAN on another port', vxlan(inner), 8_473],
  ])('%s is an ordinary datagram', (_name, payload, dport) => {
    expect(decode(ETHERNET, outer(payload, dport)).row).toMatchObject({
      protocol: 'udp',
      src: '192.168.77.11:55555',
      dst: `192.168.77.12:${dport}`,
      payload: payload.length,
      encapsulation: 0,
    });
  });

  it('enters one level only', () => {
    const twice = outer(vxlan(outer(vxlan(inner), 8_472)), 8_472);
    expect(decode(ETHERNET, twice).row).toMatchObject({
      protocol: 'udp',
      dst: '192.168.77.12:8472',
      encapsulation: 1,
    });
  });
});

describe('frames cut at every length', () => {
  const FRAMES: [string, number, Uint8Array, number][] = [
    // The last column: how many bytes are enough for a row.
    ['Ethernet IPv4 TCP', ETHERNET, ethernet(SYN4), 54],
    ['Ethernet IPv6 TCP', ETHERNET, ethernet(SYN6), 74],
    ['three VLAN tags', ETHERNET, ethernet(SYN4, { tags: [0x88a8, 0x8100, 0x8100] }), 66],
    ['SLL', SLL, sll(SYN4), 56],
    ['SLL2 with a tag', SLL2, sll2(SYN4, { tags: [0x8100] }), 64],
    ['NULL', 0, loopback(SYN6, 24), 64],
    ['RAW with IPv4 options', RAW, ipv4(SYN, { protocol: 6, options: bytesOf(1, 1, 1, 0) }), 44],
    [
      'IPv6 extension headers',
      RAW,
      ipv6(extension(authentication(fragment6(SYN, 6, 0, false), 44), 51), { next: 0 }),
      100,
    ],
    ['UDP', ETHERNET, ethernet(ipv4(udp(QUERY), { protocol: 17 })), 42],
    ['SCTP INIT', ETHERNET, ethernet(ipv4(INIT, { protocol: 132 })), 54],
    ['SCTP ABORT', ETHERNET, ethernet(ipv4(sctp(chunk(6, bytesOf())), { protocol: 132 })), 50],
    ['an ICMP error', ETHERNET, ethernet(ipv4(icmp(3, 3, SYN4), { protocol: 1 })), 70],
    ['an ICMPv6 error', ETHERNET, ethernet(ipv6(icmp(1, 4, SYN6), { next: 58 })), 110],
    ['IP in IP', RAW, ipv4(SYN4, { protocol: 4 }), 60],
    [
      'Geneve',
      ETHERNET,
      ethernet(
        ipv4(udp(geneve(SYN4, { type: 0x0800, options: new Uint8Array(8) }), { dport: 6_081 }), {
          protocol: 17,
        }),
      ),
      98,
    ],
  ];
  it.each(FRAMES)('%s', (_name, linkType, frame, enough) => {
    for (let captured = 0; captured < frame.length; captured++) {
      const part = frame.subarray(0, captured);
      const { row, counters } = decode(linkType, part, frame.length);
      if (captured >= enough) {
        expect(counters).toBe('kept');
      } else if (row === undefined) {
        expect(counters).toBe('cut');
      } else {
        // A tunnel's header that was cut leaves the outer datagram.
        expect(row).toMatchObject({ protocol: 'udp', dst: '10.96.81.51:6081' });
      }
      // The same bytes as a whole frame: the headers then lie, or say that more was sent.
      expect(decode(linkType, part).counters).toMatch(/^(kept|cut|malformed)$/);
    }
  });

  it('VXLAN leaves the outer datagram while its header is cut, then nothing until the inner one is there', () => {
    const frame = ethernet(ipv4(udp(vxlan(ethernet(SYN4)), { dport: 8_472 }), { protocol: 17 }));
    const seen: string[] = [];
    for (let captured = 0; captured <= frame.length; captured++) {
      const { row, counters } = decode(ETHERNET, frame.subarray(0, captured), frame.length);
      const what = row === undefined ? counters : `${row.protocol} ${row.encapsulation}`;
      if (what !== seen.at(-1)) seen.push(what);
    }
    expect(seen).toEqual(['cut', 'udp 0', 'cut', 'tcp 1']);
  });
});
