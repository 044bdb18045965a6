import { headerBytes } from '../capture/headers.js';
import { LINK_ETHERNET, LINK_RAW, LINK_SLL } from '../capture/link.js';
import type { Pseudonyms } from './redact-pseudonyms.js';

const VLAN_TYPES = new Set([0x8100, 0x88a8, 0x9100]);
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ICMP = 1;
const TCP = 6;
const UDP = 17;
const ICMPV6 = 58;
const SCTP = 132;
const FRAGMENT = 44;
/** Common header, and of an INIT chunk its fixed part (RFC 9260, 3.3.2): no addresses. */
const SCTP_BYTES = 32;
/** An ICMP error's quoted packet, or what is in a tunnel. */
const MAX_DEPTH = 1;
/** End, no-operation, MSS, window scale, SACK permitted, SACK, time stamps. */
const TCP_OPTIONS = new Set([0, 1, 2, 3, 4, 5, 8]);
const NO_OPERATION = 1;

/** Frames with pseudonyms in their headers, of which nothing else is kept. */
export class FrameRedactor {
  /** Frames that are not understood, and so are not written. */
  leftOut = 0;
  private readonly pseudonyms: Pseudonyms;
  private readonly words = new Uint32Array(4);

  constructor(pseudonyms: Pseudonyms) {
    this.pseudonyms = pseudonyms;
  }

  /** A copy of a frame's headers; `undefined` for one of which not everything is understood. */
  headers(linkType: number, bytes: Uint8Array, from: number, captured: number) {
    const kept = headerBytes(linkType, bytes, from, captured);
    const frame = bytes.slice(from, from + kept);
    const end = this.link(linkType, frame);
    if (end !== undefined) return frame.subarray(0, end);
    this.leftOut++;
    return undefined;
  }

  private link(linkType: number, frame: Uint8Array): number | undefined {
    let at = 0;
    let type = 0;
    if (linkType === LINK_ETHERNET) {
      if (frame.length < 14) return undefined;
      this.pseudonyms.hardware(frame, 0);
      this.pseudonyms.hardware(frame, 6);
      at = 14;
    } else if (linkType === LINK_SLL) {
      if (frame.length < 16) return undefined;
      const length = u16(frame, 4);
      if (length === 6) this.pseudonyms.hardware(frame, 6);
      else frame.fill(0, 6, 12);
      frame.fill(0, 12, 14);
      at = 16;
    } else if (linkType === LINK_RAW) {
      return this.network(frame, 0, 0);
    } else return undefined;
    type = u16(frame, at - 2);
    for (let tags = 0; tags < 2 && VLAN_TYPES.has(type); tags++) {
      at += 4;
      if (at > frame.length) return undefined;
      type = u16(frame, at - 2);
    }
    return type === IPV4 || type === IPV6 ? this.network(frame, at, 0) : undefined;
  }

  private network(frame: Uint8Array, at: number, depth: number): number | undefined {
    const version = (frame[at] ?? 0) >>> 4;
    if (version === 4) {
      const behind = at + ((frame[at] ?? 0) & 15) * 4;
      if (behind < at + 20 || behind > frame.length) return undefined;
      // Options may list addresses on the way (RFC 791: routes, time stamps).
      frame.fill(NO_OPERATION, at + 20, behind);
      this.v4(frame, at + 12);
      this.v4(frame, at + 16);
      frame.fill(0, at + 10, at + 12);
      const sum = checksum(frame, at, behind);
      frame[at + 10] = sum >>> 8;
      frame[at + 11] = sum & 255;
      if ((u16(frame, at + 6) & 0x1fff) !== 0) return behind;
      return this.transport(frame, behind, frame[at + 9] ?? 0, depth, 4);
    }
    if (version !== 6 || at + 40 > frame.length) return undefined;
    this.v6(frame, at + 8);
    this.v6(frame, at + 24);
    let next = frame[at + 6] ?? 0;
    let behind = at + 40;
    if (next === FRAGMENT) {
      if (behind + 8 > frame.length) return undefined;
      next = frame[behind] ?? 0;
      const isLater = (u16(frame, behind + 2) & 0xfff8) !== 0;
      behind += 8;
      if (isLater) return behind;
    }
    return this.transport(frame, behind, next, depth, 6);
  }

  /** The end of what is kept. Its checksums, which tell of addresses and payload, are zero. */
  private transport(
    frame: Uint8Array,
    at: number,
    protocol: number,
    depth: number,
    family: 4 | 6,
  ): number | undefined {
    const { length } = frame;
    const clear = (from: number, value = 0): void => {
      frame.fill(value, Math.min(from, length), Math.min(from + 2, length));
    };
    switch (protocol) {
      case TCP: {
        clear(at + 16);
        const end = Math.min(length, at + ((frame[at + 12] ?? 0) >>> 4) * 4);
        if (at + 20 < end) tcpOptions(frame, at + 20, end);
        return Math.max(end, Math.min(length, at + 20));
      }
      case UDP:
        // 0 means none in IPv4 and is forbidden in IPv6 (RFC 8200, 8.1).
        clear(at + 6, family === 4 ? 0 : 0xff);
        return Math.min(length, at + 8);
      case SCTP:
        clear(at + 8);
        clear(at + 10);
        // Chunks other than INIT and INIT ACK hold what was sent, or addresses.
        return Math.min(length, at + (isInit(frame[at + 12]) ? SCTP_BYTES : 16));
      case ICMP:
      case ICMPV6: {
        if (at + 8 > length) return undefined;
        const kind = frame[at] ?? 0;
        clear(at + 2);
        const isError = protocol === ICMP ? kind === 3 || kind === 11 || kind === 12 : kind < 128;
        if (!isError) return undefined;
        if (depth >= MAX_DEPTH) return at + 8;
        return at + 8 >= length ? length : this.network(frame, at + 8, depth + 1);
      }
      default:
        return undefined;
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

const isInit = (type: number | undefined): boolean => type === 1 || type === 2;

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
    if (!TCP_OPTIONS.has(kind)) frame.fill(NO_OPERATION, at, at + length);
    at += length;
  }
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
}

/** RFC 1071. */
function checksum(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += u16(bytes, at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
