import { canonicalAddress } from '../../model/address.js';
import type { NftJson } from '../../model/ruleset.js';

export function isList(value: NftJson | undefined): value is readonly NftJson[] {
  return Array.isArray(value);
}

/** A member of an object; `undefined` if there is none, or if it is no object. */
export function field(value: NftJson | undefined, name: string): NftJson | undefined {
  if (typeof value !== 'object' || value === null || isList(value)) return undefined;
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

export function addressOf(value: NftJson | undefined): string | undefined {
  return typeof value === 'string' ? canonicalAddress(value) : undefined;
}

/** `10.0.0.0/8` or an address; `undefined` for anything else (`@affinity-…`). */
export function networkOf(value: NftJson | undefined): string | undefined {
  const prefix = field(value, 'prefix');
  if (prefix === undefined) return addressOf(value);
  const address = addressOf(field(prefix, 'addr'));
  const length = field(prefix, 'len');
  return address === undefined || typeof length !== 'number' ? undefined : `${address}/${length}`;
}
