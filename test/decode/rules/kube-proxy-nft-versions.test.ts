import { describe, expect, test } from 'vitest';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { nftServices } from '../../../src/decode/rules/nft-services.js';
import type { Problem } from '../../../src/model/problem.js';
import { blocks, byHead, sorted } from './blocks.js';
import type { Port } from './kube-proxy.js';
import { listRules, type NftSettings } from './kube-proxy-nft.js';
import { BASE, distant, local, OPEN, RANGES, SERVICES } from './services.js';

function read(
  ports: readonly Port[],
  settings: NftSettings,
): { got: string[][]; want: string[][] } {
  const { json, expected } = listRules(ports, settings);
  const { rules, problems } = readNftJson(Buffer.from(json));
  expect(problems).toEqual([]);
  const [only, ...more] = rules;
  if (only === undefined || more.length > 0) throw new Error(`${rules.length} tables`);
  const found: Problem[] = [];
  const got = blocks(nftServices(only, found)).sort(byHead);
  expect(found).toEqual([]);
  return { got, want: sorted(expected) };
}

const VERSIONS = [29, 30, 31, 33, 35, 36];
const NODE = ['192.168.77.11'];
const PODS = '10.244.0.0/16';

describe.each(VERSIONS)('the table of Kubernetes 1.%i', (minor) => {
  test.each(SERVICES)('%s', (_, port) => {
    const { got, want } = read([{ ...BASE, ...port }], {
      minor,
      detector: PODS,
      nodePortAddresses: NODE,
    });
    expect(want.length).toBeGreaterThan(0);
    expect(got).toEqual(want);
  });
});

const SETTINGS: readonly (readonly [string, Omit<NftSettings, 'minor'>])[] = [
  ['NodePorts are taken at all addresses', { detector: PODS }],
  ['the node has no address that takes NodePorts', { detector: PODS, nodePortAddresses: [] }],
  ['NodePorts are taken at two addresses', { nodePortAddresses: [...NODE, '192.168.78.11'] }],
  ['the Pods are known by the names of their interfaces', { detector: 'cali*' }],
  ['everything is masqueraded', { masqueradeAll: true }],
  ['a newer nft prints', { detector: PODS, newer: true }],
  ['the whole rule set is listed', { detector: PODS, whole: true, nodePortAddresses: NODE }],
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
    ...(port.sourceRanges && { sourceRanges: i % 2 === 0 ? RANGES : RANGES.slice(1) }),
  }));

  test.each(VERSIONS)('all Services of a node of 1.%i are read', (minor) => {
    const { got, want } = read(mixed, { minor, ...settings });
    expect(got).toEqual(want);
  });
});

test.each(VERSIONS)('IPv6 in 1.%i', (minor) => {
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
    { minor, family: 6, detector: 'fd00:10:244::/56' },
  );
  expect(got).toEqual(want);
});
