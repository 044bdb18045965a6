import type { Chain, NftJson, RuleSet } from '../../model/ruleset.js';
import { RuleTexts } from './saved-chains.js';

/** The versions of kube-proxy, `1.24`, that write such rules; either end may be open. */
export interface Versions {
  readonly from?: string;
  readonly to?: string;
}

/**
 * What the shape of kube-proxy's rules tells of its version, by chains that came and went: KUBE-SVL-
 * and KUBE-EXT- in 1.24 in place of KUBE-XLB-, KUBE-PROXY-FIREWALL in 1.25, filter's KUBE-NODEPORTS in
 * 1.21, three rules in KUBE-POSTROUTING in 1.19 (pkg/proxy/iptables/proxier.go of those versions). In
 * nftables mode filter-prerouting-pre-dnat came in 1.33, and with 1.36 a Service's chain translates by
 * itself (pkg/proxy/nftables/proxier.go). `undefined`: these are not kube-proxy's, or tell nothing.
 */
export function kubeProxyVersions(rules: RuleSet): Versions | undefined {
  const versions = rules.kind === 'nftables' ? ofNftables(rules) : ofIptables(rules);
  return versions.from === undefined && versions.to === undefined ? undefined : versions;
}

function ofIptables(rules: RuleSet & { kind: 'iptables' }): Versions {
  const nat = rules.tables.get('nat')?.chains;
  const filter = rules.tables.get('filter')?.chains;
  if (nat?.has('KUBE-SERVICES') !== true) return {};
  if (filter?.has('KUBE-PROXY-FIREWALL') === true) return { from: '1.25' };
  let hasOld = false;
  for (const name of nat.keys()) {
    if (name.startsWith('KUBE-SVL-') || name.startsWith('KUBE-EXT-')) return { from: '1.24' };
    hasOld ||= name.startsWith('KUBE-XLB-');
  }
  const postrouting = nat.get('KUBE-POSTROUTING');
  if (postrouting !== undefined && textsOf(postrouting).length === 1) return { to: '1.18' };
  const since = filter?.has('KUBE-NODEPORTS') === true ? { from: '1.21' } : {};
  return hasOld ? { ...since, to: '1.23' } : since;
}

function ofNftables(rules: RuleSet & { kind: 'nftables' }): Versions {
  if (!rules.maps.has('service-ips')) return {};
  for (const chain of rules.chains.values()) {
    if (!chain.name.startsWith('service-')) continue;
    for (const { expressions } of chain.rules) {
      if (expressions.some((one) => hasKey(one, 'dnat'))) return { from: '1.36' };
    }
  }
  if (rules.chains.has('filter-prerouting-pre-dnat')) return { from: '1.33' };
  return rules.chains.has('filter-output-post-dnat') ? { from: '1.30', to: '1.32' } : {};
}

/**
 * Whether the rules that kube-proxy writes with a mark have lost it: a program older than the one that
 * wrote them does that (iptables-nft 1.8.7 and rules of 1.8.8: kubernetes/kubernetes#112477). The first
 * rule of KUBE-POSTROUTING lets pass what has no mark, and never was without since 1.19.
 */
export function losesMarks(rules: RuleSet): boolean {
  if (rules.kind === 'nftables') return false;
  const chain = rules.tables.get('nat')?.chains.get('KUBE-POSTROUTING');
  if (chain === undefined) return false;
  return textsOf(chain).some((text) => /-j RETURN\b/.test(text) && !text.includes('--mark'));
}

function textsOf(chain: Chain): string[] {
  const texts = new RuleTexts(chain);
  const all: string[] = [];
  while (texts.next()) all.push(texts.text.slice(texts.start, texts.end));
  return all;
}

function hasKey(value: NftJson, key: string): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && key in value;
}
