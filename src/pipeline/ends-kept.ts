/** Keeps the first and the last of a long sequence: what began it, and how it ended. */
export class EndsKept<T> {
  private readonly first: T[] = [];
  private last: T[] = [];
  private readonly each: number;
  private dropped = 0;

  /** Twice `each` are kept. */
  constructor(each: number) {
    this.each = each;
  }

  add(one: T): void {
    if (this.first.length < this.each) {
      this.first.push(one);
      return;
    }
    this.last.push(one);
    // Cut back seldom, so that it costs nothing per item.
    if (this.last.length < 2 * this.each) return;
    this.dropped += this.each;
    this.last = this.last.slice(this.each);
  }

  clear(): void {
    this.first.length = 0;
    this.last.length = 0;
    this.dropped = 0;
  }

  get all(): T[] {
    return [...this.first, ...this.last.slice(-this.each)];
  }

  get leftOut(): number {
    return this.dropped + Math.max(0, this.last.length - this.each);
  }
}
