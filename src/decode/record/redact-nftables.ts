import type {
  NftablesRules,
  NftChain,
  NftElement,
  NftJson,
  NftRule,
  NftSet,
} from '../../model/ruleset.js';
import { field, isList } from '../rules/nft-values.js';
import type { RuleNames } from './redact-names.js';
import type { Pseudonyms } from './redact-pseudonyms.js';

/** Words of nft's own grammar (libnftables-json(5)), as far as kube-proxy's table has them. */
const WORDS = new Set(
  `ip ip6 tcp udp sctp icmp icmpv6 inet th daddr saddr dport sport l4proto mark state status type local protocol
  in == != < > <= >= new established related invalid untracked snat dnat random inc fully-random persistent
  port-unreachable host-unreachable admin-prohibited tcp reset accept drop update add delete
  ipv4_addr ipv6_addr inet_proto inet_service verdict timeout interval constant dynamic
  iifname oifname`.split(/\s+/),
);
const GRAMMAR = /^(?:[a-z0-9_ -]{1,24}|[&|^]|<<|>>)$/;
const LEFT_OUT: NftRule = { expressions: [] };

class Unknown extends Error {}

/** kube-proxy's table with pseudonyms. A rule or element with something unknown in it is left out. */
export class NftablesRedactor {
  leftOut = 0;
  private readonly pseudonyms: Pseudonyms;
  private readonly names: RuleNames;

  constructor(pseudonyms: Pseudonyms, names: RuleNames) {
    this.pseudonyms = pseudonyms;
    this.names = names;
  }

  rules(rules: NftablesRules): NftablesRules {
    return {
      ...rules,
      chains: renamed([...rules.chains.values()].map((chain) => this.chain(chain))),
      sets: renamed([...rules.sets.values()].map((set) => this.set(set))),
      maps: renamed([...rules.maps.values()].map((set) => this.set(set))),
    };
  }

  private chain(chain: NftChain): NftChain {
    return {
      ...chain,
      name: this.names.chain(chain.name),
      ...this.comment(chain),
      rules: chain.rules.map((rule) => this.rule(rule)),
    };
  }

  private rule(rule: NftRule): NftRule {
    const expressions = rule.expressions.map((one) => this.known(one));
    if (expressions.some((one) => one === undefined)) {
      this.leftOut++;
      return rule.handle === undefined ? LEFT_OUT : { ...LEFT_OUT, handle: rule.handle };
    }
    return {
      ...rule,
      ...this.comment(rule),
      expressions: expressions.filter((one) => one !== undefined),
    };
  }

  private set(set: NftSet): NftSet {
    const elements: NftElement[] = [];
    for (const element of set.elements) {
      const key = this.known(element.key);
      const value = element.value === undefined ? null : this.known(element.value);
      if (key === undefined || value === undefined) {
        this.leftOut++;
        continue;
      }
      elements.push({
        ...element,
        key,
        ...(element.value !== undefined && { value }),
        ...this.comment(element),
      });
    }
    return { ...set, name: this.names.chain(set.name), ...this.comment(set), elements };
  }

  private comment({ comment }: { readonly comment?: string }): { readonly comment?: string } {
    return comment === undefined ? {} : { comment: this.names.comment(comment) };
  }

  private known(value: NftJson): NftJson | undefined {
    try {
      return this.json(value, '');
    } catch (error) {
      if (error instanceof Unknown) return undefined;
      throw error;
    }
  }

  private json(value: NftJson, member: string): NftJson {
    if (typeof value === 'string') return this.text(value, member);
    if (typeof value !== 'object' || value === null) return value;
    if (isList(value)) {
      // The ends of a range keep what they have in common, not their order.
      if (member === 'range' && value.some((one) => typeof one === 'string')) throw new Unknown();
      return value.map((one) => this.json(one, member));
    }
    const address = field(value, 'addr');
    const length = field(value, 'len');
    if (member === 'prefix' && typeof address === 'string' && typeof length === 'number') {
      const moved = this.pseudonyms.addressText(`${address}/${length}`);
      if (moved === undefined) throw new Unknown();
      return { addr: moved.replace(/\/\d+$/, ''), len: length };
    }
    const out: Record<string, NftJson> = {};
    for (const [key, one] of Object.entries(value)) {
      if (!GRAMMAR.test(key)) throw new Unknown();
      out[key] = this.json(one, key);
    }
    return out;
  }

  private text(text: string, member: string): string {
    if (member === 'target') return this.names.chain(text);
    if (member === 'comment') return this.names.comment(text);
    if (text.startsWith('@')) return `@${this.names.chain(text.slice(1))}`;
    if (WORDS.has(text)) return text;
    const moved = this.pseudonyms.addressText(text);
    if (moved === undefined) throw new Unknown();
    return moved;
  }
}

function renamed<T extends { readonly name: string }>(all: readonly T[]): Map<string, T> {
  return new Map(all.map((one) => [one.name, one]));
}
