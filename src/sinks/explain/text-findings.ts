import type { Finding } from '../../model/finding.js';
import { escapeText } from '../escape.js';
import type { Page } from './text-page.js';
import { clock } from './words.js';
import { hang } from './wrap.js';

const LABEL = 12;

/** Findings with what shows them, what they mean, what to do. */
export function findingLines(findings: readonly Finding[], page: Page): string[] {
  if (findings.length === 0) {
    return [`  ${page.colors.green('Nothing found: no known fault shows in this evidence.')}`];
  }
  return findings.flatMap((finding, i) => [...(i === 0 ? [] : ['']), ...one(finding, page)]);
}

function one(finding: Finding, { width, colors }: Page): string[] {
  const paint = { fault: colors.red, odd: colors.yellow, fact: colors.cyan }[finding.weight];
  const weight = finding.weight.toUpperCase().padEnd(LABEL - 2);
  const lines = hang(
    { text: `  ${weight}`, shown: `  ${paint(colors.bold(weight))}` },
    escapeText(finding.title),
    width,
    colors.bold,
  );
  lines.push(`${' '.repeat(LABEL)}${colors.dim(escapeText(finding.code))}`);
  const part = (label: string, text: string, shade = (it: string) => it): void => {
    const head = `  ${label.padEnd(LABEL - 2)}`;
    lines.push(...hang({ text: head, shown: colors.dim(head) }, escapeText(text), width, shade));
  };
  for (const [i, { from, says, time }] of finding.evidence.entries()) {
    const at = clock(time);
    part(i === 0 ? 'shown by' : '', `${from}${at === '' ? '' : ` ${at}`}: ${says}`);
  }
  part('means', finding.meaning);
  for (const [i, next] of finding.next.entries()) part(i === 0 ? 'next' : '', `- ${next}`);
  return lines;
}
