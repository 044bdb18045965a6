import { canonicalAddress } from '../../model/address.js';
import type {
  ClusterKind,
  ClusterRecord,
  EndpointRecord,
  EndpointSliceRecord,
  HostPort,
  NodeRecord,
  PodRecord,
  ServicePortRecord,
  ServiceRecord,
} from '../../model/cluster.js';

/**
 * API objects to slim records. What an object does not say, or says with the wrong type, is absent:
 * an API server of another version, or a file edited by hand, must not stop the rest.
 */

/** `kind` of the API objects that are read, as the API spells it. */
const KIND_NAMES: ReadonlyMap<string, ClusterKind> = new Map([
  ['Pod', 'pod'],
  ['Service', 'service'],
  ['EndpointSlice', 'endpointslice'],
  ['Node', 'node'],
]);

/** core/v1 ServiceSpec: ClientIP affinity lasts three hours where nothing is said. */
const DEFAULT_AFFINITY_SECONDS = 10_800;

/** The fields that are read, of whatever object, each of any type until it is looked at. */
type Field =
  | 'address'
  | 'addresses'
  | 'clientIP'
  | 'clusterIP'
  | 'clusterIPs'
  | 'conditions'
  | 'containerPort'
  | 'containers'
  | 'creationTimestamp'
  | 'deletionTimestamp'
  | 'endpoints'
  | 'externalIPs'
  | 'externalTrafficPolicy'
  | 'forNodes'
  | 'forZones'
  | 'healthCheckNodePort'
  | 'hints'
  | 'hostIP'
  | 'hostNetwork'
  | 'hostPort'
  | 'ingress'
  | 'initContainers'
  | 'internalTrafficPolicy'
  | 'ip'
  | 'ipMode'
  | 'kind'
  | 'labels'
  | 'loadBalancer'
  | 'loadBalancerSourceRanges'
  | 'kubeletVersion'
  | 'metadata'
  | 'name'
  | 'namespace'
  | 'nodeInfo'
  | 'nodeName'
  | 'nodePort'
  | 'phase'
  | 'podCIDR'
  | 'podCIDRs'
  | 'podIP'
  | 'podIPs'
  | 'port'
  | 'ports'
  | 'protocol'
  | 'ready'
  | 'resourceVersion'
  | 'restartPolicy'
  | 'serving'
  | 'sessionAffinity'
  | 'sessionAffinityConfig'
  | 'spec'
  | 'status'
  | 'targetRef'
  | 'terminating'
  | 'timeoutSeconds'
  | 'type'
  | 'uid'
  | 'zone';

type Json = Readonly<Partial<Record<Field, unknown>>>;

/** The record kind of an API kind's name; `undefined` if it is none of the four. */
export function clusterKindOf(name: string): ClusterKind | undefined {
  return KIND_NAMES.get(name);
}

/**
 * The slim record of one API object, or `undefined` if it is of another kind or has no name. Items of
 * a typed list carry no `kind`: `kindHint` says it for them; an object's own `kind` counts more.
 */
export function slimObject(raw: unknown, kindHint?: ClusterKind): ClusterRecord | undefined {
  const it = object(raw);
  const kindName = text(it.kind);
  const kind = kindName === undefined ? kindHint : clusterKindOf(kindName);
  const metadata = object(it.metadata);
  const name = text(metadata.name);
  if (kind === undefined || name === undefined) return undefined;
  const uid = text(metadata.uid) ?? '';
  const resourceVersion = text(metadata.resourceVersion);
  const named = { uid, name, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
  if (kind === 'node') return slimNode(it, named);
  // Stored objects always have a namespace; a manifest without one means this one, as for kubectl.
  const spaced = { ...named, namespace: text(metadata.namespace) ?? 'default' };
  switch (kind) {
    case 'pod':
      return slimPod(it, spaced);
    case 'service':
      return slimService(it, spaced);
    case 'endpointslice':
      return slimSlice(it, spaced);
  }
}

interface Named {
  readonly uid: string;
  readonly name: string;
  readonly resourceVersion?: string;
}

interface Spaced extends Named {
  readonly namespace: string;
}

function slimPod(it: Json, named: Spaced): PodRecord {
  const metadata = object(it.metadata);
  const spec = object(it.spec);
  const status = object(it.status);
  const hostNetwork = spec.hostNetwork === true;
  const listed = list(status.podIPs).map((entry) => object(entry).ip);
  const hostPorts = hostNetwork ? [] : slimHostPorts(spec);
  return {
    kind: 'pod',
    ...named,
    ips: addresses([...listed, status.podIP]),
    hostNetwork,
    ready: list(status.conditions)
      .map(object)
      .some((condition) => condition.type === 'Ready' && condition.status === 'True'),
    ...optional('node', text(spec.nodeName)),
    ...optional('phase', text(status.phase)),
    ...optional('deletedAt', text(metadata.deletionTimestamp)),
    ...optional('createdAt', text(metadata.creationTimestamp)),
    ...(hostPorts.length === 0 ? {} : { hostPorts }),
  };
}

/** hostPorts are redirected on the node; with hostNetwork nothing is, so none is read there. */
function slimHostPorts(spec: Json): HostPort[] {
  // An init container that is always restarted is a sidecar (KEP-753) and serves like the others.
  const sidecars = list(spec.initContainers)
    .map(object)
    .filter((container) => container.restartPolicy === 'Always');
  const found: HostPort[] = [];
  for (const container of [...list(spec.containers).map(object), ...sidecars]) {
    for (const entry of list(container.ports).map(object)) {
      const protocol = transport(entry.protocol);
      const hostPort = port(entry.hostPort);
      const containerPort = port(entry.containerPort);
      if (protocol === undefined || hostPort === undefined || containerPort === undefined) continue;
      const hostIP = address(entry.hostIP);
      found.push({ protocol, hostPort, containerPort, ...optional('hostIP', hostIP) });
    }
  }
  return found;
}

function slimService(it: Json, named: Spaced): ServiceRecord {
  const spec = object(it.spec);
  const ports: ServicePortRecord[] = [];
  for (const entry of list(spec.ports).map(object)) {
    const protocol = transport(entry.protocol);
    const number = port(entry.port);
    if (protocol === undefined || number === undefined) continue;
    ports.push({
      protocol,
      port: number,
      ...optional('name', text(entry.name)),
      ...optional('nodePort', port(entry.nodePort)),
    });
  }
  const ingress = list(object(object(it.status).loadBalancer).ingress).map(object);
  return {
    kind: 'service',
    ...named,
    type: text(spec.type) ?? 'ClusterIP',
    // "None" (headless) is no address and drops out here.
    clusterIPs: addresses([...list(spec.clusterIPs), spec.clusterIP]),
    externalIPs: addresses(list(spec.externalIPs)),
    // KEP-1860: ipMode Proxy means that traffic arrives with another destination, so no rule is written.
    loadBalancerIPs: addresses(
      ingress.filter((entry) => entry.ipMode !== 'Proxy').map((entry) => entry.ip),
    ),
    loadBalancerSourceRanges: texts(spec.loadBalancerSourceRanges),
    ports,
    ...optional('affinitySeconds', affinitySeconds(spec)),
    ...optional('externalTrafficPolicy', text(spec.externalTrafficPolicy)),
    ...optional('internalTrafficPolicy', text(spec.internalTrafficPolicy)),
    ...optional('healthCheckNodePort', port(spec.healthCheckNodePort)),
  };
}

function affinitySeconds(spec: Json): number | undefined {
  if (spec.sessionAffinity !== 'ClientIP') return undefined;
  const said = object(object(spec.sessionAffinityConfig).clientIP).timeoutSeconds;
  return typeof said === 'number' && Number.isSafeInteger(said) && said > 0
    ? said
    : DEFAULT_AFFINITY_SECONDS;
}

function slimSlice(it: Json, named: Spaced): EndpointSliceRecord {
  const ports: EndpointSliceRecord['ports'][number][] = [];
  for (const entry of list(it.ports).map(object)) {
    const protocol = transport(entry.protocol);
    if (protocol === undefined) continue;
    ports.push({
      protocol,
      ...optional('name', text(entry.name)),
      ...optional('port', port(entry.port)),
    });
  }
  const endpoints: EndpointRecord[] = [];
  for (const entry of list(it.endpoints).map(object)) {
    const slim = slimEndpoint(entry, named.namespace);
    if (slim.addresses.length > 0) endpoints.push(slim);
  }
  return {
    kind: 'endpointslice',
    ...named,
    ports,
    endpoints,
    ...optional('service', label(it, 'kubernetes.io/service-name')),
  };
}

/**
 * discovery.k8s.io/v1 EndpointConditions: an absent `ready` means ready, an absent `serving` means the
 * same as `ready`, an absent `terminating` means false.
 */
function slimEndpoint(entry: Json, namespace: string): EndpointRecord {
  const conditions = object(entry.conditions);
  const ready = conditions.ready !== false;
  const serving = conditions.serving;
  const hints = object(entry.hints);
  const target = object(entry.targetRef);
  const targetName = target.kind === 'Pod' ? text(target.name) : undefined;
  const names = (value: unknown): string[] => texts(list(value).map((hint) => object(hint).name));
  const hintZones = names(hints.forZones);
  const hintNodes = names(hints.forNodes);
  return {
    addresses: addresses(list(entry.addresses)),
    ready,
    serving: typeof serving === 'boolean' ? serving : ready,
    terminating: conditions.terminating === true,
    ...optional('node', text(entry.nodeName)),
    ...optional('zone', text(entry.zone)),
    ...(hintZones.length === 0 ? {} : { hintZones }),
    ...(hintNodes.length === 0 ? {} : { hintNodes }),
    ...(targetName === undefined
      ? {}
      : {
          pod: {
            namespace: text(target.namespace) ?? namespace,
            name: targetName,
            ...optional('uid', text(target.uid)),
          },
        }),
  };
}

function slimNode(it: Json, named: Named): NodeRecord {
  const spec = object(it.spec);
  const status = object(it.status);
  const kubeletVersion = text(object(status.nodeInfo).kubeletVersion);
  const held = list(status.addresses)
    .map(object)
    .filter((entry) => entry.type === 'InternalIP' || entry.type === 'ExternalIP');
  return {
    kind: 'node',
    ...named,
    namespace: '',
    addresses: addresses(held.map((entry) => entry.address)),
    podCIDRs: unique([...texts(spec.podCIDRs), ...texts([spec.podCIDR])]),
    ...optional('zone', label(it, 'topology.kubernetes.io/zone')),
    // Objects written by hand have it empty.
    ...optional('kubeletVersion', kubeletVersion === '' ? undefined : kubeletVersion),
  };
}

/** The value as an object; an empty one for anything else. */
function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Json)
    : {};
}

function label(it: Json, name: string): string | undefined {
  const labels: Readonly<Record<string, unknown>> = object(object(it.metadata).labels);
  return text(labels[name]);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function texts(value: unknown): string[] {
  return list(value).filter((entry): entry is string => text(entry) !== undefined);
}

function address(value: unknown): string | undefined {
  return typeof value === 'string' ? canonicalAddress(value) : undefined;
}

function addresses(values: readonly unknown[]): string[] {
  return unique(values.map(address).filter((entry) => entry !== undefined));
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}

function port(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= 65_535
    ? value
    : undefined;
}

/** Absent means TCP (core/v1 ServicePort, ContainerPort; discovery/v1 EndpointPort). */
function transport(value: unknown): 'tcp' | 'udp' | 'sctp' | undefined {
  switch (value) {
    case undefined:
    case null:
    case 'TCP':
      return 'tcp';
    case 'UDP':
      return 'udp';
    case 'SCTP':
      return 'sctp';
    default:
      return undefined;
  }
}

/** `{ key: value }`, or nothing where there is no value: absent fields stay absent. */
function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V });
}
