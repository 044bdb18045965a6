import {
  addressText,
  CREATED_AT,
  clientAddress,
  endpointAddress,
  type Family,
  NAMESPACE,
  NODE_NAME,
  podName,
  SERVICE_PORT,
  serviceAddress,
  serviceName,
  TARGET_PORT,
  type World,
} from './world.js';

/** An object as the API server gives it in a list, with what `kubectl get -o json` shows of a running one. */
export interface ApiObject {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly resourceVersion?: string;
  };
}

/** Pods of all endpoints, then those that ask. */
export function* pods(world: World, families: readonly Family[]): Generator<ApiObject> {
  for (let s = 0; s < world.services; s++) {
    for (let e = 0; e < world.endpointsEach; e++) {
      const ips = families.map((f) => addressText(f, endpointAddress(f, world, s, e)));
      yield pod(podName(s, e), ips);
    }
  }
  for (let c = 0; c < world.clients; c++) {
    yield pod(
      `client-${c}`,
      families.map((f) => addressText(f, clientAddress(f, c))),
    );
  }
}

export function* services(world: World, families: readonly Family[]): Generator<ApiObject> {
  for (let s = 0; s < world.services; s++) {
    const clusterIPs = families.map((f) => addressText(f, serviceAddress(f, s)));
    yield {
      metadata: metadata('Service', serviceName(s)),
      spec: {
        type: 'ClusterIP',
        clusterIP: clusterIPs[0],
        clusterIPs,
        ipFamilies: families.map((f) => `IPv${f}`),
        ipFamilyPolicy: families.length > 1 ? 'PreferDualStack' : 'SingleStack',
        ports: [{ name: 'http', protocol: 'TCP', port: SERVICE_PORT, targetPort: TARGET_PORT }],
        selector: { app: serviceName(s) },
        sessionAffinity: 'None',
        internalTrafficPolicy: 'Cluster',
      },
      status: { loadBalancer: {} },
    } as ApiObject;
  }
}

export function* endpointSlices(world: World, families: readonly Family[]): Generator<ApiObject> {
  for (let s = 0; s < world.services; s++) {
    for (const family of families) {
      yield {
        metadata: {
          ...metadata('EndpointSlice', `${serviceName(s)}-v${family}`),
          labels: { 'kubernetes.io/service-name': serviceName(s) },
        },
        addressType: `IPv${family}`,
        endpoints: Array.from({ length: world.endpointsEach }, (_, e) => ({
          addresses: [addressText(family, endpointAddress(family, world, s, e))],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: NODE_NAME,
          targetRef: {
            kind: 'Pod',
            namespace: NAMESPACE,
            name: podName(s, e),
            uid: uid('Pod', podName(s, e)),
          },
        })),
        ports: [{ name: 'http', protocol: 'TCP', port: TARGET_PORT }],
      } as ApiObject;
    }
  }
}

/** A list as a file, piece by piece. */
export function* listText(
  kind: 'Pod' | 'Service' | 'EndpointSlice',
  items: Iterable<ApiObject>,
): Generator<string> {
  const apiVersion = kind === 'EndpointSlice' ? 'discovery.k8s.io/v1' : 'v1';
  yield `{"kind":"${kind}List","apiVersion":"${apiVersion}","metadata":{"resourceVersion":"1"},"items":[`;
  let first = true;
  for (const item of items) {
    yield `${first ? '' : ','}\n${JSON.stringify(item)}`;
    first = false;
  }
  yield '\n]}\n';
}

function pod(name: string, ips: readonly string[]): ApiObject {
  return {
    metadata: { ...metadata('Pod', name), labels: { app: name } },
    spec: { nodeName: NODE_NAME, containers: [{ name: 'main', image: 'bench' }] },
    status: {
      phase: 'Running',
      conditions: [{ type: 'Ready', status: 'True' }],
      hostIP: '192.168.77.11',
      podIP: ips[0],
      podIPs: ips.map((ip) => ({ ip })),
      startTime: CREATED_AT,
    },
  } as ApiObject;
}

function metadata(kind: string, name: string): ApiObject['metadata'] {
  return {
    name,
    namespace: NAMESPACE,
    uid: uid(kind, name),
    resourceVersion: '1',
    creationTimestamp: CREATED_AT,
  } as ApiObject['metadata'];
}

const uid = (kind: string, name: string): string => `uid-${kind.toLowerCase()}-${name}`;
