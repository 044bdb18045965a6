import { sameAddress } from '../model/address.js';
import {
  BY_PACKETS,
  CONNECTION_WORDS,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
  W_PROTOCOL,
} from './connection.js';
import { Places } from './places.js';
import { mix } from './tuple-map.js';

/**
 * Finds connections by the tuple of a packet, whoever sent it and on whichever side of the translation:
 * one look-up answers for all of them. A node is one of the tuples of one connection; nodes with the same
 * pair of endpoints hang together, newest first.
 *
 * Open addressing with linear probing over (hash, node): eight bytes a place, so that a look-up costs one
 * line of the cache and one of the connection's words. Deletion by backward shift.
 */
export const NO_NODE = -1;

/** Tuples a connection can have: as the client sent it, translated by packets, translated by conntrack; in the order of their words. */
export type Role = 0 | 1 | 2;

const ROLE_BITS = 2;
const ROLE_MASK = 3;

export const nodeOf = (slot: number, role: Role): number => (slot << ROLE_BITS) | role;
export const slotOf = (node: number): number => node >> ROLE_BITS;
export const roleOf = (node: number): number => node & ROLE_MASK;

/** One half of the hash: of one end's address and port. Both ends' are added, so that direction does not matter. */
function hashEnd(words: Uint32Array, address: number, port: number): number {
  let h = Math.imul((words[address + 3] ?? 0) ^ Math.imul(port, 0x9e3779b1), 0x85ebca6b);
  h ^= h >>> 15;
  // IPv4 is mapped: its upper words are constant.
  if (words[address] !== 0) {
    h = Math.imul(h ^ (words[address] ?? 0) ^ Math.imul(words[address + 1] ?? 0, 31), 0xc2b2ae35);
    h = Math.imul(h ^ (words[address + 2] ?? 0), 0x27d4eb2f);
    h ^= h >>> 13;
  }
  return Math.imul(h, 0xc2b2ae35);
}

function hashFlow(
  words: Uint32Array,
  src: number,
  dst: number,
  sport: number,
  dport: number,
  protocol: number,
): number {
  return mix((hashEnd(words, src, sport) + hashEnd(words, dst, dport)) ^ protocol);
}

export class FlowTable {
  private readonly places = new Places();
  /** The next older node with the same pair of endpoints. */
  private older = new Int32Array(1024 << ROLE_BITS).fill(NO_NODE);
  private linked = new Uint8Array(1024 << ROLE_BITS);

  /** Whether a node can be found. */
  has(node: number): boolean {
    return this.linked[node] === 1;
  }

  next(node: number): number {
    return this.older[node] ?? NO_NODE;
  }

  /** The newest node with this pair of endpoints, in either direction. `own` are the connections' words. */
  head(
    own: Uint32Array,
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): number {
    const hash = hashFlow(words, src, dst, sport, dport, protocol);
    const { pairs, mask } = this.places;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = pairs[2 * i + 1] ?? 0;
      if (entry === 0) return NO_NODE;
      if (
        pairs[2 * i] === hash &&
        isPair(own, entry - 1, words, src, dst, sport, dport, protocol)
      ) {
        return entry - 1;
      }
    }
  }

  /** Makes a node findable by the tuple in its connection's words. */
  link(own: Uint32Array, node: number): void {
    if (node >= this.older.length) this.growNodes(node);
    const at = wordsOf(node);
    const sport = own[at + T_SPORT] ?? 0;
    const dport = own[at + T_DPORT] ?? 0;
    const protocol = own[slotOf(node) * CONNECTION_WORDS + W_PROTOCOL] ?? 0;
    const hash = hashFlow(own, at + T_SRC, at + T_DST, sport, dport, protocol);
    this.places.reserve();
    const { pairs, mask } = this.places;
    this.linked[node] = 1;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = pairs[2 * i + 1] ?? 0;
      if (entry === 0) {
        this.places.fill(i, hash, node);
        this.older[node] = NO_NODE;
        return;
      }
      if (
        pairs[2 * i] === hash &&
        isPair(own, entry - 1, own, at + T_SRC, at + T_DST, sport, dport, protocol)
      ) {
        this.older[node] = entry - 1;
        pairs[2 * i + 1] = node + 1;
        return;
      }
    }
  }

  /** To be called before the words of the node's tuple change. */
  unlink(own: Uint32Array, node: number): void {
    if (this.linked[node] !== 1) return;
    this.linked[node] = 0;
    const at = wordsOf(node);
    const sport = own[at + T_SPORT] ?? 0;
    const dport = own[at + T_DPORT] ?? 0;
    const protocol = own[slotOf(node) * CONNECTION_WORDS + W_PROTOCOL] ?? 0;
    const hash = hashFlow(own, at + T_SRC, at + T_DST, sport, dport, protocol);
    const { pairs, mask } = this.places;
    const { older } = this;
    for (let i = hash & mask; ; i = (i + 1) & mask) {
      const entry = pairs[2 * i + 1] ?? 0;
      if (entry === 0) return;
      if (pairs[2 * i] !== hash) continue;
      if (entry - 1 === node) {
        const next = older[node] ?? NO_NODE;
        if (next === NO_NODE) this.places.clear(i);
        else pairs[2 * i + 1] = next + 1;
        return;
      }
      for (let before = entry - 1; before >= 0; before = older[before] ?? NO_NODE) {
        if (older[before] !== node) continue;
        older[before] = older[node] ?? NO_NODE;
        return;
      }
    }
  }

  /** Gives memory back; no connection has a place from `slots` on. */
  trim(slots: number): void {
    this.places.trim();
    const size = slots << ROLE_BITS;
    if (size >= this.older.length) return;
    this.older = this.older.slice(0, size);
    this.linked = this.linked.slice(0, size);
  }

  private growNodes(node: number): void {
    let size = this.older.length;
    while (size <= node) size *= 2;
    const older = new Int32Array(size).fill(NO_NODE);
    older.set(this.older);
    this.older = older;
    const linked = new Uint8Array(size);
    linked.set(this.linked);
    this.linked = linked;
  }
}

/** Where the tuple of a node starts in the connections' words. */
export function wordsOf(node: number): number {
  return slotOf(node) * CONNECTION_WORDS + roleOf(node) * BY_PACKETS;
}

/** Whether a packet with this source was sent in the direction of a node's tuple (the pair is known to be equal). */
export function isSentBy(
  own: Uint32Array,
  node: number,
  words: Uint32Array,
  src: number,
  sport: number,
): boolean {
  const at = wordsOf(node);
  return own[at + T_SPORT] === sport && sameAddress(own, at + T_SRC, words, src);
}

function isPair(
  own: Uint32Array,
  node: number,
  words: Uint32Array,
  src: number,
  dst: number,
  sport: number,
  dport: number,
  protocol: number,
): boolean {
  if (own[slotOf(node) * CONNECTION_WORDS + W_PROTOCOL] !== protocol) return false;
  const at = wordsOf(node);
  const a = own[at + T_SPORT];
  const b = own[at + T_DPORT];
  if (
    a === sport &&
    b === dport &&
    sameAddress(own, at + T_SRC, words, src) &&
    sameAddress(own, at + T_DST, words, dst)
  ) {
    return true;
  }
  return (
    a === dport &&
    b === sport &&
    sameAddress(own, at + T_SRC, words, dst) &&
    sameAddress(own, at + T_DST, words, src)
  );
}
