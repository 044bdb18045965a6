import type { Match, MatchOption, Target } from '../../model/ruleset.js';

const TAB = 0x09;
const SPACE = 0x20;
const BANG = 0x21;
const QUOTE = 0x22;
const DASH = 0x2d;
const BACKSLASH = 0x5c;

/** A token as it stands. */
const PLAIN = 0;
/** Between two quotes, without a backslash. */
const QUOTED = 1;
/** With backslashes, or with quotes inside: the value must be built. */
const ESCAPED = 2;

/**
 * The words of a rule, split as iptables-restore splits them (iptables 1.8, xshared.c,
 * add_param_to_argv): blanks separate; a double quote opens a string in which a backslash takes the
 * next character as it is; the closing quote also ends the word. A string left open reaches to the
 * end. Holds positions, not strings, so that reading many rules makes no garbage; `read` starts anew.
 */
export class Tokens {
  length = 0;
  private text = '';
  private end = 0;
  private plain = true;
  private starts = new Uint32Array(64);
  private ends = new Uint32Array(64);
  private kinds = new Uint8Array(64);

  /** Reads the part of `text` from `from` to `to`; its beginning is not copied out of it. */
  read(text: string, from = 0, to = text.length): void {
    this.text = text;
    this.end = to;
    this.length = 0;
    let at = from;
    while (at < to) {
      let c = text.charCodeAt(at);
      if (c === SPACE || c === TAB) {
        at++;
        continue;
      }
      const start = at;
      if (c === QUOTE) {
        at = this.endOfString(start);
        if (this.plain) this.add(start + 1, at - 1, QUOTED);
        else this.add(start, at, ESCAPED);
        continue;
      }
      while (c !== SPACE && c !== TAB && c !== QUOTE) {
        at++;
        if (at === to) break;
        c = text.charCodeAt(at);
      }
      if (c === QUOTE && at < to) {
        // A quote inside a word: what follows it up to its partner belongs to the word.
        at = this.endOfString(at);
        this.add(start, at, ESCAPED);
      } else {
        this.add(start, at, PLAIN);
      }
    }
  }

  /**
   * The place after the quote that closes the string opened at `open`, or the end; sets `plain` if the
   * string is closed and has no backslash.
   */
  private endOfString(open: number): number {
    this.plain = true;
    for (let at = open + 1; at < this.end; at++) {
      const c = this.text.charCodeAt(at);
      if (c === QUOTE) return at + 1;
      if (c === BACKSLASH) {
        this.plain = false;
        at++;
      }
    }
    this.plain = false;
    return this.end;
  }

  private add(start: number, end: number, kind: number): void {
    const at = this.length++;
    if (at === this.starts.length) {
      this.starts = grown(this.starts);
      this.ends = grown(this.ends);
      const kinds = new Uint8Array(this.kinds.length * 2);
      kinds.set(this.kinds);
      this.kinds = kinds;
    }
    this.starts[at] = start;
    this.ends[at] = end;
    this.kinds[at] = kind;
  }

  /** The word, unquoted. */
  value(i: number): string {
    const raw = this.text.slice(this.starts[i] ?? 0, this.ends[i] ?? 0);
    return this.kinds[i] === ESCAPED ? unquoted(raw) : raw;
  }

  /**
   * The letter of an unquoted short option (`-s` gives the code of `s`), `LONG_OPTION` for an unquoted
   * word that begins with two dashes, `NEGATION` for a lone unquoted `!`, else 0.
   */
  sort(i: number): number {
    if (this.kinds[i] !== PLAIN) return 0;
    const start = this.starts[i] ?? 0;
    const length = (this.ends[i] ?? 0) - start;
    const first = this.text.charCodeAt(start);
    if (first === BANG && length === 1) return NEGATION;
    if (first !== DASH || length < 2) return 0;
    const second = this.text.charCodeAt(start + 1);
    if (second === DASH)
      return length > 2 && isLetter(this.text.charCodeAt(start + 2)) ? LONG_OPTION : 0;
    return length === 2 && isLetter(second) ? second : 0;
  }
}

export const LONG_OPTION = 1;
export const NEGATION = 2;
export const OPTION_D = 0x64;
export const OPTION_G = 0x67;
export const OPTION_I = 0x69;
export const OPTION_J = 0x6a;
export const OPTION_M = 0x6d;
export const OPTION_P = 0x70;
export const OPTION_S = 0x73;

function isLetter(c: number): boolean {
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x7a;
}

function grown(column: Uint32Array): Uint32Array<ArrayBuffer> {
  const larger = new Uint32Array(column.length * 2);
  larger.set(column);
  return larger;
}

function unquoted(raw: string): string {
  let out = '';
  let inside = false;
  for (let at = 0; at < raw.length; at++) {
    const c = raw.charAt(at);
    if (c === '"') inside = !inside;
    else if (c === '\\' && inside) out += raw.charAt(++at);
    else out += c;
  }
  return out;
}

/** `-s -d -i -o -p -f`: matches that stand without `-m`. */
const BUILT_IN = new Set([OPTION_S, OPTION_D, OPTION_I, 0x6f, OPTION_P, 0x66]);

/**
 * Options that always take the next word, whatever it looks like: their value is free text, and
 * iptables-save leaves `-j` unquoted there (libxtables xtables_save_string quotes only what is not
 * a letter, digit, dash or underscore).
 */
export const FREE_TEXT = new Set([
  '--comment',
  '--log-prefix',
  '--nflog-prefix',
  '--ulog-prefix',
  '--prefix',
  '--name',
  '--string',
  '--hex-string',
  '--nfacct-name',
  '--hashlimit-name',
  '--helper',
]);

/** `!` stands before an option or a built-in match, never before `-m`, `-j` or `-g`. */
function canBeNegated(sort: number): boolean {
  if (sort === OPTION_M || sort === OPTION_J || sort === OPTION_G) return false;
  return sort !== 0 && sort !== NEGATION;
}

interface OpenOption {
  name: string;
  negated: boolean;
  values: string[];
}

interface OpenPart {
  name: string;
  options: OpenOption[];
}

/** What a rule says. */
export interface ParsedRule {
  readonly matches: readonly Match[];
  readonly target: Target | undefined;
}

/**
 * Reads a rule as iptables-save prints it, without counters and `-A CHAIN`. Nothing is refused: an
 * option that nobody knows is kept with the words up to the next option as its values, and words
 * where an option should stand become an option without a name.
 */
export function parseRule(text: string): ParsedRule {
  const tokens = new Tokens();
  tokens.read(text);
  const matches: OpenPart[] = [];
  let target: (OpenPart & { goto: boolean }) | undefined;
  let part: OpenPart | undefined;
  let option: OpenOption | undefined;
  let negated = false;

  const open = (name: string): OpenOption => {
    if (!part) {
      part = { name: '', options: [] };
      matches.push(part);
    }
    const opened: OpenOption = { name, negated, values: [] };
    part.options.push(opened);
    negated = false;
    return opened;
  };

  for (let i = 0; i < tokens.length; i++) {
    const sort = tokens.sort(i);
    const value = tokens.value(i);
    if (sort === NEGATION && i + 1 < tokens.length && canBeNegated(tokens.sort(i + 1))) {
      negated = true;
    } else if (sort === OPTION_M || sort === OPTION_J || sort === OPTION_G) {
      const name = tokens.length > i + 1 ? tokens.value(++i) : '';
      if (sort === OPTION_M) {
        part = { name, options: [] };
        matches.push(part);
      } else {
        target = { name, goto: sort === OPTION_G, options: [] };
        part = target;
      }
      option = undefined;
      negated = false;
    } else if (BUILT_IN.has(sort)) {
      part = { name: value, options: [] };
      matches.push(part);
      option = open(value);
    } else if (sort !== 0 && sort !== NEGATION) {
      option = open(value);
      if (FREE_TEXT.has(value) && i + 1 < tokens.length) option.values.push(tokens.value(++i));
    } else {
      option ??= open('');
      option.values.push(value);
    }
  }
  const frozen: readonly (Match & { options: readonly MatchOption[] })[] = matches;
  return { matches: frozen, target };
}
