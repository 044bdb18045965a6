import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import { createLab, type Lab } from '../../src/lab/lab.js';
import type { LabOptions, LabService } from '../../src/lab/spec.js';
import type { TruthRow } from '../../src/lab/traffic-client.js';
import { TUTORIAL, TUTORIAL_CLIENT } from '../../src/lab/tutorial.js';

const unavailable = labUnavailable(TUTORIAL);
const PODS = TUTORIAL.services[0]?.endpoints ?? [];

const WEB = { namespace: 'shop', name: 'web', protocol: 'tcp', endpoints: PODS } as const;
const SERVICES: readonly LabService[] = [
  ...TUTORIAL.services,
  {
    ...WEB,
    portName: 'http',
    port: 80,
    clusterIP: '10.96.0.10',
    targetPort: 8080,
    nodePort: 30_080,
  },
  { ...WEB, portName: 'http', port: 80, clusterIP: 'fd00:10:96::a', targetPort: 8080 },
  { ...WEB, name: 'none', port: 80, clusterIP: '10.96.0.11', targetPort: 80, endpoints: [] },
  {
    ...WEB,
    name: 'sticky',
    port: 80,
    clusterIP: '10.96.0.12',
    targetPort: 80,
    affinitySeconds: 60,
  },
  { ...WEB, name: 'dns', protocol: 'udp', port: 53, clusterIP: '10.96.0.13', targetPort: 5353 },
];

/** Everything at once, so that few labs have to be built. */
const RICH: LabOptions = {
  ...TUTORIAL,
  chainNames: 'current',
  podCIDR6: 'fd00:10:244::/64',
  gateway6: 'fd00:10:244::ffff',
  pods: TUTORIAL.pods.map((pod, index) => ({ ...pod, ip6: `fd00:10:244::${index + 1}` })),
  services: SERVICES,
};

beforeEach((context) => {
  if (unavailable !== undefined) context.skip(unavailable);
});

/** Packets that a rule counted, the rule named by what its line holds. */
function packets(rules: string, ...parts: readonly string[]): number {
  const line = rules.split('\n').find((text) => parts.every((part) => text.includes(part)));
  return Number(/^\[(\d+):/.exec(line ?? '')?.[1] ?? Number.NaN);
}

function byPod(rows: readonly TruthRow[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { pod } of rows) if (pod !== undefined) counts.set(pod, (counts.get(pod) ?? 0) + 1);
  return counts;
}

describe.each([
  { layout: 'bridge', ruleBackend: 'iptables-nft' },
  { layout: 'bridge', ruleBackend: 'iptables-legacy' },
  { layout: 'routed', ruleBackend: 'iptables-nft' },
  { layout: 'routed', ruleBackend: 'iptables-legacy' },
] as const)('the tutorial on $layout Pods with $ruleBackend', ({ layout, ruleBackend }) => {
  let lab: Lab;
  beforeAll(async () => {
    if (unavailable === undefined) lab = await createLab({ ...TUTORIAL, layout, ruleBackend });
  });
  afterAll(() => lab?.close());

  it('is built as asked, or says why not', () => {
    expect(lab.options.layout === layout || lab.fallback !== undefined).toBe(true);
  });

  it('has each of fifty requests answered, and counts each once, on the rules of the Pod that answered', async () => {
    const rows = await lab.request({
      from: TUTORIAL_CLIENT,
      to: 'default/nginx',
      count: 50,
      concurrency: 4,
    });
    expect(rows.filter((row) => !row.ok)).toEqual([]);
    const answered = byPod(rows);
    expect([...answered.keys()].sort()).toEqual([...PODS].sort());
    const rules = await lab.rules();
    expect(packets(rules, '-A KUBE-SERVICES -d', '-j KUBE-SVC-4N57TFCL4MD7ZTDA')).toBe(50);
    for (const pod of TUTORIAL.pods) {
      if (pod.name === TUTORIAL_CLIENT) continue;
      expect(packets(rules, `--to-destination ${pod.ip}:80`), pod.name).toBe(
        answered.get(pod.name),
      );
    }
    expect(packets(rules, '--probability 0.50000000000 -j KUBE-SEP-RNUA2WF32F4IZIFK')).toBe(
      answered.get('nginx-86c57db685-vskrb'),
    );
  });

  it('tells both ends of a connection as they were', async () => {
    const [row] = await lab.request({ from: TUTORIAL_CLIENT, to: '10.111.248.8:80', count: 1 });
    expect(row).toMatchObject({
      ok: true,
      svc: 'default/nginx:',
      src: '10.44.0.3',
      dst: '10.111.248.8',
      dport: 80,
      podPort: 80,
      seenSrc: '10.44.0.3',
      seenSport: row?.sport,
      podIP: TUTORIAL.pods.find((pod) => pod.name === row?.pod)?.ip,
    });
  });

  it('churns through connections from chosen source ports', async () => {
    const rows = await lab.churn({
      from: TUTORIAL_CLIENT,
      to: 'default/nginx',
      connections: 300,
      concurrency: 32,
      sourcePorts: { first: 20_000, size: 300 },
    });
    expect(rows.filter((row) => !row.ok)).toEqual([]);
    expect(new Set(rows.map((row) => row.sport)).size).toBe(300);
    expect(rows.every((row) => row.t0 <= (row.tc ?? 0) && (row.tc ?? 0) <= row.t1)).toBe(true);
  });

  it('leads nowhere else and leaves the machine as it was', async () => {
    const routes = await lab.exec('node', ['ip', 'route', 'show', 'default']);
    expect(routes.stdout.trim()).toBe('default via 172.17.0.1 dev eth0');
    const outside = await lab.exec('outside', ['ip', 'route']);
    expect(outside.stdout.trim().split('\n')).toHaveLength(1);
    const here = await lab.exec('node', ['ip', '-br', 'link']);
    for (const name of lab.interfaces.values()) expect(here.stdout).toContain(name);
  });
});

describe.each(['bridge', 'routed'] as const)('a richer node, %s', (layout) => {
  let lab: Lab;
  beforeAll(async () => {
    if (unavailable === undefined) lab = await createLab({ ...RICH, layout });
  });
  afterAll(() => lab?.close());

  it('serves IPv6', async () => {
    const rows = await lab.request({
      from: TUTORIAL_CLIENT,
      to: '[fd00:10:96::a]:80',
      count: 8,
      concurrency: 4,
    });
    expect(rows.filter((row) => !row.ok)).toEqual([]);
    expect(rows[0]).toMatchObject({ svc: 'shop/web:http', src: 'fd00:10:244::5', podPort: 8080 });
    expect(await lab.rules(6)).toContain('--to-destination [fd00:10:244::1]:8080');
  });

  it('answers datagrams, from many sockets and from one', async () => {
    const many = await lab.request({
      from: TUTORIAL_CLIENT,
      to: 'shop/dns',
      protocol: 'udp',
      count: 20,
      concurrency: 4,
    });
    expect(many.filter((row) => !row.ok)).toEqual([]);
    expect(new Set(many.map((row) => row.sport)).size).toBe(20);
    const one = await lab.request({
      from: TUTORIAL_CLIENT,
      to: 'shop/dns',
      protocol: 'udp',
      count: 10,
      keepAlive: true,
    });
    expect(one.filter((row) => !row.ok)).toEqual([]);
    expect(new Set(one.map((row) => row.sport)).size).toBe(1);
    expect(byPod(one).size).toBe(1); // one conntrack entry, one Pod
  });

  it('keeps a connection for many requests when asked', async () => {
    const rows = await lab.request({
      from: TUTORIAL_CLIENT,
      to: 'shop/web:http',
      count: 12,
      keepAlive: true,
    });
    expect(rows.every((row) => row.ok)).toBe(true);
    expect(new Set(rows.map((row) => row.conn)).size).toBe(1);
    expect(byPod(rows).size).toBe(1);
  });

  it('gives a client the same Pod again under affinity', async () => {
    const rows = await lab.request({ from: TUTORIAL_CLIENT, to: 'shop/sticky', count: 12 });
    expect(rows.every((row) => row.ok)).toBe(true);
    expect(byPod(rows).size).toBe(1);
  });

  it('refuses where there is no endpoint', async () => {
    const [row] = await lab.request({
      from: TUTORIAL_CLIENT,
      to: 'shop/none',
      count: 1,
      sourcePorts: { first: 21_000, size: 1 },
    });
    expect(row).toMatchObject({ ok: false, err: 'ECONNREFUSED', sport: 21_000 });
  });

  it('masquerades what comes from the node and, through a node port, from outside', async () => {
    const [own] = await lab.request({ from: 'node', to: 'shop/web:http', count: 1 });
    expect(own).toMatchObject({ ok: true, src: RICH.nodeAddress, seenSrc: RICH.gateway });
    const [outer] = await lab.request({
      from: 'outside',
      to: `${RICH.nodeAddress}:30080`,
      count: 1,
    });
    expect(outer).toMatchObject({ ok: true, src: RICH.outsideAddress, seenSrc: RICH.gateway });
  });

  it('lets a Pod reach itself through its Service', async () => {
    const [pod = ''] = PODS;
    const rows = await lab.request({ from: pod, to: 'default/nginx', count: 40, concurrency: 8 });
    expect(rows.filter((row) => !row.ok)).toEqual([]);
    expect(byPod(rows).get(pod)).toBeGreaterThan(0);
  });

  it('shows itself as an API server would', () => {
    expect(lab.objects).toMatchObject({
      nodes: { kind: 'NodeList', items: [{ metadata: { name: 'node01' } }] },
      pods: { kind: 'PodList', apiVersion: 'v1' },
      services: { kind: 'ServiceList' },
      endpointslices: { kind: 'EndpointSliceList', apiVersion: 'discovery.k8s.io/v1' },
    });
    const text = JSON.stringify(lab.objects);
    expect(JSON.parse(text)).toEqual(lab.objects);
    // One Service, two addresses, one port; a slice for each family.
    const { services, endpointslices } = JSON.parse(text);
    const named = (list: { items: { metadata: { name: string } }[] }, name: RegExp): object[] =>
      list.items.filter((item) => name.test(item.metadata.name));
    expect(named(services, /^web$/)).toMatchObject([
      {
        spec: {
          clusterIPs: ['10.96.0.10', 'fd00:10:96::a'],
          ports: [{ port: 80, nodePort: 30_080 }],
        },
      },
    ]);
    expect(named(endpointslices, /^web-/)).toMatchObject([
      { addressType: 'IPv4', endpoints: { length: 4 } },
      { addressType: 'IPv6', endpoints: { length: 4 } },
    ]);
    expect(named(endpointslices, /^none-/)).toMatchObject([{ endpoints: [] }]);
  });

  it.each([
    ['a Service that is not there', { from: TUTORIAL_CLIENT, to: 'shop/nothing' }],
    ['a Pod that is not there', { from: 'nobody', to: 'shop/web' }],
  ])('says so when asked for %s', async (_, options) => {
    await expect(lab.request({ ...options, count: 1 })).rejects.toThrow(/lab: there is no/);
  });

  it('does nothing when asked for nothing', async () => {
    expect(await lab.request({ from: TUTORIAL_CLIENT, to: 'shop/web', count: 0 })).toEqual([]);
  });
});

describe('options that cannot be built', () => {
  const client = { namespace: 'default', name: 'x', ip: '10.44.0.9' };
  it.each<[string, Partial<LabOptions>]>([
    ['an address twice', { pods: [...TUTORIAL.pods, { ...client, ip: '10.44.0.1' }] }],
    ['a Pod with the name of the node', { pods: [...TUTORIAL.pods, { ...client, name: 'node' }] }],
    ['an address that is none', { pods: [...TUTORIAL.pods, { ...client, ip: '10.44.0.999' }] }],
    ['an IPv6 Pod without a range', { pods: [...TUTORIAL.pods, { ...client, ip6: 'fd00::9' }] }],
    ['an endpoint that is no Pod', { pods: [client] }],
    [
      'a ClusterIP that is no address',
      { services: [{ ...WEB, port: 1, clusterIP: 'x', targetPort: 1 }] },
    ],
    [
      'an IPv6 Service over IPv4 Pods',
      { services: [{ ...WEB, port: 1, clusterIP: 'fd00::1', targetPort: 1 }] },
    ],
  ])('are refused before anything is made: %s', async (_, change) => {
    await expect(createLab({ ...TUTORIAL, ...change })).rejects.toMatchObject({
      name: 'UsageError',
    });
  });
});
