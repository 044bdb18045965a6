import {
  CLUSTER_KINDS,
  type ClusterChange,
  type ClusterKind,
  type ClusterRecord,
} from '../../model/cluster.js';
import type { Problem, Where } from '../../model/problem.js';
import { jsonFault } from '../json-fault.js';
import { documents, items, members } from './json-scan.js';
import { clusterKindOf, slimObject } from './objects.js';

/** What a whole document says. */
export interface ClusterDocument {
  readonly changes: readonly ClusterChange[];
  /** Of the list, where it has one. */
  readonly resourceVersion?: string;
  /** API kinds that were there and are not used (Deployment, Namespace …), sorted. */
  readonly ignored: readonly string[];
  readonly problems: readonly Problem[];
}

/**
 * A list of 150,000 Pods (the largest supported cluster) is about 600 MB; V8 holds strings up to
 * 512 MiB. What is larger than this has to be cut up before.
 */
const MAX_DOCUMENT_BYTES = 480 * 1024 * 1024;

/** More bad items than this are counted in one last problem, so that garbage stays bounded. */
const MAX_ITEM_PROBLEMS = 50;

const ADVICE = 'take the list again: kubectl get pods,services,endpointslices,nodes -A -o json';

/**
 * Reads a JSON document: a typed list (PodList, ServiceList, EndpointSliceList, NodeList), kubectl's
 * List of anything, or one object; or several of these, one after another (kubectl in a loop, jq -c) or
 * in an array. A list replaces what was known of its kind, and lists of one kind in one file are parts of
 * one (mergeLists joins them); a document that is cut off or says itself that it is only a part gives its
 * objects one by one instead, since nothing follows from what is missing in it.
 */
export function readClusterDocument(bytes: Uint8Array): ClusterDocument {
  if (bytes.length > MAX_DOCUMENT_BYTES) {
    return refused('cluster-too-large', `the document has ${bytes.length} bytes`);
  }
  const text = new TextDecoder().decode(bytes);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return isSeveral(text) ? readSeveral(bytes, text) : salvage(bytes, text);
  }
  if (Array.isArray(parsed) && parsed.length > 0) {
    const all = new Gathering();
    for (const one of parsed) all.add(one);
    return all.finish();
  }
  if (!isObject(parsed)) {
    return refused('cluster-not-an-object', 'the document is not a JSON object', { line: 1 });
  }
  return isList(parsed) ? readList(parsed) : single(parsed);
}

/** The members that tell what a document is. */
interface Root {
  readonly kind?: unknown;
  readonly items?: unknown;
  readonly metadata?: unknown;
}

function isList({ kind, items: rows }: Root): boolean {
  return Array.isArray(rows) || (typeof kind === 'string' && kind.endsWith('List'));
}

function readList(root: Root): ClusterDocument {
  const kind = root.kind;
  const rows = root.items;
  // Go writes an empty list as null in some clients.
  if (rows !== undefined && rows !== null && !Array.isArray(rows)) {
    return refused('cluster-bad-items', 'the items of the list are no list', { line: 1 });
  }
  const metadata = root.metadata;
  const said = typeof metadata === 'object' && metadata !== null ? metadata : {};
  const read = new ItemReader(typeof kind === 'string' ? kind : 'List');
  for (const row of Array.isArray(rows) ? rows : []) read.add(row);
  const more = 'continue' in said && typeof said.continue === 'string' && said.continue !== '';
  if (more) {
    const left = 'remainingItemCount' in said ? said.remainingItemCount : undefined;
    read.problem({
      code: 'cluster-partial-list',
      message: 'the list is one page of several (it has a continue token)',
      where: {},
      advice: ADVICE,
      fatal: false,
      ...(typeof left === 'number' && Number.isSafeInteger(left) && left > 0 ? { lost: left } : {}),
    });
  }
  const version = 'resourceVersion' in said ? said.resourceVersion : undefined;
  const known = typeof version === 'string' && version !== '' ? version : undefined;
  return read.finish(!more, known);
}

function single(root: object): ClusterDocument {
  const read = new ItemReader('List');
  read.add(root);
  return read.finish(false, undefined);
}

/** Whether text that is not one JSON value has another object or array behind the first. */
function isSeveral(text: string): boolean {
  const [, second] = documents(text);
  return second !== undefined && '{['.includes(text.charAt(second.start));
}

/** Documents one after another, up to the first that is cut off or damaged. */
function readSeveral(bytes: Uint8Array, text: string): ClusterDocument {
  const all = new Gathering();
  for (const { start, end } of documents(text)) {
    const piece = text.slice(start, end);
    let parsed: unknown;
    try {
      parsed = JSON.parse(piece);
    } catch {
      // Counted from the end: a byte order mark is in the bytes and not in the text.
      const rest = new TextEncoder().encode(text.slice(start)).length;
      all.part(salvage(bytes, piece, Math.max(bytes.length - rest, 0)));
      break;
    }
    for (const one of Array.isArray(parsed) ? parsed : [parsed]) all.add(one);
  }
  return all.finish();
}

/** The complete items of a list that is cut off or damaged; it begins at byte `begin`. */
function salvage(bytes: Uint8Array, text: string, begin = 0): ClusterDocument {
  let kind = 'List';
  let from: number | undefined;
  for (const { key, value } of members(text)) {
    if (key === 'kind' && value.end !== undefined)
      kind = text.slice(value.start + 1, value.end - 1);
    if (key === 'items') from = value.start;
  }
  if (from === undefined) {
    return refused(
      'cluster-not-json',
      'the document is cut off or no JSON',
      jsonFault(bytes, begin),
    );
  }
  const read = new ItemReader(kind);
  let count = 0;
  for (const span of items(text, from)) {
    try {
      read.add(JSON.parse(text.slice(span.start, span.end)));
    } catch {
      break;
    }
    count++;
  }
  read.problem({
    code: 'cluster-truncated',
    message:
      count === 0
        ? 'the list is cut off or damaged in its first item'
        : `the list is cut off or damaged behind item ${count}`,
    where: { record: count + 1, ...jsonFault(bytes, begin) },
    advice: ADVICE,
    fatal: true,
  });
  return read.finish(false, undefined);
}

function refused(code: string, message: string, where: Where = {}): ClusterDocument {
  const problem: Problem = { code, message, where, advice: ADVICE, fatal: true };
  return { changes: [], ignored: [], problems: [problem] };
}

/** Gathers the documents of one file: lists as they are, single objects one by one. */
class Gathering {
  private readonly parts: ClusterDocument[] = [];
  private readonly singles = new ItemReader('List');

  add(value: unknown): void {
    if (isObject(value) && isList(value)) this.part(readList(value));
    else this.singles.add(value);
  }

  part(document: ClusterDocument): void {
    this.parts.push(document);
  }

  finish(): ClusterDocument {
    const parts = [...this.parts, this.singles.finish(false, undefined)];
    const ignored = new Set(parts.flatMap((part) => part.ignored));
    return {
      changes: parts.flatMap(({ changes }) => changes),
      ignored: [...ignored].sort(),
      problems: withinBound(parts.flatMap(({ problems }) => problems)),
    };
  }
}

/** As of one list: the first of many are told, and how many more there are; what stopped the reading always is. */
function withinBound(problems: readonly Problem[]): readonly Problem[] {
  const later = problems.slice(MAX_ITEM_PROBLEMS);
  const fatal = later.find((problem) => problem.fatal);
  const unsaid = later.filter((problem) => problem !== fatal);
  if (unsaid.length === 0) return problems;
  return [
    ...problems.slice(0, MAX_ITEM_PROBLEMS),
    {
      code: 'cluster-bad-object',
      message: `${unsaid.length} more problems like these`,
      where: {},
      advice: ADVICE,
      fatal: false,
      lost: unsaid.reduce((sum, { lost = 0 }) => sum + lost, 0),
    },
    ...(fatal === undefined ? [] : [fatal]),
  ];
}

/** Gathers the items of one document by kind. */
class ItemReader {
  private readonly listKind: string;
  private readonly hint: ClusterKind | undefined;
  private readonly byKind = new Map<ClusterKind, ClusterRecord[]>();
  private readonly ignored = new Set<string>();
  private readonly problems: Problem[] = [];
  private count = 0;
  private unsaid = 0;

  constructor(listKind: string) {
    this.listKind = listKind;
    this.hint = clusterKindOf(listKind.replace(/List$/, ''));
    if (this.hint !== undefined) this.byKind.set(this.hint, []);
    else if (listKind !== 'List') this.ignored.add(listKind.replace(/List$/, ''));
  }

  add(row: unknown): void {
    this.count++;
    const record = slimObject(row, this.hint);
    if (record !== undefined) {
      const rows = this.byKind.get(record.kind);
      if (rows === undefined) this.byKind.set(record.kind, [record]);
      else rows.push(record);
      return;
    }
    const kind = foreignKind(row);
    if (kind !== undefined) {
      this.ignored.add(kind);
      return;
    }
    // Without a kind of its own an item of a list that is not used is not used either.
    if (this.hint === undefined && this.listKind !== 'List' && isObject(row)) return;
    if (this.problems.length >= MAX_ITEM_PROBLEMS) {
      this.unsaid++;
      return;
    }
    this.problems.push({
      code: 'cluster-bad-object',
      message: isObject(row) ? 'an object without kind or name' : 'an item that is no object',
      where: { record: this.count },
      advice: ADVICE,
      fatal: false,
      lost: 1,
    });
  }

  problem(problem: Problem): void {
    this.problems.push(problem);
  }

  finish(complete: boolean, resourceVersion: string | undefined): ClusterDocument {
    const version = resourceVersion === undefined ? {} : { resourceVersion };
    const changes: ClusterChange[] = [];
    for (const kind of CLUSTER_KINDS) {
      const rows = this.byKind.get(kind);
      if (rows === undefined) continue;
      if (complete) changes.push({ op: 'list', kind, items: rows, ...version });
      else for (const item of rows) changes.push({ op: 'set', item });
    }
    if (this.unsaid > 0) {
      this.problems.push({
        code: 'cluster-bad-object',
        message: `${this.unsaid} more items that could not be read`,
        where: {},
        advice: ADVICE,
        fatal: false,
        lost: this.unsaid,
      });
    }
    return { changes, ...version, ignored: [...this.ignored].sort(), problems: this.problems };
  }
}

function isObject(row: unknown): row is object {
  return typeof row === 'object' && row !== null && !Array.isArray(row);
}

/** The kind of an object that says that it is of a kind that is not used. */
function foreignKind(row: unknown): string | undefined {
  if (!isObject(row) || !('kind' in row)) return undefined;
  const { kind } = row;
  return typeof kind === 'string' && kind !== '' && clusterKindOf(kind) === undefined
    ? kind
    : undefined;
}
