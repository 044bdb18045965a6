import type { IptablesRules, NftablesRules, NftJson, RuleSet } from '../../model/ruleset.js';
import { RuleTexts, SavedChains } from './saved-chains.js';

/**
 * A number for what the rules say, whatever their counters: two rule sets that differ in a table, a
 * chain, a policy, a rule or their order have, but for one chance in 2^64, different ones. FNV-1a
 * (draft-eastlake-fnv) twice with different beginnings; not safe against someone who looks for equals. Of
 * iptables' rules the reader has made it line by line (`SavedChains.fingerprint`).
 */
export function rulesFingerprint(rules: RuleSet): string {
  let a = 0x811c_9dc5;
  let b = 0x0102_0304;
  const add = (text: string): void => {
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      a = Math.imul(a ^ c, 0x0100_0193);
      b = Math.imul(b ^ c, 0x01ab_cdef);
    }
    // Between two texts, so that moving a character from one to the next is seen.
    a = Math.imul(a ^ 0xffff, 0x0100_0193);
    b = Math.imul(b ^ 0xffff, 0x01ab_cdef);
  };
  if (rules.kind === 'iptables') iptables(rules, add);
  else nftables(rules, add);
  return `${(a >>> 0).toString(16)}-${(b >>> 0).toString(16)}`;
}

function iptables(rules: IptablesRules, add: (text: string) => void): void {
  for (const { name, chains } of rules.tables.values()) {
    add(`*${name}`);
    if (chains instanceof SavedChains) {
      add(chains.fingerprint);
      continue;
    }
    for (const chain of chains.values()) {
      add(`:${chain.name} ${chain.policy ?? '-'}`);
      const texts = new RuleTexts(chain);
      while (texts.next()) add(texts.text);
    }
  }
}

/** Neither handles, which a restarted kube-proxy gets anew, nor the clients that an affinity set holds just now. */
function nftables(rules: NftablesRules, add: (text: string) => void): void {
  for (const chain of rules.chains.values()) {
    add(`chain ${chain.name} ${chain.hook ?? ''} ${chain.priority ?? ''} ${chain.policy ?? ''}`);
    for (const rule of chain.rules) add(JSON.stringify(rule.expressions, withoutCounters));
  }
  for (const sets of [rules.sets, rules.maps]) {
    for (const { name, valueType, timeoutSeconds, elements } of sets.values()) {
      add(`set ${name} ${valueType ?? ''} ${timeoutSeconds ?? ''}`);
      if (timeoutSeconds !== undefined) continue;
      // nft lists them in the order of a hash with a random key.
      for (const text of elements.map(elementText).sort()) add(text);
    }
  }
}

function elementText({ key, value }: { readonly key: NftJson; readonly value?: NftJson }): string {
  return JSON.stringify([key, value ?? null], withoutCounters);
}

function withoutCounters(key: string, value: unknown): unknown {
  return key === 'counter' ? null : value;
}
