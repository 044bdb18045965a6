import {
  CLASS_ICMP_ERROR,
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
  DIRECTION_UNKNOWN,
  ENCAPSULATION_GENEVE,
  ENCAPSULATION_IPIP,
  ENCAPSULATION_NONE,
  ENCAPSULATION_VXLAN,
  P_ACK,
  P_BYTES,
  P_CLASS,
  P_DIRECTION,
  P_DPORT,
  P_DST,
  P_ENCAPSULATION,
  P_FAMILY,
  P_FLAGS,
  P_INTERFACE,
  P_IPID,
  P_NSEC,
  P_PAYLOAD,
  P_PRINT,
  P_PROTOCOL,
  P_RESOLUTION,
  P_SEC,
  P_SENDER,
  P_SEQ,
  P_SPORT,
  P_SRC,
  P_TSVAL,
  P_TTL,
  PACKET_WORDS,
} from '../../../src/model/packet.js';

/**
 * What the decoder of frames has to say, written for reading and not for speed: a view for each header,
 * bounded by what was captured and by what the header around it says, and an object for each row.
 * Whoever reads beyond a view gets a RangeError, which means that the frame gives no row.
 */
export interface PlainRow {
  seconds: number;
  nanoseconds: number;
  resolution: number;
  /** Identifier in the run's Interfaces. */
  interface: number;
  /** Of LINUX_SLL2, 0 for the others: not part of the row. */
  linkIndex: number;
  direction: number;
  family: number;
  protocol: number;
  class: number;
  flags: number;
  source: readonly number[];
  destination: readonly number[];
  sport: number;
  dport: number;
  sequence: number;
  acknowledgement: number;
  print: number;
  identification: number;
  payload: number;
  ttl: number;
  encapsulation: number;
  sender: readonly number[];
  tsval: number;
  bytes: number;
}

export function wordsOf(row: PlainRow): number[] {
  const words = new Uint32Array(PACKET_WORDS);
  words[P_SEC] = row.seconds;
  words[P_NSEC] = row.nanoseconds;
  words[P_RESOLUTION] = row.resolution;
  words[P_INTERFACE] = row.interface;
  words[P_DIRECTION] = row.direction;
  words[P_FAMILY] = row.family;
  words[P_PROTOCOL] = row.protocol;
  words[P_CLASS] = row.class;
  words[P_FLAGS] = row.flags;
  words.set(row.source, P_SRC);
  words.set(row.destination, P_DST);
  words[P_SPORT] = row.sport;
  words[P_DPORT] = row.dport;
  words[P_SEQ] = row.sequence;
  words[P_ACK] = row.acknowledgement;
  words[P_PRINT] = row.print;
  words[P_IPID] = row.identification;
  words[P_PAYLOAD] = row.payload;
  words[P_TTL] = row.ttl;
  words[P_ENCAPSULATION] = row.encapsulation;
  words.set(row.sender, P_SENDER);
  words[P_TSVAL] = row.tsval;
  words[P_BYTES] = row.bytes;
  return [...words];
}

/** The row of one frame, without time and interface; `undefined` if it gives none. */
export function plainFrame(
  linkType: number,
  frame: Uint8Array,
  onWire: number,
): PlainRow | undefined {
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  try {
    const link = readLink(linkType, view);
    if (link === undefined) return undefined;
    const sent = Math.max(onWire, frame.length) - link.length;
    const found = readPacket(rest(view, link.length), sent, ENCAPSULATION_NONE);
    return found && { ...NOTHING, ...found, direction: link.direction, linkIndex: link.index };
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

const NOTHING: PlainRow = {
  seconds: 0,
  nanoseconds: 0,
  resolution: 0,
  interface: 0,
  linkIndex: 0,
  direction: DIRECTION_UNKNOWN,
  family: 0,
  protocol: 0,
  class: 0,
  flags: 0,
  source: [0, 0, 0, 0],
  destination: [0, 0, 0, 0],
  sport: 0,
  dport: 0,
  sequence: 0,
  acknowledgement: 0,
  print: 0,
  identification: 0,
  payload: 0,
  ttl: 0,
  encapsulation: ENCAPSULATION_NONE,
  sender: [0, 0, 0, 0],
  tsval: 0,
  bytes: 0,
};

function rest(view: DataView, from: number): DataView {
  return part(view, from, view.byteLength - from);
}

/** At most `length` bytes from `from` on. */
function part(view: DataView, from: number, length: number): DataView {
  const there = Math.min(length, view.byteLength - from);
  return new DataView(view.buffer, view.byteOffset + from, there);
}

// Link

interface Link {
  readonly length: number;
  readonly direction: number;
  readonly index: number;
}

function readLink(linkType: number, view: DataView): Link | undefined {
  const plain = (length: number): Link => ({ length, direction: DIRECTION_UNKNOWN, index: 0 });
  switch (linkType) {
    case 1: {
      const length = behindTags(view, 12);
      return length === undefined ? undefined : plain(length);
    }
    case 113: {
      const direction = DIRECTIONS[view.getUint16(0)] ?? DIRECTION_UNKNOWN;
      const length = behindTags(view, 14);
      return length === undefined ? undefined : { length, direction, index: 0 };
    }
    case 276: {
      const index = view.getUint32(4);
      const direction = DIRECTIONS[view.getUint8(10)] ?? DIRECTION_UNKNOWN;
      view.getUint8(19);
      const type = view.getUint16(0);
      const length = isIp(type) ? 20 : isVlan(type) ? behindTags(view, 22) : undefined;
      return length === undefined ? undefined : { length, direction, index };
    }
    case 0:
    case 108: {
      const [high, low] = [view.getUint16(0), view.getUint16(2)];
      const swapped = ((high & 0xff) << 8) | (high >>> 8);
      const family = high === 0 ? low : low === 0 ? swapped : -1;
      const version = family === 2 ? 4 : [10, 24, 28, 30].includes(family) ? 6 : 0;
      return view.getUint8(4) >>> 4 === version ? plain(4) : undefined;
    }
    case 12:
    case 14:
    case 101:
      return [4, 6].includes(view.getUint8(0) >>> 4) ? plain(0) : undefined;
    case 228:
      return view.getUint8(0) >>> 4 === 4 ? plain(0) : undefined;
    case 229:
      return view.getUint8(0) >>> 4 === 6 ? plain(0) : undefined;
    default:
      return undefined;
  }
}

/** Packet types of linux/if_packet.h. */
const DIRECTIONS: readonly number[] = [
  DIRECTION_IN,
  DIRECTION_IN,
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
];

/** Where the IP header begins, behind at most eight VLAN tags; `undefined` if there is none. */
function behindTags(view: DataView, typeAt: number): number | undefined {
  for (let tags = 0; tags <= 8; tags++) {
    const type = view.getUint16(typeAt + 4 * tags);
    if (isIp(type)) return typeAt + 4 * tags + 2;
    if (!isVlan(type)) return undefined;
  }
  return undefined;
}

const isIp = (type: number): boolean => type === 0x0800 || type === 0x86dd;
const isVlan = (type: number): boolean => [0x8100, 0x88a8, 0x9100].includes(type);

// IP

interface Ip {
  readonly family: 4 | 6;
  readonly protocol: number;
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly ttl: number;
  readonly identification: number;
  readonly moreFragments: boolean;
  /** Bytes on the wire: of the packet, and of what follows its headers. */
  readonly length: number;
  readonly payload: number;
  /** What was captured of that. */
  readonly body: DataView;
}

type Found = Partial<PlainRow> | undefined;

/** `sent`: how many bytes there were on the wire from here on, captured or not. */
function readIp(view: DataView, sent: number): Ip | undefined {
  const version = view.getUint8(0) >>> 4;
  return version === 4 ? readIpv4(view, sent) : version === 6 ? readIpv6(view, sent) : undefined;
}

function readIpv4(view: DataView, sent: number): Ip | undefined {
  view.getUint8(19);
  const header = (view.getUint8(0) & 0x0f) * 4;
  const length = view.getUint16(2) || sent;
  const fragment = view.getUint16(6);
  if (header < 20 || length < header || (fragment & 0x1fff) !== 0) return undefined;
  view.getUint8(header - 1);
  return {
    family: 4,
    protocol: view.getUint8(9),
    source: [0, 0, 0xffff, view.getUint32(12)],
    destination: [0, 0, 0xffff, view.getUint32(16)],
    ttl: view.getUint8(8),
    identification: view.getUint16(4),
    moreFragments: (fragment & 0x2000) !== 0,
    length,
    payload: length - header,
    body: part(view, header, length - header),
  };
}

function readIpv6(view: DataView, sent: number): Ip | undefined {
  view.getUint8(39);
  const said = view.getUint16(4);
  const length = said === 0 ? sent : 40 + said;
  let protocol = view.getUint8(6);
  let at = 40;
  let moreFragments = false;
  for (let headers = 0; [0, 43, 44, 51, 60].includes(protocol); headers++) {
    if (headers === 10) return undefined;
    view.getUint8(at + 7);
    const size = view.getUint8(at + 1);
    let step = (size + 1) * 8;
    if (protocol === 51) step = (size + 2) * 4;
    if (protocol === 44) {
      const fragment = view.getUint16(at + 2);
      if (fragment >>> 3 !== 0) return undefined;
      moreFragments = (fragment & 1) !== 0;
      step = 8;
    }
    protocol = view.getUint8(at);
    at += step;
  }
  if (at > length) return undefined;
  const quad = (from: number) => [0, 4, 8, 12].map((word) => view.getUint32(from + word));
  return {
    family: 6,
    protocol,
    source: quad(8),
    destination: quad(24),
    ttl: view.getUint8(7),
    identification: 0,
    moreFragments,
    length,
    payload: length - at,
    body: part(view, at, length - at),
  };
}

function readPacket(view: DataView, sent: number, encapsulation: number): Found {
  const ip = readIp(view, sent);
  if (ip === undefined) return undefined;
  const outermost = encapsulation === ENCAPSULATION_NONE;
  if (ip.protocol === 4 || ip.protocol === 41) {
    return outermost ? readPacket(ip.body, ip.payload, ENCAPSULATION_IPIP) : undefined;
  }
  const tunnel = outermost && ip.protocol === 17 ? readTunnel(ip) : undefined;
  if (tunnel !== undefined) return tunnel.found;
  const found = readTransport(ip);
  return found && { ...found, encapsulation };
}

function readTransport(ip: Ip): Found {
  switch (ip.protocol) {
    case 6:
      return readTcp(ip);
    case 17:
      return readUdp(ip);
    case 132:
      return readSctp(ip);
    case 1:
      return ip.family === 4 ? readIcmp(ip, [3, 11, 12]) : undefined;
    case 58:
      return ip.family === 6 ? readIcmp(ip, [1, 2, 3, 4]) : undefined;
    default:
      return undefined;
  }
}

/** What a datagram on a tunnel's port carries; `undefined` if it is an ordinary one. */
function readTunnel({ body, payload }: Ip): { readonly found: Found } | undefined {
  if (body.byteLength < 16) return undefined;
  const port = body.getUint16(2);
  const header = rest(body, 8);
  const sent = payload - 8;
  if (port === 8472 || port === 4789) {
    const reserved = header.getUint8(1) + header.getUint16(2) + header.getUint8(7);
    if (header.getUint8(0) !== 8 || reserved !== 0) return undefined;
    return { found: readTunnelledFrame(rest(header, 8), sent - 8, ENCAPSULATION_VXLAN) };
  }
  if (port !== 6081) return undefined;
  const [first, second, type] = [header.getUint8(0), header.getUint8(1), header.getUint16(2)];
  if (first >>> 6 !== 0 || (second & 0xbf) !== 0 || header.getUint8(7) !== 0) return undefined;
  const length = 8 + (first & 0x3f) * 4;
  if ((type !== 0x6558 && !isIp(type)) || length > header.byteLength) return undefined;
  const inner = rest(header, length);
  const found =
    type === 0x6558
      ? readTunnelledFrame(inner, sent - length, ENCAPSULATION_GENEVE)
      : readPacket(inner, sent - length, ENCAPSULATION_GENEVE);
  return { found };
}

function readTunnelledFrame(frame: DataView, sent: number, encapsulation: number): Found {
  const length = behindTags(frame, 12);
  return length === undefined
    ? undefined
    : readPacket(rest(frame, length), sent - length, encapsulation);
}

// Transport

function common(ip: Ip): Partial<PlainRow> {
  return {
    family: ip.family,
    protocol: ip.protocol,
    source: ip.source,
    destination: ip.destination,
    ttl: ip.ttl,
    identification: ip.identification,
    bytes: ip.length,
    sport: ip.body.getUint16(0),
    dport: ip.body.getUint16(2),
  };
}

function readTcp(ip: Ip): Found {
  const { body, payload } = ip;
  body.getUint8(19);
  const flags = body.getUint8(13);
  const header = (body.getUint8(12) >>> 4) * 4;
  if (payload < 20 || (flags & 7) === 0 || header < 20 || header > payload) return undefined;
  const options = header <= body.byteLength ? part(body, 20, header - 20) : undefined;
  return {
    ...common(ip),
    flags,
    sequence: body.getUint32(4),
    acknowledgement: body.getUint32(8),
    payload: payload - header,
    ...(options && readOptions(options, (body.getUint16(14) << 8) | flags)),
  };
}

/** The print leaves MSS out; an option whose length lies, or the end mark, ends the walk. */
function readOptions(options: DataView, first: number): { print: number; tsval: number } {
  const print = new Print(first);
  let tsval = 0;
  let from = 0;
  let at = 0;
  while (at < options.byteLength && options.getUint8(at) !== 0) {
    const kind = options.getUint8(at);
    if (kind === 1) {
      at++;
      continue;
    }
    const length = at + 1 < options.byteLength ? options.getUint8(at + 1) : 0;
    if (length < 2 || at + length > options.byteLength) break;
    if (kind === 2) {
      print.add(part(options, from, at - from));
      from = at + length;
    }
    if (kind === 8 && length === 10) tsval = options.getUint32(at + 2);
    at += length;
  }
  print.add(rest(options, from));
  return { print: print.value(), tsval };
}

function readUdp(ip: Ip): Found {
  const { body, payload, moreFragments } = ip;
  body.getUint8(7);
  const length = body.getUint16(4) || payload;
  if (payload < 8 || length < 8 || (length > payload && !moreFragments)) return undefined;
  const print = new Print(length);
  print.add(part(body, 8, Math.min(length - 8, 32)));
  return { ...common(ip), payload: length - 8, print: print.value() };
}

const [INIT, INIT_ACK] = [1, 2];

function readSctp(ip: Ip): Found {
  const { body, payload, moreFragments } = ip;
  body.getUint8(15);
  const type = body.getUint8(12);
  const chunk = body.getUint16(14);
  const opens = type === INIT || type === INIT_ACK;
  if (payload < 16 || ![INIT, INIT_ACK, 6, 7, 14].includes(type)) return undefined;
  if (chunk < (opens ? 20 : 4) || (chunk > payload - 12 && !moreFragments)) return undefined;
  const print = new Print(type);
  if (opens) {
    body.getUint8(19);
    print.add(part(body, 16, Math.min(chunk - 4, 20)));
  }
  return {
    ...common(ip),
    flags: type,
    sequence: opens ? body.getUint32(16) : 0,
    acknowledgement: body.getUint32(4),
    payload: payload - 12,
    print: print.value(),
  };
}

function readIcmp(ip: Ip, errors: readonly number[]): Found {
  const { body, payload } = ip;
  body.getUint8(7);
  if (payload < 8 || !errors.includes(body.getUint8(0))) return undefined;
  const quoted = readIp(rest(body, 8), payload - 8);
  if (quoted === undefined || quoted.family !== ip.family || quoted.payload < 8) return undefined;
  if (![6, 17, 132].includes(quoted.protocol)) return undefined;
  quoted.body.getUint8(7);
  const row = {
    ...common(quoted),
    class: CLASS_ICMP_ERROR,
    flags: body.getUint16(0),
    ttl: ip.ttl,
    identification: ip.identification,
    bytes: ip.length,
    sender: ip.source,
  };
  const second = quoted.body.getUint32(4);
  if (quoted.protocol === 6) return { ...row, sequence: second };
  if (quoted.protocol === 17) return row;
  const isInit = quoted.body.byteLength >= 20 && quoted.body.getUint8(12) === INIT;
  return { ...row, acknowledgement: second, sequence: isInit ? quoted.body.getUint32(16) : 0 };
}

/** MurmurHash3 for x86 with 32 bits, of a number and then of pieces of bytes, each padded for itself. */
class Print {
  private hash = 0x77686f70;

  constructor(first: number) {
    this.mix(first);
  }

  add(piece: DataView): void {
    const whole = piece.byteLength >> 2;
    for (let word = 0; word < whole; word++) this.mix(piece.getUint32(word * 4));
    const left = piece.byteLength - whole * 4;
    if (left === 0) return;
    let tail = left;
    for (let i = whole * 4; i < piece.byteLength; i++) tail = (tail << 8) | piece.getUint8(i);
    this.mix(tail);
  }

  value(): number {
    let h = this.hash;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    h = (h ^ (h >>> 16)) >>> 0;
    return h === 0 ? 1 : h;
  }

  private mix(value: number): void {
    const k = Math.imul(rotateLeft(Math.imul(value, 0xcc9e2d51), 15), 0x1b873593);
    this.hash = Math.imul(rotateLeft(this.hash ^ k, 13), 5) + 0xe6546b64;
  }
}

function rotateLeft(value: number, by: number): number {
  return (value << by) | (value >>> (32 - by));
}
