import type { RuleSet } from '../../model/ruleset.js';
import { RuleTexts } from './saved-chains.js';

/** What else writes rules on nodes, by what its chains' names begin with. */
const OWNERS: readonly (readonly [prefix: string, owner: string])[] = [
  ['CILIUM_', 'Cilium'],
  ['cali-', 'Calico'],
  ['OVN-KUBE-', 'OVN-Kubernetes'],
  ['KUBE-ROUTER-', 'kube-router'],
  ['FLANNEL-', 'flannel'],
  ['WEAVE', 'Weave'],
  ['AWS-', 'AWS VPC CNI'],
  ['ANTREA-', 'Antrea'],
  ['IP-MASQ', 'ip-masq-agent'],
  ['CNI-HOSTPORT-', 'CNI portmap'],
  ['DOCKER', 'Docker'],
];

/** The components, by name, whose chains of iptables are there. */
export function ownersOf(rules: RuleSet): string[] {
  if (rules.kind === 'nftables') return [];
  const found = new Set<string>();
  for (const { chains } of rules.tables.values()) {
    for (const name of chains.keys()) {
      // Nearly all: kube-proxy's own.
      if (name.startsWith('KUBE-') && !name.startsWith('KUBE-ROUTER-')) continue;
      for (const [prefix, owner] of OWNERS) if (name.startsWith(prefix)) found.add(owner);
    }
  }
  return [...found].sort();
}

/** Rules that keep packets out of conntrack; they stand in table raw (iptables-extensions(8), CT and NOTRACK). */
export function untrackedIn(rules: RuleSet): number {
  if (rules.kind === 'nftables') return 0;
  let count = 0;
  for (const chain of rules.tables.get('raw')?.chains.values() ?? []) {
    const texts = new RuleTexts(chain);
    while (texts.next()) {
      const rule = texts.text.slice(texts.start, texts.end);
      if (/-j (?:NOTRACK\b|CT .*--notrack\b)/.test(rule)) count++;
    }
  }
  return count;
}
