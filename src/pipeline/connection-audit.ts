import { formatEndpoint } from '../model/address.js';
import type { Attribution, OutputEvent, PodRef, Traffic } from '../model/attribution.js';
import type { InputEvent } from '../model/event.js';
import { protocolNumber } from '../model/packet.js';
import type { Audit, AuditedEndpoint } from '../model/rule-view.js';
import type { EndpointRoute, ServicePortName } from '../model/services.js';
import { formatNanos, type Nanos } from '../model/time.js';
import { conclude, testStrata } from './rule-audit.js';
import { balancerIn, sum } from './rule-choices.js';

/** Bytes are called skewed where an endpoint carried so many times its part of the connections … */
const BYTES_FACTOR = 1.5;
/** … and so much of all bytes more than that. */
const BYTES_MARGIN = 0.1;
/** Clients of a balancer with affinity that are remembered; beyond it none is new. */
const MAX_CLIENTS = 100_000;

/** What a balancing chain gives its endpoints, from some moment on. */
interface Chances {
  readonly time: Nanos | undefined;
  readonly endpoints: ReadonlyMap<
    string,
    { readonly ip: string; readonly port: number; readonly probability: number }
  >;
  readonly affinity: boolean;
  /** The same for the same chances. */
  readonly signature: string;
}

interface Era {
  readonly time: Nanos | undefined;
  readonly routes: ReadonlyMap<string, readonly EndpointRoute[]>;
  readonly chances: Map<string, Chances | undefined>;
}

/** One balancing chain of one node. */
interface Balancer {
  readonly service: ServicePortName | undefined;
  readonly protocol: number;
  readonly node: string | undefined;
  readonly chain: string;
  /** What was counted under each set of chances. */
  readonly strata: Map<
    string,
    { readonly chances: Chances; readonly observed: Map<string, number> }
  >;
  readonly pods: Map<string, PodRef>;
  readonly traffic: Map<string, Traffic>;
  readonly clients: Set<string>;
  returned: number;
  unknown: number;
  /** Connections by beginning and end. */
  readonly spans: { readonly from: Nanos; readonly to: Nanos | undefined }[];
}

/**
 * Counts attributed connections endpoint by endpoint, each under the rules in force when it began, and tests whether
 * the endpoints were chosen as those say.
 */
export class ConnectionAudit {
  private readonly node: string | undefined;
  private readonly podAt: (ip: string) => PodRef | undefined;
  private readonly eras = new Map<string, Era[]>();
  private readonly balancers = new Map<string, Balancer>();

  /** `node`: the one that it is all about, if it is one. `podAt` names endpoints that nobody was sent to. */
  constructor(node: string | undefined, podAt: (ip: string) => PodRef | undefined) {
    this.node = node;
    this.podAt = podAt;
  }

  /** Takes rules in, as the machine is given them. */
  learn(event: InputEvent): void {
    if (event.type !== 'rules') return;
    const { node = this.node ?? '', rules, services, time } = event;
    const key = `${node} ${rules.family}`;
    const routes = new Map<string, EndpointRoute[]>();
    for (const entry of services) {
      for (const route of entry.routes) {
        const chain = balancerIn(route.rule.path);
        if (chain === undefined) continue;
        const known = routes.get(chain);
        if (known === undefined) routes.set(chain, [route]);
        else known.push(route);
      }
    }
    const eras = this.eras.get(key) ?? [];
    eras.push({ time, routes, chances: new Map() });
    this.eras.set(key, eras);
  }

  take(events: readonly OutputEvent[]): void {
    for (const event of events) if (event.type === 'close') this.count(event.attribution);
  }

  audits(): readonly Audit[] {
    const keys = [...this.balancers.keys()].sort();
    return conclude(
      keys.flatMap((key) => {
        const balancer = this.balancers.get(key);
        return balancer === undefined ? [] : [auditOf(balancer, this.podAt)];
      }),
    );
  }

  private count(told: Attribution): void {
    const { verdict, rules, backend, service, time, client } = told;
    const chain = balancerIn(rules?.path ?? []);
    if (verdict !== 'attributed' || backend === undefined || chain === undefined) return;
    const node = told.node ?? this.node;
    const key = `${service?.namespace ?? ''}/${service?.name ?? ''}:${service?.portName ?? ''} ${told.protocol} ${node ?? ''} ${chain}`;
    let balancer = this.balancers.get(key);
    if (balancer === undefined) {
      balancer = {
        service:
          service?.namespace === undefined || service.name === undefined
            ? undefined
            : {
                namespace: service.namespace,
                name: service.name,
                ...(service.portName !== undefined && { portName: service.portName }),
              },
        protocol: protocolNumber(told.protocol),
        node,
        chain,
        strata: new Map(),
        pods: new Map(),
        traffic: new Map(),
        clients: new Set(),
        returned: 0,
        unknown: 0,
        spans: [],
      };
      this.balancers.set(key, balancer);
    }
    if (time !== undefined) balancer.spans.push({ from: time, to: told.endTime });
    const endpoint = formatEndpoint(backend.ip, backend.port);
    if (backend.pod !== undefined) balancer.pods.set(endpoint, backend.pod);
    for (const traffic of [told.original, told.reply]) {
      if (traffic) balancer.traffic.set(endpoint, sum(balancer.traffic.get(endpoint), traffic));
    }
    const family = backend.ip.includes(':') ? 6 : 4;
    const chances = this.chancesAt(`${node ?? ''} ${family}`, chain, time);
    if (!chances?.endpoints.has(endpoint)) {
      balancer.unknown++;
      return;
    }
    if (chances.affinity && !isNew(balancer.clients, client.ip)) {
      balancer.returned++;
      return;
    }
    let stratum = balancer.strata.get(chances.signature);
    if (stratum === undefined) {
      stratum = { chances, observed: new Map() };
      balancer.strata.set(chances.signature, stratum);
    }
    stratum.observed.set(endpoint, (stratum.observed.get(endpoint) ?? 0) + 1);
  }

  private chancesAt(key: string, chain: string, time: Nanos | undefined): Chances | undefined {
    const eras = this.eras.get(key) ?? this.eras.get(` ${key.split(' ')[1] ?? ''}`) ?? [];
    // Of several back ends the one that has the chain.
    const era = eras.findLast(
      (it) =>
        it.routes.has(chain) && (it.time === undefined || time === undefined || it.time <= time),
    );
    if (era === undefined) return undefined;
    if (!era.chances.has(chain)) era.chances.set(chain, chancesOf(era, chain));
    return era.chances.get(chain);
  }
}

function isNew(clients: Set<string>, ip: string): boolean {
  if (clients.has(ip) || clients.size >= MAX_CLIENTS) return false;
  clients.add(ip);
  return true;
}

function chancesOf({ time, routes }: Era, chain: string): Chances {
  const endpoints = new Map<string, { ip: string; port: number; probability: number }>();
  let affinity = false;
  // The ways of several addresses lead through the same chain.
  for (const { ip, port, rule } of routes.get(chain) ?? []) {
    affinity ||= rule.affinity;
    endpoints.set(formatEndpoint(ip, port), {
      ip,
      port,
      probability: rule.probability ?? Number.NaN,
    });
  }
  // With affinity the rules' chances hold for who comes anew; they are not printed apart.
  for (const one of endpoints.values()) {
    if (Number.isNaN(one.probability)) one.probability = 1 / endpoints.size;
  }
  const signature = [...endpoints].map(([key, { probability }]) => `${key} ${probability}`).join();
  return { time, endpoints, affinity, signature };
}

function auditOf(balancer: Balancer, podAt: (ip: string) => PodRef | undefined): Audit {
  const { service, protocol, node, chain, strata, pods, traffic } = balancer;
  const all = [...strata.values()];
  const tested = testStrata(
    all.map(({ chances, observed }) => ({
      cells: [...chances.endpoints].map(([key, { probability }]) => ({
        observed: observed.get(key) ?? 0,
        probability,
      })),
    })),
  );
  const endpoints = new Map<string, AuditedEndpoint>();
  for (const { chances, observed } of all) {
    const count = [...observed.values()].reduce((n, one) => n + one, 0);
    for (const [key, { ip, port, probability }] of chances.endpoints) {
      const known = endpoints.get(key);
      const pod = pods.get(key) ?? podAt(ip);
      const carried = traffic.get(key);
      endpoints.set(key, {
        ip,
        port,
        ...(pod && { pod }),
        observed: (known?.observed ?? 0) + (observed.get(key) ?? 0),
        expected: (known?.expected ?? 0) + count * probability,
        ...(carried && { traffic: carried }),
      });
    }
  }
  const list = [...endpoints.values()];
  return {
    ...(service && { service }),
    protocol,
    ...(node !== undefined && node !== '' && { node }),
    chain,
    over: 'connections',
    ...tested,
    endpoints: list,
    remarks: [
      ...changesOf(all.length),
      ...lastingOf(balancer),
      ...bytesOf(list, tested.total),
      ...leftOut(balancer),
    ],
  };
}

function changesOf(count: number): string[] {
  return count > 1
    ? [
        `the rules gave ${count} different shares in turn: each connection is judged by those of its beginning`,
      ]
    : [];
}

function leftOut({ returned, unknown }: Balancer): string[] {
  const said: string[] = [];
  if (returned > 0) {
    said.push(
      `session affinity: ${returned} connections of clients that came before are left out, no chance decided them`,
    );
  }
  if (unknown > 0) {
    said.push(
      `${unknown} connections are left out: the rules in force then do not have their endpoint`,
    );
  }
  return said;
}

/** Connections that an endpoint could not get, because they were there before it. */
function lastingOf({ strata, spans }: Balancer): string[] {
  const said: string[] = [];
  let before: ReadonlySet<string> | undefined;
  for (const { chances } of strata.values()) {
    const { time, endpoints } = chances;
    const came =
      before === undefined ? [] : [...endpoints.keys()].filter((key) => !before?.has(key));
    before = new Set(endpoints.keys());
    if (came.length === 0 || time === undefined) continue;
    const lasting = spans.filter(({ from, to }) => from < time && (to === undefined || to > time));
    if (lasting.length === 0) continue;
    const names = came.slice(0, 3).join(', ');
    said.push(
      `${lasting.length} connections were open before ${names}${came.length > 3 ? ' …' : ''} came (${formatNanos(time).slice(11, 19)}) and lasted on: those stay where they are, whatever the rules say now`,
    );
  }
  return said;
}

/** Where a few connections carry much: what keep-alive does to balance. */
function bytesOf(endpoints: readonly AuditedEndpoint[], total: number): string[] {
  const bytes = endpoints.reduce((n, { traffic }) => n + (traffic?.bytes ?? 0), 0);
  if (bytes === 0) {
    return [
      'how much each connection carried is not known (no accounting: sysctl net.netfilter.nf_conntrack_acct), so whether keep-alive makes a few of them heavy is not',
    ];
  }
  const said: string[] = [];
  for (const { ip, port, pod, observed, traffic } of endpoints) {
    const part = (traffic?.bytes ?? 0) / bytes;
    const due = total === 0 ? 0 : observed / total;
    if (part < due * BYTES_FACTOR || part < due + BYTES_MARGIN) continue;
    const who = pod === undefined ? formatEndpoint(ip, port) : `${pod.namespace}/${pod.name}`;
    said.push(
      `${who} carried ${percent(part)} of the bytes in ${percent(due)} of the connections: rules balance connections, not what is asked in them (keep-alive, long transfers)`,
    );
  }
  return said;
}

function percent(part: number): string {
  return `${Math.round(100 * part)} %`;
}
