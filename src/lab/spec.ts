import { canonicalAddress } from '../model/address.js';
import { UsageError } from '../model/problem.js';

/** A Pod of the lab: a network namespace with one interface `eth0`. */
export interface LabPod {
  readonly namespace: string;
  /** Unique in the lab; `node` and `outside` are taken. */
  readonly name: string;
  readonly uid?: string;
  readonly ip: string;
  readonly ip6?: string;
  /** It has the network of the node: its server runs in the node's namespace, and `ip` is the node's address. */
  readonly hostNetwork?: true;
  /** It runs on the second node (`LabOptions.outsideNode`). */
  readonly node?: 'outside';
}

/** One port of one Service. A Service with several ports is several entries with one namespace and name. */
export interface LabService {
  readonly namespace: string;
  readonly name: string;
  /** Absent for the unnamed port. */
  readonly portName?: string;
  readonly protocol: 'tcp' | 'udp';
  readonly port: number;
  /** IPv4 or IPv6; its family decides which of a Pod's addresses is the endpoint. */
  readonly clusterIP: string;
  readonly targetPort: number;
  /** Pod names, in the order in which their rules are written. Empty: the rules reject. */
  readonly endpoints: readonly string[];
  /** Pods that serve it and are no endpoints (yet). */
  readonly standby?: readonly string[];
  readonly nodePort?: number;
  readonly externalIPs?: readonly string[];
  /** Nobody listens at the target port: its Pods refuse. */
  readonly deaf?: true;
  /** On a node where both of iptables' back ends are live: which one holds this Service, if not the node's. */
  readonly ruleBackend?: 'iptables-nft' | 'iptables-legacy';
  /** Session affinity by client address, for so many seconds. */
  readonly affinitySeconds?: number;
}

/** iptables' two kernel back ends, and kube-proxy's nftables mode. */
export type RuleBackend = 'iptables-nft' | 'iptables-legacy' | 'nftables';

export interface LabOptions {
  /**
   * bridge: one Linux bridge `cni0` with bridge-nf-call-iptables, translation happens on the bridge port.
   * routed: one route a veth, no bridge, the shape of ptp, kindnet, Calico and the cloud CNIs.
   */
  readonly layout: 'bridge' | 'routed';
  readonly ruleBackend: RuleBackend;
  /**
   * Of mode nftables: `1.30` has a chain for each endpoint and a map of verdicts to them, `1.36` (the
   * default) translates in the Service's chain by a map of addresses.
   */
  readonly nftLayout?: '1.30' | '1.36';
  readonly pods: readonly LabPod[];
  readonly services: readonly LabService[];
  /**
   * Which kube-proxy's rules: `1.19` hashes and comments an unnamed port as `namespace/name:` and writes
   * the older chains; `current` is what 1.24 and later write. Of no concern in mode nftables.
   */
  readonly chainNames: '1.19' | 'current';
  /** kube-proxy's --cluster-cidr; without it there is no rule that masquerades what comes from outside. */
  readonly clusterCIDR?: string;
  /** The on-link range of the Pods, `10.244.1.0/24`. */
  readonly podCIDR: string;
  readonly podCIDR6?: string;
  /** The node's own address towards its Pods: on `cni0`, or on every veth. */
  readonly gateway: string;
  readonly gateway6?: string;
  readonly nodeName: string;
  /** The node's address on `eth0`. */
  readonly nodeAddress: string;
  /** The only other host on that link, in the same /24: where clients outside the cluster are. It leads nowhere else. */
  readonly outsideAddress: string;
  /**
   * The host outside is a second node, with Pods behind it. No route and no tunnel to them is made:
   * whoever wants one makes it.
   */
  readonly outsideNode?: {
    readonly name: string;
    readonly podCIDR: string;
    readonly gateway: string;
  };
}

export type Family = 4 | 6;

export function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

/** Address of a Pod in a family; the check of the options has made sure that it exists. */
export function podAddress(pod: LabPod, family: Family): string {
  const address = family === 6 ? pod.ip6 : pod.ip;
  if (address === undefined)
    throw new UsageError(`lab: Pod ${pod.name} has no IPv${family} address`);
  return address;
}

/** Where the rules of a Service are. */
export function backendOf(options: LabOptions, service: LabService): RuleBackend {
  return service.ruleBackend ?? options.ruleBackend;
}

/** All back ends that hold rules, the node's own first. */
export function backendsOf(options: LabOptions): readonly RuleBackend[] {
  const all = options.services.map((service) => backendOf(options, service));
  return [...new Set([options.ruleBackend, ...all])];
}

export function podNamed(options: LabOptions, name: string): LabPod {
  const pod = options.pods.find((candidate) => candidate.name === name);
  if (pod === undefined) throw new UsageError(`lab: there is no Pod ${name}`);
  return pod;
}

/** Throws a UsageError that says what is wrong; afterwards every name resolves and every address is one. */
export function checkOptions(options: LabOptions): void {
  const addresses = new Set<string>();
  const take = (address: string, whose: string): void => {
    if (canonicalAddress(address) !== address) {
      throw new UsageError(
        `lab: ${whose} has ${address}, which is not an address in its usual form`,
      );
    }
    if (addresses.has(address)) throw new UsageError(`lab: ${address} is given twice`);
    addresses.add(address);
  };
  take(options.gateway, 'the gateway');
  take(options.nodeAddress, 'the node');
  take(options.outsideAddress, 'the outside');
  if (options.gateway6 !== undefined) take(options.gateway6, 'the gateway');
  const names = new Set<string>(['node', 'outside']);
  for (const pod of options.pods) {
    if (names.has(pod.name)) throw new UsageError(`lab: the name ${pod.name} is taken`);
    names.add(pod.name);
    if (pod.node === 'outside' && options.outsideNode === undefined) {
      throw new UsageError(`lab: ${pod.name} is to run on a second node, and there is none`);
    }
    if (pod.hostNetwork === true) {
      if (pod.ip === options.nodeAddress && pod.ip6 === undefined && pod.node === undefined)
        continue;
      throw new UsageError(`lab: ${pod.name} is to have the node's address, and no other`);
    }
    take(pod.ip, pod.name);
    if (pod.ip6 === undefined) continue;
    take(pod.ip6, pod.name);
    if (options.gateway6 === undefined || options.podCIDR6 === undefined) {
      throw new UsageError('lab: IPv6 Pods need gateway6 and podCIDR6');
    }
  }
  for (const service of options.services) {
    if (canonicalAddress(service.clusterIP) !== service.clusterIP) {
      throw new UsageError(`lab: Service ${service.name} has ${service.clusterIP}`);
    }
    const family = familyOf(service.clusterIP);
    for (const name of service.endpoints) podAddress(podNamed(options, name), family);
  }
}
