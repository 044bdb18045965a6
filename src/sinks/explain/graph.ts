import type { ExplainedWalk } from '../../model/explanation.js';
import { compare, total } from '../../model/share.js';
import type { Effect, Hook, WalkEnding, WalkedRule } from '../../model/walk.js';
import { humanCount } from '../units.js';
import { percent } from './share.js';
import { sameEnd } from './ways.js';
import { backendName, endingTarget, hex, podName, whichRule } from './words.js';

/**
 * The walk as a picture knows it: lanes from top to bottom, in each of them trees of boxes from left to
 * right. What several ways have in common is there once. Texts are not escaped.
 */
export interface Graph {
  readonly lanes: readonly Lane[];
  /** Ways that are not drawn, because they are like others. */
  readonly left: number;
}

export interface Lane {
  readonly hook: Hook;
  readonly boxes: readonly Box[];
  /** Chains in which nothing happened. */
  readonly quiet: readonly string[];
}

export interface Box {
  readonly kind: 'chain' | 'endpoint' | 'refused' | 'through';
  readonly title: string;
  readonly about: string;
  readonly rows: readonly Row[];
  readonly taken: boolean;
}

export interface Row {
  /** `42`; '' for what is no rule. */
  readonly number: string;
  readonly label: string;
  /** How likely it is taken by those who come to it. */
  readonly share: string;
  readonly state: 'matched' | 'passed' | 'unknown' | 'refused' | 'plain';
  readonly taken: boolean;
  /** All that is known of it. */
  readonly hint: string;
  readonly to: readonly Box[];
}

/** More ways than this are no picture any more; the table beside it has all of them. */
const MAX_WAYS = 12;

export function graphOf(walk: ExplainedWalk): Graph {
  const { possible, taken } = walk;
  const likeliest = [...possible.endings].sort((a, b) => compare(b.share, a.share));
  const takenOne = taken && likeliest.find((it) => sameEnd(it, taken));
  const drawn = new Set<WalkEnding>(takenOne === undefined ? [] : [takenOne]);
  for (const ending of likeliest) if (drawn.size < MAX_WAYS) drawn.add(ending);
  const builder = new Builder(walk);
  // In the rules' own order.
  for (const ending of possible.endings) {
    if (drawn.has(ending)) builder.add(ending, ending === takenOne);
  }
  return { lanes: builder.lanes(), left: possible.endings.length - drawn.size };
}

interface DraftRow {
  readonly rule: WalkedRule;
  matched: boolean;
  taken: boolean;
  readonly to: Map<string, DraftBox>;
}

interface DraftBox {
  readonly kind: Box['kind'];
  readonly title: string;
  /** Whose rules; at the end of a way its share, of each assumption's ways that differs. */
  readonly about: Set<string>;
  readonly texts: readonly string[];
  readonly rows: Map<string, DraftRow>;
  taken: boolean;
}

class Builder {
  private readonly walk: ExplainedWalk;
  private readonly hooks = new Map<Hook, Map<string, DraftBox>>();

  constructor(walk: ExplainedWalk) {
    this.walk = walk;
  }

  add(ending: WalkEnding, taken: boolean): void {
    let stack: DraftBox[] = [];
    let hook: Hook | undefined;
    let last: DraftRow | undefined;
    for (const step of ending.steps) {
      const depth = Math.max(0, step.depth);
      if (step.hook !== hook) stack = [];
      hook = step.hook;
      const box = this.boxOf(step, depth === 0 ? undefined : stack[depth - 1], last);
      if (box === undefined) continue;
      stack = [...stack.slice(0, depth), box];
      box.taken ||= taken;
      const row = rowOf(box, step);
      row.matched ||= step.met !== 'passed';
      row.taken ||= taken && step.met !== 'passed';
      if (step.met !== 'passed') last = row;
      for (const effect of step.effects) {
        if (step.met === 'passed' || effect.does !== 'dnat') continue;
        this.leaf(row, this.endpoint(ending), taken);
      }
    }
    if (last !== undefined && ending.kind !== 'endpoint')
      this.leaf(last, this.final(ending), taken);
  }

  lanes(): Lane[] {
    return [...this.hooks].map(([hook, roots]) => {
      const boxes: Box[] = [];
      const quiet: string[] = [];
      for (const root of roots.values()) {
        const rows = [...root.rows.values()];
        const idle = rows.every(({ rule, to }) => rule.position === 0 && to.size === 0);
        const [policy] = rows;
        if (idle) quiet.push(`${root.title}: ${policy?.rule.text ?? 'nothing'}`);
        else boxes.push(finish(root));
      }
      return { hook, boxes, quiet };
    });
  }

  /** The box of the chain that a step is in: at the top of its lane, or behind the rule that led to it. */
  private boxOf(
    step: WalkedRule,
    parent: DraftBox | undefined,
    last: DraftRow | undefined,
  ): DraftBox | undefined {
    const roots = this.hooks.get(step.hook) ?? new Map<string, DraftBox>();
    this.hooks.set(step.hook, roots);
    const from = parent === undefined ? undefined : (leading(parent, step.chain) ?? last);
    const siblings = from === undefined ? roots : from.to;
    const key = `${step.backend} ${step.table} ${step.chain}`;
    const box: DraftBox = siblings.get(key) ?? {
      kind: 'chain',
      title: from === undefined ? `${step.table} ${step.chain}` : step.chain,
      about: new Set(from === undefined ? [backendName(step.backend)] : []),
      texts: [],
      rows: new Map(),
      taken: false,
    };
    siblings.set(key, box);
    return box;
  }

  private leaf(row: DraftRow, box: DraftBox, taken: boolean): void {
    const known = row.to.get(box.title) ?? box;
    known.taken ||= taken;
    for (const share of box.about) known.about.add(share);
    row.to.set(box.title, known);
  }

  /** Of all ways that are `alike`, given what this one assumes. */
  private shareOf(ending: WalkEnding, alike: (other: WalkEnding) => boolean): Set<string> {
    const { assuming } = ending;
    const same = this.walk.possible.endings.filter(
      (other) => alike(other) && isSameList(other.assuming, assuming),
    );
    return new Set([percent(total(same))]);
  }

  private endpoint(ending: WalkEnding): DraftBox {
    const pod = ending.ip === undefined ? undefined : this.walk.pods?.get(ending.ip);
    const title = endingTarget(ending);
    const texts = [pod === undefined ? 'no known Pod' : podName(pod)];
    if (pod?.node !== undefined) texts.push(`on ${pod.node}`);
    if (ending.masquerade === 'yes') texts.push('masqueraded');
    if (ending.affinity) texts.push('by session affinity');
    return {
      kind: 'endpoint',
      title,
      about: this.shareOf(ending, ({ ip, port }) => ip === ending.ip && port === ending.port),
      texts,
      rows: new Map(),
      taken: false,
    };
  }

  private final(ending: WalkEnding): DraftBox {
    const { packet } = this.walk.possible;
    const through = ending.kind === 'untranslated';
    const title =
      ending.kind === 'untranslated'
        ? 'not translated'
        : ending.kind === 'undecided'
          ? 'not known'
          : ending.kind;
    return {
      kind: through ? 'through' : 'refused',
      title,
      about: this.shareOf(
        ending,
        ({ kind, decidedBy }) => kind === ending.kind && isSameRule(decidedBy, ending.decidedBy),
      ),
      texts: through ? [`goes on to ${packet.destination}`] : [],
      rows: new Map(),
      taken: false,
    };
  }
}

function isSameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((it, i) => it === b[i]);
}

/** Which rule decides, or none. */
function isSameRule(a: WalkedRule | undefined, b: WalkedRule | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && whichRule(a) === whichRule(b));
}

/** The last rule of a chain that leads to another one. */
function leading(box: DraftBox, chain: string): DraftRow | undefined {
  let found: DraftRow | undefined;
  for (const row of box.rows.values()) {
    const leads = row.rule.effects.some(
      (effect) => (effect.does === 'jump' || effect.does === 'goto') && effect.chain === chain,
    );
    if (leads) found = row;
  }
  return found;
}

function rowOf(box: DraftBox, step: WalkedRule): DraftRow {
  const key = `${step.position} ${step.met === 'passed' ? '' : step.effects.map(label).join(' ')}`;
  const row = box.rows.get(key) ?? { rule: step, matched: false, taken: false, to: new Map() };
  box.rows.set(key, row);
  return row;
}

function finish(box: DraftBox): Box {
  const rows: Row[] = box.texts.map((text) => ({
    number: '',
    label: text,
    share: '',
    state: 'plain',
    taken: false,
    hint: text,
    to: [],
  }));
  const drafts = [...box.rows.values()].sort(inOrder);
  // A rule that one way passes over and another one takes is shown as taken.
  const matched = new Set(drafts.filter((row) => row.matched).map((row) => row.rule.position));
  let passed: WalkedRule[] = [];
  const flush = (): void => {
    const [first] = passed;
    if (first === undefined) return;
    rows.push({
      number: '',
      label: `${humanCount(passed.length)} passed over`,
      share: '',
      state: 'passed',
      taken: false,
      hint: passed.length === 1 ? `${first.text}; ${first.because ?? ''}` : '',
      to: [],
    });
    passed = [];
  };
  for (const row of drafts) {
    if (!row.matched) {
      if (!matched.has(row.rule.position)) passed.push(row.rule);
      continue;
    }
    // That nothing else decided is not worth a row.
    if (row.rule.position === 0 && row.to.size === 0) continue;
    flush();
    rows.push(finishRow(row));
  }
  flush();
  return {
    kind: box.kind,
    title: box.title,
    about: [...box.about].join(' or '),
    rows,
    taken: box.taken,
  };
}

/** As in the chain, the policy last. */
function inOrder(a: DraftRow, b: DraftRow): number {
  const place = ({ rule }: DraftRow): number =>
    rule.position === 0 ? Number.MAX_SAFE_INTEGER : rule.position;
  return place(a) - place(b);
}

function finishRow({ rule, taken, to }: DraftRow): Row {
  const words = rule.effects.map(label).filter((text) => text !== '');
  const refused = rule.effects.some(({ does }) => does === 'drop' || does === 'reject');
  const counters = rule.packets === undefined ? '' : `; ${humanCount(rule.packets)} packets`;
  return {
    number: rule.position === 0 ? '' : String(rule.position),
    label: words.join(', ') || (rule.met === 'unknown' ? '?' : 'counts'),
    share: rule.chance === undefined ? '' : percent(rule.chance),
    state: rule.met === 'unknown' ? 'unknown' : refused ? 'refused' : 'matched',
    taken,
    hint: `${rule.text}${counters}${rule.because === undefined ? '' : `; ${rule.because}`}`,
    to: [...to.values()].map(finish),
  };
}

/** An effect in a word or two. */
function label(effect: Effect): string {
  switch (effect.does) {
    case 'jump':
    case 'goto':
      return `→ ${effect.chain}`;
    case 'dnat':
      return `DNAT ${endingTarget(effect)}`;
    case 'snat':
      return `SNAT ${effect.ip ?? ''}`.trimEnd();
    case 'masquerade':
      return 'MASQUERADE';
    case 'mark':
      return `mark ${hex(effect.mark)}`;
    case 'remember':
      return `remember in ${effect.list}`;
    case 'accept':
    case 'drop':
    case 'reject':
    case 'return':
      return effect.does.toUpperCase();
    case 'nothing':
      return '';
    case 'unknown':
      return `? ${effect.what}`;
  }
}
