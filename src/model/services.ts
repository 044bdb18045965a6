/** How a Service is reached. */
export type Via = 'clusterIP' | 'nodePort' | 'externalIP' | 'loadBalancerIP' | 'hostPort';

/** The way through the rules to an endpoint. */
export interface RulePath {
  readonly mode: 'iptables' | 'nftables';
  /** Which of iptables' back ends held the rules. */
  readonly backend?: string;
  /** Chain names in order of the walk. */
  readonly path: readonly string[];
  /** Product along the path; absent under affinity. */
  readonly probability?: number;
  readonly affinity: boolean;
}

/** A Service's port, as kube-proxy names it. */
export interface ServicePortName {
  readonly namespace: string;
  readonly name: string;
  /** Absent for the unnamed port. */
  readonly portName?: string;
}

/**
 * One address at which a Service (or a hostPort) can be reached, read from a rule set or from the
 * cluster's objects. What rules say could happen; never what did.
 */
export interface ServiceEntry {
  /** 6, 17 or 132. */
  readonly protocol: number;
  /** Canonical text, or `local` for every address of the node itself (NodePort, hostPort). */
  readonly address: string;
  readonly port: number;
  readonly via: Via;
  /** Absent where the rules do not tell and no name could be verified. */
  readonly service?: ServicePortName;
  /** The name stands in a comment that no chain name's hash confirms: another program may have written it. */
  readonly nameUnverified?: true;
  /** `reject` and `drop`: the rules refuse it (no endpoints, no local endpoints). */
  readonly action: 'dnat' | 'reject' | 'drop';
  readonly routes: readonly EndpointRoute[];
  /** The chain that balances, where there is one. */
  readonly chain?: string;
}

/** One way from a Service's address to an endpoint. */
export interface EndpointRoute {
  readonly ip: string;
  readonly port: number;
  readonly rule: RulePath;
}
