import { formatAddress } from '../model/address.js';
import type { End, SeenPacket } from '../model/case.js';
import type { Interfaces } from '../model/interfaces.js';
import {
  CLASS_ICMP_ERROR,
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
  ENCAPSULATION_GENEVE,
  ENCAPSULATION_IPIP,
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
  P_NSEC,
  P_PROTOCOL,
  P_SEC,
  P_SENDER,
  P_SEQ,
  P_SPORT,
  P_SRC,
  P_TTL,
  SCTP,
  SCTP_ABORT,
  SCTP_INIT,
  SCTP_INIT_ACK,
  SCTP_SHUTDOWN,
  SCTP_SHUTDOWN_COMPLETE,
  TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../model/packet.js';
import { nanosOf } from '../model/time.js';

/** RFC 9260, section 3.3.9. */
const SCTP_SHUTDOWN_ACK = 8;

/** Puts a row into words. `of`: which of the connection's tuples it bears, and whether from the client on. */
export function seenPacket(
  w: Uint32Array,
  at: number,
  of: Pick<SeenPacket, 'way' | 'view'>,
  interfaces: Interfaces,
  node: string | undefined,
): SeenPacket {
  const family = w[at + P_FAMILY] ?? 0;
  const protocol = w[at + P_PROTOCOL] ?? 0;
  const flags = w[at + P_FLAGS] ?? 0;
  const isError = w[at + P_CLASS] === CLASS_ICMP_ERROR;
  const id = w[at + P_INTERFACE] ?? 0;
  const name = interfaces.name(id);
  const where = node ?? interfaces.get(id).node;
  const direction = directionOf(w[at + P_DIRECTION]);
  const encapsulation = encapsulationOf(w[at + P_ENCAPSULATION]);
  const isSegment = protocol === TCP && !isError;
  return {
    time: nanosOf(w[at + P_SEC] ?? 0, w[at + P_NSEC] ?? 0),
    ...(name !== undefined && { interface: name }),
    ...(direction !== undefined && { direction }),
    ...(where !== undefined && where !== '' && { node: where }),
    kind: isError ? 'icmp-error' : kindOf(protocol, flags),
    from: endAt(w, at + P_SRC, at + P_SPORT, family),
    to: endAt(w, at + P_DST, at + P_DPORT, family),
    ...of,
    ...(protocol === TCP && { sequence: w[at + P_SEQ] ?? 0 }),
    ...(isSegment && (flags & TCP_ACK) !== 0 && { acknowledgement: w[at + P_ACK] ?? 0 }),
    ...((w[at + P_TTL] ?? 0) > 0 && { ttl: w[at + P_TTL] ?? 0 }),
    bytes: w[at + P_BYTES] ?? 0,
    ...(isError && {
      icmp: {
        type: flags >>> 8,
        code: flags & 255,
        sender: formatAddress(w, at + P_SENDER, family),
      },
    }),
    ...(encapsulation !== undefined && { encapsulation }),
  };
}

function endAt(w: Uint32Array, ip: number, port: number, family: number): End {
  return { ip: formatAddress(w, ip, family), port: w[port] ?? 0 };
}

function kindOf(protocol: number, flags: number): SeenPacket['kind'] {
  if (protocol === TCP) {
    if ((flags & TCP_RST) !== 0) return 'rst';
    if ((flags & TCP_SYN) !== 0) return (flags & TCP_ACK) === 0 ? 'syn' : 'syn-ack';
    return (flags & TCP_FIN) === 0 ? 'segment' : 'fin';
  }
  if (protocol !== SCTP) return 'datagram';
  switch (flags) {
    case SCTP_INIT:
      return 'init';
    case SCTP_INIT_ACK:
      return 'init-ack';
    case SCTP_ABORT:
      return 'abort';
    case SCTP_SHUTDOWN:
    case SCTP_SHUTDOWN_ACK:
    case SCTP_SHUTDOWN_COMPLETE:
      return 'shutdown';
    default:
      return 'segment';
  }
}

function directionOf(word: number | undefined): 'in' | 'out' | undefined {
  if (word === DIRECTION_IN || word === DIRECTION_OTHER_HOST) return 'in';
  return word === DIRECTION_OUT ? 'out' : undefined;
}

function encapsulationOf(word: number | undefined): SeenPacket['encapsulation'] {
  switch (word) {
    case ENCAPSULATION_VXLAN:
      return 'vxlan';
    case ENCAPSULATION_GENEVE:
      return 'geneve';
    case ENCAPSULATION_IPIP:
      return 'ipip';
    default:
      return undefined;
  }
}
