import { canonicalAddress } from '../../model/address.js';
import type { Rule } from '../../model/ruleset.js';
import { compare, NONE, ONE, rest, times } from '../../model/share.js';
import type {
  BaseChain,
  Branch,
  Effect,
  Followed,
  Hook,
  HookFacts,
  ReadBaseChains,
  Share,
  Trail,
  WalkedRule,
} from '../../model/walk.js';
import { Asked, type Chance } from './condition.js';
import { type ReadChain, type ReadRule, ReadTable } from './iptables-chains.js';
import { assumed, type Question } from './question.js';

/** Where iptables' tables hang (linux/netfilter_ipv4.h, the same numbers for IPv6). */
const TABLES: readonly {
  readonly name: string;
  readonly priority: number;
  readonly hooks: readonly Hook[];
}[] = [
  { name: 'raw', priority: -300, hooks: ['prerouting', 'output'] },
  {
    name: 'mangle',
    priority: -150,
    hooks: ['prerouting', 'input', 'forward', 'output', 'postrouting'],
  },
  { name: 'nat', priority: -100, hooks: ['prerouting', 'output'] },
  { name: 'filter', priority: 0, hooks: ['input', 'forward', 'output'] },
  { name: 'security', priority: 50, hooks: ['input', 'forward', 'output'] },
  { name: 'nat', priority: 100, hooks: ['input', 'postrouting'] },
];

/** conntrack looks at packets here, in PREROUTING and OUTPUT. */
const CONNTRACK_PRIORITY = -200;

/** nf_tables allows 16 (NFT_JUMP_STACK_SIZE), legacy what fits; only a loop goes deeper than this. */
const MAX_DEPTH = 256;

/**
 * Ways through one base chain. The largest Services have some thousand endpoints; a rule set that asks
 * one unknown after the other would double them with each.
 */
const MAX_WAYS = 8192;

/** Met rules are told to the walk in lots. */
const LOT = 256;

/** `-d 10.96.0.1/32 …`, `-d fd00::1/128 …`: what nearly all rules of KUBE-SERVICES begin with. */
const DESTINATION = '-d ';
/** Longest address, and what goes before it. */
const MAX_DESTINATION = 3 + 45;

/** The chains that iptables hangs into the hooks, with what is reachable from them. */
export const iptablesBaseChains: ReadBaseChains = (rules) => {
  if (rules.kind !== 'iptables') return [];
  const tables = new Map<string, ReadTable>();
  for (const table of rules.tables.values()) {
    tables.set(table.name, new ReadTable(table, rules.backend));
  }
  return TABLES.flatMap(({ name, priority, hooks }) =>
    hooks.flatMap((hook): BaseChain[] => {
      const table = tables.get(name);
      const chain = table?.get(hook.toUpperCase());
      return table && chain ? [new HookedChain(table, chain, hook, priority)] : [];
    }),
  );
};

class HookedChain implements BaseChain {
  readonly hook: Hook;
  readonly priority: number;
  readonly backend: BaseChain['backend'];
  readonly table: string;
  readonly name: string;
  readonly isNat: boolean;
  private readonly read: ReadTable;
  private readonly chain: ReadChain;

  constructor(table: ReadTable, chain: ReadChain, hook: Hook, priority: number) {
    this.hook = hook;
    this.priority = priority;
    this.backend = table.backend;
    this.table = table.name;
    this.name = chain.chain.name;
    this.isNat = table.name === 'nat';
    this.read = table;
    this.chain = chain;
  }

  follow(branch: Branch, at: HookFacts): readonly Followed[] {
    // A process's packet to the node itself comes in again by `lo`, with the entry that it has.
    const isSecond = at.packet.from.kind === 'node' && this.hook === 'prerouting';
    const isTracked = this.priority > CONNTRACK_PRIORITY || isSecond;
    return new Following(this.read, this.chain, this.hook, isTracked, at).all(branch);
  }
}

/** Where a walk goes on when a chain that was jumped to is over. */
interface Back {
  readonly chain: ReadChain;
  readonly index: number;
  readonly depth: number;
  readonly path: readonly string[];
  readonly isSticky: boolean;
  readonly back: Back | undefined;
}

/** A packet on its way: where it is, and what became of it so far. */
class Way {
  branch: Branch;
  last: Trail | undefined;
  chain: ReadChain;
  index = 0;
  depth = 0;
  /** Chains behind the base chain. */
  path: readonly string[] = [];
  /** A rule that led here asked for affinity. */
  isSticky = false;
  back: Back | undefined;
  /** What was assumed of the rule that it stands before. */
  because: string | undefined;

  constructor(branch: Branch, chain: ReadChain) {
    this.branch = branch;
    this.last = branch.last;
    this.chain = chain;
  }

  copy(): Way {
    return Object.assign(new Way(this.branch, this.chain), this);
  }

  /** The branch with everything that it met. */
  get left(): Branch {
    return this.last ? { ...this.branch, last: this.last } : this.branch;
  }

  /** Enters a chain; with `-g` it ends where this one would. */
  enter(chain: ReadChain, action: 'jump' | 'goto', isSticky: boolean): void {
    if (action === 'jump') {
      const { index, depth, path, back } = this;
      this.back = {
        chain: this.chain,
        index: index + 1,
        depth,
        path,
        isSticky: this.isSticky,
        back,
      };
    }
    this.path = [...this.path, chain.chain.name];
    this.chain = chain;
    this.index = 0;
    this.depth++;
    this.isSticky ||= isSticky;
  }

  /** Goes back behind the last jump; false: there was none, the base chain's policy comes. */
  leave(): boolean {
    const { back } = this;
    if (!back) return false;
    this.chain = back.chain;
    this.index = back.index;
    this.depth = back.depth;
    this.path = back.path;
    this.isSticky = back.isSticky;
    this.back = back.back;
    return true;
  }
}

/** What a rule's conditions come to. */
type Outcome =
  | { readonly is: 'passed'; readonly because: string }
  | { readonly is: 'asked'; readonly question: Question }
  | { readonly is: 'held'; readonly chance?: Chance };

/** One packet's ways through one base chain. */
class Following {
  private readonly table: ReadTable;
  private readonly base: ReadChain;
  private readonly hook: Hook;
  private readonly isTracked: boolean;
  private readonly at: HookFacts;
  private readonly open: Way[] = [];
  private readonly done: Followed[] = [];
  private unspent = 0;

  constructor(table: ReadTable, base: ReadChain, hook: Hook, isTracked: boolean, at: HookFacts) {
    this.table = table;
    this.base = base;
    this.hook = hook;
    this.isTracked = isTracked;
    this.at = at;
  }

  all(branch: Branch): readonly Followed[] {
    this.open.push(new Way(branch, this.base));
    for (let way = this.open.pop(); way; way = this.open.pop()) this.go(way);
    if (this.unspent > 0) this.at.spend?.(this.unspent);
    return this.done;
  }

  /** Follows a way to its end; where it parts, the other one is left open. */
  private go(way: Way): void {
    let of = new Asked(way.branch, this.at, this.hook, this.isTracked);
    for (;;) {
      if (of.branch !== way.branch) {
        of = new Asked(way.branch, this.at, this.hook, this.isTracked);
      }
      const rule = way.chain.rules[way.index];
      if (!rule) {
        if (way.leave()) continue;
        this.policy(way);
        return;
      }
      const missed = missedDestination(rule.text, way.branch.destination);
      if (missed !== undefined) {
        if (!this.spend(way, 1)) return;
        this.pass(way, rule, `destination is not ${missed}`);
        continue;
      }
      const read = way.chain.at(way.index);
      if (!read || !this.spend(way, 1 + read.conditions.length)) return;
      of.where = `rule ${way.index + 1} of ${this.table.name} ${way.chain.chain.name}`;
      if (!this.meet(way, read, of)) return;
    }
  }

  /** Lets the packet meet a rule; false: the way is over. */
  private meet(way: Way, read: ReadRule, of: Asked): boolean {
    const { rule } = read;
    const outcome = outcomeOf(read, of);
    if (outcome.is === 'passed') {
      this.pass(way, rule, outcome.because);
      return true;
    }
    if (outcome.is === 'asked') return this.assume(way, read, outcome.question);
    const { chance: chosen } = outcome;
    if (!chosen) return this.act(way, read, of);
    const { chance, remark } = chosen;
    if (compare(chance, NONE) === 0) {
      this.pass(way, rule, 'never chosen at random', chance);
      return true;
    }
    if (read.isInert) {
      this.undecided(way, rule, 'chosen at random; where it goes does not depend on it');
      return true;
    }
    if (compare(chance, ONE) < 0) {
      if (this.isFull(way)) return false;
      if (remark !== undefined) this.at.remark?.(remark);
      const other = way.copy();
      other.branch = { ...way.branch, share: times(way.branch.share, rest(chance)) };
      other.because = undefined;
      this.pass(other, rule, 'not chosen at random', chance);
      this.open.push(other);
      way.branch = { ...way.branch, share: times(way.branch.share, chance) };
    }
    return this.act(way, read, of, chance);
  }

  /** Parts the way where nobody knows the answer, unless it is all the same. */
  private assume(way: Way, read: ReadRule, question: Question): boolean {
    const { rule } = read;
    if (read.isInert) {
      const words = `not known whether ${question.yes}; where it goes does not depend on it`;
      this.undecided(way, rule, words);
      return true;
    }
    if (this.isFull(way) || !this.spend(way, way.branch.assuming.length)) return false;
    if (question.remark !== undefined) this.at.remark?.(question.remark);
    const { assuming } = way.branch;
    const other = way.copy();
    // Which of the two lets the rule match is seen when it is met again.
    for (const [one, words] of [
      [other, question.no],
      [way, question.yes],
    ] as const) {
      one.branch = { ...one.branch, assuming: [...assuming, words] };
      one.because = one.because === undefined ? `assumed: ${words}` : `${one.because}; ${words}`;
    }
    this.open.push(other);
    return true;
  }

  /** Does what a rule that matched does; false: the way is over. */
  private act(way: Way, read: ReadRule, of: Asked, chance?: Share): boolean {
    const { action, rule, remembers } = read;
    const effects: Effect[] = remembers.map((list) => ({ does: 'remember', list }));
    if (remembers.length > 0) {
      const { remembered = [] } = way.branch;
      way.branch = { ...way.branch, remembered: [...remembered, ...remembers] };
    }
    const said = (effect: Effect): void => this.matched(way, rule, [...effects, effect], chance);
    switch (action.does) {
      case 'nothing':
        said({ does: 'nothing' });
        way.index++;
        return true;
      case 'change': {
        const { branch, effect } = action.change(withBranch(of, way.branch));
        said(effect);
        way.branch = branch;
        way.index++;
        return true;
      }
      case 'return':
        said({ does: 'return' });
        if (way.leave()) return true;
        this.policy(way);
        return false;
      case 'jump':
      case 'goto': {
        const chain = this.table.get(action.chain);
        if (!chain || way.depth >= MAX_DEPTH) {
          this.bound(way, `chains lead on more than ${MAX_DEPTH} deep`);
          return false;
        }
        said({ does: action.does, chain: action.chain });
        way.enter(chain, action.does, read.isSticky);
        return true;
      }
      case 'translate':
        this.translate(way, read, of, effects, chance);
        return false;
      case 'unknown':
        this.at.remark?.(`${action.what} (${of.where})`);
        this.undecided(way, rule, action.what, [{ does: 'unknown', what: action.what }]);
        this.end(way, 'unknown');
        return false;
      default:
        said({ does: action.does });
        this.end(way, action.does);
        return false;
    }
  }

  private translate(
    way: Way,
    read: ReadRule,
    of: Asked,
    effects: readonly Effect[],
    chance: Share | undefined,
  ): void {
    if (read.action.does !== 'translate') return;
    const affinity = way.branch.affinity || way.isSticky || read.isSticky;
    const isDestination = this.hook === 'prerouting' || this.hook === 'output';
    for (const { branch, effect, assuming } of read.action.ways(withBranch(of, way.branch))) {
      const one = way.copy();
      one.branch = {
        ...branch,
        ...(isDestination && { path: way.path, affinity }),
        ...(assuming !== undefined && { assuming: [...branch.assuming, assuming] }),
      };
      this.matched(one, read.rule, [...effects, effect], chance);
      this.end(one, 'accept');
    }
  }

  /** The base chain's end. */
  private policy(way: Way): void {
    const { policy = 'ACCEPT', packets, bytes, name } = this.base.chain;
    const verdict = policy === 'DROP' ? 'drop' : 'accept';
    this.add(way, {
      ...this.place(name, 0, 0),
      text: `policy ${policy}`,
      ...(packets !== undefined && { packets }),
      ...(bytes !== undefined && { bytes }),
      met: 'matched',
      effects: [{ does: verdict }],
    });
    way.path = [];
    this.end(way, verdict);
  }

  private end(way: Way, verdict: Followed['verdict']): void {
    // Of what is refused before it is translated: the chains that lead to the refusing rule.
    const tellsPath = verdict !== 'accept' && !way.branch.dnat;
    const { left } = way;
    this.done.push({ branch: tellsPath ? { ...left, path: way.path } : left, verdict });
  }

  /** Ends a way at a bound, which is told. */
  private bound(way: Way, what: string): void {
    this.at.remark?.(`${what}: what comes behind is not known`);
    const rule = way.chain.rules[way.index];
    if (rule) this.undecided(way, rule, what, [{ does: 'unknown', what }]);
    this.end(way, 'unknown');
  }

  /** Whether there are as many ways as there may be; this one is then over. */
  private isFull(way: Way): boolean {
    if (this.open.length + this.done.length < MAX_WAYS) return false;
    this.bound(way, `a chain has more than ${MAX_WAYS} ways`);
    return true;
  }

  private spend(way: Way, rules: number): boolean {
    this.unspent += rules;
    if (this.unspent < LOT) return true;
    const { unspent } = this;
    this.unspent = 0;
    if (this.at.spend?.(unspent) ?? true) return true;
    this.bound(way, 'more rules were met than a walk follows');
    return false;
  }

  /** The rule does not match. */
  private pass(way: Way, rule: Rule, because: string, chance?: Share): void {
    const { chain, depth } = way;
    const assumedToo = way.because;
    way.because = undefined;
    const position = way.index + 1;
    way.index++;
    const known = chain.said[position];
    if (
      assumedToo === undefined &&
      known?.because === because &&
      known.depth === depth &&
      known.hook === this.hook &&
      known.chance === chance
    ) {
      this.add(way, known);
      return;
    }
    const step: WalkedRule = {
      ...this.placed(chain.chain.name, position, depth, rule),
      met: assumedToo === undefined ? 'passed' : 'unknown',
      because: assumedToo ?? because,
      ...(chance && { chance }),
      effects: [],
    };
    if (assumedToo === undefined) chain.said[position] = step;
    this.add(way, step);
  }

  private matched(
    way: Way,
    rule: Rule,
    effects: readonly Effect[],
    chance: Share | undefined,
  ): void {
    const { because } = way;
    way.because = undefined;
    this.add(way, {
      ...this.placed(way.chain.chain.name, way.index + 1, way.depth, rule),
      met: because === undefined ? 'matched' : 'unknown',
      ...(because !== undefined && { because }),
      ...(chance && { chance }),
      effects,
    });
  }

  /** Whether it matches is not known; it is the same, or the end. */
  private undecided(way: Way, rule: Rule, because: string, effects: readonly Effect[] = []): void {
    way.because = undefined;
    this.add(way, {
      ...this.placed(way.chain.chain.name, way.index + 1, way.depth, rule),
      met: 'unknown',
      because,
      effects,
    });
    way.index++;
  }

  private add(way: Way, rule: WalkedRule): void {
    way.last = way.last ? { rule, before: way.last } : { rule };
  }

  private place(
    chain: string,
    position: number,
    depth: number,
  ): Pick<WalkedRule, 'backend' | 'hook' | 'table' | 'chain' | 'depth' | 'position'> {
    const { backend, name } = this.table;
    return { backend, hook: this.hook, table: name, chain, depth, position };
  }

  private placed(
    chain: string,
    position: number,
    depth: number,
    { line, text, packets, bytes }: Rule,
  ): Omit<WalkedRule, 'met' | 'effects'> {
    return {
      ...this.place(chain, position, depth),
      line,
      text,
      ...(packets !== undefined && { packets }),
      ...(bytes !== undefined && { bytes }),
    };
  }
}

/** Whether a rule matches, as far as it can be said. What certainly fails decides before what nobody knows. */
function outcomeOf({ conditions }: ReadRule, of: Asked): Outcome {
  let question: Question | undefined;
  let chosen: Chance | undefined;
  for (const condition of conditions) {
    const { negated } = condition;
    const answer = condition.ask(of);
    if (typeof answer === 'boolean') {
      if (answer === negated) return { is: 'passed', because: condition.say(of, answer) };
    } else if ('chance' in answer) {
      const chance = negated ? rest(answer.chance) : answer.chance;
      chosen = { ...answer, chance: chosen ? times(chosen.chance, chance) : chance };
    } else {
      const known = assumed(answer, of.branch.assuming);
      if (known === undefined) question ??= answer;
      else if (known === negated) {
        return { is: 'passed', because: known ? answer.yes : answer.no };
      }
    }
  }
  if (question) return { is: 'asked', question };
  return chosen ? { is: 'held', chance: chosen } : { is: 'held' };
}

function withBranch(of: Asked, branch: Branch): Asked {
  if (of.branch === branch) return of;
  const now = new Asked(branch, of.at, of.hook, of.isTracked);
  now.where = of.where;
  return now;
}

/**
 * The one address that a rule asks for first, if it is another one than the packet's: so nearly all rules
 * of a large chain are passed, which need no further reading.
 */
function missedDestination(text: string, destination: string): string | undefined {
  if (destination === '' || !text.startsWith(DESTINATION)) return undefined;
  const slash = text.lastIndexOf('/', MAX_DESTINATION);
  const wanted = text.slice(DESTINATION.length, slash);
  if (wanted === destination) return undefined;
  const isHost = text.startsWith(wanted.includes(':') ? '/128 ' : '/32 ', slash);
  // Another spelling may be the same address; what is none is read as other rules are.
  return isHost && canonicalAddress(wanted) === wanted ? wanted : undefined;
}
