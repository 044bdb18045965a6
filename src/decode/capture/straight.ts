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
  TCP,
} from '../../model/packet.js';
import type { PacketRows } from '../../model/packet-rows.js';
import { begin, finish, mix } from './print.js';
import {
  MSS,
  NOP_NOP_TIMESTAMP,
  NOP_SCALE,
  NOT_STRAIGHT,
  SACK_TIMESTAMP,
} from './straight-form.js';

/**
 * The straight road: whole TCP segments right behind an IPv4 header without options or an IPv6 header
 * without extensions. Nearly all rows come this way. It writes what the long road (`ip.ts`,
 * `transport.ts`) would, in one pass without anything in between, and leaves to that whatever is not as
 * it expects. All words from the family on are written, so the row needs no clearing first; those before
 * it (time, interface, direction) are the caller's.
 */

/** A row for the segment in the IPv4 packet at `ip`, or NOT_STRAIGHT. */
export function addStraight4(rows: PacketRows, view: DataView, ip: number, end: number): number {
  const length = view.getUint16(ip + 2);
  const header = segmentHeader(view, ip + 20, end, length - 20);
  if (header === 0) return NOT_STRAIGHT;
  const row = rows.addUnset();
  const { words } = rows;
  words[row + P_FAMILY] = 4;
  words[row + P_SRC] = 0;
  words[row + (P_SRC + 1)] = 0;
  words[row + (P_SRC + 2)] = MAPPED;
  words[row + (P_SRC + 3)] = view.getInt32(ip + 12);
  words[row + P_DST] = 0;
  words[row + (P_DST + 1)] = 0;
  words[row + (P_DST + 2)] = MAPPED;
  words[row + (P_DST + 3)] = view.getInt32(ip + 16);
  words[row + P_IPID] = view.getUint16(ip + 4);
  words[row + P_TTL] = view.getUint8(ip + 8);
  words[row + P_BYTES] = length;
  words[row + P_PAYLOAD] = length - 20 - header;
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
  words[row + P_FAMILY] = 6;
  words[row + P_SRC] = view.getInt32(ip + 8);
  words[row + (P_SRC + 1)] = view.getInt32(ip + 12);
  words[row + (P_SRC + 2)] = view.getInt32(ip + 16);
  words[row + (P_SRC + 3)] = view.getInt32(ip + 20);
  words[row + P_DST] = view.getInt32(ip + 24);
  words[row + (P_DST + 1)] = view.getInt32(ip + 28);
  words[row + (P_DST + 2)] = view.getInt32(ip + 32);
  words[row + (P_DST + 3)] = view.getInt32(ip + 36);
  words[row + P_IPID] = 0;
  words[row + P_TTL] = view.getUint8(ip + 7);
  words[row + P_BYTES] = 40 + payload;
  words[row + P_PAYLOAD] = payload - header;
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
  words[row + P_PROTOCOL] = TCP;
  words[row + P_CLASS] = 0;
  words[row + P_FLAGS] = flags;
  words[row + P_SPORT] = view.getUint16(at);
  words[row + P_DPORT] = view.getUint16(at + 2);
  words[row + P_SEQ] = view.getInt32(at + 4);
  words[row + P_ACK] = view.getInt32(at + 8);
  words[row + P_ENCAPSULATION] = 0;
  words[row + P_SENDER] = 0;
  words[row + (P_SENDER + 1)] = 0;
  words[row + (P_SENDER + 2)] = 0;
  words[row + (P_SENDER + 3)] = 0;
  words[row + (P_BYTES + 1)] = 0;
  words[row + (P_BYTES + 2)] = 0;
  words[row + (P_BYTES + 3)] = 0;
  let hash = begin((view.getUint16(at + 14) << 8) | flags);
  let stamp = 0;
  if (header !== 20) {
    // The print has all options but MSS: SACK and time stamps, then the window scale of a SYN.
    const options = header === 40 ? at + 24 : at + 20;
    stamp = view.getInt32(options + 4);
    hash = mix(mix(mix(hash, view.getInt32(options)), stamp), view.getInt32(options + 8));
    if (header === 40) hash = mix(hash, view.getInt32(options + 12));
  }
  words[row + P_TSVAL] = stamp;
  words[row + P_PRINT] = finish(hash);
}
