import type { Traffic } from '../model/attribution.js';
import type { CounterMove, RuleOverview } from '../model/rule-view.js';
import type { HeldRules } from './rule-book.js';
import { choicesOf, sum } from './rule-choices.js';

const NOTHING: Traffic = { packets: 0, bytes: 0 };

/** What one rule that leads to an endpoint had counted. */
export interface Counted {
  readonly chance: Traffic;
  readonly sticky: Traffic;
  /** The rules' texts: other ones count from 0. */
  readonly text: string;
}

/** Counters at one moment, by rule set, balancing chain and endpoint. */
export type Snapshot = ReadonlyMap<string, Counted>;

/** The counters of the balancing chains in view, from rules that may be newer than it. */
export function snapshot(overview: RuleOverview, held: readonly HeldRules[]): Snapshot {
  const all = new Map<string, Counted>();
  for (const { balancers } of overview.services) {
    for (const { chain, read } of balancers) {
      const one = held[read];
      if (chain === undefined || one === undefined) continue;
      for (const [target, choice] of choicesOf(one.rules, chain).choices) {
        const { chance, sticky, text } = choice;
        if (chance === undefined && sticky === undefined) continue;
        all.set(counterKey(one, chain, target), {
          chance: chance ?? NOTHING,
          sticky: sticky ?? NOTHING,
          text,
        });
      }
    }
  }
  return all;
}

export function counterKey({ node, rules }: HeldRules, chain: string, endpoint: string): string {
  return `${node ?? ''} ${rules.kind} ${rules.backend} ${rules.family} ${chain} ${endpoint}`;
}

/** Whether counters went on from one moment to the other, or were set to 0 in between. */
export function wentOn(before: Counted, after: Counted): boolean {
  return (
    before.text === after.text &&
    before.chance.packets <= after.chance.packets &&
    before.sticky.packets <= after.sticky.packets
  );
}

/** Which counters moved, or were set to 0 and perhaps moved since. An endpoint that is new begins at 0. */
export function movesBetween(
  before: Snapshot,
  after: Snapshot,
  overview: RuleOverview,
  held: readonly HeldRules[],
): readonly CounterMove[] {
  const moves: CounterMove[] = [];
  for (const { service, protocol, balancers } of overview.services) {
    for (const { chain, read, endpoints } of balancers) {
      const one = held[read];
      if (chain === undefined || one === undefined) continue;
      for (const endpoint of endpoints) {
        const key = counterKey(one, chain, endpoint.chain ?? '');
        const move = moveOf(before.get(key), after.get(key));
        if (move === undefined) continue;
        moves.push({ read, ...(service && { service }), protocol, chain, endpoint, ...move });
      }
    }
  }
  return moves;
}

function moveOf(
  was: Counted | undefined,
  is: Counted | undefined,
): Pick<CounterMove, 'kind' | 'before' | 'after'> | undefined {
  if (is === undefined) return undefined;
  const before = was === undefined ? NOTHING : sum(was.chance, was.sticky);
  const after = sum(is.chance, is.sticky);
  if (was !== undefined && !wentOn(was, is)) {
    // Nothing was lost where nothing had been counted.
    const isQuiet = before.packets === 0 && after.packets === 0;
    return isQuiet ? undefined : { kind: 'reset', before, after };
  }
  return before.packets === after.packets ? undefined : { kind: 'moved', before, after };
}
