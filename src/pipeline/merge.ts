import { ConntrackRows } from '../model/conntrack.js';
import type { InputEvent } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import { PacketRows } from '../model/packet.js';
import {
  appendRows,
  compareContent,
  isRowEvent,
  momentOf,
  type RowEvent,
  rowNanoseconds,
  rowSeconds,
} from './order.js';
import { inOrder } from './reorder.js';

/** A run of rows at least this long is handed on where it lies; shorter ones are gathered in one place. */
const LONG_RUN = 32;

/** Gathered rows after which a batch is handed on, so that they are still in the cache when read. */
const MAX_GATHERED_ROWS = 2_048;

/** What one stream has to give next. */
interface Head {
  readonly source: AsyncIterator<InputEvent>;
  /** Position among the streams as they were given. */
  readonly position: number;
  event: InputEvent;
  /** The row that is next; 0 for an event without rows. */
  row: number;
  /** The last row plus one; 1 for an event without rows. */
  end: number;
  sec: number;
  nsec: number;
}

/**
 * Merges streams, each nearly sorted by time (see `inOrder`), into one order: by time, then by kind
 * and content, and between events that nothing tells apart by the streams' position. Where the
 * streams are given in an order of their own (by path), the result is therefore the same in whatever
 * order a user named them. One stream's rows of the same moment keep their order.
 *
 * Events come in arrays, so that nothing is awaited per event; an array and the rows in it may be
 * read until the next is asked for. Memory: a bounded window a stream. Ends when all streams have
 * ended; on a failure, or when the receiver stops, the streams are closed.
 */
export async function* mergeByTime(
  streams: readonly AsyncIterable<InputEvent>[],
  interfaces: Interfaces,
): AsyncGenerator<readonly InputEvent[]> {
  const sources = streams.map((stream) => inOrder(stream));
  try {
    const heads = new Heads(interfaces);
    for (const [position, source] of sources.entries()) {
      const head = { source, position, event: NOTHING, row: 0, end: 0, sec: 0, nsec: 0 };
      if (await refill(head)) heads.add(head);
    }
    const batch = new Batch();
    for (let head = heads.first(); head !== undefined; head = heads.first()) {
      const from = head.row;
      heads.runFirst();
      batch.add(head.event, from, head.row);
      if (head.row < head.end) {
        heads.sink();
        if (!batch.isFull()) continue;
      }
      if (!batch.isEmpty()) {
        yield batch.events;
        batch.clear();
      }
      // Only now: asking for more hands the memory of what came before back to its owner.
      if (head.row < head.end) continue;
      if (await refill(head)) heads.sink();
      else heads.removeFirst();
    }
  } finally {
    for (const source of sources) await source.return(undefined);
  }
}

const NOTHING: InputEvent = { type: 'tick', time: 0n };

async function refill(head: Head): Promise<boolean> {
  for (;;) {
    const next = await head.source.next();
    if (next.done === true) return false;
    const event: InputEvent = next.value;
    head.event = event;
    if (isRowEvent(event)) {
      head.row = event.from ?? 0;
      head.end = event.to ?? event.rows.length;
      if (head.row >= head.end) continue;
      head.sec = rowSeconds(event.rows, head.row);
      head.nsec = rowNanoseconds(event.rows, head.row);
    } else {
      head.row = 0;
      head.end = 1;
      // Without a time of its own an event keeps its place in its stream: right behind what went before.
      const moment = momentOf(event);
      if (moment !== undefined) {
        head.sec = moment.sec;
        head.nsec = moment.nsec;
      }
    }
    return true;
  }
}

/** The streams' heads as a binary heap: the first to go is at the root. */
class Heads {
  private readonly heap: Head[] = [];
  private readonly interfaces: Interfaces;

  constructor(interfaces: Interfaces) {
    this.interfaces = interfaces;
  }

  first(): Head | undefined {
    return this.heap[0];
  }

  add(head: Head): void {
    this.heap.push(head);
    let i = this.heap.length - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.goesBefore(i, parent)) break;
      this.swap(i, parent);
      i = parent;
    }
  }

  removeFirst(): void {
    const last = this.heap.pop();
    if (last === undefined || this.heap.length === 0) return;
    this.heap[0] = last;
    this.sink();
  }

  /** Restores the order after the first head moved on. */
  sink(): void {
    let i = 0;
    for (;;) {
      const left = 2 * i + 1;
      if (left >= this.heap.length) return;
      const least =
        left + 1 < this.heap.length && this.goesBefore(left + 1, left) ? left + 1 : left;
      if (!this.goesBefore(least, i)) return;
      this.swap(i, least);
      i = least;
    }
  }

  /** Moves the first head on over all rows that no other stream precedes: at least one. */
  runFirst(): void {
    const head = this.heap[0];
    if (head === undefined) return;
    const { event, end } = head;
    const rival = this.heap.length > 2 && this.goesBefore(2, 1) ? this.heap[2] : this.heap[1];
    if (rival === undefined || !isRowEvent(event)) {
      head.row = end;
      return;
    }
    const { rows } = event;
    let row = head.row + 1;
    for (; row < end; row++) {
      const sec = rowSeconds(rows, row);
      if (sec > rival.sec) break;
      if (sec === rival.sec) {
        const nsec = rowNanoseconds(rows, row);
        if (nsec > rival.nsec) break;
        if (nsec === rival.nsec) {
          const order = compareContent(event, row, rival.event, rival.row, this.interfaces);
          if (order > 0 || (order === 0 && head.position > rival.position)) break;
        }
      }
    }
    head.row = row;
    if (row < end) {
      head.sec = rowSeconds(rows, row);
      head.nsec = rowNanoseconds(rows, row);
    }
  }

  private goesBefore(i: number, j: number): boolean {
    const a = this.heap[i];
    const b = this.heap[j];
    if (a === undefined || b === undefined) return false;
    if (a.sec !== b.sec) return a.sec < b.sec;
    if (a.nsec !== b.nsec) return a.nsec < b.nsec;
    const order = compareContent(a.event, a.row, b.event, b.row, this.interfaces);
    return order === 0 ? a.position < b.position : order < 0;
  }

  private swap(i: number, j: number): void {
    const a = this.heap[i];
    const b = this.heap[j];
    if (a === undefined || b === undefined) return;
    this.heap[i] = b;
    this.heap[j] = a;
  }
}

/** An event whose rows are still being gathered. */
type Open =
  | { type: 'packets'; node?: string; rows: PacketRows; from: number; to: number }
  | { type: 'conntrack'; node?: string; rows: ConntrackRows; from: number; to: number };

/** The events of one hand-over; short runs of rows are copied side by side into one event. */
class Batch {
  readonly events: InputEvent[] = [];
  private readonly packets = new PacketRows(MAX_GATHERED_ROWS);
  private readonly conntrack = new ConntrackRows(MAX_GATHERED_ROWS / 4);
  /** The last of `events`, if more rows of its type may be added to it. */
  private open: Open | undefined;

  add(event: InputEvent, from: number, to: number): void {
    if (!isRowEvent(event)) {
      this.events.push(event);
      this.open = undefined;
    } else if (to - from >= LONG_RUN) {
      this.events.push({ ...event, from, to });
      this.open = undefined;
    } else {
      const open =
        this.open?.type === event.type && this.open.node === event.node
          ? this.open
          : this.begin(event);
      appendRows(event.rows, from, to, open.rows);
      open.to = open.rows.length;
    }
  }

  isEmpty(): boolean {
    return this.events.length === 0;
  }

  isFull(): boolean {
    return this.packets.length + this.conntrack.length >= MAX_GATHERED_ROWS;
  }

  clear(): void {
    this.events.length = 0;
    this.packets.clear();
    this.conntrack.clear();
    this.open = undefined;
  }

  private begin(event: RowEvent): Open {
    const rows = event.type === 'packets' ? this.packets : this.conntrack;
    const open: Open =
      rows instanceof PacketRows
        ? { type: 'packets', rows, from: rows.length, to: rows.length }
        : { type: 'conntrack', rows, from: rows.length, to: rows.length };
    if (event.node !== undefined) open.node = event.node;
    this.events.push(open);
    this.open = open;
    return open;
  }
}
