import type { Figure } from './figure.js';
import type { DatedReport, Measured, Row, Run, Unit } from './report.js';

/** A part's section of docs/benchmarks.md. */
export function markdownOf(report: DatedReport): string {
  const lines = [
    `${[`${report.date}, ${report.machine}`, ...report.tools].join(', ')}. \`${report.command}\``,
    '',
    `${report.input}.`,
    '',
  ];
  if (report.rows.length > 0) {
    lines.push('| target | whichpod | peer | ratio | |', '|---|---|---|---|---|');
    lines.push(...report.rows.map(targetLine));
  }
  if (report.runs.length > 0) {
    if (report.rows.length > 0) lines.push('');
    const rate = report.counted ?? '';
    lines.push(
      `| run | wall | CPU | ${rate === '' ? '' : `${rate}/s`} | peak memory |`,
      '|---|---|---|---|---|',
    );
    lines.push(...report.runs.map(runLine));
  }
  if (report.skipped.length > 0) {
    lines.push('', ...report.skipped.map((why) => `- not measured: ${why}`));
  }
  return lines.join('\n');
}

function targetLine(row: Row): string {
  const verdict = row.met === undefined ? '' : row.met ? 'met' : '**missed**';
  const cells = [
    row.target ?? '(comparison)',
    told(row.ours),
    row.peer === undefined ? '' : told(row.peer),
    row.ratio === undefined ? '' : `${digits(row.ratio)}x`,
    [verdict, row.remark].filter((it) => it !== undefined && it !== '').join('; '),
  ];
  return `| ${cells.map(cell).join(' | ')} |`;
}

function runLine(run: Run): string {
  const cells = [
    run.name,
    figureText(run.seconds, 's'),
    run.cpuSeconds === undefined ? '' : figureText(run.cpuSeconds, 's'),
    run.perSecond === undefined ? '' : figureText(run.perSecond, 'count'),
    run.peakMegabytes === undefined ? '' : figureText(run.peakMegabytes, 'MB'),
  ];
  return `| ${cells.map(cell).join(' | ')} |`;
}

/** A pipe would end the cell. */
const cell = (text: string): string => text.replaceAll('|', '\\|');

const told = (it: Measured): string => `${it.what}: ${figureText(it.figure, it.unit)}`;

/** `1.23 s (1.20-1.31)`; one round has no spread. */
function figureText(figure: Figure, unit: Unit): string {
  const { median, min, max, rounds } = figure;
  const one = withUnit(median, unit);
  return rounds > 1 ? `${one} (${short(min)}-${short(max)})` : one;
}

const UNIT_TEXT: Readonly<Record<Unit, string>> = {
  s: ' s',
  ms: ' ms',
  us: ' µs',
  MB: ' MB',
  bytes: ' B',
  '/s': '/s',
  '%': ' %',
  count: '',
  x: 'x',
};

const withUnit = (value: number, unit: Unit): string => `${short(value)}${UNIT_TEXT[unit]}`;

/** Three digits that count, with k or M from 10,000 on. */
function short(value: number): string {
  if (Math.abs(value) >= 1e6) return `${digits(value / 1e6)} M`;
  if (Math.abs(value) >= 1e4) return `${digits(value / 1e3)} k`;
  return digits(value);
}

function digits(value: number): string {
  if (value === 0) return '0';
  if (!Number.isFinite(value)) return '-';
  const before = Math.floor(Math.log10(Math.abs(value))) + 1;
  return value.toFixed(Math.max(0, Math.min(4, 3 - before)));
}
