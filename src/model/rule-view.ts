import type { PodRef, Traffic } from './attribution.js';
import type { ClientCondition, Refusal, ServicePortName, Via } from './services.js';
import type { Nanos } from './time.js';
import type { Share } from './walk.js';

/** What a node's rules do with Services, as `rules` shows it. */
export interface RuleOverview {
  /** The rule sets it was read from. */
  readonly read: readonly RulesRead[];
  /** By namespace, name, port name and protocol; hostPorts and nameless chains last. */
  readonly services: readonly ServiceView[];
  /** Whether the cluster's objects are known: then endpoints have Pods. */
  readonly hasCluster: boolean;
}

/** One rule set. */
export interface RulesRead {
  readonly node?: string;
  readonly kind: 'iptables' | 'nftables';
  readonly backend: 'legacy' | 'nft' | 'unknown';
  readonly family: 4 | 6;
  /** Of the tool that printed it. */
  readonly version?: string;
  /** When it was read. */
  readonly time?: Nanos;
  /** nftables' rules of kube-proxy have none; iptables-save without `-c` prints none. */
  readonly hasCounters: boolean;
}

/** A Service's port in all rule sets, or a hostPort. */
export interface ServiceView {
  /** Absent for a hostPort, and where neither a comment nor a hash tells. */
  readonly service?: ServicePortName;
  /** The name stands in a comment only: no hash confirms it. */
  readonly nameUnverified?: true;
  /** 6, 17 or 132. */
  readonly protocol: number;
  readonly ways: readonly WayView[];
  readonly balancers: readonly BalancerView[];
}

/** An address at which it can be reached. */
export interface WayView {
  /** Number of the rule set in `RuleOverview.read`. */
  readonly read: number;
  readonly via: Via;
  /** Canonical text, or `local`: every address of the node. */
  readonly address: string;
  readonly port: number;
  readonly leads: readonly WayTo[];
  /** Of whom no way leads anywhere, or everyone. */
  readonly refused?: { readonly action: 'reject' | 'drop'; readonly refusal?: Refusal };
}

export interface WayTo {
  /** Number of the balancer in `ServiceView.balancers`. */
  readonly balancer: number;
  /** Chains from the first of kube-proxy's up to the balancer, which is not among them. */
  readonly chains: readonly string[];
  /** Whom it is open to; absent: to everyone. */
  readonly clients?: readonly (readonly ClientCondition[])[];
}

/** A chain that chooses one of some endpoints. */
export interface BalancerView {
  readonly read: number;
  /** Absent for a hostPort. */
  readonly chain?: string;
  /** `local`: endpoints of this node only (a traffic policy). */
  readonly scope: 'cluster' | 'local';
  /** A client that came before is sent where it was sent then. */
  readonly affinity: boolean;
  readonly affinitySeconds?: number;
  /** In the order of the rules. */
  readonly endpoints: readonly EndpointView[];
}

export interface EndpointView {
  readonly ip: string;
  readonly port: number;
  /** The endpoint's own chain, where it has one. */
  readonly chain?: string;
  /** Part of the connections that come to the balancer, of those that chance decides. */
  readonly probability?: number;
  /** The same without rounding, and how its own rule says it: taken in so many of 2^31 cases. */
  readonly exact?: Share;
  readonly stored?: number;
  /** What its rules in the balancer counted: packets that opened connections, and their bytes. */
  readonly chance?: Traffic;
  readonly sticky?: Traffic;
  readonly pod?: PodRef;
  readonly node?: string;
  /** What the cluster says of it now, where it is listed. */
  readonly state?: 'ready' | 'not ready' | 'terminating';
}

/** Something in which rules and cluster differ. `code` is stable (docs/schema.md). */
export interface Drift {
  readonly code:
    | 'endpoint-missing'
    | 'endpoint-extra'
    | 'service-missing'
    | 'service-unknown'
    | 'stale-chain'
    | 'name-mismatch'
    | 'share-uneven';
  readonly service?: ServicePortName;
  readonly protocol?: number;
  /** Number of the rule set. */
  readonly read?: number;
  readonly chain?: string;
  readonly endpoint?: { readonly ip: string; readonly port: number };
  /** Since when the cluster says what the rules do not, where that was seen. */
  readonly since?: Nanos;
  /** In words, without the Service's name. */
  readonly detail: string;
}

/** How evenly the endpoints of one balancer were chosen. */
export interface Audit {
  readonly service?: ServicePortName;
  readonly protocol: number;
  readonly node?: string;
  readonly chain?: string;
  /** What was counted. */
  readonly over: 'counters' | 'connections';
  readonly verdict: 'even' | 'skewed' | 'too few' | 'no choice';
  /** Connections counted, of those that chance decided. */
  readonly total: number;
  /** Absent without a test. `cells`: endpoints compared, pooled where fewer than five were expected. */
  readonly test?: {
    readonly chiSquared: number;
    readonly degrees: number;
    readonly p: number;
    readonly cells: number;
  };
  /** Of `too few`: so many connections would do. */
  readonly needed?: number;
  readonly endpoints: readonly AuditedEndpoint[];
  /** What else can be said, and what cannot. */
  readonly remarks: readonly string[];
}

export interface AuditedEndpoint {
  readonly ip: string;
  readonly port: number;
  readonly pod?: PodRef;
  readonly observed: number;
  readonly expected: number;
  /** What conntrack's accounting has of its connections, both directions. */
  readonly traffic?: Traffic;
}

/** A counter that moved. */
export interface CounterMove {
  readonly read: number;
  readonly service?: ServicePortName;
  readonly protocol: number;
  readonly chain: string;
  readonly endpoint: EndpointView;
  /** `reset`: it was set to 0 in between, so `after` is what was counted since. */
  readonly kind: 'moved' | 'reset';
  readonly before: Traffic;
  readonly after: Traffic;
}
