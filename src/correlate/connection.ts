import type { Attribution, Backend, ServiceRef, Traffic } from '../model/attribution.js';
import type { ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';

/** Moment that is not known. */
export const NEVER = Number.NEGATIVE_INFINITY;

/** Verdict, reason and outcome in one small number (see saying.ts): there is no verdict and no reason, and it is open. */
export const UNSAID = 0;

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
/** Offsets of the three tuples: as the client sent it, translated as seen, translated as conntrack says. */
export const ORIGINAL = 0;
export const BY_PACKETS = 16;
export const BY_CONNTRACK = 32;
/**
 * Beside the tuples: numbers of 32 bits. A connection's words are three lines of the cache: what every packet
 * asks for in the first, what its translated copies and its opening do in the second, conntrack's and what is
 * counted in the third.
 */
export const W_PROTOCOL = 10;
const W_ISN = 11;
const W_PRINT = 12;
const W_OLD_PRINT = 13;
const W_IPID = 14;
const W_RESOLUTION = 15;
const W_ANSWER_ISN = 26;
const W_LATENESS = 27;
const W_TAGS = 28;
const W_VANTAGE = 29;
const W_INTERFACE_IN = 30;
const W_INTERFACE_OUT = 31;
const W_CONNTRACK_RESOLUTION = 42;
const W_CONNTRACK_ID = 43;
const W_ZONE = 44; // and one, so that 0 is none
const W_SENT_AGAIN = 45; // retransmits, and from LATER_SHIFT on later entries
const W_MISSING = 46;
const W_JUDGED_MARK = 47;
export const CONNECTION_WORDS = 48;

/** In W_TAGS. */
const IS_IPV6 = 1 << 0;
const ANSWERED_BEFORE = 1 << 1;
const LEFT_SEEN = 1 << 2;
const KNOWS_CONNTRACK_ID = 1 << 3;
const SOURCE_SHIFT = 4;
const SOURCES = ['packet', 'conntrack', 'listing'] as const;

/** Half a word for either count in W_SENT_AGAIN. */
const LATER_SHIFT = 16;
const MOST_COUNTED = 0xffff;

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

/** What few connections have: of those over TCP, none that is plain and whose entry has no counters. */
class Rarities {
  /** What was seen of it at another node, behind its translation. */
  far: FarSight | undefined;
  /** Where neither rules nor cluster know the port: an entry of the Service that has the address. */
  byAddress: ServiceEntry | undefined;
  original: Traffic | undefined;
  reply: Traffic | undefined;
  /** Endpoints that got earlier transmissions of the same opening packet: `ip:port`. */
  earlier: string[] | undefined;
  /** UDP: when to look again whether its endpoint is still there. */
  staleLookAt = NEVER;

  clear(): void {
    this.far = undefined;
    this.byAddress = undefined;
    this.original = undefined;
    this.reply = undefined;
    this.earlier = undefined;
    this.staleLookAt = NEVER;
  }
}

/**
 * One connection (a UDP flow, an SCTP association): filled by numbers, described when there is something to
 * say. Made once for its place in the table and used again for the next one there, so that connections cost
 * the garbage collector nothing; who holds one after its release holds another connection. Of a million there
 * are a million, so an object holds little: numbers lie in the table's arrays, and what few have lies apart.
 */
export class Connection {
  readonly slot: number;
  private readonly numbers: Numbers;
  /** Ordinal of its making. */
  serial = 0;
  kind = FREE;
  bits = 0;
  /** What the rules and the cluster said of the address when it began. */
  private rules: ServiceEntry | undefined;
  byCluster: ServiceEntry | undefined;
  private rarities: Rarities | undefined;

  /** What was last judged, to know whether it is worth a description (see saying.ts). */
  judged = UNSAID;
  /** What the summary counts it as. */
  said = UNSAID;

  // What its last line told, to know whether another one would tell something else. Not the line itself: one
  // for each of a million open connections would be most of the memory.
  told = UNSAID;
  id: string | undefined;
  /** Its time as it was told with the id. */
  startTime: Nanos | undefined;
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
    this.rules = undefined;
    this.byCluster = undefined;
    this.rarities?.clear();
    this.judged = UNSAID;
    this.said = UNSAID;
    this.told = UNSAID;
    this.id = undefined;
    this.startTime = undefined;
    this.toldBackend = undefined;
    this.toldService = undefined;
    this.toldSource = undefined;
    const { words, moments } = this.numbers;
    const w = this.slot * CONNECTION_WORDS;
    words.fill(0, w, w + CONNECTION_WORDS);
    words[w + W_PROTOCOL] = protocol;
    words[w + W_RESOLUTION] = 1;
    if (family === 6) words[w + W_TAGS] = IS_IPV6;
    const m = this.slot * CONNECTION_MOMENTS;
    moments.fill(NEVER, m, m + CONNECTION_MOMENTS);
    moments[m + M_CLOSE_AT] = Number.POSITIVE_INFINITY;
    moments[m + M_WAKE_AT] = Number.POSITIVE_INFINITY;
    moments[m + M_NAT] = -1;
  }

  get byRules(): ServiceEntry | undefined {
    return this.rules;
  }
  /** What was judged with other rules is to be judged anew. */
  set byRules(to: ServiceEntry | undefined) {
    if (to !== this.rules) this.judged = UNSAID;
    this.rules = to;
  }

  get far(): FarSight | undefined {
    return this.rarities?.far;
  }
  set far(to: FarSight | undefined) {
    if (to !== this.far) this.rare().far = to;
  }
  get byAddress(): ServiceEntry | undefined {
    return this.rarities?.byAddress;
  }
  set byAddress(to: ServiceEntry | undefined) {
    if (to !== this.byAddress) this.rare().byAddress = to;
  }
  get original(): Traffic | undefined {
    return this.rarities?.original;
  }
  set original(to: Traffic | undefined) {
    if (to !== this.original) this.rare().original = to;
  }
  get reply(): Traffic | undefined {
    return this.rarities?.reply;
  }
  set reply(to: Traffic | undefined) {
    if (to !== this.reply) this.rare().reply = to;
  }
  get earlier(): string[] | undefined {
    return this.rarities?.earlier;
  }
  set earlier(to: string[] | undefined) {
    if (to !== this.earlier) this.rare().earlier = to;
  }
  get staleLookAt(): number {
    return this.rarities?.staleLookAt ?? NEVER;
  }
  set staleLookAt(to: number) {
    this.rare().staleLookAt = to;
  }

  private rare(): Rarities {
    this.rarities ??= new Rarities();
    return this.rarities;
  }

  private word(which: number): number {
    return this.numbers.words[this.slot * CONNECTION_WORDS + which] ?? 0;
  }
  private setWord(which: number, to: number): void {
    this.numbers.words[this.slot * CONNECTION_WORDS + which] = to;
  }
  private hasTag(tag: number): boolean {
    return (this.word(W_TAGS) & tag) !== 0;
  }
  private setTag(tag: number, to: boolean): void {
    const tags = this.word(W_TAGS);
    this.setWord(W_TAGS, to ? tags | tag : tags & ~tag);
  }

  get family(): 4 | 6 {
    return this.hasTag(IS_IPV6) ? 6 : 4;
  }
  get protocol(): number {
    return this.word(W_PROTOCOL);
  }
  /** Negative if unknown. */
  get zone(): number {
    return this.word(W_ZONE) - 1;
  }
  set zone(to: number) {
    this.setWord(W_ZONE, to + 1);
  }
  get timeSource(): Attribution['timeSource'] {
    return SOURCES[this.word(W_TAGS) >> SOURCE_SHIFT] ?? 'packet';
  }
  set timeSource(to: Attribution['timeSource']) {
    const flags = this.word(W_TAGS) & ((1 << SOURCE_SHIFT) - 1);
    this.setWord(W_TAGS, flags | (SOURCES.indexOf(to) << SOURCE_SHIFT));
  }
  /** Whether `answerTime` is from the client's side. */
  get answeredBefore(): boolean {
    return this.hasTag(ANSWERED_BEFORE);
  }
  set answeredBefore(to: boolean) {
    this.setTag(ANSWERED_BEFORE, to);
  }
  /** Whether `interfaceOut` is one that the packet was seen to leave by. */
  get leftSeen(): boolean {
    return this.hasTag(LEFT_SEEN);
  }
  set leftSeen(to: boolean) {
    this.setTag(LEFT_SEEN, to);
  }
  /** Counts up to MOST_COUNTED. */
  get retransmits(): number {
    return this.word(W_SENT_AGAIN) & MOST_COUNTED;
  }
  set retransmits(to: number) {
    const later = this.laterEntries << LATER_SHIFT;
    this.setWord(W_SENT_AGAIN, later | Math.min(to, MOST_COUNTED));
  }
  /** How many entries conntrack made for later transmissions of its opening packet; counts up to MOST_COUNTED. */
  get laterEntries(): number {
    return this.word(W_SENT_AGAIN) >>> LATER_SHIFT;
  }
  set laterEntries(to: number) {
    this.setWord(W_SENT_AGAIN, (Math.min(to, MOST_COUNTED) << LATER_SHIFT) | this.retransmits);
  }
  /** UDP: how many datagrams in a row no translated copy followed. */
  get missing(): number {
    return this.word(W_MISSING);
  }
  set missing(to: number) {
    this.setWord(W_MISSING, to);
  }
  get judgedMark(): number {
    return this.word(W_JUDGED_MARK);
  }
  set judgedMark(to: number) {
    this.setWord(W_JUDGED_MARK, to);
  }
  get interfaceIn(): number {
    return this.word(W_INTERFACE_IN);
  }
  set interfaceIn(to: number) {
    this.setWord(W_INTERFACE_IN, to);
  }
  get interfaceOut(): number {
    return this.word(W_INTERFACE_OUT);
  }
  set interfaceOut(to: number) {
    this.setWord(W_INTERFACE_OUT, to);
  }
  /** Place among the state's vantages of the node that translated it, or first saw it. */
  get vantage(): number {
    return this.word(W_VANTAGE);
  }
  set vantage(to: number) {
    this.setWord(W_VANTAGE, to);
  }
  /** Negative if unknown. */
  get conntrackId(): number {
    return this.hasTag(KNOWS_CONNTRACK_ID) ? this.word(W_CONNTRACK_ID) : -1;
  }
  set conntrackId(to: number) {
    this.setTag(KNOWS_CONNTRACK_ID, to >= 0);
    this.setWord(W_CONNTRACK_ID, to);
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
    return this.word(W_RESOLUTION);
  }
  set resolution(to: number) {
    this.setWord(W_RESOLUTION, to);
  }
  get lateness(): number {
    return this.word(W_LATENESS);
  }
  set lateness(to: number) {
    this.setWord(W_LATENESS, to);
  }
  get isn(): number {
    return this.word(W_ISN);
  }
  set isn(to: number) {
    this.setWord(W_ISN, to);
  }
  get answerIsn(): number {
    return this.word(W_ANSWER_ISN);
  }
  set answerIsn(to: number) {
    this.setWord(W_ANSWER_ISN, to);
  }
  /** Fingerprint and identification of the last opening packet (UDP: of the last datagram), and the one before. */
  get print(): number {
    return this.word(W_PRINT);
  }
  set print(to: number) {
    this.setWord(W_PRINT, to);
  }
  get oldPrint(): number {
    return this.word(W_OLD_PRINT);
  }
  set oldPrint(to: number) {
    this.setWord(W_OLD_PRINT, to);
  }
  get ipid(): number {
    return this.word(W_IPID);
  }
  set ipid(to: number) {
    this.setWord(W_IPID, to);
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
    return this.word(W_CONNTRACK_RESOLUTION);
  }
  set conntrackResolution(to: number) {
    this.setWord(W_CONNTRACK_RESOLUTION, to);
  }
  /** Moment of conntrack's DESTROY. */
  get conntrackEnd(): number {
    return this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CONNTRACK_END] ?? 0;
  }
  set conntrackEnd(to: number) {
    this.numbers.moments[this.slot * CONNECTION_MOMENTS + M_CONNTRACK_END] = to;
  }
}
