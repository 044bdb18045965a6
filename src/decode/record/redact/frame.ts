import { headerBytes } from '../../capture/headers.js';
import { LINK_ETHERNET, LINK_RAW, LINK_SLL, LINK_SLL2 } from '../../capture/link-types.js';
import { ipv4Checksum, transportChecksum } from './checksum.js';
import type { Pseudonyms } from './pseudonyms.js';

const VLAN_TYPES = new Set([0x8100, 0x88a8, 0x9100]);
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ICMP = 1;
const IP_IN_IP = 4;
const TCP = 6;
const UDP = 17;
const IPV6_IN_IP = 41;
const ICMPV6 = 58;
const SCTP = 132;
/** Hop-by-hop, routing, destination options; fragment; authentication (RFC 8200, section 4). */
const OPTIONS = new Set([0, 43, 60]);
const FRAGMENT = 44;
const AUTHENTICATION = 51;
/** More extension headers in a row than any sender has a use for. */
const MAX_EXTENSIONS = 8;
/** Common header, and of an INIT chunk its fixed part (RFC 9260, 3.3.2): no addresses. */
const SCTP_BYTES = 32;
const INITS = new Set([1, 2]);
const INIT_BYTES = 20;
/** A tunnel's packet, the one in it, and an ICMP error's quotation of one more. */
const MAX_DEPTH = 2;
/** Destination unreachable, time exceeded, parameter problem: unlike a redirect's, their headers have no address. */
const ICMP_ERRORS = new Set([3, 11, 12]);
const ICMPV6_ERRORS = new Set([1, 2, 3, 4]);
const FRAGMENTATION_NEEDED = 4;
const PACKET_TOO_BIG = 2;
/** Options that are kept, and how long they are: MSS, window scale, SACK permitted, SACK, time stamps. */
const TCP_OPTIONS: ReadonlyMap<number, readonly number[]> = new Map([
  [2, [4]],
  [3, [3]],
  [4, [2]],
  [5, [10, 18, 26, 34]],
  [8, [10]],
]);
const NO_OPERATION = 1;

/** What an IP header says of what is behind it. */
interface Packet {
  readonly family: 4 | 6;
  /** Where the addresses are: the source, right behind it the destination. */
  readonly addresses: number;
  /** Behind the packet's last byte, as its header counts them. */
  readonly end: number;
  /** A fragment: what is there of the transport is not all. */
  readonly isPart: boolean;
}

/**
 * Frames with pseudonyms in their headers, of which nothing else is kept: what is not understood, or not there
 * as a whole where an address may be in it, is cut off with all that follows.
 */
export class FrameRedactor {
  private readonly pseudonyms: Pseudonyms;
  private readonly words = new Uint32Array(4);

  constructor(pseudonyms: Pseudonyms) {
    this.pseudonyms = pseudonyms;
  }

  /** A copy of a frame's headers; empty for a link of another kind. */
  headers(linkType: number, bytes: Uint8Array, from: number, captured: number): Uint8Array {
    const kept = headerBytes(linkType, bytes, from, captured);
    const frame = bytes.slice(from, from + kept);
    return frame.subarray(0, this.link(linkType, frame));
  }

  /** The end of what is kept; so for all below. */
  private link(linkType: number, frame: Uint8Array): number {
    switch (linkType) {
      case LINK_ETHERNET:
        if (frame.length < 14) return 0;
        this.pseudonyms.hardware(frame, 0);
        this.pseudonyms.hardware(frame, 6);
        return this.tagged(frame, 12);
      case LINK_SLL:
        // Packet type 2, ARPHRD 2, address length 2, address 8, protocol 2.
        if (frame.length < 16) return 0;
        this.cooked(frame, 6, u16(frame, 4));
        return this.tagged(frame, 14);
      case LINK_SLL2: {
        // Protocol 2, reserved 2, interface 4, ARPHRD 2, packet type 1, address length 1, address 8.
        if (frame.length < 20) return 0;
        this.cooked(frame, 12, frame[11] ?? 0);
        const type = u16(frame, 0);
        // Of a tag, whose type stands in front, the number is behind the header.
        if (VLAN_TYPES.has(type)) return frame.length < 24 ? 20 : this.tagged(frame, 22);
        return this.typed(frame, type, 20);
      }
      case LINK_RAW:
        return this.network(frame, 0, 0);
      default:
        return 0;
    }
  }

  /** The eight bytes of an address in a cooked header: of hardware, or (GRE, IPIP) of IP. */
  private cooked(frame: Uint8Array, at: number, length: number): void {
    if (length === 6) this.pseudonyms.hardware(frame, at);
    else frame.fill(0, at, at + 6);
    frame.fill(0, at + 6, at + 8);
  }

  /** Behind a link's header whose EtherType, or that of its first VLAN tag, is there. */
  private tagged(frame: Uint8Array, typeAt: number): number {
    let at = typeAt + 2;
    for (let tags = 0; tags < 2 && VLAN_TYPES.has(u16(frame, at - 2)); tags++) {
      if (at + 4 > frame.length) return at;
      at += 4;
    }
    return this.typed(frame, u16(frame, at - 2), at);
  }

  private typed(frame: Uint8Array, type: number, at: number): number {
    return type === IPV4 || type === IPV6 ? this.network(frame, at, 0) : at;
  }

  private network(frame: Uint8Array, at: number, depth: number): number {
    if (depth > MAX_DEPTH) return at;
    const version = (frame[at] ?? 0) >>> 4;
    if (version === 4) return this.ipv4(frame, at, depth);
    return version === 6 ? this.ipv6(frame, at, depth) : at;
  }

  private ipv4(frame: Uint8Array, at: number, depth: number): number {
    const behind = at + ((frame[at] ?? 0) & 15) * 4;
    if (behind < at + 20 || behind > frame.length) return at;
    // Options may list addresses on the way (RFC 791: routes, time stamps).
    frame.fill(NO_OPERATION, at + 20, behind);
    this.v4(frame, at + 12);
    this.v4(frame, at + 16);
    setU16(frame, at + 10, ipv4Checksum(frame, at, behind));
    const fragment = u16(frame, at + 6);
    if ((fragment & 0x1fff) !== 0) return behind;
    const packet: Packet = {
      family: 4,
      addresses: at + 12,
      end: at + u16(frame, at + 2),
      isPart: (fragment & 0x2000) !== 0,
    };
    return this.transport(frame, behind, frame[at + 9] ?? 0, packet, depth);
  }

  private ipv6(frame: Uint8Array, at: number, depth: number): number {
    if (at + 40 > frame.length) return at;
    this.v6(frame, at + 8);
    this.v6(frame, at + 24);
    let next = frame[at + 6] ?? 0;
    let behind = at + 40;
    let isPart = false;
    for (let i = 0; i < MAX_EXTENSIONS; i++) {
      const start = behind;
      const length = frame[start + 1] ?? 0;
      if (OPTIONS.has(next)) behind += (length + 1) * 8;
      else if (next === AUTHENTICATION) behind += (length + 2) * 4;
      else if (next === FRAGMENT) behind += 8;
      else break;
      if (behind > frame.length) return start;
      if (next === FRAGMENT) {
        const fragment = u16(frame, start + 2);
        if ((fragment & 0xfff8) !== 0) return behind;
        isPart = (fragment & 1) !== 0;
      } else {
        // Options of one byte that pad; a route without stops; an authentication of nothing.
        frame.fill(0, start + 2, behind);
      }
      next = frame[start] ?? 0;
    }
    const end = at + 40 + u16(frame, at + 4);
    return this.transport(
      frame,
      behind,
      next,
      { family: 6, addresses: at + 8, end, isPart },
      depth,
    );
  }

  /** Checksums tell of addresses and payload: they are made anew where all of the packet is kept, else they are 0. */
  private transport(
    frame: Uint8Array,
    at: number,
    protocol: number,
    packet: Packet,
    depth: number,
  ): number {
    const { length } = frame;
    switch (protocol) {
      case TCP: {
        const header = Math.max(20, ((frame[at + 12] ?? 0) >>> 4) * 4);
        const end = Math.min(length, at + header);
        tcpOptions(frame, at + 20, end);
        sum(frame, at, end, 16, protocol, packet);
        return end;
      }
      case UDP: {
        const end = Math.min(length, at + 8);
        sum(frame, at, end, 6, protocol, packet);
        return end;
      }
      case SCTP: {
        // Chunks other than INIT and INIT ACK hold what was sent, or addresses.
        const isInit = INITS.has(frame[at + 12] ?? 0) && u16(frame, at + 14) >= INIT_BYTES;
        const end = Math.min(length, at + (isInit ? SCTP_BYTES : 16));
        frame.fill(0, Math.min(at + 8, end), Math.min(at + 12, end));
        return end;
      }
      case ICMP:
      case ICMPV6: {
        const errors = protocol === ICMP ? ICMP_ERRORS : ICMPV6_ERRORS;
        const type = frame[at] ?? 0;
        if (at + 8 > length || !errors.has(type)) return at;
        // The one thing that these four bytes hold is a length (RFC 792, RFC 1191; RFC 4443, 3.2), or a place.
        const isMtu =
          protocol === ICMP
            ? type === 3 && frame[at + 1] === FRAGMENTATION_NEEDED
            : type === PACKET_TOO_BIG;
        frame.fill(0, at + 4, isMtu ? at + 6 : at + 8);
        const end = this.network(frame, at + 8, depth + 1);
        sum(frame, at, end, 2, protocol, packet);
        return end;
      }
      case IP_IN_IP:
      case IPV6_IN_IP:
        return this.network(frame, at, depth + 1);
      default:
        return at;
    }
  }

  private v4(frame: Uint8Array, at: number): void {
    const { words } = this;
    const view = new DataView(frame.buffer, frame.byteOffset);
    words.set([0, 0, 0xffff, view.getUint32(at)]);
    this.pseudonyms.address(words, 0);
    view.setUint32(at, words[3] ?? 0);
  }

  private v6(frame: Uint8Array, at: number): void {
    const { words } = this;
    const view = new DataView(frame.buffer, frame.byteOffset);
    for (let w = 0; w < 4; w++) words[w] = view.getUint32(at + w * 4);
    this.pseudonyms.address(words, 0);
    for (let w = 0; w < 4; w++) view.setUint32(at + w * 4, words[w] ?? 0);
  }
}

/** Sets the checksum at `at + place` of a transport that is kept from `at` to `end`. */
function sum(
  frame: Uint8Array,
  at: number,
  end: number,
  place: number,
  protocol: number,
  packet: Packet,
): void {
  const from = at + place;
  frame.fill(0, Math.min(from, end), Math.min(from + 2, end));
  if (from + 2 > end) return;
  const { family, addresses, isPart } = packet;
  if (end === packet.end && !isPart) {
    setU16(frame, from, transportChecksum(frame, at, end, protocol, family, addresses));
  } else if (protocol === UDP && family === 6) {
    // 0 means none in IPv4 and is forbidden in IPv6 (RFC 8200, 8.1).
    setU16(frame, from, 0xffff);
  }
}

/** Options that may hold an address or a secret (MPTCP, TFO, MD5 …) do nothing afterwards. */
function tcpOptions(frame: Uint8Array, from: number, end: number): void {
  let at = from;
  while (at < end) {
    const kind = frame[at] ?? 0;
    if (kind === 0) {
      frame.fill(0, at, end);
      return;
    }
    if (kind === NO_OPERATION) {
      at++;
      continue;
    }
    const length = frame[at + 1] ?? 0;
    if (length < 2 || at + length > end) {
      frame.fill(NO_OPERATION, at, end);
      return;
    }
    if (TCP_OPTIONS.get(kind)?.includes(length) !== true) frame.fill(NO_OPERATION, at, at + length);
    at += length;
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value & 255;
}
