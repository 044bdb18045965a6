import { describe, expect, test } from 'vitest';
import { datapathOf } from '../../../src/decode/rules/datapath.js';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { dumpOf, onlyDump, recorded } from './dumps.js';
import { IPVS_RULES } from './ipvs.js';
import { writeRules } from './kube-proxy.js';
import { listRules } from './kube-proxy-nft.js';
import { BASE } from './services.js';

describe('who directs Services, by iptables', () => {
  const { nat, filter } = writeRules([BASE], { minor: 30 });
  const empty = writeRules([], { minor: 30 });
  const cilium = [
    '-A PREROUTING -m comment --comment "cilium-feeder: CILIUM_PRE_nat" -j CILIUM_PRE_nat',
    '-A CILIUM_POST_nat ! -d 10.0.0.0/8 -o eth0 -j MASQUERADE',
  ];
  const calico = [
    '-A PREROUTING -m comment --comment "cali:abc" -j cali-PREROUTING',
    '-A cali-PREROUTING -m comment --comment "cali:def" -j cali-fip-dnat',
  ];
  const bpf =
    '-A cali-FORWARD -m comment --comment "cali:ghi" -m comment --comment "Pre-approved by BPF programs." -m mark --mark 0x1000000/0x1000000 -j ACCEPT';

  test.each([
    ['kube-proxy in iptables mode', nat, filter, 'iptables'],
    ['kube-proxy without a Service', empty.nat, empty.filter, 'iptables'],
    ['kube-proxy in ipvs mode', IPVS_RULES, [], 'ipvs'],
    [
      'in ipvs mode for IPv6',
      IPVS_RULES.map((rule) => rule.replace('--match-set KUBE-', '--match-set KUBE-6-')),
      [],
      'ipvs',
    ],
    ['Cilium alone', cilium, [], 'Cilium'],
    ['Cilium beside kube-proxy', [...cilium, ...nat], filter, 'iptables'],
    ['Calico beside kube-proxy', [...calico, ...nat], [...filter, bpf], 'iptables'],
    ['Calico in eBPF mode', calico, [bpf], 'Calico'],
    ['Calico, of whose mode nothing tells', calico, [], undefined],
    [
      'OVN-Kubernetes',
      ['-A OUTPUT -j OVN-KUBE-NODEPORT', '-A OVN-KUBE-NODEPORT -j RETURN'],
      [],
      'OVN-Kubernetes',
    ],
    ['Docker', ['-A PREROUTING -j DOCKER', '-A DOCKER -i docker0 -j RETURN'], [], undefined],
    ['nothing', [], [], undefined],
  ])('%s', (_, rules, more, expected) => {
    expect(datapathOf(dumpOf(rules, more))).toBe(expected);
  });

  test('a dump without the nat table does not tell', () => {
    expect(datapathOf(onlyDump('*filter\n:KUBE-SERVICES - [0:0]\nCOMMIT\n'))).toBeUndefined();
    expect(datapathOf(onlyDump(recorded('1.30-iptables-nft.ip6tables-save.txt.gz')))).toBe(
      'iptables',
    );
  });
});

test.each([
  ['kube-proxy in nftables mode', listRules([BASE], { minor: 33 }).json, 'nftables'],
  [
    'a table that is kube-proxy’s by name alone',
    '{"nftables":[{"table":{"family":"ip","name":"kube-proxy"}},{"chain":{"family":"ip","table":"kube-proxy","name":"x"}}]}',
    undefined,
  ],
])('by nftables: %s', (_, json, expected) => {
  const [rules] = readNftJson(Buffer.from(json)).rules;
  expect(rules === undefined ? 'no rules' : datapathOf(rules)).toBe(expected);
});
