/**
 * Looks into JSON text without parsing all of it: for text that is cut off, for the first bytes of a
 * file, and for a number whose digits a double cannot hold. It finds where values begin and end and
 * leaves it to JSON.parse to judge them.
 */
export interface Span {
  readonly start: number;
  /** One past the last character; absent if the text ends before the value does. */
  readonly end?: number;
}

/** The members of the object that begins at or after `from`, in order, as far as the text goes. */
export function* members(text: string, from = 0): Generator<{ key: string; value: Span }> {
  let at = skipSpace(text, from);
  if (text[at] !== '{') return;
  at = skipSpace(text, at + 1);
  while (text[at] === '"') {
    const keyEnd = valueEnd(text, at);
    if (keyEnd === undefined) return;
    const key = text.slice(at + 1, keyEnd - 1);
    at = skipSpace(text, keyEnd);
    if (text[at] !== ':') return;
    at = skipSpace(text, at + 1);
    if (at >= text.length) return;
    const end = valueEnd(text, at);
    yield { key, value: end === undefined ? { start: at } : { start: at, end } };
    if (end === undefined) return;
    at = skipSpace(text, end);
    if (text[at] !== ',') return;
    at = skipSpace(text, at + 1);
  }
}

/** The items of the array that begins at `from`, as far as they are complete. */
export function* items(text: string, from: number): Generator<{ start: number; end: number }> {
  if (text[from] !== '[') return;
  let at = skipSpace(text, from + 1);
  while (at < text.length && text[at] !== ']') {
    const end = valueEnd(text, at);
    if (end === undefined) return;
    yield { start: at, end };
    at = skipSpace(text, end);
    if (text[at] !== ',') return;
    at = skipSpace(text, at + 1);
  }
}

/** The values that stand one after another in a text; the last takes what is left if it does not end. */
export function* documents(text: string): Generator<Span> {
  for (let at = skipSpace(text, 0); at < text.length; ) {
    const end = valueEnd(text, at);
    yield end === undefined ? { start: at } : { start: at, end };
    if (end === undefined) return;
    at = skipSpace(text, end);
  }
}

/** One past the value at `start`: brackets are counted, not matched. */
function valueEnd(text: string, start: number): number | undefined {
  const first = text[start];
  if (first === '"') return stringEnd(text, start);
  if (first !== '{' && first !== '[') {
    let at = start;
    while (at < text.length && !',]} \t\r\n'.includes(text.charAt(at))) at++;
    // A number at the very end of the text may go on after it.
    return at > start && at < text.length ? at : undefined;
  }
  let depth = 0;
  let at = start;
  while (at < text.length) {
    const c = text.charCodeAt(at);
    if (c === 0x22) {
      const end = stringEnd(text, at);
      if (end === undefined) return undefined;
      at = end;
      continue;
    }
    if (c === 0x7b || c === 0x5b) depth++;
    if (c === 0x7d || c === 0x5d) depth--;
    at++;
    if (depth === 0) return at;
  }
  return undefined;
}

function stringEnd(text: string, start: number): number | undefined {
  let at = start + 1;
  while (at < text.length) {
    const c = text.charCodeAt(at);
    if (c === 0x22) return at + 1;
    at += c === 0x5c ? 2 : 1;
  }
  return undefined;
}

function skipSpace(text: string, from: number): number {
  let at = from;
  while (at < text.length && ' \t\r\n'.includes(text.charAt(at))) at++;
  return at;
}
