import type { Family, Words } from './world.js';

/** How frames begin. */
export interface LinkShape {
  readonly link: 'ethernet' | 'sll2';
  /** An 802.1Q tag; Ethernet only. */
  readonly vlan: boolean;
}

export const SYN = 2;
export const ACK = 16;
export const FIN = 1;
export const PSH = 8;

/** The far ends of a segment. */
export interface Ends {
  readonly family: Family;
  readonly src: Words;
  readonly sport: number;
  readonly dst: Words;
  readonly dport: number;
}

export interface Segment {
  readonly flags: number;
  readonly seq: number;
  readonly ack: number;
  /** TSval: another one in a retransmission. */
  readonly stamp: number;
  readonly payload: number;
  /** SLL2 says where the packet was seen. */
  readonly interfaceIndex: number;
}

/** Linux's SYN: MSS, SACK permitted, timestamps, no-operation, window scale. */
const SYN_OPTIONS = Uint8Array.of(2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0, 1, 3, 3, 7);
const OTHER_OPTIONS = Uint8Array.of(1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0);
const ADDRESSES = Uint8Array.of(2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2);

/**
 * Writes a TCP segment's frame at `at` and returns its length. The payload is left as the buffer has it;
 * checksums are 0, as before an interface fills them in.
 */
export function writeFrame(
  out: Buffer,
  at: number,
  shape: LinkShape,
  ends: Ends,
  segment: Segment,
): number {
  const options = (segment.flags & SYN) !== 0 ? SYN_OPTIONS : OTHER_OPTIONS;
  const tcp = 20 + options.length;
  let p = writeLink(out, at, shape, ends.family, segment.interfaceIndex);
  p = writeIp(out, p, ends, tcp + segment.payload, segment);
  out.writeUInt16BE(ends.sport, p);
  out.writeUInt16BE(ends.dport, p + 2);
  out.writeUInt32BE(segment.seq >>> 0, p + 4);
  out.writeUInt32BE(segment.ack >>> 0, p + 8);
  out[p + 12] = tcp << 2;
  out[p + 13] = segment.flags;
  out.writeUInt16BE(64_240, p + 14);
  out.writeUInt32BE(0, p + 16);
  out.set(options, p + 20);
  out.writeUInt32BE(segment.stamp >>> 0, p + 20 + (options === SYN_OPTIONS ? 8 : 4));
  return p + tcp + segment.payload - at;
}

function writeLink(
  out: Buffer,
  at: number,
  shape: LinkShape,
  family: Family,
  interfaceIndex: number,
): number {
  const etherType = family === 4 ? 0x0800 : 0x86dd;
  if (shape.link === 'sll2') {
    // draft-ietf-opsawg-pcaplinktype, LINKTYPE_LINUX_SLL2: type, reserved, index, ARPHRD_ETHER, PACKET_HOST, address.
    out.writeUInt16BE(etherType, at);
    out.writeUInt16BE(0, at + 2);
    out.writeUInt32BE(interfaceIndex, at + 4);
    out.writeUInt16BE(1, at + 8);
    out[at + 10] = 0;
    out[at + 11] = 6;
    out.set(ADDRESSES.subarray(0, 6), at + 12);
    out.writeUInt16BE(0, at + 18);
    return at + 20;
  }
  out.set(ADDRESSES, at);
  if (!shape.vlan) {
    out.writeUInt16BE(etherType, at + 12);
    return at + 14;
  }
  out.writeUInt16BE(0x8100, at + 12);
  out.writeUInt16BE(7, at + 14);
  out.writeUInt16BE(etherType, at + 16);
  return at + 18;
}

function writeIp(out: Buffer, at: number, ends: Ends, length: number, segment: Segment): number {
  if (ends.family === 4) {
    out[at] = 0x45;
    out[at + 1] = 0;
    out.writeUInt16BE(20 + length, at + 2);
    // The identification is kept by NAT and differs between a segment and its retransmission.
    out.writeUInt16BE((segment.seq + segment.stamp) & 0xffff, at + 4);
    out.writeUInt16BE(0x4000, at + 6);
    out[at + 8] = 64;
    out[at + 9] = 6;
    out.writeUInt16BE(0, at + 10);
    out.writeUInt32BE(ends.src[0], at + 12);
    out.writeUInt32BE(ends.dst[0], at + 16);
    return at + 20;
  }
  out.writeUInt32BE(0x60000000, at);
  out.writeUInt16BE(length, at + 4);
  out[at + 6] = 6;
  out[at + 7] = 64;
  for (let i = 0; i < 4; i++) {
    out.writeUInt32BE(ends.src[i] ?? 0, at + 8 + 4 * i);
    out.writeUInt32BE(ends.dst[i] ?? 0, at + 24 + 4 * i);
  }
  return at + 40;
}
