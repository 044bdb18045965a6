import type { Chain, RuleSet } from '../../model/ruleset.js';
import { RuleTexts } from './saved-chains.js';

/**
 * Who directs Services' connections, as far as a rule set shows: kube-proxy in one of its modes, or a
 * program that takes its place with rules of its own beside what it does out of netfilter's sight.
 */
export type Datapath = 'iptables' | 'nftables' | 'ipvs' | Replacement;
export type Replacement = 'Cilium' | 'Calico' | 'OVN-Kubernetes';

/** Chains that kube-proxy makes in iptables mode and in no other. */
const SERVICE_CHAIN = /^KUBE-(?:SVC|SVL|XLB|EXT|SEP)-/;

/** What kube-proxy's ipvs mode asks its rules by (pkg/proxy/ipvs/ipset.go; `KUBE-6-` for IPv6). */
const IPVS_SET =
  /--match-set KUBE-(?:6-)?(?:CLUSTER-IP|LOAD-BALANCER|EXTERNAL-IP|NODE-PORT|LOOP-BACK)/;

/** Felix's comments on rules of its eBPF mode (`Pre-approved by BPF programs.`). */
const BPF = /\bBPF\b/;

/** `undefined`: nothing there tells. */
export function datapathOf(rules: RuleSet): Datapath | undefined {
  if (rules.kind === 'nftables') return rules.maps.has('service-ips') ? 'nftables' : undefined;
  const nat = rules.tables.get('nat')?.chains;
  const services = nat?.get('KUBE-SERVICES');
  if (nat !== undefined && services !== undefined) {
    for (const name of nat.keys()) if (SERVICE_CHAIN.test(name)) return 'iptables';
    const asksSets = [services, nat.get('KUBE-NODE-PORT'), nat.get('KUBE-POSTROUTING')].some(
      (chain) => chain !== undefined && has(chain, IPVS_SET),
    );
    return asksSets ? 'ipvs' : 'iptables';
  }
  for (const table of rules.tables.values()) {
    for (const chain of table.chains.values()) {
      const other = ownerOf(chain);
      if (other !== undefined) return other;
    }
  }
  return undefined;
}

function ownerOf(chain: Chain): Replacement | undefined {
  const { name } = chain;
  if (name.startsWith('CILIUM_')) return 'Cilium';
  if (name.startsWith('OVN-KUBE-')) return 'OVN-Kubernetes';
  // Calico has chains of this name in every mode; in the others kube-proxy's are there too.
  return name.startsWith('cali-') && has(chain, BPF) ? 'Calico' : undefined;
}

function has(chain: Chain, pattern: RegExp): boolean {
  const texts = new RuleTexts(chain);
  while (texts.next()) if (pattern.test(texts.text.slice(texts.start, texts.end))) return true;
  return false;
}
