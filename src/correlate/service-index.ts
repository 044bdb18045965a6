import { isMapped, parseAddress } from '../model/address.js';
import type { ServiceEntry } from '../model/services.js';
import { TupleMap } from './tuple-map.js';

const ZERO = new Uint32Array(8);
const FAMILIES = [4, 6] as const;

/** Entries of one rule set, which is of one family; the cluster's are of both. */
export interface EntrySet {
  readonly family?: 4 | 6;
  readonly entries: readonly ServiceEntry[];
}

/**
 * Which Service an address belongs to, asked once for every SYN: the addresses of a set of entries
 * and, for entries of the node itself (`local`), the node's own addresses. Its tables are made when it is first
 * asked: of several changes that come one after the other only the last one's are, and in a turn of their own.
 */
export class ServiceIndex {
  private readonly sets: readonly EntrySet[];
  private readonly localAddresses: readonly string[];
  private made: Tables | undefined;

  /** What is given must not change. */
  constructor(sets: readonly EntrySet[], localAddresses: readonly string[]) {
    this.sets = sets;
    this.localAddresses = localAddresses;
  }

  /** The entry for a destination, or undefined. `dst` is where its four words start. */
  find(words: Uint32Array, dst: number, port: number, protocol: number): ServiceEntry | undefined {
    return this.tables.find(words, dst, port, protocol);
  }

  /** Where rules refuse some clients of an entry and serve others: the refusal of those to whom no way is open. */
  refusalOf(entry: ServiceEntry): ServiceEntry | undefined {
    return this.tables.refusals.get(entry);
  }

  /** Whether an address is the node's own; `undefined` if its addresses are not known. */
  isOwn(words: Uint32Array, at: number): boolean | undefined {
    return this.tables.isOwn(words, at);
  }

  /** An entry of the Service that has this cluster address, whatever the port. */
  atAddress(words: Uint32Array, dst: number): ServiceEntry | undefined {
    return this.tables.atAddress(words, dst);
  }

  private get tables(): Tables {
    this.made ??= new Tables(this.sets, this.localAddresses);
    return this.made;
  }
}

class Tables {
  private readonly byAddress: TupleMap;
  private readonly byPort = new TupleMap(64);
  private readonly serviceAddresses: TupleMap;
  private readonly local = new TupleMap(64);
  private readonly entries: ServiceEntry[] = [];
  /** Of an entry that translates: the one that refuses those to whom none of its ways is open. */
  readonly refusals = new Map<ServiceEntry, ServiceEntry>();

  constructor(sets: readonly EntrySet[], localAddresses: readonly string[]) {
    const words = new Uint32Array(8);
    const most = sets.reduce((sum, { entries }) => sum + entries.length, 64);
    this.byAddress = new TupleMap(most);
    this.serviceAddresses = new TupleMap(most);
    for (const { family, entries } of sets)
      for (const entry of entries) {
        const number = this.entries.length;
        this.entries.push(entry);
        if (entry.address === 'local') {
          for (const one of family === undefined ? FAMILIES : [family]) {
            this.add(this.byPort, ZERO, entry, number, one);
          }
        } else if (parseAddress(entry.address, words, 0) !== 0) {
          this.add(this.byAddress, words, entry, number, 0);
          if (entry.via === 'clusterIP') {
            this.serviceAddresses.set(words, 0, 4, 0, 0, 0, number);
          }
        }
      }
    for (const address of localAddresses) {
      if (parseAddress(address, words, 0) !== 0) this.local.set(words, 0, 4, 0, 0, 0, 1);
    }
  }

  find(words: Uint32Array, dst: number, port: number, protocol: number): ServiceEntry | undefined {
    KEY[0] = words[dst] ?? 0;
    KEY[1] = words[dst + 1] ?? 0;
    KEY[2] = words[dst + 2] ?? 0;
    KEY[3] = words[dst + 3] ?? 0;
    const found = this.byAddress.find(KEY, 0, 4, 0, port, protocol);
    if (found >= 0) return this.entries[found];
    if (this.byPort.size === 0) return undefined;
    const family = isMapped(KEY, 0) ? 4 : 6;
    const node = this.byPort.find(ZERO, 0, 4, family, port, protocol);
    if (node < 0 || !this.isLocal(KEY)) return undefined;
    const entry = this.entries[node];
    return entry?.notLoopback && isLoopback(KEY) ? undefined : entry;
  }

  isOwn(words: Uint32Array, at: number): boolean | undefined {
    for (let i = 0; i < 4; i++) KEY[i] = words[at + i] ?? 0;
    return this.isLocal(KEY) || (this.local.size > 0 ? false : undefined);
  }

  atAddress(words: Uint32Array, dst: number): ServiceEntry | undefined {
    for (let i = 0; i < 4; i++) KEY[i] = words[dst + i] ?? 0;
    const found = this.serviceAddresses.find(KEY, 0, 4, 0, 0, 0);
    return found < 0 ? undefined : this.entries[found];
  }

  private isLocal(key: Uint32Array): boolean {
    // 127.0.0.0/8 and ::1 are always the node's own.
    if (isLoopback(key)) return true;
    return this.local.find(key, 0, 4, 0, 0, 0) >= 0;
  }

  private add(
    map: TupleMap,
    words: Uint32Array,
    entry: ServiceEntry,
    number: number,
    family: 0 | 4 | 6,
  ): void {
    const before = map.find(words, 0, 4, family, entry.port, entry.protocol);
    const known = before < 0 ? undefined : this.entries[before];
    if (known === undefined) {
      map.set(words, 0, 4, family, entry.port, entry.protocol, number);
    } else if (entry.action !== 'dnat') {
      if (known.action === 'dnat' && !this.refusals.has(known)) this.refusals.set(known, entry);
    } else if (known.action !== 'dnat') {
      map.set(words, 0, 4, family, entry.port, entry.protocol, number);
      this.refusals.set(entry, known);
    } else if (entry.routes.length > 0 && entry.routes !== known.routes) {
      // Rules of another back end that are in force as well: an endpoint may be behind either.
      const both = { ...known, routes: [...known.routes, ...entry.routes] };
      this.entries[before] = both;
      const refusal = this.refusals.get(known);
      if (refusal !== undefined) this.refusals.set(both, refusal);
    }
  }
}

function isLoopback(key: Uint32Array): boolean {
  if (isMapped(key, 0) && (key[3] ?? 0) >>> 24 === 127) return true;
  return key[0] === 0 && key[1] === 0 && key[2] === 0 && key[3] === 1;
}

/** Destination words followed by four zeros: the key of a lookup by destination alone. */
const KEY = new Uint32Array(8);
