import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { markdownOf } from './markdown.js';
import type { DatedReport } from './report.js';

const MARKDOWN = fileURLToPath(new URL('../../docs/benchmarks.md', import.meta.url));
const JSON_FILE = fileURLToPath(new URL('../../docs/benchmarks.json', import.meta.url));

/** Puts reports into docs/benchmarks.md, between the markers of their parts, and into the JSON beside it. */
export function writeDocuments(reports: readonly DatedReport[]): void {
  const all = new Map(readReports().map((report) => [report.part, report]));
  for (const report of reports) all.set(report.part, report);
  writeFileSync(JSON_FILE, jsonOf([...all.values()]));
  let text = readFileSync(MARKDOWN, 'utf8');
  for (const report of reports) text = withSection(text, report.part, markdownOf(report));
  writeFileSync(MARKDOWN, text);
}

export function jsonOf(reports: readonly DatedReport[]): string {
  return `${JSON.stringify({ schema: 'whichpod-bench/1', reports }, undefined, 1)}\n`;
}

function readReports(): readonly DatedReport[] {
  try {
    return (JSON.parse(readFileSync(JSON_FILE, 'utf8')) as { reports: DatedReport[] }).reports;
  } catch {
    return []; // the first run writes it
  }
}

/** The text with what stands between `<!-- bench:PART -->` and `<!-- /bench:PART -->` replaced. */
function withSection(text: string, part: string, section: string): string {
  const [open, close] = [`<!-- bench:${part} -->`, `<!-- /bench:${part} -->`];
  const [from, to] = [text.indexOf(open), text.indexOf(close)];
  if (from < 0 || to < from)
    throw new Error(`docs/benchmarks.md has no section ${open} … ${close}`);
  return `${text.slice(0, from + open.length)}\n${section}\n${text.slice(to)}`;
}
