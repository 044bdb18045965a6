import type { Story, StoryLine, StoryPlace } from '../../model/story.js';
import { escapeText } from '../escape.js';
import { displayWidth, shorten } from '../width.js';
import type { Page } from './text-page.js';
import { sinceWords, uncertaintyWords } from './words.js';
import { padStart, wrap } from './wrap.js';

const GAP = 2;
/** Narrower columns hold neither a name nor an event. */
const LEAST_COLUMN = 9;
/** Wider ones make the eye lose the line. */
const MOST_COLUMN = 26;

const ROLES: Readonly<Record<StoryPlace['role'], string>> = {
  client: 'client',
  nat: 'NAT',
  backend: 'backend',
  uplink: 'uplink',
  bridge: 'bridge',
  other: '',
  cluster: 'cluster',
};

/** A column a place, the time of each event before it: what happened where, from top to bottom. */
export function storyLines(story: Story, page: Page): string[] {
  const { places, lines } = story;
  const { width, colors } = page;
  if (lines.length === 0) return [`  ${colors.dim('Nothing was seen of it.')}`];
  const times = lines.map(({ sinceNs }) => sinceWords(sinceNs));
  const timeWidth = Math.max(...times.map(displayWidth)) + 2;
  const room = width - timeWidth - GAP;
  const column = Math.min(
    MOST_COLUMN,
    Math.max(LEAST_COLUMN, Math.floor(room / Math.max(1, places.length))),
  );
  const left = timeWidth + GAP;
  const grid: Grid = { left, column, count: places.length, page };
  return [
    ...header(places, grid),
    ...lines.flatMap((line, i) => event(line, padStart(times[i] ?? '', timeWidth), grid)),
  ];
}

interface Grid {
  readonly left: number;
  readonly column: number;
  readonly count: number;
  readonly page: Page;
}

function header(places: readonly StoryPlace[], { left, column, page }: Grid): string[] {
  const row = (cells: readonly string[], paint: (text: string) => string): string =>
    ' '.repeat(left) +
    cells
      .map((cell) => {
        const text = shorten(escapeText(cell), column - 1, 'middle');
        return (text === '' ? '' : paint(text)) + ' '.repeat(column - displayWidth(text));
      })
      .join('')
      .trimEnd();
  const { bold, dim } = page.colors;
  const rows = [
    row(
      places.map(({ role }) => ROLES[role]),
      dim,
    ),
  ];
  rows.push(
    row(
      places.map(({ name }) => name),
      bold,
    ),
  );
  if (places.some(({ of }) => of !== undefined))
    rows.push(
      row(
        places.map(({ of }) => of ?? ''),
        dim,
      ),
    );
  return rows.map((line) => line.trimEnd()).filter((line) => line !== '');
}

/** Its time, the lines of the other places, the event where it happened; details beside it or below. */
function event(line: StoryLine, time: string, grid: Grid): string[] {
  const { width, colors } = grid.page;
  const place = Math.min(Math.max(line.place, 0), Math.max(0, grid.count - 1));
  const arrow = line.way === undefined ? '•' : line.way === 'forward' ? '→' : '←';
  const paint = line.bad ? colors.red : line.way === undefined ? colors.cyan : (it: string) => it;
  const what = `${arrow} ${escapeText(line.what)}`;
  const about = uncertaintyWords(line.uncertaintyNs);
  const detail = escapeText([line.detail, about].filter((it) => it !== '').join('  '));
  const start = grid.left + place * grid.column;
  const size = displayWidth(what) + (detail === '' ? 0 : 2 + displayWidth(detail));
  const first = colors.dim(time) + ' '.repeat(GAP);
  if (start + size <= width) {
    const shown = detail === '' ? paint(what) : `${paint(what)}  ${colors.dim(detail)}`;
    return [first + rails(grid, start) + shown + afterwards(grid, start, size)];
  }
  const next = ' '.repeat(grid.left);
  return [
    ...moved(what, start, grid, paint),
    ...(detail === '' ? [] : moved(detail, start + 2, grid, colors.dim)),
  ].map((text, i) => (i === 0 ? first : next) + text);
}

/** Text that begins at its column, or as far left of it as it must to fit; in lines. */
function moved(text: string, from: number, grid: Grid, paint: (text: string) => string): string[] {
  const start = Math.max(grid.left, Math.min(from, grid.page.width - displayWidth(text)));
  return wrap(text, grid.page.width - start).map(
    (part) => rails(grid, start) + paint(part) + afterwards(grid, start, displayWidth(part)),
  );
}

/** The lines of the places before `until`. */
function rails({ left, column, count, page }: Grid, until: number): string {
  const line = `│${' '.repeat(column - 1)}`.repeat(count).slice(0, until - left);
  return page.colors.dim(line.padEnd(until - left));
}

/** Those right of what was written from `start` on, as far as it leaves them room. */
function afterwards({ left, column, count, page }: Grid, start: number, size: number): string {
  const first = Math.ceil((start + size + 1 - left) / column);
  if (first >= count) return '';
  const gap = left + first * column - start - size;
  const lines = Array.from({ length: count - first }, () => '│').join(' '.repeat(column - 1));
  return ' '.repeat(gap) + page.colors.dim(lines);
}
