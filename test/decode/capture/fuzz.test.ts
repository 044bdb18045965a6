import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameDecoder } from '../../../src/decode/capture/frame.js';
import { CaptureReader } from '../../../src/decode/capture/reader.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { PacketRows } from '../../../src/model/packet-rows.js';
import {
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
  PcapngBuilder,
  pcap,
  sctp,
  sll,
  sll2,
  synOptions,
  tcp,
  udp,
  vxlan,
} from '../../support/capture-builder.js';
import { viewsOf } from '../../support/packet-view.js';

const SYN = tcp({ options: synOptions() });
const SYN4 = ipv4(SYN, { protocol: 6 });
const SYN6 = ipv6(extension(fragment6(SYN, 6, 0, false), 44), { next: 0 });
const FRAMES: [number, Uint8Array][] = [
  [1, ethernet(SYN4)],
  [1, ethernet(ipv6(SYN, { next: 6 }))],
  [1, ethernet(SYN6, { tags: [0x8100] })],
  [113, sll(SYN4)],
  [276, sll2(SYN6, { tags: [0x8100] })],
  [101, SYN6],
  [0, loopback(SYN4, 2)],
  [1, ethernet(ipv4(udp(bytesOf(1, 2, 3, 4)), { protocol: 17 }))],
  [1, ethernet(ipv4(sctp(chunk(1, initBody(7))), { protocol: 132 }))],
  [1, ethernet(ipv4(icmp(3, 3, SYN4), { protocol: 1 }))],
  [1, ethernet(ipv6(icmp(1, 4, SYN6), { next: 58 }))],
  [1, ethernet(ipv4(udp(vxlan(ethernet(SYN6)), { dport: 8_472 }), { protocol: 17 }))],
  [
    1,
    ethernet(
      ipv4(udp(geneve(SYN4, { type: 0x0800, options: new Uint8Array(8) }), { dport: 6_081 }), {
        protocol: 17,
      }),
    ),
  ],
  [101, ipv4(SYN6, { protocol: 41 })],
];

const linkTypes = fc.constantFrom(0, 1, 12, 14, 101, 108, 113, 228, 229, 276, 127);

/** A small generator whose numbers follow from its seed (xorshift32), so that a failure can be repeated. */
function numbersFrom(seed: number): (below: number) => number {
  let state = seed | 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

/** Bytes that matter more often than others: lengths, versions, flags at their borders. */
const BORDERS = [0, 1, 2, 3, 4, 7, 8, 0x0f, 0x10, 0x3f, 0x45, 0x60, 0x7f, 0x80, 0xfe, 0xff];

function mutate(original: Uint8Array, next: (below: number) => number): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(original);
  for (let changes = 1 + next(6); changes > 0; changes--) {
    const at = next(bytes.length + 1);
    switch (next(4)) {
      case 0:
        bytes[at] = BORDERS[next(BORDERS.length)] ?? 0;
        break;
      case 1:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << next(8));
        break;
      case 2:
        bytes = bytes.slice(0, at);
        break;
      default:
        bytes = concat(bytes.subarray(0, at), bytes.subarray(next(at + 1)));
    }
  }
  return bytes;
}

function countersOf(decoder: FrameDecoder): number[] {
  const { kept, cut, malformed, unsupportedLink, nonIp, laterFragments, otherTransport } = decoder;
  return [kept, cut, malformed, unsupportedLink, nonIp, laterFragments, otherTransport];
}

/** Decodes with the frame's end at the memory's end and once among ones: what is outside may not matter. */
function decodeTwice(linkType: number, frame: Uint8Array, onWire: number): void {
  const bare = new PacketRows(1);
  const among = new PacketRows(1);
  const first = new FrameDecoder(bare);
  const second = new FrameDecoder(among);
  const ones = new Uint8Array(200).fill(0xff);
  const at = first.decode(linkType, frame, 0, frame.length, onWire);
  const other = second.decode(linkType, concat(ones, frame, ones), 200, frame.length, onWire);
  expect(other).toBe(at);
  expect(bare.length).toBe(at < 0 ? 0 : 1);
  expect(viewsOf(among)).toEqual(viewsOf(bare));
  const counters = countersOf(first);
  expect(countersOf(second)).toEqual(counters);
  expect(counters.reduce((sum, count) => sum + count)).toBeLessThanOrEqual(1);
  expect(first).toMatchObject({ seen: 1, kept: at < 0 ? 0 : 1 });
}

describe('any bytes as a frame', () => {
  it('give a row or none, and depend on nothing outside', () => {
    fc.assert(
      fc.property(linkTypes, fc.uint8Array({ maxLength: 200 }), fc.nat(70_000), decodeTwice),
      { numRuns: 300, seed: 1 },
    );
  });

  it('give a row or none when they are a changed frame', () => {
    const next = numbersFrom(0xf4a3e5);
    for (let i = 0; i < 6_000; i++) {
      const [linkType, frame] = FRAMES[i % FRAMES.length] ?? [1, bytesOf()];
      const changed = mutate(frame, next);
      decodeTwice(linkType, changed, next(3) === 0 ? changed.length + next(2_000) : changed.length);
    }
  });
});

const CODES =
  /^(capture-(not-recognised|header-cut|link-type|more-faults)|pcap-(version|record-length|record-cut)|pcapng-(byte-order|version|block-length|block-trailer|block-shorter|block-cut|interface|too-many-interfaces|packet-short|packet-length|option-length|statistics|no-time))$/;

/** Reads in pieces of the given sizes in turn and checks what must hold for any input. */
function readAny(file: Uint8Array, sizes: readonly number[]): string {
  const reader = new CaptureReader({ interfaces: new Interfaces() });
  let rows = 0;
  const views: unknown[] = [];
  for (let at = 0, i = 0; at < file.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? file.length);
    reader.feed(file.subarray(at, at + size));
    rows += reader.rows.length;
    views.push(...viewsOf(reader.rows));
    reader.rows.clear();
    at += size;
  }
  reader.end();
  expect(rows).toBe(reader.frames.kept);
  // The smallest record of any kind is a block of 16 bytes.
  expect(reader.packets).toBeLessThanOrEqual(file.length / 12);
  expect(reader.bytes).toBeLessThanOrEqual(file.length);
  expect(reader.problems.length).toBeLessThan(40);
  for (const problem of reader.problems) expect(problem.code).toMatch(CODES);
  expect(reader.problems.filter((problem) => problem.fatal).length).toBeLessThanOrEqual(1);
  return JSON.stringify([
    views,
    reader.problems,
    reader.packets,
    reader.bytes,
    reader.statistics(),
  ]);
}

describe('any bytes as a file', () => {
  const records = FRAMES.filter(([linkType]) => linkType === 1).map(([, frame]) => ({ frame }));
  const ng = new PcapngBuilder().section();
  for (const [linkType] of FRAMES) ng.interface({ linkType, name: `if${linkType}`, tsresol: 9 });
  FRAMES.forEach(([, frame], i) => {
    ng.enhanced(frame, { interface: i, time: BigInt(i), options: ng.flags(1) });
  });
  ng.simple(ethernet(SYN4)).packet(ethernet(SYN4), { drops: 1 }).statistics(0, { 4: 1n, 5: 2n });
  ng.section({ little: false }).interface({ name: 'b', tsresol: 0x94, tsoffset: 5n });
  ng.enhanced(ethernet(SYN4)).block(0x0bad, new Uint8Array(20));
  const FILES = [
    pcap(records),
    pcap(records, { little: false, magic: 0xa1b23c4d }),
    ng.bytes(),
  ] as const;

  it('give documented problems and bounded rows', () => {
    const heads = fc.constantFrom(bytesOf(), ...FILES.map((file) => file.slice(0, 60)));
    const tail = fc.uint8Array({ maxLength: 400 });
    const sizes = fc.array(fc.integer({ min: 1, max: 97 }), { minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(heads, tail, sizes, (head, rest, steps) => {
        const file = concat(head, rest);
        expect(readAny(file, steps)).toBe(readAny(file, [file.length]));
      }),
      { numRuns: 300, seed: 2 },
    );
  });

  it('give documented problems when they are a changed file, in whatever pieces', () => {
    const next = numbersFrom(0xcab1e);
    for (let i = 0; i < 1_500; i++) {
      const file = mutate(FILES[i % FILES.length] ?? bytesOf(), next);
      const steps = [1 + next(300), 1 + next(40)];
      expect(readAny(file, steps)).toBe(readAny(file, [file.length]));
    }
  });
});
