import type {
  IptablesRules,
  NftablesRules,
  NftElement,
  NftJson,
  RuleSet,
} from '../../model/ruleset.js';
import { RuleTexts, SavedChains } from './saved-chains.js';
import { drain, type Steps } from './steps.js';

/** Rules or elements between two places at which it may be interrupted: less than 1 ms. */
const AT_ONCE = 100;

/**
 * A number for what the rules say, whatever their counters: two rule sets that differ in a table, a
 * chain, a policy, a rule or their order have, but for one chance in 2^64, different ones. FNV-1a
 * (draft-eastlake-fnv) twice with different beginnings; not safe against someone who looks for equals. Of
 * iptables' rules the reader has made it line by line (`SavedChains.fingerprint`).
 */
export function rulesFingerprint(rules: RuleSet): string {
  return drain(fingerprintSteps(rules));
}

/** The same, step by step. */
export function* fingerprintSteps(rules: RuleSet): Steps<string> {
  const print = new Print();
  if (rules.kind === 'iptables') iptables(rules, print);
  else yield* nftables(rules, print);
  return print.text;
}

class Print {
  private a = 0x811c_9dc5 | 0;
  private b = 0x0102_0304;

  get text(): string {
    return `${(this.a >>> 0).toString(16)}-${(this.b >>> 0).toString(16)}`;
  }

  add(text: string): void {
    let { a, b } = this;
    for (let i = 0; i < text.length; i++) {
      const c = text.charCodeAt(i);
      a = Math.imul(a ^ c, 0x0100_0193);
      b = Math.imul(b ^ c, 0x01ab_cdef);
    }
    // Between two texts, so that moving a character from one to the next is seen.
    this.a = Math.imul(a ^ 0xffff, 0x0100_0193);
    this.b = Math.imul(b ^ 0xffff, 0x01ab_cdef);
  }

  /** Without what counts. */
  addJson(value: NftJson): void {
    if (typeof value === 'string') {
      this.add(value);
    } else if (typeof value !== 'object' || value === null) {
      this.add(`\0${value}`);
    } else if (Array.isArray(value)) {
      for (const one of value) this.addJson(one);
      this.add('\0]');
    } else {
      for (const [key, one] of Object.entries(value)) {
        this.add(key);
        if (key !== 'counter') this.addJson(one);
      }
      this.add('\0}');
    }
  }

  /** What came with another print, whatever the order in which several of them are added. */
  addInAnyOrder(other: Print): void {
    this.a = (this.a + other.a) | 0;
    this.b = (this.b + other.b) | 0;
  }
}

function iptables(rules: IptablesRules, print: Print): void {
  for (const { name, chains } of rules.tables.values()) {
    print.add(`*${name}`);
    if (chains instanceof SavedChains) {
      print.add(chains.fingerprint);
      continue;
    }
    for (const chain of chains.values()) {
      print.add(`:${chain.name} ${chain.policy ?? '-'}`);
      const texts = new RuleTexts(chain);
      while (texts.next()) print.add(texts.text);
    }
  }
}

/** Neither handles, which a restarted kube-proxy gets anew, nor the clients that an affinity set holds just now. */
function* nftables(rules: NftablesRules, print: Print): Steps<void> {
  let count = 0;
  for (const { name, hook, priority, policy, rules: all } of rules.chains.values()) {
    print.add(`chain ${name} ${hook ?? ''} ${priority ?? ''} ${policy ?? ''}`);
    for (const { expressions } of all) {
      if (++count % AT_ONCE === 0) yield;
      print.addJson(expressions);
    }
  }
  for (const sets of [rules.sets, rules.maps]) {
    for (const { name, valueType, timeoutSeconds, elements } of sets.values()) {
      print.add(`set ${name} ${valueType ?? ''} ${timeoutSeconds ?? ''}`);
      if (timeoutSeconds !== undefined) continue;
      for (const element of elements) {
        if (++count % AT_ONCE === 0) yield;
        // nft lists them in the order of a hash with a random key.
        print.addInAnyOrder(printOf(element));
      }
      print.add(`${elements.length}`);
    }
  }
}

function printOf({ key, value }: NftElement): Print {
  const print = new Print();
  print.addJson(key);
  print.addJson(value ?? null);
  return print;
}
