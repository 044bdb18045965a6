import { formatAddress, formatEndpoint } from '../../src/model/address.js';
import {
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
  protocolName,
} from '../../src/model/packet.js';
import type { PacketRows } from '../../src/model/packet-rows.js';
import { formatNanos, nanosOf } from '../../src/model/time.js';

/** A row of packets in words, for tests to compare. */
export interface PacketView {
  readonly time: string;
  readonly resolution: number;
  readonly interface: number;
  readonly direction: number;
  readonly protocol: string;
  readonly class: number;
  readonly flags: number;
  readonly src: string;
  readonly dst: string;
  readonly seq: number;
  readonly ack: number;
  readonly print: number;
  readonly ipid: number;
  readonly payload: number;
  readonly ttl: number;
  readonly encapsulation: number;
  /** Only of ICMP errors. */
  readonly sender?: string;
  readonly tsval: number;
  readonly bytes: number;
}

/** All rows, in order. */
export function viewsOf(rows: PacketRows): PacketView[] {
  return Array.from({ length: rows.length }, (_, row) => viewOf(rows, row * rows.stride));
}

/** The row at word offset `at`. */
function viewOf({ words }: PacketRows, at: number): PacketView {
  const word = (field: number): number => words[at + field] ?? -1;
  const family = word(P_FAMILY);
  const address = (field: number): string => formatAddress(words, at + field, family);
  const view = {
    time: formatNanos(nanosOf(word(P_SEC), word(P_NSEC))),
    resolution: word(P_RESOLUTION),
    interface: word(P_INTERFACE),
    direction: word(P_DIRECTION),
    protocol: protocolName(word(P_PROTOCOL)),
    class: word(P_CLASS),
    flags: word(P_FLAGS),
    src: formatEndpoint(address(P_SRC), word(P_SPORT)),
    dst: formatEndpoint(address(P_DST), word(P_DPORT)),
    seq: word(P_SEQ),
    ack: word(P_ACK),
    print: word(P_PRINT),
    ipid: word(P_IPID),
    payload: word(P_PAYLOAD),
    ttl: word(P_TTL),
    encapsulation: word(P_ENCAPSULATION),
    tsval: word(P_TSVAL),
    bytes: word(P_BYTES),
  };
  return view.class === 0 ? view : { ...view, sender: address(P_SENDER) };
}
