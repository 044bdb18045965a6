import { formatAddress, sameAddress } from '../model/address.js';
import type { Backend, Peer, PodRef, ServiceRef } from '../model/attribution.js';
import type { RulePath, ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';
import type { ServiceIndex } from './service-index.js';
import { TupleMap } from './tuple-map.js';

/** Who a client address was, beside its port. */
export interface Client {
  readonly ip: string;
  readonly pod: PodRef | undefined;
  readonly node: string | undefined;
}

/** What all connections from one Service address to one endpoint have in common. */
export interface Way {
  /** What it was made from: it holds for connections that have the same. */
  readonly byRules: ServiceEntry | undefined;
  readonly byCluster: ServiceEntry | undefined;
  readonly byAddress: ServiceEntry | undefined;
  readonly index: ServiceIndex;
  readonly destination: { readonly ip: string; readonly port: number };
  readonly service: ServiceRef | undefined;
  readonly backend: Backend;
  /** The cluster knew the endpoint. */
  readonly known: boolean;
  readonly rule: RulePath | undefined;
  /** `rule` depends on the client: it is to be asked for each connection. */
  readonly perClient: boolean;
}

/** More are not kept: a scanner makes up new ones for ever. */
const MAX_KEPT = 50_000;
const ZERO = new Uint32Array(4);

/**
 * Words found once for what is the same for many connections: endpoints and clients are few, connections
 * many. All is forgotten when the cluster changes, and nothing is kept of a time before its last change.
 */
export class Phrases {
  private changes = -1;
  private clients: Client[] = [];
  private clientPlaces = new TupleMap(64);
  private ways: Way[] = [];
  private wayPlaces = new TupleMap(64);

  /** Whether what is asked now, of that time, may be kept and answered from what was kept. */
  holds(changes: number, latest: Nanos, time: Nanos | undefined): boolean {
    if (time === undefined || time < latest) return false;
    if (changes !== this.changes) {
      this.changes = changes;
      this.forget();
    }
    return true;
  }

  client(words: Uint32Array, at: number): Client | undefined {
    return this.clients[this.clientPlaces.find(joined(words, at, ZERO, 0), 0, 4, 0, 0, 0)];
  }

  keepClient(words: Uint32Array, at: number, client: Client): void {
    if (this.clients.length >= MAX_KEPT) this.forget();
    this.clientPlaces.set(joined(words, at, ZERO, 0), 0, 4, 0, 0, 0, this.clients.length);
    this.clients.push(client);
  }

  way(
    words: Uint32Array,
    service: number,
    endpoint: number,
    port: number,
    endpointPort: number,
    kind: number,
  ): Way | undefined {
    return this.ways[this.wayPlaces.find(words, service, endpoint, port, endpointPort, kind)];
  }

  keepWay(
    words: Uint32Array,
    service: number,
    endpoint: number,
    port: number,
    endpointPort: number,
    kind: number,
    way: Way,
  ): void {
    if (this.ways.length >= MAX_KEPT) this.forget();
    this.wayPlaces.set(words, service, endpoint, port, endpointPort, kind, this.ways.length);
    this.ways.push(way);
  }

  private forget(): void {
    this.clients = [];
    this.clientPlaces = new TupleMap(64);
    this.ways = [];
    this.wayPlaces = new TupleMap(64);
  }
}

const KEY = new Uint32Array(8);

function joined(a: Uint32Array, at: number, b: Uint32Array, bt: number): Uint32Array {
  for (let i = 0; i < 4; i++) {
    KEY[i] = a[at + i] ?? 0;
    KEY[4 + i] = b[bt + i] ?? 0;
  }
  return KEY;
}

/** A peer as text, where its address is not the client's own. */
export function otherPeer(
  words: Uint32Array,
  client: number,
  clientPort: number,
  seen: number,
  seenPort: number,
  family: 4 | 6,
): { readonly ip: string; readonly port: number } | undefined {
  if (clientPort === seenPort && sameAddress(words, client, words, seen)) return undefined;
  return { ip: formatAddress(words, seen, family), port: seenPort };
}

/** The client of one connection. */
export function peerFrom({ ip, pod, node }: Client, port: number): Peer {
  if (pod !== undefined) return { ip, port, pod };
  return node === undefined ? { ip, port } : { ip, port, node };
}
