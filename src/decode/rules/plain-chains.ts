import { formatAddress } from '../../model/address.js';
import { HASH_BYTES, PlainLine, PROBABILITY_ONE } from './plain-line.js';
import type { SavedChains } from './saved-chains.js';
import { placeOf } from './saved-text.js';
import type { Steps } from './steps.js';

const SPACE = 0x20;
const BRACKET = 0x5b;

/** What a chain was found to be. */
const UNREAD = 0;
const NOT_PLAIN = -1;

/** Chains of endpoints read between two places at which reading may be interrupted: about 0.1 ms. */
const CHAINS_AT_ONCE = 128;

/**
 * Endpoints and the chances that balancing chains give them, in columns: 45 bytes an endpoint, where
 * objects and strings would take 400. It does not hold on to the dump.
 */
class Endpoints {
  private count = 0;
  /** The hash in the name of an endpoint's chain, four words. */
  private hashes = new Uint32Array(4 * 64);
  private addresses = new Uint32Array(4 * 64);
  private families = new Uint8Array(64);
  private ports = new Uint16Array(64);
  /** What a chance of 1 is. */
  readonly one = PROBABILITY_ONE;
  private choices = 0;
  private chosen = new Uint32Array(64);
  /** In 1/2^31; -1: whatever is left. */
  private chances = new Float64Array(64);

  /** `name`: where the hash in its chain's name begins. */
  add(line: PlainLine, view: DataView, name: number): number {
    const endpoint = this.count++;
    if (endpoint === this.ports.length) {
      const size = 2 * endpoint;
      this.hashes = larger(this.hashes, new Uint32Array(4 * size));
      this.addresses = larger(this.addresses, new Uint32Array(4 * size));
      this.families = larger(this.families, new Uint8Array(size));
      this.ports = larger(this.ports, new Uint16Array(size));
    }
    for (let i = 0; i < 4; i++) {
      this.hashes[4 * endpoint + i] = view.getUint32(name + 4 * i);
      this.addresses[4 * endpoint + i] = line.address[i] ?? 0;
    }
    this.families[endpoint] = line.family;
    this.ports[endpoint] = line.port;
    return endpoint;
  }

  choose(endpoint: number, chance: number): void {
    if (this.choices === this.chosen.length) {
      this.chosen = larger(this.chosen, new Uint32Array(2 * this.choices));
      this.chances = larger(this.chances, new Float64Array(2 * this.choices));
    }
    this.chosen[this.choices] = endpoint;
    this.chances[this.choices] = chance;
    this.choices++;
  }

  /** How many choices there are: the number of the next one. */
  get length(): number {
    return this.choices;
  }

  /** Takes back the choices from a number on. */
  forget(from: number): void {
    this.choices = from;
  }

  chanceOf(choice: number): number {
    return this.chances[choice] ?? 0;
  }

  chainOf(choice: number): string {
    let name = 'KUBE-SEP-';
    const at = 4 * (this.chosen[choice] ?? 0);
    for (let i = at; i < at + 4; i++) {
      const word = this.hashes[i] ?? 0;
      name += String.fromCharCode(word >>> 24, (word >>> 16) & 255, (word >>> 8) & 255, word & 255);
    }
    return name;
  }

  ipOf(choice: number): string {
    const endpoint = this.chosen[choice] ?? 0;
    return formatAddress(this.addresses, 4 * endpoint, this.families[endpoint] ?? 4);
  }

  portOf(choice: number): number {
    return this.ports[this.chosen[choice] ?? 0] ?? 0;
  }
}

function larger<T extends Uint8Array | Uint16Array | Uint32Array | Float64Array>(
  old: T,
  into: T,
): T {
  into.set(old);
  return into;
}

/** A chain that does nothing but choose one of its endpoints, by chance. */
export interface PlainBalancer {
  /** The protocol that all of them are for. */
  readonly protocol: number;
  /** Its choices: their numbers among those of `endpoints`, the last excluded. */
  readonly from: number;
  readonly to: number;
  /** The last choice is taken in any case: nothing comes back from the chain. */
  readonly always: boolean;
  readonly endpoints: Endpoints;
}

/**
 * Finds the chains of a table in which kube-proxy balances over endpoints and does nothing else
 * (KUBE-SVC- and KUBE-SVL- without affinity, pkg/proxy/iptables/proxier.go). A chain with anything that
 * another reading might take otherwise is not plain. Rules that jump to KUBE-MARK-MASQ are passed over:
 * who asks knows that this chain leads nowhere.
 */
export class PlainChains {
  private readonly chains: SavedChains;
  private readonly endpoints = new Endpoints();
  private readonly line = new PlainLine();
  private readonly lines: Lines;
  private readonly inner: Lines;
  /** By chain: UNREAD, NOT_PLAIN, or the number of its endpoint from 1. */
  private readonly state: Int32Array;
  /** By chain of an endpoint: the chain that was last seen to lead there. */
  private readonly leader: Int32Array;
  private readonly protocols: Uint8Array;

  constructor(chains: SavedChains) {
    this.chains = chains;
    this.lines = new Lines(chains);
    this.inner = new Lines(chains);
    this.state = new Int32Array(chains.size);
    this.leader = new Int32Array(chains.size).fill(-1);
    this.protocols = new Uint8Array(chains.size);
  }

  /**
   * Reads the chains of all endpoints in the order of the dump: from one to the next as balancers lead there,
   * nearly each would be far from the one before, and memory is not made for that. May be interrupted.
   */
  *readEndpoints(): Steps<void> {
    const { chains } = this;
    for (let chain = 0; chain < chains.size; chain++) {
      if (chain % CHAINS_AT_ONCE === 0) yield;
      if (chains.isEndpoint(chain)) this.endpoint(chain);
    }
  }

  balancer(chain: number): PlainBalancer | undefined {
    const { endpoints } = this;
    const from = endpoints.length;
    const protocol = this.readBalancer(chain);
    const to = endpoints.length;
    if (protocol === 0 || to === from) {
      endpoints.forget(from);
      return undefined;
    }
    return { protocol, from, to, always: endpoints.chanceOf(to - 1) < 0, endpoints };
  }

  /** The protocol, or 0 if it is not plain. */
  private readBalancer(chain: number): number {
    const { chains, lines, line, endpoints } = this;
    let protocol = 0;
    let over = false;
    lines.begin(chain);
    while (lines.hasNext()) {
      // Nothing gets beyond a choice that is taken in any case.
      if (over || !line.read(lines.block, lines.view, lines.start)) return 0;
      lines.next = line.next;
      if (line.kind === 'masq') continue;
      if (line.kind !== 'endpoint' || line.conditional || line.protocol !== 0) return 0;
      const target = chains.find(lines.view, line.name, line.nameEnd);
      if (target < 0 || this.leader[target] === chain) return 0;
      this.leader[target] = chain;
      const { stored } = line;
      const endpoint = this.endpoint(target);
      if (endpoint < 0) return 0;
      const its = this.protocols[target] ?? 0;
      if (protocol !== 0 && protocol !== its) return 0;
      protocol = its;
      over = stored < 0;
      endpoints.choose(endpoint, stored);
    }
    return protocol;
  }

  /** The number of a chain's endpoint; -1 if the chain is not plain. */
  private endpoint(chain: number): number {
    const known = this.state[chain] ?? NOT_PLAIN;
    if (known !== UNREAD) return known - (known > 0 ? 1 : 0);
    const endpoint = this.readEndpoint(chain);
    this.state[chain] = endpoint < 0 ? NOT_PLAIN : endpoint + 1;
    return endpoint;
  }

  private readEndpoint(chain: number): number {
    const { chains, inner: lines, line } = this;
    let endpoint = -1;
    lines.begin(chain);
    while (lines.hasNext()) {
      if (endpoint >= 0 || !line.read(lines.block, lines.view, lines.start)) return -1;
      lines.next = line.next;
      if (line.kind === 'masq') continue;
      if (line.kind !== 'dnat' || line.conditional || line.protocol === 0 || line.stored >= 0) {
        return -1;
      }
      const name = chains.nameAddress(chain);
      const hash = placeOf(name) + chains.nameBytes(chain) - HASH_BYTES;
      endpoint = this.endpoints.add(line, chains.text.viewAt(name), hash);
      this.protocols[chain] = line.protocol;
    }
    return endpoint;
  }
}

/** The rules of a chain where their bytes lie; whoever reads one says where the next one begins. */
class Lines {
  block: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(this.block.buffer);
  /** Where what comes behind `-A CHAIN ` begins; there may be nothing but the end of the line. */
  start = 0;
  next = 0;
  private readonly chains: SavedChains;
  private nameBytes = 0;
  private run = -1;
  private to = 0;

  constructor(chains: SavedChains) {
    this.chains = chains;
  }

  begin(chain: number): void {
    this.run = this.chains.runsOf(chain);
    this.nameBytes = this.chains.nameBytes(chain);
    this.next = 0;
    this.to = 0;
  }

  hasNext(): boolean {
    if (this.next >= this.to && !this.nextRun()) return false;
    let at = this.next;
    if (this.block[at] === BRACKET) {
      while (this.block[at] !== SPACE) at++;
      at++;
    }
    // Behind a chain's name there is a blank, or the line ends.
    at += 3 + this.nameBytes;
    this.start = this.block[at] === SPACE ? at + 1 : at;
    return true;
  }

  private nextRun(): boolean {
    const { chains, run } = this;
    if (run < 0) return false;
    const from = chains.fromOf(run);
    this.view = chains.text.viewAt(from);
    this.block = chains.text.bytesAt(from);
    this.next = placeOf(from);
    this.to = this.next + chains.toOf(run) - from;
    this.run = chains.nextRun(run);
    return true;
  }
}
