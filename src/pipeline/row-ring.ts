import type { Rows } from '../model/rows.js';

/** The last rows of a stream in a fixed piece of memory: adding some is a copy of their words. */
export class RowRing {
  private readonly stride: number;
  private readonly capacity: number;
  /** Made with the first row: most memories are never asked for. */
  private words: Uint32Array | undefined;
  /** Where the next row goes. */
  private next = 0;
  private held = 0;

  /** `capacity` in rows. */
  constructor(stride: number, capacity: number) {
    this.stride = stride;
    this.capacity = capacity;
  }

  /** Adds the rows from `from` up to `to`, which is excluded. */
  add(rows: Rows, from: number, to: number): void {
    const { stride, capacity } = this;
    this.words ??= new Uint32Array(stride * capacity);
    const first = Math.max(from, to - capacity);
    for (let at = first; at < to; ) {
      const count = Math.min(to - at, capacity - this.next);
      const words = rows.words.subarray(at * stride, (at + count) * stride);
      this.words.set(words, this.next * stride);
      this.next = (this.next + count) % capacity;
      at += count;
    }
    this.held = Math.min(capacity, this.held + to - first);
  }

  /** Copies all that is held, in order, into rows that are empty. */
  copyTo(rows: Rows): void {
    const { words, stride, held, capacity, next } = this;
    if (words === undefined) return;
    const all = new Uint32Array(Math.max(stride, held * stride));
    const begin = held < capacity ? 0 : next;
    const tail = words.subarray(begin * stride, held * stride);
    all.set(tail);
    all.set(words.subarray(0, begin * stride), tail.length);
    rows.words = all;
    rows.length = held;
  }
}
