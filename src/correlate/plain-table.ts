/**
 * Where plain connections (see plain.ts) are kept: numbers alone, of TCP over IPv4, with what finds them. 64 bytes
 * a connection, one line of the cache, and some 25 in the tables, so that a million open ones take less than 100 MB.
 */
const WORDS = 16;
export const N_SRC = 0;
export const N_DST = 1;
/** The client's port in the upper half, the Service's in the lower. */
export const N_PORTS = 2;
export const N_ENDPOINT = 3;
/** What was seen of it, as a Connection's bits; 0: its place is free. */
export const N_BITS = 4;
/** The endpoint's port in the upper half, the opening packet's identification in the lower. */
export const N_PORT_AND_ID = 5;
export const N_ISN = 6;
export const N_ANSWER_ISN = 7;
export const N_PRINT = 8;
export const N_RESOLUTION = 9;
/** Moments, in relative ns: each takes two words. When it is to be closed or forgotten (0: it has not ended), ... */
export const M_DUE = 5;
/** ... when it began, and when it was last seen or, once it has ended, when that was. */
export const M_TIME = 6;
export const M_LAST = 7;
export const PLAIN_WORDS = WORDS;
export const PLAIN_MOMENTS = WORDS / 2;

/** The tuples of a connection: as the client sent it, and translated. */
export type Side = 0 | 1;

const FIRST_SLOTS = 1_024;
const FIRST_PLACES = 4_096;
/** So many are kept at most: a place in a table has 24 bits for the number, and one for the side. */
const MAX_SLOTS = (1 << 24) - 1;
const TRIM_EVERY = 16_384;
const NONE = -1;

/** What is kept in a place of the tables beside the number: some bits of the hash, so that few strangers are looked at. */
const FLOW_BITS = 25;
const FLOW_MASK = (1 << FLOW_BITS) - 1;
const ISN_BITS = 24;
const ISN_MASK = (1 << ISN_BITS) - 1;

/** One end of a flow; both ends' are added, so that direction does not matter. */
function hashEnd(address: number, port: number): number {
  let h = Math.imul(address ^ Math.imul(port, 0x9e3779b1), 0x85ebca6b);
  h ^= h >>> 15;
  return Math.imul(h, 0xc2b2ae35);
}

function hashFlow(a: number, aPort: number, b: number, bPort: number): number {
  let h = (hashEnd(a, aPort) + hashEnd(b, bPort)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

function hashIsn(isn: number): number {
  const h = Math.imul(isn ^ (isn >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

/**
 * Each pair of endpoints and each initial sequence number is one connection's alone here: who would add a second
 * moves the first one elsewhere. Open addressing with linear probing, deletion by backward shift.
 */
export class PlainTable {
  /** At `slot * PLAIN_WORDS`: the N_ words; the same memory as `moments`. */
  words: Uint32Array;
  /** At `slot * PLAIN_MOMENTS`: the M_ moments. */
  moments: Float64Array;
  size = 0;
  private slots = FIRST_SLOTS;
  /** The first free place, linked by N_SRC; behind all that were ever used if there is none. */
  private free = NONE;
  private used = 0;
  private removed = 0;
  private flows: Uint32Array = new Uint32Array(FIRST_PLACES);
  private flowCount = 0;
  private isns: Uint32Array = new Uint32Array(FIRST_PLACES);

  constructor() {
    const memory = new ArrayBuffer(FIRST_SLOTS * WORDS * 4);
    this.words = new Uint32Array(memory);
    this.moments = new Float64Array(memory);
  }

  get isFull(): boolean {
    return this.size >= MAX_SLOTS;
  }

  /** Whose tuple this is: `slot << 2 | side << 1 | 1 if it is the other way round`, or -1. */
  find(src: number, sport: number, dst: number, dport: number): number {
    const { words, flows } = this;
    const mask = flows.length - 1;
    const hash = hashFlow(src, sport, dst, dport);
    const tag = hash >>> FLOW_BITS;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = flows[i] as number;
      if (entry === 0) return NONE;
      if (entry >>> FLOW_BITS !== tag) continue;
      const node = (entry & FLOW_MASK) - 1;
      const at = (node >>> 1) * WORDS;
      const client = words[at + N_SRC] as number;
      const clientPort = (words[at + N_PORTS] as number) >>> 16;
      const side = node & 1;
      const other = words[at + (side === 0 ? N_DST : N_ENDPOINT)] as number;
      const otherPort =
        side === 0
          ? (words[at + N_PORTS] as number) & 0xffff
          : (words[at + N_PORT_AND_ID] as number) >>> 16;
      if (client === src && clientPort === sport && other === dst && otherPort === dport) {
        return node << 1;
      }
      if (client === dst && clientPort === dport && other === src && otherPort === sport) {
        return (node << 1) | 1;
      }
    }
  }

  /** The slot of the connection that began with this number, or -1. */
  byIsn(isn: number): number {
    const { words, isns } = this;
    const mask = isns.length - 1;
    const hash = hashIsn(isn);
    const tag = hash >>> ISN_BITS;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = isns[i] as number;
      if (entry === 0) return NONE;
      if (entry >>> ISN_BITS !== tag) continue;
      const slot = (entry & ISN_MASK) - 1;
      if (words[slot * WORDS + N_ISN] === isn) return slot;
    }
  }

  /** A place for a connection that is found by its original tuple and its number; its other words are the caller's to set. */
  add(src: number, sport: number, dst: number, dport: number, isn: number): number {
    let slot = this.free;
    if (slot === NONE) {
      slot = this.used++;
      if (slot >= this.slots) this.resize(this.slots * 2);
    } else {
      this.free = (this.words[slot * WORDS + N_SRC] as number) - 1;
    }
    this.size++;
    const { words } = this;
    const at = slot * WORDS;
    words[at + N_SRC] = src;
    words[at + N_DST] = dst;
    words[at + N_PORTS] = (sport << 16) | dport;
    words[at + N_ISN] = isn;
    if (this.size * 2 > this.isns.length) this.isns = this.isnsOf(this.isns.length * 2);
    putIsn(this.isns, slot, isn);
    this.linkFlow(slot, 0, hashFlow(src, sport, dst, dport));
    return slot;
  }

  /** Makes it findable by the tuple from the client to this endpoint, too. */
  translate(slot: number, endpoint: number, port: number): void {
    const { words } = this;
    const at = slot * WORDS;
    words[at + N_ENDPOINT] = endpoint;
    words[at + N_PORT_AND_ID] = (port << 16) | ((words[at + N_PORT_AND_ID] as number) & 0xffff);
    this.linkFlow(slot, 1, this.hashOf(slot, 1));
  }

  /** Forgets it; `isTranslated`: `translate` was called. */
  remove(slot: number, isTranslated: boolean): void {
    this.unlinkFlow(slot, 0);
    if (isTranslated) this.unlinkFlow(slot, 1);
    this.unlinkIsn(slot);
    const at = slot * WORDS;
    this.words[at + N_BITS] = 0;
    this.words[at + N_SRC] = this.free + 1;
    this.free = slot;
    this.size--;
    if (++this.removed % TRIM_EVERY === 0) this.trim();
  }

  /** Calls `visit` for each that is kept; it may remove that one. */
  each(visit: (slot: number) => void): void {
    for (let slot = 0; slot < this.used; slot++) {
      if (this.words[slot * WORDS + N_BITS] !== 0) visit(slot);
    }
  }

  /** After a wave has passed: gives back what most connections of it needed. */
  trim(): void {
    if (this.slots <= FIRST_SLOTS || this.size * 8 > this.slots) return;
    const { words } = this;
    while (this.used > 0 && words[(this.used - 1) * WORDS + N_BITS] === 0) this.used--;
    this.free = NONE;
    // The lowest are used first, so that those above can be given back one day.
    for (let slot = this.used - 1; slot >= 0; slot--) {
      if (words[slot * WORDS + N_BITS] !== 0) continue;
      words[slot * WORDS + N_SRC] = this.free + 1;
      this.free = slot;
    }
    let slots = FIRST_SLOTS;
    while (slots < this.used * 2) slots *= 2;
    if (slots < this.slots) this.resize(slots);
    const flows = placesFor(this.flowCount);
    if (flows < this.flows.length) this.flows = this.flowsOf(flows);
    const isns = placesFor(this.size);
    if (isns < this.isns.length) this.isns = this.isnsOf(isns);
  }

  private linkFlow(slot: number, side: Side, hash: number): void {
    this.flowCount++;
    if (this.flowCount * 2 > this.flows.length) this.flows = this.flowsOf(this.flows.length * 2);
    putFlow(this.flows, (slot << 1) | side, hash);
  }

  private unlinkFlow(slot: number, side: Side): void {
    const { flows } = this;
    const mask = flows.length - 1;
    const entry = ((slot << 1) | side) + 1;
    let hole = this.hashOf(slot, side) & mask;
    while (((flows[hole] as number) & FLOW_MASK) !== entry) hole = (hole + 1) & mask;
    for (let next = (hole + 1) & mask; flows[next] !== 0; next = (next + 1) & mask) {
      const node = ((flows[next] as number) & FLOW_MASK) - 1;
      const home = this.hashOf(node >>> 1, (node & 1) as Side) & mask;
      // Move an entry back into the hole only if its own place does not lie between them.
      if (((next - home) & mask) < ((next - hole) & mask)) continue;
      flows[hole] = flows[next] as number;
      hole = next;
    }
    flows[hole] = 0;
    this.flowCount--;
  }

  private unlinkIsn(slot: number): void {
    const { isns, words } = this;
    const mask = isns.length - 1;
    const home = (of: number): number => hashIsn(words[of * WORDS + N_ISN] as number) & mask;
    let hole = home(slot);
    while (((isns[hole] as number) & ISN_MASK) !== slot + 1) hole = (hole + 1) & mask;
    for (let next = (hole + 1) & mask; isns[next] !== 0; next = (next + 1) & mask) {
      const its = home(((isns[next] as number) & ISN_MASK) - 1);
      if (((next - its) & mask) < ((next - hole) & mask)) continue;
      isns[hole] = isns[next] as number;
      hole = next;
    }
    isns[hole] = 0;
  }

  private hashOf(slot: number, side: Side): number {
    const { words } = this;
    const at = slot * WORDS;
    const ports = words[at + N_PORTS] as number;
    const src = words[at + N_SRC] as number;
    return side === 0
      ? hashFlow(src, ports >>> 16, words[at + N_DST] as number, ports & 0xffff)
      : hashFlow(
          src,
          ports >>> 16,
          words[at + N_ENDPOINT] as number,
          (words[at + N_PORT_AND_ID] as number) >>> 16,
        );
  }

  /** The same entries in a table of this many places. */
  private flowsOf(places: number): Uint32Array {
    const flows = new Uint32Array(places);
    for (const entry of this.flows) {
      if (entry === 0) continue;
      const node = (entry & FLOW_MASK) - 1;
      putFlow(flows, node, this.hashOf(node >>> 1, (node & 1) as Side));
    }
    return flows;
  }

  private isnsOf(places: number): Uint32Array {
    const isns = new Uint32Array(places);
    for (const entry of this.isns) {
      if (entry === 0) continue;
      const slot = (entry & ISN_MASK) - 1;
      putIsn(isns, slot, this.words[slot * WORDS + N_ISN] as number);
    }
    return isns;
  }

  private resize(slots: number): void {
    const memory = new ArrayBuffer(slots * WORDS * 4);
    const words = new Uint32Array(memory);
    words.set(this.words.length > words.length ? this.words.subarray(0, words.length) : this.words);
    this.words = words;
    this.moments = new Float64Array(memory);
    this.slots = slots;
  }
}

function placesFor(count: number): number {
  let places = FIRST_PLACES;
  while (places < count * 4) places *= 2;
  return places;
}

function putFlow(flows: Uint32Array, node: number, hash: number): void {
  const mask = flows.length - 1;
  let i = hash & mask;
  while (flows[i] !== 0) i = (i + 1) & mask;
  flows[i] = ((hash >>> FLOW_BITS) << FLOW_BITS) | (node + 1);
}

function putIsn(isns: Uint32Array, slot: number, isn: number): void {
  const mask = isns.length - 1;
  const hash = hashIsn(isn);
  let i = hash & mask;
  while (isns[i] !== 0) i = (i + 1) & mask;
  isns[i] = ((hash >>> ISN_BITS) << ISN_BITS) | (slot + 1);
}
