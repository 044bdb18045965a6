import type { NodeFacts, RuleSetFacts } from '../../../src/model/doctor.js';

/** The rules of one family as kube-proxy 1.30 writes them through iptables-nft. */
export const IPTABLES: RuleSetFacts = {
  kind: 'iptables',
  family: 4,
  backend: 'nft',
  program: 'iptables-nft-save',
  version: '1.8.9',
  datapath: 'iptables',
  addresses: 12,
  from: '1.25',
  owners: [],
  untracked: 0,
};
export const NFTABLES: RuleSetFacts = {
  ...IPTABLES,
  kind: 'nftables',
  program: 'nft -j list table ip kube-proxy',
  version: '1.0.6',
  datapath: 'nftables',
  from: '1.33',
};

const program = (name: string, version: string, backend?: 'nft' | 'legacy') => ({
  name,
  found: { path: name, version, ...(backend && { backend }) },
});

/** A node on which live works and misses nothing but what is the kernel's default. */
export const HEALTHY: NodeFacts = {
  process: {
    platform: 'linux',
    arch: 'x64',
    version: '20.20.2',
    uid: 0,
    effective: ['NET_ADMIN', 'NET_RAW', 'SYS_ADMIN'],
    ambient: [],
    firstUserNamespace: true,
    addon: { ok: true },
    cap: { ok: true },
    ring: { ok: true },
    netlink: { ok: true },
    buffer: { asked: 134_217_728, granted: 134_217_728 },
  },
  namespace: {
    own: 'net:[4026531840]',
    first: 'net:[4026531840]',
    initial: true,
    firstProcessIsTheMachines: true,
    inPod: false,
  },
  programs: [
    program('conntrack', '1.4.8'),
    program('iptables-nft-save', '1.8.9', 'nft'),
    program('iptables-legacy-save', '1.8.9', 'legacy'),
    program('iptables-save', '1.8.9', 'nft'),
    program('ip6tables-nft-save', '1.8.9', 'nft'),
    program('ip6tables-legacy-save', '1.8.9', 'legacy'),
    program('ip6tables-save', '1.8.9', 'nft'),
    program('nft', '1.0.6'),
  ],
  rules: { sets: [IPTABLES], faults: [], proxyMode: 'iptables', proxyVersion: '1.30.5' },
  conntrack: {
    settings: {
      events: 1,
      acct: 1,
      timestamp: 1,
      max: 262_144,
      count: 1_311,
      buckets: 262_144,
      tcp_loose: 1,
      tcp_be_liberal: 0,
    },
    counters: { insert_failed: 0, drop: 0, early_drop: 0 },
    bridgeCalls: 1,
    rmemMax: 212_992,
    rmemDefault: 212_992,
  },
  interfaces: {
    list: [
      { name: 'lo', up: true },
      { name: 'eth0', up: true },
      { name: 'cni0', kind: 'bridge', up: true },
      { name: 'veth1a2b3c4d', kind: 'veth', master: 'cni0', leadsAway: true, up: true },
      { name: 'veth5e6f7081', kind: 'veth', master: 'cni0', leadsAway: true, up: true },
    ],
    bpf: [],
    how: 'ip -d -j link show',
  },
  cluster: {
    config: '/etc/kubernetes/admin.conf',
    server: 'https://10.0.0.1:6443',
    rights: ['pods', 'services', 'endpointslices', 'nodes'].flatMap((resource) =>
      (['list', 'watch'] as const).map((verb) => ({ resource, verb, allowed: true })),
    ),
    rightsHow: 'POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
    skew: { ms: 120, uncertaintyMs: 510 },
    nodeName: 'node1',
    nodeFound: true,
    kubelet: 'v1.30.5',
  },
  clock: {
    source: 'tsc',
    synchronised: true,
    synchronisedHow: 'chronyc -n -c tracking',
    jumpMs: 0,
  },
};

type Part = keyof NodeFacts;
type Change = { readonly [K in Part]?: Partial<NodeFacts[K]> };

/** The healthy node with some facts changed; `undefined` takes one away. */
export function nodeWith(change: Change): NodeFacts {
  const facts: Record<string, unknown> = { ...HEALTHY };
  for (const [part, fields] of Object.entries(change)) {
    const changed = { ...HEALTHY[part as Part], ...fields };
    facts[part] = Array.isArray(fields)
      ? fields
      : Object.fromEntries(Object.entries(changed).filter(([, value]) => value !== undefined));
  }
  return facts as unknown as NodeFacts;
}

/** The programs without some, and with other versions of others. */
export function programsWith(
  versions: Readonly<Record<string, string | undefined>>,
): NodeFacts['programs'] {
  return HEALTHY.programs.map((one) => {
    if (!(one.name in versions)) return one;
    const version = versions[one.name];
    return version === undefined
      ? { name: one.name }
      : { name: one.name, found: { ...one.found, path: one.name, version } };
  });
}
