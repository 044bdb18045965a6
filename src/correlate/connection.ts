import type { Outcome, Reason, Traffic, Verdict } from '../model/attribution.js';
import type { ServiceEntry } from '../model/services.js';

/** Moment that is not known. */
export const NEVER = Number.NEGATIVE_INFINITY;

/** How a connection stands to Services. */
export const LONE = 0; // a SYN to an address that no Service owns: direct, other, or the far side of a translation
export const SERVICE = 1; // counted in the summary's `seen`
export const CLOSED = 2; // its last word is said; kept so that late copies and listings find it

/** What was seen of a connection. */
export const SAW_PRE = 1 << 0; // its opening packet, as the client sent it
export const SAW_POST = 1 << 1; // its opening packet, translated
export const SAW_ANSWER = 1 << 2; // SYN-ACK, INIT ACK, a datagram back, or conntrack says so
export const SAW_FIN_ORIGINAL = 1 << 3;
export const SAW_FIN_REPLY = 1 << 4;
export const SAW_RESET = 1 << 5; // RST or ABORT after the answer
export const SAW_REFUSAL = 1 << 6; // RST, ABORT or ICMP unreachable before any answer
export const SAW_UNREACHABLE = 1 << 7; // ICMP host or net unreachable
export const HAS_ISN = 1 << 8;
export const HAS_ANSWER_ISN = 1 << 9;
export const CT_CLAIM = 1 << 10; // conntrack told where it was sent
export const CT_ENDED = 1 << 11; // and that its entry is gone
export const CT_UNREPLIED = 1 << 12; // the last word of conntrack is: no answer
export const CT_UNTRANSLATED = 1 << 13; // conntrack has it, and nothing was translated
export const PK_CLAIM = 1 << 14; // a translated packet told where it was sent
export const SETTLED = 1 << 15; // the bound of waiting has passed
export const SUPERSEDED = 1 << 16; // a newer connection has its tuple
export const IN_LISTING = 1 << 17; // an undated listing has an entry of its tuple
export const ICMP_REFUSAL = 1 << 20;
export const TIME_AMBIGUOUS = 1 << 22; // told to whole seconds, and its tuple was used more than once in that second
export const CT_LISTED = 1 << 23; // conntrack's claim is a listing's: the event about it may still come
export const STALE_TOLD = 1 << 24; // that its endpoint is gone was told
export const SAY_DUE = 1 << 21; // an answer was seen; to be said when its other copies had time to come

/** Tuples of a connection in the table's words: source, destination, ports. */
export const TUPLE_WORDS = 10;
export const T_SRC = 0;
export const T_DST = 4;
export const T_SPORT = 8;
export const T_DPORT = 9;
/** Offsets of the three tuples: as the client sent it, translated as conntrack says, translated as seen. */
export const ORIGINAL = 0;
export const BY_CONNTRACK = ORIGINAL + TUPLE_WORDS;
export const BY_PACKETS = BY_CONNTRACK + TUPLE_WORDS;
export const CONNECTION_WORDS = 32;

/** A connection as another node saw it; moments by that node's clock. */
export interface FarSight {
  vantage: number;
  firstSent: number;
  answerTime: number;
  interfaceIn: number;
  interfaceOut: number;
}

/** One connection (a UDP flow, an SCTP association): made once, filled by numbers, described when there is something to say. */
export class Connection {
  readonly slot: number;
  /** Ordinal of its making. */
  readonly serial: number;
  kind = LONE;
  bits = 0;
  family: 4 | 6 = 4;
  protocol = 0;
  zone = -1;
  /** Best known moment of its first packet, relative ns; NEVER if only an undated listing told of it. */
  time = NEVER;
  /** `time` is a multiple of this many ns; the packet passed within [time - lateness, time + resolution). */
  resolution = 1;
  lateness = 0;
  timeSource: 'packet' | 'conntrack' | 'listing' = 'packet';
  isn = 0;
  answerIsn = 0;
  /** Fingerprint and identification of the last opening packet (UDP: of the last datagram), and the one before. */
  print = 0;
  oldPrint = 0;
  ipid = 0;
  /** When the client last sent an opening packet (UDP: a datagram), before and after translation. */
  lastSent = NEVER;
  /** The first sight of its opening packet, on the client's side if it was seen there. */
  firstSent = NEVER;
  firstPost = NEVER;
  answerTime = NEVER;
  /** Whether `answerTime` is from the client's side. */
  answeredBefore = false;
  /** Any sign of life, for idle bounds. */
  lastSeen = NEVER;
  endTime = NEVER;
  /** When its last word is due, once it has ended. */
  closeAt = Number.POSITIVE_INFINITY;
  natNs = -1;
  retransmits = 0;
  interfaceIn = 0;
  interfaceOut = 0;
  /** Place among the state's vantages of the node that translated it, or first saw it. */
  vantage = 0;
  /** What was seen of it at another node, behind its translation. */
  far: FarSight | undefined;
  lastPost = NEVER;
  /** Whether `interfaceOut` is one that the packet was seen to leave by. */
  leftSeen = false;
  /** UDP: when it was last answered, and last refused by ICMP. */
  lastAnswer = NEVER;
  refusedAt = NEVER;
  /** UDP: the first datagram since the last translated copy that no such copy followed, and how many did so. */
  missingSince = NEVER;
  missing = 0;
  /** UDP: when to look again whether its endpoint is still there. */
  staleLookAt = NEVER;
  conntrackId = -1;
  /** Moment and resolution of conntrack's NEW, to know its copies. */
  conntrackTime = NEVER;
  conntrackResolution = 0;
  /** Moment of conntrack's DESTROY. */
  conntrackEnd = NEVER;
  /** What the rules and the cluster said of the address when it began. */
  byRules: ServiceEntry | undefined;
  byCluster: ServiceEntry | undefined;
  /** Where neither knows the port: an entry of the Service that has the address. */
  byAddress: ServiceEntry | undefined;
  original: Traffic | undefined;
  reply: Traffic | undefined;
  /** Endpoints that got earlier transmissions of the same opening packet: `ip:port`. */
  earlier: string[] | undefined;
  /** When it wants to be looked at again. */
  wakeAt = Number.POSITIVE_INFINITY;

  // What was last judged, to know whether it is worth a description.
  judged: Verdict | undefined;
  judgedReason: Reason | undefined;
  judgedOutcome: Outcome = 'open';
  judgedMark = 0;
  judgedRules: ServiceEntry | undefined;

  // What was last said, to know whether there is something new.
  id: string | undefined;
  said = '';
  saidVerdict: Verdict | undefined;
  saidReason: Reason | undefined;
  saidOutcome: Outcome = 'open';

  constructor(slot: number, serial: number) {
    this.slot = slot;
    this.serial = serial;
  }
}
