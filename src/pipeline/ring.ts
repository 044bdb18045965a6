/** The last items of a sequence. Once there are `capacity`, the place of the oldest is used for the next. */
export class Ring<T> {
  private readonly items: T[] = [];
  private readonly capacity: number;
  private readonly make: () => T;
  /** The place of the next one: of the oldest, once all places are taken. */
  private at = 0;

  constructor(capacity: number, make: () => T) {
    this.capacity = capacity;
    this.make = make;
  }

  /** The place for the next item, which the caller fills. */
  next(): T {
    let item = this.items[this.at];
    if (item === undefined) {
      item = this.make();
      this.items[this.at] = item;
    }
    this.at = (this.at + 1) % this.capacity;
    return item;
  }

  /** In order; valid until `next`. */
  get all(): T[] {
    return [...this.items.slice(this.at), ...this.items.slice(0, this.at)];
  }
}
