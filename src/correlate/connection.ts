import type {
  Attribution,
  Backend,
  Outcome,
  Reason,
  ServiceRef,
  Traffic,
  Verdict,
} from '../model/attribution.js';
import type { ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';

/** Moment that is not known. */
export const NEVER = Number.NEGATIVE_INFINITY;

/** How a connection stands to Services. */
export const LONE = 0; // a SYN to an address that no Service owns: direct, other, or the far side of a translation
export const SERVICE = 1; // counted in the summary's `seen`
export const FREE = 3; // its place may be used again
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
export const RESET_PASSED = 1 << 18; // a packet reset or refused it; conntrack's state may say so of an earlier entry
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
export const BY_PACKETS = 16;
export const BY_CONNTRACK = 32;
/**
 * Beside the tuples: numbers of 32 bits. A connection's words are three lines of the cache: what every packet
 * asks for in the first, what its translated copies do in the second, conntrack's in the third.
 */
export const W_PROTOCOL = 10;
const W_ISN = 11;
const W_PRINT = 12;
const W_OLD_PRINT = 13;
const W_IPID = 14;
const W_RESOLUTION = 15;
const W_ANSWER_ISN = 26;
const W_LATENESS = 27;
const W_CONNTRACK_RESOLUTION = 42;
const W_CONNTRACK_ID = 43;
export const CONNECTION_WORDS = 48;

/** Moments and spans in ns, as doubles. */
const M_TIME = 0;
const M_LAST_SENT = 1;
const M_LAST_SEEN = 2;
const M_END = 3;
const M_WAKE_AT = 4;
const M_CLOSE_AT = 5;
const M_FIRST_SENT = 6;
const M_ANSWER = 7;
const M_FIRST_POST = 8;
const M_LAST_POST = 9;
const M_NAT = 10;
const M_CONNTRACK = 11;
const M_CONNTRACK_END = 12;
const M_LAST_ANSWER = 13;
const M_REFUSED = 14;
const M_MISSING_SINCE = 15;
export const CONNECTION_MOMENTS = 16;

/** The numbers of all connections, each with a stretch of either array; replaced when they grow. */
export class Numbers {
  words = new Uint32Array(CONNECTION_WORDS * 1024);
  moments = new Float64Array(CONNECTION_MOMENTS * 1024);
}

/** A connection as another node saw it; moments by that node's clock. */
export interface FarSight {
  vantage: number;
  firstSent: number;
  answerTime: number;
  interfaceIn: number;
  interfaceOut: number;
}

/**
 * One connection (a UDP flow, an SCTP association): filled by numbers, described when there is something to
 * say. Made once for its place in the table and used again for the next one there, so that connections cost
 * the garbage collector nothing; who holds one after its release holds another connection.
 */
export class Connection {
  readonly slot: number;
  private readonly numbers: Numbers;
  /** Ordinal of its making. */
  serial = 0;
  kind = FREE;
  bits = 0;
  family: 4 | 6 = 4;
  protocol = 0;
  zone = -1;
  timeSource: 'packet' | 'conntrack' | 'listing' = 'packet';
  /** Whether `answerTime` is from the client's side. */
  answeredBefore = false;
  retransmits = 0;
  /** How many entries conntrack made for later transmissions of its opening packet. */
  laterEntries = 0;
  interfaceIn = 0;
  interfaceOut = 0;
  /** Place among the state's vantages of the node that translated it, or first saw it. */
  vantage = 0;
  /** What was seen of it at another node, behind its translation. */
  far: FarSight | undefined;
  /** Whether `interfaceOut` is one that the packet was seen to leave by. */
  leftSeen = false;
  /** UDP: how many datagrams in a row no translated copy followed. */
  missing = 0;
  /** UDP: when to look again whether its endpoint is still there. */
  staleLookAt = NEVER;
  private knowsConntrackId = false;
  /** What the rules and the cluster said of the address when it began. */
  byRules: ServiceEntry | undefined;
  byCluster: ServiceEntry | undefined;
  /** Where neither knows the port: an entry of the Service that has the address. */
  byAddress: ServiceEntry | undefined;
  original: Traffic | undefined;
  reply: Traffic | undefined;
  /** Endpoints that got earlier transmissions of the same opening packet: `ip:port`. */
  earlier: string[] | undefined;

  // What was last judged, to know whether it is worth a description.
  judged: Verdict | undefined;
  judgedReason: Reason | undefined;
  judgedOutcome: Outcome = 'open';
  judgedMark = 0;
  judgedRules: ServiceEntry | undefined;

  // What was last said, to know whether there is something new.
  id: string | undefined;
  /** Its time as it was told with the id. */
  startTime: Nanos | undefined;
  saidVerdict: Verdict | undefined;
  saidReason: Reason | undefined;
  saidOutcome: Outcome = 'open';

  // What its last line told, to know whether another one would tell something else. Not the line itself: one
  // for each of a million open connections would be most of the memory.
  toldVerdict: Verdict | undefined;
  toldReason: Reason | undefined;
  toldOutcome: Outcome = 'open';
  toldBackend: Backend | undefined;
  toldService: ServiceRef | undefined;
  toldSource: Attribution['source'];

  constructor(slot: number, numbers: Numbers) {
    this.slot = slot;
    this.numbers = numbers;
  }

  /** Makes it a new connection of which nothing is known; its words and moments are the table's to set. */
  begin(serial: number, protocol: number, family: 4 | 6): void {
    this.serial = serial;
    this.kind = LONE;
    this.bits = 0;
    this.family = family;
    this.protocol = protocol;
    this.zone = -1;
    this.timeSource = 'packet';
    this.answeredBefore = false;
    this.retransmits = 0;
    this.laterEntries = 0;
    this.interfaceIn = 0;
    this.interfaceOut = 0;
    this.vantage = 0;
    this.far = undefined;
    this.leftSeen = false;
    this.missing = 0;
    this.staleLookAt = NEVER;
    this.knowsConntrackId = false;
    this.byRules = undefined;
    this.byCluster = undefined;
    this.byAddress = undefined;
    this.original = undefined;
    this.reply = undefined;
    this.earlier = undefined;
    this.judged = undefined;
    this.judgedReason = undefined;
    this.judgedOutcome = 'open';
    this.judgedMark = 0;
    this.judgedRules = undefined;
    this.id = undefined;
    this.startTime = undefined;
    this.toldVerdict = undefined;
    this.toldReason = undefined;
    this.toldOutcome = 'open';
    this.toldBackend = undefined;
    this.toldService = undefined;
    this.toldSource = undefined;
    this.saidVerdict = undefined;
    this.saidReason = undefined;
    this.saidOutcome = 'open';
    const { words, moments } = this.numbers;
    const w = this.slot * CONNECTION_WORDS;
    words.fill(0, w, w + CONNECTION_WORDS);
    words[w + W_PROTOCOL] = protocol;
    words[w + W_RESOLUTION] = 1;
    const m = this.slot * CONNECTION_MOMENTS;
    moments.fill(NEVER, m, m + CONNECTION_MOMENTS);
    moments[m + M_CLOSE_AT] = Number.POSITIVE_INFINITY;
    moments[m + M_WAKE_AT] = Number.POSITIVE_INFINITY;
    moments[m + M_NAT] = -1;
  }

  /** Negative if unknown. */
  get conntrackId(): number {
    return this.knowsConntrackId
      ? (this.numbers.words[this.slot * CONNECTION_WORDS + W_CONNTRACK_ID] ?? 0)
      : -1;
  }
  set conntrackId(to: number) {
    this.knowsConntrackId = to >= 0;
    this.numbers.words[this.slot * CONNECTION_WORDS + W_CONNTRACK_ID] = to;
  }

  /** Best known moment of its first packet, relative ns; NEVER if only an undated listing told of it. */
  get time(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_TIME] ?? 0;
  }
  set time(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_TIME] = to;
  }
  /** `time` is a multiple of this many ns; the packet passed within [time - lateness, time + resolution). */
  get resolution(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_RESOLUTION] ?? 0;
  }
  set resolution(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_RESOLUTION] = to;
  }
  get lateness(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_LATENESS] ?? 0;
  }
  set lateness(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_LATENESS] = to;
  }
  get isn(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_ISN] ?? 0;
  }
  set isn(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_ISN] = to;
  }
  get answerIsn(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_ANSWER_ISN] ?? 0;
  }
  set answerIsn(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_ANSWER_ISN] = to;
  }
  /** Fingerprint and identification of the last opening packet (UDP: of the last datagram), and the one before. */
  get print(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_PRINT] ?? 0;
  }
  set print(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_PRINT] = to;
  }
  get oldPrint(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_OLD_PRINT] ?? 0;
  }
  set oldPrint(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_OLD_PRINT] = to;
  }
  get ipid(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_IPID] ?? 0;
  }
  set ipid(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_IPID] = to;
  }
  /** When the client last sent an opening packet (UDP: a datagram), before and after translation. */
  get lastSent(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_SENT] ?? 0;
  }
  set lastSent(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_SENT] = to;
  }
  /** The first sight of its opening packet, on the client's side if it was seen there. */
  get firstSent(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_FIRST_SENT] ?? 0;
  }
  set firstSent(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_FIRST_SENT] = to;
  }
  /** The first and the last sight of it translated. */
  get firstPost(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_FIRST_POST] ?? 0;
  }
  set firstPost(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_FIRST_POST] = to;
  }
  get lastPost(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_POST] ?? 0;
  }
  set lastPost(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_POST] = to;
  }
  get answerTime(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_ANSWER] ?? 0;
  }
  set answerTime(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_ANSWER] = to;
  }
  /** Any sign of life, for idle bounds. */
  get lastSeen(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_SEEN] ?? 0;
  }
  set lastSeen(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_SEEN] = to;
  }
  get endTime(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_END] ?? 0;
  }
  set endTime(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_END] = to;
  }
  /** When its last word is due, once it has ended. */
  get closeAt(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CLOSE_AT] ?? 0;
  }
  set closeAt(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CLOSE_AT] = to;
  }
  /** When it wants to be looked at again. */
  get wakeAt(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_WAKE_AT] ?? 0;
  }
  set wakeAt(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_WAKE_AT] = to;
  }
  /** First sight before translation to first sight after; negative if unknown. */
  get natNs(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_NAT] ?? 0;
  }
  set natNs(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_NAT] = to;
  }
  /** UDP: when it was last answered, and last refused by ICMP. */
  get lastAnswer(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_ANSWER] ?? 0;
  }
  set lastAnswer(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_LAST_ANSWER] = to;
  }
  get refusedAt(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_REFUSED] ?? 0;
  }
  set refusedAt(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_REFUSED] = to;
  }
  /** UDP: the first datagram since the last translated copy that no such copy followed. */
  get missingSince(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_MISSING_SINCE] ?? 0;
  }
  set missingSince(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_MISSING_SINCE] = to;
  }
  /** Moment and resolution of conntrack's NEW, to know its copies. */
  get conntrackTime(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CONNTRACK] ?? 0;
  }
  set conntrackTime(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CONNTRACK] = to;
  }
  get conntrackResolution(): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + W_CONNTRACK_RESOLUTION] ?? 0;
  }
  set conntrackResolution(to: number) {
    this.numbers.words[this.slot * CONNECTION_WORDS + W_CONNTRACK_RESOLUTION] = to;
  }
  /** Moment of conntrack's DESTROY. */
  get conntrackEnd(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CONNTRACK_END] ?? 0;
  }
  set conntrackEnd(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CONNTRACK_END] = to;
  }
}
