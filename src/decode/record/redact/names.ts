import {
  endpointChainHash,
  nameHash,
  parseServicePortName,
  serviceChainHash,
} from '../../rules/chain-names.js';
import { nftHash } from '../../rules/nft-names.js';
import type { Pseudonyms } from './pseudonyms.js';

/** Chains that are called the same on every node. */
const STANDARD = new Set(
  `PREROUTING INPUT FORWARD OUTPUT POSTROUTING KUBE-SERVICES KUBE-NODEPORTS KUBE-POSTROUTING
  KUBE-MARK-MASQ KUBE-MARK-DROP KUBE-FORWARD KUBE-FIREWALL KUBE-EXTERNAL-SERVICES KUBE-PROXY-FIREWALL
  KUBE-PROXY-CANARY KUBE-KUBELET-CANARY KUBE-IPTABLES-HINT KUBE-LOAD-BALANCER KUBE-SOURCE-RANGES-FIREWALL
  KUBE-NODE-PORT KUBE-HOSTPORTS CNI-HOSTPORT-DNAT CNI-HOSTPORT-MASQ CNI-HOSTPORT-SETMARK CNI-ADMIN
  DOCKER DOCKER-USER DOCKER-ISOLATION-STAGE-1 DOCKER-ISOLATION-STAGE-2 DOCKER-CT DOCKER-FORWARD
  DOCKER-BRIDGE DOCKER-INTERNAL FLANNEL-FWD FLANNEL-POSTRTG
  cluster-ips cluster-ips-check filter-forward filter-input filter-output filter-output-post-dnat
  filter-output-pre-dnat filter-prerouting filter-prerouting-pre-dnat firewall-check firewall-ips
  hairpin-connections mark-for-masquerade masquerading nat-output nat-postrouting nat-prerouting
  no-endpoint-nodeports no-endpoint-services nodeport-endpoints-check nodeport-ips reject-chain
  service-endpoints-check service-ips service-nodeports services`.split(/\s+/),
);
/** What kube-proxy's ipvs mode calls its ipsets (pkg/proxy/ipvs/ipset.go; `KUBE-6-` for IPv6). */
const STANDARD_SET =
  /^KUBE-(?:6-)?(?:CLUSTER-IP|EXTERNAL-IP|LOAD-BALANCER|NODE-PORT|LOOP-BACK|HEALTH-CHECK-NODE-PORT|IPVS-IPS)(?:-(?:LOCAL|FW|SOURCE-IP|SOURCE-CIDR|TCP|UDP|SCTP|HASH))*$/;
/** By what other programs' chains are told (decode/rules/other-owners.ts). */
const OWNED =
  /^(?:CILIUM_|cali-|OVN-KUBE-|KUBE-ROUTER-|FLANNEL-|WEAVE|AWS-|ANTREA-|IP-MASQ|CNI-HOSTPORT-|CNI-DN-|CNI-|DOCKER|KUBE-HP-)/;
const HASHED = /^(KUBE-(?:SVC|SVL|EXT|XLB|FW|SEP)-)([A-Z2-7]{16})$/;
const NFT =
  /^((?:service|local|external|firewall|endpoint|affinity)-)([A-Z2-7]{8})-([^/]+)\/([^/]+)\/(tcp|udp|sctp)\/([^_/]*)(?:__(.+)\/(\d+))?$/;
const PROTOCOLS = ['tcp', 'udp', 'sctp'];
/** Comments that are kept: each Service has a few, on many rules. */
const MAX_COMMENTS = 50_000;
/** A chain's name has at most 28 characters (XT_EXTENSION_MAXNAMELEN). */
const CHAIN_DIGITS = 12;
/** Words of kube-proxy's and the plug-in portmap's comments, and the one by which Calico's eBPF mode is told. */
const WORDS = new Set(
  `kubernetes service services portals nodeports; nodeports NOTE: this must be the last rule in chain
  externally-visible load balancer firewall forwarding rules conntrack pod source destination rule
  traffic requiring SNAT for dropping marked packets block incoming localnet connections postrouting
  cluster external loadbalancer local IP has no endpoints not accepted by -> health check node port
  masquerade clusterIP from outside LOCAL redirect to Redirect pods trying reach VIP route destinations
  CNI portfwd masquerade mark dnat name: id: Active ClusterIPs IPs that accept NodePort vmap drop or
  reject with LoadBalancerSourceRanges are subject ClusterIP, ExternalIP and LoadBalancer ports of
  Reject invalid short-circuit hairpin Drop unallocated BPF`.split(/\s+/),
);

/**
 * Names inside rules. The hashes in names of chains are made anew of the pseudonyms, so that they confirm
 * them as the originals did (decode/rules/chain-names.ts).
 */
export class RuleNames {
  private readonly pseudonyms: Pseudonyms;
  /** The new hash by the old one. */
  private readonly hashes = new Map<string, string>();
  private readonly learnt = new Set<string>();
  private readonly comments = new Map<string, string>();

  constructor(pseudonyms: Pseudonyms) {
    this.pseudonyms = pseudonyms;
  }

  /** A Service port that is called so may have chains. */
  learn(spelling: string): void {
    if (this.learnt.has(spelling)) return;
    this.learnt.add(spelling);
    const renamed = this.servicePort(spelling);
    if (renamed === undefined) return;
    for (const protocol of PROTOCOLS) {
      this.hashes.set(serviceChainHash(spelling, protocol), serviceChainHash(renamed, protocol));
    }
  }

  /** An endpoint of one has the chain that is called so. */
  learnEndpoint(chain: string, spelling: string, protocol: string, endpoint: string): void {
    if (this.hashes.has(HASHED.exec(chain)?.[2] ?? '')) return;
    const renamed = this.servicePort(spelling);
    const moved = this.endpoint(endpoint);
    if (renamed === undefined || moved === undefined) return;
    this.hashes.set(
      endpointChainHash(spelling, protocol, endpoint),
      endpointChainHash(renamed, protocol, moved),
    );
  }

  servicePort(text: string): string | undefined {
    const read = parseServicePortName(text);
    if (read === undefined) return undefined;
    const { pseudonyms } = this;
    const service = `${pseudonyms.name('ns', read.namespace)}/${pseudonyms.name('svc', read.name)}`;
    if (read.portName !== undefined) return `${service}:${pseudonyms.name('port', read.portName)}`;
    return text.endsWith(':') ? `${service}:` : service;
  }

  /** `10.0.0.1:80`, `[fd00::1]:80`, `10.0.0.1`; `undefined` for anything else. */
  endpoint(text: string): string | undefined {
    const [, inBrackets, plain, port = ''] =
      /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(:\d{1,5}(?:-\d{1,5})?)?$/.exec(text) ?? [];
    const moved = this.pseudonyms.addressText(inBrackets ?? plain ?? text);
    if (moved === undefined) return undefined;
    return `${inBrackets === undefined ? moved : `[${moved}]`}${port}`;
  }

  /** Of a chain, a set or a map. */
  chain(name: string): string {
    if (STANDARD.has(name)) return name;
    const [, kind, hash] = HASHED.exec(name) ?? [];
    if (kind !== undefined && hash !== undefined) {
      return kind + (this.hashes.get(hash) ?? this.pseudonyms.hash(hash));
    }
    const nft = this.nft(name);
    if (nft !== undefined) return nft;
    const owner = OWNED.exec(name)?.[0];
    return (owner ?? 'CHAIN-') + this.pseudonyms.digits(`chain ${name}`, CHAIN_DIGITS);
  }

  /** Of an ipset. */
  ipset(name: string): string {
    return STANDARD_SET.test(name) ? name : this.chain(name);
  }

  comment(text: string): string {
    let said = this.comments.get(text);
    if (said === undefined) {
      said = text
        .split(' ')
        .map((word) => this.word(word))
        .join(' ');
      // What a chain in it becomes depends on what was learnt.
      if (text.includes('KUBE-FW-')) return said;
      if (this.comments.size >= MAX_COMMENTS) this.comments.clear();
      this.comments.set(text, said);
    }
    return said;
  }

  private word(word: string): string {
    if (word === '' || WORDS.has(word)) return word;
    if (/^KUBE-FW-/.test(word)) return this.chain(word);
    return this.endpoint(word) ?? this.servicePort(word) ?? this.pseudonyms.name('word', word);
  }

  private nft(name: string): string | undefined {
    const m = NFT.exec(name);
    if (m === null) return undefined;
    const [, kind = '', hash = '', namespace = '', service = '', protocol = '', port = '', ip, to] =
      m;
    const { pseudonyms } = this;
    let rest = `${pseudonyms.name('ns', namespace)}/${pseudonyms.name('svc', service)}/${protocol}/${pseudonyms.name('port', port)}`;
    if (ip !== undefined) {
      const isV6 = !/^\d+\.\d+\.\d+\.\d+$/.test(ip);
      const moved = pseudonyms.addressText(isV6 ? ip.replaceAll('.', ':') : ip);
      if (moved === undefined) return undefined;
      rest += `__${isV6 ? moved.replaceAll(':', '.') : moved}/${to}`;
    }
    const before = name.slice(kind.length + hash.length + 1);
    // A hash that does not confirm the name must not come to confirm it.
    const fresh =
      nftHash(before) === hash ? nftHash(rest) : nameHash(pseudonyms.hash(hash)).slice(0, 8);
    return `${kind}${fresh}-${rest}`;
  }
}
