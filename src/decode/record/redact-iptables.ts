import { FREE_TEXT, Tokens } from '../rules/rule-text.js';
import type { RuleNames } from './redact-names.js';
import type { Pseudonyms } from './redact-pseudonyms.js';

const RULE = /^(\[\d+:\d+\] )?-A (\S+) ?(.*)$/;
const CHAIN = /^:(\S+) (\S+)( \[\d+:\d+\])?$/;
const TABLE = /^\*(?:nat|filter|mangle|raw|security)$/;
const LEFT_OUT = '-m comment --comment "left out by --redact"';
/** Options whose value names an interface, a chain or a list. */
const INTERFACES = new Set(['-i', '-o', '--physdev-in', '--physdev-out']);
const CHAINS = new Set(['-j', '-g']);
const ADDRESSES = new Set(['-s', '-d', '--to-destination', '--to-source', '--to', '--mask']);
/** Options that take what nobody can be told by: numbers, words of the kernel. */
const PLAIN = new Set(
  `-p -m -f --ctstate --ctdir --ctstatus --ctproto --state --dport --sport --dports --sports --ports --dst-type
  --src-type --limit-iface-in --limit-iface-out --mark --mode --probability --every --packet --random-fully
  --random --persistent --rcheck --update --remove --reap --reject-with --rsource --rdest --seconds --hitcount --rttl
  --set --set-xmark --set-mark --or-mark --and-mark --xor-mark --save-mark --restore-mark --nfmask --ctmask
  --zone --zone-orig --zone-reply --notrack --tcp-flags --syn --tcp-option --icmp-type --icmpv6-type --limit
  --limit-burst --clamp-mss-to-pmtu --set-mss --mss --to-ports --physdev-is-in --physdev-is-out
  --physdev-is-bridged --log-level --uid-owner --gid-owner --pkt-type --length --ttl-eq --ttl-gt --ttl-lt`.split(
    /\s+/,
  ),
);
/** A number, a range or list of numbers, a mark with its mask, a fraction; not four numbers with dots. */
const NUMBER =
  /^(?:0x[0-9a-f]{1,8}(?:\/0x[0-9a-f]{1,8})?|\d{1,7}(?:[:,-]\d{1,5})*|[01]\.\d{1,12}|\d{1,6}\/(?:sec|min|hour|day|second|minute))$/;
/** Capitals as in LOCAL, RELATED,ESTABLISHED and FIN,SYN,RST,ACK; the words of protocols, matches and answers. */
const WORD =
  /^(?:[A-Z]{2,14}(?:,[A-Z]{2,14})*|tcp|udp|sctp|icmp|icmpv6|ipv6-icmp|igmp|esp|ah|gre|ipip|ipv6|udplite|dccp|all|random|nth|comment|conntrack|addrtype|mark|connmark|multiport|statistic|recent|state|set|nfacct|physdev|limit|socket|owner|tcpmss|pkttype|length|ttl|rpfilter|bpf|cgroup|icmp6|(?:icmp6?|tcp)-[a-z-]{3,30})$/;
/** Without a free text of their own that means something: what it says is replaced. */
const LISTS = new Set(['--name']);
const NAMED_TARGET = /^[A-Z][A-Z0-9]{1,19}$/;

interface Line {
  readonly counters: string;
  readonly chain: string;
  readonly words: readonly string[];
  readonly options: readonly number[];
}

/**
 * Dumps of iptables' rules, line for line, with pseudonyms. A rule with something in it that is not known
 * to be harmless becomes one that does nothing.
 */
export class IptablesRedactor {
  /** Rules that were left out so far. */
  leftOut = 0;
  private readonly pseudonyms: Pseudonyms;
  private readonly names: RuleNames;
  private readonly tokens = new Tokens();

  constructor(pseudonyms: Pseudonyms, names: RuleNames) {
    this.pseudonyms = pseudonyms;
    this.names = names;
  }

  text(text: string): string {
    const lines = text.split('\n');
    for (const line of lines) this.learn(line);
    const declared = new Set<string>();
    return lines.map((line) => this.line(line, declared)).join('\n');
  }

  /** Names and endpoints of Services, of which hashes are made. */
  private learn(line: string): void {
    const read = this.read(line);
    if (read === undefined) return;
    const { words, chain } = read;
    const said = this.after(read, '--comment')?.split(' ')[0];
    if (said === undefined || !said.includes('/')) return;
    this.names.learn(said);
    const to = this.after(read, '--to-destination');
    const protocol = this.after(read, '-p');
    if (to === undefined || protocol === undefined || !chain.startsWith('KUBE-SEP-')) return;
    if (words.length > 0) this.names.learnEndpoint(said, protocol, to);
  }

  private after({ words, options }: Line, option: string): string | undefined {
    const at = options.find((i) => words[i] === option);
    return at === undefined ? undefined : words[at + 1];
  }

  private read(line: string): Line | undefined {
    const m = RULE.exec(line);
    if (m === null) return undefined;
    const [, counters = '', chain = '', rest = ''] = m;
    const { tokens } = this;
    tokens.read(rest);
    const words: string[] = [];
    const options: number[] = [];
    for (let i = 0; i < tokens.length; i++) {
      words.push(tokens.value(i));
      const before = words[i - 1];
      const isValue = options.at(-1) === i - 1 && before !== undefined && FREE_TEXT.has(before);
      if (!isValue && tokens.sort(i) !== 0) options.push(i);
    }
    return { counters, chain, words, options };
  }

  private line(line: string, declared: Set<string>): string {
    if (line === '' || line === '#' || line === 'COMMIT') return line;
    if (TABLE.test(line)) {
      declared.clear();
      return line;
    }
    const [, name, policy, counters = ''] = CHAIN.exec(line) ?? [];
    if (name !== undefined && policy !== undefined) {
      declared.add(name);
      return `:${this.names.chain(name)} ${/^(?:ACCEPT|DROP|-)$/.test(policy) ? policy : '-'}${counters}`;
    }
    const read = this.read(line);
    if (read === undefined) {
      this.leftOut++;
      return '#';
    }
    const before = `${read.counters}-A ${this.names.chain(read.chain)}`;
    const rule = this.rule(read, declared);
    if (rule === undefined) this.leftOut++;
    return `${before} ${rule ?? LEFT_OUT}`.trimEnd();
  }

  private rule({ words, options }: Line, declared: ReadonlySet<string>): string | undefined {
    const out: string[] = [];
    const isOption = new Set(options);
    let option = '';
    for (const [i, word] of words.entries()) {
      if (isOption.has(i)) {
        if (word !== '!' && !this.isKnown(word)) return undefined;
        if (word !== '!') option = word;
        out.push(word);
        continue;
      }
      const value = this.value(option, word, declared);
      if (value === undefined) return undefined;
      out.push(value);
    }
    return out.join(' ');
  }

  private isKnown(option: string): boolean {
    return (
      option === '--comment' ||
      INTERFACES.has(option) ||
      CHAINS.has(option) ||
      ADDRESSES.has(option) ||
      LISTS.has(option) ||
      option === '--nfacct-name' ||
      PLAIN.has(option)
    );
  }

  private value(option: string, word: string, declared: ReadonlySet<string>): string | undefined {
    const { names } = this;
    if (option === '--comment') return quoted(names.comment(word));
    if (INTERFACES.has(option)) return this.pseudonyms.interfaceName(word);
    if (CHAINS.has(option)) {
      if (declared.has(word)) return names.chain(word);
      return NAMED_TARGET.test(word) ? word : undefined;
    }
    if (option === '--name') return names.chain(word);
    if (option === '--nfacct-name') return this.pseudonyms.name('word', word);
    if (ADDRESSES.has(option)) return this.pseudonyms.addressText(word) ?? names.endpoint(word);
    return NUMBER.test(word) || WORD.test(word) ? word : undefined;
  }
}

/** As libxtables prints it (xtables_save_string). */
function quoted(text: string): string {
  if (/^[A-Za-z0-9_-]+$/.test(text)) return text;
  return `"${text.replace(/["\\']/g, (c) => `\\${c}`)}"`;
}
