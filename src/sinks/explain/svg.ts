import type { Explanation } from '../../model/explanation.js';
import { escapeText } from '../escape.js';
import { shorten } from '../width.js';
import { type Drawing, drawWalk } from './draw.js';
import { drawStory } from './draw-story.js';
import { graphOf } from './graph.js';
import { markup } from './markup.js';
import { describe, titleOf } from './sentence.js';
import { colorsFor, DRAWING_STYLE } from './theme.js';

const MARGIN = 12;
const LINE = 20;
/** Of a 12 px monospaced letter. */
const LETTER = 7.4;

/** The walk with its endings, the timeline below it, the findings: one picture that needs nothing else. */
export function renderSvg(explanation: Explanation): string {
  const { walk, story, findings } = explanation;
  const parts: Drawing[] = [];
  if (walk) parts.push(drawWalk(graphOf(walk)));
  if (story) parts.push(drawStory(story));
  const width = Math.max(640, ...parts.map((part) => part.width));
  const letters = Math.floor((width - 2 * MARGIN) / LETTER);
  let y = MARGIN;
  const body: string[] = [];
  const line = (kind: string, words: string, room = letters): void => {
    y += LINE;
    body.push(
      `<text class="${kind}" x="${MARGIN}" y="${y}">${markup(shorten(escapeText(words), room, 'end'))}</text>`,
    );
  };
  // Larger letters: fewer of them.
  line('heading', titleOf(explanation), Math.floor(letters * 0.84));
  y += 6;
  for (const part of parts) {
    body.push(`<g transform="translate(0 ${y})">${part.body}</g>`);
    y += part.height;
  }
  for (const { weight, title, code } of findings) {
    line(weight === 'fault' ? 'bad' : 'plain', `${weight.toUpperCase()}: ${title} (${code})`);
  }
  for (const remark of explanation.remarks) line('dim', remark);
  return frame({ body: body.join('\n'), width, height: y + MARGIN }, explanation, 'alone');
}

/** The walk alone, as part of a page that has the colours already. */
export function walkFigure(explanation: Explanation): string {
  if (explanation.walk === undefined) return '';
  return frame(drawWalk(graphOf(explanation.walk)), explanation, 'inside');
}

function frame(
  { body, width, height }: Drawing,
  explanation: Explanation,
  where: 'alone' | 'inside',
): string {
  const w = Math.ceil(width);
  const h = Math.ceil(height);
  const style = where === 'alone' ? `<style>${colorsFor('.wp')}${DRAWING_STYLE}</style>` : '';
  const paper = where === 'alone' ? `<rect width="${w}" height="${h}" fill="var(--paper)"/>` : '';
  return `<svg xmlns="http://www.w3.org/2000/svg" class="wp" width="${w}" height="${h}" viewBox="0 0 ${w} ${h}" role="img" aria-labelledby="wp-title wp-desc">
<title id="wp-title">${markup(titleOf(explanation))}</title>
<desc id="wp-desc">${markup(describe(explanation))}</desc>
${style}${paper}
${body}
</svg>
`;
}
