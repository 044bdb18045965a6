import { MAPPED, parseAddress } from '../../model/address.js';

const NEWLINE = 0x0a;
const SPACE = 0x20;
const BANG = 0x21;
const QUOTE = 0x22;
const DASH = 0x2d;
const DOT = 0x2e;
const ZERO = 0x30;
const COLON = 0x3a;
const OPENING = 0x5b;
const BACKSLASH = 0x5c;
const CLOSING = 0x5d;
const LETTER_C = 0x63;
const LETTER_D = 0x64;
const LETTER_I = 0x69;
const LETTER_J = 0x6a;
const LETTER_M = 0x6d;
const LETTER_P = 0x70;
const LETTER_S = 0x73;
const LETTER_T = 0x74;

const decoder = new TextDecoder();

/** A text that is looked for, in words; the last one by its first bytes. */
class Literal {
  readonly length: number;
  private readonly words: Uint32Array;
  private readonly rest: number;
  private readonly restShift: number;

  constructor(text: string) {
    const bytes = new TextEncoder().encode(text);
    this.length = bytes.length;
    this.words = new Uint32Array(bytes.length >>> 2);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < this.words.length; i++) this.words[i] = view.getUint32(4 * i);
    const over = bytes.length & 3;
    this.restShift = 32 - 8 * over;
    this.rest = 0;
    for (const byte of bytes.subarray(bytes.length - over)) this.rest = (this.rest << 8) | byte;
  }

  /** Whether it stands there; up to three bytes behind it can be read. */
  isAt(view: DataView, from: number): boolean {
    const { words } = this;
    let at = from;
    for (let i = 0; i < words.length; i++) {
      if (view.getUint32(at) !== words[i]) return false;
      at += 4;
    }
    return this.restShift === 32 || view.getUint32(at) >>> this.restShift === this.rest;
  }
}

const COMMENT = new Literal('comment --comment ');
const STATISTIC = new Literal('statistic --mode random --probability ');
const DESTINATION_PORT = new Literal('--dport ');
const MARK_MASQ = new Literal('KUBE-MARK-MASQ\n');
const ENDPOINT = new Literal('KUBE-SEP-');
const DNAT = new Literal('DNAT --to-destination ');
const TCP = new Literal('tcp ');
const UDP = new Literal('udp ');
const SCTP = new Literal('sctp ');

/** Characters of the hash in the name of an endpoint's chain. */
export const HASH_BYTES = 16;
/** Characters of the longest address, with a dotted end. */
const MAX_IPV6 = 45;
/** Digits of a probability whose value a double holds exactly before it is divided. */
const MAX_DIGITS = 15;
/** xt_statistic keeps a probability in 31 bits and compares it with as many random ones. */
export const PROBABILITY_ONE = 2 ** 31;

/** What a rule in a plain shape does. `masq`: it jumps to KUBE-MARK-MASQ. */
type PlainKind = 'masq' | 'endpoint' | 'dnat';

/**
 * Reads rules of kube-proxy's balancing and endpoint chains from their bytes, in the few shapes that it
 * writes and iptables-save prints, without making strings: nearly all of a node's rules are such. What is
 * in any other shape, or has a word that might be something else (a backslash, two blanks), is not read.
 */
export class PlainLine {
  kind: PlainKind = 'masq';
  /** 6, 17 or 132; 0: it asks for none. */
  protocol = 0;
  /** It asks for something beside its protocol and chance. */
  conditional = false;
  /** Probability in 1/2^31; -1 without one. */
  stored = -1;
  /** Of `endpoint`: where the name of the chain begins and ends. */
  name = 0;
  nameEnd = 0;
  /** Of `dnat`. */
  readonly address = new Uint32Array(4);
  family: 4 | 6 = 4;
  port = 0;
  /** Where the next line begins. */
  next = 0;
  private at = 0;

  /** Reads the line that goes on at `from`; it ends with a newline. false: it is in no plain shape. */
  read(block: Uint8Array, view: DataView, from: number): boolean {
    this.protocol = 0;
    this.conditional = false;
    this.stored = -1;
    this.at = from;
    for (;;) {
      let { at } = this;
      if (block[at] === BANG) {
        this.conditional = true;
        if (block[at + 1] !== SPACE) return false;
        at += 2;
        // `! -s` and the like; nothing that would be read as if it were not negated.
        const letter = block[at + 1];
        if (letter !== LETTER_S && letter !== LETTER_D && letter !== LETTER_I) return false;
      }
      if (block[at] !== DASH || block[at + 2] !== SPACE) return false;
      const letter = block[at + 1];
      this.at = at + 3;
      switch (letter) {
        case LETTER_S:
        case LETTER_D:
        case LETTER_I:
          this.conditional = true;
          if (!this.word(block)) return false;
          break;
        case LETTER_P:
          if (this.protocol !== 0) return false;
          this.protocol = this.protocolWord(view);
          if (this.protocol === 0) return false;
          break;
        case LETTER_M:
          if (!this.match(block, view)) return false;
          break;
        case LETTER_J:
          return this.target(block, view);
        default:
          return false;
      }
    }
  }

  private match(block: Uint8Array, view: DataView): boolean {
    const { at } = this;
    if (block[at] === LETTER_C) return this.passes(view, COMMENT) && this.text(block);
    if (block[at] === LETTER_S && block[at + 1] === LETTER_T) {
      return this.passes(view, STATISTIC) && this.probability(block);
    }
    if (this.protocolWord(view) === 0) return false;
    if (block[this.at] !== DASH || block[this.at + 1] !== DASH) return true;
    this.conditional = true;
    return this.passes(view, DESTINATION_PORT) && this.word(block);
  }

  private target(block: Uint8Array, view: DataView): boolean {
    const { at } = this;
    if (ENDPOINT.isAt(view, at)) {
      this.kind = 'endpoint';
      this.name = at;
      this.nameEnd = at + ENDPOINT.length + HASH_BYTES;
      for (let i = at + ENDPOINT.length; i < this.nameEnd; i++) {
        if (!isBase32(block[i] ?? 0)) return false;
      }
      this.next = this.nameEnd + 1;
      return block[this.nameEnd] === NEWLINE;
    }
    if (MARK_MASQ.isAt(view, at)) {
      this.kind = 'masq';
      this.next = at + MARK_MASQ.length;
      return true;
    }
    if (!this.passes(view, DNAT)) return false;
    this.kind = 'dnat';
    return block[this.at] === OPENING ? this.ipv6(block) : this.ipv4(block);
  }

  /** The protocol whose name comes next, with the blank behind it; 0: none of those that Services have. */
  private protocolWord(view: DataView): number {
    if (this.passes(view, TCP)) return 6;
    if (this.passes(view, UDP)) return 17;
    return this.passes(view, SCTP) ? 132 : 0;
  }

  /** A word without quotes, and the blank behind it. */
  private word(block: Uint8Array): boolean {
    const { at } = this;
    for (let to = at; ; to++) {
      const c = block[to] ?? 0;
      if (c === SPACE) {
        this.at = to + 1;
        return to > at;
      }
      if (c < SPACE || c === QUOTE || c === BACKSLASH) return false;
    }
  }

  /** A comment, between quotes or a word, and the blank behind it. */
  private text(block: Uint8Array): boolean {
    if (block[this.at] !== QUOTE) return this.word(block);
    for (let at = this.at + 1; ; at++) {
      const c = block[at] ?? NEWLINE;
      if (c === QUOTE) {
        this.at = at + 2;
        return block[at + 1] === SPACE;
      }
      if (c === BACKSLASH || c === NEWLINE) return false;
    }
  }

  /** `0.33333333349`: read as `Number` reads it, which rounds once too. */
  private probability(block: Uint8Array): boolean {
    let { at } = this;
    if (this.stored >= 0) return false;
    const whole = (block[at] ?? 0) - ZERO;
    if ((whole !== 0 && whole !== 1) || block[at + 1] !== DOT) return false;
    at += 2;
    const digits = at;
    let value = whole;
    let scale = 1;
    for (; at - digits <= MAX_DIGITS; at++) {
      const digit = (block[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      value = value * 10 + digit;
      scale *= 10;
    }
    if (at === digits || block[at] !== SPACE || value > scale) return false;
    this.stored = Math.round((value / scale) * PROBABILITY_ONE);
    this.at = at + 1;
    return true;
  }

  /** `10.244.1.5:8080` and the end of the line, as strictly as `parseAddress` reads it. */
  private ipv4(block: Uint8Array): boolean {
    let { at } = this;
    let value = 0;
    for (let part = 0; part < 4; part++) {
      const first = (block[at] ?? 0) - ZERO;
      if (first < 0 || first > 9) return false;
      let number = first;
      let digit = (block[++at] ?? 0) - ZERO;
      // No leading zeros: nothing comes behind one.
      while (number > 0 && number <= 255 && digit >= 0 && digit <= 9) {
        number = number * 10 + digit;
        digit = (block[++at] ?? 0) - ZERO;
      }
      if (number > 255 || block[at] !== (part < 3 ? DOT : COLON)) return false;
      at++;
      value = value * 256 + number;
    }
    this.address[0] = 0;
    this.address[1] = 0;
    this.address[2] = MAPPED;
    this.address[3] = value;
    this.family = 4;
    return this.portAt(block, at);
  }

  /** `[fd00::4]:8080` and the end of the line. */
  private ipv6(block: Uint8Array): boolean {
    const from = this.at + 1;
    let to = from;
    while (to < from + MAX_IPV6 && block[to] !== CLOSING && block[to] !== NEWLINE) to++;
    if (block[to] !== CLOSING || block[to + 1] !== COLON) return false;
    this.family = 6;
    const text = decoder.decode(block.subarray(from, to));
    return parseAddress(text, this.address, 0) === 6 && this.portAt(block, to + 2);
  }

  private portAt(block: Uint8Array, from: number): boolean {
    let at = from;
    let port = 0;
    for (; at < from + 5; at++) {
      const digit = (block[at] ?? 0) - ZERO;
      if (digit < 0 || digit > 9) break;
      port = port * 10 + digit;
    }
    this.port = port;
    this.next = at + 1;
    return at > from && port <= 65_535 && block[at] === NEWLINE;
  }

  /** Passes over a text if it stands there. */
  private passes(view: DataView, text: Literal): boolean {
    if (!text.isAt(view, this.at)) return false;
    this.at += text.length;
    return true;
  }
}

/** RFC 4648: A to Z and 2 to 7. */
function isBase32(c: number): boolean {
  return (c >= 0x41 && c <= 0x5a) || (c >= 0x32 && c <= 0x37);
}
