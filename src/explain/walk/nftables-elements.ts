import type { NftElement, NftJson } from '../../model/ruleset.js';
import { field, isList } from './nftables-json.js';
import { fits, type Kind, type Pattern, patternOf, type Scalar } from './nftables-values.js';

/** An element of a set or map, and what each dimension of its key stands for. */
export interface Entry {
  readonly element: NftElement;
  readonly patterns: readonly Pattern[];
}

/** Separates the dimensions of a key; no value holds it. */
const BETWEEN = '\0';

/**
 * The elements of one set or map. What a packet asks for is found by its key's text: a map of kube-proxy's
 * may have 15,000 elements, and what each of them stands for is read only where all are gone through.
 */
export class Elements {
  /** Elements whose key cannot be read: whether they are meant nobody knows. */
  readonly unread: number;
  /** `*`: taken where nothing else is. */
  readonly other: NftElement | undefined;
  private readonly kinds: readonly Kind[];
  private readonly all: readonly NftElement[];
  private readonly byKey = new Map<string, NftElement>();
  /** Of networks and ranges. */
  private readonly wide: readonly Entry[];
  private listed: readonly Entry[] | undefined;

  constructor(kinds: readonly Kind[], elements: Iterable<NftElement>) {
    let unread = 0;
    let other: NftElement | undefined;
    const all: NftElement[] = [];
    const wide: Entry[] = [];
    for (const element of elements) {
      if (element.key === '*') {
        other = element;
        continue;
      }
      const key = keyOf(kinds, element.key);
      if (key !== undefined) {
        all.push(element);
        if (!this.byKey.has(key)) this.byKey.set(key, element);
        continue;
      }
      const patterns = patternsOf(kinds, element.key);
      if (patterns) {
        all.push(element);
        wide.push({ element, patterns });
      } else unread++;
    }
    this.kinds = kinds;
    this.all = all;
    this.wide = wide;
    this.unread = unread;
    this.other = other;
  }

  /** In the order in which they are listed. */
  get entries(): readonly Entry[] {
    this.listed ??= this.all.flatMap((element) => {
      const patterns = patternsOf(this.kinds, element.key);
      return patterns ? [{ element, patterns }] : [];
    });
    return this.listed;
  }

  find(values: readonly Scalar[]): NftElement | undefined {
    const key = values.map((value, i) => this.kinds[i]?.keyOf(value)).join(BETWEEN);
    const wide = (): Entry | undefined =>
      this.wide.find(({ patterns }) => patterns.every((p, i) => fits(values[i] ?? '', p)));
    return this.byKey.get(key) ?? wide()?.element ?? this.other;
  }
}

/** The text of a key that stands for one value in each of its parts. */
function keyOf(kinds: readonly Kind[], key: NftJson): string | undefined {
  const concat = field(key, 'concat');
  const parts = isList(concat) ? concat : [key];
  if (parts.length !== kinds.length) return undefined;
  let text = '';
  for (let i = 0; i < parts.length; i++) {
    const part = kinds[i]?.key(parts[i] ?? null);
    if (part === undefined) return undefined;
    text = i === 0 ? part : text + BETWEEN + part;
  }
  return text;
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
