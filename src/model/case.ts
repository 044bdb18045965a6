import type { Attribution } from './attribution.js';
import type { EndpointRecord, NodeRecord, PodRecord, ServiceRecord } from './cluster.js';
import type { Loss, Notice } from './event.js';
import type { ConntrackTable } from './readings.js';
import type { RuleSet } from './ruleset.js';
import type { ServiceEntry } from './services.js';
import type { Nanos } from './time.js';
import type { NodeFacts } from './walk.js';

/**
 * Everything that was seen of one connection, and what held when it began: what `explain` looks at.
 * Gathered by a run with this one connection selected; in order of time.
 */
export interface Case {
  /** Its last word. */
  readonly attribution: Attribution;
  /** Whether it has ended; else it was still open when the run ended, or is. */
  readonly closed: boolean;
  readonly packets: readonly SeenPacket[];
  readonly conntrack: readonly SeenEntry[];
  /** Rules and endpoints of its Service that changed between its beginning and its end. */
  readonly changes: readonly SeenChange[];
  /** Notices about it, and about the run (conntrack table full, kube-proxy's version …). */
  readonly notices: readonly Notice[];
  /** Losses whose time touches it. */
  readonly losses: readonly Loss[];
  /** In force at its first packet, of its family; several where legacy and nft are both live. */
  readonly rules: readonly RuleSet[];
  /** What those rules make reachable at the address that the client used. */
  readonly entries: readonly ServiceEntry[];
  /** Chains of its Service in those rules to which none that is in force leads. */
  readonly staleChains?: readonly string[];
  readonly cluster: ClusterThen;
  readonly node: NodeFacts & { readonly name?: string };
  /**
   * The node's ends of the veths of the two Pods, where a route of one address or a bridge's table
   * tells them: also of those on which nothing of the connection was seen.
   */
  readonly podInterfaces?: { readonly client?: string; readonly backend?: string };
  /** As `changes`, in the minute before its first packet: whether rules had caught up with the cluster. */
  readonly earlierChanges?: readonly SeenChange[];
  /** Connections of the same client to the same Service's port before this one, the newest first. */
  readonly earlier?: readonly EarlierConnection[];
  /** What the node's conntrack table bore, before the connection and after its end (or the nearest readings). */
  readonly conntrackTable?: { readonly before?: ConntrackTable; readonly after?: ConntrackTable };
  /**
   * How many addresses each of the kernel's `recent` lists holds before the oldest goes:
   * /sys/module/xt_recent/parameters/ip_list_tot, 100 unless the module was loaded otherwise.
   */
  readonly recentCapacity?: number;
  /** `v1.30.4` and the like, as far as anything shows them. */
  readonly versions?: Versions;
  /** Which kinds of evidence the run had at all: what was not looked for cannot be missed. */
  readonly looked: {
    readonly packets: boolean;
    readonly conntrack: boolean;
    readonly rules: boolean;
    readonly cluster: boolean;
    /** Names of interfaces on which packets were captured. */
    readonly interfaces: readonly string[];
  };
}

export interface Versions {
  /** kube-proxy's own word: `kubernetes_build_info` of its metrics. */
  readonly kubeProxy?: string;
  /** What the shape of its rules tells, `1.24`: no older than this, and no newer than that. */
  readonly kubeProxyFrom?: string;
  readonly kubeProxyTo?: string;
  /** The API server's /version. */
  readonly api?: string;
  /** The newest kubelet's: the API server is never older (version skew policy). */
  readonly kubelet?: string;
}

/** How the cluster was at the connection's first packet, as far as it concerns it. */
export interface ClusterThen {
  readonly service?: ServiceRecord;
  /** The rules have a Service of this name, and the cluster, which has others in its namespace, has not. */
  readonly missingService?: { readonly namespace: string; readonly name: string };
  /** Of the Service's port, of all slices. */
  readonly endpoints: readonly ThenEndpoint[];
  readonly clientPod?: PodRecord;
  readonly backendPod?: PodRecord;
  readonly nodes: readonly NodeRecord[];
}

export interface ThenEndpoint extends EndpointRecord {
  /** The port behind the Service's port; absent if the slice names none. */
  readonly port?: number;
}

export interface End {
  readonly ip: string;
  readonly port: number;
}

/** One sight of one packet at one place. */
export interface SeenPacket {
  readonly time: Nanos;
  /** Name of the interface; absent where the capture does not tell. */
  readonly interface?: string;
  readonly direction?: 'in' | 'out';
  readonly node?: string;
  readonly kind:
    | 'syn'
    | 'syn-ack'
    | 'fin'
    | 'rst'
    | 'datagram'
    | 'init'
    | 'init-ack'
    | 'abort'
    | 'shutdown'
    | 'icmp-error'
    | 'segment';
  /** Addresses as this packet bears them; of an ICMP error those of the packet that it quotes. */
  readonly from: End;
  readonly to: End;
  /** From the client to the Service, or back. */
  readonly way: 'forward' | 'back';
  /** Whether it bears the client's view (original tuple) or the endpoint's (translated). */
  readonly view: 'original' | 'translated';
  /** TCP sequence and acknowledgement numbers, where it is TCP. */
  readonly sequence?: number;
  readonly acknowledgement?: number;
  readonly ttl?: number;
  readonly bytes: number;
  /** Of an ICMP error: type and code, and who sent it. */
  readonly icmp?: { readonly type: number; readonly code: number; readonly sender: string };
  readonly encapsulation?: 'vxlan' | 'geneve' | 'ipip';
}

/** One word of conntrack's about the connection. */
export interface SeenEntry {
  readonly time?: Nanos;
  /** The true time may lie so much earlier (printed late), or later (cut to whole seconds). */
  readonly latenessNs: number;
  readonly resolutionNs: number;
  readonly event: 'new' | 'update' | 'destroy' | 'listed';
  readonly original: { readonly source: End; readonly destination: End };
  readonly reply?: { readonly source: End; readonly destination: End };
  /** As TCP's table calls it. */
  readonly state?: string;
  readonly assured?: boolean;
  readonly unreplied?: boolean;
  /** A program deleted it. */
  readonly byProgram: boolean;
  readonly mark?: number;
  readonly zone?: number;
  readonly counters?: {
    readonly original: { readonly packets: number; readonly bytes: number };
    readonly reply: { readonly packets: number; readonly bytes: number };
  };
}

export interface SeenChange {
  readonly time: Nanos;
  readonly kind: 'rules' | 'endpoints';
  /** In words: "10.244.1.5:80 (shop/web-2) is no endpoint any more". */
  readonly what: string;
  /** Of a change of one endpoint: which, and what it became. Rules know `added` and `removed` only. */
  readonly endpoint?: End & {
    readonly became: 'added' | 'ready' | 'not-ready' | 'terminating' | 'removed';
  };
}

export interface EarlierConnection {
  readonly connection: string;
  readonly time: Nanos;
  readonly backend: End;
}
