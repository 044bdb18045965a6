import type { NftElement, NftJson } from '../../model/ruleset.js';
import { field, isList } from './nftables-json.js';
import {
  exactly,
  fits,
  type Kind,
  type Pattern,
  patternOf,
  type Scalar,
} from './nftables-values.js';

/** An element of a set or map, and what each dimension of its key stands for. */
export interface Entry {
  readonly element: NftElement;
  readonly patterns: readonly Pattern[];
}

/** Separates the dimensions of a key; no value holds it. */
const BETWEEN = '\0';

/** The elements of one set or map by key: a kube-proxy map may hold 15,000 and one packet asks for one. */
export class Elements {
  /** Elements whose key cannot be read: whether they are meant nobody knows. */
  readonly unread: number;
  /** In the order in which they are listed. */
  readonly entries: readonly Entry[];
  private readonly byKey = new Map<string, Entry>();
  private readonly wide: Entry[] = [];
  /** `*`: taken where nothing else is. */
  readonly other: Entry | undefined;

  constructor(kinds: readonly Kind[], elements: Iterable<NftElement>) {
    let unread = 0;
    let other: Entry | undefined;
    const entries: Entry[] = [];
    for (const element of elements) {
      if (element.key === '*') {
        other = { element, patterns: [] };
        continue;
      }
      const patterns = patternsOf(kinds, element.key);
      if (!patterns) {
        unread++;
        continue;
      }
      const entry = { element, patterns };
      entries.push(entry);
      const key = keyOf(patterns);
      if (key === undefined) this.wide.push(entry);
      else if (!this.byKey.has(key)) this.byKey.set(key, entry);
    }
    this.unread = unread;
    this.other = other;
    this.entries = entries;
  }

  get size(): number {
    return this.entries.length + this.unread + (this.other ? 1 : 0);
  }

  find(values: readonly Scalar[]): Entry | undefined {
    return (
      this.byKey.get(values.join(BETWEEN)) ??
      this.wide.find(({ patterns }) => patterns.every((p, i) => fits(values[i] ?? '', p))) ??
      this.other
    );
  }
}

function keyOf(patterns: readonly Pattern[]): string | undefined {
  const values: Scalar[] = [];
  for (const pattern of patterns) {
    const value = exactly(pattern);
    if (value === undefined) return undefined;
    values.push(value);
  }
  return values.join(BETWEEN);
}

function patternsOf(kinds: readonly Kind[], key: NftJson): readonly Pattern[] | undefined {
  const concat = field(key, 'concat');
  const parts = isList(concat) ? concat : [key];
  if (parts.length !== kinds.length) return undefined;
  const patterns: Pattern[] = [];
  for (const [i, part] of parts.entries()) {
    const kind = kinds[i];
    const pattern = kind && patternOf(kind, part);
    if (!pattern) return undefined;
    patterns.push(pattern);
  }
  return patterns;
}
