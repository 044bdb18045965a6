import type { IptablesRules, NftablesRules, RuleSet } from '../../model/ruleset.js';
import type { ServiceEntry } from '../../model/services.js';
import { IptablesSaveReader } from '../rules/iptables-save.js';
import { iptablesServices } from '../rules/iptables-services.js';
import { nftServices } from '../rules/nft-services.js';
import { isNftParts, type RulesHead } from './shapes.js';

/** Lines that are padded to keep the rules' line numbers: a dump has some comments, never so many. */
const MAX_PADDING = 10_000;

/** The rules as text: iptables' as iptables-save prints them, nftables' as JSON of their parts. */
export function textOfRules(rules: RuleSet): string {
  return rules.kind === 'iptables' ? saved(rules) : parts(rules);
}

/** The rules that text and head stand for; `undefined` if the text is not what `textOfRules` makes. */
export function rulesOfText(head: RulesHead, text: Uint8Array): RuleSet | undefined {
  const { kind, family, backend, version, printed } = head;
  const common = {
    family,
    ...(version !== undefined && { version }),
    ...(printed !== undefined && { time: BigInt(printed) }),
  };
  if (kind === 'nftables') {
    let read: unknown;
    try {
      read = JSON.parse(new TextDecoder().decode(text));
    } catch {
      return undefined;
    }
    if (!isNftParts(read)) return undefined;
    return {
      kind,
      ...common,
      backend: 'nft',
      chains: byName(read.chains),
      sets: byName(read.sets),
      maps: byName(read.maps),
    };
  }
  const reader = new IptablesSaveReader({ backend });
  reader.feed(text);
  reader.end();
  const [dump, ...others] = reader.dumps;
  if (others.length > 0 || (dump === undefined && text.length > 0)) return undefined;
  return { kind, ...common, backend, tables: dump?.tables ?? new Map() };
}

/** What rules make reachable, as the sources of rules work it out. */
export function servicesOf(rules: RuleSet): readonly ServiceEntry[] {
  return rules.kind === 'iptables' ? iptablesServices(rules, []) : nftServices(rules, []);
}

function saved(rules: IptablesRules): string {
  const lines: string[] = [];
  for (const table of rules.tables.values()) {
    const placed: { readonly line: number; readonly text: string }[] = [];
    const chains = [...table.chains.values()];
    for (const chain of chains) {
      for (const rule of chain.rules) {
        const text = `${counters(rule)}-A ${chain.name} ${rule.text}`.trimEnd();
        placed.push({ line: rule.line, text });
      }
    }
    placed.sort((a, b) => a.line - b.line);
    // The table's name and its chains stand right before its first rule.
    pad(lines, (placed[0]?.line ?? 0) - chains.length - 1);
    lines.push(`*${table.name}`);
    for (const chain of chains) {
      const behind = counters(chain).trimEnd();
      lines.push(`:${chain.name} ${chain.policy ?? '-'}${behind === '' ? '' : ` ${behind}`}`);
    }
    for (const { line, text } of placed) {
      pad(lines, line);
      lines.push(text);
    }
    lines.push('COMMIT');
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** Comments, so that what comes next is line `line`. */
function pad(lines: string[], line: number): void {
  if (line - lines.length > MAX_PADDING) return;
  while (lines.length + 1 < line) lines.push('#');
}

function counters(of: { readonly packets?: number; readonly bytes?: number }): string {
  return of.packets === undefined ? '' : `[${of.packets}:${of.bytes ?? 0}] `;
}

function parts({ chains, sets, maps }: NftablesRules): string {
  return JSON.stringify({
    chains: [...chains.values()],
    sets: [...sets.values()],
    maps: [...maps.values()],
  });
}

function byName<T extends { readonly name: string }>(all: readonly T[]): Map<string, T> {
  return new Map(all.map((one) => [one.name, one]));
}
