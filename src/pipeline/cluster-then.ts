import type { ClusterState } from '../correlate/cluster-state.js';
import { formatEndpoint } from '../model/address.js';
import type { Attribution } from '../model/attribution.js';
import type { ClusterThen, SeenChange, ThenEndpoint } from '../model/case.js';
import type { ServiceEntry, ServicePortName } from '../model/services.js';
import type { Nanos } from '../model/time.js';

/** More changes of one Service's endpoints during one connection say nothing more. */
const MAX_CHANGES = 200;

/** How the cluster was at `begin`, as far as it concerns a connection. */
export function clusterThen(
  cluster: ClusterState,
  attribution: Attribution,
  entries: readonly ServiceEntry[],
  begin: Nanos | undefined,
): ClusterThen {
  const { client, backend } = attribution;
  const name = serviceName(attribution, entries);
  const service = name === undefined ? undefined : cluster.serviceAt(name, begin);
  const clientPod =
    cluster.podAt(client.ip, begin) ??
    (client.pod && cluster.podNamed(client.pod.namespace, client.pod.name));
  const backendPod =
    (backend && cluster.podAt(backend.ip, begin)) ??
    (backend?.pod && cluster.podNamed(backend.pod.namespace, backend.pod.name));
  const isMissing =
    name !== undefined &&
    service === undefined &&
    entries.some((entry) => entry.service?.name === name.name && entry.nameUnverified !== true) &&
    cluster.services(begin).some((entry) => entry.service?.namespace === name.namespace);
  return {
    ...(service !== undefined && { service }),
    ...(isMissing && { missingService: { namespace: name.namespace, name: name.name } }),
    endpoints: name === undefined ? [] : endpointsAt(cluster, attribution, name, begin),
    ...(clientPod !== undefined && { clientPod }),
    ...(backendPod !== undefined && { backendPod }),
    nodes: cluster.nodesAt(begin),
  };
}

/** How the endpoints of a connection's Service changed after `begin` and not after `end`. */
export function endpointChanges(
  cluster: ClusterState,
  attribution: Attribution,
  entries: readonly ServiceEntry[],
  begin: Nanos | undefined,
  end: Nanos,
): readonly SeenChange[] {
  const name = serviceName(attribution, entries);
  if (name === undefined || begin === undefined) return [];
  const changes: SeenChange[] = [];
  let before = endpointsAt(cluster, attribution, name, begin);
  for (const time of cluster.sliceChanges(name, begin, end)) {
    const after = endpointsAt(cluster, attribution, name, time);
    for (const said of differences(before, after))
      changes.push({ time, kind: 'endpoints', ...said });
    before = after;
    if (changes.length >= MAX_CHANGES) break;
  }
  return changes;
}

/** The connection's Service, by what was said of it, or by its rules. */
export function serviceName(
  { service }: Attribution,
  entries: readonly ServiceEntry[],
): ServicePortName | undefined {
  if (service?.namespace !== undefined && service.name !== undefined) {
    const { namespace, name, portName } = service;
    return { namespace, name, ...(portName !== undefined && { portName }) };
  }
  return entries.find((entry) => entry.service !== undefined)?.service;
}

/** The endpoints of the Service's port, of the connection's family. */
function endpointsAt(
  cluster: ClusterState,
  { protocol, destination }: Attribution,
  name: ServicePortName,
  time: Nanos | undefined,
): readonly ThenEndpoint[] {
  const isV6 = destination.ip.includes(':');
  return cluster.slicesAt(name, time).flatMap((slice) => {
    const port = slice.ports.find((one) => one.name === name.portName && one.protocol === protocol);
    if (port === undefined) return [];
    return slice.endpoints
      .filter(({ addresses }) => addresses.some((ip) => ip.includes(':') === isV6))
      .map((endpoint) => ({ ...endpoint, ...(port.port !== undefined && { port: port.port }) }));
  });
}

type Difference = Pick<SeenChange, 'what' | 'endpoint'>;
type Became = NonNullable<SeenChange['endpoint']>['became'];

function differences(
  before: readonly ThenEndpoint[],
  after: readonly ThenEndpoint[],
): readonly Difference[] {
  const [was, is] = [byAddress(before), byAddress(after)];
  const said: Difference[] = [];
  for (const [address, at] of was) {
    const now = is.get(address);
    if (now === undefined) said.push(difference(address, at, 'is no endpoint any more', 'removed'));
    else said.push(...conditions(address, at, now));
  }
  for (const [address, at] of is) {
    if (was.has(address)) continue;
    const { ready, terminating } = at.endpoint;
    const state = ready ? '' : terminating ? ', terminating' : ', not ready';
    said.push(difference(address, at, `is an endpoint now${state}`, 'added'));
  }
  return said;
}

function conditions(address: string, before: At, after: At): readonly Difference[] {
  const said: Difference[] = [];
  const say = (words: string, became: Became): void => {
    said.push(difference(address, before, words, became));
  };
  const [was, is] = [before.endpoint, after.endpoint];
  if (is.terminating && !was.terminating) say('is terminating', 'terminating');
  if (was.ready && !is.ready && !is.terminating) say('is not ready any more', 'not-ready');
  if (!was.ready && is.ready) say('is ready now', 'ready');
  if (was.serving && !is.serving && is.terminating) say('does not serve any more', 'terminating');
  return said;
}

function difference(
  address: string,
  { ip, endpoint }: At,
  words: string,
  became: Became,
): Difference {
  const { port } = endpoint;
  return {
    what: `${nameOf(address, endpoint)} ${words}`,
    ...(port !== undefined && { endpoint: { ip, port, became } }),
  };
}

/** An endpoint at one of its addresses. */
interface At {
  readonly ip: string;
  readonly endpoint: ThenEndpoint;
}

/** While an endpoint moves from one slice to another both may list it: then the one that is ready. */
function byAddress(endpoints: readonly ThenEndpoint[]): Map<string, At> {
  const all = new Map<string, At>();
  for (const endpoint of endpoints) {
    for (const ip of endpoint.addresses) {
      const address = formatEndpoint(ip, endpoint.port ?? 0);
      if (all.get(address)?.endpoint.ready !== true) all.set(address, { ip, endpoint });
    }
  }
  return all;
}

function nameOf(address: string, { pod, port }: ThenEndpoint): string {
  const where = port === undefined ? address.replace(/:0$/, '') : address;
  return pod === undefined ? where : `${where} (${pod.namespace}/${pod.name})`;
}
