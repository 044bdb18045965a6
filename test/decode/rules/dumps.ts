import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import type { IptablesRules, MatchOption, Rule } from '../../../src/model/ruleset.js';
import type { ServiceEntry } from '../../../src/model/services.js';

export function recorded(name: string): Buffer {
  const raw = readFileSync(new URL(`data/${name}`, import.meta.url));
  return name.endsWith('.gz') ? gunzipSync(raw) : raw;
}

/** Reads text in chunks of a size. */
export function read(text: string | Uint8Array, chunk = 4_096): IptablesSaveReader {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  const reader = new IptablesSaveReader();
  for (let at = 0; at < bytes.length; at += chunk) reader.feed(bytes.subarray(at, at + chunk));
  reader.end();
  return reader;
}

/** The only dump in a text without problems. */
export function onlyDump(text: string | Uint8Array): IptablesRules {
  const reader = read(text);
  if (reader.problems.length > 0) throw new Error(JSON.stringify(reader.problems));
  const [dump] = reader.dumps;
  if (!dump || reader.dumps.length !== 1) throw new Error(`${reader.dumps.length} dumps`);
  return dump;
}

/** Rules of a nat table (and a filter table) as iptables-save prints them, each table below the header if there is one. */
export function saved(
  nat: readonly string[],
  filter: readonly string[] = [],
  header?: string,
): string {
  const table = (name: string, hooks: readonly string[], rules: readonly string[]): string => {
    const chains = new Set(hooks);
    for (const rule of rules) chains.add(/-A (\S+)/.exec(rule)?.[1] ?? '');
    const declared = [...chains].map((c) => `:${c} ${hooks.includes(c) ? 'ACCEPT' : '-'} [0:0]`);
    const head = header === undefined ? [] : [header];
    return [...head, `*${name}`, ...declared, ...rules, 'COMMIT', ''].join('\n');
  };
  return (
    table('filter', ['INPUT', 'FORWARD', 'OUTPUT'], filter) +
    table('nat', ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'], nat)
  );
}

export function dumpOf(nat: readonly string[], filter: readonly string[] = []): IptablesRules {
  return onlyDump(saved(nat, filter));
}

/** One entry a destination: whom the rules refuse beside those whom they serve is left out. */
export function first(entries: readonly ServiceEntry[]): ServiceEntry[] {
  const seen = new Set<string>();
  return entries.filter(({ protocol, address, port }) => {
    const key = `${protocol} ${address} ${port}`;
    return !seen.has(key) && seen.add(key);
  });
}

/** An entry on one line and its routes on one line each: `ip:port <- chain > chain (probability)`. */
export function told(entries: readonly ServiceEntry[]): string[] {
  return entries.flatMap((e) => {
    const name = e.service
      ? `${e.service.namespace}/${e.service.name}:${e.service.portName ?? ''}${e.nameUnverified ? '?' : ''}`
      : '-';
    return [
      `${e.protocol} ${e.address} ${e.port} ${e.via} ${name} ${e.action}`,
      ...e.routes.map(
        ({ ip, port, rule }) =>
          `  ${ip} ${port} <- ${rule.path.join(' > ')} (${rule.affinity ? 'affinity' : rule.probability})`,
      ),
    ];
  });
}

export function services(nat: readonly string[], filter: readonly string[] = []): string[] {
  return told(iptablesServices(dumpOf(nat, filter)));
}

/** libxtables xtables_save_string: what iptables-save does to free text. */
export function quoted(text: string): string {
  return /^[-_0-9a-zA-Z]+$/.test(text) ? text : `"${text.replace(/["\\']/g, '\\$&')}"`;
}

const FREE_TEXT = new Set(['--comment', '--log-prefix']);

function printOption({ name, negated, values }: MatchOption): string {
  const words = FREE_TEXT.has(name) ? values.map(quoted) : values;
  return [...(negated ? ['!'] : []), ...(name === '' ? [] : [name]), ...words].join(' ');
}

/** A rule's text made of what was understood of it. */
export function printRule({ matches, target }: Pick<Rule, 'matches' | 'target'>): string {
  const parts = matches.flatMap((match) => [
    ...(match.name === '' || /^-[a-z]$/.test(match.name) ? [] : [`-m ${match.name}`]),
    ...match.options.map(printOption),
  ]);
  if (target) {
    parts.push(`${target.goto ? '-g' : '-j'} ${target.name}`, ...target.options.map(printOption));
  }
  return parts.join(' ');
}

/** A dump's lines made of what was understood of it, without comments. */
export function print(rules: IptablesRules): string[] {
  const lines: string[] = [];
  const counters = (it: { packets?: number; bytes?: number }): string =>
    it.packets === undefined ? '' : `[${it.packets}:${it.bytes}]`;
  for (const table of rules.tables.values()) {
    lines.push(`*${table.name}`);
    for (const chain of table.chains.values()) {
      lines.push(`:${chain.name} ${chain.policy ?? '-'} ${counters(chain)}`.trimEnd());
    }
    for (const chain of table.chains.values()) {
      for (const rule of chain.rules) {
        lines.push(`${counters(rule)} -A ${chain.name} ${printRule(rule)}`.trim());
      }
    }
    lines.push('COMMIT');
  }
  return lines;
}
