import { formatEndpoint } from '../model/address.js';
import type { ServiceRecord } from '../model/cluster.js';
import { protocolName, protocolNumber } from '../model/packet.js';
import type { BalancerView, Drift, RuleOverview, ServiceView } from '../model/rule-view.js';
import type { IptablesRules } from '../model/ruleset.js';
import type { ServicePortName } from '../model/services.js';
import type { Nanos } from '../model/time.js';
import type { ClusterBook, ListedEndpoint } from './cluster-book.js';
import type { HeldRules } from './rule-book.js';
import { choicesOf } from './rule-choices.js';

export interface DriftOptions {
  /** How long after a change of the cluster rules may lag behind: kube-proxy writes them in its own time. */
  readonly settleNs: bigint;
  /** This node's name, where the rules do not say whose they are. */
  readonly node?: string;
}

/** An endpoint's chance may be off by so much of itself: older kube-proxies wrote five digits. */
const UNEVEN = 1e-3;
const SERVICE_CHAIN = /^KUBE-(?:SVC|SVL|XLB|EXT|FW|SEP)-/;
const TARGET = /(?:^| )-[jg] (\S+)/;
/** Stale chains that are named one by one; of a thousand nobody reads more. */
const MAX_STALE = 50;

/**
 * In what rules and cluster differ: nothing where they agree, or where the difference is so young that
 * kube-proxy may not have written it yet. Which endpoints kube-proxy chooses follows pkg/proxy/topology.go: the
 * ready ones (of a zone or node where hints say so), if there are none those that still serve; every version's
 * choice is allowed.
 */
export function findDrift(
  overview: RuleOverview,
  held: readonly HeldRules[],
  cluster: ClusterBook,
  options: DriftOptions,
): readonly Drift[] {
  const search = new Search(overview, held, cluster, options);
  return search.run();
}

class Search {
  private readonly overview: RuleOverview;
  private readonly held: readonly HeldRules[];
  private readonly cluster: ClusterBook;
  private readonly options: DriftOptions;
  private readonly found: Drift[] = [];

  constructor(
    overview: RuleOverview,
    held: readonly HeldRules[],
    cluster: ClusterBook,
    options: DriftOptions,
  ) {
    this.overview = overview;
    this.held = held;
    this.cluster = cluster;
    this.options = options;
  }

  run(): readonly Drift[] {
    for (const view of this.overview.services) {
      this.names(view);
      for (const balancer of view.balancers) this.shares(view, balancer);
      if (this.cluster.isKnown && view.service !== undefined) this.service(view, view.service);
    }
    if (this.cluster.isKnown) this.missingServices();
    this.held.forEach((one, read) => {
      if (one.rules.kind === 'iptables') this.stale(one.rules, read);
    });
    return this.found;
  }

  private names({ service, nameUnverified, protocol, balancers }: ServiceView): void {
    if (!nameUnverified || service === undefined) return;
    const [chain] = balancers.flatMap((balancer) => balancer.chain ?? []);
    this.found.push({
      code: 'name-mismatch',
      service,
      protocol,
      ...(chain !== undefined && { chain }),
      detail: 'only a comment calls it so: the hash in its chains stands for another name',
    });
  }

  private shares({ service, protocol }: ServiceView, balancer: BalancerView): void {
    const { endpoints, chain, read } = balancer;
    if (chain === undefined || endpoints.length < 2) return;
    const fair = 1 / endpoints.length;
    const off = endpoints.filter(
      ({ probability = fair }) => Math.abs(probability - fair) > fair * UNEVEN,
    );
    if (off.length === 0) return;
    const list = off
      .slice(0, 3)
      .map(({ ip, port, probability = 0 }) => `${formatEndpoint(ip, port)} ${percent(probability)}`)
      .join(', ');
    const more = off.length > 3 ? ` and ${off.length - 3} more` : '';
    this.found.push({
      code: 'share-uneven',
      ...(service !== undefined && { service }),
      protocol,
      read,
      chain,
      detail: `${chain} gives ${list}${more}, where 1/${endpoints.length} each (${percent(fair)}) is due`,
    });
  }

  private service(view: ServiceView, service: ServicePortName): void {
    const { protocol } = view;
    const record = this.cluster.service(service);
    const isPort = record?.ports.some(
      (port) =>
        (port.name ?? '') === (service.portName ?? '') &&
        protocolNumber(port.protocol) === protocol,
    );
    if (record === undefined || !isPort) {
      const reads = [...new Set(view.ways.map((way) => way.read))];
      const since = this.cluster.serviceSince(service);
      if (reads.every((read) => this.mayLag(read, since))) return;
      this.found.push({
        code: 'service-unknown',
        service,
        protocol,
        ...(since !== undefined && { since }),
        detail: `the rules have ${view.ways.length === 1 ? 'an address' : `${view.ways.length} addresses`} for it, the cluster has no such Service${record === undefined ? '' : ' port'}`,
      });
      return;
    }
    for (const balancer of view.balancers) this.endpoints(view, service, record, balancer);
    const reads = new Set(view.ways.map((way) => way.read));
    for (const read of reads) this.refused(view, service, read);
  }

  private endpoints(
    { protocol }: ServiceView,
    service: ServicePortName,
    record: ServiceRecord,
    { read, scope, chain, endpoints }: BalancerView,
  ): void {
    const family = this.overview.read[read]?.family ?? 4;
    const listed = this.cluster.endpoints(service, protocolName(protocol), family);
    const actual = new Set(endpoints.map(({ ip, port }) => keyOf(ip, port)));
    const { allowed, isComplete } = this.allowed(listed, scope, record, read, actual);
    const [best] = [...allowed].sort((a, b) => distance(a, actual) - distance(b, actual));
    if (best === undefined || distance(best, actual) === 0) return;
    const at = {
      service,
      protocol,
      read,
      ...(chain !== undefined && { chain }),
    };
    const by = new Map(listed.map((one) => [keyOf(one.ip, one.port), one]));
    for (const { ip, port } of endpoints) {
      const key = keyOf(ip, port);
      if (best.has(key)) continue;
      const since = this.cluster.endpointSince(service, ip);
      if (this.mayLag(read, since)) continue;
      this.found.push({
        ...at,
        code: 'endpoint-extra',
        endpoint: { ip, port },
        ...(since !== undefined && { since }),
        detail: `${formatEndpoint(ip, port)} is in the rules, but ${whyNot(by.get(key), scope)}`,
      });
    }
    if (!isComplete) return;
    for (const key of best) {
      const one = by.get(key);
      if (actual.has(key) || one?.port === undefined) continue;
      this.missing(
        at,
        one,
        `${formatEndpoint(one.ip, one.port)} is ready in the slices, but not in the rules`,
      );
    }
  }

  private missing(
    at: Pick<Drift, 'service' | 'protocol' | 'read' | 'chain'>,
    { ip, port = 0, since }: ListedEndpoint,
    detail: string,
  ): void {
    if (this.mayLag(at.read ?? 0, since)) return;
    this.found.push({
      ...at,
      code: 'endpoint-missing',
      endpoint: { ip, port },
      ...(since !== undefined && { since }),
      detail,
    });
  }

  /** The rules refuse for want of endpoints, and there are some. */
  private refused(view: ServiceView, service: ServicePortName, read: number): void {
    if (view.balancers.some((balancer) => balancer.read === read)) return;
    if (!view.ways.some((way) => way.read === read && way.refused?.refusal === 'no-endpoints'))
      return;
    const family = this.overview.read[read]?.family ?? 4;
    const listed = this.cluster.endpoints(service, protocolName(view.protocol), family);
    for (const one of usable(listed)) {
      const detail = `${formatEndpoint(one.ip, one.port ?? 0)} is ready in the slices, but the rules refuse the Service: no endpoints`;
      this.missing({ service, protocol: view.protocol, read }, one, detail);
    }
  }

  /** The sets of endpoints that one or the other kube-proxy would have chosen. */
  private allowed(
    listed: readonly ListedEndpoint[],
    scope: BalancerView['scope'],
    service: ServiceRecord,
    read: number,
    actual: ReadonlySet<string>,
  ): { readonly allowed: readonly ReadonlySet<string>[]; readonly isComplete: boolean } {
    const node = this.held[read]?.node ?? this.options.node;
    const all = usable(listed);
    const local =
      node === undefined ? undefined : usable(listed.filter((one) => one.record.node === node));
    if (scope === 'local') {
      if (local !== undefined) return { allowed: [setOf(local)], isComplete: true };
      // Which of them are local nobody told: those that are there may be.
      const those = setOf(all.filter((one) => actual.has(keyOf(one.ip, one.port))));
      return { allowed: [those], isComplete: false };
    }
    const sets = [setOf(all)];
    const ready = all.filter((one) => one.record.ready);
    const zone = node === undefined ? undefined : this.cluster.node(node)?.zone;
    const hinted = (
      hints: (one: ListedEndpoint) => readonly string[] | undefined,
      mine: string | undefined,
    ): void => {
      if (ready.length === 0 || !ready.every((one) => (hints(one) ?? []).length > 0)) return;
      const names = mine === undefined ? new Set(ready.flatMap((one) => hints(one) ?? [])) : [mine];
      for (const name of names) {
        const those = ready.filter((one) => hints(one)?.includes(name));
        if (those.length > 0) sets.push(setOf(those));
      }
    };
    hinted((one) => one.record.hintZones, zone);
    hinted((one) => one.record.hintNodes, node);
    // Kubernetes 1.21 to 1.23 have no chain of their own for the policy.
    if (service.internalTrafficPolicy === 'Local' && local !== undefined) sets.push(setOf(local));
    return { allowed: sets, isComplete: true };
  }

  private missingServices(): void {
    const there = new Set(
      this.overview.services.flatMap(({ service, protocol, ways }) =>
        ways.map((way) => `${protocol} ${way.address} ${way.port} ${nameOf(service)}`),
      ),
    );
    const families = new Map<4 | 6, number>();
    this.overview.read.forEach(({ family }, read) => {
      const isProxys = this.overview.services.some(
        ({ service, ways }) => service !== undefined && ways.some((way) => way.read === read),
      );
      if (isProxys && !families.has(family)) families.set(family, read);
    });
    for (const record of this.cluster.allServices) {
      if (record.type === 'ExternalName') continue;
      for (const ip of record.clusterIPs) {
        const read = families.get(ip.includes(':') ? 6 : 4);
        if (read === undefined) continue;
        for (const port of record.ports) {
          const at = `${protocolNumber(port.protocol)} ${ip} ${port.port}`;
          if (there.has(`${at} ${nameOf(record)}`) || there.has(`${at} ${nameOf(undefined)}`)) {
            continue;
          }
          const service = {
            namespace: record.namespace,
            name: record.name,
            ...(port.name !== undefined && { portName: port.name }),
          };
          const since = this.cluster.serviceSince(service);
          if (this.mayLag(read, since)) continue;
          this.found.push({
            code: 'service-missing',
            service,
            protocol: protocolNumber(port.protocol),
            read,
            ...(since !== undefined && { since }),
            detail: `no rule has its address ${formatEndpoint(ip, port.port)}`,
          });
        }
      }
    }
  }

  /** Chains of Services that no hook leads to: kube-proxy deletes them late, or has lost them. */
  private stale(rules: IptablesRules, read: number): void {
    const nat = rules.tables.get('nat');
    if (nat === undefined) return;
    const used = new Set<string>();
    for (const { balancers, ways } of this.overview.services) {
      for (const balancer of balancers) {
        if (balancer.read !== read) continue;
        if (balancer.chain !== undefined) used.add(balancer.chain);
        for (const { chain } of balancer.endpoints) if (chain !== undefined) used.add(chain);
      }
      for (const way of ways)
        for (const lead of way.leads) for (const chain of lead.chains) used.add(chain);
    }
    const doubtful = [...nat.chains.keys()].filter(
      (name) => SERVICE_CHAIN.test(name) && !used.has(name),
    );
    if (doubtful.length === 0) return;
    const reached = reachable(nat.chains);
    const stale = doubtful.filter((name) => !reached.has(name));
    for (const chain of stale.slice(0, MAX_STALE)) {
      const size = nat.chains.get(chain)?.rules.length ?? 0;
      if (
        chain.startsWith('KUBE-SEP-') &&
        stale.some((other) => choicesOf(rules, other).choices.has(chain))
      )
        continue;
      this.found.push({
        code: 'stale-chain',
        read,
        chain,
        detail: `${chain} (${size} rules) is led to by no hook: nothing goes there any more`,
      });
    }
  }

  /** Whether rules of that reading may not know yet what has been so since then. */
  private mayLag(read: number, since: Nanos | undefined): boolean {
    const time = this.held[read]?.time;
    return since !== undefined && time !== undefined && time - since < this.options.settleNs;
  }
}

function nameOf(service: Pick<ServicePortName, 'namespace' | 'name'> | undefined): string {
  return service === undefined ? '' : `${service.namespace}/${service.name}`;
}

/** The ready ones, else those that serve while they end. */
function usable(listed: readonly ListedEndpoint[]): readonly ListedEndpoint[] {
  const ready = listed.filter(({ record }) => record.ready);
  return ready.length > 0
    ? ready
    : listed.filter(({ record }) => record.serving && record.terminating);
}

function whyNot(one: ListedEndpoint | undefined, scope: BalancerView['scope']): string {
  if (one === undefined) return 'in no slice of the Service';
  if (one.record.terminating) return 'is terminating';
  if (!one.record.ready) return 'is not ready';
  return scope === 'local'
    ? 'is on another node'
    : 'is not chosen: hints or a traffic policy keep it out';
}

function setOf(endpoints: readonly ListedEndpoint[]): Set<string> {
  return new Set(endpoints.map(({ ip, port }) => keyOf(ip, port)));
}

function keyOf(ip: string, port: number | undefined): string {
  return `${ip} ${port ?? ''}`;
}

/** How many elements are in one of two sets only. */
function distance(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  let common = 0;
  for (const key of a) if (b.has(key)) common++;
  return a.size + b.size - 2 * common;
}

function reachable(
  chains: ReadonlyMap<
    string,
    { readonly policy?: string; readonly rules: readonly { readonly text: string }[] }
  >,
): ReadonlySet<string> {
  const reached = new Set<string>();
  const next: string[] = [];
  for (const [name, chain] of chains) if (chain.policy !== undefined) next.push(name);
  for (let name = next.pop(); name !== undefined; name = next.pop()) {
    if (reached.has(name)) continue;
    reached.add(name);
    for (const { text } of chains.get(name)?.rules ?? []) {
      const target = TARGET.exec(text)?.[1];
      if (target !== undefined && chains.has(target)) next.push(target);
    }
  }
  return reached;
}

function percent(part: number): string {
  return `${Number((100 * part).toPrecision(4))} %`;
}
