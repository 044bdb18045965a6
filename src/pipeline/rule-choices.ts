import type { Traffic } from '../model/attribution.js';
import type { RuleSet } from '../model/ruleset.js';

/** A chance of 1: xt_statistic compares 31 bits of a random number (net/netfilter/xt_statistic.c). */
export const STATISTIC_BITS = 31;
const STATISTIC_ONE = 2 ** STATISTIC_BITS;

const TARGET = /(?:^| )-[jg] (\S+)/;
const PROBABILITY = /(?:^| )--probability ([\d.]+)/;
const EVERY = /(?:^| )--every (\d+)/;
const RECENT = /(?:^| )-m recent /;
const SECONDS = /(?:^| )--seconds (\d+)/;
const BALANCER = /^(?:KUBE-(?:SVC|SVL|XLB)-|service-|local-)/;

/** What a balancing chain of iptables' rules says of the chains that it leads to. */
export interface Choice {
  readonly chain: string;
  /** Taken in so many of 2^31 cases when a packet comes to the rule; absent: always. */
  stored?: number;
  chance?: Traffic;
  sticky?: Traffic;
  /** The texts of the rules that count, to tell whether they were written anew. */
  text: string;
}

/** The chain that balances, of those on a way. */
export function balancerIn(path: readonly string[]): string | undefined {
  return path.findLast((name) => BALANCER.test(name));
}

/**
 * The choices of a balancing chain in order; none for other rules than iptables'. Rules of session affinity are
 * counted apart: they are not taken by chance.
 */
export function choicesOf(
  rules: RuleSet,
  chain: string,
): { readonly choices: ReadonlyMap<string, Choice>; readonly affinitySeconds?: number } {
  const choices = new Map<string, Choice>();
  let affinitySeconds: number | undefined;
  const nat = rules.kind === 'iptables' ? rules.tables.get('nat') : undefined;
  for (const { text, packets, bytes } of nat?.chains.get(chain)?.rules ?? []) {
    const target = TARGET.exec(text)?.[1];
    if (target === undefined || !target.startsWith('KUBE-SEP-')) continue;
    let choice = choices.get(target);
    if (choice === undefined) {
      choice = { chain: target, text: '' };
      choices.set(target, choice);
    }
    choice.text += `${text}\n`;
    const counted = packets === undefined || bytes === undefined ? undefined : { packets, bytes };
    if (RECENT.test(text)) {
      affinitySeconds = Number(SECONDS.exec(text)?.[1] ?? affinitySeconds ?? Number.NaN);
      if (counted) choice.sticky = sum(choice.sticky, counted);
      continue;
    }
    const probability = PROBABILITY.exec(text)?.[1];
    const every = EVERY.exec(text)?.[1];
    if (probability !== undefined) choice.stored = Math.round(Number(probability) * STATISTIC_ONE);
    // Not kube-proxy's, and not by chance, but as often.
    else if (every !== undefined) choice.stored = Math.round(STATISTIC_ONE / Number(every));
    if (counted) choice.chance = sum(choice.chance, counted);
  }
  return {
    choices,
    ...(affinitySeconds !== undefined && !Number.isNaN(affinitySeconds) && { affinitySeconds }),
  };
}

export function sum(a: Traffic | undefined, b: Traffic): Traffic {
  return a === undefined ? b : { packets: a.packets + b.packets, bytes: a.bytes + b.bytes };
}
