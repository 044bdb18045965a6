import { MAPPED, parseAddress } from '../../model/address.js';
import { TCP_STATES } from '../../model/conntrack.js';

/** Fields of conntrack's texts, read from their bytes [from, to). Nothing here makes a string but for IPv6. */

const ZERO = 0x30;
const DOT = 0x2e;

/** A decimal number of at most 10 digits (all of 32 bits); -1 if it is none or above `most`. */
export function readNumber(bytes: Uint8Array, from: number, to: number, most: number): number {
  if (to <= from || to - from > 10) return -1;
  let value = 0;
  for (let i = from; i < to; i++) {
    const digit = (bytes[i] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value <= most ? value : -1;
}

/** A 64-bit counter into two words, low word first; false if it is none. */
export function readCounter(
  bytes: Uint8Array,
  from: number,
  to: number,
  words: Uint32Array,
  at: number,
): boolean {
  if (to <= from) return false;
  let low = 0;
  let high = 0;
  for (let i = from; i < to; i++) {
    const digit = (bytes[i] ?? 0) - ZERO;
    if (digit < 0 || digit > 9) return false;
    low = low * 10 + digit;
    const carry = Math.floor(low / 0x1_0000_0000);
    low -= carry * 0x1_0000_0000;
    high = high * 10 + carry;
    if (high > 0xffffffff) return false;
  }
  words[at] = low;
  words[at + 1] = high;
  return true;
}

/** Nanoseconds since 1970 into two words, seconds first; false if it is no such number. */
export function readNanos(
  bytes: Uint8Array,
  from: number,
  to: number,
  words: Uint32Array,
  at: number,
): boolean {
  const split = Math.max(from, to - 9);
  const rest = readNumber(bytes, split, to, 999_999_999);
  const seconds = split > from ? readNumber(bytes, from, split, 0xffffffff) : 0;
  if (rest < 0 || seconds < 0) return false;
  words[at] = seconds;
  words[at + 1] = rest;
  return true;
}

/** An address into four words; its family, 0 if it is none. */
export function readAddress(
  bytes: Uint8Array,
  from: number,
  to: number,
  words: Uint32Array,
  at: number,
): 4 | 6 | 0 {
  let value = 0;
  let part = -1;
  let parts = 0;
  for (let i = from; i < to; i++) {
    const c = bytes[i] ?? 0;
    if (c === DOT) {
      if (part < 0 || parts === 3) return 0;
      value = value * 256 + part;
      parts++;
      part = -1;
    } else {
      const digit = c - ZERO;
      if (digit < 0 || digit > 9) return readLongAddress(bytes, from, to, words, at);
      // No leading zeros: as for addresses everywhere else here (model/address.ts).
      if (part === 0) return parts === 0 ? readLongAddress(bytes, from, to, words, at) : 0;
      part = part < 0 ? digit : part * 10 + digit;
      if (part > 255) return parts === 0 ? readLongAddress(bytes, from, to, words, at) : 0;
    }
  }
  if (parts !== 3 || part < 0) return 0;
  words[at] = 0;
  words[at + 1] = 0;
  words[at + 2] = MAPPED;
  words[at + 3] = value * 256 + part;
  return 4;
}

/** The longest textual IPv6 address, with an embedded IPv4 one. */
const LONGEST_ADDRESS = 45;

function readLongAddress(
  bytes: Uint8Array,
  from: number,
  to: number,
  words: Uint32Array,
  at: number,
): 4 | 6 | 0 {
  if (to - from > LONGEST_ADDRESS) return 0;
  return parseAddress(asciiOf(bytes, from, to), words, at);
}

/** A few bytes as text, one character a byte. */
export function asciiOf(bytes: Uint8Array, from: number, to: number): string {
  let text = '';
  for (let i = from; i < to; i++) text += String.fromCharCode(bytes[i] ?? 0);
  return text;
}

/** The bytes of an ASCII text, for `bytesAre`. */
export const ascii = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Whether `text` stands at `at`, before `end`. */
export function startsAt(bytes: Uint8Array, at: number, end: number, text: Uint8Array): boolean {
  if (end - at < text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text[i]) return false;
  return true;
}

const STATE_NAMES = TCP_STATES.map(ascii);

/** The number of TCP's state of that name; -1 for a name that no kernel known here prints. */
export function readTcpState(bytes: Uint8Array, from: number, to: number): number {
  for (let state = 0; state < STATE_NAMES.length; state++) {
    const name = STATE_NAMES[state];
    if (name?.length === to - from && startsAt(bytes, from, to, name)) return state;
  }
  return -1;
}
