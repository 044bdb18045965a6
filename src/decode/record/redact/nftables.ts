import type {
  NftablesRules,
  NftChain,
  NftElement,
  NftJson,
  NftRule,
  NftSet,
} from '../../../model/ruleset.js';
import { field, isList } from '../../rules/nft-values.js';
import type { Steps } from '../../rules/steps.js';
import type { RuleNames } from './names.js';
import type { Pseudonyms } from './pseudonyms.js';
import { nothing, releaseOf } from './rest.js';

/** Words of nft's own grammar (libnftables-json(5)), as far as kube-proxy's table has them. */
const WORDS = new Set(
  `ip ip6 tcp udp sctp icmp icmpv6 inet th daddr saddr dport sport l4proto mark state status type local protocol
  in == != < > <= >= new established related invalid untracked snat dnat random inc fully-random persistent
  port-unreachable host-unreachable admin-prohibited tcp reset accept drop update add delete
  ipv4_addr ipv6_addr inet_proto inet_service verdict timeout interval constant dynamic
  iifname oifname`.split(/\s+/),
);
const GRAMMAR = /^(?:[a-z0-9_ -]{1,24}|[&|^]|<<|>>)$/;
/** `ipv4_addr`, `prerouting`, `interval`. */
const WORD = /^[a-z0-9_]{1,16}$/;
/** Of a map of services with 5,000: less than 1 ms. */
const ELEMENTS_AT_ONCE = 32;

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

  /** The same rules with pseudonyms, a chain or some elements a step. */
  *rules(rules: NftablesRules): Steps<NftablesRules> {
    const { kind, family, backend, version, time, chains, sets, maps, ...rest } = rules;
    nothing(rest);
    const release = releaseOf(version);
    const renamed = new Map<string, NftChain>();
    for (const chain of chains.values()) {
      const one = this.chain(chain);
      renamed.set(one.name, one);
      yield;
    }
    return {
      kind,
      family,
      backend,
      ...(release !== undefined && { version: release }),
      ...(time !== undefined && { time }),
      chains: renamed,
      sets: yield* this.sets(sets),
      maps: yield* this.sets(maps),
    };
  }

  private *sets(all: ReadonlyMap<string, NftSet>): Steps<Map<string, NftSet>> {
    const renamed = new Map<string, NftSet>();
    for (const set of all.values()) {
      const one = yield* this.set(set);
      renamed.set(one.name, one);
    }
    return renamed;
  }

  private chain(chain: NftChain): NftChain {
    const { name, handle, comment, type, hook, priority, policy, rules, ...rest } = chain;
    nothing(rest);
    return {
      name: this.names.chain(name),
      ...(handle !== undefined && { handle }),
      ...this.comment(comment),
      ...(type !== undefined && isWord(type) && { type }),
      ...(hook !== undefined && isWord(hook) && { hook }),
      ...(priority !== undefined && { priority }),
      ...(policy !== undefined && isWord(policy) && { policy }),
      rules: rules.map((rule) => this.rule(rule)),
    };
  }

  private rule(rule: NftRule): NftRule {
    const { handle, comment, expressions, ...rest } = rule;
    nothing(rest);
    const at = handle === undefined ? {} : { handle };
    const known = expressions.map((one) => this.known(one));
    if (known.some((one) => one === undefined)) {
      this.leftOut++;
      return { ...at, expressions: [] };
    }
    return {
      ...at,
      ...this.comment(comment),
      expressions: known.filter((one) => one !== undefined),
    };
  }

  private *set(set: NftSet): Steps<NftSet> {
    const {
      name,
      handle,
      comment,
      keyTypes,
      valueType,
      flags,
      timeoutSeconds,
      elements: all,
      ...rest
    } = set;
    nothing(rest);
    const elements: NftElement[] = [];
    for (const [i, element] of all.entries()) {
      const one = this.element(element);
      if (one === undefined) this.leftOut++;
      else elements.push(one);
      if (i % ELEMENTS_AT_ONCE === 0) yield;
    }
    return {
      name: this.names.chain(name),
      ...(handle !== undefined && { handle }),
      ...this.comment(comment),
      keyTypes: keyTypes.filter(isWord),
      ...(valueType !== undefined && isWord(valueType) && { valueType }),
      flags: flags.filter(isWord),
      ...(timeoutSeconds !== undefined && { timeoutSeconds }),
      elements,
    };
  }

  private element(element: NftElement): NftElement | undefined {
    const { key, value, comment, expiresSeconds, ...rest } = element;
    nothing(rest);
    const [known, leads] = [this.known(key), value === undefined ? null : this.known(value)];
    if (known === undefined || leads === undefined) return undefined;
    return {
      key: known,
      ...(value !== undefined && { value: leads }),
      ...this.comment(comment),
      ...(expiresSeconds !== undefined && { expiresSeconds }),
    };
  }

  private comment(comment: string | undefined): { readonly comment?: string } {
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

/** Types, hooks, flags: of nft's own making, or of nobody's. */
function isWord(text: string): boolean {
  return WORD.test(text);
}
