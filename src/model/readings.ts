import type { Nanos } from './time.js';

/** One line of a routing table. */
export interface Route {
  /** Canonical text; of the default route `0.0.0.0` or `::`. */
  readonly network: string;
  readonly prefix: number;
  readonly device: string;
  /** Of several to one network the kernel takes the lowest; 0 where none is printed. */
  readonly metric: number;
}

/** One reading of what the kernel says of its conntrack table. Counters count since the node started, over all CPUs. */
export interface ConntrackTable {
  readonly time?: Nanos;
  /** net.netfilter.nf_conntrack_count and nf_conntrack_max: entries now, and at most. */
  readonly count?: number;
  readonly max?: number;
  /** `insert_failed` of `conntrack -S` (/proc/net/stat/nf_conntrack): entries that clashed with one made meanwhile; their packets are dropped. */
  readonly insertFailed?: number;
  /** `drop`: packets dropped because no entry could be made. */
  readonly drop?: number;
  /** `early_drop`: entries not yet assured that were thrown out to make room. */
  readonly earlyDrop?: number;
}

/** What lists of the kernel's `recent` match hold: name, address, seconds since it was last seen. */
export type RecentLists = readonly (readonly [
  list: string,
  held: readonly (readonly [address: string, seconds: number])[],
])[];

/**
 * What was read of a node at a moment, beside its rules and addresses. A member that is absent was not read, or
 * is as it was read before.
 */
export interface Readings {
  readonly table?: Omit<ConntrackTable, 'time'>;
  readonly routes?: readonly Route[];
  /** A list that is absent here is not known to be empty. */
  readonly recent?: RecentLists;
  /** /sys/module/xt_recent/parameters/ip_list_tot: how many addresses a list holds before the oldest goes. */
  readonly recentCapacity?: number;
  /** kube-proxy's own word of its version. */
  readonly kubeProxy?: string;
  /** The API server's /version, `v1.30.4`; it is the cluster's and not the node's. */
  readonly apiServer?: string;
}
