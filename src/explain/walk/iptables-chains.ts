import type { Chain, IptablesRules, Rule, Table } from '../../model/ruleset.js';
import type { WalkedRule } from '../../model/walk.js';
import type { Condition } from './condition.js';
import { conditionsOf } from './iptables-conditions.js';
import { recentOf } from './iptables-recent.js';
import { type Action, actionOf } from './iptables-targets.js';

/** Chains of chains are looked through so deep for whether anything depends on them; deeper ones may matter. */
const MAX_INERT_DEPTH = 16;
/** And so many rules of a chain: one that only logs has few. */
const MAX_INERT_RULES = 64;

/** A rule in words that a walk needs. */
export interface ReadRule {
  readonly rule: Rule;
  readonly conditions: readonly Condition[];
  readonly action: Action;
  /** Lists of `recent` into which it puts the client's address. */
  readonly remembers: readonly string[];
  /** It asks whether the client was here lately, so what it leads to comes by affinity. */
  readonly isSticky: boolean;
  /** Where the packet goes does not depend on whether it matches. */
  readonly isInert: boolean;
}

/** A chain whose rules are read when a packet first comes to them. */
export class ReadChain {
  readonly chain: Chain;
  readonly rules: readonly Rule[];
  /** By position, what was last said of a rule that was passed: packets that pass it alike share it. */
  readonly said: (WalkedRule | undefined)[] = [];
  private readonly table: ReadTable;
  private readonly read: (ReadRule | undefined)[] = [];
  private inert: boolean | undefined;

  constructor(table: ReadTable, chain: Chain) {
    this.table = table;
    this.chain = chain;
    this.rules = chain.rules;
  }

  at(index: number): ReadRule | undefined {
    const known = this.read[index];
    if (known) return known;
    const rule = this.rules[index];
    if (!rule) return undefined;
    const read = this.table.readRule(rule);
    this.read[index] = read;
    return read;
  }

  /** Whether every packet comes back from it as it went in. */
  isInert(depth = 0): boolean {
    if (this.inert !== undefined) return this.inert;
    if (depth > MAX_INERT_DEPTH || this.rules.length > MAX_INERT_RULES) return false;
    // Chains that lead in a circle are none that a packet comes back from.
    this.inert = false;
    this.inert = this.rules.every((rule) => this.table.isInert(rule, depth + 1));
    return this.inert;
  }
}

export class ReadTable {
  readonly name: string;
  readonly backend: IptablesRules['backend'];
  private readonly chains: Table['chains'];
  private readonly read = new Map<string, ReadChain>();

  constructor(table: Table, backend: IptablesRules['backend']) {
    this.name = table.name;
    this.backend = backend;
    this.chains = table.chains;
  }

  get(name: string): ReadChain | undefined {
    let known = this.read.get(name);
    if (!known) {
      const chain = this.chains.get(name);
      if (!chain) return undefined;
      known = new ReadChain(this, chain);
      this.read.set(name, known);
    }
    return known;
  }

  readRule(rule: Rule): ReadRule {
    const { matches } = rule;
    const recent = matches.flatMap((match) =>
      match.name === 'recent' ? (recentOf(match) ?? []) : [],
    );
    const action = this.action(rule);
    return {
      rule,
      conditions: matches.flatMap(conditionsOf),
      action,
      remembers: recent
        .filter(({ does, side }) => does === 'set' && side === 'source')
        .map(({ list }) => list),
      isSticky: recent.some(
        ({ does, negated }) => (does === 'check' || does === 'update') && !negated,
      ),
      isInert: recent.length === 0 && this.leavesAlone(action, 0),
    };
  }

  /** Of a rule inside a chain that is looked through: RETURN ends that chain only. */
  isInert(rule: Rule, depth: number): boolean {
    if (rule.matches.some(({ name }) => name === 'recent')) return false;
    const action = this.action(rule);
    return action.does === 'return' || this.leavesAlone(action, depth);
  }

  private leavesAlone(action: Action, depth: number): boolean {
    if (action.does === 'nothing') return true;
    return action.does === 'jump' && this.get(action.chain)?.isInert(depth) === true;
  }

  private action(rule: Rule): Action {
    return actionOf(rule.target, (name) => this.chains.has(name));
  }
}
