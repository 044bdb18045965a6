import { RuleTexts } from '../decode/rules/saved-chains.js';
import type { IptablesRules, NftablesRules, NftJson, RuleSet } from '../model/ruleset.js';

/** A Service, by name. */
interface ServiceName {
  readonly namespace: string;
  readonly name: string;
}

/** kube-proxy's chains of one Service or one endpoint of it. */
const IPTABLES_CHAIN = /^KUBE-(?:SVC|SVL|EXT|XLB|FW|SEP)-/;
const NFTABLES_CHAIN = /^(?:service|external|firewall|endpoint)-[A-Z2-7]+-/;

/** Which chains of one Service there are, and which chains of them lead where. */
interface Chains {
  readonly own: Set<string>;
  /** To a chain that may be one of them, from another one; `''` for a chain that is in force anyway. */
  readonly jumps: (readonly [from: string, to: string])[];
}

/** Chains of a Service, sorted, in which nothing comes: no chain in force leads to them. */
export function staleChains(rules: RuleSet, service: ServiceName): readonly string[] {
  const { own, jumps } =
    rules.kind === 'nftables' ? inNftables(rules, service) : inIptables(rules, service);
  const reached = new Set(['']);
  // As long as a round reaches more; each but the last reaches one more at least.
  for (let before = 0; before < reached.size; ) {
    before = reached.size;
    for (const [from, to] of jumps) if (own.has(to) && reached.has(from)) reached.add(to);
  }
  return [...own].filter((name) => !reached.has(name)).sort();
}

/** Whose chain it is its rules' comments tell: `"shop/web:http"`, `"shop/web:http -> 10.244.1.5:80"`. */
function inIptables({ tables }: IptablesRules, { namespace, name }: ServiceName): Chains {
  const chains: Chains = { own: new Set(), jumps: [] };
  const said = `${namespace}/${name}`;
  for (const chain of tables.get('nat')?.chains.values() ?? []) {
    const isOfOne = IPTABLES_CHAIN.test(chain.name);
    const texts = new RuleTexts(chain);
    while (texts.next()) {
      const text = texts.text.slice(texts.start, texts.end);
      if (isOfOne && says(text, said)) chains.own.add(chain.name);
      const target = /(?:^| )-[jg] (KUBE-[A-Z]+-\S+)$/.exec(text)?.[1];
      if (target !== undefined && IPTABLES_CHAIN.test(target)) {
        chains.jumps.push([isOfOne ? chain.name : '', target]);
      }
    }
  }
  return chains;
}

/** `shop/web`, and not `shop/web-2` or `eshop/web`. */
function says(text: string, name: string): boolean {
  const at = text.indexOf(name);
  if (at < 1) return false;
  return /[ "]/.test(text[at - 1] ?? '') && /[ ":]/.test(text[at + name.length] ?? ' ');
}

/** Whose chain it is its name tells: `service-XYZ-shop/web/tcp/http`. */
function inNftables(rules: NftablesRules, { namespace, name }: ServiceName): Chains {
  const chains: Chains = { own: new Set(), jumps: [] };
  for (const chain of rules.chains.values()) {
    const hash = NFTABLES_CHAIN.exec(chain.name)?.[0];
    if (hash === undefined) continue;
    const isOwn = chain.name.startsWith(`${namespace}/${name}/`, hash.length);
    if (isOwn) chains.own.add(chain.name);
  }
  if (chains.own.size === 0) return chains;
  const from = (where: string, value: NftJson | undefined): void => {
    for (const to of chains.own) if (leadsTo(value, to)) chains.jumps.push([where, to]);
  };
  for (const chain of rules.chains.values()) {
    const isOfOne = NFTABLES_CHAIN.test(chain.name);
    for (const { expressions } of chain.rules) from(isOfOne ? chain.name : '', expressions);
  }
  for (const { elements } of rules.maps.values()) {
    for (const { value } of elements) from('', value);
  }
  return chains;
}

/** Whether a verdict to this chain is anywhere within. */
function leadsTo(value: NftJson | undefined, chain: string): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return Object.entries(value).some(([key, inner]) =>
    key === 'target' ? inner === chain : leadsTo(inner, chain),
  );
}
