/** Whether a request still stands. */
type IsCurrent = (item: number, time: number) => boolean;

/**
 * What is due when. Most requests are "so long from now" for one of a few spans, so they come in the order
 * of their moments for each span: they are put into queues, each in order of time, and only what fits none
 * of them into a heap. Equal moments come out in the order in which they went in, so that a run is
 * deterministic. A request that was replaced by an earlier one stays until its moment, unless memory is
 * short: then what stands no more is dropped before more memory is taken (a kept-alive connection's idle
 * bound is days away, and most have ended long before).
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
  private readonly isCurrent: IsCurrent;

  constructor(isCurrent: IsCurrent) {
    this.isCurrent = isCurrent;
  }

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
    const into = this.queues[best] ?? this.heap;
    if (into.isFull) {
      into.resize(this.isCurrent);
      this.firsts[best] = into.firstTime;
      this.lookForEarliest();
    }
    into.add(time, order, item);
    this.firsts[best] = into.firstTime;
    if (best !== QUEUES) lasts[best] = time;
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
    const { holder } = this;
    const from = this.queues[holder] ?? this.heap;
    const item = from.take();
    this.firsts[holder] = from.firstTime;
    if (holder !== QUEUES && from.size === 0) this.lasts[holder] = Number.NEGATIVE_INFINITY;
    this.lookForEarliest();
    return item;
  }

  private lookForEarliest(): void {
    const { firsts } = this;
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

  get isFull(): boolean {
    return this.size === this.times.length;
  }

  /** Not to be called while it is full. */
  add(time: number, order: number, item: number): void {
    const at = (this.head + this.size) & (this.times.length - 1);
    this.times[at] = time;
    this.orders[at] = order;
    this.items[at] = item;
    if (this.size++ === 0) this.lookForFirst();
  }

  take(): number {
    if (this.size === 0) return -1;
    const item = this.items[this.head] ?? -1;
    this.head = (this.head + 1) & (this.times.length - 1);
    this.size--;
    // A wave has passed.
    if (this.size === 0 && this.times.length > FIRST_ITEMS) this.resize(() => true);
    this.lookForFirst();
    return item;
  }

  /** Drops what stands no more, and takes as much memory as leaves half of it free. */
  resize(isCurrent: IsCurrent): void {
    const { times, orders, items, size, head } = this;
    const mask = times.length - 1;
    let kept = 0;
    for (let i = 0; i < size; i++) {
      const from = (head + i) & mask;
      if (!isCurrent(items[from] ?? -1, times[from] ?? 0)) continue;
      // In place: what is written was read before.
      const to = (head + kept++) & mask;
      times[to] = times[from] ?? 0;
      orders[to] = orders[from] ?? 0;
      items[to] = items[from] ?? 0;
    }
    let length = FIRST_ITEMS;
    while (length < kept * 2) length *= 2;
    this.times = new Float64Array(length);
    this.orders = new Float64Array(length);
    this.items = new Int32Array(length);
    for (let i = 0; i < kept; i++) {
      const from = (head + i) & mask;
      this.times[i] = times[from] ?? 0;
      this.orders[i] = orders[from] ?? 0;
      this.items[i] = items[from] ?? 0;
    }
    this.head = 0;
    this.size = kept;
    this.lookForFirst();
  }

  private lookForFirst(): void {
    const none = this.size === 0;
    this.firstTime = none ? Number.POSITIVE_INFINITY : (this.times[this.head] ?? 0);
    this.firstOrder = none ? Number.POSITIVE_INFINITY : (this.orders[this.head] ?? 0);
  }
}

/** A binary heap of (moment, order, item) over typed arrays. */
class Heap {
  private times = new Float64Array(FIRST_ITEMS);
  private orders = new Float64Array(FIRST_ITEMS);
  private items = new Int32Array(FIRST_ITEMS);
  size = 0;

  get firstTime(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : (this.times[0] ?? 0);
  }

  get firstOrder(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : (this.orders[0] ?? 0);
  }

  get isFull(): boolean {
    return this.size === this.times.length;
  }

  /** Not to be called while it is full. */
  add(time: number, order: number, item: number): void {
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

  /** Drops what stands no more, and takes as much memory as leaves half of it free. */
  resize(isCurrent: IsCurrent): void {
    const { times, orders, items, size } = this;
    const kept: number[] = [];
    for (let i = 0; i < size; i++) if (isCurrent(items[i] ?? -1, times[i] ?? 0)) kept.push(i);
    let length = FIRST_ITEMS;
    while (length < kept.length * 2) length *= 2;
    this.times = new Float64Array(length);
    this.orders = new Float64Array(length);
    this.items = new Int32Array(length);
    this.size = 0;
    for (const i of kept) this.add(times[i] ?? 0, orders[i] ?? 0, items[i] ?? 0);
  }
}
