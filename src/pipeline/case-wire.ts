import { IptablesSaveReader } from '../decode/rules/iptables-save.js';
import type { Case } from '../model/case.js';
import type { Chain, IptablesRules, NftChain, NftSet, RuleSet } from '../model/ruleset.js';
import type { ServiceEntry } from '../model/services.js';
import { type NodeReadings, nodeFacts } from './node-facts.js';

/** A case in plain data. Its own process is its only reader, so it has the members that a case has and no schema of its own. */
export interface CaseOnWire extends Omit<Case, 'rules' | 'node'> {
  readonly rules: readonly RulesOnWire[];
  readonly node: NodeReadings & { readonly name?: string };
}

type RulesOnWire =
  | (Pick<IptablesRules, 'kind' | 'family' | 'backend' | 'version' | 'time'> & {
      readonly saved: string;
    })
  | (Pick<RuleSet, 'family' | 'version' | 'time'> & {
      readonly kind: 'nftables';
      readonly chains: readonly NftChain[];
      readonly sets: readonly NftSet[];
      readonly maps: readonly NftSet[];
    });

export function toWire(it: Case, readings: NodeReadings): CaseOnWire {
  const { name } = it.node;
  const needed = chainsOf(it.entries);
  return {
    ...it,
    rules: it.rules.map((rules) => rulesToWire(rules, needed)),
    node: { ...readings, ...(name !== undefined && { name }) },
  };
}

export function fromWire({ rules, node, ...rest }: CaseOnWire): Case {
  const { name } = node;
  return {
    ...rest,
    rules: rules.flatMap(rulesFromWire),
    node: { ...nodeFacts(node), ...(name !== undefined && { name }) },
  };
}

/** Times are the only bigints; a JSON object with this one member stands for one. */
const BIGINT = '$ns';

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, it: unknown) =>
    typeof it === 'bigint' ? { [BIGINT]: String(it) } : it,
  );
}

/** Throws SyntaxError for what is no JSON. */
export function fromJson(text: string): unknown {
  return JSON.parse(text, (_, it: unknown) => {
    if (typeof it !== 'object' || it === null || !(BIGINT in it)) return it;
    const digits = it[BIGINT];
    return typeof digits === 'string' && /^-?\d{1,20}$/.test(digits) ? BigInt(digits) : it;
  });
}

/** kube-proxy's chains of single Services and endpoints: of a large rule set they are nearly all there is. */
const OF_ONE_SERVICE = /^KUBE-(?:SVC|SVL|EXT|XLB|FW|SEP)-/;

/** The chains of one Service that a walk to these entries may enter. */
function chainsOf(entries: readonly ServiceEntry[]): ReadonlySet<string> {
  const needed = new Set<string>();
  for (const { chain, routes, refusedBy } of entries) {
    if (chain !== undefined) needed.add(chain);
    for (const { rule } of routes) for (const name of rule.path) needed.add(name);
    for (const name of refusedBy?.path ?? []) needed.add(name);
  }
  return needed;
}

function rulesToWire(rules: RuleSet, needed: ReadonlySet<string>): RulesOnWire {
  const { family, version, time } = rules;
  const about = {
    family,
    ...(version !== undefined && { version }),
    ...(time !== undefined && { time }),
  };
  if (rules.kind === 'nftables') {
    const { chains, sets, maps } = rules;
    return {
      kind: 'nftables',
      ...about,
      chains: [...chains.values()],
      sets: [...sets.values()],
      maps: [...maps.values()],
    };
  }
  return { kind: 'iptables', backend: rules.backend, ...about, saved: saved(rules, needed) };
}

/** As iptables-save -c prints them, without the chains of other Services. */
function saved({ tables }: IptablesRules, needed: ReadonlySet<string>): string {
  const lines: string[] = [];
  for (const table of tables.values()) {
    lines.push(`*${table.name}`);
    const kept = keptChains(table.chains, needed);
    for (const { name, policy = '-', packets = 0, bytes = 0 } of kept) {
      lines.push(`:${name} ${policy} [${packets}:${bytes}]`);
    }
    for (const { name, rules } of kept) {
      for (const { text, packets, bytes } of rules) {
        const counted = packets === undefined ? '' : `[${packets}:${bytes ?? 0}] `;
        lines.push(`${counted}-A ${name} ${text}`);
      }
    }
    lines.push('COMMIT');
  }
  return `${lines.join('\n')}\n`;
}

/** With what the needed chains lead to (an endpoint's chain may be behind another Service's). */
function keptChains(
  chains: ReadonlyMap<string, Chain>,
  needed: ReadonlySet<string>,
): readonly Chain[] {
  const wanted = new Set(needed);
  const open = [...needed];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const { target } of chains.get(name)?.rules ?? []) {
      if (target === undefined || wanted.has(target.name) || !chains.has(target.name)) continue;
      wanted.add(target.name);
      open.push(target.name);
    }
  }
  return [...chains.values()].filter(({ name }) => !OF_ONE_SERVICE.test(name) || wanted.has(name));
}

function rulesFromWire(rules: RulesOnWire): readonly RuleSet[] {
  const { family, version, time } = rules;
  const about = {
    family,
    ...(version !== undefined && { version }),
    ...(time !== undefined && { time }),
  };
  if (rules.kind === 'nftables') {
    const named = <T extends { readonly name: string }>(all: readonly T[]): Map<string, T> =>
      new Map(all.map((one) => [one.name, one]));
    const [chains, sets, maps] = [named(rules.chains), named(rules.sets), named(rules.maps)];
    return [{ kind: 'nftables', backend: 'nft', ...about, chains, sets, maps }];
  }
  const reader = new IptablesSaveReader({ backend: rules.backend });
  reader.feed(new TextEncoder().encode(rules.saved));
  reader.end();
  const { backend } = rules;
  return reader.dumps.map(({ tables }) => ({ kind: 'iptables', ...about, backend, tables }));
}
