import type { Chain, Match, Rule, Target } from '../../model/ruleset.js';
import { type ParsedRule, parseRule } from './rule-text.js';
import { placeOf, type SavedText, viewOf } from './saved-text.js';

const NONE = 0xffff_ffff;
const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const BRACKET = 0x5b;

/** Beginnings of the two halves of a fingerprint. */
const BEGIN_A = 0x811c_9dc5 | 0;
const BEGIN_B = 0x0102_0304;
/** A word of newlines. */
const NEWLINES = 0x0a0a_0a0a;

/** `:KUBE-SVC-… - [0:0]` behind the name: the policy, and the counters where the dump has them. */
const DECLARED = /^ (\S+)(?: \[(\d{1,20}):(\d{1,20})\])?\s*$/;

/**
 * Words of a chain, a cache line of most processors: where its name begins, its bytes, their hash, whether
 * it is declared (1 or 0), its first and its last run, and the name itself if it is not longer than that.
 */
const NAME = 0;
const NAME_BYTES = 1;
const HASH = 2;
const IS_DECLARED = 3;
const FIRST = 4;
const LAST = 5;
const TEXT = 6;
const CHAIN_WORDS = 16;
const TEXT_BYTES = 4 * (CHAIN_WORDS - TEXT);

/** Words of a run of rules that follow one another: from, up to, the number of its first line, the next run. */
const FROM = 0;
const TO = 1;
const LINE = 2;
const NEXT = 3;
const RUN_WORDS = 4;

/** `KUBE-SEP-` and a hash; its first eight bytes as words. */
const ENDPOINT_BYTES = 25;
const KUBE = 0x4b55_4245;
const MINUS_SEP = 0x2d53_4550;

const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * The chains of one table of a dump in columns, by their names: where each is declared and where its
 * rules lie in the dump's text. A node can have 100,000 of them, so objects are made for a chain when it
 * is first asked for, for its rules when the chain is first asked for them, and for a rule's words when
 * they are. As a map it is in the order of the dump.
 */
export class SavedChains implements ReadonlyMap<string, SavedChain> {
  readonly text: SavedText;
  private length = 0;
  /** Rows of CHAIN_WORDS. */
  private chains = new Uint32Array(CHAIN_WORDS * 64);
  /** Chains by their names' hashes: numbers from 1, 0 for a free place; twice as many places as chains at least. */
  private places = new Uint32Array(128);
  private runs = 0;
  /** Rows of RUN_WORDS. */
  private lines = new Uint32Array(RUN_WORDS * 64);
  private a = BEGIN_A;
  private b = BEGIN_B;
  private nextA = 0;
  private nextB = 0;
  private readonly made = new Map<number, SavedChain>();

  constructor(text: SavedText) {
    this.text = text;
  }

  /** A number for the chains and rules whatever their counters; see `rulesFingerprint`. */
  get fingerprint(): string {
    return `${(this.a >>> 0).toString(16)}-${(this.b >>> 0).toString(16)}`;
  }

  /**
   * Goes through a line of a block from `from` on and gives the place of its end, a newline, which there must
   * be. What lies between counts for the fingerprint once `count` is called.
   */
  endOfLine(view: DataView, from: number): number {
    let { a, b } = this;
    let at = from;
    for (;;) {
      const word = view.getInt32(at, true);
      // A byte of this is zero where there is a newline; the lowest that shows is one.
      const mask = word ^ NEWLINES;
      const found = (mask - 0x0101_0101) & ~mask & 0x8080_8080;
      if (found !== 0) {
        const bytes = (31 - Math.clz32(found & -found)) >>> 3;
        // What is left, and the length: moving a character from one line to the next is seen.
        const rest = (word & ((1 << (8 * bytes)) - 1)) ^ ((at + bytes - from) << 24);
        a ^= rest;
        this.nextA = Math.imul((a << 15) | (a >>> 17), 0x0100_0193);
        b = (b + rest) | 0;
        this.nextB = Math.imul((b << 13) | (b >>> 19), 0x01ab_cdef);
        return at + bytes;
      }
      a ^= word;
      a = Math.imul((a << 15) | (a >>> 17), 0x0100_0193);
      b = (b + word) | 0;
      b = Math.imul((b << 13) | (b >>> 19), 0x01ab_cdef);
      at += 4;
    }
  }

  /** The line that `endOfLine` was last called for counts. */
  count(): void {
    this.a = this.nextA;
    this.b = this.nextB;
  }

  /** Makes another text count, as a line. */
  countText(text: string): void {
    this.endOfLine(viewOf(`${text}\n`).view, 0);
    this.count();
  }

  /** Adds a chain whose name lies so in the current block; -1 if there is one. */
  add(from: number, to: number, isDeclared: boolean): number {
    const { base } = this.text;
    const block = this.text.viewAt(base);
    const hash = hashOf(block, from, to);
    const place = this.placeOf(hash, block, from, to);
    if (this.places[place] !== 0) return -1;
    const chain = this.length++;
    if (CHAIN_WORDS * this.length > this.chains.length) this.chains = grown(this.chains);
    const row = CHAIN_WORDS * chain;
    this.chains[row + NAME] = base + from;
    this.chains[row + NAME_BYTES] = to - from;
    this.chains[row + HASH] = hash;
    this.chains[row + IS_DECLARED] = isDeclared ? 1 : 0;
    this.chains[row + FIRST] = NONE;
    this.chains[row + LAST] = NONE;
    if (to - from <= TEXT_BYTES) {
      let at = from;
      let word = row + TEXT;
      for (; at + 4 <= to; at += 4) this.chains[word++] = block.getUint32(at);
      if (at < to) this.chains[word] = firstBytes(block.getUint32(at), to - at);
    }
    this.places[place] = chain + 1;
    if (2 * this.length >= this.places.length) this.rehash();
    return chain;
  }

  /** The chain with the name that lies so in a block; -1 if there is none. */
  find(block: DataView, from: number, to: number): number {
    return (this.places[this.placeOf(hashOf(block, from, to), block, from, to)] ?? 0) - 1;
  }

  /** Whether that is a chain's name. */
  isNamed(chain: number, block: DataView, from: number, to: number): boolean {
    const length = to - from;
    if (length !== this.nameBytes(chain)) return false;
    if (length > TEXT_BYTES) return this.isNamedAtLength(chain, block, from, to);
    let word = CHAIN_WORDS * chain + TEXT;
    let at = from;
    for (; at + 4 <= to; at += 4) {
      if (block.getUint32(at) !== this.chains[word++]) return false;
    }
    return at === to || firstBytes(block.getUint32(at), to - at) === this.chains[word];
  }

  /** Whether the text from `from` on begins with a chain's name, and a blank or the end comes behind it. */
  isNamedFirst(chain: number, block: DataView, from: number, end: number): boolean {
    const to = from + this.nameBytes(chain);
    if (to > end || (to < end && block.getUint8(to) !== SPACE)) return false;
    return this.isNamed(chain, block, from, to);
  }

  /** Adds a rule's line to a chain: from its first byte up to the next line's. */
  addLine(chain: number, from: number, to: number, line: number): void {
    const { base } = this.text;
    const last = this.chains[CHAIN_WORDS * chain + LAST] ?? NONE;
    // A run does not go on from one block to the next.
    if (last !== NONE && from > 0 && this.lines[RUN_WORDS * last + TO] === base + from) {
      this.lines[RUN_WORDS * last + TO] = base + to;
      return;
    }
    const run = this.runs++;
    if (RUN_WORDS * this.runs > this.lines.length) this.lines = grown(this.lines);
    const row = RUN_WORDS * run;
    this.lines[row + FROM] = base + from;
    this.lines[row + TO] = base + to;
    this.lines[row + LINE] = line;
    this.lines[row + NEXT] = NONE;
    if (last === NONE) this.chains[CHAIN_WORDS * chain + FIRST] = run;
    else this.lines[RUN_WORDS * last + NEXT] = run;
    this.chains[CHAIN_WORDS * chain + LAST] = run;
  }

  /** The first run of a chain's rules; -1 if it has none. */
  runsOf(chain: number): number {
    return (this.chains[CHAIN_WORDS * chain + FIRST] ?? NONE) | 0;
  }

  /** The run behind another one; -1 if there is none. */
  nextRun(run: number): number {
    return (this.lines[RUN_WORDS * run + NEXT] ?? NONE) | 0;
  }

  /** Address of a run's first byte. */
  fromOf(run: number): number {
    return this.lines[RUN_WORDS * run + FROM] ?? 0;
  }

  /** Address behind a run's last byte. */
  toOf(run: number): number {
    return this.lines[RUN_WORDS * run + TO] ?? 0;
  }

  /** The number of a run's first line. */
  lineOf(run: number): number {
    return this.lines[RUN_WORDS * run + LINE] ?? 0;
  }

  nameOf(chain: number): string {
    const from = this.nameAddress(chain);
    return this.decode(from, from + this.nameBytes(chain));
  }

  nameAddress(chain: number): number {
    return this.chains[CHAIN_WORDS * chain + NAME] ?? 0;
  }

  nameBytes(chain: number): number {
    return this.chains[CHAIN_WORDS * chain + NAME_BYTES] ?? 0;
  }

  /** Whether a chain's name is as long as those of endpoints' chains, and begins like them. */
  isEndpoint(chain: number): boolean {
    const row = CHAIN_WORDS * chain;
    return (
      this.chains[row + NAME_BYTES] === ENDPOINT_BYTES &&
      this.chains[row + TEXT] === KUBE &&
      this.chains[row + TEXT + 1] === MINUS_SEP
    );
  }

  /** What its declaration says behind a chain's name; `undefined` if it is not declared. */
  declarationOf(chain: number): string | undefined {
    if (this.chains[CHAIN_WORDS * chain + IS_DECLARED] !== 1) return undefined;
    const from = this.nameAddress(chain) + this.nameBytes(chain);
    const bytes = this.text.bytesAt(from);
    return decoder.decode(bytes.subarray(placeOf(from), bytes.indexOf(NEWLINE, placeOf(from))));
  }

  /** The text between two addresses in one block. */
  decode(from: number, to: number): string {
    const place = placeOf(from);
    return decoder.decode(this.text.bytesAt(from).subarray(place, place + to - from));
  }

  get size(): number {
    return this.length;
  }

  get(name: string): SavedChain | undefined {
    const chain = this.findNamed(name);
    return chain < 0 ? undefined : this.chain(chain);
  }

  has(name: string): boolean {
    return this.findNamed(name) >= 0;
  }

  *keys(): Generator<string, undefined> {
    for (let i = 0; i < this.length; i++) yield this.nameOf(i);
  }

  *values(): Generator<SavedChain, undefined> {
    for (let i = 0; i < this.length; i++) yield this.chain(i);
  }

  *entries(): Generator<[string, SavedChain], undefined> {
    for (const chain of this.values()) yield [chain.name, chain];
  }

  [Symbol.iterator](): Generator<[string, SavedChain], undefined> {
    return this.entries();
  }

  forEach(
    visit: (chain: SavedChain, name: string, map: ReadonlyMap<string, SavedChain>) => void,
  ): void {
    for (const [name, chain] of this) visit(chain, name, this);
  }

  private findNamed(name: string): number {
    const { view, length } = viewOf(name);
    return this.find(view, 0, length);
  }

  private chain(number: number): SavedChain {
    let chain = this.made.get(number);
    if (chain === undefined) {
      chain = new SavedChain(this, number);
      this.made.set(number, chain);
    }
    return chain;
  }

  /** The place of a name, or the free one where it would be. */
  private placeOf(hash: number, block: DataView, from: number, to: number): number {
    const mask = this.places.length - 1;
    let place = hash & mask;
    for (;;) {
      const chain = (this.places[place] ?? 0) - 1;
      if (chain < 0) return place;
      const known = this.chains[CHAIN_WORDS * chain + HASH];
      if (known === hash && this.isNamed(chain, block, from, to)) return place;
      place = (place + 1) & mask;
    }
  }

  private isNamedAtLength(chain: number, block: DataView, from: number, to: number): boolean {
    const address = this.nameAddress(chain);
    const other = this.text.viewAt(address);
    const start = placeOf(address);
    for (let i = to - from - 1; i >= 0; i--) {
      if (block.getUint8(from + i) !== other.getUint8(start + i)) return false;
    }
    return true;
  }

  private rehash(): void {
    this.places = new Uint32Array(2 * this.places.length);
    const mask = this.places.length - 1;
    for (let chain = 0; chain < this.length; chain++) {
      let place = (this.chains[CHAIN_WORDS * chain + HASH] ?? 0) & mask;
      while (this.places[place] !== 0) place = (place + 1) & mask;
      this.places[place] = chain + 1;
    }
  }
}

/** The first one to three bytes of a word. */
function firstBytes(word: number, count: number): number {
  return word >>> (32 - 8 * count);
}

/** As `endOfLine` does it, its upper half mixed in: the lower bits choose the place. */
function hashOf(block: DataView, from: number, to: number): number {
  let h = BEGIN_A;
  let at = from;
  for (; at + 4 <= to; at += 4) {
    h ^= block.getInt32(at);
    h = Math.imul((h << 15) | (h >>> 17), 0x0100_0193);
  }
  if (at < to) h = Math.imul(h ^ firstBytes(block.getUint32(at), to - at), 0x0100_0193);
  return (h ^ (h >>> 15)) >>> 0;
}

function grown(column: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(2 * column.length);
  larger.set(column);
  return larger;
}

/** A chain of a dump. */
export class SavedChain implements Chain {
  readonly name: string;
  readonly policy?: string;
  readonly packets?: number;
  readonly bytes?: number;
  /** The dump's chains, and the number that this one has there. */
  readonly all: SavedChains;
  readonly number: number;
  private made: readonly Rule[] | undefined;

  constructor(all: SavedChains, number: number) {
    this.all = all;
    this.number = number;
    this.name = all.nameOf(number);
    const [, policy = '-', packets, bytes] = DECLARED.exec(all.declarationOf(number) ?? '') ?? [];
    if (policy !== '-') this.policy = policy;
    if (packets !== undefined) {
      this.packets = Number(packets);
      this.bytes = Number(bytes);
    }
  }

  get rules(): readonly Rule[] {
    this.made ??= this.makeRules();
    return this.made;
  }

  private makeRules(): readonly Rule[] {
    const rules: Rule[] = [];
    const texts = new RuleTexts(this);
    while (texts.next()) rules.push(new SavedRule(texts));
    return rules;
  }
}

class SavedRule implements Rule {
  readonly line: number;
  readonly text: string;
  readonly packets?: number;
  readonly bytes?: number;
  private parsed: ParsedRule | undefined;

  constructor(at: RuleTexts) {
    this.line = at.line;
    this.text = at.text.slice(at.start, at.end);
    this.parsed = undefined;
    if (at.text.charCodeAt(at.lineStart) === BRACKET) {
      const colon = at.text.indexOf(':', at.lineStart);
      this.packets = Number(at.text.slice(at.lineStart + 1, colon));
      this.bytes = Number(at.text.slice(colon + 1, at.text.indexOf(']', colon)));
    }
  }

  get matches(): readonly Match[] {
    return this.words.matches;
  }

  get target(): Target | undefined {
    return this.words.target;
  }

  private get words(): ParsedRule {
    this.parsed ??= parseRule(this.text);
    return this.parsed;
  }
}

/**
 * The texts of a chain's rules in order, where they lie: reading characters of a string that was cut
 * out of another costs V8 several times as much. `next` goes to the first, then to each further one.
 */
export class RuleTexts {
  /** The rule reaches from `start` to `end` in this text. */
  text = '';
  start = 0;
  end = 0;
  /** Of a dump: the number of the line, and where in the text it begins. */
  line = 0;
  lineStart = 0;
  private following = 0;
  private run = -1;
  private at = 0;
  private readonly chain: Chain;

  constructor(chain: Chain) {
    this.chain = chain;
    if (chain instanceof SavedChain) this.run = chain.all.runsOf(chain.number);
  }

  /** false: there is no further one. */
  next(): boolean {
    const { chain } = this;
    if (chain instanceof SavedChain) return this.nextLine(chain.all);
    const rule = chain.rules[this.at++];
    if (rule === undefined) return false;
    this.text = rule.text;
    this.end = rule.text.length;
    return true;
  }

  private nextLine(chains: SavedChains): boolean {
    if (this.following >= this.text.length) {
      const { run } = this;
      if (run < 0) return false;
      this.text = chains.decode(chains.fromOf(run), chains.toOf(run));
      this.line = chains.lineOf(run) - 1;
      this.run = chains.nextRun(run);
      this.following = 0;
    }
    const { text } = this;
    const from = this.following;
    const newline = text.indexOf('\n', from);
    this.following = newline < 0 ? text.length : newline + 1;
    let end = newline < 0 ? text.length : newline;
    if (end > from && text.charCodeAt(end - 1) === RETURN) end--;
    // `[11:630] -A CHAIN …` or `-A CHAIN …`: the reader has seen that it is so.
    const option = text.charCodeAt(from) === BRACKET ? text.indexOf(' ', from) + 1 : from;
    const blank = text.indexOf(' ', option + 3);
    this.start = blank < 0 || blank >= end ? end : blank + 1;
    this.end = end;
    this.lineStart = from;
    this.line++;
    return true;
  }
}
