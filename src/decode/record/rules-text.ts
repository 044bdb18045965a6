import type { IptablesRules, NftablesRules, RuleSet } from '../../model/ruleset.js';
import type { ServiceEntry } from '../../model/services.js';
import { IptablesSaveReader } from '../rules/iptables-save.js';
import { iptablesServices } from '../rules/iptables-services.js';
import { nftServices } from '../rules/nft-services.js';
import { SavedChains } from '../rules/saved-chains.js';
import { isNftParts, type RulesHead } from './shapes.js';

/** Lines that are padded to keep the rules' line numbers: a dump has some comments, never so many. */
const MAX_PADDING = 10_000;
/** Lines are put together to parts of about this size. */
const PART_CHARS = 64 * 1024;

const encoder = new TextEncoder();

/**
 * The rules as text, in parts of whole lines: iptables' as iptables-save printed them, nftables' as JSON of
 * their parts. `rewritten`: iptables' are put into words again, where the text that they hold is not theirs alone.
 */
export function* textOfRules(rules: RuleSet, rewritten = false): Generator<Uint8Array> {
  if (rules.kind === 'iptables' && !rewritten) {
    const [table] = rules.tables.values();
    // A reader's own tables hold their text.
    if (table?.chains instanceof SavedChains) {
      yield* table.chains.text.parts;
      return;
    }
  }
  let part = '';
  for (const line of rules.kind === 'iptables' ? savedLines(rules) : partLines(rules)) {
    part += `${line}\n`;
    if (part.length < PART_CHARS) continue;
    yield encoder.encode(part);
    part = '';
  }
  if (part !== '') yield encoder.encode(part);
}

/** The rules that text and head stand for; `undefined` if the text is not what `textOfRules` makes. */
export function rulesOfText(head: RulesHead, text: Uint8Array): RuleSet | undefined {
  if (head.kind === 'iptables') {
    const reading = new RulesOfText(head);
    reading.feed(text);
    return reading.end();
  }
  let read: unknown;
  try {
    read = JSON.parse(new TextDecoder().decode(text));
  } catch {
    return undefined;
  }
  if (!isNftParts(read)) return undefined;
  return {
    kind: head.kind,
    ...common(head),
    backend: 'nft',
    chains: byName(read.chains),
    sets: byName(read.sets),
    maps: byName(read.maps),
  };
}

/** The same of iptables' rules whose text comes in parts. */
export class RulesOfText {
  private readonly head: RulesHead;
  private readonly reader: IptablesSaveReader;
  private isEmpty = true;

  constructor(head: RulesHead) {
    this.head = head;
    this.reader = new IptablesSaveReader({ backend: head.backend });
  }

  feed(text: Uint8Array): void {
    if (text.length > 0) this.isEmpty = false;
    this.reader.feed(text);
  }

  end(): RuleSet | undefined {
    this.reader.end();
    const [dump, ...others] = this.reader.dumps;
    if (others.length > 0 || (dump === undefined && !this.isEmpty)) return undefined;
    const { backend } = this.head;
    return { kind: 'iptables', ...common(this.head), backend, tables: dump?.tables ?? new Map() };
  }
}

function common({ family, version, printed }: RulesHead) {
  return {
    family,
    ...(version !== undefined && { version }),
    ...(printed !== undefined && { time: BigInt(printed) }),
  };
}

/** What rules make reachable, as the sources of rules work it out. */
export function servicesOf(rules: RuleSet): readonly ServiceEntry[] {
  return rules.kind === 'iptables' ? iptablesServices(rules, []) : nftServices(rules, []);
}

function* savedLines(rules: IptablesRules): Generator<string> {
  let count = 0;
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
    const before = (placed[0]?.line ?? 0) - chains.length - 1;
    for (let lack = lacking(count, before); lack > 0; lack--, count++) yield '#';
    yield `*${table.name}`;
    for (const chain of chains) {
      const behind = counters(chain).trimEnd();
      yield `:${chain.name} ${chain.policy ?? '-'}${behind === '' ? '' : ` ${behind}`}`;
    }
    count += chains.length + 1;
    for (const { line, text } of placed) {
      for (let lack = lacking(count, line); lack > 0; lack--, count++) yield '#';
      yield text;
      count++;
    }
    yield 'COMMIT';
    count++;
  }
}

/** Lines to be padded behind `count` so that the next one is `line`. */
function lacking(count: number, line: number): number {
  const lines = line - count - 1;
  return lines > MAX_PADDING ? 0 : lines;
}

function counters(of: { readonly packets?: number; readonly bytes?: number }): string {
  return of.packets === undefined ? '' : `[${of.packets}:${of.bytes ?? 0}] `;
}

/** A part a line, and of sets each element. */
function* partLines({ chains, sets, maps }: NftablesRules): Generator<string> {
  yield '{"chains":[';
  let comma = '';
  for (const chain of chains.values()) {
    yield comma + JSON.stringify(chain);
    comma = ',';
  }
  for (const [name, all] of [
    ['sets', sets],
    ['maps', maps],
  ] as const) {
    yield `],"${name}":[`;
    comma = '';
    for (const { elements, ...head } of all.values()) {
      yield `${comma}${JSON.stringify(head).slice(0, -1)},"elements":[`;
      comma = '';
      for (const element of elements) {
        yield comma + JSON.stringify(element);
        comma = ',';
      }
      yield ']}';
      comma = ',';
    }
  }
  yield ']}';
}

function byName<T extends { readonly name: string }>(all: readonly T[]): Map<string, T> {
  return new Map(all.map((one) => [one.name, one]));
}
