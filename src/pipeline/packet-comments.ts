import { parseAddress } from '../model/address.js';
import type { Attribution, OutputEvent } from '../model/attribution.js';
import {
  CLASS_ICMP_ERROR,
  P_CLASS,
  P_DPORT,
  P_DST,
  P_FLAGS,
  P_NSEC,
  P_PROTOCOL,
  P_SEC,
  P_SPORT,
  P_SRC,
  protocolNumber,
  SCTP,
  SCTP_ABORT,
  SCTP_INIT,
  SCTP_INIT_ACK,
  TCP,
  TCP_ACK,
  TCP_RST,
  TCP_SYN,
} from '../model/packet.js';
import { Rows } from '../model/rows.js';
import { NANOS_PER_SECOND, type Nanos, secondsOf, subsecondOf } from '../model/time.js';

// What is kept of a connection, in words.
/** When it began, the earliest that any clock has; nanoseconds in the next word. */
const BEGIN_SEC = 0;
/** When it ended, likewise; 0: not known. */
const END_SEC = 2;
/** How far its beginning may be off, ns (below 2^32). */
const UNSURE = 4;
/** Its comment: numbers of the texts before its name, up to the client's port, and behind that; the port. */
const START = 5;
const BEFORE = 6;
const BEHIND = 7;
const PORT = 8;
const CONNECTION_WORDS = 9;

// What is kept of each pair of ends between which its packets go, in words.
/** Addresses (4 words each) of the end that comes first in their order, and of the other; then both ports. */
const ENDS = 0;
const PORTS = 8;
const PROTOCOL = 9;
const CONNECTION = 10;
/** The next pair in the same bucket, counted from 1; 0: none. */
const NEXT = 11;
/** Packets commented so far, 8 bits for each role, and above them whether the client comes first. */
const COUNTS = 12;
const PAIR_WORDS = 13;
const CLIENT_FIRST = 1 << 24;

/** What a packet is to its connection, as the place of its count. */
const OPENING = 0;
const ANSWER = 8;
const END = 16;
const OTHER = -1;

/**
 * Packets of one role that are commented between one pair of ends: a SYN and its six retransmissions, each as several
 * interfaces and several captures saw it.
 */
const MAX_HANDSHAKE = 64;
/** A flow of datagrams goes on in the same two roles. */
const MAX_DATAGRAMS = 8;
/** A packet may be this much older than what is known of its connection's beginning. */
const EARLY_NS = 1_000_000_000;
/** Resets and errors come late. */
const LATE_NS = 2_000_000_000;
const FIRST_BUCKETS = 1 << 14;
const MAX_WORD = 0xffff_ffff;
/** A place is a pair, and in it where its count lies. */
const BITS_A_WORD = 32;

interface Held {
  readonly row: number;
  readonly codes: string[];
}

/**
 * Which packets belong to which connection, by what the machine said of it: their ends on either side of each
 * translation, and when. Takes a run's events, of which a connection's last tells what its comment says, and then, for its packets once more in about their order, gives the
 * comment that one of the first of a connection gets: first the `place` of each in its connection, in any order, then
 * in the packets' order what stands `at` it. Some 200 bytes are kept of a connection.
 */
export class PacketComments {
  private readonly textOf: (attribution: Attribution, codes: readonly string[]) => string;
  private readonly connections = new Rows(CONNECTION_WORDS);
  private readonly ids: string[] = [];
  private readonly pairs = new Rows(PAIR_WORDS);
  private buckets = new Uint32Array(FIRST_BUCKETS);
  private readonly texts: string[] = [];
  private readonly textNumbers = new Map<string, number>();
  private readonly open = new Map<string, Held>();
  private readonly key = new Uint32Array(PAIR_WORDS);

  /** `textOf`: a comment; it names the connection and the client's port as they are. */
  constructor(textOf: (attribution: Attribution, codes: readonly string[]) => string) {
    this.textOf = textOf;
  }

  hear(events: readonly OutputEvent[]): void {
    for (const event of events) {
      if (event.type === 'attribution' || event.type === 'close') {
        this.note(event.attribution, event.type === 'close');
      } else if (event.type === 'notice' && event.notice.connection !== undefined) {
        const held = this.open.get(event.notice.connection);
        if (held !== undefined && !held.codes.includes(event.notice.code)) {
          held.codes.push(event.notice.code);
        }
      }
    }
  }

  /** What a packet is to its connection, for `at`; -1: nothing that is told. */
  place(words: Uint32Array, row: number): number {
    const role = roleOf(words, row);
    if (role === OTHER) return -1;
    const { key } = this;
    for (let w = 0; w < 4; w++) {
      key[ENDS + w] = words[row + P_SRC + w] as number;
      key[ENDS + 4 + w] = words[row + P_DST + w] as number;
    }
    const protocol = words[row + P_PROTOCOL] as number;
    const ports = [words[row + P_SPORT] as number, words[row + P_DPORT] as number] as const;
    const fromFirst = this.order(protocol, ...ports);
    const pair = this.find(words[row + P_SEC] as number, words[row + P_NSEC] as number);
    if (pair < 0) return -1;
    const counts = this.pairs.words[pair + COUNTS] as number;
    const fromClient = fromFirst === ((counts & CLIENT_FIRST) !== 0);
    const isDatagram = role === OPENING && protocol !== TCP && protocol !== SCTP;
    return pair * BITS_A_WORD + (isDatagram && !fromClient ? ANSWER : role);
  }

  /** The comment of a packet at its `place`; `undefined` if enough have it. Counts it. */
  at(place: number): string | undefined {
    const role = place % BITS_A_WORD;
    const pair = (place - role) / BITS_A_WORD;
    const kept = this.pairs.words;
    const protocol = kept[pair + PROTOCOL] as number;
    const isDatagram = role !== END && protocol !== TCP && protocol !== SCTP;
    const most = isDatagram ? MAX_DATAGRAMS : MAX_HANDSHAKE;
    const counts = kept[pair + COUNTS] as number;
    if (((counts >>> role) & 255) >= most) return undefined;
    kept[pair + COUNTS] = counts + (1 << role);
    return this.text(kept[pair + CONNECTION] as number);
  }

  private note(attribution: Attribution, isLast: boolean): void {
    const id = attribution.connection;
    let held = this.open.get(id);
    if (held === undefined) {
      held = { row: this.connections.add(), codes: [] };
      this.ids.push(id);
      if (!isLast) this.open.set(id, held);
    } else if (isLast) {
      this.open.delete(id);
    }
    const { row } = held;
    if (isLast) {
      this.setTimes(attribution, row);
      this.setText(attribution, held);
    }
    const { client, destination, backend, source = client } = attribution;
    const protocol = protocolNumber(attribution.protocol);
    this.pair(row, protocol, client, destination);
    const ends = [backend, ...(attribution.claims ?? []).map((claim) => claim.backend)];
    for (const end of ends) {
      if (end === undefined) continue;
      this.pair(row, protocol, source, end);
      // Between its two translations.
      if (source !== client) this.pair(row, protocol, client, end);
    }
  }

  private setTimes(
    { time, timeSource, timeUncertaintyNs, endTime, farEnd }: Attribution,
    row: number,
  ): void {
    const { words } = this.connections;
    const far = farEnd?.time;
    const begin = far !== undefined && time !== undefined && far < time ? far : time;
    setTime(words, row + BEGIN_SEC, begin);
    // The other node's clock may be ahead.
    const ahead = far !== undefined && time !== undefined && far > time ? far - time : 0n;
    setTime(words, row + END_SEC, endTime === undefined ? undefined : endTime + ahead);
    const unsure = timeUncertaintyNs ?? (timeSource === 'packet' ? 0 : EARLY_NS);
    words[row + UNSURE] = Math.min(unsure, MAX_WORD);
  }

  /** Of a comment only the connection and the client's port are often its own: the rest is kept once. */
  private setText(attribution: Attribution, { row, codes }: Held): void {
    const text = this.textOf(attribution, codes);
    const id = text.indexOf(attribution.connection);
    const port = String(attribution.client.port);
    const rest = id + attribution.connection.length;
    const at = text.indexOf(port, text.indexOf(attribution.client.ip, rest));
    const { words } = this.connections;
    words[row + PORT] = attribution.client.port;
    words[row + START] = this.textNumber(text.slice(0, id));
    words[row + BEFORE] = this.textNumber(text.slice(rest, at));
    words[row + BEHIND] = this.textNumber(text.slice(at + port.length));
  }

  private text(row: number): string {
    const { words } = this.connections;
    const id = this.ids[row / CONNECTION_WORDS] ?? '';
    const part = (field: number): string => this.texts[words[row + field] as number] ?? '';
    return `${part(START)}${id}${part(BEFORE)}${words[row + PORT]}${part(BEHIND)}`;
  }

  private textNumber(text: string): number {
    let number = this.textNumbers.get(text);
    if (number === undefined) {
      number = this.texts.push(text) - 1;
      this.textNumbers.set(text, number);
    }
    return number;
  }

  /** Enters two ends of a connection, unless they are known. */
  private pair(connection: number, protocol: number, client: End, server: End): void {
    const { key, pairs } = this;
    if (parseAddress(client.ip, key, ENDS) === 0 || parseAddress(server.ip, key, ENDS + 4) === 0) {
      return;
    }
    const clientFirst = this.order(protocol, client.port, server.port);
    if (pairs.length >= this.buckets.length) this.grow();
    const bucket = this.bucketOf(key, 0);
    for (let at = this.buckets[bucket] as number; at !== 0; ) {
      const pair = (at - 1) * PAIR_WORDS;
      if (pairs.words[pair + CONNECTION] === connection && this.isKey(pair)) return;
      at = pairs.words[pair + NEXT] as number;
    }
    const pair = pairs.add();
    pairs.words.set(key, pair);
    pairs.words[pair + CONNECTION] = connection;
    pairs.words[pair + COUNTS] = clientFirst ? CLIENT_FIRST : 0;
    pairs.words[pair + NEXT] = this.buckets[bucket] as number;
    this.buckets[bucket] = pairs.length;
  }

  /**
   * The pair of a connection that a packet at a moment belongs to: of those that have used these ends the one that began
   * last before it; else one that begins soon.
   */
  private find(seconds: number, nanoseconds: number): number {
    const { words } = this.pairs;
    const known = this.connections.words;
    let begun = -1;
    let since = Number.POSITIVE_INFINITY;
    let soon = -1;
    let until = EARLY_NS;
    for (let at = this.buckets[this.bucketOf(this.key, 0)] as number; at !== 0; ) {
      const pair = (at - 1) * PAIR_WORDS;
      at = words[pair + NEXT] as number;
      if (!this.isKey(pair)) continue;
      const row = words[pair + CONNECTION] as number;
      const from = sinceTime(known, row + BEGIN_SEC, seconds, nanoseconds);
      if (from < -(known[row + UNSURE] as number)) {
        if (-from <= until) {
          until = -from;
          soon = pair;
        }
        continue;
      }
      const isOver =
        known[row + END_SEC] !== 0 &&
        sinceTime(known, row + END_SEC, seconds, nanoseconds) > LATE_NS;
      if (!isOver && from < since) {
        since = from;
        begun = pair;
      }
    }
    return begun >= 0 ? begun : soon;
  }

  /** Puts the ends in the key in their order, with their ports; whether the first stays first. */
  private order(protocol: number, firstPort: number, secondPort: number): boolean {
    const { key } = this;
    let less = firstPort <= secondPort;
    for (let w = 3; w >= 0; w--) {
      const a = key[ENDS + w] as number;
      const b = key[ENDS + 4 + w] as number;
      if (a !== b) less = a < b;
    }
    if (!less) {
      for (let w = 0; w < 4; w++) {
        const a = key[ENDS + w] as number;
        key[ENDS + w] = key[ENDS + 4 + w] as number;
        key[ENDS + 4 + w] = a;
      }
    }
    key[PORTS] = less ? (firstPort << 16) | secondPort : (secondPort << 16) | firstPort;
    key[PROTOCOL] = protocol;
    return less;
  }

  private isKey(pair: number): boolean {
    const { words } = this.pairs;
    for (let w = 0; w <= PROTOCOL; w++) if (words[pair + w] !== this.key[w]) return false;
    return true;
  }

  private bucketOf(words: Uint32Array, at: number): number {
    let h = 0;
    for (let w = 0; w <= PROTOCOL; w++) {
      h = Math.imul(h ^ (words[at + w] as number), 0x9e37_79b1);
      h ^= h >>> 15;
    }
    return (h >>> 0) & (this.buckets.length - 1);
  }

  private grow(): void {
    this.buckets = new Uint32Array(this.buckets.length * 2);
    const { words } = this.pairs;
    for (let n = 1; n <= this.pairs.length; n++) {
      const pair = (n - 1) * PAIR_WORDS;
      const bucket = this.bucketOf(words, pair);
      words[pair + NEXT] = this.buckets[bucket] as number;
      this.buckets[bucket] = n;
    }
  }
}

interface End {
  readonly ip: string;
  readonly port: number;
}

function roleOf(words: Uint32Array, row: number): number {
  if (words[row + P_CLASS] === CLASS_ICMP_ERROR) return END;
  const flags = words[row + P_FLAGS] as number;
  switch (words[row + P_PROTOCOL]) {
    case TCP:
      if ((flags & TCP_RST) !== 0) return END;
      if ((flags & TCP_SYN) === 0) return OTHER;
      return (flags & TCP_ACK) === 0 ? OPENING : ANSWER;
    case SCTP:
      if (flags === SCTP_INIT) return OPENING;
      if (flags === SCTP_INIT_ACK) return ANSWER;
      return flags === SCTP_ABORT ? END : OTHER;
    default:
      return OPENING;
  }
}

function setTime(words: Uint32Array, at: number, time: Nanos | undefined): void {
  words[at] = time === undefined ? 0 : secondsOf(time);
  words[at + 1] = time === undefined ? 0 : subsecondOf(time);
}

/** Nanoseconds from a time that is kept to another; below 0 where that is earlier. */
function sinceTime(words: Uint32Array, at: number, seconds: number, nanoseconds: number): number {
  const whole = (seconds - (words[at] as number)) * NANOS_PER_SECOND;
  return whole + nanoseconds - (words[at + 1] as number);
}
