import type { Effect, Hook, WalkEnding, WalkedRule } from '../../model/walk.js';

/** A walk as a list from top to bottom: what the text prints and the page folds. */
export type WalkItem =
  | { readonly is: 'hook'; readonly hook: Hook }
  /** The walk enters a chain, or is back in it. */
  | {
      readonly is: 'chain';
      readonly at: WalkedRule;
      readonly depth: number;
      readonly again: boolean;
    }
  /** `again`: the same rule, doing something else for other ways: one line of a map. */
  | { readonly is: 'rule'; readonly rule: WalkedRule; readonly again: boolean }
  | { readonly is: 'passed'; readonly rules: readonly WalkedRule[]; readonly why: string }
  /** From here on this holds for these ways, which are not all. */
  | { readonly is: 'ways'; readonly endings: readonly WalkEnding[] }
  /** A way is decided here; what it still meets may follow below, together with others. */
  | { readonly is: 'end'; readonly ending: WalkEnding; readonly depth: number };

/** Passed-over rules in a row that are still shown one by one. */
const SHOWN_IN_A_ROW = 3;
/** Groups of ways that go on differently after their translation; the others are like them. */
const MAX_GROUPS = 4;

/**
 * The walks to these endings, what they have in common once: first the tree of choices up to each
 * translation, then what the packet meets after it, for all ways at once where that is the same.
 */
export function walkItems(endings: readonly WalkEnding[], collapse: boolean): WalkItem[] {
  const list = new ItemList(collapse);
  const ways = endings.map((ending) => ({ ending, cut: afterTranslation(ending) }));
  list.branch(
    ways.map(({ ending, cut }) => ({ ending, steps: ending.steps.slice(0, cut) })),
    0,
  );
  const groups: { endings: WalkEnding[]; steps: readonly WalkedRule[] }[] = [];
  for (const { ending, cut } of ways) {
    const steps = ending.steps.slice(cut);
    if (steps.length === 0) continue;
    const like = groups.find((group) => sameSteps(group.steps, steps));
    if (like) like.endings.push(ending);
    else groups.push({ endings: [ending], steps });
  }
  for (const group of collapse ? groups.slice(0, MAX_GROUPS) : groups) {
    if (ways.length > 1) list.ways(group.endings);
    list.straight(group.steps);
  }
  return list.items;
}

interface Way {
  readonly ending: WalkEnding;
  readonly steps: readonly WalkedRule[];
}

class ItemList {
  readonly items: WalkItem[] = [];
  private readonly collapse: boolean;
  private hook: Hook | undefined;
  /** Where the walk stands: the chain at each depth of this base chain's tree. */
  private chains: string[] = [];
  private run: WalkedRule[] = [];

  constructor(collapse: boolean) {
    this.collapse = collapse;
  }

  straight(steps: readonly WalkedRule[]): void {
    for (const step of steps) this.step(step, false);
    this.flush();
  }

  ways(endings: readonly WalkEnding[]): void {
    this.flush();
    this.items.push({ is: 'ways', endings });
    this.hook = undefined;
    this.chains = [];
  }

  /** Ways that are alike before `from`. */
  branch(ways: readonly Way[], from: number): void {
    let at = from;
    for (;;) {
      const groups = byStep(ways, at);
      const [first] = groups;
      if (first === undefined) return;
      const { step } = first;
      if (step === undefined || groups.length > 1) {
        this.split(groups, at);
        return;
      }
      this.step(step, false);
      at++;
    }
  }

  private split(groups: readonly Group[], at: number): void {
    const several = new Set<string>();
    for (const { step, ways } of groups) {
      if (step === undefined) {
        this.flush();
        for (const { ending, steps } of ways) {
          this.items.push({ is: 'end', ending, depth: steps.at(-1)?.depth ?? 0 });
        }
        continue;
      }
      const place = `${step.table} ${step.chain} ${step.position}`;
      // That a rule may also be passed over is told by its chance, and by what follows it.
      if (step.met !== 'passed' || !several.has(place)) this.step(step, several.has(place));
      several.add(place);
      this.branch(ways, at + 1);
    }
  }

  private step(step: WalkedRule, again: boolean): void {
    if (step.met === 'passed') {
      const [before] = this.run;
      if (before && (!sameChain(before, step) || isChoice(before) !== isChoice(step))) this.flush();
      this.run.push(step);
      return;
    }
    this.flush();
    this.enter(step);
    this.items.push({ is: 'rule', rule: step, again });
  }

  private flush(): void {
    const rules = this.run;
    const [first] = rules;
    if (first === undefined) return;
    this.run = [];
    this.enter(first);
    if (this.collapse && rules.length > SHOWN_IN_A_ROW) {
      this.items.push({ is: 'passed', rules, why: commonReason(rules) });
    } else {
      for (const rule of rules) this.items.push({ is: 'rule', rule, again: false });
    }
  }

  private enter(step: WalkedRule): void {
    if (step.hook !== this.hook) {
      this.hook = step.hook;
      this.chains = [];
      this.items.push({ is: 'hook', hook: step.hook });
    }
    // A policy is one line that names its chain.
    if (step.position === 0) return;
    const name = `${step.backend} ${step.table} ${step.chain}`;
    if (this.chains[step.depth] === name && this.chains.length === step.depth + 1) return;
    const again = this.chains[step.depth] === name;
    this.chains = [...this.chains.slice(0, step.depth), name];
    this.items.push({ is: 'chain', at: step, depth: step.depth, again });
  }
}

interface Group {
  /** Absent: these ways end before. */
  readonly step: WalkedRule | undefined;
  readonly ways: Way[];
}

/** Ways by what they meet next: where a rule matches before where it does not. */
function byStep(ways: readonly Way[], at: number): Group[] {
  const groups: Group[] = [];
  for (const way of ways) {
    const step = way.steps[at];
    const group = groups.find((it) =>
      it.step === undefined || step === undefined ? it.step === step : sameStep(it.step, step),
    );
    if (group) group.ways.push(way);
    else groups.push({ step, ways: [way] });
  }
  const order = (group: Group): number => (group.step?.met === 'passed' ? 1 : 0);
  return groups.length < 2 ? groups : groups.sort((a, b) => order(a) - order(b));
}

function sameChain(a: WalkedRule, b: WalkedRule): boolean {
  return (
    a.chain === b.chain &&
    a.depth === b.depth &&
    a.table === b.table &&
    a.hook === b.hook &&
    a.backend === b.backend
  );
}

function isChoice(rule: WalkedRule): boolean {
  return rule.chance !== undefined;
}

function sameStep(a: WalkedRule, b: WalkedRule): boolean {
  if (a === b) return true;
  return (
    a.position === b.position &&
    a.met === b.met &&
    sameChain(a, b) &&
    a.effects.length === b.effects.length &&
    a.effects.every((effect, i) => sameEffect(effect, b.effects[i]))
  );
}

function sameEffect(a: Effect, b: Effect | undefined): boolean {
  return b !== undefined && effectKey(a) === effectKey(b);
}

function effectKey(effect: Effect): string {
  return Object.values(effect).join(' ');
}

function sameSteps(a: readonly WalkedRule[], b: readonly WalkedRule[]): boolean {
  return (
    a.length === b.length &&
    a.every((step, i) => {
      const other = b[i];
      return other !== undefined && sameStep(step, other);
    })
  );
}

/** How many steps lead to the translation, it included; all of them if there is none. */
function afterTranslation({ steps }: WalkEnding): number {
  const at = steps.findIndex(
    ({ met, effects }) => met === 'matched' && effects.some(({ does }) => does === 'dnat'),
  );
  return at < 0 ? steps.length : at + 1;
}

/** What a reason is about, by how it is worded; each names values of its own. */
const SUBJECTS: readonly (readonly [RegExp, string])[] = [
  [/^(?:(?:the )?destination port|\S+ dport)/, 'destination port'],
  [/^(?:(?:the )?source port|\S+ sport)/, 'source port'],
  [/^(?:(?:the )?destination|\S+ daddr)/, 'destination'],
  [/^(?:(?:the )?source|\S+ saddr)/, 'source'],
  [/^(?:it is (?:tcp|udp|sctp|protocol)\b|meta l4proto)/i, 'protocol'],
  [/^it (?:comes|leaves|does not)/, 'interface'],
  [/^its state/, 'state'],
  [/\bmark\b/, 'mark'],
];

/** Why they were passed over, in one line; '' if each for a reason of its own. */
function commonReason(rules: readonly WalkedRule[]): string {
  const [first] = rules;
  if (first?.because !== undefined && rules.every(({ because }) => because === first.because)) {
    return first.because;
  }
  const counts = new Map<string, number>();
  for (const { because = '' } of rules) {
    const subject = SUBJECTS.find(([words]) => words.test(because))?.[1];
    if (subject === undefined) return '';
    counts.set(subject, (counts.get(subject) ?? 0) + 1);
  }
  const said = [...counts].sort(([, a], [, b]) => b - a);
  const [only] = said;
  if (only && said.length === 1) return `by their ${only[0]}`;
  return said.map(([subject, count]) => `${count} by their ${subject}`).join(', ');
}
