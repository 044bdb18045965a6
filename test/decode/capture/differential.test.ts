import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FrameDecoder } from '../../../src/decode/capture/frame.js';
import { CaptureReader } from '../../../src/decode/capture/reader.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { P_INTERFACE, PACKET_WORDS } from '../../../src/model/packet.js';
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
  PcapngBuilder,
  pcap,
  sctp,
  sll,
  sll2,
  tcp,
  udp,
  vxlan,
} from '../../support/capture-builder.js';
import { seeded } from '../../support/seeded.js';
import { plainFrame, wordsOf } from './plain-decoder.js';
import { plainFile } from './plain-file.js';

/** Choices that follow from a seed. */
class Dice {
  private readonly next: () => number;

  constructor(seed: number) {
    this.next = seeded(seed);
  }

  /** A whole number below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  chance(share: number): boolean {
    return this.next() < share;
  }

  one<T>(items: readonly [T, ...T[]]): T {
    return items[this.below(items.length)] ?? items[0];
  }

  bytes(limit: number): Uint8Array {
    return Uint8Array.from({ length: this.below(limit + 1) }, () => this.below(256));
  }
}

const word = (value: number): Uint8Array =>
  bytesOf(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);

/** Options as systems write them, and as nobody does. */
function options(dice: Dice): Uint8Array {
  const stamp = concat(word(dice.below(2 ** 32)), word(dice.below(2 ** 32)));
  switch (dice.below(7)) {
    case 0:
      return bytesOf();
    case 1:
      return concat(bytesOf(1, 1, 8, 10), stamp);
    case 2:
      // Linux
      return concat(bytesOf(2, 4, 5, dice.below(256), 4, 2, 8, 10), stamp, bytesOf(1, 3, 3, 7));
    case 3:
      // Windows
      return bytesOf(2, 4, 5, dice.below(256), 1, 3, 3, 8, 1, 1, 4, 2);
    case 4:
      // macOS
      return concat(bytesOf(2, 4, 5, 180, 1, 3, 3, 6, 1, 1, 8, 10), stamp, bytesOf(4, 2, 0, 0));
    case 5:
      return bytesOf(8, 10, 1, 2, 3, 4, 2, 4, 5, 6, 2, 9);
    default: {
      const some = dice.bytes(40);
      return some.subarray(0, some.length & ~3);
    }
  }
}

function segment(dice: Dice): Uint8Array {
  return tcp({
    sport: dice.below(65_536),
    seq: dice.below(2 ** 32),
    ack: dice.below(2 ** 32),
    flags: dice.one([2, 2, 18, 18, 17, 4, 20, 1, 16, 24, dice.below(256)]),
    window: dice.below(65_536),
    options: options(dice),
    payload: dice.bytes(dice.one([0, 0, 60])),
    ...(dice.chance(0.03) && { headerWords: dice.below(16) }),
  });
}

/** Protocol number and what it carries. */
function transport(dice: Dice, depth: number): [number, Uint8Array] {
  switch (dice.below(depth > 0 ? 12 : 8)) {
    case 0: {
      const length = dice.chance(0.1) ? { length: dice.below(80) } : {};
      return [17, udp(dice.bytes(60), { dport: dice.one([53, 4789, 8472, 6081]), ...length })];
    }
    case 1: {
      const type = dice.one([1, 1, 2, 6, 7, 14, 0, 10]);
      const body = type < 3 ? initBody(dice.below(2 ** 32), dice.bytes(12)) : dice.bytes(12);
      return [132, sctp(chunk(type, body), { tag: dice.below(2 ** 32) })];
    }
    case 2:
      return [dice.below(256), dice.bytes(60)];
    case 8:
    case 9: {
      const inner = internet(dice, depth - 1);
      const cut = dice.chance(0.5) ? inner : inner.subarray(0, 28 + dice.below(40));
      const [v4, v6] = [dice.one([3, 11, 12, 5, 0]), dice.one([1, 2, 3, 4, 128])];
      return dice.chance(0.5)
        ? [1, icmp(v4, dice.below(16), cut)]
        : [58, icmp(v6, dice.below(8), cut)];
    }
    case 10: {
      const frame = link(dice, depth - 1, 1);
      if (dice.chance(0.5)) {
        const header = dice.chance(0.1) ? [8, 0, 0, dice.below(3), 0, 0, 1, 0] : undefined;
        return [17, udp(vxlan(frame, header), { dport: dice.one([4789, 8472]) })];
      }
      const inner = dice.chance(0.3) ? internet(dice, depth - 1) : frame;
      const type = inner === frame ? 0x6558 : dice.one([0x0800, 0x86dd, 0x1234]);
      const length = dice.below(3) * 4;
      const tunnel = geneve(inner, { type, options: new Uint8Array(length) });
      return [17, udp(tunnel, { dport: 6081 })];
    }
    case 11:
      return [dice.one([4, 41]), internet(dice, depth - 1)];
    default:
      return [6, segment(dice)];
  }
}

function internet(dice: Dice, depth: number): Uint8Array {
  const [protocol, payload] = transport(dice, depth);
  if (protocol === 1 || (protocol !== 58 && dice.chance(0.55))) {
    return ipv4(payload, {
      protocol,
      src: `10.244.${dice.below(256)}.${dice.below(256)}`,
      ttl: dice.below(256),
      id: dice.below(65_536),
      fragment: dice.one([0x4000, 0x4000, 0, 0x2000, 0x8000, dice.below(65_536)]),
      ...(dice.chance(0.1) && { options: new Uint8Array(4 * dice.below(11)) }),
      ...(dice.chance(0.03) && { length: dice.below(120) }),
      ...(dice.chance(0.02) && { version: dice.below(16) }),
    });
  }
  let next = protocol;
  let body = payload;
  while (dice.chance(0.25)) {
    const kind = dice.one([0, 43, 60, 44, 51]);
    if (kind === 44) {
      body = fragment6(body, next, dice.chance(0.8) ? 0 : dice.below(9), dice.chance(0.5));
    } else if (kind === 51) {
      body = authentication(body, next);
    } else {
      body = extension(body, next, 1 + dice.below(3));
    }
    next = kind;
  }
  return ipv6(body, {
    next,
    hopLimit: dice.below(256),
    ...(dice.chance(0.05) && { length: dice.below(120) }),
  });
}

/** A frame of a link type. */
function link(dice: Dice, depth: number, linkType: number): Uint8Array {
  const packet = internet(dice, depth);
  const tags: number[] = [];
  while (dice.chance(0.3)) tags.push(dice.one([0x8100, 0x8100, 0x88a8, 0x9100]));
  const type = dice.chance(0.03) ? { type: dice.one([0x0800, 0x86dd, 0x0806]) } : {};
  switch (linkType) {
    case 1:
      return ethernet(packet, { tags, ...type });
    case 113:
      return sll(packet, { tags, packetType: dice.below(7), ...type });
    case 276:
      return sll2(packet, { tags, packetType: dice.below(7), index: dice.below(4), ...type });
    case 0:
    case 108:
      return loopback(packet, dice.one([2, 10, 24, 28, 30, 7]), dice.chance(0.5));
    default:
      return packet;
  }
}

const LINK_TYPES = [1, 1, 1, 276, 276, 113, 101, 12, 0, 108, 228, 229, 127] as const;

/** One to six changes: bits, borders, pieces left out or told twice, an earlier end. */
function changed(dice: Dice, original: Uint8Array): Uint8Array {
  let bytes: Uint8Array = new Uint8Array(original);
  for (let changes = 1 + dice.below(6); changes > 0; changes--) {
    const at = dice.below(bytes.length + 1);
    switch (dice.below(6)) {
      case 0:
        bytes = bytes.slice(0, at);
        break;
      case 1:
        bytes = concat(bytes.subarray(0, at), bytes.subarray(dice.below(at + 1)));
        break;
      case 2:
        bytes[at] = dice.one([0, 1, 4, 6, 0x0f, 0x45, 0x60, 0x7f, 0x80, 0xff]);
        break;
      default:
        bytes[at] = (bytes[at] ?? 0) ^ (1 << dice.below(8));
    }
  }
  return bytes;
}

/** Holds the decoder against the plain one; whether there was a row. The decoder is used again and again, so that nothing may be left over from the frame before. */
function compareFrame(
  decoder: FrameDecoder,
  rows: PacketRows,
  linkType: number,
  frame: Uint8Array,
  onWire: number,
): boolean {
  // As in a file, something else stands before and behind.
  const around = new Uint8Array(48).fill(0xff);
  rows.clear();
  const kept = decoder.kept;
  const at = decoder.decode(linkType, concat(around, frame, around), 48, frame.length, onWire);
  const plain = plainFrame(linkType, frame, onWire);
  const expected = plain === undefined ? [] : wordsOf(plain);
  const found = [...rows.words.subarray(0, rows.length * PACKET_WORDS)];
  if (found.join() !== expected.join()) {
    expect({ linkType, onWire, frame: [...frame], row: found }).toEqual({
      linkType,
      onWire,
      frame: [...frame],
      row: expected,
    });
  }
  expect(at).toBe(plain === undefined ? -1 : 0);
  expect(decoder.kept).toBe(kept + rows.length);
  if (plain !== undefined) expect(decoder.linkIndex).toBe(plain.linkIndex);
  return plain !== undefined;
}

/** A decoder whose row's memory is full of ones at first. */
function dirty(): { rows: PacketRows; decoder: FrameDecoder } {
  const rows = new PacketRows(1);
  rows.words.fill(0xffff_ffff);
  return { rows, decoder: new FrameDecoder(rows) };
}

describe('the decoder of frames and a plain one agree', () => {
  it('on frames of all kinds, whole and changed', () => {
    const { rows, decoder } = dirty();
    let kept = 0;
    const frames = 6_000;
    for (let seed = 0; seed < frames; seed++) {
      const dice = new Dice(seed);
      const linkType = dice.one(LINK_TYPES);
      const frame = link(dice, 2, linkType);
      if (compareFrame(decoder, rows, linkType, frame, frame.length)) kept++;
      const other = changed(dice, frame);
      const onWire = dice.chance(0.7) ? other.length : dice.below(2_000);
      if (compareFrame(decoder, rows, linkType, other, onWire)) kept++;
    }
    // Else the comparison would say little.
    expect(kept).toBeGreaterThan(frames / 2);
  });

  it('on frames cut at each length', () => {
    const { rows, decoder } = dirty();
    for (let seed = 0; seed < 250; seed++) {
      const dice = new Dice(1_000_000 + seed);
      const linkType = dice.one(LINK_TYPES);
      const frame = link(dice, 2, linkType);
      for (let length = 0; length < Math.min(frame.length, 160); length++) {
        compareFrame(decoder, rows, linkType, frame.subarray(0, length), frame.length);
      }
    }
  });

  it('on any bytes behind headers that a straight road may begin with', () => {
    const { rows, decoder } = dirty();
    const heads = fc.constantFrom<[number, Uint8Array]>(
      [1, bytesOf()],
      [1, ethernet(bytesOf(0x45), { type: 0x0800 })],
      [1, ethernet(bytesOf(0x45, 0, 0, 60, 0, 1, 0x40, 0, 64, 6), { type: 0x0800 })],
      [1, ethernet(bytesOf(0x60, 0, 0, 0, 0, 40, 6, 64), { type: 0x86dd, tags: [0x8100] })],
      [276, sll2(bytesOf(0x45, 0, 0, 60, 0, 1, 0, 0, 64, 6), { type: 0x0800 })],
      [276, sll2(bytesOf(0x60, 0, 0, 0, 0, 20, 6), { type: 0x86dd })],
    );
    fc.assert(
      fc.property(heads, fc.uint8Array({ maxLength: 100 }), ([linkType, head], tail) => {
        const frame = concat(head, tail);
        compareFrame(decoder, rows, linkType, frame, frame.length);
      }),
      { numRuns: 300, seed: 4 },
    );
  });
});

/** Rows of all pieces of a file, `sizes` in turn; the reader's rows are full of ones before each piece. */
function readRows(file: Uint8Array, sizes: readonly number[], interfaces: Interfaces): number[] {
  const reader = new CaptureReader({ interfaces });
  const words: number[] = [];
  for (let at = 0, i = 0; at < file.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? file.length);
    reader.rows.words.fill(0xffff_ffff);
    reader.feed(file.subarray(at, at + size));
    for (const w of reader.rows.words.subarray(0, reader.rows.length * PACKET_WORDS)) words.push(w);
    reader.rows.clear();
    at += size;
  }
  reader.end();
  return words;
}

/** Number of the rows that both gave. Interfaces are compared by what they are: their numbers follow from who asks first. */
function compareFile(file: Uint8Array, sizes: readonly number[]): number {
  const [theirs, ours] = [new Interfaces(), new Interfaces()];
  const expected = plainFile(file, theirs);
  const found = readRows(file, sizes, ours);
  expect(found.length).toBe(expected.length * PACKET_WORDS);
  expected.forEach((row, i) => {
    const words = found.slice(i * PACKET_WORDS, (i + 1) * PACKET_WORDS);
    expect(ours.get(words[P_INTERFACE] ?? -1)).toEqual(theirs.get(row.interface));
    words[P_INTERFACE] = row.interface;
    expect(words).toEqual(wordsOf(row));
  });
  return expected.length;
}

function pcapFile(dice: Dice): Uint8Array {
  const linkType = dice.one(LINK_TYPES);
  const records = Array.from({ length: dice.below(12) }, () => {
    const frame = link(dice, 1, linkType);
    const captured = dice.chance(0.8) ? frame : frame.subarray(0, dice.below(frame.length));
    return {
      frame: captured,
      onWire: frame.length,
      seconds: dice.below(2 ** 32),
      fraction: dice.chance(0.9) ? dice.below(1_000_000) : dice.below(2 ** 32),
    };
  });
  const magic = dice.one([0xa1b2c3d4, 0xa1b23c4d, 0xa1b2cd34]);
  return pcap(records, { linkType, magic, little: dice.chance(0.6) });
}

function pcapngFile(dice: Dice): Uint8Array {
  const file = new PcapngBuilder();
  for (let sections = 1 + dice.below(3); sections > 0; sections--) {
    file.section({ little: dice.chance(0.6), version: [1, dice.one([0, 2])] });
    const links: number[] = [];
    const units: bigint[] = [];
    for (let count = 1 + dice.below(3); count > 0; count--) {
      const linkType = dice.one(LINK_TYPES);
      const tsresol = dice.one([0, 3, 6, 9, 9, 9, 12, 0x94, 0xbf, dice.below(256)]);
      links.push(linkType);
      units.push(tsresol > 0x7f ? 2n ** BigInt(tsresol & 0x7f) : 10n ** BigInt(tsresol));
      file.interface({
        linkType,
        snapLength: dice.one([0, 64, 262_144]),
        ...(dice.chance(0.7) && { name: dice.one(['eth0', 'any', 'veth1\0', 'cni0']) }),
        tsresol,
        ...(dice.chance(0.3) && { tsoffset: BigInt(dice.below(4_000)) - 2_000n }),
      });
    }
    for (let packets = dice.below(10); packets > 0; packets--) {
      const number = dice.below(links.length);
      const frame = link(dice, 1, links[number] ?? 1);
      const captured = dice.chance(0.8) ? frame : frame.subarray(0, dice.below(frame.length));
      // About whole seconds, early, now and at the end of what 32 bits can hold.
      const second = BigInt(dice.one([dice.below(2 ** 32), 1_795_377_821, 2 ** 32 - 1, 2 ** 32]));
      const beside = BigInt(dice.one([-1, 0, 1, dice.below(2 ** 31)]));
      const told = {
        interface: dice.chance(0.95) ? number : links.length,
        onWire: frame.length,
        time: second * (units[number] ?? 1n) + beside,
        options: dice.chance(0.4) ? file.flags(dice.below(4)) : bytesOf(),
      };
      const kind = dice.below(6);
      if (kind === 0) file.simple(captured, frame.length);
      else if (kind === 1) file.packet(captured, told);
      else file.enhanced(captured, told);
    }
    if (dice.chance(0.3)) file.block(0x0bad, dice.bytes(40));
  }
  return file.bytes();
}

describe('the readers of files and plain ones agree', () => {
  it.each([
    ['pcap', pcapFile],
    ['pcapng', pcapngFile],
  ] as const)('on %s, whole, changed and in pieces', (_name, build) => {
    let rows = 0;
    for (let seed = 0; seed < 400; seed++) {
      const dice = new Dice(2_000_000 + seed);
      const file = build(dice);
      rows += compareFile(file, [file.length]);
      const sizes = [1 + dice.below(300), 1 + dice.below(50)];
      compareFile(file, sizes);
      compareFile(changed(dice, file), sizes);
    }
    expect(rows).toBeGreaterThan(400);
  });

  const recordings = new URL('data/', import.meta.url);
  it.each(readdirSync(recordings).filter((name) => name.endsWith('.gz')))('on %s', (name) => {
    const file = gunzipSync(readFileSync(new URL(name, recordings)));
    expect(compareFile(file, [1 << 16, 3_000])).toBeGreaterThan(0);
  });
});
