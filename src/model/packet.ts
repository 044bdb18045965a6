/**
 * A packet as the correlator needs it. All words unsigned, ports and numbers in host order.
 * For an ICMP error the tuple, sequence and protocol are those of the *quoted* packet.
 */
export const PACKET_WORDS = 36;
/** Time of capture: seconds since 1970, nanoseconds within. */
export const P_SEC = 0;
export const P_NSEC = 1;
/** The time stamp is a multiple of this many ns (1 for nanosecond files and the ring, 1000 for microseconds). */
export const P_RESOLUTION = 2;
/** The packet may have passed up to this many ns before its time (0 for kernel time stamps). */
export const P_LATENESS = 3;
/** Identifier in the run's `Interfaces`; 0 is unknown. */
export const P_INTERFACE = 4;
/** One of the DIRECTION_ constants. */
export const P_DIRECTION = 5;
/** 4 or 6. */
export const P_FAMILY = 6;
/** IP protocol: 6, 17 or 132 (of the quoted packet for an ICMP error). */
export const P_PROTOCOL = 7;
/** 0 for a segment or datagram, or CLASS_ICMP_ERROR. */
export const P_CLASS = 8;
/** TCP flags byte; SCTP type of the first chunk; ICMP type << 8 | code. */
export const P_FLAGS = 9;
/** Four words each: see address.ts. */
export const P_SRC = 10;
export const P_DST = 14;
export const P_SPORT = 18;
export const P_DPORT = 19;
/** TCP sequence and acknowledgement; SCTP initiate tag (INIT, INIT ACK) and verification tag. */
export const P_SEQ = 20;
export const P_ACK = 21;
/**
 * Fingerprint of what NAT leaves alone. TCP: options without MSS (a clamp may lower it), and window.
 * UDP: the first payload bytes and the payload's length. SCTP: tags and first chunk. 0 if nothing could be read.
 */
export const P_PRINT = 22;
/** IPv4 identification; 0 for IPv6. Kept by NAT, changed by a retransmission. */
export const P_IPID = 23;
/** Bytes of transport payload on the wire (from the IP length, not from what was captured). */
export const P_PAYLOAD = 24;
export const P_TTL = 25;
/** One of the ENCAPSULATION_ constants: how the packet was wrapped where it was seen. */
export const P_ENCAPSULATION = 26;
/** ICMP errors: who sent it (four words). */
export const P_SENDER = 27;
/** TCP timestamp value (TSval) if the option is there, else 0: differs between a SYN and its retransmission. */
export const P_TSVAL = 31;
/** Bytes of the whole packet on the wire. */
export const P_BYTES = 32;

export const CLASS_ICMP_ERROR = 1;

export const DIRECTION_UNKNOWN = 0;
export const DIRECTION_IN = 1;
export const DIRECTION_OUT = 2;
/** To another host: what a bridge port sees of a frame that the bridge will forward; read it as "in". */
export const DIRECTION_OTHER_HOST = 3;

export const ENCAPSULATION_NONE = 0;
export const ENCAPSULATION_VXLAN = 1;
export const ENCAPSULATION_GENEVE = 2;
export const ENCAPSULATION_IPIP = 3;

export const TCP = 6;
export const UDP = 17;
export const SCTP = 132;

export const TCP_FIN = 0x01;
export const TCP_SYN = 0x02;
export const TCP_RST = 0x04;
export const TCP_ACK = 0x10;
/** Of segments that open or close a connection. */
export const TCP_NEEDED = TCP_FIN | TCP_SYN | TCP_RST;

export const SCTP_INIT = 1;
export const SCTP_INIT_ACK = 2;
export const SCTP_ABORT = 6;
export const SCTP_SHUTDOWN = 7;
export const SCTP_SHUTDOWN_COMPLETE = 14;

const PROTOCOL_NAMES = new Map([
  [TCP, 'tcp'],
  [UDP, 'udp'],
  [SCTP, 'sctp'],
]);

export type ProtocolName = 'tcp' | 'udp' | 'sctp';

/** `tcp`, `udp` or `sctp`; the number as text for anything else. */
export function protocolName(protocol: number): string {
  return PROTOCOL_NAMES.get(protocol) ?? String(protocol);
}

/** The number of a protocol's name in any case; 0 if it is none of the three. */
export function protocolNumber(name: string): number {
  switch (name.toLowerCase()) {
    case 'tcp':
      return TCP;
    case 'udp':
      return UDP;
    case 'sctp':
      return SCTP;
    default:
      return 0;
  }
}
