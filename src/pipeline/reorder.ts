import { ConntrackRows } from '../model/conntrack-rows.js';
import type { InputEvent } from '../model/event.js';
import { P_NSEC, P_SEC, PACKET_WORDS } from '../model/packet.js';
import { PacketRows } from '../model/packet-rows.js';
import {
  type AnyRows,
  appendRows,
  isRowEvent,
  type Moment,
  momentOf,
  type RowEvent,
  rowNanoseconds,
  rowSeconds,
} from './order.js';

/**
 * How far an input may be out of order, in time: `tcpdump -i any` is off by microseconds, dumpcap,
 * which empties one interface after the other, by its read time-out of 250 ms.
 */
const LOOK_AHEAD_SECONDS = 1;

/**
 * How far it may be out of order, in rows: bounds the memory of one stream (4.7 MB of packets).
 * Enough for 250 ms of 30,000 connections a second at four rows each.
 */
const LOOK_AHEAD_ROWS = 32_768;

/** Room made for small batches, so that many of them share one piece of memory. */
const SMALL_PIECE_ROWS = 1_024;

/** Spare row memory kept for the next batches: as one comes in one goes out. */
const MAX_SPARES = 2;

/** A sorted part of some rows. The piece alone owns their memory. */
interface Piece {
  readonly rows: AnyRows;
  readonly from: number;
  to: number;
}

interface Other extends Moment {
  readonly event: InputEvent;
}

/**
 * Puts one nearly sorted stream in order of time; rows of the same moment keep their order. A row
 * that comes later than the window (LOOK_AHEAD_…) is passed on at once, never dropped. Events without
 * rows keep their place among the batches by their time or, without one, by where they stood.
 *
 * Batches that are sorted pass without a copy: their memory is taken out of `rows` and other memory,
 * no smaller, is left in its place, so the giver may fill the same `rows` object again. The rows of
 * an event that comes out may be read until the next event is asked for.
 */
export async function* inOrder(stream: AsyncIterable<InputEvent>): AsyncGenerator<InputEvent> {
  const window = new Window();
  for await (const event of stream) {
    if (isRowEvent(event)) window.addRows(event);
    else window.addOther(event);
    for (let ready = window.take(false); ready !== undefined; ready = window.take(false)) {
      yield ready;
    }
  }
  for (let rest = window.take(true); rest !== undefined; rest = window.take(true)) yield rest;
}

class Window {
  /** Each sorted, and sorted among each other: one ends no later than the next begins. */
  private readonly pieces: Piece[] = [];
  /** Sorted by time. */
  private readonly others: Other[] = [];
  private heldRows = 0;
  /** The latest moment seen. */
  private sec = 0;
  private nsec = 0;
  /** A stream is of one node. */
  private node: string | undefined;
  private readonly spares: Uint32Array[] = [];
  /** Memory of the piece that was given out last: free when the next is asked for. */
  private lent: Uint32Array | undefined;

  addRows(event: RowEvent): void {
    const from = event.from ?? 0;
    const to = event.to ?? event.rows.length;
    if (to <= from) return;
    this.node = event.node;
    this.heldRows += to - from;
    const sorted = isSorted(event.rows, from, to);
    const last = sorted ? to - 1 : latest(event.rows, from, to);
    this.advance(rowSeconds(event.rows, last), rowNanoseconds(event.rows, last));
    if (sorted && this.appended(event.rows, from, to)) return;
    const piece = this.own(event.rows, from, to);
    this.place(sorted ? piece : this.sorted(piece));
  }

  addOther(event: InputEvent): void {
    const moment = momentOf(event) ?? { sec: this.sec, nsec: this.nsec };
    let i = this.others.length;
    while (i > 0 && isBefore(moment, this.others[i - 1])) i--;
    this.others.splice(i, 0, { ...moment, event });
    this.advance(moment.sec, moment.nsec);
  }

  /** The next event that nothing to come should precede; with `all`, the next in any case. */
  take(all: boolean): InputEvent | undefined {
    if (this.lent !== undefined) {
      this.keep(this.lent);
      this.lent = undefined;
    }
    const piece = this.pieces[0];
    const other = this.others[0];
    if (
      other !== undefined &&
      (piece === undefined || isBefore(other, momentAt(piece, piece.from)))
    ) {
      if (!all && !this.isPast(other)) return undefined;
      this.others.shift();
      return other.event;
    }
    if (piece === undefined) return undefined;
    const full = this.heldRows > LOOK_AHEAD_ROWS;
    if (!all && !full && !this.isPast(momentAt(piece, piece.to - 1))) return undefined;
    this.pieces.shift();
    this.heldRows -= piece.to - piece.from;
    this.lent = piece.rows.words;
    const { rows, from, to } = piece;
    const { node } = this;
    const marked = node === undefined ? undefined : { node };
    return rows instanceof PacketRows
      ? { type: 'packets', rows, from, to, ...marked }
      : { type: 'conntrack', rows, from, to, ...marked };
  }

  private isPast(moment: Moment): boolean {
    const age = this.sec - moment.sec;
    return age > LOOK_AHEAD_SECONDS || (age === LOOK_AHEAD_SECONDS && this.nsec >= moment.nsec);
  }

  private advance(sec: number, nsec: number): void {
    if (sec < this.sec || (sec === this.sec && nsec <= this.nsec)) return;
    this.sec = sec;
    this.nsec = nsec;
  }

  /** Copies a small sorted batch behind the last piece, if it fits there. */
  private appended(rows: AnyRows, from: number, to: number): boolean {
    const tail = this.pieces[this.pieces.length - 1];
    if (tail === undefined || !isSmall(rows, from, to) || tail.rows.stride !== rows.stride) {
      return false;
    }
    const room = Math.floor(tail.rows.words.length / rows.stride) - tail.rows.length;
    if (room < to - from || tail.to !== tail.rows.length) return false;
    if (isRowBefore(rows, from, tail.rows, tail.to - 1)) return false;
    appendRows(rows, from, to, tail.rows);
    tail.to = tail.rows.length;
    return true;
  }

  /**
   * Makes rows ours: a well filled batch by taking its memory, a small one by copying it (many small
   * ones would else hold far more memory than LOOK_AHEAD_ROWS stands for).
   */
  private own(theirs: AnyRows, from: number, to: number): Piece {
    if (isSmall(theirs, from, to)) {
      const mine = this.empty(theirs, Math.max(SMALL_PIECE_ROWS, to - from));
      appendRows(theirs, from, to, mine);
      return { rows: mine, from: 0, to: mine.length };
    }
    const mine = this.empty(theirs, theirs.words.length / theirs.stride);
    const left = mine.words;
    mine.words = theirs.words;
    mine.length = to;
    theirs.words = left;
    return { rows: mine, from, to };
  }

  /** Adds a sorted piece; what it overlaps is merged with it into one, held rows first among equals. */
  private place(piece: Piece): void {
    let first = this.pieces.length;
    for (; first > 0; first--) {
      const held = this.pieces[first - 1];
      if (held === undefined || !isRowBefore(piece.rows, piece.from, held.rows, held.to - 1)) break;
    }
    const overlap = this.pieces.splice(first);
    if (overlap.length === 0) {
      this.pieces.push(piece);
      return;
    }
    let count = piece.to - piece.from;
    for (const held of overlap) count += held.to - held.from;
    const merged = this.empty(piece.rows, count);
    let at = piece.from;
    for (const held of overlap) {
      let i = held.from;
      while (i < held.to) {
        let run = i;
        while (run < held.to && (at === piece.to || !isRowBefore(piece.rows, at, held.rows, run))) {
          run++;
        }
        appendRows(held.rows, i, run, merged);
        i = run;
        if (i === held.to) break;
        run = at;
        while (run < piece.to && isRowBefore(piece.rows, run, held.rows, i)) run++;
        appendRows(piece.rows, at, run, merged);
        at = run;
      }
      this.keep(held.rows.words);
    }
    appendRows(piece.rows, at, piece.to, merged);
    this.keep(piece.rows.words);
    this.pieces.push({ rows: merged, from: 0, to: merged.length });
  }

  /** A piece put in order; rows of the same moment keep theirs. */
  private sorted(piece: Piece): Piece {
    const { rows, from, to } = piece;
    const index = new Uint32Array(to - from);
    for (let i = 0; i < index.length; i++) index[i] = from + i;
    index.sort(
      (a, b) =>
        rowSeconds(rows, a) - rowSeconds(rows, b) ||
        rowNanoseconds(rows, a) - rowNanoseconds(rows, b) ||
        a - b,
    );
    const inTime = this.empty(rows, index.length);
    for (const row of index) appendRows(rows, row, row + 1, inTime);
    this.keep(rows.words);
    return { rows: inTime, from: 0, to: inTime.length };
  }

  /** Rows of the same kind with room for `count`. */
  private empty(like: AnyRows, count: number): AnyRows {
    const rows = like instanceof PacketRows ? new PacketRows(1) : new ConntrackRows(1);
    const words = count * like.stride;
    const i = this.spares.findIndex((spare) => spare.length >= words);
    rows.words = this.spares.splice(i < 0 ? this.spares.length : i, 1)[0] ?? new Uint32Array(words);
    return rows;
  }

  private keep(words: Uint32Array): void {
    if (this.spares.length < MAX_SPARES) this.spares.push(words);
  }
}

/** Fills less than half of its memory. */
function isSmall(rows: AnyRows, from: number, to: number): boolean {
  return (to - from) * rows.stride * 2 < rows.words.length;
}

function momentAt(piece: Piece, row: number): Moment {
  return { sec: rowSeconds(piece.rows, row), nsec: rowNanoseconds(piece.rows, row) };
}

function isBefore(a: Moment, b: Moment | undefined): boolean {
  return b !== undefined && (a.sec < b.sec || (a.sec === b.sec && a.nsec < b.nsec));
}

function isRowBefore(a: AnyRows, i: number, b: AnyRows, j: number): boolean {
  const difference = rowSeconds(a, i) - rowSeconds(b, j);
  return difference < 0 || (difference === 0 && rowNanoseconds(a, i) < rowNanoseconds(b, j));
}

function isSorted(rows: AnyRows, from: number, to: number): boolean {
  if (rows.stride !== PACKET_WORDS) {
    for (let i = from + 1; i < to; i++) if (isRowBefore(rows, i, rows, i - 1)) return false;
    return true;
  }
  // The same for packets, of which there are millions: two words a row and no calls.
  const { words } = rows;
  let sec = 0;
  let nsec = 0;
  for (let at = from * PACKET_WORDS; at < to * PACKET_WORDS; at += PACKET_WORDS) {
    const s = words[at + P_SEC] ?? 0;
    const n = words[at + P_NSEC] ?? 0;
    if (s < sec || (s === sec && n < nsec)) return false;
    sec = s;
    nsec = n;
  }
  return true;
}

function latest(rows: AnyRows, from: number, to: number): number {
  let last = from;
  for (let i = from + 1; i < to; i++) if (isRowBefore(rows, last, rows, i)) last = i;
  return last;
}
