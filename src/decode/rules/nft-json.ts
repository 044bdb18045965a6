import type { Problem } from '../../model/problem.js';
import type {
  NftablesRules,
  NftChain,
  NftElement,
  NftJson,
  NftRule,
  NftSet,
} from '../../model/ruleset.js';
import { items, members } from '../cluster/json-scan.js';
import { drain, type Steps } from './steps.js';

/** V8 holds strings up to 512 MiB; kube-proxy's tables for 5,000 Services with 20 endpoints are 10 MB. */
const MAX_DOCUMENT_BYTES = 480 * 1024 * 1024;
/** More bad items than this are counted in one last problem, so that garbage stays bounded. */
const MAX_ITEM_PROBLEMS = 50;
/** kube-proxy's expressions are nested 12 deep; what follows them counts on not being led much deeper. */
const MAX_DEPTH = 64;
/** A listing up to this size is parsed at once, which takes about 3 ms. */
const READ_AT_ONCE = 256 << 10;
const DECODED_AT_ONCE = 1 << 20;
/** Around the items of one listing. */
const OPENING = /^\s*\{\s*"nftables"\s*:\s*\[/;
const CLOSING = /^\s*\]\s*\}\s*$/;
const MAX_OPENING = 100;
/** Of other tables this many are named. */
const MAX_OTHER_TABLES = 100;

/** The table that is kube-proxy's own, in each family (kubernetes pkg/proxy/nftables, kubeProxyTable). */
const TABLE = 'kube-proxy';

const ADVICE = 'list the rules again: nft -j list table ip kube-proxy, and ip6 kube-proxy for IPv6';

/** What a listing says. */
export interface NftDocument {
  /** One a family, IPv4 first; none if it holds no table of kube-proxy. */
  readonly rules: readonly NftablesRules[];
  /** Tables that are not kube-proxy's (iptables-nft keeps its own there), as `ip nat`, sorted. */
  readonly otherTables: readonly string[];
  readonly problems: readonly Problem[];
}

/**
 * Reads what `nft -j list ruleset` and `nft -j list table` print (libnftables-json(5), nft 1.0.1 and
 * later), several listings one after the other too. Of a listing that is cut off, what is complete is
 * read. Keys and expressions that are not known are no problem: expressions are kept as they are.
 */
export function readNftJson(bytes: Uint8Array): NftDocument {
  return drain(readNftJsonSteps(bytes));
}

/** The same, step by step, if it is one listing and complete. */
export function* readNftJsonSteps(bytes: Uint8Array): Steps<NftDocument> {
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    const reading = new Reading();
    reading.refuse('nft-too-large', `the listing has ${bytes.length} bytes`);
    return reading.finish();
  }
  const decoder = new TextDecoder();
  let text = '';
  for (let at = 0; at < bytes.length; at += DECODED_AT_ONCE) {
    text += decoder.decode(bytes.subarray(at, at + DECODED_AT_ONCE), { stream: true });
    yield;
  }
  text += decoder.decode();
  const listed = bytes.length > READ_AT_ONCE ? yield* itemByItem(text) : undefined;
  return (listed ?? atOnce(text)).finish();
}

/** `undefined` if it is not what nft prints in one run. */
function* itemByItem(text: string): Steps<Reading | undefined> {
  const opening = OPENING.exec(text.slice(0, MAX_OPENING))?.[0];
  if (opening === undefined) return undefined;
  const reading = new Reading();
  let reached = opening.length;
  for (const { start, end } of items(text, opening.length - 1)) {
    let item: unknown;
    try {
      item = JSON.parse(text.slice(start, end));
    } catch {
      return undefined;
    }
    reading.add(item);
    reached = end;
    yield;
  }
  return CLOSING.test(text.slice(reached, reached + MAX_OPENING)) &&
    reached + MAX_OPENING > text.length
    ? reading
    : undefined;
}

function atOnce(text: string): Reading {
  const reading = new Reading();
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    reading.pieces(text);
    return reading;
  }
  const list = isRecord(parsed) ? parsed['nftables'] : undefined;
  if (Array.isArray(list)) for (const item of list) reading.add(item);
  else reading.refuse('nft-not-a-listing', 'there is no array "nftables"');
  return reading;
}

type Fields = { readonly [key: string]: unknown };

interface OpenChain extends NftChain {
  readonly rules: NftRule[];
}

/** A table being read. */
class OpenTable {
  readonly chains = new Map<string, OpenChain>();
  readonly sets = new Map<string, NftSet>();
  readonly maps = new Map<string, NftSet>();
}

class Reading {
  private readonly tables = new Map<4 | 6, OpenTable>();
  private readonly others = new Set<string>();
  private readonly problems: Problem[] = [];
  private version: string | undefined;
  private record = 0;
  private bad = 0;

  add(item: unknown): void {
    this.record++;
    if (!isRecord(item)) {
      this.reject('it is not an object');
      return;
    }
    for (const [kind, value] of Object.entries(item)) {
      if (!isRecord(value)) continue;
      if (kind === 'metainfo') this.version = textOf(value['version']) ?? this.version;
      else this.object(kind, value);
    }
  }

  /** Reads a text that is no JSON as a whole: several listings, or one that is cut off. */
  pieces(text: string): void {
    let at = 0;
    while (at < text.length && text.slice(at, at + 1_000).trim() !== '') {
      let end: number | undefined;
      let list: { readonly start: number; readonly end?: number } | undefined;
      for (const { key, value } of members(text, at)) {
        if (key === 'nftables') list = value;
        end = value.end;
      }
      if (list === undefined) break;
      let reached = list.start;
      for (const span of items(text, list.start)) {
        let item: unknown;
        try {
          item = JSON.parse(text.slice(span.start, span.end));
        } catch {
          this.cutOff(text, span.start);
          return;
        }
        this.add(item);
        reached = span.end;
      }
      const close = end === undefined || list.end === undefined ? -1 : text.indexOf('}', end);
      if (close < 0) {
        this.cutOff(text, reached);
        return;
      }
      at = close + 1;
    }
    if (at > 0 && text.slice(at).trim() === '') return;
    if (this.record > 0) this.cutOff(text, at);
    else this.refuse('nft-not-json', 'the listing is not JSON');
  }

  refuse(code: string, message: string): void {
    this.problems.push({ code, message, where: {}, advice: ADVICE, fatal: true });
  }

  finish(): NftDocument {
    if (this.bad > MAX_ITEM_PROBLEMS) {
      const more = this.bad - MAX_ITEM_PROBLEMS;
      this.problems.push({
        code: 'nft-bad-item',
        message: `${more} more items were skipped`,
        where: {},
        advice: ADVICE,
        fatal: false,
        lost: more,
      });
    }
    const rules: NftablesRules[] = [];
    for (const family of [4, 6] as const) {
      const table = this.tables.get(family);
      if (!table) continue;
      const { chains, sets, maps } = table;
      rules.push({
        kind: 'nftables',
        family,
        backend: 'nft',
        ...given('version', this.version),
        chains,
        sets,
        maps,
      });
    }
    return { rules, otherTables: [...this.others].sort(), problems: this.problems };
  }

  private object(kind: string, value: Fields): void {
    const name = textOf(value[kind === 'table' ? 'name' : 'table']);
    const family = textOf(value['family']);
    if (name === undefined || family === undefined) return;
    if (name !== TABLE || (family !== 'ip' && family !== 'ip6')) {
      if (this.others.size < MAX_OTHER_TABLES) this.others.add(`${family} ${name}`);
      return;
    }
    const version = family === 'ip' ? 4 : 6;
    let table = this.tables.get(version);
    if (!table) {
      table = new OpenTable();
      this.tables.set(version, table);
    }
    switch (kind) {
      case 'chain':
        this.chain(table, value);
        break;
      case 'rule':
        this.rule(table, value);
        break;
      case 'set':
      case 'map':
        this.set(kind === 'set' ? table.sets : table.maps, value);
        break;
      default:
      // The table itself, and kinds of objects that kube-proxy does not make.
    }
  }

  private chain(table: OpenTable, value: Fields): void {
    const name = textOf(value['name']);
    if (name === undefined) {
      this.reject('a chain has no name');
      return;
    }
    table.chains.set(name, {
      name,
      ...given('handle', wholeOf(value['handle'])),
      ...given('comment', textOf(value['comment'])),
      ...given('type', textOf(value['type'])),
      ...given('hook', textOf(value['hook'])),
      ...given('priority', wholeOf(value['prio'])),
      ...given('policy', textOf(value['policy'])),
      rules: table.chains.get(name)?.rules ?? [],
    });
  }

  private rule(table: OpenTable, value: Fields): void {
    const name = textOf(value['chain']);
    const expressions = value['expr'];
    if (name === undefined || !isJson(expressions, MAX_DEPTH) || !Array.isArray(expressions)) {
      this.reject('a rule has no chain or no readable expressions');
      return;
    }
    let chain = table.chains.get(name);
    if (!chain) {
      chain = { name, rules: [] };
      table.chains.set(name, chain);
    }
    chain.rules.push({
      ...given('handle', wholeOf(value['handle'])),
      ...given('comment', textOf(value['comment'])),
      expressions,
    });
  }

  private set(into: Map<string, NftSet>, value: Fields): void {
    const name = textOf(value['name']);
    if (name === undefined) {
      this.reject('a set or map has no name');
      return;
    }
    const isMap = value['map'] !== undefined;
    const elements: NftElement[] = [];
    for (const raw of listOf(value['elem'])) {
      const element = isMap ? mapElement(raw) : setElement(raw);
      if (element) elements.push(element);
      else this.reject(`an element of ${name} cannot be read`);
    }
    into.set(name, {
      name,
      ...given('handle', wholeOf(value['handle'])),
      ...given('comment', textOf(value['comment'])),
      keyTypes: textsOf(value['type']),
      ...(isMap && { valueType: textOf(value['map']) ?? 'unknown' }),
      flags: textsOf(value['flags']),
      ...given('timeoutSeconds', wholeOf(value['timeout'])),
      elements,
    });
  }

  private reject(what: string): void {
    if (++this.bad > MAX_ITEM_PROBLEMS) return;
    this.problems.push({
      code: 'nft-bad-item',
      message: `an item of the listing was skipped: ${what}`,
      where: { record: this.record },
      advice: ADVICE,
      fatal: false,
      lost: 1,
    });
  }

  private cutOff(text: string, at: number): void {
    let line = 1;
    for (let i = text.indexOf('\n'); i >= 0 && i < at; i = text.indexOf('\n', i + 1)) line++;
    this.problems.push({
      code: 'nft-truncated',
      message: `the listing is cut off or damaged after its ${this.record} first items`,
      where: { record: this.record + 1, line },
      advice: ADVICE,
      fatal: true,
    });
  }
}

/** `"10.0.0.1"`, or wrapped where there is more to say: `{ "elem": { "val": "10.0.0.1", "expires": 10 } }`. */
function setElement(raw: unknown): NftElement | undefined {
  const said = isRecord(raw) ? raw['elem'] : undefined;
  const fields = isRecord(said) ? said : undefined;
  const key = fields ? fields['val'] : raw;
  if (!isJson(key, MAX_DEPTH)) return undefined;
  if (!fields) return { key };
  return {
    key,
    ...given('comment', textOf(fields['comment'])),
    ...given('expiresSeconds', wholeOf(fields['expires'])),
  };
}

/** `[key, value]`, the key wrapped or not. */
function mapElement(raw: unknown): NftElement | undefined {
  if (!Array.isArray(raw) || raw.length !== 2) return undefined;
  const key: unknown = raw[0];
  const value: unknown = raw[1];
  const element = setElement(key);
  if (!element || !isJson(value, MAX_DEPTH)) return undefined;
  return { ...element, value };
}

/** Whether a value that JSON.parse made is nested no deeper than this. */
function isJson(value: unknown, depth: number): value is NftJson {
  if (value === undefined) return false;
  if (typeof value !== 'object' || value === null) return true;
  if (depth === 0) return false;
  for (const inner of Object.values(value)) if (!isJson(inner, depth - 1)) return false;
  return true;
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

function wholeOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : undefined;
}

/** One or several, as different versions of nft print a list of one. */
function listOf(value: unknown): readonly unknown[] {
  if (value === undefined || value === null) return [];
  return Array.isArray(value) ? value : [value];
}

function textsOf(value: unknown): readonly string[] {
  return listOf(value).filter((one) => typeof one === 'string');
}

function given<K extends string, V>(key: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { readonly [P in K]: V });
}
