import type { NftJson } from '../../model/ruleset.js';

export function isList(value: NftJson | undefined): value is readonly NftJson[] {
  return Array.isArray(value);
}

/** A member of an object; `undefined` if there is none, or if it is no object. */
export function field(value: NftJson | undefined, name: string): NftJson | undefined {
  if (typeof value !== 'object' || value === null || isList(value)) return undefined;
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

export function textOf(value: NftJson | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined;
}

export function wholeOf(value: NftJson | undefined): number | undefined {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** One or several: nft prints a list of one as its only member in some places and versions. */
export function listOf(value: NftJson | undefined): readonly NftJson[] {
  if (value === undefined || value === null) return [];
  return isList(value) ? value : [value];
}

/** `{ "accept": null }`: the only key, and what stands behind it. */
export function single(value: NftJson): readonly [string, NftJson] | undefined {
  if (typeof value !== 'object' || value === null || isList(value)) {
    // A statement without arguments may be printed as its bare name.
    return typeof value === 'string' ? [value, null] : undefined;
  }
  const [first] = Object.entries(value);
  return first;
}

/** The members of an anonymous set; `undefined` if it is none. */
export function membersOf(value: NftJson | undefined): readonly NftJson[] | undefined {
  const set = field(value, 'set');
  if (set === undefined) return undefined;
  return isList(set) ? set : [set];
}

/** The pairs of an anonymous map; a map of one may stand without the brackets of a list. */
export function pairsOf(data: NftJson | undefined): readonly (readonly [NftJson, NftJson])[] {
  const set = field(data, 'set') ?? data;
  if (!isList(set)) return [];
  const isOne = set.length === 2 && !isList(set[0]);
  const pairs: [NftJson, NftJson][] = [];
  for (const pair of isOne ? [set] : set) {
    const [key, value] = isList(pair) ? pair : [];
    if (key !== undefined && value !== undefined) pairs.push([key, value]);
  }
  return pairs;
}

/** An element without what may be wrapped around it: `{ "elem": { "val": 1, "comment": "x" } }`. */
export function unwrapped(element: NftJson): NftJson {
  return field(field(element, 'elem'), 'val') ?? element;
}

/** `affinity-X` of `@affinity-X`. */
export function setName(value: NftJson | undefined): string | undefined {
  return typeof value === 'string' && value.startsWith('@') ? value.slice(1) : undefined;
}
