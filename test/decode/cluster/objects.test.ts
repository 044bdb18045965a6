import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { slimObject } from '../../../src/decode/cluster/objects.js';
import type { ClusterKind } from '../../../src/model/cluster.js';

const pod = (over: object = {}): unknown => ({
  kind: 'Pod',
  metadata: { name: 'a', namespace: 'n', uid: 'u', resourceVersion: '7' },
  ...over,
});

describe('a Pod', () => {
  test('keeps what names it and drops the rest', () => {
    const raw = {
      kind: 'Pod',
      metadata: {
        name: 'web-1',
        namespace: 'shop',
        uid: 'u1',
        resourceVersion: '12',
        creationTimestamp: '2026-11-22T19:52:35Z',
        deletionTimestamp: '2026-11-22T19:59:00Z',
        labels: { app: 'web' },
      },
      spec: {
        nodeName: 'node1',
        containers: [
          {
            ports: [{ containerPort: 80, hostPort: 18080, protocol: 'TCP' }, { containerPort: 81 }],
          },
        ],
      },
      status: {
        phase: 'Running',
        podIP: '10.244.1.2',
        podIPs: [{ ip: '10.244.1.2' }, { ip: 'FD00:0:0::2' }],
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    };
    expect(slimObject(raw)).toEqual({
      kind: 'pod',
      uid: 'u1',
      namespace: 'shop',
      name: 'web-1',
      resourceVersion: '12',
      ips: ['10.244.1.2', 'fd00::2'],
      node: 'node1',
      hostNetwork: false,
      phase: 'Running',
      ready: true,
      createdAt: '2026-11-22T19:52:35Z',
      deletedAt: '2026-11-22T19:59:00Z',
      hostPorts: [{ protocol: 'tcp', hostPort: 18080, containerPort: 80 }],
    });
  });

  const cases: [string, object, object][] = [
    ['without a status has no address', {}, { ips: [], ready: false }],
    ['with only podIP has that', { status: { podIP: '10.0.0.1' } }, { ips: ['10.0.0.1'] }],
    ['drops what is no address', { status: { podIPs: [{ ip: 'x' }, 3, null] } }, { ips: [] }],
    ['takes podIPs of the wrong type as absent', { status: { podIPs: {} } }, { ips: [] }],
    ['takes a status that is a list as absent', { status: [] }, { ips: [] }],
    [
      'takes hostNetwork only when it is true',
      { spec: { hostNetwork: 'true' } },
      { hostNetwork: false },
    ],
    [
      'with hostNetwork redirects no port',
      {
        spec: { hostNetwork: true, containers: [{ ports: [{ containerPort: 80, hostPort: 80 }] }] },
      },
      { hostNetwork: true, hostPorts: undefined },
    ],
    [
      'counts the ports of sidecars and not of other init containers',
      {
        spec: {
          initContainers: [
            {
              restartPolicy: 'Always',
              ports: [{ containerPort: 1, hostPort: 2, protocol: 'UDP' }],
            },
            { ports: [{ containerPort: 3, hostPort: 4 }] },
          ],
        },
      },
      { hostPorts: [{ protocol: 'udp', hostPort: 2, containerPort: 1 }] },
    ],
    [
      'drops ports out of range and of unknown protocols',
      {
        spec: {
          containers: [
            {
              ports: [
                { containerPort: 1, hostPort: 70_000 },
                { containerPort: 1.5, hostPort: 1 },
                { containerPort: 1, hostPort: 1, protocol: 'ICMP' },
              ],
            },
          ],
        },
      },
      { hostPorts: undefined },
    ],
  ];
  test.each(cases)('%s', (_name, over, expected) => {
    expect({ hostPorts: undefined, ...slimObject(pod(over)) }).toMatchObject(expected);
  });
});

describe('a Service', () => {
  const service = (spec: object, status: object = {}): unknown => ({
    kind: 'Service',
    metadata: { name: 's', namespace: 'n', uid: 'u' },
    spec,
    status,
  });
  const cases: [string, unknown, object][] = [
    [
      'that is headless has no address',
      service({ clusterIP: 'None', clusterIPs: ['None'] }),
      { clusterIPs: [] },
    ],
    [
      'of an old server has one clusterIP',
      service({ clusterIP: '10.96.0.1' }),
      { clusterIPs: ['10.96.0.1'] },
    ],
    [
      'keeps both families',
      service({ clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1', 'fd00:0::1'] }),
      { clusterIPs: ['10.96.0.1', 'fd00::1'] },
    ],
    [
      'leaves out load balancers that are proxies',
      service(
        {},
        {
          loadBalancer: {
            ingress: [
              { ip: '1.1.1.1', ipMode: 'VIP' },
              { ip: '2.2.2.2', ipMode: 'Proxy' },
              { ip: '3.3.3.3' },
              { hostname: 'x' },
            ],
          },
        },
      ),
      { loadBalancerIPs: ['1.1.1.1', '3.3.3.3'] },
    ],
    [
      'names its ports, TCP if nothing is said',
      service({
        ports: [
          { name: 'http', port: 80, nodePort: 30_080 },
          { name: '', port: 53, protocol: 'UDP' },
          { port: 0 },
        ],
      }),
      {
        ports: [
          { name: 'http', protocol: 'tcp', port: 80, nodePort: 30_080 },
          { protocol: 'udp', port: 53 },
        ],
      },
    ],
    [
      'with affinity lasts as said',
      service({
        sessionAffinity: 'ClientIP',
        sessionAffinityConfig: { clientIP: { timeoutSeconds: 10 } },
      }),
      { affinitySeconds: 10 },
    ],
    [
      'with affinity lasts three hours otherwise',
      service({ sessionAffinity: 'ClientIP' }),
      { affinitySeconds: 10_800 },
    ],
    [
      'without affinity says nothing',
      service({ sessionAffinity: 'None' }),
      { affinitySeconds: undefined },
    ],
    ['without a type is a ClusterIP Service', service({}), { type: 'ClusterIP', ports: [] }],
  ];
  test.each(cases)('%s', (_name, raw, expected) => {
    expect({ affinitySeconds: undefined, ...slimObject(raw) }).toMatchObject(expected);
  });
});

describe('an EndpointSlice', () => {
  const slice = (endpoints: unknown, over: object = {}): unknown => ({
    kind: 'EndpointSlice',
    metadata: {
      name: 's-1',
      namespace: 'n',
      uid: 'u',
      labels: { 'kubernetes.io/service-name': 's' },
    },
    endpoints,
    ...over,
  });
  const conditions: [object | undefined, object][] = [
    [undefined, { ready: true, serving: true, terminating: false }],
    [{}, { ready: true, serving: true, terminating: false }],
    [{ ready: false }, { ready: false, serving: false, terminating: false }],
    [{ ready: null }, { ready: true, serving: true, terminating: false }],
    [
      { ready: false, serving: true, terminating: true },
      { ready: false, serving: true, terminating: true },
    ],
    [
      { ready: 'no', serving: 1, terminating: 'x' },
      { ready: true, serving: true, terminating: false },
    ],
  ];
  test.each(conditions)('reads the conditions %j as %j', (given, expected) => {
    const record = slimObject(slice([{ addresses: ['10.0.0.1'], conditions: given }]));
    expect(record).toMatchObject({ endpoints: [expected] });
  });

  test('keeps Service, ports, node, zone, hints and the Pod behind an endpoint', () => {
    const endpoint = {
      addresses: ['10.0.0.1'],
      nodeName: 'node1',
      zone: 'a',
      hints: { forZones: [{ name: 'a' }, {}], forNodes: [{ name: 'node1' }] },
      targetRef: { kind: 'Pod', namespace: 'n', name: 'p', uid: 'pu' },
    };
    const ports = [
      { name: '', port: 80, protocol: 'TCP' },
      { name: 'q', protocol: 'UDP', port: null },
    ];
    expect(slimObject(slice([endpoint], { ports }))).toEqual({
      kind: 'endpointslice',
      uid: 'u',
      namespace: 'n',
      name: 's-1',
      service: 's',
      ports: [
        { protocol: 'tcp', port: 80 },
        { name: 'q', protocol: 'udp' },
      ],
      endpoints: [
        {
          addresses: ['10.0.0.1'],
          ready: true,
          serving: true,
          terminating: false,
          node: 'node1',
          zone: 'a',
          hintZones: ['a'],
          hintNodes: ['node1'],
          pod: { namespace: 'n', name: 'p', uid: 'pu' },
        },
      ],
    });
  });

  test('drops endpoints without an address and targets that are no Pods', () => {
    const raw = slice([
      { addresses: ['example.org'] },
      { addresses: [] },
      7,
      { addresses: ['10.0.0.2'], targetRef: { kind: 'Node', name: 'x' } },
    ]);
    const record = slimObject(raw);
    expect(record).toMatchObject({ endpoints: [{ addresses: ['10.0.0.2'] }] });
    expect(JSON.stringify(record)).not.toContain('"pod"');
  });
});

describe('a Node', () => {
  test('keeps the addresses that are its own', () => {
    const raw = {
      kind: 'Node',
      metadata: { name: 'node1', uid: 'u', labels: { 'topology.kubernetes.io/zone': 'a' } },
      spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24', 'fd00::/64'] },
      status: {
        nodeInfo: { kubeletVersion: 'v1.30.4', kubeProxyVersion: 'v1.30.4' },
        addresses: [
          { type: 'InternalIP', address: '192.168.77.11' },
          { type: 'Hostname', address: 'node1' },
          { type: 'ExternalIP', address: '203.0.113.1' },
          { type: 'InternalDNS', address: '10.0.0.1' },
        ],
      },
    };
    expect(slimObject(raw)).toEqual({
      kind: 'node',
      uid: 'u',
      name: 'node1',
      namespace: '',
      addresses: ['192.168.77.11', '203.0.113.1'],
      podCIDRs: ['10.244.1.0/24', 'fd00::/64'],
      zone: 'a',
      kubeletVersion: 'v1.30.4',
    });
  });
});

describe('the kind', () => {
  const metadata = { name: 'x', namespace: 'n' };
  const cases: [string, unknown, ClusterKind | undefined, string | undefined][] = [
    ['comes from the object', { kind: 'Pod', metadata }, undefined, 'pod'],
    ['comes from the list if the object does not say', { metadata }, 'service', 'service'],
    ['of the object counts more than that of the list', { kind: 'Node', metadata }, 'pod', 'node'],
    ['is none for objects that are not used', { kind: 'Deployment', metadata }, 'pod', undefined],
    ['is none without any hint', { metadata }, undefined, undefined],
    ['is none without a name', { kind: 'Pod', metadata: {} }, undefined, undefined],
    ['is none for null', null, 'pod', undefined],
    ['is none for text', 'Pod', 'pod', undefined],
    ['is none for a list', [], 'pod', undefined],
  ];
  test.each(cases)('%s', (_name, raw, hint, expected) => {
    expect(slimObject(raw, hint)?.kind).toBe(expected);
  });

  test('of a manifest without namespace lies in the default one', () => {
    expect(slimObject({ metadata: { name: 'x' } }, 'pod')?.namespace).toBe('default');
  });
});

test('whatever the fields hold, a record comes out or nothing does', () => {
  // The names that are read, each with any value: far more often near the mark than any JSON.
  const leaf = fc.oneof(fc.jsonValue({ maxDepth: 2 }), fc.ipV4(), fc.ipV6(), fc.constant('Pod'));
  const part = fc.dictionary(
    fc.constantFrom(
      ...['addresses', 'conditions', 'containers', 'ports', 'podIPs', 'clusterIPs', 'endpoints'],
      ...['loadBalancer', 'ingress', 'targetRef', 'hints', 'name', 'labels', 'kind', '__proto__'],
    ),
    leaf,
  );
  const raw = fc.record({ metadata: part, spec: part, status: part, endpoints: fc.array(part) });
  const kinds = fc.constantFrom<ClusterKind[]>('pod', 'service', 'endpointslice', 'node');
  fc.assert(
    fc.property(raw, kinds, (value, kind) => {
      const record = slimObject(value, kind);
      const { name } = value.metadata;
      const named = typeof name === 'string' && name !== '';
      expect(record === undefined).toBe(!named);
    }),
    { numRuns: 300 },
  );
});
