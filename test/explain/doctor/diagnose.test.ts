import { readFileSync } from 'node:fs';
import { describe, expect, it, test } from 'vitest';
import { diagnose } from '../../../src/explain/doctor/diagnose.js';
import type { Check, NodeFacts } from '../../../src/model/doctor.js';
import { HEALTHY, IPTABLES, NFTABLES, nodeWith, programsWith } from './facts.js';

type Row = readonly [
  name: string,
  facts: NodeFacts,
  check: string,
  level: Check['level'],
  fact: RegExp,
  remedy?: RegExp,
];

const veth = (name: string, master?: string) => ({
  name,
  kind: 'veth',
  leadsAway: true,
  up: true,
  ...(master !== undefined && { master }),
});
const interfaces = (...names: string[]): NodeFacts => {
  const list = ['lo', 'eth0', ...names].map((name) =>
    /^(?:veth|cali|lxc|eni|gke|azv)/.test(name) ? veth(name) : { name, up: true },
  );
  return nodeWith({ interfaces: { list } });
};
const addonless = {
  addon: { ok: false, reason: 'not built' },
  ring: undefined,
  netlink: undefined,
  buffer: undefined,
} as unknown as NodeFacts['process'];
const noRules = { sets: [], proxyMode: undefined, proxyVersion: undefined } as unknown as object;
const { process: own, cluster: api } = HEALTHY;
if (api === undefined) throw new Error('the healthy node has a cluster');

const PROCESS: readonly Row[] = [
  ['Linux', HEALTHY, 'platform', 'ok', /^Linux on x64$/],
  [
    'macOS',
    nodeWith({ process: { platform: 'darwin' } }),
    'platform',
    'fail',
    /this is darwin$/,
    /replay/,
  ],
  [
    'the oldest Node',
    nodeWith({ process: { version: '20.19.0' } }),
    'node-version',
    'ok',
    /20\.19\.0/,
  ],
  [
    'a Node that is too old',
    nodeWith({ process: { version: '20.9.5' } }),
    'node-version',
    'fail',
    /older than 20\.19\.0/,
    /install/,
  ],
  ['a newer Node', nodeWith({ process: { version: '24.1.0' } }), 'node-version', 'ok', /24/],
  ['root', HEALTHY, 'capabilities', 'ok', /CAP_NET_RAW and CAP_NET_ADMIN/],
  [
    'no capability',
    nodeWith({ process: { uid: 1000, effective: [] } }),
    'capabilities',
    'fail',
    /without CAP_NET_RAW and CAP_NET_ADMIN/,
    /NET_RAW and NET_ADMIN/,
  ],
  [
    'NET_RAW alone',
    nodeWith({ process: { effective: ['NET_RAW'] } }),
    'capabilities',
    'warn',
    /without CAP_NET_ADMIN$/,
    /NET_ADMIN/,
  ],
  [
    'file capabilities',
    nodeWith({ process: { uid: 1000 } }),
    'capabilities',
    'warn',
    /do not inherit/,
    /ambient/,
  ],
  [
    'ambient capabilities',
    nodeWith({ process: { uid: 1000, ambient: ['NET_ADMIN', 'NET_RAW'] } }),
    'capabilities',
    'ok',
    /^CAP/,
  ],
  [
    'no /proc',
    nodeWith({ process: { effective: undefined } as never }),
    'capabilities',
    'warn',
    /does not tell/,
    /\/proc/,
  ],
  [
    'a user namespace',
    nodeWith({ process: { firstUserNamespace: false } }),
    'user-namespace',
    'warn',
    /of its own/,
    /hostUsers/,
  ],
  ['no addon', nodeWith({ process: addonless }), 'addon', 'warn', /not built/, /build:native/],
  ['no addon, but cap', nodeWith({ process: addonless }), 'packets', 'ok', /by cap/],
  [
    'no addon, cap without a right',
    nodeWith({ process: { ...addonless, effective: [] } }),
    'packets',
    'fail',
    /CAP_NET_RAW is missing/,
    /NET_RAW/,
  ],
  [
    'neither addon nor cap',
    nodeWith({ process: { ...addonless, cap: { ok: false, reason: 'no libpcap' } } }),
    'cap',
    'fail',
    /no libpcap/,
    /libpcap-dev/,
  ],
  [
    'neither, so no packets',
    nodeWith({ process: { ...addonless, cap: { ok: false, reason: 'no libpcap' } } }),
    'packets',
    'fail',
    /neither/,
  ],
  [
    'no cap beside the addon',
    nodeWith({ process: { cap: { ok: false, reason: 'no libpcap' } } }),
    'cap',
    'ok',
    /the ring needs none/,
  ],
  [
    'a ring that is refused',
    nodeWith({ process: { ring: { ok: false, reason: 'socket: EPERM', denied: true } } }),
    'packets',
    'fail',
    /EPERM/,
    /NET_RAW/,
  ],
  [
    'a ring without memory',
    nodeWith({ process: { ring: { ok: false, reason: 'setsockopt: ENOMEM', denied: false } } }),
    'packets',
    'fail',
    /ENOMEM/,
    /memory/,
  ],
  [
    'events that are refused',
    nodeWith({ process: { netlink: { ok: false, reason: 'bind: EPERM', denied: true } } }),
    'conntrack-socket',
    'warn',
    /EPERM/,
    /NET_ADMIN/,
  ],
  [
    'a kernel without events',
    nodeWith({ process: { netlink: { ok: false, reason: 'socket: EPROTONOSUPPORT' } } }),
    'conntrack-socket',
    'warn',
    /EPROTO/,
    /nf_conntrack_netlink/,
  ],
  ['the whole buffer', HEALTHY, 'receive-buffer', 'ok', /^128 MiB/],
  [
    'a buffer that is cut',
    nodeWith({ process: { buffer: { asked: 134_217_728, granted: 425_984 } } }),
    'receive-buffer',
    'warn',
    /0\.4 MiB .* room for 332 .*128 were asked/,
    /rmem_max, now 212992$/,
  ],
];

const podList = [{ name: 'lo', up: true }, veth('eth0')];
const away = { initial: false, own: 'net:[4026532591]' };
const NODE: readonly Row[] = [
  ["the machine's namespace", HEALTHY, 'network-namespace', 'ok', /machine's own/],
  [
    'a node in a container',
    nodeWith({ namespace: away }),
    'network-namespace',
    'ok',
    /with kube-proxy's rules/,
  ],
  [
    'one of ipvs',
    nodeWith({ namespace: away, rules: { ...noRules, ipvs: 'the device kube-ipvs0' } }),
    'network-namespace',
    'ok',
    /with kube-proxy's rules/,
  ],
  [
    'one with Pods alone',
    nodeWith({ namespace: away, rules: noRules }),
    'network-namespace',
    'ok',
    /lead to Pods/,
  ],
  [
    'a Pod',
    nodeWith({
      namespace: { ...away, inPod: true },
      rules: noRules,
      interfaces: { list: podList },
    }),
    'network-namespace',
    'fail',
    /a Pod's own/,
    /hostNetwork: true/,
  ],
  [
    "a Pod's namespace from outside",
    nodeWith({ namespace: away, rules: noRules, interfaces: { list: podList } }),
    'network-namespace',
    'fail',
    /a Pod's own/,
    /nsenter/,
  ],
  [
    'a Pod with tunnels that every namespace gets',
    nodeWith({
      namespace: away,
      rules: noRules,
      interfaces: { list: [...podList, { name: 'tunl0', kind: 'ipip', up: false }] },
    }),
    'network-namespace',
    'fail',
    /a Pod's own/,
  ],
  [
    'an empty namespace',
    nodeWith({ namespace: away, rules: noRules, interfaces: { list: [{ name: 'lo', up: true }] } }),
    'network-namespace',
    'fail',
    /not the network namespace of process 1/,
    /nsenter/,
  ],
  [
    'an empty namespace in a container',
    nodeWith({
      namespace: { ...away, firstProcessIsTheMachines: false },
      rules: noRules,
      interfaces: { list: [{ name: 'lo', up: true }] },
    }),
    'network-namespace',
    'fail',
    /not the machine's own/,
  ],
  [
    'some other namespace',
    nodeWith({
      namespace: away,
      rules: noRules,
      interfaces: {
        list: [
          { name: 'lo', up: true },
          { name: 'dummy0', kind: 'dummy', up: true },
        ],
      },
    }),
    'network-namespace',
    'warn',
    /without Pods/,
    /nsenter/,
  ],
  ['a clock that is kept', HEALTHY, 'clock', 'ok', /^synchronised, kept by tsc$/],
  [
    'a clock that is not',
    nodeWith({ clock: { synchronised: false } }),
    'clock',
    'warn',
    /not synchronised/,
    /chrony/,
  ],
  [
    'a clock of which nobody tells',
    nodeWith({ clock: { synchronised: undefined } as never }),
    'clock',
    'ok',
    /nothing here tells/,
  ],
  [
    'a clock that jumps',
    nodeWith({ clock: { jumpMs: -412 } }),
    'clock',
    'warn',
    /moved by -412 ms/,
    /slewed/,
  ],
];

const old = (version: string): NodeFacts =>
  nodeWith({ programs: programsWith({ 'iptables-nft-save': version }) as never });
const PROGRAMS: readonly Row[] = [
  ['conntrack is there', HEALTHY, 'conntrack', 'ok', /^conntrack 1\.4\.8; netlink is used/],
  [
    'conntrack is not needed',
    nodeWith({ programs: programsWith({ conntrack: undefined }) as never }),
    'conntrack',
    'ok',
    /netlink needs none/,
  ],
  [
    'conntrack is needed',
    nodeWith({ process: addonless, programs: programsWith({ conntrack: undefined }) as never }),
    'conntrack',
    'warn',
    /not there/,
    /install/,
  ],
  [
    '1.4.7, not used',
    nodeWith({ programs: programsWith({ conntrack: '1.4.7' }) as never }),
    'conntrack',
    'ok',
    /-b has no effect.*netlink is used/,
  ],
  [
    '1.4.7, used',
    nodeWith({ process: addonless, programs: programsWith({ conntrack: '1.4.7' }) as never }),
    'conntrack',
    'warn',
    /-b has no effect/,
    /rmem_default/,
  ],
  [
    '1.4.3, used',
    nodeWith({ process: addonless, programs: programsWith({ conntrack: '1.4.3' }) as never }),
    'conntrack',
    'warn',
    /ends when its buffer overruns/,
  ],
  ['1.4.8, used', nodeWith({ process: addonless }), 'conntrack', 'ok', /^conntrack 1\.4\.8$/],
  [
    'iptables of both back ends',
    HEALTHY,
    'iptables',
    'ok',
    /^iptables-nft-save 1\.8\.9, iptables-legacy-save 1\.8\.9$/,
  ],
  [
    'iptables by its plain name',
    nodeWith({
      programs: programsWith({
        'iptables-nft-save': undefined,
        'iptables-legacy-save': undefined,
      }) as never,
    }),
    'iptables',
    'ok',
    /^iptables-save 1\.8\.9$/,
  ],
  [
    'no iptables',
    nodeWith({
      programs: programsWith({
        'iptables-nft-save': undefined,
        'iptables-legacy-save': undefined,
        'iptables-save': undefined,
      }) as never,
    }),
    'iptables',
    'warn',
    /not there/,
    /install the package iptables/,
  ],
  [
    'no iptables where nftables mode is',
    nodeWith({
      rules: { sets: [NFTABLES] },
      programs: programsWith({
        'iptables-nft-save': undefined,
        'iptables-legacy-save': undefined,
        'iptables-save': undefined,
      }) as never,
    }),
    'iptables',
    'ok',
    /rules are nftables'/,
  ],
  [
    'iptables 1.8.2 and rules of nft',
    old('1.8.2'),
    'iptables',
    'warn',
    /1\.8\.2 misreads/,
    /newer/,
  ],
  [
    'iptables 1.8.7 and rules of nft',
    old('1.8.7'),
    'iptables',
    'warn',
    /leaves out the mark/,
    /newer/,
  ],
  ['iptables 1.8.8 and rules of nft', old('1.8.8'), 'iptables', 'ok', /1\.8\.8/],
  ['iptables 1.8.10 and rules of nft', old('1.8.10'), 'iptables', 'ok', /1\.8\.10/],
  [
    'iptables 1.8.7 and legacy rules',
    nodeWith({
      rules: { sets: [{ ...IPTABLES, backend: 'legacy' }] },
      programs: programsWith({ 'iptables-nft-save': '1.8.7' }) as never,
    }),
    'iptables',
    'ok',
    /1\.8\.7/,
  ],
  [
    'iptables in a Pod',
    nodeWith({ namespace: { inPod: true } }),
    'iptables',
    'ok',
    /the container's own/,
  ],
  ['nft is there', HEALTHY, 'nft', 'ok', /^nft 1\.0\.6$/],
  [
    'nft is not needed',
    nodeWith({ programs: programsWith({ nft: undefined }) as never }),
    'nft',
    'ok',
    /only .* nftables mode need/,
  ],
  [
    'nft is needed',
    nodeWith({
      rules: { ...noRules, proxyMode: 'nftables' },
      programs: programsWith({ nft: undefined }) as never,
    }),
    'nft',
    'warn',
    /not there/,
    /install the package nftables/,
  ],
  [
    'an old nft in nftables mode',
    nodeWith({ rules: { sets: [NFTABLES] }, programs: programsWith({ nft: '0.9.8' }) as never }),
    'nft',
    'warn',
    /older than 1\.0\.1/,
    /1\.0\.1 or newer/,
  ],
  [
    'an old nft elsewhere',
    nodeWith({ programs: programsWith({ nft: '0.9.8' }) as never }),
    'nft',
    'ok',
    /older/,
  ],
];

const rules = (change: Partial<NodeFacts['rules']>, more: object = {}): NodeFacts =>
  nodeWith({ rules: { ...noRules, ...change }, ...more });
const bpf = (...names: string[]) => ({ interfaces: { bpf: names } });
const device = (name: string) => ({
  interfaces: { list: [...HEALTHY.interfaces.list, { name, up: true }] },
});
const fault = { program: 'iptables-nft-save', reason: 'Permission denied', denied: true };
const RULES: readonly Row[] = [
  ['kube-proxy', HEALTHY, 'datapath', 'ok', /^kube-proxy translates in netfilter$/],
  [
    'ipvs by its device',
    rules({ ipvs: 'the device kube-ipvs0' }),
    'datapath',
    'warn',
    /ipvs directs .*kube-ipvs0/,
    /objects/,
  ],
  [
    'ipvs by its rules',
    rules({ sets: [{ ...IPTABLES, datapath: 'ipvs' }] }),
    'datapath',
    'warn',
    /ask ipsets/,
  ],
  [
    'Cilium by its chains',
    rules({ sets: [{ ...IPTABLES, datapath: 'Cilium' }] }),
    'datapath',
    'fail',
    /in its place: Cilium/,
    /hubble/,
  ],
  [
    'Cilium by its maps',
    rules({}, bpf('cilium_lb4_services_v2')),
    'datapath',
    'fail',
    /BPF map cilium_lb4_services_v2/,
  ],
  [
    'Cilium by its device',
    rules({}, device('cilium_host')),
    'datapath',
    'fail',
    /device cilium_host/,
  ],
  [
    'Cilium beside kube-proxy',
    nodeWith(device('cilium_host')),
    'datapath',
    'ok',
    /Cilium \(device cilium_host\) beside it/,
  ],
  [
    'Cilium with a load balancer beside kube-proxy',
    nodeWith(bpf('cilium_lb4_backends_v3')),
    'datapath',
    'warn',
    /may direct Services before/,
    /--cleanup/,
  ],
  ['Calico in eBPF mode', rules({}, bpf('cali_v4_nat_fe3')), 'datapath', 'fail', /Calico eBPF/],
  [
    'Calico in eBPF mode, by its device',
    rules({}, device('bpfin.cali')),
    'datapath',
    'fail',
    /Calico eBPF/,
  ],
  [
    'Calico beside kube-proxy',
    nodeWith(device('cali0123456789a')),
    'datapath',
    'ok',
    /translates in netfilter$/,
  ],
  ['OVN-Kubernetes', rules({}, device('ovn-k8s-mp0')), 'datapath', 'fail', /OVN-Kubernetes/],
  ['Antrea', rules({}, device('antrea-gw0')), 'datapath', 'fail', /Antrea/],
  [
    'kube-router',
    rules({ ipvs: 'virtual servers in /proc/net/ip_vs' }, device('kube-dummy-if')),
    'datapath',
    'warn',
    /ipvs directs/,
  ],
  ['nobody', rules({}), 'datapath', 'warn', /nobody/, /kube-proxy running/],
  ['nobody knows', rules({ faults: [fault] }), 'datapath', 'warn', /is not known/],
  ['one back end', HEALTHY, 'back-ends', 'ok', /^iptables \(nft\): 12 Service addresses of IPv4$/],
  [
    'both families',
    rules({ sets: [{ ...IPTABLES, family: 6, addresses: 1 }, IPTABLES] }),
    'back-ends',
    'ok',
    /12 Service addresses of IPv4, 1 Service address of IPv6$/,
  ],
  [
    'both back ends',
    rules({ sets: [IPTABLES, { ...IPTABLES, backend: 'legacy' }] }),
    'back-ends',
    'warn',
    /iptables \(legacy\): .*; iptables \(nft\): /,
    /--cleanup/,
  ],
  ['iptables and nftables', rules({ sets: [IPTABLES, NFTABLES] }), 'back-ends', 'warn', /several/],
  ['no back end', rules({}), 'back-ends', 'ok', /in no back end/],
  ['a mode that is said and shown', HEALTHY, 'proxy-mode', 'ok', /^iptables, as kube-proxy says$/],
  [
    'a mode that is shown',
    rules({ sets: [NFTABLES] }),
    'proxy-mode',
    'ok',
    /^nftables, as the rules show$/,
  ],
  [
    'a mode that is said alone',
    rules({ proxyMode: 'nftables' }),
    'proxy-mode',
    'warn',
    /says nftables, and no rules/,
    /log/,
  ],
  [
    'a mode that is contradicted',
    nodeWith({ rules: { proxyMode: 'nftables' } }),
    'proxy-mode',
    'warn',
    /says nftables, its rules show iptables/,
    /--cleanup/,
  ],
  [
    'a mode and the rest of another',
    rules({ sets: [IPTABLES, NFTABLES], proxyMode: 'nftables' }),
    'proxy-mode',
    'ok',
    /rules show iptables and nftables/,
  ],
  ['no mode', rules({}), 'proxy-mode', 'ok', /no proxy mode shows/],
  ['a version that is said', HEALTHY, 'kube-proxy-version', 'ok', /^kube-proxy 1\.30\.5$/],
  [
    'a version by its shape',
    rules({ sets: [IPTABLES] }),
    'kube-proxy-version',
    'ok',
    /1\.25 or newer/,
  ],
  [
    'an old version by its shape',
    rules({ sets: [{ ...IPTABLES, from: '1.21', to: '1.23' }] }),
    'kube-proxy-version',
    'ok',
    /1\.21 to 1\.23/,
  ],
  [
    'rules that may not be read',
    nodeWith({ rules: { faults: [fault] } }),
    'rules-unread',
    'warn',
    /^not permitted: iptables-nft-save$/,
    /CAP_NET_ADMIN/,
  ],
  [
    'rules that take long',
    nodeWith({ rules: { faults: [{ program: 'nft', reason: 'not read in time', late: true }] } }),
    'rules-unread',
    'warn',
    /not read in time/,
    /live waits/,
  ],
  [
    'rules that crash nft',
    nodeWith({ rules: { faults: [{ program: 'nft', reason: 'it ended with code -1' }] } }),
    'rules-unread',
    'warn',
    /code -1/,
    /by hand/,
  ],
  [
    'rules without marks',
    nodeWith({ rules: { sets: [{ ...IPTABLES, losesMarks: true }] } }),
    'marks-lost',
    'warn',
    /iptables-nft-save 1\.8\.9 prints .* without their marks/,
    /112477/,
  ],
  [
    'rules of others',
    nodeWith({ rules: { sets: [{ ...IPTABLES, owners: ['flannel', 'Calico'] }] } }),
    'other-owners',
    'ok',
    /Calico, flannel/,
  ],
  [
    'packets kept out of conntrack',
    nodeWith({ rules: { sets: [{ ...IPTABLES, untracked: 4 }] } }),
    'untracked',
    'warn',
    /^4 rules/,
  ],
];

const settings = (change: object): NodeFacts =>
  nodeWith({ conntrack: { settings: { ...HEALTHY.conntrack.settings, ...change } } });
const counters = (change: object): NodeFacts =>
  nodeWith({ conntrack: { counters: { ...HEALTHY.conntrack.counters, ...change } } });
const CONNTRACK: readonly Row[] = [
  ['events', HEALTHY, 'events', 'ok', /^nf_conntrack_events=1$/],
  ['events while one listens', settings({ events: 2 }), 'events', 'ok', /while somebody listens/],
  ['no events', settings({ events: 0 }), 'events', 'warn', /says nothing/, /nf_conntrack_events=1/],
  ['events of a later kernel', settings({ events: 3 }), 'events', 'warn', /=3, which is not known/],
  [
    'a kernel without events',
    nodeWith({ conntrack: { settings: { max: 10 } } }),
    'events',
    'warn',
    /has no nf_conntrack_events/,
  ],
  ['no conntrack', nodeWith({ conntrack: { settings: {} } }), 'events', 'warn', /not loaded/],
  ['room', HEALTHY, 'table', 'ok', /^1311 of 262144 entries in use \(less than 1 %\)$/],
  ['none in use', settings({ count: 0 }), 'table', 'ok', /\(0 %\)$/],
  ['little room', settings({ count: 220_000 }), 'table', 'warn', /83 %/, /raise nf_conntrack_max/],
  [
    'no room',
    settings({ count: 262_144 }),
    'table',
    'warn',
    /100 %\): new connections are about to be dropped/,
  ],
  ['nothing dropped', HEALTHY, 'counters', 'ok', /nothing was dropped/],
  [
    'entries taken by others',
    counters({ insert_failed: 7 }),
    'insert-failed',
    'warn',
    /^7 packets/,
    /DNS/,
  ],
  [
    'a table that was full',
    counters({ drop: 3, early_drop: 9 }),
    'table-was-full',
    'warn',
    /3 packets dropped, 9 entries/,
  ],
  ['accounting', HEALTHY, 'accounting', 'ok', /are counted/],
  ['no accounting', settings({ acct: 0 }), 'accounting', 'ok', /are not counted/],
  ['timestamps', HEALTHY, 'timestamps', 'ok', /tell when they began/],
  ['no timestamps', settings({ timestamp: 0 }), 'timestamps', 'ok', /do not tell/],
  [
    'the usual strictness',
    HEALTHY,
    'strictness',
    'ok',
    /make a new one.*out of the window are INVALID/,
  ],
  [
    'the other way round',
    settings({ tcp_loose: 0, tcp_be_liberal: 1 }),
    'strictness',
    'ok',
    /without an entry are INVALID; .* are taken/,
  ],
];

const INTERFACES: readonly Row[] = [
  [
    'a bridge',
    HEALTHY,
    'pod-network',
    'ok',
    /^the bridge cni0, 2 interfaces to Pods: .*port of the client alone/,
  ],
  [
    'flannel',
    nodeWith({
      interfaces: {
        list: [...HEALTHY.interfaces.list, { name: 'flannel.1', kind: 'vxlan', up: true }],
      },
    }),
    'pod-network',
    'ok',
    /^flannel over the bridge cni0/,
  ],
  [
    'a bridge of another name',
    nodeWith({ interfaces: { list: [{ name: 'lo', up: true }, veth('veth0', 'mybr')] } }),
    'pod-network',
    'ok',
    /^the bridge mybr, 1 interface to Pods/,
  ],
  [
    "Docker's bridge",
    nodeWith({ interfaces: { list: [{ name: 'lo', up: true }, veth('veth0', 'docker0')] } }),
    'pod-network',
    'ok',
    /^routed veths/,
  ],
  [
    'veths',
    interfaces('veth0', 'veth1'),
    'pod-network',
    'ok',
    /^routed veths \(ptp, kindnet\), 2 interfaces/,
  ],
  ['Calico', interfaces('cali0123456789a'), 'pod-network', 'ok', /^Calico \(routed\), 1 interface/],
  ['Cilium', interfaces('cilium_host', 'lxc0123'), 'pod-network', 'ok', /^Cilium, .*no interface/],
  ['AWS', interfaces('eni0123456789a'), 'pod-network', 'ok', /^AWS VPC CNI/],
  ['GKE', interfaces('gke0123456789a'), 'pod-network', 'ok', /^GKE/],
  ['Azure', interfaces('azv01'), 'pod-network', 'ok', /^Azure CNI/],
  ['OVN-Kubernetes', interfaces('ovn-k8s-mp0'), 'pod-network', 'ok', /^OVN-Kubernetes/],
  [
    'no Pods',
    interfaces('ens5', 'wlan0', 'a', 'b', 'c'),
    'pod-network',
    'warn',
    /\(lo, eth0, ens5, wlan0, a, b, …\)$/,
    /Pods running/,
  ],
  ['a bridge with br_netfilter', HEALTHY, 'bridge-netfilter', 'ok', /=1/],
  [
    'a bridge without',
    nodeWith({ conntrack: { bridgeCalls: undefined } as never }),
    'bridge-netfilter',
    'warn',
    /not loaded/,
    /modprobe/,
  ],
  [
    'a bridge where it is off',
    nodeWith({ conntrack: { bridgeCalls: 0 } }),
    'bridge-netfilter',
    'warn',
    /=0/,
    /=1/,
  ],
  [
    'NodeLocal DNSCache',
    interfaces('nodelocaldns', 'veth0'),
    'node-local-dns',
    'warn',
    /answers itself/,
  ],
];

const cluster = (change: object): NodeFacts => nodeWith({ cluster: change });
const denied = (...what: string[]) =>
  api.rights.map((right) => ({
    ...right,
    allowed: !what.includes(`${right.verb} ${right.resource}`),
  }));
const CLUSTER: readonly Row[] = [
  [
    'an API server',
    HEALTHY,
    'api',
    'ok',
    /^https:\/\/10\.0\.0\.1:6443 answers, by \/etc\/kubernetes\/admin\.conf; kubelet v1\.30\.5$/,
  ],
  [
    'none asked',
    { ...HEALTHY, cluster: undefined } as unknown as NodeFacts,
    'api',
    'ok',
    /not asked/,
  ],
  [
    'no configuration',
    cluster({ fault: { kind: 'config', reason: 'none found' } }),
    'api',
    'warn',
    /none found/,
    /--kubeconfig/,
  ],
  [
    'no configuration in a Pod',
    nodeWith({
      cluster: { fault: { kind: 'config', reason: 'none found' } },
      namespace: { inPod: true },
    }),
    'api',
    'warn',
    /none found/,
    /automountServiceAccountToken/,
  ],
  [
    'bad credentials',
    cluster({ fault: { kind: 'refused', reason: 'HTTP 401' } }),
    'api',
    'warn',
    /HTTP 401/,
    /renew/,
  ],
  [
    'no answer',
    cluster({ fault: { kind: 'unreachable', reason: 'ECONNREFUSED' } }),
    'api',
    'warn',
    /ECONNREFUSED/,
    /address/,
  ],
  [
    'all rights',
    HEALTHY,
    'rights',
    'ok',
    /^may list and watch pods, services, endpointslices, nodes$/,
  ],
  [
    'no watch',
    cluster({ rights: denied('watch pods') }),
    'rights-pods',
    'warn',
    /^may not watch pods$/,
    /ClusterRole/,
  ],
  [
    'no right',
    cluster({ rights: denied('list nodes', 'watch nodes') }),
    'rights-nodes',
    'warn',
    /^may not list and watch nodes$/,
  ],
  [
    'a reason',
    cluster({ rights: [{ resource: 'pods', verb: 'list', allowed: false, reason: 'RBAC: x' }] }),
    'rights-pods',
    'warn',
    /\(RBAC: x\)$/,
  ],
  ['a Node of that name', HEALTHY, 'node-name', 'ok', /^this node is node1$/],
  [
    'no name',
    cluster({ nodeName: undefined, nodeByAddress: 'node7' }),
    'node-name',
    'warn',
    /node7 has this machine's address/,
    /--node-name node7/,
  ],
  [
    'no name, no Node',
    cluster({ nodeName: undefined }),
    'node-name',
    'warn',
    /is not told/,
    /--node-name NAME/,
  ],
  [
    'no Node of that name',
    cluster({ nodeFound: false }),
    'node-name',
    'warn',
    /no Node object is called node1$/,
    /kubectl get nodes/,
  ],
  [
    'no Node of that name, but one of ours',
    cluster({ nodeFound: false, nodeByAddress: 'node7' }),
    'node-name',
    'warn',
    /node7 has/,
    /--node-name node7/,
  ],
  [
    'Nodes that may not be asked',
    cluster({ nodeFound: undefined }),
    'node-name',
    'warn',
    /could not be asked/,
  ],
  ['one time', HEALTHY, 'clock-skew', 'ok', /agrees within 1\.5 s/],
  [
    'a clock ahead',
    cluster({ skew: { ms: 4_000, uncertaintyMs: 510 } }),
    'clock-skew',
    'warn',
    /4\.0 s ahead/,
    /synchronise/,
  ],
  [
    'a clock behind',
    cluster({ skew: { ms: -4_000, uncertaintyMs: 510 } }),
    'clock-skew',
    'warn',
    /4\.0 s behind/,
  ],
  [
    'an answer too slow to tell',
    cluster({ skew: { ms: -4_000, uncertaintyMs: 3_500 } }),
    'clock-skew',
    'ok',
    /agrees within 4\.5 s/,
  ],
];

const GROUPS: readonly (readonly [Check['group'], readonly Row[]])[] = [
  ['process', PROCESS],
  ['node', NODE],
  ['programs', PROGRAMS],
  ['rules', RULES],
  ['conntrack', CONNTRACK],
  ['interfaces', INTERFACES],
  ['cluster', CLUSTER],
];

describe.each(GROUPS)('of the %s', (group, rows) => {
  for (const [name, facts, check, level, fact, remedy] of rows) {
    test(name, () => {
      const found = diagnose(facts).checks.filter((one) => one.check === check);
      expect(found).toHaveLength(1);
      expect(found[0]).toMatchObject({ group, level, fact: expect.stringMatching(fact) });
      if (remedy !== undefined) expect(found[0]?.remedy).toMatch(remedy);
    });
  }

  it('has a remedy wherever something is wrong, and says how all was found', () => {
    for (const [, facts] of rows) {
      for (const { level, remedy, how, check } of diagnose(facts).checks) {
        if (level !== 'ok') expect(remedy, check).toBeTruthy();
        expect(how, check).not.toBe('');
      }
    }
  });
});

describe('what it comes to', () => {
  test.each([
    [
      'all is well',
      HEALTHY,
      {
        works: true,
        packets: 'ring',
        conntrack: 'netlink',
        rules: ['iptables (nft)'],
        cluster: 'api',
        misses: [],
      },
    ],
    [
      'cap and conntrack in place of the addon',
      nodeWith({ process: addonless }),
      { works: true, packets: 'cap', conntrack: 'conntrack -E' },
    ],
    [
      'conntrack would run without its capability',
      nodeWith({ process: { ...addonless, uid: 1000 } }),
      { works: true, packets: 'cap', conntrack: 'none' },
    ],
    [
      'no addon, no conntrack',
      nodeWith({ process: addonless, programs: programsWith({ conntrack: undefined }) as never }),
      { works: true, conntrack: 'none' },
    ],
    [
      'no packets',
      nodeWith({ process: { ring: { ok: false, reason: 'socket: EPERM', denied: true } } }),
      { works: false, packets: 'none' },
    ],
    [
      'both modes',
      rules({ sets: [IPTABLES, NFTABLES] }),
      { works: true, rules: ['iptables (nft)', 'nftables'] },
    ],
    ['some rights', cluster({ rights: denied('watch pods') }), { works: true, cluster: 'partly' }],
    [
      'no rights',
      cluster({ rights: api.rights.map((right) => ({ ...right, allowed: false })) }),
      { works: true, cluster: 'none' },
    ],
    [
      'no answer',
      cluster({ fault: { kind: 'unreachable', reason: 'x' } }),
      { works: true, cluster: 'none' },
    ],
    [
      'defaults of the kernel',
      settings({ acct: 0, timestamp: 0 }),
      {
        works: true,
        misses: [
          "connections' packets and bytes",
          'when connections began that were open before the start',
        ],
      },
    ],
  ])('%s', (_, facts, expected) => {
    expect(diagnose(facts)).toMatchObject(expected);
  });

  it('is all ok on a healthy node', () => {
    expect(diagnose(HEALTHY).checks.filter(({ level }) => level !== 'ok')).toEqual([]);
  });

  it('judges nothing but the process off Linux', () => {
    const { checks, works, packets } = diagnose(
      nodeWith({ process: { ...own, platform: 'darwin' } }),
    );
    expect(new Set(checks.map(({ group }) => group))).toEqual(new Set(['process']));
    expect([works, packets]).toEqual([false, 'none']);
  });
});

describe('docs/operating.md', () => {
  const section =
    readFileSync(new URL('../../../docs/operating.md', import.meta.url), 'utf8')
      .split('\n## doctor\n')[1]
      ?.split('\n## ')[0] ?? '';
  const rows = [...section.matchAll(/^\| (`.*?`) \|/gm)].map((m) => m[1] ?? '');
  const listed = new Set(rows.flatMap((cell) => cell.replaceAll('`', '').split(', ')));

  it('lists every check that these tests make, and no other', () => {
    const made = GROUPS.flatMap(([, all]) => all).flatMap(([, facts]) => diagnose(facts).checks);
    const names = new Set(made.map(({ check }) => check));
    // Refused one by one above.
    for (const resource of ['services', 'endpointslices']) names.add(`rights-${resource}`);
    expect([...listed].sort()).toEqual([...names].sort());
  });
});
