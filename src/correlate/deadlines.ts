const FIRST_ITEMS = 1_024;

/** What is due when, of requests that all come in the order of their moments: a ring over typed arrays. */
export class Deadlines {
  private times = new Float64Array(FIRST_ITEMS);
  private items = new Int32Array(FIRST_ITEMS);
  private head = 0;
  private size = 0;
  /** The moment of the first, or Infinity. */
  next = Number.POSITIVE_INFINITY;

  /** `time`: not before that of the last. */
  add(time: number, item: number): void {
    if (this.size === this.times.length) this.resize(this.size * 2);
    const at = (this.head + this.size) & (this.times.length - 1);
    this.times[at] = time;
    this.items[at] = item;
    if (this.size++ === 0) this.next = time;
  }

  /** Removes the first; only to be called if there is one. */
  take(): number {
    const item = this.items[this.head] as number;
    this.head = (this.head + 1) & (this.times.length - 1);
    this.size--;
    // A wave has passed.
    if (this.size === 0 && this.times.length > FIRST_ITEMS) this.resize(FIRST_ITEMS);
    this.next = this.size === 0 ? Number.POSITIVE_INFINITY : (this.times[this.head] as number);
    return item;
  }

  private resize(length: number): void {
    const { times, items, size, head } = this;
    const mask = times.length - 1;
    this.times = new Float64Array(length);
    this.items = new Int32Array(length);
    for (let i = 0; i < size; i++) {
      this.times[i] = times[(head + i) & mask] as number;
      this.items[i] = items[(head + i) & mask] as number;
    }
    this.head = 0;
  }
}
