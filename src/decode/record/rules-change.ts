import type { RuleSet } from '../../model/ruleset.js';
import type { ByteReader } from './byte-reader.js';
import { ByteWriter } from './byte-writer.js';
import { ITEM_RULES, ITEM_RULES_CHANGE, MAX_ITEM_BYTES } from './items.js';
import { bookOf, LineBook } from './line-book.js';
import { textOfRules } from './rules-text.js';

// How a line of changed rules is told, by lines of the rules before: number of the first one as the difference
// from the one that would be next.
/** As many lines as follow one another there. */
const COPY = 1;
/** One line with other counters. */
const COUNTED = 2;
/** A line that is new. */
const NEW = 3;

/** Changes are gathered in pieces of this size. */
const PIECE_BYTES = 256 * 1024;
/** Lines that are entered into an index in the time of one that is compared. */
const INDEX_LINES = 4;
/** Rules that were cut into so many lines would be nothing else; a node has 400,000. */
const MAX_LINES = 64 * 1024 * 1024;

/**
 * Puts a rule set into words, some lines at a time: a node can have 400,000 rules, and traffic must not
 * wait for them. Without `before` the text is told as it is, else as what differs.
 */
export class RulesJob {
  /** What the rules that come next are told by, once it is `done`. */
  book = new LineBook();
  done = false;
  private readonly rules: RuleSet;
  private readonly head: string;
  private before: LineBook | undefined;
  private text: Iterator<Uint8Array>;
  private rewritten = false;
  private part: Uint8Array = new Uint8Array(0);
  private at = 0;
  /** The lines of the rules before can be looked up. */
  private isIndexed = false;
  private out = new ByteWriter();
  private pieces: Uint8Array[] = [];
  /** The line of the rules before that is expected, and how many are the same up to there. */
  private next = 0;
  private copied = 0;
  /** From the line that was expected to the first of these. */
  private skipped = 0;

  constructor(rules: RuleSet, head: string, before: LineBook | undefined) {
    this.rules = rules;
    this.head = head;
    this.before = before;
    this.text = textOfRules(rules);
    this.begin();
  }

  /** Goes on with at most so many lines; whether there is more to do. */
  work(lines: number): boolean {
    if (!this.isIndexed) {
      this.isIndexed = this.before?.index(lines * INDEX_LINES) !== true;
      return true;
    }
    for (let left = lines; left > 0; left--) {
      if (this.at >= this.part.length && !this.nextPart()) {
        this.done = true;
        return false;
      }
      this.at = this.book.addLine(this.at);
      if (this.before !== undefined) this.compare(this.before, this.book.length - 1);
      if (this.out.length >= PIECE_BYTES) this.cut();
    }
    return true;
  }

  /** The item, in pieces; `undefined` if it is longer than one may be. */
  item(): readonly Uint8Array[] | undefined {
    this.flush();
    this.cut();
    const length = this.pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length > MAX_ITEM_BYTES / 2) return undefined;
    const start = new ByteWriter();
    start.byte(this.before === undefined ? ITEM_RULES : ITEM_RULES_CHANGE);
    start.number(length);
    const item = [start.written, ...this.pieces];
    // The book is kept until other rules come; what it was made with is not.
    this.pieces = [];
    this.before = undefined;
    return item;
  }

  private begin(): void {
    this.out.text(this.head);
    if (this.before !== undefined) this.out.number(this.before.length);
  }

  private nextPart(): boolean {
    const { done, value } = this.text.next();
    if (done === true) return this.restarts();
    this.book.addPart(value);
    this.part = value;
    this.at = 0;
    if (this.before === undefined) {
      this.cut();
      this.pieces.push(value);
    }
    return true;
  }

  /** Text of several dumps is not that of this one alone. */
  private restarts(): boolean {
    const { rules } = this;
    if (this.rewritten || rules.kind !== 'iptables') return false;
    if (this.book.tables === rules.tables.size) return false;
    this.rewritten = true;
    this.text = textOfRules(rules, true);
    this.book = new LineBook();
    [this.at, this.next, this.copied, this.skipped] = [0, 0, 0, 0];
    this.part = new Uint8Array(0);
    this.out = new ByteWriter();
    this.pieces = [];
    this.begin();
    return this.nextPart();
  }

  private compare(before: LineBook, line: number): void {
    const { book } = this;
    const expected = this.next;
    const found = before.hasBody(expected, book, line) ? expected : before.find(book, line);
    if (found < 0) {
      this.flush();
      const bytes = book.line(line);
      this.out.byte(NEW);
      this.out.number(bytes.length);
      this.out.raw(bytes);
      return;
    }
    const isCopy = before.hasCounters(found, book, line);
    if (isCopy && found === expected) {
      this.copied++;
      this.next++;
      return;
    }
    this.flush();
    const step = found - this.next;
    if (isCopy) {
      this.skipped = step;
      this.copied = 1;
    } else {
      const counters = book.counters(line);
      this.out.byte(COUNTED);
      this.out.signed(step);
      this.out.number(counters.length);
      this.out.raw(counters);
    }
    this.next = found + 1;
  }

  private flush(): void {
    if (this.copied === 0) return;
    this.out.byte(COPY);
    this.out.signed(this.skipped);
    this.out.number(this.copied);
    this.copied = 0;
    this.skipped = 0;
  }

  private cut(): void {
    if (this.out.length === 0) return;
    this.pieces.push(this.out.written);
    this.out = new ByteWriter();
  }
}

/** The text of rules that are told as a change, read from behind the head; `undefined` if it is none of these rules. */
export function changedText(rules: RuleSet, input: ByteReader): Uint8Array | undefined {
  const before = bookOf(textOfRules(rules));
  if (input.number() !== before.length) return undefined;
  const text = new ByteWriter();
  let next = 0;
  let lines = 0;
  const add = (...parts: readonly Uint8Array[]): void => {
    for (const part of parts) text.raw(part);
    text.byte(0x0a);
    lines++;
  };
  while (input.left > 0 && !input.failed) {
    if (text.length > MAX_ITEM_BYTES / 2 || lines > MAX_LINES) return undefined;
    const kind = input.byte();
    if (kind === NEW) {
      add(input.raw(input.number()));
      continue;
    }
    next += input.signed();
    if (kind === COUNTED) {
      if (next < 0 || next >= before.length) return undefined;
      add(input.raw(input.number()), before.body(next++));
    } else if (kind === COPY) {
      const count = input.number();
      if (next < 0 || count > before.length - next) return undefined;
      for (const end = next + count; next < end; ) {
        add(before.line(next++));
        if (text.length > MAX_ITEM_BYTES / 2) return undefined;
      }
    } else return undefined;
  }
  return input.failed ? undefined : text.written;
}
