import { escapeText } from '../escape.js';
import { displayWidth, shorten } from '../width.js';
import type { Box, Graph, Lane, Row } from './graph.js';
import { markup } from './markup.js';
import { HOOK_TITLES } from './words.js';

/**
 * The graph as SVG: a lane a hook, its trees from left to right, a column as wide as what stands in it.
 * A layout of layers is all it takes: every box has one rule that leads to it.
 */

/** Of a 12 px monospaced letter in the fonts that browsers take; a little more than any of them. */
const LETTER = 7.4;
const LINE = 19;
const TITLE = 24;
const PAD = 9;
const COLUMN_GAP = 46;
const BOX_GAP = 14;
const LANE_PAD = 14;
const LANE_TITLE = 26;
const MARGIN = 12;
/** Longer labels are cut in the middle; their hint has all of it. */
const MAX_LETTERS = 40;

/** A drawing without its frame, and how much room it takes. */
export interface Drawing {
  readonly body: string;
  readonly width: number;
  readonly height: number;
}

interface Placed {
  readonly box: Box;
  readonly column: number;
  readonly y: number;
  readonly children: readonly { readonly row: number; readonly placed: Placed }[];
}

export function drawWalk(graph: Graph): Drawing {
  const widths: number[] = [];
  for (const lane of graph.lanes) for (const box of lane.boxes) measure(box, 0, widths);
  const lefts = widths.map((_, i) =>
    widths.slice(0, i).reduce((sum, it) => sum + it + COLUMN_GAP, MARGIN + LANE_PAD),
  );
  const inner = widths.reduce((sum, it) => sum + it + COLUMN_GAP, 0) - COLUMN_GAP;
  const width = Math.max(480, inner + 2 * (MARGIN + LANE_PAD));
  let y = MARGIN;
  const parts: string[] = [];
  graph.lanes.forEach((lane, i) => {
    if (i > 0) {
      parts.push(arrowDown(y));
      y += 22;
    }
    const drawn = drawLane(lane, y, width, { lefts, widths });
    parts.push(drawn.body);
    y += drawn.height;
  });
  if (graph.left > 0) {
    y += LINE;
    parts.push(text(MARGIN, y, 'dim', `${graph.left} more ways, like those above, are not drawn`));
  }
  return { body: parts.join('\n'), width, height: y + MARGIN };
}

interface Columns {
  readonly lefts: readonly number[];
  readonly widths: readonly number[];
}

function measure(box: Box, column: number, widths: number[]): void {
  widths[column] = Math.max(widths[column] ?? 0, boxWidth(box));
  for (const row of box.rows) for (const to of row.to) measure(to, column + 1, widths);
}

const cut = (label: string): string => shorten(escapeText(label), MAX_LETTERS, 'middle');

function boxWidth({ title, about, rows }: Box): number {
  const head = displayWidth(cut(title)) + (about === '' ? 0 : displayWidth(about) + 2);
  const lines = rows.map(
    ({ number, label, share }) =>
      (number === '' ? 0 : number.length + 1) +
      displayWidth(cut(label)) +
      (share === '' ? 0 : share.length + 2),
  );
  return Math.ceil(Math.max(head, ...lines) * LETTER + 2 * PAD);
}

const boxHeight = ({ rows }: Box): number => TITLE + rows.length * LINE + (rows.length > 0 ? 6 : 0);

/** Where a tree stands: each box at the top of what hangs on it. */
function place(box: Box, column: number, y: number): { placed: Placed; bottom: number } {
  const children: { row: number; placed: Placed }[] = [];
  let next = y;
  box.rows.forEach((row, i) => {
    for (const to of row.to) {
      const child = place(to, column + 1, next);
      children.push({ row: i, placed: child.placed });
      next = child.bottom + BOX_GAP;
    }
  });
  const bottom = Math.max(y + boxHeight(box), next - BOX_GAP);
  return { placed: { box, column, y, children }, bottom };
}

function drawLane(lane: Lane, top: number, width: number, columns: Columns): Drawing {
  let y = top + LANE_TITLE + LANE_PAD;
  const parts: string[] = [];
  for (const box of lane.boxes) {
    const { placed, bottom } = place(box, 0, y);
    parts.push(...links(placed, columns), ...boxes(placed, columns));
    y = bottom + BOX_GAP;
  }
  if (lane.boxes.length > 0) y -= BOX_GAP;
  for (const quiet of lane.quiet) {
    y += lane.boxes.length > 0 ? LINE : 4;
    parts.push(text(MARGIN + LANE_PAD, y, 'dim', cut(quiet)));
  }
  const height = y + LANE_PAD - top;
  const frame = `<rect class="lane" x="${MARGIN}" y="${top}" width="${width - 2 * MARGIN}" height="${height}" rx="8"/>`;
  const title = text(MARGIN + LANE_PAD, top + 22, 'hook', HOOK_TITLES[lane.hook]);
  return { body: [frame, title, ...parts].join('\n'), width, height };
}

function boxes(placed: Placed, columns: Columns): string[] {
  const { box, column, y, children } = placed;
  const x = columns.lefts[column] ?? 0;
  const width = box.kind === 'chain' ? boxWidth(box) : (columns.widths[column] ?? boxWidth(box));
  const taken = box.taken ? ' taken' : '';
  const about =
    box.about === ''
      ? ''
      : text(x + width - PAD, y + 16, box.kind === 'chain' ? 'dim end' : 'share end', box.about);
  const rows = box.rows.map((row, i) => drawRow(row, x, y + TITLE + i * LINE, width));
  return [
    `<g class="${box.kind}${taken}">`,
    `<rect class="box" x="${x}" y="${y}" width="${width}" height="${boxHeight(box)}" rx="5"/>`,
    `<title>${markup(box.title)}</title>`,
    text(x + PAD, y + 16, 'title', cut(box.title)),
    about,
    ...rows,
    '</g>',
    ...children.flatMap((child) => boxes(child.placed, columns)),
  ];
}

function drawRow(row: Row, x: number, y: number, width: number): string {
  const base = y + 14;
  const number = row.number === '' ? '' : `<tspan class="number">${markup(row.number)} </tspan>`;
  const share = row.share === '' ? '' : text(x + width - PAD, base, 'share end', row.share);
  const back = row.taken
    ? `<rect class="way" x="${x + 2}" y="${y}" width="${width - 4}" height="${LINE}" rx="3"/>`
    : '';
  return `<g class="row ${row.state}"><title>${markup(row.hint)}</title>${back}<text x="${x + PAD}" y="${base}">${number}${markup(cut(row.label))}</text>${share}</g>`;
}

/** From each rule to the box it leads to, the way that was taken on top. */
function links(placed: Placed, columns: Columns): string[] {
  const lines: { path: string; taken: boolean }[] = [];
  const walk = (at: Placed): void => {
    const x1 = (columns.lefts[at.column] ?? 0) + (at.box.kind === 'chain' ? boxWidth(at.box) : 0);
    for (const { row, placed: to } of at.children) {
      const y1 = at.y + TITLE + row * LINE + LINE / 2;
      const x2 = columns.lefts[to.column] ?? 0;
      const y2 = to.y + TITLE / 2;
      const bend = Math.min(COLUMN_GAP, x2 - x1) * 0.55;
      const from = x2 - COLUMN_GAP;
      const straight = from > x1 ? `H${from} ` : '';
      lines.push({
        path: `M${x1} ${y1} ${straight}C${Math.max(from, x1) + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
        taken: (at.box.rows[row]?.taken ?? false) && to.box.taken,
      });
      walk(to);
    }
  };
  walk(placed);
  lines.sort((a, b) => Number(a.taken) - Number(b.taken));
  return lines.map(({ path, taken }) => `<path class="link${taken ? ' taken' : ''}" d="${path}"/>`);
}

function arrowDown(y: number): string {
  const x = MARGIN + LANE_PAD + 18;
  return `<path class="link down" d="M${x} ${y + 2} V${y + 18} m-5 -6 l5 6 l5 -6"/>`;
}

function text(x: number, y: number, kind: string, words: string): string {
  return `<text class="${kind}" x="${x}" y="${y}">${markup(words)}</text>`;
}
