import type { Chain, Match, Rule, Target } from '../../model/ruleset.js';
import { type ParsedRule, parseRule } from './rule-text.js';

const NONE = 0xffff_ffff;

/**
 * The rules of one dump in columns: where each one's text lies in the dump's own text, and its
 * counters. A node can hold 400,000 rules, of which most are never looked at: an object is made for
 * a rule when its chain is first asked for its rules, and its words are read when first asked for.
 */
export class SavedRules {
  private readonly texts: string[] = [];
  private length = 0;
  private text = new Uint32Array(256);
  private start = new Uint32Array(256);
  private end = new Uint32Array(256);
  private line = new Uint32Array(256);
  /** The next rule of the same chain. */
  private next = new Uint32Array(256);
  /** NaN where the dump has no counters. */
  private packets = new Float64Array(256);
  private bytes = new Float64Array(256);

  /** Keeps a piece of the dump, of which rules will be parts; its number. */
  keep(text: string): number {
    return this.texts.push(text) - 1;
  }

  /** Adds a rule and returns its number. `start` and `end` lie in the piece numbered `text`. */
  add(
    text: number,
    start: number,
    end: number,
    line: number,
    packets: number,
    bytes: number,
  ): number {
    const id = this.length++;
    if (id === this.start.length) this.grow();
    this.text[id] = text;
    this.start[id] = start;
    this.end[id] = end;
    this.line[id] = line;
    this.next[id] = NONE;
    this.packets[id] = packets;
    this.bytes[id] = bytes;
    return id;
  }

  /** Puts `id` behind `last`, both of one chain. */
  link(last: number, id: number): void {
    this.next[last] = id;
  }

  /** Objects for a chain's rules, from its first. */
  chain(first: number | undefined): readonly Rule[] {
    const rules: Rule[] = [];
    for (let id = first ?? NONE; id !== NONE; id = this.next[id] ?? NONE) {
      rules.push(
        new SavedRule(this, id, this.line[id] ?? 0, this.packets[id] ?? 0, this.bytes[id] ?? 0),
      );
    }
    return rules;
  }

  /** Where the texts of a chain's rules are, from its first; makes no objects. */
  forEachText(first: number | undefined, visit: VisitText): void {
    for (let id = first ?? NONE; id !== NONE; id = this.next[id] ?? NONE) {
      visit(this.texts[this.text[id] ?? 0] ?? '', this.start[id] ?? 0, this.end[id] ?? 0);
    }
  }

  textOf(id: number): string {
    return (this.texts[this.text[id] ?? 0] ?? '').slice(this.start[id], this.end[id]);
  }

  private grow(): void {
    const size = this.start.length * 2;
    const words = (old: Uint32Array): Uint32Array<ArrayBuffer> => {
      const larger = new Uint32Array(size);
      larger.set(old);
      return larger;
    };
    const doubles = (old: Float64Array): Float64Array<ArrayBuffer> => {
      const larger = new Float64Array(size);
      larger.set(old);
      return larger;
    };
    this.text = words(this.text);
    this.start = words(this.start);
    this.end = words(this.end);
    this.line = words(this.line);
    this.next = words(this.next);
    this.packets = doubles(this.packets);
    this.bytes = doubles(this.bytes);
  }
}

class SavedRule implements Rule {
  readonly line: number;
  readonly packets?: number;
  readonly bytes?: number;
  private readonly rules: SavedRules;
  private readonly id: number;
  private parsed: ParsedRule | undefined;

  constructor(rules: SavedRules, id: number, line: number, packets: number, bytes: number) {
    this.rules = rules;
    this.id = id;
    this.line = line;
    this.parsed = undefined;
    if (!Number.isNaN(packets)) {
      this.packets = packets;
      this.bytes = bytes;
    }
  }

  get text(): string {
    return this.rules.textOf(this.id);
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

/** A chain as it is read: rules are added behind one another. */
export class SavedChain implements Chain {
  readonly name: string;
  readonly policy?: string;
  readonly packets?: number;
  readonly bytes?: number;
  private readonly all: SavedRules;
  private first: number | undefined;
  private last = NONE;
  private made: readonly Rule[] | undefined;

  /** `policy` as printed: `-` for a user chain. `counters`: packets and bytes, where the dump has them. */
  constructor(
    all: SavedRules,
    name: string,
    policy: string,
    counters?: { readonly packets: number; readonly bytes: number },
  ) {
    this.all = all;
    this.name = name;
    if (policy !== '-') this.policy = policy;
    if (counters) {
      this.packets = counters.packets;
      this.bytes = counters.bytes;
    }
  }

  append(id: number): void {
    if (this.first === undefined) this.first = id;
    else this.all.link(this.last, id);
    this.last = id;
    this.made = undefined;
  }

  forEachText(visit: VisitText): void {
    this.all.forEachText(this.first, visit);
  }

  get rules(): readonly Rule[] {
    this.made ??= this.all.chain(this.first);
    return this.made;
  }
}

/** Is given a text in which a rule reaches from `start` to `end`. */
type VisitText = (text: string, start: number, end: number) => void;

/**
 * The texts of a chain's rules in order, where they lie: reading characters of a string that was cut
 * out of another costs V8 several times as much.
 */
export function forEachText(chain: Chain, visit: VisitText): void {
  if (chain instanceof SavedChain) chain.forEachText(visit);
  else for (const { text } of chain.rules) visit(text, 0, text.length);
}
