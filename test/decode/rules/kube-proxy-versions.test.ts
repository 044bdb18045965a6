import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import type { ClientCondition, ServiceEntry } from '../../../src/model/services.js';
import { dumpOf } from './dumps.js';
import { type Endpoint, type Port, type Settings, writeRules } from './kube-proxy.js';

function conditionText(condition: ClientCondition): string {
  const what =
    condition.is === 'network'
      ? condition.network
      : condition.is === 'interface'
        ? condition.name
        : 'local';
  return condition.negated ? `not ${what}` : what;
}

/** Entries in the words of `writeRules`, an array an entry. */
function blocks(entries: readonly ServiceEntry[]): string[][] {
  return entries.map((e) => {
    const name = e.service
      ? `${e.service.namespace}/${e.service.name}:${e.service.portName ?? ''}`
      : '-';
    const how = e.refusal === undefined ? e.action : `${e.action} ${e.refusal}`;
    return [
      `${e.protocol} ${e.address} ${e.port} ${e.via} ${name}${e.nameUnverified ? '?' : ''} ${how}${e.notLoopback ? ' not loopback' : ''}`,
      ...e.routes.map(({ ip, port, rule, clients }) => {
        const open = clients?.map((all) => all.map(conditionText).join(' & ')).sort();
        return `  ${ip} ${port} <- ${rule.path.join(' > ')} (${rule.affinity ? 'affinity' : rule.probability})${open === undefined ? '' : ` for ${open.join(' or ')}`}`;
      }),
    ];
  });
}

/** Lines of entries with their routes as blocks, sorted: kube-proxy's order of Services is random. */
function sorted(lines: readonly string[]): string[][] {
  const all: string[][] = [];
  for (const line of lines) {
    if (line.startsWith(' ')) all.at(-1)?.push(line);
    else all.push([line]);
  }
  return all.sort(byHead);
}

function byHead([a = '']: readonly string[], [b = '']: readonly string[]): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function read(ports: readonly Port[], settings: Settings): { got: string[][]; want: string[][] } {
  const { nat, filter, expected } = writeRules(ports, settings);
  const got = blocks(iptablesServices(dumpOf(nat, filter))).sort(byHead);
  return { got, want: sorted(expected) };
}

const ALL_VERSIONS = [14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 31, 33, 36];

const local = (ip: string, port = 8080): Endpoint => ({ ip, port, here: true });
const distant = (ip: string, port = 8080): Endpoint => ({ ip, port, here: false });
const ENDPOINTS = [local('10.244.1.4'), distant('10.244.2.3'), distant('10.244.2.9')];
const BASE: Port = {
  namespace: 'shop',
  name: 'web',
  portName: 'http',
  protocol: 'tcp',
  clusterIP: '10.96.0.9',
  port: 80,
  endpoints: ENDPOINTS,
};
const OPEN = {
  nodePort: 30080,
  externalIPs: ['192.0.2.7'],
  loadBalancerIPs: ['198.51.100.1', '198.51.100.2'],
} as const;
const RANGES = ['203.0.113.0/24', '10.0.0.0/8'];
const PODS = '-s 10.244.0.0/16';

/** One of each sort of Service that a version writes rules for. */
const SERVICES: readonly (readonly [string, Partial<Port>])[] = [
  ['one endpoint', { endpoints: ENDPOINTS.slice(0, 1) }],
  ['three endpoints', {}],
  ['eleven endpoints', { endpoints: Array.from({ length: 11 }, (_, i) => local(`10.1.0.${i}`)) }],
  ['an unnamed port', { portName: '' }],
  ['UDP', { protocol: 'udp', port: 53, endpoints: [distant('10.244.2.3', 5353)] }],
  ['SCTP', { protocol: 'sctp', ...OPEN }],
  ['no endpoints', { endpoints: [], ...OPEN }],
  ['no endpoints and source ranges', { endpoints: [], sourceRanges: RANGES, ...OPEN }],
  ['affinity', { affinity: 10_800, ...OPEN }],
  ['every way in', OPEN],
  ['externalTrafficPolicy Local', { external: 'Local', ...OPEN }],
  [
    'externalTrafficPolicy Local without a local endpoint',
    { external: 'Local', endpoints: ENDPOINTS.slice(1), ...OPEN },
  ],
  ['externalTrafficPolicy Local with affinity', { external: 'Local', affinity: 10, ...OPEN }],
  ['internalTrafficPolicy Local', { internal: 'Local' }],
  [
    'internalTrafficPolicy Local without a local endpoint',
    { internal: 'Local', endpoints: ENDPOINTS.slice(1) },
  ],
  ['both policies Local', { internal: 'Local', external: 'Local', nodePort: 30080 }],
  ['source ranges', { sourceRanges: RANGES, ...OPEN }],
  [
    'source ranges and externalTrafficPolicy Local',
    { sourceRanges: RANGES, external: 'Local', ...OPEN },
  ],
  [
    'source ranges and externalTrafficPolicy Local without a local endpoint',
    { sourceRanges: RANGES, external: 'Local', endpoints: ENDPOINTS.slice(1), ...OPEN },
  ],
];

describe.each(ALL_VERSIONS)('the rules of Kubernetes 1.%i', (minor) => {
  test.each(SERVICES)('%s', (_, port) => {
    const { got, want } = read([{ ...BASE, ...port }], { minor, detector: PODS });
    expect(want.length).toBeGreaterThan(0);
    expect(got).toEqual(want);
  });
});

const SETTINGS: readonly (readonly [string, Omit<Settings, 'minor'>])[] = [
  ['the Pods are known by a bridge', { detector: '-i cni0' }],
  ['the Pods are known by the names of their interfaces', { detector: '-i cali+' }],
  ['the Pods are not known', {}],
  ['everything is masqueraded', { masqueradeAll: true }],
  ['the cluster is large', { large: true, detector: PODS }],
  [
    'NodePorts are limited to addresses',
    { nodePortAddresses: ['192.168.77.11', '192.168.78.11'], detector: PODS },
  ],
  ['there are no NodePorts on localhost', { localhostNodePorts: false, detector: PODS }],
  ['the node itself lies in the source ranges', { nodeInRanges: true, detector: PODS }],
];

describe.each(SETTINGS)('where %s', (_, settings) => {
  const mixed = SERVICES.map(([, port], i) => ({
    ...BASE,
    ...port,
    name: `web-${i}`,
    clusterIP: `10.96.1.${i}`,
    ...(port.nodePort !== undefined && { nodePort: 30_000 + i }),
    ...(port.externalIPs && { externalIPs: [`192.0.2.${i}`] }),
    ...(port.loadBalancerIPs && { loadBalancerIPs: [`198.51.100.${i}`] }),
  }));

  test.each(ALL_VERSIONS)('all Services of a node of 1.%i are read', (minor) => {
    const { got, want } = read(mixed, { minor, ...settings });
    expect(got).toEqual(want);
  });
});

test.each(ALL_VERSIONS)('IPv6 in 1.%i', (minor) => {
  const { got, want } = read(
    [
      {
        ...BASE,
        ...OPEN,
        clusterIP: 'fd00:10:96::9',
        externalIPs: ['2001:db8::7'],
        loadBalancerIPs: ['2001:db8::1'],
        sourceRanges: ['2001:db8:1::/48'],
        external: 'Local',
        affinity: 10,
        endpoints: [local('fd00:10:244:1::4'), distant('fd00:10:244:2::3')],
      },
    ],
    { minor, family: 6, detector: '-s fd00:10:244::/56' },
  );
  expect(got).toEqual(want);
});

describe('of any configuration', () => {
  const small = fc.integer({ min: 0, max: 12 });
  const port = fc.record(
    {
      portName: fc.constantFrom('', 'http', 'dns-tcp'),
      protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const),
      isOpen: fc.boolean(),
      hasRanges: fc.boolean(),
      external: fc.constantFrom('Cluster' as const, 'Local' as const),
      internal: fc.constantFrom('Cluster' as const, 'Local' as const),
      isSticky: fc.boolean(),
      here: small,
      elsewhere: small,
    },
    { noNullPrototype: true },
  );
  const settings = fc.record({
    minor: fc.integer({ min: 14, max: 36 }),
    detector: fc.constantFrom(undefined, PODS, '-i cali+'),
    masqueradeAll: fc.boolean(),
    large: fc.boolean(),
    isLimited: fc.boolean(),
    localhostNodePorts: fc.boolean(),
  });

  test('every endpoint of every entry is found, with the chance that the kernel gives it, and nothing else', () => {
    fc.assert(
      fc.property(fc.array(port, { minLength: 1, maxLength: 6 }), settings, (drawn, drawnFor) => {
        const ports = drawn.map(
          ({ isOpen, hasRanges, isSticky, here, elsewhere, ...p }, i): Port => {
            const at = (sort: number) => (_: unknown, j: number) => ({
              ip: `10.${sort}.${i}.${j}`,
              port: 8_000 + j,
              here: sort === 1,
            });
            return {
              ...p,
              // Up to 1.23 the filtered endpoints of this policy were those of the others too.
              ...(p.internal === 'Local' &&
                drawnFor.minor < 24 && { external: 'Cluster' as const }),
              namespace: `ns-${i % 3}`,
              name: `svc.${i}`,
              clusterIP: `10.96.0.${i}`,
              port: 80 + i,
              ...(isOpen && {
                nodePort: 30_000 + i,
                externalIPs: [`192.0.2.${i}`],
                loadBalancerIPs: [`198.51.100.${i}`],
              }),
              ...(hasRanges && { sourceRanges: RANGES }),
              ...(isSticky && { affinity: 60 }),
              endpoints: [
                ...Array.from({ length: here }, at(1)),
                ...Array.from({ length: elsewhere }, at(2)),
              ],
            };
          },
        );
        const { isLimited, detector, ...rest } = drawnFor;
        const full: Settings = {
          ...rest,
          ...(detector !== undefined && { detector }),
          ...(isLimited && { nodePortAddresses: ['192.168.77.11'] }),
        };
        const { nat, filter, expected, shares } = writeRules(ports, full);
        const got = blocks(iptablesServices(dumpOf(nat, filter))).sort(byHead);
        expect(got).toEqual(sorted(expected));
        // What was compared with are these fractions: each branch shares out exactly one connection.
        for (const branch of shares) {
          const sum = branch.reduce((a, b) => a + b, 0n);
          expect(sum).toBe((1n << 31n) ** BigInt(branch.length));
        }
      }),
      { numRuns: 150 },
    );
  });
});
