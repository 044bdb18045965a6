import {
  P_ACK,
  P_BYTES,
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_IPID,
  P_PAYLOAD,
  P_PRINT,
  P_PROTOCOL,
  P_SEQ,
  P_SPORT,
  P_SRC,
  P_TSVAL,
  P_TTL,
  SCTP,
  SCTP_ABORT,
  SCTP_INIT,
  SCTP_INIT_ACK,
  SCTP_SHUTDOWN,
  SCTP_SHUTDOWN_COMPLETE,
  TCP,
  TCP_NEEDED,
  UDP,
} from '../../model/packet.js';
import type { PacketRows } from '../../model/packet-rows.js';
import { i32, u16 } from './bytes.js';
import { type IpPacket, writeDestination, writeSource } from './ip.js';
import { MALFORMED, tooShort, UNNEEDED } from './outcome.js';
import { addBytes, begin, finish } from './print.js';

/** How much of a datagram's payload its print covers: a DNS query's id, flags and the start of its name. */
const UDP_PRINT_BYTES = 32;
/** Of an INIT: initiate tag, window, streams, initial TSN, and the start of the parameters. */
const SCTP_PRINT_BYTES = 20;

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
const OPTION_TIMESTAMP = 8;

/** A row with everything that IP and the ports say, counted as a segment. The ports were checked. */
export function addRow(rows: PacketRows, bytes: Uint8Array, ip: IpPacket): number {
  const row = rows.add();
  const words = rows.words;
  words[row + P_FAMILY] = ip.family;
  words[row + P_PROTOCOL] = ip.protocol;
  words[row + P_TTL] = ip.ttl;
  words[row + P_IPID] = ip.identification;
  words[row + P_BYTES] = ip.length;
  writeSource(bytes, ip, words, row + P_SRC);
  writeDestination(bytes, ip, words, row + P_DST);
  words[row + P_SPORT] = u16(bytes, ip.transportAt);
  words[row + P_DPORT] = u16(bytes, ip.transportAt + 2);
  return row;
}

/** RFC 9293, section 3.1: a row for SYN, FIN and RST, else an outcome. */
export function addTcp(rows: PacketRows, bytes: Uint8Array, ip: IpPacket): number {
  const at = ip.transportAt;
  if (ip.payload < 20) return MALFORMED;
  if (ip.end - at < 20) return tooShort(ip.end, ip.wireEnd);
  const flags = bytes[at + 13] as number;
  if ((flags & TCP_NEEDED) === 0) return UNNEEDED;
  const header = ((bytes[at + 12] as number) >>> 4) * 4;
  if (header < 20 || header > ip.payload) return MALFORMED;
  const row = addRow(rows, bytes, ip);
  const words = rows.words;
  words[row + P_PROTOCOL] = TCP;
  words[row + P_FLAGS] = flags;
  words[row + P_SEQ] = i32(bytes, at + 4);
  words[row + P_ACK] = i32(bytes, at + 8);
  words[row + P_PAYLOAD] = ip.payload - header;
  // Options that the capture cut off would give another print than the same segment seen in full.
  if (at + header <= ip.end) readTcpOptions(bytes, at, header, flags, words, row);
  return row;
}

/**
 * Print and TSval. MSS is left out of the print, since the TCPMSS target may lower it or add it on the
 * way. An option whose length lies ends the walk; the print then covers the rest as it is.
 */
function readTcpOptions(
  bytes: Uint8Array,
  at: number,
  header: number,
  flags: number,
  words: Uint32Array,
  row: number,
): void {
  const end = at + header;
  let hash = begin((u16(bytes, at + 14) << 8) | flags);
  let from = at + 20;
  let option = from;
  while (option < end) {
    const kind = bytes[option] as number;
    if (kind === OPTION_END) break;
    if (kind === OPTION_NOP) {
      option++;
      continue;
    }
    const length = option + 1 < end ? (bytes[option + 1] as number) : 0;
    if (length < 2 || option + length > end) break;
    if (kind === OPTION_MSS) {
      hash = addBytes(hash, bytes, from, option);
      from = option + length;
    } else if (kind === OPTION_TIMESTAMP && length === 10) {
      words[row + P_TSVAL] = i32(bytes, option + 2);
    }
    option += length;
  }
  words[row + P_PRINT] = finish(addBytes(hash, bytes, from, end));
}

/** RFC 768; the length counts the header. 0 is "longer than 16 bits can say", as in IP. */
export function addUdp(rows: PacketRows, bytes: Uint8Array, ip: IpPacket): number {
  const at = ip.transportAt;
  if (ip.payload < 8) return MALFORMED;
  if (ip.end - at < 8) return tooShort(ip.end, ip.wireEnd);
  const said = u16(bytes, at + 4);
  const length = said === 0 ? ip.payload : said;
  if (length < 8 || (length > ip.payload && !ip.moreFragments)) return MALFORMED;
  const row = addRow(rows, bytes, ip);
  const words = rows.words;
  words[row + P_PROTOCOL] = UDP;
  words[row + P_PAYLOAD] = length - 8;
  const to = Math.min(ip.end, at + length, at + 8 + UDP_PRINT_BYTES);
  words[row + P_PRINT] = finish(addBytes(begin(length), bytes, at + 8, to));
  return row;
}

/** RFC 9260, section 3: a row where the first chunk opens or ends an association, else an outcome. */
export function addSctp(rows: PacketRows, bytes: Uint8Array, ip: IpPacket): number {
  const at = ip.transportAt;
  if (ip.payload < 16) return MALFORMED;
  if (ip.end - at < 16) return tooShort(ip.end, ip.wireEnd);
  const type = bytes[at + 12] as number;
  if (!isNeededChunk(type)) return UNNEEDED;
  const chunk = u16(bytes, at + 14);
  const opens = type === SCTP_INIT || type === SCTP_INIT_ACK;
  // INIT and INIT ACK have 16 fixed bytes after the chunk's header of four.
  if (chunk < (opens ? 20 : 4)) return MALFORMED;
  if (chunk > ip.payload - 12 && !ip.moreFragments) return MALFORMED;
  if (opens && ip.end - at < 20) return tooShort(ip.end, ip.wireEnd);
  const row = addRow(rows, bytes, ip);
  const words = rows.words;
  words[row + P_PROTOCOL] = SCTP;
  words[row + P_FLAGS] = type;
  words[row + P_ACK] = i32(bytes, at + 4);
  words[row + P_PAYLOAD] = ip.payload - 12;
  let hash = begin(type);
  if (opens) {
    words[row + P_SEQ] = i32(bytes, at + 16);
    const to = Math.min(ip.end, at + 12 + chunk, at + 16 + SCTP_PRINT_BYTES);
    hash = addBytes(hash, bytes, at + 16, to);
  }
  words[row + P_PRINT] = finish(hash);
  return row;
}

function isNeededChunk(type: number): boolean {
  switch (type) {
    case SCTP_INIT:
    case SCTP_INIT_ACK:
    case SCTP_ABORT:
    case SCTP_SHUTDOWN:
    case SCTP_SHUTDOWN_COMPLETE:
      return true;
    default:
      return false;
  }
}
