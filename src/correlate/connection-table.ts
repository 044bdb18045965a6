import { sameAddress } from '../model/address.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  CONNECTION_WORDS,
  Connection,
  ORIGINAL,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
  TUPLE_WORDS,
} from './connection.js';
import { mix, TupleMap } from './tuple-map.js';

const NONE = -1;
const NO_WORDS = new Uint32Array(8);

/**
 * All connections, found by original tuple, by translated tuple, and by initial sequence number.
 * Several connections in turn may have one key (a tuple is used again): each map leads to the newest,
 * and links lead on to older ones.
 */
export class ConnectionTable {
  words = new Uint32Array(CONNECTION_WORDS * 1024);
  private readonly list: (Connection | undefined)[] = [];
  private readonly free: number[] = [];
  private made = 0;
  private readonly originals = new TupleMap();
  private readonly translated = new TupleMap();
  private readonly sequences = new TupleMap();
  private olderOriginal = new Int32Array(1024).fill(NONE);
  /** Two places a connection: its tuple by conntrack, its tuple by packets. */
  private olderTranslated = new Int32Array(2048).fill(NONE);
  private inTranslated = new Uint8Array(2048);
  private olderSequence = new Int32Array(1024).fill(NONE);
  private sequenceKey = new Uint32Array(1024);
  private inSequence = new Uint8Array(1024);

  /** Live and closed connections that are still kept. */
  get size(): number {
    return this.list.length - this.free.length;
  }

  /** A new connection whose original tuple is at `words[src]`, `words[dst]`. */
  open(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
    family: number,
  ): Connection {
    const slot = this.free.pop() ?? this.list.length;
    const c = new Connection(slot, this.made++);
    c.protocol = protocol;
    c.family = family === 6 ? 6 : 4;
    this.list[slot] = c;
    if (slot * CONNECTION_WORDS >= this.words.length) this.grow();
    const at = slot * CONNECTION_WORDS;
    this.words.fill(0, at, at + CONNECTION_WORDS);
    this.write(at + ORIGINAL, words, src, dst, sport, dport);
    this.olderOriginal[slot] = this.originals.find(words, src, dst, sport, dport, protocol);
    this.originals.set(words, src, dst, sport, dport, protocol, slot);
    this.inTranslated[2 * slot] = 0;
    this.inTranslated[2 * slot + 1] = 0;
    this.inSequence[slot] = 0;
    return c;
  }

  /** Forgets a connection: its slot will be used again. */
  release(c: Connection): void {
    const { slot } = c;
    this.unlinkOriginal(c);
    this.unlinkTranslated(c, 0);
    this.unlinkTranslated(c, 1);
    this.unlinkSequence(c);
    this.list[slot] = undefined;
    this.free.push(slot);
  }

  get(slot: number): Connection | undefined {
    return slot < 0 ? undefined : this.list[slot];
  }

  /** Calls `visit` for each connection in the order of slots. */
  each(visit: (c: Connection) => void): void {
    for (const c of this.list) if (c) visit(c);
  }

  /** Where the connection's tuples start in `words`. */
  at(c: Connection): number {
    return c.slot * CONNECTION_WORDS;
  }

  /** The newest connection with this original tuple. */
  byOriginal(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): Connection | undefined {
    return this.get(this.originals.find(words, src, dst, sport, dport, protocol));
  }

  /** The next older connection with the same original tuple. */
  older(c: Connection): Connection | undefined {
    return this.get(this.olderOriginal[c.slot] ?? NONE);
  }

  /** The newest connection that is known to be translated to this tuple. */
  byTranslated(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): Connection | undefined {
    const node = this.translated.find(words, src, dst, sport, dport, protocol);
    return node < 0 ? undefined : this.list[node >> 1];
  }

  /** The next older connection translated to the tuple at `words` (see byTranslated). */
  olderTranslation(
    c: Connection,
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
  ): Connection | undefined {
    const linked = this.inTranslated[2 * c.slot] === 1;
    const which = linked && this.hasTuple(c, 0, words, src, dst, sport, dport) ? 0 : 1;
    const node = this.olderTranslated[2 * c.slot + which] ?? NONE;
    return node < 0 ? undefined : this.list[node >> 1];
  }

  /** Sets the tuple that conntrack (`which` 0) or a packet (1) says the connection was translated to. */
  setTranslated(
    c: Connection,
    which: 0 | 1,
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
  ): void {
    this.unlinkTranslated(c, which);
    const other = which === 0 ? 1 : 0;
    const at = this.at(c) + BY_CONNTRACK + which * TUPLE_WORDS;
    this.write(at, words, src, dst, sport, dport);
    // Both sources usually agree: one link is enough, and two would make a loop.
    if (!this.hasTuple(c, other, words, src, dst, sport, dport)) {
      this.linkTranslated(c, other);
      this.linkTranslated(c, which);
    } else if (this.inTranslated[2 * c.slot + other] !== 1) {
      this.linkTranslated(c, which);
    }
  }

  /** Takes back what `setTranslated` said. */
  clearTranslated(c: Connection, which: 0 | 1): void {
    this.unlinkTranslated(c, which);
    const at = this.at(c) + BY_CONNTRACK + which * TUPLE_WORDS;
    this.words.fill(0, at, at + TUPLE_WORDS);
    this.linkTranslated(c, which === 0 ? 1 : 0);
  }

  private linkTranslated(c: Connection, which: 0 | 1): void {
    const node = 2 * c.slot + which;
    const w = this.words;
    const at = this.at(c) + BY_CONNTRACK + which * TUPLE_WORDS;
    const sport = w[at + T_SPORT] ?? 0;
    const dport = w[at + T_DPORT] ?? 0;
    if (this.inTranslated[node] === 1 || (sport === 0 && dport === 0)) return;
    this.olderTranslated[node] = this.translated.find(
      w,
      at + T_SRC,
      at + T_DST,
      sport,
      dport,
      c.protocol,
    );
    this.translated.set(w, at + T_SRC, at + T_DST, sport, dport, c.protocol, node);
    this.inTranslated[node] = 1;
  }

  /** Makes the connection findable by its initial sequence number (TCP), tag (SCTP) or fingerprint (UDP). */
  setSequence(c: Connection, sequence: number): void {
    if (this.inSequence[c.slot] === 1) {
      if (this.sequenceKey[c.slot] === sequence) return;
      this.unlinkSequence(c);
    }
    const key = this.sequenceWords(sequence);
    this.olderSequence[c.slot] = this.sequences.find(key, 0, 4, 0, 0, c.protocol);
    this.sequences.set(key, 0, 4, 0, 0, c.protocol, c.slot);
    this.sequenceKey[c.slot] = sequence;
    this.inSequence[c.slot] = 1;
  }

  bySequence(sequence: number, protocol: number): Connection | undefined {
    return this.get(this.sequences.find(this.sequenceWords(sequence), 0, 4, 0, 0, protocol));
  }

  olderBySequence(c: Connection): Connection | undefined {
    return this.get(this.olderSequence[c.slot] ?? NONE);
  }

  private sequenceWords(sequence: number): Uint32Array {
    NO_WORDS[3] = mix(sequence);
    NO_WORDS[7] = sequence;
    return NO_WORDS;
  }

  private hasTuple(
    c: Connection,
    which: number,
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
  ): boolean {
    const at = this.at(c) + BY_CONNTRACK + which * TUPLE_WORDS;
    const w = this.words;
    if (w[at + T_SPORT] !== sport || w[at + T_DPORT] !== dport) return false;
    return sameAddress(w, at + T_SRC, words, src) && sameAddress(w, at + T_DST, words, dst);
  }

  private write(
    at: number,
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
  ): void {
    const w = this.words;
    for (let i = 0; i < 4; i++) {
      w[at + T_SRC + i] = words[src + i] ?? 0;
      w[at + T_DST + i] = words[dst + i] ?? 0;
    }
    w[at + T_SPORT] = sport;
    w[at + T_DPORT] = dport;
  }

  private unlinkOriginal(c: Connection): void {
    const w = this.words;
    const at = this.at(c);
    const src = at + T_SRC;
    const dst = at + T_DST;
    const sport = w[at + T_SPORT] ?? 0;
    const dport = w[at + T_DPORT] ?? 0;
    const head = this.originals.find(w, src, dst, sport, dport, c.protocol);
    const older = this.olderOriginal[c.slot] ?? NONE;
    if (head === c.slot) {
      if (older < 0) this.originals.delete(w, src, dst, sport, dport, c.protocol);
      else this.originals.set(w, src, dst, sport, dport, c.protocol, older);
    } else {
      skip(this.olderOriginal, head, c.slot, older);
    }
    this.olderOriginal[c.slot] = NONE;
  }

  private unlinkTranslated(c: Connection, which: 0 | 1): void {
    const node = 2 * c.slot + which;
    if (this.inTranslated[node] !== 1) return;
    const w = this.words;
    const at = this.at(c) + (which === 0 ? BY_CONNTRACK : BY_PACKETS);
    const src = at + T_SRC;
    const dst = at + T_DST;
    const sport = w[at + T_SPORT] ?? 0;
    const dport = w[at + T_DPORT] ?? 0;
    const head = this.translated.find(w, src, dst, sport, dport, c.protocol);
    const older = this.olderTranslated[node] ?? NONE;
    if (head === node) {
      if (older < 0) this.translated.delete(w, src, dst, sport, dport, c.protocol);
      else this.translated.set(w, src, dst, sport, dport, c.protocol, older);
    } else {
      skip(this.olderTranslated, head, node, older);
    }
    this.olderTranslated[node] = NONE;
    this.inTranslated[node] = 0;
  }

  private unlinkSequence(c: Connection): void {
    if (this.inSequence[c.slot] !== 1) return;
    const key = this.sequenceWords(this.sequenceKey[c.slot] ?? 0);
    const head = this.sequences.find(key, 0, 4, 0, 0, c.protocol);
    const older = this.olderSequence[c.slot] ?? NONE;
    if (head === c.slot) {
      if (older < 0) this.sequences.delete(key, 0, 4, 0, 0, c.protocol);
      else this.sequences.set(key, 0, 4, 0, 0, c.protocol, older);
    } else {
      skip(this.olderSequence, head, c.slot, older);
    }
    this.olderSequence[c.slot] = NONE;
    this.inSequence[c.slot] = 0;
  }

  private grow(): void {
    const slots = (this.words.length / CONNECTION_WORDS) * 2;
    this.words = enlarge(this.words, new Uint32Array(slots * CONNECTION_WORDS));
    this.olderOriginal = enlarge(this.olderOriginal, new Int32Array(slots).fill(NONE));
    this.olderTranslated = enlarge(this.olderTranslated, new Int32Array(slots * 2).fill(NONE));
    this.inTranslated = enlarge(this.inTranslated, new Uint8Array(slots * 2));
    this.olderSequence = enlarge(this.olderSequence, new Int32Array(slots).fill(NONE));
    this.sequenceKey = enlarge(this.sequenceKey, new Uint32Array(slots));
    this.inSequence = enlarge(this.inSequence, new Uint8Array(slots));
  }
}

function enlarge<T extends Uint32Array | Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}

/** Takes `node` out of the chain that starts at `head`. */
function skip(links: Int32Array, head: number, node: number, older: number): void {
  let i = head;
  while (i >= 0) {
    const next = links[i] ?? NONE;
    if (next === node) {
      links[i] = older;
      return;
    }
    i = next;
  }
}
