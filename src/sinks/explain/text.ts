import pc from 'picocolors';
import type { Explanation } from '../../model/explanation.js';
import { escapeText } from '../escape.js';
import { findingLines } from './text-findings.js';
import { headLines } from './text-head.js';
import type { Page } from './text-page.js';
import { storyLines } from './text-story.js';
import { walkLines } from './text-walk.js';
import { wayLines } from './text-ways.js';
import { hang } from './wrap.js';

export interface TextOptions {
  /** Columns that a line may take; below 60 it is cut as if there were 60. */
  readonly width: number;
  readonly colors: boolean;
  /** Every rule that was passed over, one by one. */
  readonly everyRule?: boolean;
}

const LEAST_WIDTH = 60;

/** The explanation for people, ending in a newline. All foreign text in it is safe for a terminal. */
export function renderText(explanation: Explanation, options: TextOptions): string {
  const colors = pc.createColors(options.colors);
  const page: Page = {
    width: Math.max(options.width, LEAST_WIDTH),
    colors,
    everyRule: options.everyRule ?? false,
  };
  const { walk, story, findings, remarks } = explanation;
  const sections: [title: string, about: string, lines: readonly string[]][] = [];
  const answers = explanation.attribution === undefined && findings.length > 0;
  if (answers) sections.push(['THE ANSWER', '', findingLines(findings, page)]);
  if (walk) {
    const happened = explanation.attribution !== undefined;
    const ways: (typeof sections)[number] = [
      happened ? 'WHERE IT COULD HAVE GONE' : 'WHERE IT GOES',
      "by this node's rules",
      wayLines(walk, page),
    ];
    if (!happened) sections.push(ways);
    sections.push([
      'THE WALK',
      'every rule that the first packet met, in order',
      walkLines(walk, page),
    ]);
    if (happened) sections.push(ways);
  }
  if (story) {
    sections.push(['THE STORY', 'time since the first packet', storyLines(story, page)]);
  }
  if (explanation.attribution !== undefined) {
    sections.push(['THE DIAGNOSIS', '', findingLines(findings, page)]);
  }
  if (remarks.length > 0) {
    const lines = remarks.flatMap((remark) => bullet(remark, page));
    sections.push(['WHAT LIMITS THIS ANSWER', '', lines]);
  }
  const parts = sections.map(([title, about, lines]) =>
    [heading(title, about, page), ...lines].join('\n'),
  );
  return `${[headLines(explanation, page).join('\n'), ...parts].join('\n\n')}\n`;
}

function heading(title: string, about: string, { colors }: Page): string {
  return about === '' ? colors.bold(title) : `${colors.bold(title)}  ${colors.dim(about)}`;
}

function bullet(remark: string, { width }: Page): string[] {
  return hang({ text: '  - ', shown: '  - ' }, escapeText(remark), width, (line) => line);
}
