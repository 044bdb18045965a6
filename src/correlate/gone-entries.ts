import { TupleMap } from './tuple-map.js';

/**
 * Entries that conntrack still holds of connections whose last word is said (TIME_WAIT, 120 s): a listing must
 * not take them for new ones. Two generations: what nobody took out is forgotten with the older one.
 */
export class GoneEntries {
  private recent = new TupleMap();
  private before = new TupleMap();
  private turnAt = Number.NEGATIVE_INFINITY;
  private readonly keepNs: number;

  /** An entry is remembered for at least `keepNs`, at most twice as long. */
  constructor(keepNs: number) {
    this.keepNs = keepNs;
  }

  /** `where` tells where its connection was sent: not negative. */
  add(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
    where: number,
    now: number,
  ): void {
    if (now >= this.turnAt) {
      this.before = this.recent;
      this.recent = new TupleMap();
      this.turnAt = now + this.keepNs;
    }
    this.recent.set(words, src, dst, sport, dport, protocol, where);
  }

  /** Whether the entry of this tuple went there. */
  has(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
    where: number,
  ): boolean {
    const recent = this.recent.find(words, src, dst, sport, dport, protocol);
    if (recent >= 0) return recent === where;
    return this.before.find(words, src, dst, sport, dport, protocol) === where;
  }

  delete(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): void {
    if (this.recent.size > 0) this.recent.delete(words, src, dst, sport, dport, protocol);
    if (this.before.size > 0) this.before.delete(words, src, dst, sport, dport, protocol);
  }
}
