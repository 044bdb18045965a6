import stringWidth from 'string-width';
import { PLAIN } from './escape.js';

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
