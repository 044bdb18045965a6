import { MAPPED, parseAddress } from '../model/address.js';
import type { ServiceEntry } from '../model/services.js';
import { TupleMap } from './tuple-map.js';

const ZERO = new Uint32Array(8);
const FAMILIES = [4, 6] as const;

/** Entries of one rule set, which is of one family; the cluster's are of both. */
export interface EntrySet {
  readonly family?: 4 | 6;
  readonly entries: readonly ServiceEntry[];
}

function isMapped(key: Uint32Array): boolean {
  return key[0] === 0 && key[1] === 0 && key[2] === MAPPED;
}

/**
 * Which Service an address belongs to, asked once for every SYN: the addresses of a set of entries
 * and, for entries of the node itself (`local`), the node's own addresses.
 */
export class ServiceIndex {
  private readonly byAddress = new TupleMap();
  private readonly byPort = new TupleMap(64);
  private readonly serviceAddresses = new TupleMap(64);
  private readonly local = new TupleMap(64);
  private readonly entries: ServiceEntry[] = [];

  constructor(sets: Iterable<EntrySet>, localAddresses: Iterable<string>) {
    const words = new Uint32Array(8);
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

  get size(): number {
    return this.entries.length;
  }

  /** The entry for a destination, or undefined. `dst` is where its four words start. */
  find(words: Uint32Array, dst: number, port: number, protocol: number): ServiceEntry | undefined {
    KEY[0] = words[dst] ?? 0;
    KEY[1] = words[dst + 1] ?? 0;
    KEY[2] = words[dst + 2] ?? 0;
    KEY[3] = words[dst + 3] ?? 0;
    const found = this.byAddress.find(KEY, 0, 4, 0, port, protocol);
    if (found >= 0) return this.entries[found];
    if (this.byPort.size === 0) return undefined;
    const family = isMapped(KEY) ? 4 : 6;
    const node = this.byPort.find(ZERO, 0, 4, family, port, protocol);
    if (node < 0 || !this.isLocal(KEY)) return undefined;
    return this.entries[node];
  }

  /** An entry of the Service that has this cluster address, whatever the port. */
  atAddress(words: Uint32Array, dst: number): ServiceEntry | undefined {
    for (let i = 0; i < 4; i++) KEY[i] = words[dst + i] ?? 0;
    const found = this.serviceAddresses.find(KEY, 0, 4, 0, 0, 0);
    return found < 0 ? undefined : this.entries[found];
  }

  /** Whether an address (four words at `at`) is the node's own. */
  isLocalAddress(words: Uint32Array, at: number): boolean {
    for (let i = 0; i < 4; i++) KEY[i] = words[at + i] ?? 0;
    return this.isLocal(KEY);
  }

  private isLocal(key: Uint32Array): boolean {
    // 127.0.0.0/8 and ::1 are always the node's own.
    if (isMapped(key) && (key[3] ?? 0) >>> 24 === 127) return true;
    if (key[0] === 0 && key[1] === 0 && key[2] === 0 && key[3] === 1) return true;
    return this.local.find(key, 0, 4, 0, 0, 0) >= 0;
  }

  private add(
    map: TupleMap,
    words: Uint32Array,
    entry: ServiceEntry,
    number: number,
    family: 0 | 4 | 6,
  ): void {
    // kube-proxy may write several rules for one address; the first that translates is the one that acts.
    const before = map.find(words, 0, 4, family, entry.port, entry.protocol);
    if (before >= 0 && !(this.entries[before]?.action !== 'dnat' && entry.action === 'dnat'))
      return;
    map.set(words, 0, 4, family, entry.port, entry.protocol, number);
  }
}

/** Destination words followed by four zeros: the key of a lookup by destination alone. */
const KEY = new Uint32Array(8);
