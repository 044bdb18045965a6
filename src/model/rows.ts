/**
 * Rows of 32-bit words: how packets and conntrack entries travel. One typed array holds many rows
 * back to back, so a batch costs no object an item, crosses thread borders by transfer, and lies in
 * the cache as it is read. Field names with offsets stand beside each kind of row.
 */
export class Rows {
  /** Words of all rows; only the first `length * stride` count. */
  words: Uint32Array;
  /** Number of rows. */
  length = 0;
  readonly stride: number;

  constructor(stride: number, capacity = 1024) {
    this.stride = stride;
    this.words = new Uint32Array(stride * Math.max(1, capacity));
  }

  /** Adds a row of zeros and returns the offset of its first word. Grows by doubling. */
  add(): number {
    const at = this.addUnset();
    this.words.fill(0, at, at + this.stride);
    return at;
  }

  /** The same for a caller who writes all `stride` words: they are left as they were. */
  addUnset(): number {
    const at = this.length * this.stride;
    if (at + this.stride > this.words.length) this.grow();
    this.length++;
    return at;
  }

  /** Forgets all rows, keeps the memory. */
  clear(): void {
    this.length = 0;
  }

  private grow(): void {
    const larger = new Uint32Array(this.words.length * 2);
    larger.set(this.words);
    this.words = larger;
  }
}
