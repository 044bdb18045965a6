/**
 * What is due when. Most requests are "so long from now" for one of a few spans, so they come in the order
 * of their moments for each span: they are put into queues, each in order of time, and only what fits none
 * of them into a heap. Equal moments come out in the order in which they went in, so that a run is
 * deterministic.
 */
const QUEUES = 8;
const FIRST_ITEMS = 1_024;

export class Agenda {
  private readonly queues: Queue[] = Array.from({ length: QUEUES }, () => new Queue());
  private readonly heap = new Heap();
  /** Of each queue and, behind them, of the heap: the moment of its first item, or Infinity. */
  private readonly firsts = new Float64Array(QUEUES + 1).fill(Number.POSITIVE_INFINITY);
  /** Of each queue: the moment of its last item; -Infinity while it is empty, so that anything fits. */
  private readonly lasts = new Float64Array(QUEUES).fill(Number.NEGATIVE_INFINITY);
  private inserted = 0;
  /** The earliest moment of all, or Infinity, and who has it. */
  private earliest = Number.POSITIVE_INFINITY;
  private holder = QUEUES;

  get size(): number {
    let sum = this.heap.size;
    for (const queue of this.queues) sum += queue.size;
    return sum;
  }

  add(time: number, item: number): void {
    const { lasts } = this;
    // Behind the latest that is not later: so queues keep to one span each.
    let best = QUEUES;
    let bestLast = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < QUEUES; i++) {
      const last = lasts[i] ?? 0;
      if (last > time || (best !== QUEUES && last <= bestLast)) continue;
      best = i;
      bestLast = last;
    }
    const order = this.inserted++;
    const queue = this.queues[best];
    if (queue === undefined) {
      this.heap.add(time, order, item);
      this.firsts[QUEUES] = this.heap.firstTime;
    } else {
      queue.add(time, order, item);
      lasts[best] = time;
      if (queue.size === 1) this.firsts[best] = time;
    }
    // Of equal moments the one that was there goes first.
    if (time < this.earliest) {
      this.earliest = time;
      this.holder = best;
    }
  }

  /** The earliest moment, or Infinity. */
  next(): number {
    return this.earliest;
  }

  /** Removes and returns the item of the earliest moment; -1 if there is none. */
  take(): number {
    const { holder, firsts } = this;
    const queue = this.queues[holder];
    let item: number;
    if (queue === undefined) {
      item = this.heap.take();
      firsts[QUEUES] = this.heap.firstTime;
    } else {
      item = queue.take();
      firsts[holder] = queue.firstTime;
      if (queue.size === 0) this.lasts[holder] = Number.NEGATIVE_INFINITY;
    }
    let earliest = Number.POSITIVE_INFINITY;
    let first = QUEUES;
    for (let i = 0; i <= QUEUES; i++) {
      const time = firsts[i] ?? 0;
      if (time > earliest || time === Number.POSITIVE_INFINITY) continue;
      if (time === earliest && this.orderOf(i) > this.orderOf(first)) continue;
      earliest = time;
      first = i;
    }
    this.earliest = earliest;
    this.holder = first;
    return item;
  }

  private orderOf(holder: number): number {
    return (this.queues[holder] ?? this.heap).firstOrder;
  }
}

/** In order of time as it is filled: a ring over typed arrays. */
class Queue {
  private times = new Float64Array(FIRST_ITEMS);
  private orders = new Float64Array(FIRST_ITEMS);
  private items = new Int32Array(FIRST_ITEMS);
  private head = 0;
  size = 0;
  firstTime = Number.POSITIVE_INFINITY;
  firstOrder = Number.POSITIVE_INFINITY;

  add(time: number, order: number, item: number): void {
    if (this.size === this.times.length) this.grow();
    const at = (this.head + this.size) & (this.times.length - 1);
    this.times[at] = time;
    this.orders[at] = order;
    this.items[at] = item;
    if (this.size++ === 0) {
      this.firstTime = time;
      this.firstOrder = order;
    }
  }

  take(): number {
    if (this.size === 0) return -1;
    const item = this.items[this.head] ?? -1;
    this.head = (this.head + 1) & (this.times.length - 1);
    if (--this.size === 0) {
      if (this.times.length > FIRST_ITEMS) this.shrink();
      this.firstTime = Number.POSITIVE_INFINITY;
      this.firstOrder = Number.POSITIVE_INFINITY;
    } else {
      this.firstTime = this.times[this.head] ?? 0;
      this.firstOrder = this.orders[this.head] ?? 0;
    }
    return item;
  }

  /** A wave has passed. */
  private shrink(): void {
    this.times = new Float64Array(FIRST_ITEMS);
    this.orders = new Float64Array(FIRST_ITEMS);
    this.items = new Int32Array(FIRST_ITEMS);
    this.head = 0;
  }

  private grow(): void {
    const old = this.times.length;
    const times = new Float64Array(old * 2);
    const orders = new Float64Array(old * 2);
    const items = new Int32Array(old * 2);
    for (let i = 0; i < this.size; i++) {
      const at = (this.head + i) & (old - 1);
      times[i] = this.times[at] ?? 0;
      orders[i] = this.orders[at] ?? 0;
      items[i] = this.items[at] ?? 0;
    }
    this.times = times;
    this.orders = orders;
    this.items = items;
    this.head = 0;
  }
}

/** A binary heap of (moment, order, item) over typed arrays. */
class Heap {
  private times = new Float64Array(256);
  private orders = new Float64Array(256);
  private items = new Int32Array(256);
  size = 0;

  get firstTime(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : (this.times[0] ?? 0);
  }

  get firstOrder(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : (this.orders[0] ?? 0);
  }

  add(time: number, order: number, item: number): void {
    if (this.size === this.times.length) this.grow();
    let i = this.size++;
    while (i > 0) {
      const up = (i - 1) >> 1;
      if (!this.before(time, order, up)) break;
      this.move(up, i);
      i = up;
    }
    this.put(i, time, order, item);
  }

  take(): number {
    if (this.size === 0) return -1;
    const item = this.items[0] ?? -1;
    const last = --this.size;
    if (last > 0) {
      const time = this.times[last] ?? 0;
      const order = this.orders[last] ?? 0;
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
    return time < t || (time === t && order < (this.orders[at] ?? 0));
  }

  private less(a: number, b: number): boolean {
    return this.before(this.times[a] ?? 0, this.orders[a] ?? 0, b);
  }

  private move(from: number, to: number): void {
    this.put(to, this.times[from] ?? 0, this.orders[from] ?? 0, this.items[from] ?? 0);
  }

  private put(at: number, time: number, order: number, item: number): void {
    this.times[at] = time;
    this.orders[at] = order;
    this.items[at] = item;
  }

  private grow(): void {
    const size = this.times.length * 2;
    const times = new Float64Array(size);
    const orders = new Float64Array(size);
    const items = new Int32Array(size);
    times.set(this.times);
    orders.set(this.orders);
    items.set(this.items);
    this.times = times;
    this.orders = orders;
    this.items = items;
  }
}
