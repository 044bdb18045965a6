import type { Traffic } from '../model/attribution.js';
import { protocolName } from '../model/packet.js';
import type {
  BalancerView,
  EndpointView,
  RuleOverview,
  RulesRead,
  ServiceView,
  WayTo,
  WayView,
} from '../model/rule-view.js';
import type { RuleSet } from '../model/ruleset.js';
import type { EndpointRoute, ServiceEntry, ServicePortName } from '../model/services.js';
import { ONE, ofPart, ofStatistic, rest, times } from '../model/share.js';
import type { Share } from '../model/walk.js';
import type { ClusterBook, ListedEndpoint } from './cluster-book.js';
import type { HeldRules } from './rule-book.js';
import { balancerIn, type Choice, choicesOf, STATISTIC_BITS } from './rule-choices.js';

export interface ViewOptions {
  /** Only these, by namespace and name; absent: all. */
  readonly service?: Pick<ServicePortName, 'namespace' | 'name'>;
  readonly namespaces?: readonly string[];
  /** With probabilities that are not rounded. */
  readonly exact?: boolean;
}

const SIGNIFICANT_DIGITS = 11;
const LOCAL_SCOPE = /^(?:KUBE-(?:SVL|XLB)-|local-)/;
const COLLATE = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** What rules make reachable, Service by Service, with Pods and nodes where the cluster tells them. */
export function viewRules(
  held: readonly HeldRules[],
  cluster: ClusterBook,
  options: ViewOptions = {},
): RuleOverview {
  const services = new Map<string, Building>();
  const counters = held.map(({ rules }) => hasCounters(rules));
  held.forEach((one, read) => {
    for (const entry of one.services) {
      if (!isWanted(entry, options)) continue;
      const key = keyOf(entry);
      let building = services.get(key);
      if (building === undefined) {
        building = new Building(entry, held, cluster, options.exact ?? false);
        services.set(key, building);
      }
      building.add(entry, read);
    }
  });
  const keys = [...services.keys()].sort(COLLATE);
  return {
    read: held.map((one, i) => readOf(one, counters[i] ?? false)),
    services: keys.flatMap((key) => services.get(key)?.view ?? []),
    hasCluster: cluster.isKnown,
  };
}

function readOf({ node, rules, time }: HeldRules, counts: boolean): RulesRead {
  const { kind, backend, family, version } = rules;
  return {
    ...(node !== undefined && { node }),
    kind,
    backend,
    family,
    ...(version !== undefined && { version }),
    ...(time !== undefined && { time }),
    hasCounters: counts,
  };
}

/** Whether a dump has counters: all of its rules have, or none. */
function hasCounters(rules: RuleSet): boolean {
  if (rules.kind !== 'iptables') return false;
  for (const chain of rules.tables.get('nat')?.chains.values() ?? []) {
    const [rule] = chain.rules;
    if (rule !== undefined) return rule.packets !== undefined;
  }
  return false;
}

function isWanted(
  { service }: ServiceEntry,
  { service: wanted, namespaces }: ViewOptions,
): boolean {
  if (wanted !== undefined) {
    return service?.namespace === wanted.namespace && service.name === wanted.name;
  }
  if (namespaces === undefined || namespaces.length === 0) return true;
  return service !== undefined && namespaces.includes(service.namespace);
}

/** What entries of one Service port have in common; sorts by it. */
function keyOf(entry: ServiceEntry): string {
  const { service, protocol, via, address, port } = entry;
  if (service !== undefined) {
    return `1 ${service.namespace}/${service.name}\0${service.portName ?? ''}\0${protocol}`;
  }
  return via === 'hostPort'
    ? `2 ${protocol} ${String(port).padStart(5, '0')} ${address}`
    : `3 ${entry.chain ?? `${address} ${port}`} ${protocol}`;
}

class Building {
  private readonly first: ServiceEntry;
  private readonly held: readonly HeldRules[];
  private readonly cluster: ClusterBook;
  private readonly exact: boolean;
  private unverified = false;
  private readonly ways = new Map<string, WayView>();
  private readonly balancers: BalancerView[] = [];
  private readonly places = new Map<string, number>();
  private readonly listed = new Map<number, ReadonlyMap<string, ListedEndpoint>>();

  constructor(
    first: ServiceEntry,
    held: readonly HeldRules[],
    cluster: ClusterBook,
    exact: boolean,
  ) {
    this.first = first;
    this.held = held;
    this.cluster = cluster;
    this.exact = exact;
  }

  get view(): ServiceView {
    const { service, protocol } = this.first;
    return {
      ...(service !== undefined && { service }),
      ...(this.unverified && { nameUnverified: true as const }),
      protocol,
      ways: [...this.ways.values()],
      balancers: this.balancers,
    };
  }

  add(entry: ServiceEntry, read: number): void {
    if (entry.nameUnverified) this.unverified = true;
    const { via, address, port, action, refusal } = entry;
    const key = `${read} ${via} ${address} ${port}`;
    const known = this.ways.get(key);
    const refused = {
      action: action === 'drop' ? 'drop' : 'reject',
      ...(refusal && { refusal }),
    } as const;
    this.ways.set(key, {
      read,
      via,
      address,
      port,
      leads: [...(known?.leads ?? []), ...this.leadsOf(entry, read)],
      ...(action === 'dnat' ? known?.refused && { refused: known.refused } : { refused }),
    });
  }

  private leadsOf(entry: ServiceEntry, read: number): WayTo[] {
    const groups = new Map<string, EndpointRoute[]>();
    for (const route of entry.routes) {
      const { path } = route.rule;
      const chain = balancerIn(path);
      const before = chain === undefined ? path : path.slice(0, path.lastIndexOf(chain));
      const clients = route.clients === undefined ? '' : JSON.stringify(route.clients);
      const key = `${chain ?? ''}\0${before.join(' ')}\0${clients}`;
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [route]);
      else group.push(route);
    }
    return [...groups.values()].flatMap((routes) => {
      const [first] = routes;
      if (first === undefined) return [];
      const { path } = first.rule;
      const chain = balancerIn(path);
      return {
        balancer: this.balancer(read, chain, entry, routes),
        chains: chain === undefined ? path : path.slice(0, path.lastIndexOf(chain)),
        ...(first.clients !== undefined && { clients: first.clients }),
      };
    });
  }

  private balancer(
    read: number,
    chain: string | undefined,
    entry: ServiceEntry,
    routes: readonly EndpointRoute[],
  ): number {
    const key = `${read} ${chain ?? `${entry.address} ${entry.port}`}`;
    const known = this.places.get(key);
    if (known !== undefined) return known;
    const rules = this.held[read]?.rules;
    const { choices, affinitySeconds } =
      rules === undefined || chain === undefined
        ? { choices: new Map<string, Choice>(), affinitySeconds: undefined }
        : choicesOf(rules, chain);
    const affinity = routes.some(({ rule }) => rule.affinity);
    const seconds = affinitySeconds ?? this.nftAffinity(rules, routes);
    const place = this.balancers.length;
    this.places.set(key, place);
    this.balancers.push({
      read,
      ...(chain !== undefined && { chain }),
      scope: chain !== undefined && LOCAL_SCOPE.test(chain) ? 'local' : 'cluster',
      affinity,
      ...(seconds !== undefined && { affinitySeconds: seconds }),
      endpoints: this.endpoints(rules, chain, routes, choices),
    });
    return place;
  }

  private nftAffinity(
    rules: RuleSet | undefined,
    routes: readonly EndpointRoute[],
  ): number | undefined {
    if (rules?.kind !== 'nftables' || !routes.some(({ rule }) => rule.affinity)) return undefined;
    const chain = routes[0]?.rule.path.at(-1) ?? '';
    return rules.sets.get(chain.replace(/^endpoint-/, 'affinity-'))?.timeoutSeconds;
  }

  private endpoints(
    rules: RuleSet | undefined,
    balancer: string | undefined,
    all: readonly EndpointRoute[],
    choices: ReadonlyMap<string, Choice>,
  ): EndpointView[] {
    const order = new Map([...choices.keys()].map((chain, i) => [chain, i]));
    const place = ({ rule }: EndpointRoute): number => order.get(rule.path.at(-1) ?? '') ?? -1;
    const routes = order.size === 0 ? all : [...all].sort((a, b) => place(a) - place(b));
    const isComplete = order.size === routes.length;
    let left = ONE;
    let reached = 1;
    return routes.map((route, i) => {
      const { ip, port, rule } = route;
      const last = rule.path.at(-1);
      const chain = last === balancer || balancer === undefined ? undefined : last;
      const choice = chain === undefined ? undefined : choices.get(chain);
      let probability = rule.probability;
      let exact: Share | undefined;
      if (isComplete && choice !== undefined) {
        const { stored } = choice;
        const taken = stored === undefined ? 1 : stored / 2 ** STATISTIC_BITS;
        probability = Number((reached * taken).toPrecision(SIGNIFICANT_DIGITS));
        reached *= 1 - taken;
        if (this.exact) {
          const chance = stored === undefined ? ONE : ofStatistic(stored);
          exact = times(left, chance);
          left = times(left, rest(chance));
        }
      } else if (rules?.kind === 'nftables' && balancer !== undefined) {
        probability ??= Number((1 / routes.length).toPrecision(SIGNIFICANT_DIGITS));
        if (this.exact) exact = ofPart(i, routes.length);
      }
      const counted = choice ?? (chain === undefined ? this.dnat(rules, last, route) : undefined);
      return {
        ip,
        port,
        ...(chain !== undefined && { chain }),
        ...(probability !== undefined && { probability }),
        ...(exact !== undefined && { exact }),
        ...(choice?.stored !== undefined && { stored: choice.stored }),
        ...(counted?.chance !== undefined && { chance: counted.chance }),
        ...(counted?.sticky !== undefined && { sticky: counted.sticky }),
        ...this.whose(ip, port),
      };
    });
  }

  /** Where no chain balances: what the rule that translates has counted. */
  private dnat(
    rules: RuleSet | undefined,
    chain: string | undefined,
    { ip, port }: EndpointRoute,
  ): { readonly chance?: Traffic; readonly sticky?: Traffic } | undefined {
    if (rules?.kind !== 'iptables' || chain === undefined) return undefined;
    const to = ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
    for (const rule of rules.tables.get('nat')?.chains.get(chain)?.rules ?? []) {
      const { text, packets, bytes } = rule;
      if (packets === undefined || bytes === undefined) continue;
      if (text.endsWith(`--to-destination ${to}`)) return { chance: { packets, bytes } };
    }
    return undefined;
  }

  private whose(ip: string, port: number): Pick<EndpointView, 'pod' | 'node' | 'state'> {
    const { cluster } = this;
    const listed = this.listedOf(ip.includes(':') ? 6 : 4).get(`${ip} ${port}`);
    const own = cluster.podAt(ip);
    const target = listed?.record.pod;
    const pod = own ?? target;
    const node = own?.node ?? listed?.record.node;
    return {
      ...(pod !== undefined && {
        pod: {
          namespace: pod.namespace,
          name: pod.name,
          ...(pod.uid !== undefined && { uid: pod.uid }),
          ...(node !== undefined && { node }),
        },
      }),
      ...(node !== undefined && { node }),
      ...(listed !== undefined && { state: stateOf(listed) }),
    };
  }

  private listedOf(family: 4 | 6): ReadonlyMap<string, ListedEndpoint> {
    const known = this.listed.get(family);
    if (known !== undefined) return known;
    const { service, protocol } = this.first;
    const all =
      service === undefined ? [] : this.cluster.endpoints(service, protocolName(protocol), family);
    const listed = new Map(all.map((one) => [`${one.ip} ${one.port ?? ''}`, one]));
    this.listed.set(family, listed);
    return listed;
  }
}

function stateOf({ record }: ListedEndpoint): NonNullable<EndpointView['state']> {
  return record.terminating ? 'terminating' : record.ready ? 'ready' : 'not ready';
}
