import type { ExplainedWalk } from '../../model/explanation.js';
import type { WalkEnding, WalkedRule } from '../../model/walk.js';
import { humanCount } from '../units.js';
import { markup } from './markup.js';
import { exactShare, percent } from './share.js';
import { type WalkItem, walkItems } from './walk-items.js';
import {
  backendName,
  effectWords,
  endingTarget,
  endingWords,
  HOOK_TITLES,
  masqueradeWords,
  podName,
} from './words.js';

const MAX_DEPTH = 7;
/** Passed-over rules of one run that the page holds: with thousands a phone would choke. */
const MAX_LISTED = 500;
/** Ways that are walked rule by rule; the others are like them, and the JSON has all. */
const MAX_WAYS = 12;

/** The walk as a list that can be read from top to bottom, rules that were passed over folded away. */
export function walkList(walk: ExplainedWalk): string {
  const { possible, taken } = walk;
  const all = taken === undefined ? possible.endings : [taken];
  const endings = all.slice(0, MAX_WAYS);
  const parts: string[] = [];
  let open = false;
  const close = (): void => {
    if (open) parts.push('</ol>');
    open = false;
  };
  for (const item of walkItems(endings, true)) {
    if (item.is === 'hook') {
      close();
      parts.push(`<h3>${HOOK_TITLES[item.hook]}</h3>`);
    } else if (item.is === 'ways') {
      close();
      parts.push(`<h3>Then, for ${markup(item.endings.map(endingTarget).join(', '))}</h3>`);
    } else {
      if (!open) parts.push('<ol class="rules">');
      open = true;
      parts.push(itemLine(item, walk, endings.length > 1));
    }
  }
  close();
  if (taken) parts.push(lastWords(taken, walk));
  if (all.length > endings.length) {
    parts.push(`<p class="dim">${all.length - endings.length} more ways, like those above.</p>`);
  }
  return parts.join('\n');
}

function itemLine(item: WalkItem, walk: ExplainedWalk, several: boolean): string {
  switch (item.is) {
    case 'chain': {
      const backend =
        item.depth === 0 ? ` <span class="dim">${backendName(item.at.backend)}</span>` : '';
      const back = item.again ? '<span class="dim">back in</span> ' : '';
      return `<li class="chain ${depthOf(item.depth)}">${back}${markup(`${item.at.table} ${item.at.chain}`)}${backend}</li>`;
    }
    case 'rule':
      return `<li class="${stateOf(item.rule)} ${depthOf(item.rule.depth)}">${item.again ? aboutRule(item.rule, walk) : ruleLine(item.rule, walk)}</li>`;
    case 'passed':
      return passedLines(item.rules, item.why);
    case 'end':
      return several ? endLine(item.ending, item.depth, walk) : '';
    case 'hook':
    case 'ways':
      // Headings between the lists.
      return '';
  }
}

function passedLines(rules: readonly WalkedRule[], why: string): string {
  const [first] = rules;
  const reason = why === '' ? '' : ` (${why})`;
  const listed = rules
    .slice(0, MAX_LISTED)
    .map(
      (rule) =>
        `<li class="passed"><code>${rule.position} ${markup(rule.text)}</code>${rule.because === undefined || why !== '' ? '' : `<span class="about">${markup(rule.because)}</span>`}</li>`,
    );
  const left = rules.length - listed.length;
  const more = left > 0 ? `<li class="passed">… ${humanCount(left)} more</li>` : '';
  return `<li class="passed ${depthOf(first?.depth ?? 0)}"><details><summary>${humanCount(rules.length)} rules passed over${markup(reason)}</summary><ol class="rules">${listed.join('')}${more}</ol></details></li>`;
}

function ruleLine(rule: WalkedRule, walk: ExplainedWalk): string {
  const counters =
    rule.packets === undefined
      ? ''
      : `<span class="count">${humanCount(rule.packets)} packets${rule.bytes === undefined ? '' : `, ${humanCount(rule.bytes)} bytes`}</span>`;
  const words = { matched: 'matched', passed: 'passed over', unknown: 'not known' }[rule.met];
  const name = rule.position === 0 ? `${rule.table} ${rule.chain}` : String(rule.position);
  return `${counters}<span class="dim">${markup(name)}, ${words}:</span> <code>${markup(rule.text)}</code>${aboutRule(rule, walk)}`;
}

function aboutRule(rule: WalkedRule, walk: ExplainedWalk): string {
  const said: string[] = [];
  if (rule.because !== undefined) said.push(rule.because);
  if (rule.chance !== undefined && rule.met !== 'passed') {
    const exact = exactShare(rule.chance);
    said.push(`by chance: ${percent(rule.chance)}${exact === '' ? '' : ` (${exact})`}`);
  }
  if (rule.met !== 'passed') {
    for (const effect of rule.effects) {
      const words = effectWords(effect);
      const pod =
        effect.does === 'dnat' && effect.ip !== undefined ? podName(walk.pods?.get(effect.ip)) : '';
      if (words !== '') said.push(`→ ${words} ${pod}`.trimEnd());
    }
  }
  return said.map((text) => `<span class="about">${markup(text)}</span>`).join('');
}

function endLine(ending: WalkEnding, depth: number, walk: ExplainedWalk): string {
  const exact = exactShare(ending.share);
  const pod = ending.ip === undefined ? '' : podName(walk.pods?.get(ending.ip));
  const text = `${percent(ending.share)}${exact === '' ? '' : ` (${exact})`} ${endingWords(ending)} ${pod}`;
  const assuming = ending.assuming.map((it) => `, assuming that ${it}`).join('');
  return `<li class="end ${depthOf(depth)}">${markup(text.trimEnd() + assuming)}</li>`;
}

function lastWords(ending: WalkEnding, walk: ExplainedWalk): string {
  const pod = ending.ip === undefined ? '' : podName(walk.pods?.get(ending.ip));
  const said = [
    ...walk.knownBy.map((fact) => `known because ${fact}`),
    ...(ending.kind === 'endpoint' ? [masqueradeWords(ending)] : []),
    ...ending.assuming.map((it) => `assuming that ${it}`),
  ];
  return `<p><b>${markup(`${endingWords(ending)} ${pod}`.trimEnd())}</b></p><ul>${said.map((it) => `<li>${markup(it)}</li>`).join('')}</ul>`;
}

const depthOf = (depth: number): string => `d${Math.min(depth, MAX_DEPTH)}`;

function stateOf(rule: WalkedRule): string {
  const refused = rule.effects.some(({ does }) => does === 'drop' || does === 'reject');
  return rule.met === 'matched' && refused ? 'refused' : rule.met;
}
