import {
  type Family,
  familyOf,
  type LabOptions,
  type LabPod,
  type LabService,
  podAddress,
  podNamed,
} from './spec.js';

/** The lab's cluster as an API server would list it, to be written to files or served. */
export interface ClusterObjects {
  readonly nodes: object;
  readonly services: object;
  readonly endpointslices: object;
  readonly pods: object;
}

/**
 * Raw lists (PodList and so on, so items carry no kind), everything created at `createdAt` (RFC 3339).
 * With the `uids` of an earlier call objects keep theirs.
 */
export function clusterObjects(
  options: LabOptions,
  createdAt: string,
  uids: Uids = new Uids(),
): ClusterObjects {
  const metadata = (namespace: string, name: string, kind: string): object => ({
    name,
    ...(namespace === '' ? {} : { namespace }),
    uid: uids.of(kind, namespace, name),
    resourceVersion: '1',
    creationTimestamp: createdAt,
  });
  for (const pod of options.pods) {
    if (pod.uid !== undefined) uids.set('Pod', pod.namespace, pod.name, pod.uid);
  }
  const services = [
    ...groupBy(options.services, (port) => `${port.namespace}/${port.name}`).values(),
  ];
  return {
    nodes: list(
      'v1',
      'NodeList',
      nodesOf(options).map(({ name, podCIDR, address }) => ({
        metadata: metadata('', name, 'Node'),
        spec: { podCIDR, podCIDRs: [podCIDR] },
        status: {
          addresses: [
            { type: 'InternalIP', address },
            { type: 'Hostname', address: name },
          ],
          conditions: [{ type: 'Ready', status: 'True' }],
        },
      })),
    ),
    services: list(
      'v1',
      'ServiceList',
      services.map((ports) => service(ports, metadata)),
    ),
    endpointslices: list(
      'discovery.k8s.io/v1',
      'EndpointSliceList',
      services.flatMap((ports) => endpointSlices(options, ports, metadata, uids)),
    ),
    pods: list(
      'v1',
      'PodList',
      options.pods.map((pod) => ({
        metadata: metadata(pod.namespace, pod.name, 'Pod'),
        spec: {
          nodeName: nodeOf(options, pod).name,
          ...(pod.hostNetwork === true ? { hostNetwork: true } : {}),
          containers: [{ name: 'main', image: 'lab' }],
        },
        status: {
          phase: 'Running',
          conditions: [{ type: 'Ready', status: 'True' }],
          hostIP: nodeOf(options, pod).address,
          podIP: pod.ip,
          podIPs: [pod.ip, pod.ip6].filter((ip) => ip !== undefined).map((ip) => ({ ip })),
          startTime: createdAt,
        },
      })),
    ),
  };
}

interface LabNode {
  readonly name: string;
  readonly podCIDR: string;
  readonly address: string;
}

function nodesOf(options: LabOptions): LabNode[] {
  const { nodeName, podCIDR, nodeAddress, outsideNode, outsideAddress } = options;
  const first = { name: nodeName, podCIDR, address: nodeAddress };
  return outsideNode === undefined ? [first] : [first, { ...outsideNode, address: outsideAddress }];
}

function nodeOf(options: LabOptions, pod: LabPod): LabNode {
  const [first, second] = nodesOf(options);
  const found = pod.node === 'outside' ? second : first;
  return found ?? { name: options.nodeName, podCIDR: '', address: '' };
}

type Metadata = (namespace: string, name: string, kind: string) => object;

function list(apiVersion: string, kind: string, items: readonly object[]): object {
  return { kind, apiVersion, metadata: { resourceVersion: '1' }, items };
}

function service(ports: readonly LabService[], metadata: Metadata): object {
  const first = ports[0];
  if (first === undefined) return {};
  const clusterIPs = [...new Set(ports.map((port) => port.clusterIP))];
  // Two entries that differ in family alone are one port of a dual-stack Service.
  const listed = [...groupBy(ports, portKey).values()].map((same) => {
    const nodePort = same.find((port) => port.nodePort !== undefined)?.nodePort;
    return { ...(same[0] ?? first), nodePort };
  });
  return {
    metadata: metadata(first.namespace, first.name, 'Service'),
    spec: {
      type: ports.some((port) => port.nodePort !== undefined) ? 'NodePort' : 'ClusterIP',
      clusterIP: first.clusterIP,
      clusterIPs,
      ports: listed.map((port) => ({
        ...(port.portName === undefined ? {} : { name: port.portName }),
        protocol: port.protocol.toUpperCase(),
        port: port.port,
        targetPort: port.targetPort,
        ...(port.nodePort === undefined ? {} : { nodePort: port.nodePort }),
      })),
      selector: { app: first.name },
      ...(first.affinitySeconds === undefined
        ? { sessionAffinity: 'None' }
        : {
            sessionAffinity: 'ClientIP',
            sessionAffinityConfig: { clientIP: { timeoutSeconds: first.affinitySeconds } },
          }),
      ...(first.externalIPs === undefined ? {} : { externalIPs: first.externalIPs }),
      internalTrafficPolicy: 'Cluster',
    },
    status: { loadBalancer: {} },
  };
}

/** One slice for all ports of a Service that have the same endpoints, as the controller makes them. */
function endpointSlices(
  options: LabOptions,
  ports: readonly LabService[],
  metadata: Metadata,
  uids: Uids,
): object[] {
  const groups = groupBy(
    ports,
    (port) => `${familyOf(port.clusterIP)} ${port.endpoints.join(' ')}`,
  );
  return [...groups.values()].map((group, index) => {
    const first = group[0] ?? ports[0];
    if (first === undefined) return {};
    const family: Family = familyOf(first.clusterIP);
    return {
      metadata: {
        ...metadata(first.namespace, `${first.name}-${index}`, 'EndpointSlice'),
        labels: { 'kubernetes.io/service-name': first.name },
      },
      addressType: `IPv${family}`,
      endpoints: first.endpoints.map((name) => {
        const pod = podNamed(options, name);
        return {
          addresses: [podAddress(pod, family)],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: nodeOf(options, pod).name,
          targetRef: {
            kind: 'Pod',
            namespace: pod.namespace,
            name: pod.name,
            uid: uids.of('Pod', pod.namespace, pod.name),
          },
        };
      }),
      ports: group.map((port) => ({
        name: port.portName ?? '',
        protocol: port.protocol.toUpperCase(),
        port: port.targetPort,
      })),
    };
  });
}

/** Map.groupBy, which Node has from 21 on. */
function groupBy<T>(items: readonly T[], keyOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [item]);
    else group.push(item);
  }
  return groups;
}

function portKey(port: LabService): string {
  return `${port.protocol} ${port.port}`;
}

/** Invented but stable: the same object of the same lab has the same uid in every run. */
export class Uids {
  readonly #known = new Map<string, string>();

  set(kind: string, namespace: string, name: string, uid: string): void {
    this.#known.set(`${kind} ${namespace}/${name}`, uid);
  }

  of(kind: string, namespace: string, name: string): string {
    const key = `${kind} ${namespace}/${name}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const uid = `00000000-0000-4000-8000-${(this.#known.size + 1).toString(16).padStart(12, '0')}`;
    this.#known.set(key, uid);
    return uid;
  }
}
