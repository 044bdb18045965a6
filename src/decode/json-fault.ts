import type { Where } from '../model/problem.js';

/** What may come next (RFC 8259). */
type Expected = 'value' | 'value or end' | 'key' | 'key or end' | 'colon' | 'comma or end' | 'end';

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
const LINE_FEED = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
const WORDS = new Set(['true', 'false', 'null']);

/**
 * Where text that JSON.parse refused stops being JSON: at its end if it was cut off. (What engines say
 * about it differs, and often lacks the place.) `from`: where the text begins in the bytes.
 */
export function jsonFault(bytes: Uint8Array, from = 0): Where {
  const offset = faultAt(bytes, from);
  let line = 1;
  for (let at = 0; at < offset; at++) if (bytes[at] === LINE_FEED) line++;
  return { line, offset };
}

function faultAt(bytes: Uint8Array, from: number): number {
  /** The brackets that are to be closed, the innermost last. */
  const open: number[] = [];
  let expected: Expected = 'value';
  const marked = from === 0 && BYTE_ORDER_MARK.every((byte, i) => bytes[i] === byte);
  let at = marked ? BYTE_ORDER_MARK.length : from;
  for (;;) {
    while (isSpace(bytes[at])) at++;
    const c = bytes[at];
    if (c === undefined) return at;
    if (expected === 'colon' || expected === 'end') {
      if (expected === 'end' || c !== COLON) return at;
      expected = 'value';
      at++;
    } else if (expected === 'comma or end' && c === COMMA) {
      expected = open.at(-1) === CLOSE_OBJECT ? 'key' : 'value';
      at++;
    } else if (expected.endsWith('end') && c === open.at(-1)) {
      open.pop();
      expected = open.length === 0 ? 'end' : 'comma or end';
      at++;
    } else if (expected === 'key' || expected === 'key or end') {
      const end = c === QUOTE ? stringEnd(bytes, at) : -1;
      if (end < 0) return c === QUOTE ? -end : at;
      expected = 'colon';
      at = end;
    } else if (expected === 'comma or end') {
      return at;
    } else if (c === OPEN_OBJECT || c === OPEN_LIST) {
      open.push(c === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_LIST);
      expected = c === OPEN_OBJECT ? 'key or end' : 'value or end';
      at++;
    } else {
      const end = c === QUOTE ? stringEnd(bytes, at) : plainEnd(bytes, at);
      if (end < 0) return c === QUOTE ? -end : at;
      expected = open.length === 0 ? 'end' : 'comma or end';
      at = end;
    }
  }
}

function isSpace(c: number | undefined): boolean {
  return c === 0x20 || c === LINE_FEED || c === 0x0d || c === 0x09;
}

/** One past the string at `start`; where it goes wrong (never at 0) as a negative number. */
function stringEnd(bytes: Uint8Array, start: number): number {
  let at = start + 1;
  for (let c = bytes[at]; c !== undefined && c >= 0x20; c = bytes[at]) {
    if (c === QUOTE) return at + 1;
    // Four digits follow \u; that they are such is not looked at.
    if (c === BACKSLASH && !'"\\/bfnrtu'.includes(String.fromCharCode(bytes[at + 1] ?? 0)))
      return -at;
    at += c === BACKSLASH ? 2 : 1;
  }
  return -Math.min(at, bytes.length);
}

/** One past the number or word at `start`, -1 if it is none. */
function plainEnd(bytes: Uint8Array, start: number): number {
  let text = '';
  let at = start;
  for (
    let c = bytes[at];
    c !== undefined && /[\w.+-]/.test(String.fromCharCode(c));
    c = bytes[++at]
  )
    text += String.fromCharCode(c);
  return NUMBER.test(text) || WORDS.has(text) ? at : -1;
}
