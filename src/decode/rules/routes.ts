import type {
  EndpointRoute,
  RulePath,
  ServiceEntry,
  ServicePortName,
  Via,
} from '../../model/services.js';
import type { PlainBalancer } from './plain-chains.js';
import { type Clients, either } from './ways.js';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The ways through a plain balancer to its endpoints, of which routes are made when they are asked for. */
interface Balanced {
  readonly plain: PlainBalancer;
  /** Names of the chains that lead there, the balancer's included. */
  readonly prefix: readonly string[];
  /** The part of all connections that comes to the balancer; NaN where it is not known. */
  readonly reached: number;
  readonly affinity: boolean;
  readonly backend: string | undefined;
  readonly clients: Clients | undefined;
  readonly shares: Shares;
  /** A chain on the way has several rules that lead to one chain. */
  readonly isRepeated: boolean;
}

/** Probabilities with eleven significant digits. */
export class Shares {
  private readonly known = new Map<number, number>();

  /**
   * Eleven significant digits: what iptables-save prints of a probability. The product of stored
   * values is known better, but nobody wants to read 0.24999999999999997. `undefined` for NaN.
   */
  rounded(probability: number): number | undefined {
    if (Number.isNaN(probability)) return undefined;
    let value = this.known.get(probability);
    if (value === undefined) {
      value = Number(probability.toPrecision(11));
      this.known.set(probability, value);
    }
    return value;
  }
}

/**
 * The routes of one entry, in the order of the walk. Of plain balancers only what a walk found is kept:
 * of the 100,000 routes of a large rule set those of Services that nobody calls are never made.
 */
export class Routes {
  private readonly made: EndpointRoute[] = [];
  /** What comes after those that are made. */
  private pending: (Balanced | { readonly route: EndpointRoute; readonly isRepeated: boolean })[] =
    [];
  /** From here on two rules might lead the same way. */
  private pendingRepeats = false;
  /** The routes' places by path and endpoint, kept once two rules might lead the same way. */
  private seen: Map<string, number> | undefined;

  /** `isRepeated`: as in `Balanced`. */
  add(route: EndpointRoute, isRepeated: boolean): void {
    const repeats = isRepeated || this.pendingRepeats;
    if (this.pending.length === 0) this.put(route, repeats);
    else this.pending.push({ route, isRepeated: repeats });
  }

  addAll(balanced: Balanced): void {
    const isRepeated = balanced.isRepeated || this.pendingRepeats;
    this.pending.push({ ...balanced, isRepeated });
  }

  /** Another rule is for the same entry: what it leads to may be known. */
  mayRepeat(): void {
    this.pendingRepeats = true;
  }

  get all(): readonly EndpointRoute[] {
    const { pending } = this;
    if (pending.length > 0) {
      this.pending = [];
      for (const one of pending) {
        if ('plain' in one) this.putAll(one);
        else this.put(one.route, one.isRepeated);
      }
    }
    return this.made;
  }

  private putAll({ plain, prefix, reached, isRepeated, ...of }: Balanced): void {
    const { endpoints, from, to } = plain;
    const { affinity, backend, clients, shares } = of;
    let left = reached;
    for (let choice = from; choice < to; choice++) {
      const stored = endpoints.chanceOf(choice);
      const chance = stored < 0 ? left : (left * stored) / endpoints.one;
      if (stored >= 0) left *= 1 - stored / endpoints.one;
      const path = [...prefix, endpoints.chainOf(choice)];
      const rule = rulePath(path, affinity, backend, affinity ? undefined : shares.rounded(chance));
      const ip = endpoints.ipOf(choice);
      const port = endpoints.portOf(choice);
      this.put(clients ? { ip, port, rule, clients } : { ip, port, rule }, isRepeated);
    }
  }

  private put(route: EndpointRoute, isRepeated: boolean): void {
    const { made } = this;
    if (isRepeated) this.seen ??= new Map(made.map((one, place) => [routeKey(one), place]));
    if (this.seen) {
      const key = routeKey(route);
      const place = this.seen.get(key);
      if (place !== undefined) {
        const known = made[place];
        if (known) made[place] = either(known, route.clients);
        return;
      }
      this.seen.set(key, made.length);
    }
    made.push(route);
  }
}

export function rulePath(
  path: readonly string[],
  affinity: boolean,
  backend: string | undefined,
  probability: number | undefined,
): RulePath {
  const rule: Mutable<RulePath> = { mode: 'iptables', path, affinity };
  if (backend !== undefined) rule.backend = backend;
  if (probability !== undefined) rule.probability = probability;
  return rule;
}

function routeKey({ ip, port, rule }: EndpointRoute): string {
  return `${ip} ${port} ${rule.path.join(' ')}`;
}

/** An entry whose routes are made when they are asked for; a copy of it has them. */
export class FoundEntry implements ServiceEntry {
  readonly protocol: number;
  readonly address: string;
  readonly port: number;
  readonly via: Via;
  declare readonly notLoopback?: true;
  declare readonly service?: ServicePortName;
  declare readonly nameUnverified?: true;
  readonly action = 'dnat';
  declare readonly chain?: string;
  declare readonly routes: readonly EndpointRoute[];
  readonly #ways: Routes;

  constructor(said: Omit<ServiceEntry, 'routes' | 'action'>, ways: Routes) {
    this.protocol = said.protocol;
    this.address = said.address;
    this.port = said.port;
    this.via = said.via;
    if (said.notLoopback) this.notLoopback = true;
    if (said.service) this.service = said.service;
    if (said.nameUnverified) this.nameUnverified = true;
    if (said.chain !== undefined) this.chain = said.chain;
    this.#ways = ways;
    Object.defineProperty(this, 'routes', ROUTES);
  }

  static routesOf(entry: FoundEntry): readonly EndpointRoute[] {
    return entry.#ways.all;
  }
}

/** One for all, so that V8 takes all entries for objects of one shape. */
const ROUTES = {
  get(this: FoundEntry): readonly EndpointRoute[] {
    return FoundEntry.routesOf(this);
  },
  enumerable: true,
  configurable: true,
};
