import type { ExplainedWalk } from '../../model/explanation.js';
import { escapeText } from '../escape.js';
import { displayWidth, shorten } from '../width.js';
import type { Page } from './text-page.js';
import { type Way, type WaysAssuming, waysOf } from './ways.js';
import { hang, padEnd, padStart } from './wrap.js';

/** Of a connection that happened, so many of the ways that it did not take. */
const SHOWN_BESIDE_TAKEN = 12;
const GAP = '  ';

/** The distribution: a line for each end, the likeliest first. */
export function wayLines(walk: ExplainedWalk, page: Page): string[] {
  const lines = waysOf(walk).flatMap((group) => groupLines(group, walk.taken !== undefined, page));
  return [
    ...lines,
    ...walk.possible.remarks.flatMap((remark) =>
      hang({ text: '  - ', shown: '  - ' }, escapeText(remark), page.width, page.colors.yellow),
    ),
  ];
}

function groupLines(group: WaysAssuming, happened: boolean, page: Page): string[] {
  const { colors, width } = page;
  const head = group.assuming.flatMap((it) =>
    hang({ text: '  ', shown: '  ' }, escapeText(it), width, colors.yellow),
  );
  const limit = happened && !page.everyRule ? SHOWN_BESIDE_TAKEN : group.ways.length;
  const others = group.ways.filter(({ taken }) => !taken);
  const shown = new Set(others.slice(0, limit));
  const rows = group.ways.filter((way) => way.taken || shown.has(way));
  const left = group.ways.length - rows.length;
  const more = left > 0 ? [colors.dim(`    … ${left} more`)] : [];
  return [...head, ...table(rows, page), ...more];
}

function table(ways: readonly Way[], { width, colors }: Page): string[] {
  const cells = ways.map((way) => ({
    way,
    columns: [
      way.percent,
      way.exact,
      escapeText(way.to),
      escapeText(way.pod),
      escapeText(way.node === '' ? '' : `on ${way.node}`),
      escapeText(way.notes.join(', ')),
    ],
  }));
  const widths = [0, 1, 2, 3, 4, 5].map((i) =>
    Math.max(...cells.map(({ columns }) => displayWidth(columns[i] ?? ''))),
  );
  const count = fitting(widths, width - 4);
  return cells.flatMap(({ way, columns }) => {
    const [first, rest] = row(columns, widths, count);
    const mark = way.taken ? '▶' : ' ';
    const bad = way.kind === 'dropped' || way.kind === 'rejected';
    const paint = way.taken ? colors.green : bad ? colors.red : (it: string) => it;
    const below = rest.flatMap((text) =>
      hang({ text: '        ', shown: '        ' }, text, width, colors.dim),
    );
    return [`  ${paint(`${mark} ${first}`.trimEnd())}`, ...below];
  });
}

/** How many of the columns stand on the first line. */
function fitting(widths: readonly number[], room: number): number {
  let used = 0;
  let count = 0;
  for (const width of widths) {
    const wanted = used + (width === 0 ? 0 : width + (used === 0 ? 0 : GAP.length));
    if (wanted > room) break;
    used = wanted;
    count++;
  }
  return Math.max(count, 1);
}

function row(
  columns: readonly string[],
  widths: readonly number[],
  fits: number,
): [first: string, rest: string[]] {
  const parts: string[] = [];
  for (let i = 0; i < fits; i++) {
    const width = widths[i] ?? 0;
    if (width === 0) continue;
    const text = shorten(columns[i] ?? '', width, 'middle');
    parts.push(i < 2 ? padStart(text, width) : padEnd(text, width));
  }
  return [parts.join(GAP), columns.slice(fits).filter((text) => text !== '')];
}
