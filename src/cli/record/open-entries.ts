import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_ID,
  C_LATENESS,
  C_NSEC,
  C_PROTOCOL,
  C_RDPORT,
  C_RSRC,
  C_SEC,
  C_ZONE,
  CONNTRACK_WORDS,
  EVENT_DESTROY,
  EVENT_LISTED,
  HAS_COUNTERS,
  HAS_ID,
  HAS_START,
  HAS_STOP,
  HAS_TIME,
  HAS_TIMEOUT,
  IS_KERNEL_TIME,
} from '../../model/conntrack.js';
import { ConntrackRows } from '../../model/conntrack-rows.js';
import { type Nanos, nanosOf, secondsOf, subsecondOf } from '../../model/time.js';

/** The kernel's own bound on a node with 4 GB and more (nf_conntrack_max): 37 MB here. */
const MAX_ENTRIES = 262_144;
/** Words that are kept of an entry: from its family to the ports of its reply. */
const FIRST = C_FAMILY;
const WORDS = C_RDPORT + 1 - FIRST;
/** Those that tell it from others: protocol, zones, the original tuple. */
const KEY_FROM = C_ZONE - FIRST;
const KEY_TO = C_RSRC - FIRST;
/** What is told in words that are not kept, or counts from another moment. */
const NOT_KEPT = HAS_TIMEOUT | HAS_START | HAS_STOP | HAS_COUNTERS | IS_KERNEL_TIME;
/** Rows of one listing. */
const BATCH = 4_096;
const NONE = -1;

/** conntrack's entries as far as its events and listings have told, for a file that begins in the middle of a run. */
export class OpenEntries {
  /** Entries that there was no room for. */
  leftOut = 0;
  private size = 1024;
  private words = new Uint32Array(this.size * WORDS);
  private next = new Int32Array(this.size);
  private buckets = new Int32Array(this.size).fill(NONE);
  private used = 0;
  private free = NONE;
  /** Whether the source tells of ends; else each listing replaces the one before. */
  private hasEvents = false;
  private listing: Nanos | undefined;

  take({ words }: ConntrackRows, from: number, to: number): void {
    for (let at = from * CONNTRACK_WORDS; at < to * CONNTRACK_WORDS; at += CONNTRACK_WORDS) {
      const event = words[at + C_EVENT];
      if (event === EVENT_DESTROY) this.remove(words, at);
      else {
        if (event === EVENT_LISTED && !this.hasEvents) this.relist(words, at);
        this.add(words, at);
      }
      if (event !== EVENT_LISTED) this.hasEvents = true;
    }
  }

  /** What was told is not all: what comes next is listed again. */
  clear(): void {
    this.used = 0;
    this.free = NONE;
    this.leftOut = 0;
    this.buckets.fill(NONE);
  }

  /** The entries as a listing made at a moment; each batch may be read until the next is asked for. */
  *listed(time: Nanos): Generator<ConntrackRows> {
    const rows = new ConntrackRows();
    for (const head of this.buckets) {
      for (let i = head; i !== NONE; i = this.next[i] as number) {
        const at = rows.add();
        rows.words.set(this.words.subarray(i * WORDS, (i + 1) * WORDS), at + FIRST);
        rows.words[at + C_BITS] = ((rows.words[at + C_BITS] as number) & ~NOT_KEPT) | HAS_TIME;
        rows.words[at + C_EVENT] = EVENT_LISTED;
        rows.words[at + C_SEC] = secondsOf(time);
        rows.words[at + C_NSEC] = subsecondOf(time);
        // A listing that began then: one that comes later in the run is told from it by that.
        rows.words[at + C_LATENESS] = 1;
        if (rows.length < BATCH) continue;
        yield rows;
        rows.clear();
      }
    }
    if (rows.length > 0) yield rows;
  }

  private relist(words: Uint32Array, at: number): void {
    const lateness = BigInt(words[at + C_LATENESS] as number);
    if (lateness === 0n) return;
    const began = nanosOf(words[at + C_SEC] as number, words[at + C_NSEC] as number) - lateness;
    if (this.listing !== undefined && began !== this.listing) this.clear();
    this.listing = began;
  }

  private add(words: Uint32Array, at: number): void {
    const known = this.find(words, at);
    if (known !== NONE) {
      this.words.set(words.subarray(at + FIRST, at + FIRST + WORDS), known * WORDS);
      return;
    }
    let i = this.free;
    if (i !== NONE) this.free = this.next[i] as number;
    else {
      if (this.used === MAX_ENTRIES) {
        this.leftOut++;
        return;
      }
      if (this.used === this.size) this.grow();
      i = this.used++;
    }
    this.words.set(words.subarray(at + FIRST, at + FIRST + WORDS), i * WORDS);
    const bucket = this.bucketOf(words, at + FIRST);
    this.next[i] = this.buckets[bucket] as number;
    this.buckets[bucket] = i;
  }

  private remove(words: Uint32Array, at: number): void {
    const known = this.find(words, at);
    if (known === NONE) return;
    const row = known * WORDS - FIRST;
    const haveIds = (words[at + C_BITS] as number) & (this.words[row + C_BITS] as number) & HAS_ID;
    // The end of an entry that another one has followed.
    if (haveIds !== 0 && words[at + C_ID] !== this.words[row + C_ID]) return;
    const bucket = this.bucketOf(words, at + FIRST);
    const after = this.next[known] as number;
    if (this.buckets[bucket] === known) this.buckets[bucket] = after;
    else {
      let before = this.buckets[bucket] as number;
      while (this.next[before] !== known) before = this.next[before] as number;
      this.next[before] = after;
    }
    this.next[known] = this.free;
    this.free = known;
  }

  private find(words: Uint32Array, at: number): number {
    let i = this.buckets[this.bucketOf(words, at + FIRST)] as number;
    for (; i !== NONE; i = this.next[i] as number) {
      const row = i * WORDS;
      let same = this.words[row + C_PROTOCOL - FIRST] === words[at + C_PROTOCOL];
      for (let w = KEY_FROM; same && w < KEY_TO; w++) {
        same = this.words[row + w] === words[at + FIRST + w];
      }
      if (same) return i;
    }
    return NONE;
  }

  private bucketOf(words: Uint32Array, kept: number): number {
    let hash = words[kept + C_PROTOCOL - FIRST] as number;
    for (let w = KEY_FROM; w < KEY_TO; w++) {
      hash = Math.imul(hash ^ (words[kept + w] as number), 0x9e37_79b1);
      hash ^= hash >>> 15;
    }
    return (hash >>> 0) & (this.size - 1);
  }

  private grow(): void {
    this.size *= 2;
    const words = new Uint32Array(this.size * WORDS);
    words.set(this.words);
    this.words = words;
    this.next = new Int32Array(this.size);
    this.buckets = new Int32Array(this.size).fill(NONE);
    for (let i = 0; i < this.used; i++) {
      const bucket = this.bucketOf(words, i * WORDS);
      this.next[i] = this.buckets[bucket] as number;
      this.buckets[bucket] = i;
    }
  }
}
