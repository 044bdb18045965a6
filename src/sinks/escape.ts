import stringWidth from 'string-width';

/**
 * Text from outside (Pod names, labels of chains, file names, messages of programs) that a terminal would
 * not simply show: every control, format, surrogate, private and unassigned character (\p{C}: C0, DEL, C1,
 * ESC, bidirectional overrides and isolates, zero-width ones), line and paragraph separators, spaces other
 * than the plain one, and what Unicode says may be ignored in display (variation selectors, Hangul fillers).
 */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]|(?! )\p{Zs}|^\p{M}/gu;
/** Printable ASCII, our own signs and the lines of trees: nearly everything, one column a character, no closer look needed. */
const PLAIN = /^[ -~µ…—─│├└]*$/;

/** Makes foreign text safe for a terminal and for a line of a table: what would act is shown as `\u{1b}`. */
export function escapeText(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replace(UNSAFE, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Columns that escaped text takes on a terminal. */
export function displayWidth(text: string): number {
  return PLAIN.test(text) ? text.length : stringWidth(text);
}

const segmenter = new Intl.Segmenter();
const ELLIPSIS = '…';

/** The most leading (or trailing) whole characters of escaped text that fit into `width` columns. */
function outermost(text: string, width: number, fromEnd: boolean): string {
  if (width <= 0) return '';
  if (PLAIN.test(text)) return fromEnd ? text.slice(-width) : text.slice(0, width);
  const characters = Array.from(segmenter.segment(text), (s) => s.segment);
  if (fromEnd) characters.reverse();
  const taken: string[] = [];
  let used = 0;
  for (const character of characters) {
    used += displayWidth(character);
    if (used > width) break;
    taken.push(character);
  }
  if (fromEnd) taken.reverse();
  return taken.join('');
}

/** Where text that is too long is cut: `middle` keeps a Pod's unique suffix, `end` a word's beginning. */
export type Cut = 'middle' | 'end';

/** Escaped text made to fit into `width` columns, with an ellipsis where something was left out. */
export function shorten(text: string, width: number, cut: Cut): string {
  if (displayWidth(text) <= width) return text;
  if (width <= 1) return width === 1 ? ELLIPSIS : '';
  if (cut === 'end') return outermost(text, width - 1, false) + ELLIPSIS;
  const tail = outermost(text, Math.ceil((width - 1) / 2), true);
  return outermost(text, width - 1 - displayWidth(tail), false) + ELLIPSIS + tail;
}
