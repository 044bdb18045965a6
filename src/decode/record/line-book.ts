const NEWLINE = 0x0a;
const BRACKET = 0x5b;
const CLOSING = 0x5d;
const STAR = 0x2a;
const FIRST_LINES = 1024;
/** Words of a line: its part, where it begins and ends there, and where what follows its counters begins. */
const PART = 0;
const FROM = 1;
const TO = 2;
const BODY = 3;
const HASH = 4;
const WORDS = 5;

/** Where the lines of a text lie; the text itself is not copied. A line's counters (`[11:630] `) are told apart. */
export class LineBook {
  length = 0;
  /** Lines that begin a table of iptables-save. */
  tables = 0;
  private readonly parts: Uint8Array[] = [];
  private lines = new Uint32Array(FIRST_LINES * WORDS);
  /** Lines by their hashes, numbers from 1, as far as they are in the index. */
  private places = new Uint32Array(16);
  private indexed = 0;

  /** Adds a part of whole lines; `addLine` goes through it. */
  addPart(part: Uint8Array): void {
    this.parts.push(part);
  }

  /** Adds the line of the last part that begins there; where the next one does. */
  addLine(from: number): number {
    const number = this.parts.length - 1;
    const part = this.parts[number] as Uint8Array;
    const newline = part.indexOf(NEWLINE, from);
    const to = newline < 0 ? part.length : newline;
    let body = from;
    if (part[from] === BRACKET) {
      const end = part.indexOf(CLOSING, from);
      if (end > 0 && end + 2 < to) body = end + 2;
    } else if (part[from] === STAR) this.tables++;
    if ((this.length + 1) * WORDS > this.lines.length) {
      const larger = new Uint32Array(this.lines.length * 2);
      larger.set(this.lines);
      this.lines = larger;
    }
    const at = this.length++ * WORDS;
    this.lines[at + PART] = number;
    this.lines[at + FROM] = from;
    this.lines[at + TO] = to;
    this.lines[at + BODY] = body;
    this.lines[at + HASH] = hashOf(part, body, to);
    return newline < 0 ? to : newline + 1;
  }

  /** All of a line, without its end. */
  line(number: number): Uint8Array {
    const { lines } = this;
    const at = number * WORDS;
    return this.partOf(at).subarray(lines[at + FROM] as number, lines[at + TO] as number);
  }

  /** A line's counters and the blank behind them; empty without. */
  counters(number: number): Uint8Array {
    const { lines } = this;
    const at = number * WORDS;
    return this.partOf(at).subarray(lines[at + FROM] as number, lines[at + BODY] as number);
  }

  /** A line without its counters. */
  body(number: number): Uint8Array {
    const { lines } = this;
    const at = number * WORDS;
    return this.partOf(at).subarray(lines[at + BODY] as number, lines[at + TO] as number);
  }

  /** Whether a line is there with this body of another book's line. */
  hasBody(number: number, other: LineBook, wanted: number): boolean {
    if (number < 0 || number >= this.length) return false;
    const [at, to] = [number * WORDS, wanted * WORDS];
    if (this.lines[at + HASH] !== other.lines[to + HASH]) return false;
    return same(this.body(number), other.body(wanted));
  }

  /** Whether two lines have the same counters. */
  hasCounters(number: number, other: LineBook, wanted: number): boolean {
    return same(this.counters(number), other.counters(wanted));
  }

  /** A line with the body of another book's; -1 if there is none, or none is in the index yet. */
  find(other: LineBook, wanted: number): number {
    const { places } = this;
    const mask = places.length - 1;
    let place = (other.lines[wanted * WORDS + HASH] as number) & mask;
    for (;;) {
      const number = (places[place] as number) - 1;
      if (number < 0 || this.hasBody(number, other, wanted)) return number;
      place = (place + 1) & mask;
    }
  }

  /** Enters at most so many more lines for `find`; whether there are others. Nothing may be added after the first call. */
  index(lines: number): boolean {
    if (this.indexed === 0) {
      let size = this.places.length;
      while (size < 2 * this.length) size *= 2;
      this.places = new Uint32Array(size);
    }
    const { places } = this;
    const mask = places.length - 1;
    const end = Math.min(this.length, this.indexed + lines);
    for (; this.indexed < end; this.indexed++) {
      const hash = this.lines[this.indexed * WORDS + HASH] as number;
      let place = hash & mask;
      for (; places[place] !== 0; place = (place + 1) & mask) {
        const other = (places[place] as number) - 1;
        // One of many that are the same ("#", "COMMIT") will do.
        if (this.lines[other * WORDS + HASH] === hash) break;
      }
      if (places[place] === 0) places[place] = this.indexed + 1;
    }
    return end < this.length;
  }

  private partOf(at: number): Uint8Array {
    return this.parts[this.lines[at + PART] as number] as Uint8Array;
  }
}

/** The lines of a text in parts. */
export function bookOf(parts: Iterable<Uint8Array>): LineBook {
  const book = new LineBook();
  for (const part of parts) {
    book.addPart(part);
    for (let at = 0; at < part.length; ) at = book.addLine(at);
  }
  return book;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** FNV-1a (a text's lines are compared after it). */
function hashOf(bytes: Uint8Array, from: number, to: number): number {
  let hash = 0x811c_9dc5 | 0;
  for (let i = from; i < to; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x0100_0193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
