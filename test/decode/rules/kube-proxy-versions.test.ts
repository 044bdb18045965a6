import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import { blocks, byHead, sorted } from './blocks.js';
import { dumpOf } from './dumps.js';
import { type Port, type Settings, writeRules } from './kube-proxy.js';
import { BASE, distant, local, OPEN, PODS, RANGES, SERVICES } from './services.js';

function read(ports: readonly Port[], settings: Settings): { got: string[][]; want: string[][] } {
  const { nat, filter, expected } = writeRules(ports, settings);
  const got = blocks(iptablesServices(dumpOf(nat, filter))).sort(byHead);
  return { got, want: sorted(expected) };
}

const ALL_VERSIONS = [14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 30, 31, 33, 36];

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
