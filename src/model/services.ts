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

/**
 * One thing that rules ask about where a client is: an address in a network (`10.244.0.0/16`), the node
 * itself (an own address, `--src-type LOCAL`), an interface that it comes in by (`cali+`: any that begins so).
 */
export type ClientCondition =
  | { readonly is: 'network'; readonly network: string; readonly negated: boolean }
  | { readonly is: 'local'; readonly negated: boolean }
  | { readonly is: 'interface'; readonly name: string; readonly negated: boolean };

/** Why rules refuse: `no-local-endpoints` is a traffic policy's (there are endpoints elsewhere). */
export type Refusal = 'no-endpoints' | 'no-local-endpoints' | 'source-ranges';

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
  /** Of `local`: not at 127.0.0.0/8 and ::1. */
  readonly notLoopback?: true;
  /** Absent where the rules do not tell. */
  readonly service?: ServicePortName;
  /** The name stands in a comment that the hash in the chain's name does not confirm: another program may have written it. */
  readonly nameUnverified?: true;
  /** `reject` and `drop`: the rules refuse it. */
  readonly action: 'dnat' | 'reject' | 'drop';
  /** Of `reject` and `drop`. */
  readonly refusal?: Refusal;
  /** Of `reject` and `drop`: the chains that lead to the refusing rule. */
  readonly refusedBy?: RulePath;
  readonly routes: readonly EndpointRoute[];
  /** The chain that balances, where there is one. */
  readonly chain?: string;
}

/**
 * One way from a Service's address to an endpoint. Of several to one endpoint a client takes the first
 * that is open to it.
 */
export interface EndpointRoute {
  readonly ip: string;
  readonly port: number;
  readonly rule: RulePath;
  /**
   * Whom the way is open to: clients of whom all conditions of one of these lists hold. Absent: to everyone,
   * as far as it depends on where the client is. Ways of one branch share the array.
   */
  readonly clients?: readonly (readonly ClientCondition[])[];
}
