import type { ExplainedWalk } from '../../model/explanation.js';
import type { WalkEnding, WalkedRule } from '../../model/walk.js';
import { escapeText } from '../escape.js';
import { humanCount } from '../units.js';
import { displayWidth } from '../width.js';
import { exactShare, percent } from './share.js';
import type { Page } from './text-page.js';
import { type WalkItem, walkItems } from './walk-items.js';
import {
  backendName,
  effectWords,
  endingTarget,
  endingWords,
  HOOK_TITLES,
  hex,
  masqueradeWords,
  podName,
} from './words.js';
import { hang, padStart, wrap } from './wrap.js';

/** Deeper chains are not indented further: what is left of the line must hold a rule. */
const MAX_INDENT = 7;
const MARK = { matched: '✓', passed: '·', unknown: '?', refused: '✗' } as const;
/** From this width on, bytes are shown beside packets. */
const WIDE = 100;
/** So many ways are all walked. */
const MAX_WAYS = 8;
const SHOWN_OF_A_KIND = 3;
const PACKETS = 9;
const BYTES = 10;

/** Every rule that the first packet met, hook by hook; of a packet that could come, along every way. */
export function walkLines(walk: ExplainedWalk, page: Page): string[] {
  const { possible, taken } = walk;
  const all = taken === undefined ? possible.endings : [taken];
  const endings = page.everyRule ? all : someOf(all);
  const writer = new WalkWriter(walk, page, endings.length);
  const lines: string[] = [];
  for (const item of walkItems(endings, !page.everyRule)) lines.push(...writer.lines(item));
  if (taken !== undefined) lines.push(...writer.last(taken));
  const left = all.length - endings.length;
  if (left > 0)
    lines.push('', page.colors.dim(`… ${humanCount(left)} more ways, like those above`));
  return lines;
}

/** Ways that end alike are alike: the first few of each kind show them. */
function someOf(endings: readonly WalkEnding[]): WalkEnding[] {
  if (endings.length <= MAX_WAYS) return [...endings];
  const counts = new Map<string, number>();
  return endings.filter((ending) => {
    const kind = `${ending.kind} ${ending.masquerade} ${ending.affinity}`;
    const count = (counts.get(kind) ?? 0) + 1;
    counts.set(kind, count);
    return count <= SHOWN_OF_A_KIND;
  });
}

class WalkWriter {
  private readonly walk: ExplainedWalk;
  private readonly page: Page;
  private readonly several: boolean;
  private started = false;

  constructor(walk: ExplainedWalk, page: Page, ways: number) {
    this.walk = walk;
    this.page = page;
    this.several = ways > 1;
  }

  lines(item: WalkItem): string[] {
    const { colors, width } = this.page;
    switch (item.is) {
      case 'hook':
        return this.hook(HOOK_TITLES[item.hook]);
      case 'chain': {
        const { at, again } = item;
        const backend = item.depth === 0 ? ` ${colors.dim(backendName(at.backend))}` : '';
        const name = escapeText(`${at.table} ${at.chain}`);
        const back = again ? 'back in ' : '';
        const head = indent(item.depth) + back;
        const shown = indent(item.depth) + colors.dim(back);
        const lines = hang({ text: head, shown }, name, width, colors.bold);
        return lines.map((line, i) => (i === lines.length - 1 ? line + backend : line));
      }
      case 'rule':
        return this.rule(item.rule, item.again);
      case 'passed': {
        const [first] = item.rules;
        const why = item.why === '' ? '' : ` (${item.why})`;
        const choice = first?.chance === undefined ? 'passed over' : 'not chosen';
        const text = `… ${humanCount(item.rules.length)} rules ${choice}${why}`;
        const head = `${indent(first?.depth ?? 0)}  `;
        return hang({ text: head, shown: head }, escapeText(text), width, colors.dim);
      }
      case 'ways': {
        const targets = [...new Set(item.endings.map(endingTarget))];
        const those = targets.slice(0, 3).join(', ');
        const rest = targets.length > 3 ? ` and ${targets.length - 3} more` : '';
        return ['', ...wrap(escapeText(`Then, for ${those}${rest}:`), width).map(colors.underline)];
      }
      case 'end':
        return this.end(item.ending, item.depth);
    }
  }

  /** What became of the packet in the end, of a walk that was taken. */
  last(ending: WalkEnding): string[] {
    const { colors, width } = this.page;
    const known = this.walk.knownBy;
    const lines = hang(
      { text: '  ⇒ ', shown: '  ⇒ ' },
      escapeText(`${endingWords(ending)} ${this.pod(ending)}`.trimEnd()),
      width,
      ending.kind === 'endpoint' || ending.kind === 'untranslated' ? colors.green : colors.red,
    );
    const said = [
      ...known.map((fact) => `known because ${fact}`),
      ...(ending.kind === 'endpoint' ? [masqueradeWords(ending)] : []),
      ...ending.assuming.map((it) => `assuming that ${it}`),
    ];
    for (const text of said) {
      lines.push(...hang({ text: '    ', shown: '    ' }, escapeText(text), width, (it) => it));
    }
    return ['', ...lines];
  }

  private hook(title: string): string[] {
    const { colors, width } = this.page;
    const packets = padStart('packets', PACKETS);
    const counters = width >= WIDE ? packets + padStart('bytes', BYTES) : packets;
    const gap = ' '.repeat(Math.max(1, width - displayWidth(title) - counters.length));
    const line = colors.cyan(title) + colors.dim(gap + counters);
    const lines = this.started ? ['', line] : [line];
    this.started = true;
    return lines;
  }

  private rule(rule: WalkedRule, again: boolean): string[] {
    const { colors, width } = this.page;
    if (rule.position === 0) return this.policy(rule);
    const head = indent(rule.depth);
    const lines: string[] = [];
    const refused = rule.effects.some(({ does }) => does === 'drop' || does === 'reject');
    const mark = rule.met === 'matched' && refused ? MARK.refused : MARK[rule.met];
    const paintMark = toneOf(rule, refused, colors);
    const number = rule.position === 0 ? '' : `${rule.position}`;
    const label = `${head}${mark} ${padStart(number, 2)} `;
    const text = rule.met === 'passed' ? colors.dim : (it: string) => it;
    if (!again) {
      const counters = this.counters(rule);
      const room = width - counters.width;
      const shown = `${head}${paintMark(mark)} ${colors.dim(padStart(number, 2))} `;
      const body = hang({ text: label, shown }, escapeText(rule.text), room, text);
      const [first = '', ...others] = body;
      const used =
        displayWidth(label) +
        displayWidth(wrap(escapeText(rule.text), room - displayWidth(label))[0] ?? '');
      const gap = ' '.repeat(Math.max(0, room - used));
      const end = counters.text === '' ? '' : gap + colors.dim(counters.text);
      lines.push(first + end, ...others);
    }
    const below = ' '.repeat(displayWidth(label));
    for (const [words, paint] of this.about(rule)) {
      lines.push(...hang({ text: below, shown: below }, escapeText(words), width, paint));
    }
    return lines.map((line) => line.trimEnd());
  }

  private policy(rule: WalkedRule): string[] {
    const { colors, width } = this.page;
    const refused = rule.effects.some(({ does }) => does === 'drop' || does === 'reject');
    const mark = rule.met === 'matched' && refused ? MARK.refused : MARK[rule.met];
    const text = escapeText(`${rule.table} ${rule.chain}: ${rule.text}`);
    const shown = `  ${toneOf(rule, refused, colors)(mark)} `;
    return hang({ text: `  ${mark} `, shown }, text, width, refused ? colors.red : colors.dim);
  }

  private counters({ packets, bytes }: WalkedRule): { text: string; width: number } {
    if (packets === undefined) return { text: '', width: 0 };
    const count = padStart(humanCount(packets), PACKETS);
    if (this.page.width < WIDE) return { text: count, width: PACKETS };
    const size = padStart(bytes === undefined ? '' : humanCount(bytes), BYTES);
    return { text: count + size, width: PACKETS + BYTES };
  }

  /** What its text does not say: why it was passed over, how likely it is taken, what it did. */
  private about(rule: WalkedRule): [string, (text: string) => string][] {
    const { colors } = this.page;
    const said: [string, (text: string) => string][] = [];
    if (rule.because !== undefined) {
      const paint = rule.met === 'unknown' ? colors.yellow : colors.dim;
      const isSaid = rule.met !== 'unknown' || rule.because.startsWith('not known');
      said.push([isSaid ? rule.because : `not known: ${rule.because}`, paint]);
    }
    if (rule.chance !== undefined && rule.met !== 'passed') {
      const exact = exactShare(rule.chance);
      said.push([
        `by chance: ${percent(rule.chance)}${exact === '' ? '' : ` (${exact})`}`,
        colors.cyan,
      ]);
    }
    if (rule.met === 'passed') return said;
    for (const effect of rule.effects) {
      // Where a jump leads is the next line.
      if (effect.does === 'jump' || effect.does === 'goto' || effect.does === 'nothing') continue;
      const bad = effect.does === 'drop' || effect.does === 'reject';
      const to = effect.does === 'dnat' && effect.ip !== undefined ? this.podAt(effect.ip) : '';
      said.push([
        `→ ${effectWords(effect)} ${to}`.trimEnd(),
        bad ? colors.red : effect.does === 'unknown' ? colors.yellow : colors.green,
      ]);
    }
    return said;
  }

  /** A way is decided: its share, and what it assumes. */
  private end(ending: WalkEnding, depth: number): string[] {
    if (!this.several) return [];
    const { colors, width } = this.page;
    const exact = exactShare(ending.share);
    const share = `${percent(ending.share)}${exact === '' ? '' : ` (${exact})`}`;
    const mark = ending.mark === 0 ? '' : `, mark ${hex(ending.mark)}`;
    const affinity = ending.affinity ? ', by session affinity' : '';
    const assuming = ending.assuming.map((it) => `, assuming that ${it}`).join('');
    const text = `⇒ ${share} ${endingWords(ending)} ${this.pod(ending)}`.trimEnd();
    const head = `${indent(depth)}  `;
    return hang(
      { text: head, shown: head },
      escapeText(`${text}${affinity}${mark}${assuming}`),
      width,
      colors.bold,
    );
  }

  private pod({ ip }: WalkEnding): string {
    return ip === undefined ? '' : this.podAt(ip);
  }

  private podAt(ip: string): string {
    return podName(this.walk.pods?.get(ip));
  }
}

function indent(depth: number): string {
  return ' '.repeat(2 + 2 * Math.min(depth, MAX_INDENT));
}

function toneOf(
  rule: WalkedRule,
  refused: boolean,
  colors: Page['colors'],
): (text: string) => string {
  if (rule.met === 'unknown') return colors.yellow;
  if (rule.met === 'passed') return colors.dim;
  return refused ? colors.red : colors.green;
}
