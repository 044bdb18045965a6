import type pc from 'picocolors';
import type { Summary } from '../model/attribution.js';
import { escapeText } from './escape.js';
import { humanCount, humanDuration } from './units.js';
import { displayWidth, shorten } from './width.js';

type Colors = ReturnType<typeof pc.createColors>;
type Line = readonly [label: string, value: string, share?: string];

/** The end of a run for people: every number with its name, aligned, in no more than `width` columns. */
export function summaryBlock(summary: Summary, colors: Colors, width: number | undefined): string {
  const { connections: c } = summary;
  const share = (n: number): string => (c.seen === 0 ? '' : `${((100 * n) / c.seen).toFixed(1)} %`);
  const part = (label: string, n: number): Line => [label, humanCount(n), share(n)];
  const parts = (of: Readonly<Record<string, number>>, indent: string): Line[] =>
    Object.entries(of)
      .filter(([, n]) => n > 0)
      .map(([name, n]) => part(indent + escapeText(name), n));
  const some = (label: string, n: number): Line[] => (n > 0 ? [[label, humanCount(n)]] : []);

  const reasons = parts(c.reasons, '    ');
  const outcomes = parts(c.outcomes, '  ');
  const lines: Line[] = [
    ['Connections', humanCount(c.seen)],
    part('  attributed', c.attributed),
    part('  unattributed', c.unattributed),
    part('  conflict', c.conflict),
    ...some('  pending', c.pending),
    ...(reasons.length > 0 ? [['  by reason', ''] as const, ...reasons] : []),
    ...(outcomes.length > 0 ? [['Outcomes', ''] as const, ...outcomes] : []),
    ['Packets', humanCount(summary.packets.seen)],
    ...some('  dropped', summary.packets.dropped),
    ['Losses', humanCount(summary.losses)],
    ...some('Direct to a Pod', summary.direct),
    ...some('No Service', summary.other),
    ...some('Open before the start', summary.existing),
    ...some('Left out of the output', summary.leftOut ?? 0),
    ['Duration', humanDuration(summary.durationNs)],
  ];
  const sum = c.attributed + c.unattributed + c.conflict + c.pending;
  const numbers = [c.attributed, c.unattributed, c.conflict, c.pending].map(humanCount).join(' + ');
  const balance =
    sum === c.seen
      ? `Every connection seen is counted once: ${humanCount(c.seen)} = ${numbers}`
      : colors.red(`The sum does not balance: ${humanCount(c.seen)} seen, ${numbers} counted`);
  const room = width ?? Number.POSITIVE_INFINITY;
  return ['', ...aligned(lines, room), ...wrapped(balance, room), ''].join('\n');
}

function aligned(lines: readonly Line[], room: number): string[] {
  const label = Math.max(...lines.map(([text]) => displayWidth(text)));
  const value = Math.max(...lines.map(([, text]) => text.length));
  return lines.map(([text, number, share]) => {
    const padded = text + ' '.repeat(label - displayWidth(text));
    const line = `${padded}  ${number.padStart(value)}${share ? `  ${share.padStart(7)}` : ''}`;
    return shorten(line.trimEnd(), room, 'end');
  });
}

/** Breaks a sentence at spaces. */
export function wrapped(sentence: string, room: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of sentence.split(' ')) {
    if (line !== '' && displayWidth(line) + 1 + displayWidth(word) > room) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
