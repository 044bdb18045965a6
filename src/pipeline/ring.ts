/** The last items of a sequence: adding one is a store, and forgets the first of them once there are `capacity`. */
export class Ring<T> {
  private readonly items: T[] = [];
  private readonly capacity: number;
  /** Where the next one goes: the place of the oldest, once all places are taken. */
  private next = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  add(item: T): void {
    this.items[this.next] = item;
    this.next = (this.next + 1) % this.capacity;
  }

  /** In order. */
  get all(): T[] {
    return [...this.items.slice(this.next), ...this.items.slice(0, this.next)];
  }
}
