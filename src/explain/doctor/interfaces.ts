import type { Check, InterfaceFacts, NodeFacts } from '../../model/doctor.js';

/** Interfaces by which a Pod is reached, as the usual networks of Pods name them. */
const POD_INTERFACE =
  /^(?:veth|cali[0-9a-f]{11}$|lxc|eni[0-9a-f]{11}$|gke[0-9a-f]{11}$|azv|nk[0-9a-f])/;

export function podInterfaces({ list }: InterfaceFacts): InterfaceFacts['list'] {
  return list.filter(
    ({ name, kind, leadsAway, master }) =>
      POD_INTERFACE.test(name) &&
      name !== 'lxc_health' &&
      (kind === undefined || kind === 'veth' || leadsAway === true || master !== undefined),
  );
}

/** A program that takes kube-proxy's place. `certain`: it shows that it does, not only that it is there. */
interface Replacement {
  readonly owner: string;
  readonly sign: string;
  readonly certain: boolean;
}

/**
 * Signs of datapaths that do kube-proxy's work out of netfilter's sight. Maps of services in the file
 * system of BPF are Cilium's and Calico's own load balancers'; devices alone tell that a network of Pods
 * is there, which may well leave Services to kube-proxy.
 */
export function replacements({ interfaces, rules }: NodeFacts): Replacement[] {
  const names = new Set(interfaces.list.map(({ name }) => name));
  const found: Replacement[] = [];
  const bpf = (pattern: RegExp): string | undefined =>
    interfaces.bpf.find((name) => pattern.test(name));
  const proxied = rules.sets.some(
    ({ datapath }) => datapath === 'iptables' || datapath === 'nftables',
  );
  // The maps of its load balancer (pkg/maps/lbmap). Beside kube-proxy's rules it may still be the one that
  // directs what Pods send to cluster IPs.
  const cilium = bpf(/^cilium_lb4_(?:services|backends)/);
  if (cilium !== undefined || names.has('cilium_host') || names.has('cilium_net')) {
    const sign = cilium === undefined ? 'device cilium_host' : `BPF map ${cilium}`;
    found.push({ owner: 'Cilium', sign, certain: cilium !== undefined || !proxied });
  }
  // Its frontends and backends (felix/bpf/nat), and the pair of devices of its eBPF mode.
  const calico = bpf(/^cali_v[46]_nat_/);
  if (calico !== undefined || names.has('bpfin.cali')) {
    const sign = calico === undefined ? 'device bpfin.cali' : `BPF map ${calico}`;
    found.push({ owner: 'Calico eBPF', sign, certain: true });
  }
  if (names.has('ovn-k8s-mp0')) {
    found.push({ owner: 'OVN-Kubernetes', sign: 'device ovn-k8s-mp0', certain: !proxied });
  }
  if (names.has('antrea-gw0')) {
    found.push({ owner: 'Antrea', sign: 'device antrea-gw0', certain: !proxied });
  }
  if (names.has('kube-dummy-if')) {
    found.push({ owner: 'kube-router (ipvs)', sign: 'device kube-dummy-if', certain: !proxied });
  }
  return found;
}

/** How Pods are connected, and what of their packets is seen where. */
interface Network {
  readonly name: string;
  readonly seen: string;
  readonly bridge?: string;
}

/** Where a node's Pods hang on a bridge; Docker's own is for other containers. */
const BRIDGE = /^(?:cni\d|cbr0|kube-bridge|weave|mynet\d*|virbr-k8s)/;

const ROUTED =
  'a connection is seen on the interface of the client as it was sent, and on that of the Pod as it was translated';
const BRIDGED =
  'the translated packet is seen on the port of the Pod or on the uplink; what was sent, on the port of the client alone';

function networkOf(facts: InterfaceFacts): Network | undefined {
  const names = facts.list.map(({ name }) => name);
  const has = (pattern: RegExp): boolean => names.some((name) => pattern.test(name));
  const flannel = has(/^flannel[.-]/) ? 'flannel over ' : '';
  if (has(/^cali[0-9a-f]{11}$/)) return { name: 'Calico (routed)', seen: ROUTED };
  if (has(/^(?:cilium_host|lxc[0-9a-z_]+)$/))
    return { name: 'Cilium', seen: 'translation in eBPF shows on no interface' };
  if (has(/^ovn-k8s-mp0$/))
    return { name: 'OVN-Kubernetes', seen: 'translation in Open vSwitch shows on no interface' };
  if (has(/^antrea-gw0$/))
    return { name: 'Antrea', seen: 'translation in Open vSwitch shows on no interface' };
  if (has(/^eni[0-9a-f]{11}$/)) return { name: 'AWS VPC CNI (routed)', seen: ROUTED };
  if (has(/^gke[0-9a-f]{11}$/)) return { name: 'GKE (routed)', seen: ROUTED };
  if (has(/^azv/)) return { name: 'Azure CNI (routed)', seen: ROUTED };
  const bridge = names.find((name) => BRIDGE.test(name)) ?? masterOfPods(facts);
  if (bridge !== undefined)
    return { name: `${flannel}the bridge ${bridge}`, seen: BRIDGED, bridge };
  if (podInterfaces(facts).length > 0)
    return { name: `${flannel}routed veths (ptp, kindnet)`, seen: ROUTED };
  return undefined;
}

/** A bridge of another name to which veths are attached, unless it is Docker's. */
function masterOfPods(facts: InterfaceFacts): string | undefined {
  const masters = podInterfaces(facts).map(({ master }) => master);
  return masters.find(
    (master) => master !== undefined && !/^(?:docker|br-[0-9a-f]{12}$)/.test(master),
  );
}

export function judgeInterfaces(facts: NodeFacts): Check[] {
  const { interfaces } = facts;
  return [networkCheck(facts), ...bridgeChecks(facts), ...dnsChecks(interfaces)];
}

function networkCheck({ interfaces }: NodeFacts): Check {
  const { list, how } = interfaces;
  const base = { group: 'interfaces', check: 'pod-network', how } as const;
  const network = networkOf(interfaces);
  const pods = podInterfaces(interfaces).length;
  if (network === undefined) {
    const names = list.slice(0, SHOWN).map(({ name }) => name);
    const more = list.length > SHOWN ? ', …' : '';
    return {
      ...base,
      level: 'warn',
      fact: `no interface leads to a Pod (${names.join(', ')}${more})`,
      remedy: "is this the node's network namespace, and are Pods running on it?",
      misses: "Pods' connections, until some run here",
    };
  }
  const count = `${pods} interface${pods === 1 ? '' : 's'} to Pods`;
  return { ...base, level: 'ok', fact: `${network.name}, ${count}: ${network.seen}` };
}

const SHOWN = 6;

function bridgeChecks({ interfaces, conntrack }: NodeFacts): Check[] {
  const network = networkOf(interfaces);
  if (network?.bridge === undefined) return [];
  const base = {
    group: 'interfaces',
    check: 'bridge-netfilter',
    how: '/proc/sys/net/bridge/bridge-nf-call-iptables',
  } as const;
  const { bridgeCalls } = conntrack;
  if (bridgeCalls === 1) {
    return [
      {
        ...base,
        level: 'ok',
        fact: 'bridge-nf-call-iptables=1: answers within the bridge are translated back',
      },
    ];
  }
  return [
    {
      ...base,
      level: 'warn',
      fact:
        bridgeCalls === undefined
          ? 'br_netfilter is not loaded: answers from a Pod on the same bridge are not translated back, and such connections fail'
          : 'bridge-nf-call-iptables=0: answers from a Pod on the same bridge are not translated back, and such connections fail',
      remedy:
        'modprobe br_netfilter; sysctl net.bridge.bridge-nf-call-iptables=1 (Kubernetes asks for it)',
    },
  ];
}

function dnsChecks({ list, how }: InterfaceFacts): Check[] {
  if (!list.some(({ name }) => name === 'nodelocaldns')) return [];
  return [
    {
      group: 'interfaces',
      check: 'node-local-dns',
      level: 'warn',
      fact: 'NodeLocal DNSCache runs here: it has the address of the DNS Service, and answers itself',
      remedy: 'none is needed: its own questions to the DNS Pods are attributed',
      misses: 'DNS questions of Pods: no Pod of the Service gets them',
      how,
    },
  ];
}
