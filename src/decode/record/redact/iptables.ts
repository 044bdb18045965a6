import type { IptablesRules, RuleSet } from '../../../model/ruleset.js';
import { FREE_TEXT, Tokens } from '../../rules/rule-text.js';
import type { Steps } from '../../rules/steps.js';
import { RulesOfText, textOfRules } from '../rules-text.js';
import type { RulesHead } from '../shapes.js';
import type { RuleNames } from './names.js';
import type { Pseudonyms } from './pseudonyms.js';
import { nothing, releaseOf } from './rest.js';

/** Of a rule set with 400,000: less than 1 ms, or where endpoints are learnt 3 ms. */
const LINES_AT_ONCE = 64;
/** What is read at once: 3 ms. */
const PART_CHARS = 64 * 1024;

const NEWLINE = 0x0a;

/** The name of a Service's port in a comment of kube-proxy's. */
const NAMED = /--comment "?([a-z0-9.-]+\/[^\s"]+)/;
const ENDPOINT_CHAIN = /-A (KUBE-SEP-\S+) /;
const TRANSLATED = / --to-destination (\S+)/;
const PROTOCOL = / -p (\S+)/;

const RULE = /^(\[\d+:\d+\] )?-A (\S+) ?(.*)$/;
const CHAIN = /^:(\S+) (\S+)( \[\d+:\d+\])?$/;
const TABLE = /^\*(?:nat|filter|mangle|raw|security)$/;
const LEFT_OUT = '-m comment --comment "left out by --redact"';
/** What stands behind an option. */
type Kind = 'interface' | 'chain' | 'address' | 'comment' | 'list' | 'set' | 'name' | 'plain';
/** Options whose values are something to be renamed, and those that take what nobody can be told by. */
const OPTIONS: Readonly<Record<Kind, string>> = {
  interface: '-i -o --physdev-in --physdev-out',
  chain: '-j -g',
  address: '-s -d --to-destination --to-source --to --mask',
  comment: '--comment',
  list: '--name',
  set: '--match-set',
  name: '--nfacct-name',
  plain: `-p -m -f --ctstate --ctdir --ctstatus --ctproto --state --dport --sport --dports --sports --ports --dst-type
  --src-type --limit-iface-in --limit-iface-out --mark --mode --probability --every --packet --random-fully
  --random --persistent --rcheck --update --remove --reap --reject-with --rsource --rdest --seconds --hitcount --rttl
  --set --set-xmark --set-mark --or-mark --and-mark --xor-mark --save-mark --restore-mark --nfmask --ctmask
  --zone --zone-orig --zone-reply --notrack --tcp-flags --syn --tcp-option --icmp-type --icmpv6-type --limit
  --limit-burst --clamp-mss-to-pmtu --set-mss --mss --to-ports --physdev-is-in --physdev-is-out
  --physdev-is-bridged --log-level --uid-owner --gid-owner --pkt-type --length --ttl-eq --ttl-gt --ttl-lt`,
};
const KINDS: ReadonlyMap<string, Kind> = new Map(
  (Object.keys(OPTIONS) as Kind[]).flatMap((kind) =>
    OPTIONS[kind].split(/\s+/).map((option) => [option, kind] as const),
  ),
);
/** A number, a range or list of numbers, a mark with its mask, a fraction; not four numbers with dots. */
const NUMBER =
  /^(?:0x[0-9a-f]{1,8}(?:\/0x[0-9a-f]{1,8})?|\d{1,7}(?:[:,-]\d{1,5})*|[01]\.\d{1,12}|\d{1,6}\/(?:sec|min|hour|day|second|minute))$/;
/** Capitals as in LOCAL, RELATED,ESTABLISHED and FIN,SYN,RST,ACK; the words of protocols, matches and answers. */
const WORD =
  /^(?:[A-Z]{2,14}(?:,[A-Z]{2,14})*|tcp|udp|sctp|icmp|icmpv6|ipv6-icmp|igmp|esp|ah|gre|ipip|ipv6|udplite|dccp|all|random|nth|comment|conntrack|addrtype|mark|connmark|multiport|statistic|recent|state|set|nfacct|physdev|limit|socket|owner|tcpmss|pkttype|length|ttl|rpfilter|bpf|cgroup|icmp6|(?:icmp6?|tcp)-[a-z-]{3,30})$/;
/** Which addresses are looked for in a set. */
const SET_FLAGS = /^(?:src|dst)(?:,(?:src|dst)){0,5}$/;
const NAMED_TARGET = /^[A-Z][A-Z0-9]{1,19}$/;

const encoder = new TextEncoder();

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

  /** The same rules with pseudonyms, some lines a step; `undefined` if that is no dump that can be read. */
  *rules(rules: IptablesRules): Steps<RuleSet | undefined> {
    const { kind, family, backend, version, time, tables, ...rest } = rules;
    nothing(rest);
    // The text that they lie in may be other dumps' too.
    const rewritten = (yield* this.learn(textOfRules(rules))) !== tables.size;
    const release = releaseOf(version);
    const head: RulesHead = {
      kind,
      family,
      backend,
      ...(release !== undefined && { version: release }),
      ...(time !== undefined && { printed: String(time) }),
    };
    const reading = new RulesOfText(head);
    const declared = new Set<string>();
    let text = '';
    let count = 0;
    for (const line of linesOf(textOfRules(rules, rewritten))) {
      text += `${this.line(line, declared)}\n`;
      if (++count % LINES_AT_ONCE === 0) yield;
      if (text.length < PART_CHARS) continue;
      reading.feed(encoder.encode(text));
      text = '';
      yield;
    }
    reading.feed(encoder.encode(text));
    return reading.end();
  }

  /** Hears names and endpoints of Services, of which hashes are made; how many tables there are. */
  private *learn(parts: Iterable<Uint8Array>): Steps<number> {
    let tables = 0;
    let count = 0;
    for (const line of linesOf(parts)) {
      if (line.startsWith('*')) tables++;
      this.hear(line);
      if (++count % LINES_AT_ONCE === 0) yield;
    }
    return tables;
  }

  private hear(line: string): void {
    // Nearly all lines, so without taking them apart: what is misread is a name that nothing is called by.
    const said = NAMED.exec(line)?.[1];
    if (said === undefined) return;
    this.names.learn(said);
    const [, chain] = ENDPOINT_CHAIN.exec(line) ?? [];
    const [, to] = TRANSLATED.exec(line) ?? [];
    const [, protocol] = PROTOCOL.exec(line) ?? [];
    if (chain === undefined || to === undefined || protocol === undefined) return;
    this.names.learnEndpoint(chain, said, protocol, to);
  }

  private line(line: string, declared: Set<string>): string {
    if (line === '' || line === 'COMMIT') return line;
    // What printed it, and when.
    if (line.startsWith('#')) return '#';
    if (TABLE.test(line)) {
      declared.clear();
      return line;
    }
    if (line.startsWith(':')) return this.declaration(line, declared);
    const [, counters = '', chain, words = ''] = RULE.exec(line) ?? [];
    if (chain === undefined) {
      this.leftOut++;
      return '#';
    }
    const rule = this.rule(words, declared);
    if (rule === undefined) this.leftOut++;
    return `${counters}-A ${this.names.chain(chain)} ${rule ?? LEFT_OUT}`.trimEnd();
  }

  private declaration(line: string, declared: Set<string>): string {
    const [, name, policy, counters = ''] = CHAIN.exec(line) ?? [];
    if (name !== undefined && policy !== undefined) {
      declared.add(name);
      return `:${this.names.chain(name)} ${/^(?:ACCEPT|DROP|-)$/.test(policy) ? policy : '-'}${counters}`;
    }
    this.leftOut++;
    return '#';
  }

  private rule(text: string, declared: ReadonlySet<string>): string | undefined {
    const { tokens } = this;
    tokens.read(text);
    let out = '';
    let kind: Kind | undefined;
    let isFree = false;
    for (let i = 0; i < tokens.length; i++) {
      const word = tokens.value(i);
      if (i > 0) out += ' ';
      if (!isFree && tokens.sort(i) !== 0) {
        out += word;
        if (word === '!') continue;
        kind = KINDS.get(word);
        if (kind === undefined) return undefined;
        isFree = FREE_TEXT.has(word);
        continue;
      }
      isFree = false;
      const value = kind === undefined ? undefined : this.value(kind, word, declared);
      if (value === undefined) return undefined;
      out += value;
    }
    return out;
  }

  private value(kind: Kind, word: string, declared: ReadonlySet<string>): string | undefined {
    const { names, pseudonyms } = this;
    switch (kind) {
      case 'plain':
        return NUMBER.test(word) || WORD.test(word) ? word : undefined;
      case 'comment':
        return quoted(names.comment(word));
      case 'chain':
        if (declared.has(word)) return names.chain(word);
        return NAMED_TARGET.test(word) ? word : undefined;
      case 'address':
        return pseudonyms.addressText(word) ?? names.endpoint(word);
      case 'interface':
        return pseudonyms.interfaceName(word);
      case 'list':
        return names.chain(word);
      case 'set':
        return SET_FLAGS.test(word) ? word : names.ipset(word);
      case 'name':
        return pseudonyms.name('word', word);
    }
  }
}

function* linesOf(parts: Iterable<Uint8Array>): Generator<string> {
  const decoder = new TextDecoder();
  for (const part of parts) {
    for (let from = 0; from < part.length; ) {
      const to = endOfLines(part, from);
      const lines = decoder.decode(part.subarray(from, to)).split('\n');
      // Each part ends with a line's end, the last perhaps not.
      if (lines.at(-1) === '') lines.pop();
      for (const line of lines) yield line.endsWith('\r') ? line.slice(0, -1) : line;
      from = to;
    }
  }
}

/** Behind as many whole lines from a place on as are taken at once, or behind one that is longer. */
function endOfLines(part: Uint8Array, from: number): number {
  if (part.length - from <= PART_CHARS) return part.length;
  const last = part.lastIndexOf(NEWLINE, from + PART_CHARS);
  const end = last < from ? part.indexOf(NEWLINE, from) : last;
  return end < 0 ? part.length : end + 1;
}

/** As libxtables prints it (xtables_save_string). */
function quoted(text: string): string {
  if (/^[A-Za-z0-9_-]+$/.test(text)) return text;
  return `"${text.replace(/["\\']/g, (c) => `\\${c}`)}"`;
}
