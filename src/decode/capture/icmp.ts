import {
  CLASS_ICMP_ERROR,
  P_ACK,
  P_BYTES,
  P_CLASS,
  P_FLAGS,
  P_IPID,
  P_SENDER,
  P_SEQ,
  P_TTL,
  SCTP,
  SCTP_INIT,
  TCP,
  UDP,
} from '../../model/packet.js';
import type { PacketRows } from '../../model/packet-rows.js';
import { i32 } from './bytes.js';
import { type IpPacket, readIp, writeSource } from './ip.js';
import { MALFORMED, OTHER_TRANSPORT, tooShort } from './outcome.js';
import { addRow } from './transport.js';

export const ICMP = 1;
export const ICMPV6 = 58;

/**
 * An ICMP error (RFC 792: destination unreachable, time exceeded, parameter problem; RFC 4443: types 1
 * to 4) becomes a row of the packet that it quotes; else an outcome. Only 8 bytes of the quoted
 * transport are sure to be there. Time to live, identification and length are the error's own.
 * `quoted` is scratch space.
 */
export function addIcmpError(
  rows: PacketRows,
  bytes: Uint8Array,
  ip: IpPacket,
  quoted: IpPacket,
): number {
  const at = ip.transportAt;
  if (ip.payload < 8) return MALFORMED;
  if (ip.end - at < 8) return tooShort(ip.end, ip.wireEnd);
  const type = bytes[at] as number;
  if (!isError(ip.family, type)) return OTHER_TRANSPORT;
  const status = readIp(bytes, at + 8, ip.end, ip.wireEnd, quoted);
  if (status < 0) return status;
  if (quoted.family !== ip.family || quoted.payload < 8) return MALFORMED;
  if (quoted.protocol !== TCP && quoted.protocol !== UDP && quoted.protocol !== SCTP) {
    return OTHER_TRANSPORT;
  }
  const transport = quoted.transportAt;
  if (quoted.end - transport < 8) return tooShort(ip.end, ip.wireEnd);
  const row = addRow(rows, bytes, quoted);
  const words = rows.words;
  words[row + P_CLASS] = CLASS_ICMP_ERROR;
  words[row + P_FLAGS] = (type << 8) | (bytes[at + 1] as number);
  words[row + P_TTL] = ip.ttl;
  words[row + P_IPID] = ip.identification;
  words[row + P_BYTES] = ip.length;
  writeSource(bytes, ip, words, row + P_SENDER);
  if (quoted.protocol === TCP) {
    words[row + P_SEQ] = i32(bytes, transport + 4);
  } else if (quoted.protocol === SCTP) {
    words[row + P_ACK] = i32(bytes, transport + 4);
    // An INIT's verification tag is 0; its initiate tag is there if the quotation is long enough.
    if (quoted.end - transport >= 20 && bytes[transport + 12] === SCTP_INIT) {
      words[row + P_SEQ] = i32(bytes, transport + 16);
    }
  }
  return row;
}

function isError(family: number, type: number): boolean {
  if (family === 6) return type >= 1 && type <= 4;
  return type === 3 || type === 11 || type === 12;
}
