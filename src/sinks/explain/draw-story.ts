import type { Story } from '../../model/story.js';
import { escapeText } from '../escape.js';
import { displayWidth, shorten } from '../width.js';
import type { Drawing } from './draw.js';
import { markup } from './markup.js';
import { sinceWords } from './words.js';

const LETTER = 7.4;
const LINE = 20;
const MARGIN = 12;
const TIMES = 100;
/** A place's name has so much room, an event's words twice as much. */
const COLUMN = 210;
const LETTERS = 27;
const EVENT_LETTERS = 54;

/** A line down for each place, from top to bottom in time. */
export function drawStory({ places, lines }: Story): Drawing {
  const x = (place: number): number => MARGIN + TIMES + place * COLUMN;
  const top = MARGIN + 2 * LINE + 8;
  const height = top + lines.length * LINE + MARGIN;
  const parts = [`<text class="hook" x="${MARGIN}" y="${MARGIN + LINE - 4}">Story</text>`];
  places.forEach(({ name, of }, i) => {
    const at = x(i);
    parts.push(
      text(at, MARGIN + LINE - 4, 'title', shorten(escapeText(name), LETTERS, 'middle')),
      text(at, MARGIN + 2 * LINE - 4, 'dim', shorten(escapeText(of ?? ''), LETTERS, 'middle')),
      `<path class="rail" d="M${at + 4} ${top} V${height - MARGIN}"/>`,
    );
  });
  let right = x(places.length);
  lines.forEach((line, i) => {
    const at = x(Math.min(Math.max(line.place, 0), Math.max(0, places.length - 1)));
    const y = top + i * LINE + 14;
    const arrow = line.way === undefined ? '●' : line.way === 'forward' ? '▶' : '◀';
    const words = shorten(escapeText(`${arrow} ${line.what}`), EVENT_LETTERS, 'end');
    right = Math.max(right, at + displayWidth(words) * LETTER + MARGIN);
    const hint = line.detail === '' ? '' : `<title>${markup(line.detail)}</title>`;
    parts.push(
      text(MARGIN + TIMES - 12, y, 'dim end', sinceWords(line.sinceNs)),
      `<g>${hint}${text(at, y, line.bad ? 'bad' : 'plain', words)}</g>`,
    );
  });
  return { body: parts.join('\n'), width: right + MARGIN, height };
}

function text(x: number, y: number, kind: string, words: string): string {
  return `<text class="${kind}" x="${x}" y="${y}">${markup(words)}</text>`;
}
