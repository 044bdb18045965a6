/**
 * Hash maps from packet tuples and numbers to small integers, over typed arrays: open addressing with
 * linear probing, deletion by backward shift, growth at three quarters. No strings, no objects an
 * entry: 48 bytes for a tuple where a Map with string keys takes some 450 (docs/benchmarks.md).
 */
const STRIDE = 12;
const K_HASH = 0;
const K_SRC = 1;
const K_DST = 5;
const K_PORTS = 9;
const K_PROTOCOL = 10;
const K_VALUE = 11;

/** Finalizer of MurmurHash3 (public domain): every input bit reaches every output bit. */
export function mix(h: number): number {
  let x = h ^ (h >>> 16);
  x = Math.imul(x, 0x85ebca6b);
  x ^= x >>> 13;
  x = Math.imul(x, 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

function hashTuple(
  words: Uint32Array,
  src: number,
  dst: number,
  ports: number,
  protocol: number,
): number {
  let h = Math.imul((words[src + 3] ?? 0) ^ 0x9e3779b9, 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 15) ^ (words[dst + 3] ?? 0), 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 13) ^ ports, 0x27d4eb2f);
  // IPv4 is mapped, so its upper words are constant and cost nothing to leave out of the common case.
  if (words[src] !== 0 || words[dst] !== 0) {
    h = Math.imul(h ^ (words[src] ?? 0) ^ Math.imul(words[src + 1] ?? 0, 31), 0x85ebca6b);
    h = Math.imul(h ^ (words[src + 2] ?? 0) ^ (words[dst] ?? 0), 0xc2b2ae35);
    h = Math.imul(h ^ (words[dst + 1] ?? 0) ^ Math.imul(words[dst + 2] ?? 0, 31), 0x27d4eb2f);
  }
  // 0 marks an empty place.
  return mix(h ^ protocol) || 1;
}

/** (source, destination, ports, protocol) -> integer >= 0. Addresses are four words at an offset of any word array. */
export class TupleMap {
  private table: Uint32Array;
  private mask: number;
  size = 0;

  constructor(capacity = 1024) {
    let places = 16;
    while (places * 3 < capacity * 4) places *= 2;
    this.table = new Uint32Array(places * STRIDE);
    this.mask = places - 1;
  }

  /** The value, or -1. */
  find(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): number {
    const at = this.place(words, src, dst, ((sport << 16) | dport) >>> 0, protocol);
    return this.table[at] === 0 ? -1 : (this.table[at + K_VALUE] ?? -1);
  }

  set(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
    value: number,
  ): void {
    const ports = ((sport << 16) | dport) >>> 0;
    let at = this.place(words, src, dst, ports, protocol);
    if (this.table[at] === 0) {
      if (this.size * 4 >= (this.mask + 1) * 3) {
        this.grow();
        at = this.place(words, src, dst, ports, protocol);
      }
      const t = this.table;
      t[at + K_HASH] = hashTuple(words, src, dst, ports, protocol);
      for (let w = 0; w < 4; w++) {
        t[at + K_SRC + w] = words[src + w] ?? 0;
        t[at + K_DST + w] = words[dst + w] ?? 0;
      }
      t[at + K_PORTS] = ports;
      t[at + K_PROTOCOL] = protocol;
      this.size++;
    }
    this.table[at + K_VALUE] = value;
  }

  /** Removes an entry; false if it was not there. */
  delete(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): boolean {
    const at = this.place(words, src, dst, ((sport << 16) | dport) >>> 0, protocol);
    const t = this.table;
    if (t[at] === 0) return false;
    let hole = at / STRIDE;
    let next = hole;
    for (;;) {
      next = (next + 1) & this.mask;
      const h = t[next * STRIDE] ?? 0;
      if (h === 0) break;
      // Move an entry back into the hole only if its own place does not lie between them.
      const home = h & this.mask;
      if (((next - home) & this.mask) >= ((next - hole) & this.mask)) {
        t.copyWithin(hole * STRIDE, next * STRIDE, next * STRIDE + STRIDE);
        hole = next;
      }
    }
    t.fill(0, hole * STRIDE, hole * STRIDE + STRIDE);
    this.size--;
    return true;
  }

  private place(
    words: Uint32Array,
    src: number,
    dst: number,
    ports: number,
    protocol: number,
  ): number {
    const t = this.table;
    const hash = hashTuple(words, src, dst, ports, protocol);
    let i = hash & this.mask;
    for (;;) {
      const at = i * STRIDE;
      const h = t[at] ?? 0;
      if (
        h === 0 ||
        (h === hash &&
          t[at + K_PORTS] === ports &&
          t[at + K_SRC + 3] === words[src + 3] &&
          t[at + K_DST + 3] === words[dst + 3] &&
          t[at + K_PROTOCOL] === protocol &&
          t[at + K_SRC] === words[src] &&
          t[at + K_SRC + 1] === words[src + 1] &&
          t[at + K_SRC + 2] === words[src + 2] &&
          t[at + K_DST] === words[dst] &&
          t[at + K_DST + 1] === words[dst + 1] &&
          t[at + K_DST + 2] === words[dst + 2])
      ) {
        return at;
      }
      i = (i + 1) & this.mask;
    }
  }

  private grow(): void {
    const old = this.table;
    const places = (this.mask + 1) * 2;
    const mask = places - 1;
    const t = new Uint32Array(places * STRIDE);
    for (let from = 0; from < old.length; from += STRIDE) {
      const h = old[from] ?? 0;
      if (h === 0) continue;
      let i = h & mask;
      while (t[i * STRIDE] !== 0) i = (i + 1) & mask;
      // Word by word: a view of so few costs more than to copy them.
      const to = i * STRIDE;
      for (let w = 0; w < STRIDE; w++) t[to + w] = old[from + w] ?? 0;
    }
    this.table = t;
    this.mask = mask;
  }
}
