import { MAPPED } from '../../model/address.js';
import {
  P_ACK,
  P_BYTES,
  P_CLASS,
  P_DPORT,
  P_DST,
  P_ENCAPSULATION,
  P_FAMILY,
  P_FLAGS,
  P_IPID,
  P_PAYLOAD,
  P_PRINT,
  P_PROTOCOL,
  P_SENDER,
  P_SEQ,
  P_SPORT,
  P_SRC,
  P_TSVAL,
  P_TTL,
  type PacketRows,
  TCP,
} from '../../model/packet.js';
import { begin, finish, mix } from './print.js';

/**
 * The straight road: whole TCP segments right behind an IPv4 header without options or an IPv6 header
 * without extensions. Nearly all rows come this way. It writes what the long road (`ip.ts`,
 * `transport.ts`) would, in one pass without anything in between, and leaves to that whatever is not as
 * it expects. All words from the family on are written, so the row needs no clearing first; those before
 * it (time, interface, direction) are the caller's.
 */
export const NOT_STRAIGHT = -101;

/*
 * V8 does not fold imported constants into its code (each use loads a cell and checks it), but does fold
 * a module's own. With three dozen of them a row this is a fifth of the time.
 */
const FAMILY = P_FAMILY;
const PROTOCOL = P_PROTOCOL;
const CLASS = P_CLASS;
const FLAGS = P_FLAGS;
const SRC = P_SRC;
const DST = P_DST;
const SPORT = P_SPORT;
const DPORT = P_DPORT;
const SEQ = P_SEQ;
const ACK = P_ACK;
const PRINT = P_PRINT;
const IPID = P_IPID;
const PAYLOAD = P_PAYLOAD;
const TTL = P_TTL;
const ENCAPSULATION = P_ENCAPSULATION;
const SENDER = P_SENDER;
const TSVAL = P_TSVAL;
const BYTES = P_BYTES;
const IPV4_MAPPED = MAPPED;
const PROTOCOL_TCP = TCP;

/** MSS of 4 bytes, then SACK permitted and time stamps: how Linux begins a SYN's options. */
const MSS = 0x0204;
const SACK_TIMESTAMP = 0x0402_080a;
/** Then comes NOP and the window scale, and nothing more. */
const NOP_SCALE = 0x01_0303;
/** NOP, NOP, time stamps: all options of an established segment, a FIN among them. */
const NOP_NOP_TIMESTAMP = 0x0101_080a;

/** So much of the packet must be at hand to try: the fixed headers of IP and TCP. */
export const STRAIGHT_BYTES_4 = 40;
export const STRAIGHT_BYTES_6 = 60;

/** A row for the segment in the IPv4 packet at `ip`, or NOT_STRAIGHT. */
export function addStraight4(rows: PacketRows, view: DataView, ip: number, end: number): number {
  const length = view.getUint16(ip + 2);
  const header = segmentHeader(view, ip + 20, end, length - 20);
  if (header === 0) return NOT_STRAIGHT;
  const row = rows.addUnset();
  const { words } = rows;
  words[row + FAMILY] = 4;
  words[row + SRC] = 0;
  words[row + SRC + 1] = 0;
  words[row + SRC + 2] = IPV4_MAPPED;
  words[row + SRC + 3] = view.getInt32(ip + 12);
  words[row + DST] = 0;
  words[row + DST + 1] = 0;
  words[row + DST + 2] = IPV4_MAPPED;
  words[row + DST + 3] = view.getInt32(ip + 16);
  words[row + IPID] = view.getUint16(ip + 4);
  words[row + TTL] = view.getUint8(ip + 8);
  words[row + BYTES] = length;
  words[row + PAYLOAD] = length - 20 - header;
  writeSegment(view, ip + 20, header, words, row);
  return row;
}

/** The same for the IPv6 packet at `ip`. */
export function addStraight6(rows: PacketRows, view: DataView, ip: number, end: number): number {
  const payload = view.getUint16(ip + 4);
  const header = segmentHeader(view, ip + 40, end, payload);
  if (header === 0) return NOT_STRAIGHT;
  const row = rows.addUnset();
  const { words } = rows;
  words[row + FAMILY] = 6;
  words[row + SRC] = view.getInt32(ip + 8);
  words[row + SRC + 1] = view.getInt32(ip + 12);
  words[row + SRC + 2] = view.getInt32(ip + 16);
  words[row + SRC + 3] = view.getInt32(ip + 20);
  words[row + DST] = view.getInt32(ip + 24);
  words[row + DST + 1] = view.getInt32(ip + 28);
  words[row + DST + 2] = view.getInt32(ip + 32);
  words[row + DST + 3] = view.getInt32(ip + 36);
  words[row + IPID] = 0;
  words[row + TTL] = view.getUint8(ip + 7);
  words[row + BYTES] = 40 + payload;
  words[row + PAYLOAD] = payload - header;
  writeSegment(view, ip + 40, header, words, row);
  return row;
}

/** Length of the TCP header at `at` if its options are of a usual form, it is all there and fits into the `payload`; else 0. */
function segmentHeader(view: DataView, at: number, end: number, payload: number): number {
  const header = (view.getUint8(at + 12) >>> 4) * 4;
  if (header > payload || header > end - at) return 0;
  switch (header) {
    case 20:
      return header;
    case 32:
      return view.getInt32(at + 20) === NOP_NOP_TIMESTAMP ? header : 0;
    case 40:
      return view.getUint16(at + 20) === MSS &&
        view.getInt32(at + 24) === SACK_TIMESTAMP &&
        view.getInt32(at + 36) >>> 8 === NOP_SCALE
        ? header
        : 0;
    default:
      return 0;
  }
}

/** All words that `addStraight…` did not write: what TCP says, and zeros. */
function writeSegment(
  view: DataView,
  at: number,
  header: number,
  words: Uint32Array,
  row: number,
): void {
  const flags = view.getUint8(at + 13);
  words[row + PROTOCOL] = PROTOCOL_TCP;
  words[row + CLASS] = 0;
  words[row + FLAGS] = flags;
  words[row + SPORT] = view.getUint16(at);
  words[row + DPORT] = view.getUint16(at + 2);
  words[row + SEQ] = view.getInt32(at + 4);
  words[row + ACK] = view.getInt32(at + 8);
  words[row + ENCAPSULATION] = 0;
  words[row + SENDER] = 0;
  words[row + SENDER + 1] = 0;
  words[row + SENDER + 2] = 0;
  words[row + SENDER + 3] = 0;
  words[row + BYTES + 1] = 0;
  words[row + BYTES + 2] = 0;
  words[row + BYTES + 3] = 0;
  let hash = begin((view.getUint16(at + 14) << 8) | flags);
  let stamp = 0;
  if (header !== 20) {
    // The print has all options but MSS: SACK and time stamps, then the window scale of a SYN.
    const options = header === 40 ? at + 24 : at + 20;
    stamp = view.getInt32(options + 4);
    hash = mix(mix(mix(hash, view.getInt32(options)), stamp), view.getInt32(options + 8));
    if (header === 40) hash = mix(hash, view.getInt32(options + 12));
  }
  words[row + TSVAL] = stamp;
  words[row + PRINT] = finish(hash);
}
