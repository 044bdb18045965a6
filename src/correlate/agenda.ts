/**
 * What is due when: a binary heap of (moment, number) over typed arrays. Equal moments come out in the
 * order in which they went in, so that a run is deterministic.
 */
export class Agenda {
  private times = new Float64Array(1024);
  private order = new Float64Array(1024);
  private items = new Int32Array(1024);
  private count = 0;
  private inserted = 0;

  get size(): number {
    return this.count;
  }

  add(time: number, item: number): void {
    if (this.count === this.times.length) this.grow();
    let i = this.count++;
    const order = this.inserted++;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!this.before(time, order, up)) break;
      this.move(up, i);
      i = up;
    }
    this.put(i, time, order, item);
  }

  /** The earliest moment, or Infinity. */
  next(): number {
    return this.count === 0 ? Number.POSITIVE_INFINITY : (this.times[0] ?? 0);
  }

  /** Removes and returns the item of the earliest moment; -1 if there is none. */
  take(): number {
    if (this.count === 0) return -1;
    const item = this.items[0] ?? -1;
    const last = --this.count;
    if (last > 0) {
      const time = this.times[last] ?? 0;
      const order = this.order[last] ?? 0;
      const moved = this.items[last] ?? 0;
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= last) break;
        if (child + 1 < last && this.less(child + 1, child)) child++;
        if (this.before(time, order, child)) break;
        this.move(child, i);
        i = child;
      }
      this.put(i, time, order, moved);
    }
    return item;
  }

  private before(time: number, order: number, at: number): boolean {
    const t = this.times[at] ?? 0;
    return time < t || (time === t && order < (this.order[at] ?? 0));
  }

  private less(a: number, b: number): boolean {
    return this.before(this.times[a] ?? 0, this.order[a] ?? 0, b);
  }

  private move(from: number, to: number): void {
    this.put(to, this.times[from] ?? 0, this.order[from] ?? 0, this.items[from] ?? 0);
  }

  private put(at: number, time: number, order: number, item: number): void {
    this.times[at] = time;
    this.order[at] = order;
    this.items[at] = item;
  }

  private grow(): void {
    const size = this.times.length * 2;
    const times = new Float64Array(size);
    const order = new Float64Array(size);
    const items = new Int32Array(size);
    times.set(this.times);
    order.set(this.order);
    items.set(this.items);
    this.times = times;
    this.order = order;
    this.items = items;
  }
}
