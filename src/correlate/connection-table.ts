import { sameAddress } from '../model/address.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  CONNECTION_MOMENTS,
  CONNECTION_WORDS,
  Connection,
  FREE,
  Numbers,
  ORIGINAL,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
  TUPLE_WORDS,
} from './connection.js';
import { FlowTable, isSentBy, NO_NODE, nodeOf, roleOf, slotOf, wordsOf } from './flow-table.js';
import { SequenceTable } from './sequence-table.js';

const FIRST_SLOTS = 1_024;
/** How many connections go before it is looked whether memory can be given back. */
const TRIM_EVERY = 16_384;

/**
 * All connections, found by the tuples that their packets may carry and by initial sequence number.
 * Several connections in turn may have one key (a tuple is used again): look-ups give the newest, and
 * links lead on to older ones.
 */
export class ConnectionTable {
  private readonly numbers = new Numbers();
  private readonly list: Connection[] = [];
  private readonly free: number[] = [];
  private made = 0;
  private released = 0;
  private readonly flows = new FlowTable();
  private readonly sequences = new SequenceTable();

  /** Where the connections' tuples lie (see `at`). */
  get words(): Uint32Array {
    return this.numbers.words;
  }

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
    if ((slot + 1) * CONNECTION_WORDS > this.numbers.words.length) this.grow();
    let c = this.list[slot];
    if (c === undefined) {
      c = new Connection(slot, this.numbers);
      this.list.push(c);
    }
    c.begin(this.made++, protocol, family === 6 ? 6 : 4);
    this.write(slot * CONNECTION_WORDS + ORIGINAL, words, src, dst, sport, dport);
    this.flows.link(this.numbers.words, nodeOf(slot, 0));
    return c;
  }

  /** Forgets a connection: its place will be used again. */
  release(c: Connection): void {
    const { slot } = c;
    const { words } = this.numbers;
    this.flows.unlink(words, nodeOf(slot, 0));
    this.flows.unlink(words, nodeOf(slot, 1));
    this.flows.unlink(words, nodeOf(slot, 2));
    this.sequences.unlink(slot);
    c.kind = FREE;
    this.free.push(slot);
    if (++this.released % TRIM_EVERY === 0) this.trim();
  }

  /** After a wave has passed: gives back what most connections of it needed. */
  trim(): void {
    const capacity = this.numbers.words.length / CONNECTION_WORDS;
    if (capacity <= FIRST_SLOTS || this.size * 8 > capacity) return;
    let used = this.list.length;
    while (used > 0 && this.list[used - 1]?.kind === FREE) used--;
    let slots = FIRST_SLOTS;
    while (slots < used * 2) slots *= 2;
    if (slots >= capacity) return;
    this.numbers.words = this.numbers.words.slice(0, slots * CONNECTION_WORDS);
    this.numbers.moments = this.numbers.moments.slice(0, slots * CONNECTION_MOMENTS);
    this.list.length = used;
    this.free.length = 0;
    // The lowest are used first, so that those above can be given back one day.
    for (let slot = used - 1; slot >= 0; slot--) {
      if (this.list[slot]?.kind === FREE) this.free.push(slot);
    }
    this.flows.trim(slots);
    this.sequences.trim(slots);
  }

  get(slot: number): Connection | undefined {
    const c = slot < 0 ? undefined : this.list[slot];
    return c === undefined || c.kind === FREE ? undefined : c;
  }

  /** Calls `visit` for each connection in the order of places. */
  each(visit: (c: Connection) => void): void {
    for (const c of this.list) if (c.kind !== FREE) visit(c);
  }

  /** Where the connection's tuples start in `words`. */
  at(c: Connection): number {
    return c.slot * CONNECTION_WORDS;
  }

  /**
   * The newest node of the packet's pair of endpoints, in either direction; -1 if no connection has it. What
   * it leads to is asked of `original` and `translation`.
   */
  head(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): number {
    return this.flows.head(this.numbers.words, words, src, dst, sport, dport, protocol);
  }

  /** The connection of a node, if no other has its pair of endpoints: so it is with nearly all. */
  only(head: number): Connection | undefined {
    return this.flows.next(head) === NO_NODE ? this.list[slotOf(head)] : undefined;
  }

  /** Whether a packet from this address and port goes in the direction of a node's tuple, whose pair it has. */
  isSent(node: number, words: Uint32Array, src: number, sport: number): boolean {
    return isSentBy(this.numbers.words, node, words, src, sport);
  }

  /** From a node on: the newest connection whose client sent from this address and port, as it sent it. */
  original(head: number, words: Uint32Array, src: number, sport: number): Connection | undefined {
    const own = this.numbers.words;
    for (let node = head; node !== NO_NODE; node = this.flows.next(node)) {
      if (roleOf(node) === 0 && isSentBy(own, node, words, src, sport)) {
        return this.list[slotOf(node)];
      }
    }
    return undefined;
  }

  /** From a node on: the newest connection that is known to be translated to this tuple. */
  translation(
    head: number,
    words: Uint32Array,
    src: number,
    sport: number,
  ): Connection | undefined {
    const own = this.numbers.words;
    for (let node = head; node !== NO_NODE; node = this.flows.next(node)) {
      if (roleOf(node) !== 0 && isSentBy(own, node, words, src, sport)) {
        return this.list[slotOf(node)];
      }
    }
    return undefined;
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
    return this.original(this.head(words, src, dst, sport, dport, protocol), words, src, sport);
  }

  /** The next older connection with the same original tuple. */
  older(c: Connection): Connection | undefined {
    const own = this.numbers.words;
    const at = c.slot * CONNECTION_WORDS + ORIGINAL;
    const next = this.flows.next(nodeOf(c.slot, 0));
    return next === NO_NODE
      ? undefined
      : this.original(next, own, at + T_SRC, own[at + T_SPORT] ?? 0);
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
    return this.translation(this.head(words, src, dst, sport, dport, protocol), words, src, sport);
  }

  /** The next older connection translated to the tuple of which the source is given (see byTranslated). */
  olderTranslation(
    c: Connection,
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
  ): Connection | undefined {
    const first = nodeOf(c.slot, 2);
    const linked = this.flows.has(first) && this.hasTuple(c, 0, words, src, dst, sport, dport);
    const next = this.flows.next(linked ? first : nodeOf(c.slot, 1));
    return next === NO_NODE ? undefined : this.translation(next, words, src, sport);
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
    const { slot } = c;
    const node = nodeOf(slot, which === 0 ? 2 : 1);
    const other = nodeOf(slot, which === 0 ? 1 : 2);
    this.flows.unlink(this.numbers.words, node);
    this.write(wordsOf(node), words, src, dst, sport, dport);
    // Both sources usually agree: one link is enough, and two would make a loop.
    if (!this.hasTuple(c, which === 0 ? 1 : 0, words, src, dst, sport, dport)) {
      this.linkTranslated(other);
      this.linkTranslated(node);
    } else if (!this.flows.has(other)) {
      this.linkTranslated(node);
    }
  }

  /** Takes back what `setTranslated` said. */
  clearTranslated(c: Connection, which: 0 | 1): void {
    const node = nodeOf(c.slot, which === 0 ? 2 : 1);
    this.flows.unlink(this.numbers.words, node);
    const at = wordsOf(node);
    this.numbers.words.fill(0, at, at + TUPLE_WORDS);
    this.linkTranslated(nodeOf(c.slot, which === 0 ? 1 : 2));
  }

  private linkTranslated(node: number): void {
    const w = this.numbers.words;
    const at = wordsOf(node);
    if (this.flows.has(node) || (w[at + T_SPORT] === 0 && w[at + T_DPORT] === 0)) return;
    this.flows.link(w, node);
  }

  /** Makes the connection findable by its initial sequence number (TCP), tag (SCTP) or fingerprint (UDP). */
  setSequence(c: Connection, sequence: number): void {
    this.sequences.set(c.slot, sequence, c.protocol);
  }

  bySequence(sequence: number, protocol: number): Connection | undefined {
    return this.get(this.sequences.head(sequence, protocol));
  }

  olderBySequence(c: Connection): Connection | undefined {
    return this.get(this.sequences.next(c.slot));
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
    const at = this.at(c) + (which === 0 ? BY_CONNTRACK : BY_PACKETS);
    const w = this.numbers.words;
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
    const w = this.numbers.words;
    for (let i = 0; i < 4; i++) {
      w[at + T_SRC + i] = words[src + i] ?? 0;
      w[at + T_DST + i] = words[dst + i] ?? 0;
    }
    w[at + T_SPORT] = sport;
    w[at + T_DPORT] = dport;
  }

  private grow(): void {
    const { numbers } = this;
    const slots = (numbers.words.length / CONNECTION_WORDS) * 2;
    const words = new Uint32Array(slots * CONNECTION_WORDS);
    words.set(numbers.words);
    numbers.words = words;
    const moments = new Float64Array(slots * CONNECTION_MOMENTS);
    moments.set(numbers.moments);
    numbers.moments = moments;
  }
}
