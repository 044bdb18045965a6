import type { InputEvent } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import { P_NSEC, P_SEC, PACKET_WORDS } from '../model/packet.js';
import {
  compareContent,
  isRowEvent,
  momentOf,
  type RowEvent,
  rowNanoseconds,
  rowSeconds,
} from './order.js';
import { inOrder } from './reorder.js';

/** Events after which a batch is handed on, so that their rows are still in the cache when read. */
const MAX_BATCH = 1_024;

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
    const batch: InputEvent[] = [];
    while (heads.first() !== undefined) {
      const spent = gather(heads, batch);
      if (batch.length > 0) {
        yield batch;
        batch.length = 0;
      }
      // Only now: asking for more hands the memory of what came before back to its owner.
      if (spent === undefined) continue;
      if (await refill(spent)) heads.sink();
      else heads.removeFirst();
    }
  } finally {
    for (const source of sources) await source.return(undefined);
  }
}

/**
 * Moves events into the batch until it is full or a stream has nothing left at hand: that stream's head,
 * which is the first then. (Apart from the generator, since V8 makes plain functions faster.)
 */
function gather(heads: Heads, batch: InputEvent[]): Head | undefined {
  while (batch.length < MAX_BATCH) {
    const head = heads.first();
    if (head === undefined) return undefined;
    const { event, row } = head;
    heads.runFirst();
    batch.push(isRowEvent(event) ? sliceOf(event, row, head.row) : event);
    if (head.row === head.end) return head;
    heads.sink();
  }
  return undefined;
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
    let row = head.row + 1;
    if (event.type === 'packets') row = this.firstPast(head, event.rows.words, rival);
    else while (row < end && !this.isPast(head, row, rival)) row++;
    head.row = row;
    if (row < end) {
      head.sec = rowSeconds(event.rows, row);
      head.nsec = rowNanoseconds(event.rows, row);
    }
  }

  /** The first packet behind the head's that does not go before the rival: two words a row, as there are millions. */
  private firstPast(head: Head, words: Uint32Array, rival: Head): number {
    const { end } = head;
    const { sec, nsec } = rival;
    let row = head.row + 1;
    for (let at = row * PACKET_WORDS; row < end; row++, at += PACKET_WORDS) {
      const s = words[at + P_SEC] as number;
      if (s < sec) continue;
      if (s > sec) break;
      const n = words[at + P_NSEC] as number;
      if (n > nsec) break;
      if (n === nsec && this.isPast(head, row, rival)) break;
    }
    return row;
  }

  /** Whether a row of the head's event goes behind the rival. */
  private isPast(head: Head, row: number, rival: Head): boolean {
    const { event } = head;
    if (!isRowEvent(event)) return false;
    const sec = rowSeconds(event.rows, row);
    if (sec !== rival.sec) return sec > rival.sec;
    const nsec = rowNanoseconds(event.rows, row);
    if (nsec !== rival.nsec) return nsec > rival.nsec;
    const order = compareContent(event, row, rival.event, rival.row, this.interfaces);
    return order === 0 ? head.position > rival.position : order > 0;
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

/** A part of an event's rows, where they lie. */
function sliceOf(event: RowEvent, from: number, to: number): RowEvent {
  // Of packets there may be an event for each row, and an object written out costs least.
  return event.type === 'packets' && event.node === undefined
    ? { type: 'packets', rows: event.rows, from, to }
    : { ...event, from, to };
}
