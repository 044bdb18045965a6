import { formatNanos, type Nanos } from '../model/time.js';

/**
 * Memory is taken in pieces of this size: some twenty connections, so that it is seldom asked for, and what a
 * slow reader leaves waiting holds on to little more than itself.
 */
const PIECE_BYTES = 64 * 1024;
/** What was told at once may have taken more; so much is kept for the next. */
const MOST_KEPT_BYTES = 2 * 1024 * 1024;
/** Below this a loop copies faster than a call. */
const COPY_BY_HAND = 16;
/** Digits of the largest number that is written as an integer of 31 bits. */
const MAX_DIGITS = 10;
/** The length of `2026-11-22T19:55:00.200100123Z`, for years of four digits. */
const TIME_BYTES = 30;
const SECOND_BYTES = 20;

const ZERO = 0x30;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const DELETE = 0x7f;

const encoder = new TextEncoder();

/** What a terminal would obey and JSON.stringify leaves as it is: DEL, C1, bidirectional controls, separators. */
const OBEYED = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Any text as a JSON string that is also safe to look at: it reads back as the same text. */
export function quote(value: string): string {
  return JSON.stringify(value).replace(
    OBEYED,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** A piece of text that is written often, as bytes. */
export function fragment(text: string): Uint8Array {
  return encoder.encode(text);
}

/** A second and its text up to the fraction. */
class Second {
  begin = 0n;
  known = false;
  readonly text = new Uint8Array(SECOND_BYTES);
}

/**
 * Text as bytes, one after the other in the same memory until they are taken: a line costs no string, and
 * what lines have in common is copied rather than made again.
 */
export class Lines {
  private bytes = Buffer.allocUnsafeSlow(PIECE_BYTES);
  /** What was written since the last `take` stands between these. */
  private begin = 0;
  private end = 0;
  // A connection's beginning and its end often lie in two.
  private latest = new Second();
  private other = new Second();

  /** Bytes that were written since the last `take`. */
  get length(): number {
    return this.end - this.begin;
  }

  /** What was written since the last call, which is the receiver's own: nothing is written there until `release`. */
  take(): Buffer {
    const taken = this.bytes.subarray(this.begin, this.end);
    this.begin = this.end;
    return taken;
  }

  /**
   * Nobody needs any more what was taken last, nor what was before: its memory is written again. Taking memory anew
   * for all that is told makes V8 collect all garbage, not only the young, once a second.
   */
  release(): void {
    if (this.length > 0) return;
    if (this.bytes.length > MOST_KEPT_BYTES) this.bytes = Buffer.allocUnsafeSlow(PIECE_BYTES);
    this.begin = 0;
    this.end = 0;
  }

  put(piece: Uint8Array): void {
    const at = this.claim(piece.length);
    const { bytes } = this;
    if (piece.length > COPY_BY_HAND) bytes.set(piece, at);
    else for (let i = 0; i < piece.length; i++) bytes[at + i] = piece[i] ?? 0;
  }

  /** Characters below 128 only. */
  ascii(text: string): void {
    const at = this.claim(text.length);
    const { bytes } = this;
    for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  }

  /** Any text as it is, in UTF-8. */
  text(text: string): void {
    // At most three bytes a UTF-16 unit.
    const at = this.claim(text.length * 3);
    const { written } = encoder.encodeInto(text, this.bytes.subarray(at));
    this.end = at + written;
  }

  /** Any text as a JSON string; see `quote`. */
  quoted(text: string): void {
    const at = this.claim(text.length + 2);
    const { bytes } = this;
    bytes[at] = QUOTE;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      if (c < SPACE || c >= DELETE || c === QUOTE || c === BACKSLASH) {
        this.end = at;
        this.text(quote(text));
        return;
      }
      bytes[at + 1 + i] = c;
    }
    bytes[at + 1 + text.length] = QUOTE;
  }

  /** As JSON has it; the number must be finite. */
  number(value: number): void {
    if (value !== (value | 0) || value < 0) {
      this.ascii(String(value));
      return;
    }
    const at = this.claim(MAX_DIGITS);
    let digits = 1;
    for (let bound = 10; digits < MAX_DIGITS && value >= bound; bound *= 10) digits++;
    this.digits(value, at, digits);
    this.end = at + digits;
  }

  /** RFC 3339 with nanoseconds. Times of one second share its text: only the fraction is written anew. */
  time(at: Nanos): void {
    let fraction = this.within(at);
    if (fraction < 0) {
      [this.latest, this.other] = [this.other, this.latest];
      fraction = this.within(at);
    }
    if (fraction < 0) {
      const whole = formatNanos(at);
      if (whole.length !== TIME_BYTES) {
        this.ascii(whole);
        return;
      }
      fraction = Number(whole.slice(SECOND_BYTES, -1));
      this.latest.begin = at - BigInt(fraction);
      this.latest.known = true;
      encoder.encodeInto(whole.slice(0, SECOND_BYTES), this.latest.text);
    }
    const to = this.claim(TIME_BYTES);
    const { bytes } = this;
    const { text } = this.latest;
    bytes.set(text, to);
    this.digits(fraction, to + SECOND_BYTES, 9);
    bytes[to + TIME_BYTES - 1] = 0x5a; // Z
  }

  /** Nanoseconds since the latest second began, -1 if it is another one. */
  private within(at: Nanos): number {
    const { begin, known } = this.latest;
    const fraction = Number(at - begin);
    return known && fraction >= 0 && fraction < 1_000_000_000 ? fraction : -1;
  }

  private digits(value: number, at: number, count: number): void {
    const { bytes } = this;
    let left = value;
    for (let i = at + count - 1; i >= at; i--) {
      const tens = (left / 10) | 0;
      bytes[i] = ZERO + left - tens * 10;
      left = tens;
    }
  }

  /** Where so many bytes can be written, which then count as written. */
  private claim(count: number): number {
    if (this.end + count > this.bytes.length) this.makeRoom(count);
    const at = this.end;
    this.end = at + count;
    return at;
  }

  /** Takes memory anew: what was taken from the old is the receivers'. */
  private makeRoom(count: number): void {
    const { bytes, begin, end, length } = this;
    const needed = length + count;
    // A line that is longer than a piece grows by doubling.
    this.bytes = Buffer.allocUnsafeSlow(needed > PIECE_BYTES / 2 ? 2 * needed : PIECE_BYTES);
    bytes.copy(this.bytes, 0, begin, end);
    this.begin = 0;
    this.end = length;
  }
}
