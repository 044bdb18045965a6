import { PK_CLAIM } from './connection.js';
import {
  FLOW_BITS,
  FLOW_MASK,
  ISN_BITS,
  ISN_MASK,
  N_BITS,
  N_DST,
  N_ENDPOINT,
  N_ISN,
  N_PORT_AND_ID,
  N_PORTS,
  N_SRC,
  PLAIN_WORDS,
} from './plain-words.js';

const FIRST_SLOTS = 1_024;
const FIRST_PLACES = 4_096;
/** So many are kept at most: a place in a table has 24 bits for the number, and one for the side. */
const MAX_SLOTS = ISN_MASK;
const TRIM_EVERY = 16_384;
/** From this share on a table is made anew. */
const MOST_FULL = 0.75;
const SMALL = 32_768;
const NONE = -1;

/** One end of a flow; both ends' are added, so that direction does not matter. */
function hashEnd(address: number, port: number): number {
  const h = Math.imul(address ^ Math.imul(port, 0x9e3779b1), 0x85ebca6b);
  return h ^ (h >>> 15);
}

function hashFlow(a: number, aPort: number, b: number, bPort: number): number {
  const h = (hashEnd(a, aPort) + hashEnd(b, bPort)) | 0;
  const mixed = Math.imul(h ^ (h >>> 16), 0xc2b2ae35);
  return mixed ^ (mixed >>> 15);
}

function hashIsn(isn: number): number {
  const h = Math.imul(isn ^ (isn >>> 16), 0x85ebca6b);
  return h ^ (h >>> 13);
}

/**
 * Where plain connections (see plain.ts) are kept: numbers alone, with what finds them: 64 bytes
 * a connection and some 25 in the tables, so that a million open ones take less than 100 MB. An address is one number:
 * of IPv4 itself, of IPv6 one that stands for it.
 *
 * Each pair of endpoints and each initial sequence number is one connection's alone here: who would add a second
 * moves the first one elsewhere. Open addressing with linear probing. An entry of one that was forgotten stays until
 * the table is made anew: what it leads to is free, has another tuple or, if it has the same again, is found by it.
 */
export class PlainTable {
  /** At `slot * PLAIN_WORDS`: the N_ words, signed since V8 keeps no others as they are; the same memory as `moments`. */
  words: Int32Array;
  /** At `slot * PLAIN_MOMENTS`: the M_ moments. */
  moments: Float64Array;
  size = 0;
  /** Whose packet was seen last. */
  private last = 0;
  private slots = FIRST_SLOTS;
  /** The first free place, linked by N_SRC; behind all that were ever used if there is none. */
  private free = NONE;
  private used = 0;
  private removed = 0;
  private flows: Uint32Array = new Uint32Array(FIRST_PLACES);
  /** Entries, those of forgotten ones among them. */
  private flowEntries = 0;
  private isns: Uint32Array = new Uint32Array(FIRST_PLACES);
  private isnEntries = 0;

  constructor() {
    const memory = new ArrayBuffer(FIRST_SLOTS * PLAIN_WORDS * 4);
    this.words = new Int32Array(memory);
    this.moments = new Float64Array(memory);
  }

  get isFull(): boolean {
    return this.size >= MAX_SLOTS;
  }

  /** Whose tuple this is: `slot << 2 | side << 1 | 1 if it is the other way round`, or -1. Side 0 is as the client sent it. */
  find(src: number, sport: number, dst: number, dport: number): number {
    const again = this.findAgain(src, sport, dst, dport);
    if (again >= 0) return again;
    const { words, flows } = this;
    const mask = flows.length - 1;
    const hash = hashFlow(src, sport, dst, dport);
    const tag = hash >>> FLOW_BITS;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = flows[i] as number;
      if (entry === 0) return NONE;
      if (entry >>> FLOW_BITS !== tag) continue;
      const node = (entry & FLOW_MASK) - 1;
      const at = (node >>> 1) * PLAIN_WORDS;
      const bits = words[at + N_BITS] as number;
      const ports = words[at + N_PORTS] as number;
      const client = words[at + N_SRC] as number;
      const clientPort = ports >>> 16;
      let other = words[at + N_DST] as number;
      let otherPort = ports & 0xffff;
      if ((node & 1) !== 0) {
        if ((bits & PK_CLAIM) === 0) continue;
        other = words[at + N_ENDPOINT] as number;
        otherPort = (words[at + N_PORT_AND_ID] as number) >>> 16;
      } else if (bits === 0) {
        continue;
      }
      if (client === src && clientPort === sport && other === dst && otherPort === dport) {
        this.last = node >>> 1;
        return node << 1;
      }
      if (client === dst && clientPort === dport && other === src && otherPort === sport) {
        this.last = node >>> 1;
        return (node << 1) | 1;
      }
    }
  }

  /** As `find`, of the connection that was found or added last: copies of a packet mostly come one after the other. */
  private findAgain(src: number, sport: number, dst: number, dport: number): number {
    const { words, last } = this;
    const at = last * PLAIN_WORDS;
    const bits = words[at + N_BITS] as number;
    if (bits === 0) return NONE;
    const ports = words[at + N_PORTS] as number;
    const client = words[at + N_SRC] as number;
    const isSent = client === src && ports >>> 16 === sport;
    if (!isSent && !(client === dst && ports >>> 16 === dport)) return NONE;
    const other = isSent ? dst : src;
    const otherPort = isSent ? dport : sport;
    const way = isSent ? 0 : 1;
    if (words[at + N_DST] === other && (ports & 0xffff) === otherPort) return (last << 2) | way;
    if ((bits & PK_CLAIM) === 0 || words[at + N_ENDPOINT] !== other) return NONE;
    if ((words[at + N_PORT_AND_ID] as number) >>> 16 !== otherPort) return NONE;
    return (last << 2) | 2 | way;
  }

  /** The slot of the connection that began with this number, or -1. */
  byIsn(isn: number): number {
    const { words, isns, last } = this;
    const lastAt = last * PLAIN_WORDS;
    if (words[lastAt + N_ISN] === isn && words[lastAt + N_BITS] !== 0) return last;
    const mask = isns.length - 1;
    const hash = hashIsn(isn);
    const tag = hash >>> ISN_BITS;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = isns[i] as number;
      if (entry === 0) return NONE;
      if (entry >>> ISN_BITS !== tag) continue;
      const slot = (entry & ISN_MASK) - 1;
      const at = slot * PLAIN_WORDS;
      if (words[at + N_ISN] === isn && words[at + N_BITS] !== 0) return slot;
    }
  }

  /** A place for a connection that is found by its original tuple and its number; its other words are the caller's to set. */
  add(src: number, sport: number, dst: number, dport: number, isn: number): number {
    let slot = this.free;
    if (slot === NONE) {
      slot = this.used++;
      if (slot >= this.slots) this.resize(this.slots * 2);
    } else {
      this.free = (this.words[slot * PLAIN_WORDS + N_SRC] as number) - 1;
    }
    this.size++;
    this.last = slot;
    const { words } = this;
    const at = slot * PLAIN_WORDS;
    words[at + N_SRC] = src;
    words[at + N_DST] = dst;
    words[at + N_PORTS] = (sport << 16) | dport;
    words[at + N_ISN] = isn;
    if (this.isnEntries >= this.isns.length * MOST_FULL) this.renewIsns();
    if (put(this.isns, hashIsn(isn), isnEntry(slot, isn))) this.isnEntries++;
    this.linkFlow(slot << 1, hashFlow(src, sport, dst, dport));
    return slot;
  }

  /** Makes it findable by the tuple from the client to this endpoint, too; the caller gives it PK_CLAIM. */
  translate(slot: number, endpoint: number, port: number): void {
    const { words } = this;
    const at = slot * PLAIN_WORDS;
    words[at + N_ENDPOINT] = endpoint;
    words[at + N_PORT_AND_ID] = (port << 16) | ((words[at + N_PORT_AND_ID] as number) & 0xffff);
    const node = (slot << 1) | 1;
    this.linkFlow(node, this.hashOf(node));
  }

  /** Forgets it. */
  remove(slot: number): void {
    const { words } = this;
    const at = slot * PLAIN_WORDS;
    words[at + N_BITS] = 0;
    words[at + N_SRC] = this.free + 1;
    this.free = slot;
    this.size--;
    if (++this.removed % TRIM_EVERY === 0) this.trim();
  }

  /** Calls `visit` for each that is kept; it may remove that one. */
  each(visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.used; slot++) {
      if (this.words[slot * PLAIN_WORDS + N_BITS] !== 0) visit(slot);
    }
  }

  /** Gives the addresses of all other numbers. */
  renumber(of: (address: number) => number): void {
    const { words } = this;
    this.each((slot) => {
      const at = slot * PLAIN_WORDS;
      words[at + N_SRC] = of(words[at + N_SRC] as number);
      words[at + N_DST] = of(words[at + N_DST] as number);
      const isClaimed = ((words[at + N_BITS] as number) & PK_CLAIM) !== 0;
      words[at + N_ENDPOINT] = isClaimed ? of(words[at + N_ENDPOINT] as number) : 0;
    });
    this.renewFlows();
  }

  /** After a wave has passed: gives back what most connections of it needed. */
  trim(): void {
    if (this.slots <= FIRST_SLOTS || this.size * 8 > this.slots) return;
    const { words } = this;
    let { used } = this;
    while (used > 0 && words[(used - 1) * PLAIN_WORDS + N_BITS] === 0) used--;
    let slots = FIRST_SLOTS;
    while (slots < used * 2) slots *= 2;
    if (slots >= this.slots) return;
    this.used = used;
    this.free = NONE;
    // The lowest are used first, so that those above can be given back one day.
    for (let slot = this.used - 1; slot >= 0; slot--) {
      if (words[slot * PLAIN_WORDS + N_BITS] !== 0) continue;
      words[slot * PLAIN_WORDS + N_SRC] = this.free + 1;
      this.free = slot;
    }
    this.resize(slots);
    this.last = 0;
    this.renewFlows();
    this.renewIsns();
  }

  /** `node`: `slot << 1 | side`. */
  private hashOf(node: number): number {
    const { words } = this;
    const at = (node >>> 1) * PLAIN_WORDS;
    const ports = words[at + N_PORTS] as number;
    const src = words[at + N_SRC] as number;
    return (node & 1) === 0
      ? hashFlow(src, ports >>> 16, words[at + N_DST] as number, ports & 0xffff)
      : hashFlow(
          src,
          ports >>> 16,
          words[at + N_ENDPOINT] as number,
          (words[at + N_PORT_AND_ID] as number) >>> 16,
        );
  }

  private linkFlow(node: number, hash: number): void {
    if (this.flowEntries >= this.flows.length * MOST_FULL) this.renewFlows();
    if (put(this.flows, hash, flowEntry(node, hash))) this.flowEntries++;
  }

  /** A table of those that are kept. */
  private renewFlows(): void {
    const flows = empty(this.flows, this.size * 2);
    let entries = 0;
    const link = (node: number): void => {
      const hash = this.hashOf(node);
      put(flows, hash, flowEntry(node, hash));
      entries++;
    };
    this.each((slot) => {
      link(slot << 1);
      const bits = this.words[slot * PLAIN_WORDS + N_BITS] as number;
      if ((bits & PK_CLAIM) !== 0) link((slot << 1) | 1);
    });
    this.flows = flows;
    this.flowEntries = entries;
  }

  private renewIsns(): void {
    const isns = empty(this.isns, this.size);
    let entries = 0;
    this.each((slot) => {
      const isn = this.words[slot * PLAIN_WORDS + N_ISN] as number;
      put(isns, hashIsn(isn), isnEntry(slot, isn));
      entries++;
    });
    this.isns = isns;
    this.isnEntries = entries;
  }

  private resize(slots: number): void {
    const memory = new ArrayBuffer(slots * PLAIN_WORDS * 4);
    const words = new Int32Array(memory);
    words.set(this.words.length > words.length ? this.words.subarray(0, words.length) : this.words);
    this.words = words;
    this.moments = new Float64Array(memory);
    this.slots = slots;
  }
}

/** A table for so many entries, at most half full; a small one, which costs nothing, an eighth. */
function empty(before: Uint32Array, entries: number): Uint32Array {
  const room = entries < SMALL ? 8 : 2;
  let places = FIRST_PLACES;
  while (places < entries * room) places *= 2;
  return places === before.length ? before.fill(0) : new Uint32Array(places);
}

const flowEntry = (node: number, hash: number): number =>
  (((hash >>> FLOW_BITS) << FLOW_BITS) | (node + 1)) >>> 0;

const isnEntry = (slot: number, isn: number): number =>
  (((hashIsn(isn) >>> ISN_BITS) << ISN_BITS) | (slot + 1)) >>> 0;

/** Puts an entry into a table; false if it was there: a tuple that is used again and again leaves one. */
function put(table: Uint32Array, hash: number, entry: number): boolean {
  const mask = table.length - 1;
  let i = hash & mask;
  for (; table[i] !== 0; i = (i + 1) & mask) if (table[i] === entry) return false;
  table[i] = entry;
  return true;
}
