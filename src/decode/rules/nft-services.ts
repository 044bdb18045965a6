import { protocolNumber } from '../../model/packet.js';
import type { Problem } from '../../model/problem.js';
import type { NftablesRules, NftElement, NftJson, NftRule } from '../../model/ruleset.js';
import type {
  ClientCondition,
  EndpointRoute,
  RulePath,
  ServiceEntry,
  ServicePortName,
  Via,
} from '../../model/services.js';
import { parseServicePortName } from './chain-names.js';
import { allowedBy, clientCondition, sparesLoopback } from './nft-clients.js';
import { type NftChainName, parseNftChainName } from './nft-names.js';
import { addressOf, field, isList, networkOf } from './nft-values.js';
import { drain, type Steps } from './steps.js';
import { type Clients, either, within } from './ways.js';

/** Rules followed and entries made; 5,000 Services with 20 endpoints need 220,000. */
const MAX_STEPS = 4_000_000;
/** The kernel's jump stack holds 16 (NFT_JUMP_STACK_SIZE); gotos of kube-proxy add two or three. */
const MAX_CHAIN_DEPTH = 32;

/**
 * The addresses that kube-proxy's table makes reachable and the endpoints behind each (Kubernetes 1.29
 * to 1.36): what maps service-ips and service-nodeports lead to, and what it refuses because there is
 * no endpoint (no-endpoint-services, no-endpoint-nodeports) or because of the load balancer's source
 * ranges (firewall-ips; in 1.29 the sets firewall and firewall-allow).
 *
 * One entry an address, port and protocol; where some clients are refused and others served there are
 * two, of which the one with routes comes first: refused is whom none of its routes is open to. A NodePort stands under each address of the set
 * nodeport-ips, under `local` where kube-proxy made none. The rules do not tell external IPs from load
 * balancers' addresses, unless these have source ranges: the others are `externalIP`. A route's
 * probability holds on the condition that its branch is taken at all: with externalTrafficPolicy Local
 * the ways of local and of foreign clients are both listed, each with whom it is open to.
 */
export function nftServices(rules: NftablesRules, problems: Problem[] = []): ServiceEntry[] {
  return drain(nftServiceSteps(rules, problems));
}

/** The same, step by step. */
export function* nftServiceSteps(rules: NftablesRules, problems: Problem[]): Steps<ServiceEntry[]> {
  const reading = new Reading(rules);
  yield* reading.served('service-ips');
  yield* reading.served('service-nodeports');
  reading.refused('no-endpoint-services');
  reading.refused('no-endpoint-nodeports');
  reading.refused('firewall-ips');
  reading.firewalled129();
  if (reading.exhausted) {
    problems.push({
      code: 'rules-too-many-paths',
      message: `the rules were followed for ${MAX_STEPS} steps without an end`,
      where: {},
      advice: 'Services found after that are missing; is this the rule set of a node?',
      fatal: false,
    });
  }
  for (const [map, count] of reading.unread) {
    problems.push({
      code: 'nft-unknown-element',
      message: `${count} elements of map ${map} do not name an address, a protocol and a port`,
      where: {},
      advice: 'Services behind them are missing; is this a newer kube-proxy?',
      fatal: false,
      lost: count,
    });
  }
  return reading.entries();
}

/** A destination, as an element of a map names it. */
interface Destination {
  readonly address: string;
  readonly protocol: number;
  readonly port: number;
}

/** What a verdict says: where to, or the end. */
interface Verdict {
  readonly kind: 'goto' | 'jump' | 'drop' | 'end';
  readonly target: string;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

class Reading {
  exhausted = false;
  /** Elements that were not understood, by map. */
  readonly unread = new Map<string, number>();
  private readonly rules: NftablesRules;
  private readonly withRoutes = new Map<string, ServiceEntry>();
  private readonly withoutRoutes = new Map<string, ServiceEntry>();
  private readonly clusterIps: ReadonlySet<string>;
  /** `local`, or the addresses that NodePorts are limited to. */
  private readonly nodeAddresses: readonly string[];
  private readonly notLoopback: boolean;
  /** Of destinations with source ranges, whom they are open to; `undefined` where that cannot be read. */
  private readonly ranges = new Map<string, Clients | undefined>();
  /** Load balancers' addresses with source ranges. */
  private readonly firewalled = new Set<string>();
  private readonly names = new Map<string, NftChainName | undefined>();
  private readonly routes = new Map<string, readonly EndpointRoute[]>();
  private steps = 0;

  constructor(rules: NftablesRules) {
    this.rules = rules;
    this.clusterIps = new Set(this.addressesOf('cluster-ips'));
    // Empty: kube-proxy was told to take NodePorts in networks in which the node has no address.
    this.nodeAddresses = rules.sets.has('nodeport-ips')
      ? this.addressesOf('nodeport-ips')
      : ['local'];
    this.notLoopback = sparesLoopback(rules);
    for (const { key, value } of rules.maps.get('firewall-ips')?.elements ?? []) {
      const target = verdictOf(value)?.target ?? '';
      this.limit(key, allowedBy(rules.chains.get(target)?.rules ?? []));
    }
    const allowed = new Map<string, ClientCondition[][]>();
    for (const { key } of rules.sets.get('firewall-allow')?.elements ?? []) {
      const parts = field(key, 'concat');
      if (!isList(parts) || parts.length !== 4) continue;
      const [to] = this.destinations({ concat: parts.slice(0, 3) }) ?? [];
      const network = networkOf(parts[3]);
      if (!to || network === undefined) continue;
      const known = allowed.get(keyOf(to)) ?? [];
      known.push([{ is: 'network', network, negated: false }]);
      allowed.set(keyOf(to), known);
    }
    for (const { key } of rules.sets.get('firewall')?.elements ?? []) {
      const [to] = this.destinations(key) ?? [];
      if (to) this.limit(key, allowed.get(keyOf(to)) ?? []);
    }
  }

  private limit(key: NftJson, clients: Clients | undefined): void {
    const [to] = this.destinations(key) ?? [];
    if (!to) return;
    this.firewalled.add(to.address);
    this.ranges.set(keyOf(to), clients);
  }

  entries(): ServiceEntry[] {
    const all: ServiceEntry[] = [];
    for (const [key, entry] of this.withRoutes) {
      all.push(entry);
      const refusal = this.withoutRoutes.get(key);
      if (refusal) all.push(refusal);
    }
    for (const [key, entry] of this.withoutRoutes) if (!this.withRoutes.has(key)) all.push(entry);
    return all;
  }

  *served(map: string): Steps<void> {
    for (const { to, verdict } of this.elementsOf(map)) {
      yield;
      if (verdict.kind !== 'goto' && verdict.kind !== 'jump') continue;
      const key = keyOf(to);
      if (this.withRoutes.has(key)) continue;
      const { target } = verdict;
      const ways = this.routesFrom(map, target, to.port);
      const ranges = this.ranges.get(key);
      // The firewall comes before the translation.
      const routes = ranges === undefined ? ways : ways.map((way) => within(way, ranges));
      const chain = this.balancer(routes[0]?.rule.path ?? [target]);
      this.withRoutes.set(key, {
        ...to,
        via: this.via(map, to.address, this.name(target)?.prefix),
        ...this.loopback(to.address),
        ...this.service(target),
        action: 'dnat',
        routes,
        ...(chain !== undefined && { chain }),
      });
    }
  }

  refused(map: string): void {
    for (const { to, verdict, element } of this.elementsOf(map)) {
      const key = keyOf(to);
      if (this.withoutRoutes.has(key)) continue;
      const served = this.withRoutes.get(key);
      const named = parseServicePortName(element.comment ?? '');
      const isChain = verdict.kind === 'goto' || verdict.kind === 'jump';
      const drops = verdict.kind === 'drop' || (isChain && this.drops(verdict.target));
      this.withoutRoutes.set(key, {
        ...to,
        via: served?.via ?? this.via(map, to.address, undefined),
        ...this.loopback(to.address),
        ...(named ? { service: named } : served ? nameOf(served) : this.service(verdict.target)),
        action: drops ? 'drop' : 'reject',
        // What has endpoints elsewhere only is dropped, so that a client tries again.
        refusal:
          map === 'firewall-ips' ? 'source-ranges' : drops ? 'no-local-endpoints' : 'no-endpoints',
        refusedBy: {
          mode: 'nftables',
          path: [`map ${map}`, ...(isChain ? [verdict.target] : [])],
          affinity: false,
        },
        routes: [],
        ...(isChain && { chain: verdict.target }),
      });
    }
  }

  /** What 1.29 drops because of source ranges: a set, where later versions have a map. */
  firewalled129(): void {
    for (const { key } of this.rules.sets.get('firewall')?.elements ?? []) {
      const [to] = this.destinations(key) ?? [];
      if (!to || !this.goesOn() || this.withoutRoutes.has(keyOf(to))) continue;
      const served = this.withRoutes.get(keyOf(to));
      this.withoutRoutes.set(keyOf(to), {
        ...to,
        via: 'loadBalancerIP',
        ...(served && nameOf(served)),
        action: 'drop',
        refusal: 'source-ranges',
        refusedBy: { mode: 'nftables', path: ['set firewall'], affinity: false },
        routes: [],
      });
    }
  }

  private loopback(address: string): { readonly notLoopback?: true } {
    return this.notLoopback && address === 'local' ? { notLoopback: true } : {};
  }

  private *elementsOf(map: string): Generator<{
    readonly to: Destination;
    readonly verdict: Verdict;
    readonly element: NftElement;
  }> {
    for (const element of this.rules.maps.get(map)?.elements ?? []) {
      const found = this.destinations(element.key);
      const verdict = verdictOf(element.value);
      if (!found || !verdict) {
        this.unread.set(map, (this.unread.get(map) ?? 0) + 1);
        continue;
      }
      for (const to of found) {
        if (!this.goesOn()) return;
        yield { to, verdict, element };
      }
    }
  }

  /** `address . protocol . port`, or `protocol . port` at each of the node's addresses, of which there may be none. */
  private destinations(key: NftJson): readonly Destination[] | undefined {
    const parts = field(key, 'concat');
    if (!isList(parts) || parts.length < 2 || parts.length > 3) return undefined;
    const [protocolPart, port] = parts.slice(-2);
    const protocol = protocolOf(protocolPart);
    if (protocol === 0 || !isPort(port)) return undefined;
    if (parts.length === 2) {
      return this.nodeAddresses.map((address) => ({ address, protocol, port }));
    }
    const address = addressOf(parts[0]);
    return address === undefined ? undefined : [{ address, protocol, port }];
  }

  private addressesOf(set: string): string[] {
    const elements = this.rules.sets.get(set)?.elements ?? [];
    return elements.flatMap(({ key }) => addressOf(key) ?? []);
  }

  private via(map: string, address: string, prefix: NftChainName['prefix'] | undefined): Via {
    if (map.endsWith('nodeports')) return 'nodePort';
    if (this.clusterIps.has(address)) return 'clusterIP';
    if (this.firewalled.has(address)) return 'loadBalancerIP';
    // Up to 1.29 there is no set of cluster IPs.
    const isExternal =
      prefix === undefined ? this.rules.sets.has('cluster-ips') : prefix === 'external';
    return isExternal ? 'externalIP' : 'clusterIP';
  }

  private name(chain: string): NftChainName | undefined {
    if (!this.names.has(chain)) this.names.set(chain, parseNftChainName(chain));
    return this.names.get(chain);
  }

  private service(chain: string): {
    readonly service?: ServicePortName;
    readonly nameUnverified?: true;
  } {
    const name = this.name(chain);
    if (!name) return {};
    return name.verified
      ? { service: name.service }
      : { service: name.service, nameUnverified: true };
  }

  /** The last chain on the way that chooses an endpoint. */
  private balancer(path: readonly string[]): string | undefined {
    return path.findLast((chain) => /^(?:service|local)-/.test(chain));
  }

  private drops(chain: string): boolean {
    const rules = this.rules.chains.get(chain)?.rules ?? [];
    return rules.some(({ expressions }) =>
      expressions.some((expression) => field(expression, 'drop') !== undefined),
    );
  }

  private routesFrom(map: string, target: string, port: number): readonly EndpointRoute[] {
    const key = `${map} ${port} ${target}`;
    let routes = this.routes.get(key);
    if (!routes) {
      const walk = new Walk(this.rules, [`map ${map}`], port, () => this.goesOn());
      walk.chain(target, 1, false);
      routes = walk.routes;
      this.routes.set(key, routes);
    }
    return routes;
  }

  private goesOn(): boolean {
    if (this.steps >= MAX_STEPS) this.exhausted = true;
    this.steps++;
    return !this.exhausted;
  }
}

/** Follows the chains behind one element of a map. */
class Walk {
  readonly routes: EndpointRoute[] = [];
  private readonly rules: NftablesRules;
  private readonly path: string[];
  private readonly port: number;
  private readonly goesOn: () => boolean;
  /** The routes' places by endpoint and path. */
  private readonly seen = new Map<string, number>();
  /** Whom the way so far is open to; `undefined`: everyone. */
  private clients: Clients | undefined;

  constructor(rules: NftablesRules, path: readonly string[], port: number, goesOn: () => boolean) {
    this.rules = rules;
    this.path = [...path];
    this.port = port;
    this.goesOn = goesOn;
  }

  /** `reached`: the part of all connections that comes here; under affinity the dice are not thrown for each. */
  chain(name: string, reached: number, sticky: boolean): void {
    const chain = this.rules.chains.get(name);
    if (!chain || this.path.length > MAX_CHAIN_DEPTH) return;
    const affinity = sticky || chain.rules.some(asksAffinity);
    this.path.push(name);
    let left = reached;
    for (const rule of chain.rules) {
      if (left <= 0 || !this.goesOn()) break;
      const { clients } = this;
      const asked = rule.expressions.flatMap((expression) => clientCondition(expression) ?? []);
      if (asked.length > 0) this.clients = [[...(clients?.[0] ?? []), ...asked]];
      const after = this.rule(rule, left, affinity);
      this.clients = clients;
      if (!rule.expressions.some(isCondition)) left = after;
    }
    this.path.pop();
  }

  /** What is left for the next rule if this one's conditions hold. */
  private rule(rule: NftRule, reached: number, affinity: boolean): number {
    for (const expression of rule.expressions) {
      const dnat = field(expression, 'dnat');
      if (dnat !== undefined) {
        this.dnat(dnat, reached, affinity);
        return 0;
      }
      const vmap = field(expression, 'vmap');
      if (vmap !== undefined) {
        const { share, pairs, all } = choices(vmap);
        for (const value of pairs) {
          const verdict = verdictOf(value);
          if (verdict)
            this.follow(verdict, share === undefined ? Number.NaN : reached * share, affinity);
        }
        return all ? 0 : reached;
      }
      const verdict = verdictOf(expression);
      if (verdict) {
        this.follow(verdict, reached, affinity);
        return verdict.kind === 'jump' ? reached : 0;
      }
    }
    return reached;
  }

  private follow({ kind, target }: Verdict, reached: number, affinity: boolean): void {
    if (kind === 'goto' || kind === 'jump') this.chain(target, reached, affinity);
  }

  private dnat(dnat: NftJson, reached: number, affinity: boolean): void {
    const to = field(dnat, 'addr');
    const map = field(to, 'map');
    if (map === undefined) {
      this.serve(to, field(dnat, 'port'), reached, affinity);
      return;
    }
    const { share, pairs } = choices(map);
    for (const value of pairs) {
      this.serve(value, undefined, share === undefined ? Number.NaN : reached * share, affinity);
    }
  }

  /** `to` is an address, or address and port as `{ concat: [address, port] }`. */
  private serve(
    to: NftJson | undefined,
    toPort: NftJson | undefined,
    reached: number,
    affinity: boolean,
  ): void {
    const parts = field(to, 'concat');
    const [address, second] = isList(parts) ? parts : [to, toPort];
    const ip = addressOf(address);
    const port = second ?? this.port;
    if (ip === undefined || !isPort(port)) return;
    const { clients } = this;
    const key = `${ip} ${port} ${this.path.join(' ')}`;
    const place = this.seen.get(key);
    if (place !== undefined) {
      const known = this.routes[place];
      if (known) this.routes[place] = either(known, clients);
      return;
    }
    this.seen.set(key, this.routes.length);
    const rule: Mutable<RulePath> = { mode: 'nftables', path: [...this.path], affinity };
    // Eleven digits, as iptables-save prints a probability.
    if (!affinity && !Number.isNaN(reached)) rule.probability = Number(reached.toPrecision(11));
    this.routes.push(clients ? { ip, port, rule, clients } : { ip, port, rule });
  }
}

/**
 * The values that a map in a rule chooses from. `share`: the part of all connections that each gets,
 * where a random number chooses (`numgen random mod 4`); `all`: nothing is left after it.
 */
function choices(map: NftJson): {
  readonly share?: number;
  readonly pairs: readonly NftJson[];
  readonly all: boolean;
} {
  const data = field(map, 'data');
  const set = field(data, 'set') ?? data;
  const pairs: NftJson[] = [];
  // A set of one may stand without the brackets of a list.
  const isOne = isList(set) && set.length === 2 && !isList(set[0]);
  for (const pair of isOne ? [set] : isList(set) ? set : []) {
    const value = isList(pair) ? pair[1] : undefined;
    if (value !== undefined) pairs.push(value);
  }
  const mod = field(field(field(map, 'key'), 'numgen'), 'mod');
  if (typeof mod !== 'number' || mod < 1) return { pairs, all: false };
  return { share: 1 / mod, pairs, all: pairs.length >= mod };
}

function verdictOf(expression: NftJson | undefined): Verdict | undefined {
  for (const kind of ['goto', 'jump'] as const) {
    const target = field(field(expression, kind), 'target');
    if (typeof target === 'string') return { kind, target };
  }
  if (field(expression, 'drop') !== undefined) return { kind: 'drop', target: '' };
  for (const kind of ['reject', 'accept', 'return']) {
    if (field(expression, kind) !== undefined) return { kind: 'end', target: '' };
  }
  return undefined;
}

/** A match that may fail for connections of the Service; its protocol is known to agree. */
function isCondition(expression: NftJson): boolean {
  const match = field(expression, 'match');
  return match !== undefined && field(field(field(match, 'left'), 'meta'), 'key') !== 'l4proto';
}

/** `ip saddr @affinity-…`: kube-proxy's ClientIP affinity. */
function asksAffinity({ expressions }: NftRule): boolean {
  return expressions.some((expression) => {
    const set = field(field(expression, 'match'), 'right');
    return typeof set === 'string' && set.startsWith('@affinity-');
  });
}

/** A name, or a number where nft found no name for it. */
function protocolOf(value: NftJson | undefined): number {
  if (typeof value === 'number') return value > 0 && value < 256 ? value : 0;
  return typeof value === 'string' ? protocolNumber(value) : 0;
}

function isPort(value: NftJson | undefined): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= 65_535;
}

function keyOf({ protocol, address, port }: Destination): string {
  return `${protocol} ${address} ${port}`;
}

function nameOf({ service, nameUnverified }: ServiceEntry): {
  readonly service?: ServicePortName;
  readonly nameUnverified?: true;
} {
  return { ...(service && { service }), ...(nameUnverified && { nameUnverified }) };
}
