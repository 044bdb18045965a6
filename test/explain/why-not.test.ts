import { describe, expect, it } from 'vitest';
import { type WhyNotFacts, whyNot } from '../../src/explain/why-not.js';
import type {
  EndpointRecord,
  EndpointSliceRecord,
  PodRecord,
  ServiceRecord,
} from '../../src/model/cluster.js';
import type { ServiceEntry } from '../../src/model/services.js';
import type { Distribution, WalkEnding, WalkedRule } from '../../src/model/walk.js';

const POD: PodRecord = {
  kind: 'pod',
  uid: 'p1',
  namespace: 'shop',
  name: 'web-1',
  ips: ['10.244.2.7'],
  node: 'node2',
  hostNetwork: false,
  phase: 'Running',
  ready: true,
};
const SERVICE: ServiceRecord = {
  kind: 'service',
  uid: 's1',
  namespace: 'shop',
  name: 'web',
  type: 'ClusterIP',
  clusterIPs: ['10.96.0.7'],
  externalIPs: [],
  loadBalancerIPs: [],
  loadBalancerSourceRanges: [],
  ports: [{ protocol: 'tcp', port: 80 }],
};
const ENDPOINT: EndpointRecord = {
  addresses: ['10.244.2.7'],
  ready: true,
  serving: true,
  terminating: false,
  node: 'node2',
  pod: { namespace: 'shop', name: 'web-1' },
};
const OTHER: EndpointRecord = {
  ...ENDPOINT,
  addresses: ['10.244.1.8'],
  node: 'node1',
  pod: { namespace: 'shop', name: 'web-2' },
};

const slices = (...endpoints: EndpointRecord[]): EndpointSliceRecord[] => [
  {
    kind: 'endpointslice',
    uid: 'e1',
    namespace: 'shop',
    name: 'web-abc',
    service: 'web',
    ports: [{ protocol: 'tcp', port: 8080 }],
    endpoints,
  },
];

const entry = (...ips: string[]): ServiceEntry => ({
  protocol: 6,
  address: '10.96.0.7',
  port: 80,
  via: 'clusterIP',
  action: 'dnat',
  routes: ips.map((ip) => ({
    ip,
    port: 8080,
    rule: {
      mode: 'iptables',
      path: ['KUBE-SERVICES', 'KUBE-SVC-A', `KUBE-SEP-${ip}`],
      affinity: false,
    },
  })),
});

const ending = (ip: string, change: Partial<WalkEnding> = {}): WalkEnding => ({
  kind: 'endpoint',
  ip,
  port: 8080,
  share: { parts: 1n, bits: 1 },
  masquerade: 'no',
  mark: 0,
  path: [],
  affinity: false,
  assuming: [],
  steps: [],
  ...change,
});

const possible = (...endings: WalkEnding[]): Distribution => ({
  packet: {
    protocol: 6,
    source: '10.244.1.254',
    destination: '10.96.0.7',
    port: 80,
    from: { kind: 'interface' },
  },
  endings,
  remarks: [],
});

const DROP: WalkedRule = {
  backend: 'nft',
  hook: 'forward',
  table: 'filter',
  chain: 'CNI-FORWARD',
  depth: 1,
  position: 3,
  line: 9,
  text: '-d 10.244.2.7/32 -j DROP',
  met: 'matched',
  effects: [{ does: 'drop' }],
};

const BOTH = entry('10.244.2.7', '10.244.1.8');
const HEALTHY: WhyNotFacts = {
  pod: { namespace: 'shop', name: 'web-1' },
  service: { namespace: 'shop', name: 'web' },
  podRecord: POD,
  serviceRecord: SERVICE,
  slices: slices(ENDPOINT, OTHER),
  node: {
    kind: 'node',
    uid: 'n1',
    name: 'node1',
    namespace: '',
    addresses: [],
    podCIDRs: [],
    zone: 'a',
  },
  entries: [BOTH],
  reach: [{ entry: BOTH, possible: possible(ending('10.244.2.7'), ending('10.244.1.8')) }],
};

const ONLY_OTHER = entry('10.244.1.8');
/** The rules do not lead to the Pod. */
const MISSING: WhyNotFacts = {
  ...HEALTHY,
  entries: [ONLY_OTHER],
  reach: [{ entry: ONLY_OTHER, possible: possible(ending('10.244.1.8')) }],
};

const without = (key: 'podRecord' | 'serviceRecord'): WhyNotFacts => {
  const { [key]: _, ...others } = HEALTHY;
  return others;
};

const reached = (...endings: WalkEnding[]): WhyNotFacts => ({
  ...HEALTHY,
  reach: [{ entry: BOTH, possible: possible(...endings) }],
});

describe('why a Pod gets nothing', () => {
  it.each<readonly [what: string, facts: WhyNotFacts, code: string, shown: RegExp]>([
    [
      'a healthy one gets its share',
      HEALTHY,
      'gets-its-share',
      /10\.96\.0\.7:80.*50 % \(1\/2\^1\)/,
    ],
    [
      'one that the rules have for another address only',
      {
        ...HEALTHY,
        reach: [
          { entry: BOTH, possible: possible(ending('10.244.2.7')) },
          { entry: { ...BOTH, address: '10.0.0.9' }, possible: possible(ending('10.244.1.8')) },
        ],
      },
      'gets-some',
      /10\.0\.0\.9:80 .*: 0 %/,
    ],
    ['there is no such Service', without('serviceRecord'), 'no-service', /no Service/],
    [
      'the Service is headless',
      { ...HEALTHY, serviceRecord: { ...SERVICE, clusterIPs: [] } },
      'no-cluster-address',
      /ClusterIP and has no cluster IP/,
    ],
    ['there is no such Pod', without('podRecord'), 'no-pod', /no Pod/],
    [
      'it has ended',
      { ...HEALTHY, podRecord: { ...POD, phase: 'Succeeded' } },
      'pod-ended',
      /phase is Succeeded/,
    ],
    [
      'it has no address',
      { ...HEALTHY, podRecord: { ...POD, ips: [], phase: 'Pending' } },
      'no-address',
      /Pending/,
    ],
    [
      'it is in no EndpointSlice',
      { ...MISSING, slices: slices(OTHER) },
      'not-selected',
      /none of the 1 endpoints/,
    ],
    [
      'the Service has no EndpointSlice',
      { ...MISSING, slices: [] },
      'not-selected',
      /no EndpointSlice/,
    ],
    [
      'it is in no EndpointSlice, and the rules lead to it all the same',
      { ...HEALTHY, slices: slices(OTHER) },
      'not-selected',
      /KUBE-SEP-10\.244\.2\.7\): kube-proxy has not caught up$/m,
    ],
    [
      'its address is in the rules for another Pod of its node',
      { ...HEALTHY, slices: slices({ ...OTHER, addresses: ['10.244.2.7'] }) },
      'not-selected',
      /they lead to 10\.244\.2\.7 .*, which shop\/web-2 has too: it is meant/,
    ],
    [
      'it is not ready',
      { ...MISSING, slices: slices({ ...ENDPOINT, ready: false, serving: false }) },
      'not-ready',
      /web-abc says: not ready/,
    ],
    [
      'it is not ready, and the rules have not caught up',
      { ...HEALTHY, slices: slices({ ...ENDPOINT, ready: false, serving: false }) },
      'not-ready',
      /yet they still lead to it \(KUBE-SERVICES > KUBE-SVC-A > KUBE-SEP-10\.244\.2\.7\)/,
    ],
    [
      'it is terminating',
      { ...MISSING, slices: slices({ ...ENDPOINT, ready: false, terminating: true }) },
      'terminating',
      /terminating, and still serving/,
    ],
    [
      'the rules do not know the Service',
      { ...HEALTHY, entries: [], reach: [] },
      'service-not-in-rules',
      /none of its addresses/,
    ],
    ['the rules do not have it', MISSING, 'not-in-rules', /lead to 10\.244\.1\.8:8080, and none/],
    [
      'internalTrafficPolicy keeps it to its own node',
      { ...MISSING, serviceRecord: { ...SERVICE, internalTrafficPolicy: 'Local' } },
      'policy-local',
      /the Pod is on node2/,
    ],
    [
      'hints give it to another zone',
      { ...MISSING, slices: slices({ ...ENDPOINT, hintZones: ['b'] }) },
      'hints',
      /zone b; this node is in a/,
    ],
    [
      'hints give it to another node',
      { ...MISSING, slices: slices({ ...ENDPOINT, hintNodes: ['node2'] }) },
      'hints',
      /node node2; this node is node1/,
    ],
    [
      'another rule takes everything before it',
      reached(ending('10.244.1.8', { share: { parts: 1n, bits: 0 } })),
      'shadowed',
      /rules before it/,
    ],
    [
      'only affinity leads to it',
      reached(ending('10.244.2.7', { affinity: true }), ending('10.244.1.8')),
      'shadowed',
      /affinity alone/,
    ],
    [
      'a rule behind the translation drops it',
      reached(ending('10.244.2.7', { kind: 'dropped', decidedBy: DROP }), ending('10.244.1.8')),
      'refused-behind',
      /filter CNI-FORWARD, line 9: -d 10\.244\.2\.7\/32 -j DROP/,
    ],
    [
      'with affinity it gets new clients only',
      { ...HEALTHY, serviceRecord: { ...SERVICE, affinitySeconds: 10_800 } },
      'gets-its-share',
      /stays where it is for 10800 s/,
    ],
  ])('%s', (_, facts, code, shown) => {
    const findings = whyNot(facts);
    expect(findings.map((it) => it.code)).toEqual([`why-not-${code}`]);
    const [finding] = findings;
    expect(finding?.evidence.map(({ says }) => says).join('\n')).toMatch(shown);
    expect(finding?.next.length).toBeGreaterThan(0);
    expect(finding?.title).toMatch(/shop\/web/);
  });
});
