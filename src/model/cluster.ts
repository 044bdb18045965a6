/**
 * Slim records of the Kubernetes objects that name things: only what attribution and explanation use.
 * Addresses are canonical text (address.ts). What an object does not say is absent.
 */
export interface PodRecord {
  readonly kind: 'pod';
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion?: string;
  /** status.podIPs, primary first; empty until the Pod has one. */
  readonly ips: readonly string[];
  readonly node?: string;
  readonly hostNetwork: boolean;
  /** Pending, Running, Succeeded, Failed: the last two no longer own their address. */
  readonly phase?: string;
  readonly ready: boolean;
  /** metadata.deletionTimestamp, RFC 3339. */
  readonly deletedAt?: string;
  readonly createdAt?: string;
  readonly hostPorts?: readonly HostPort[];
}

export interface HostPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly hostPort: number;
  readonly containerPort: number;
  readonly hostIP?: string;
}

export interface ServicePortRecord {
  /** Absent for the unnamed port. */
  readonly name?: string;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly port: number;
  readonly nodePort?: number;
}

export interface ServiceRecord {
  readonly kind: 'service';
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion?: string;
  readonly type: string;
  /** Without "None"; empty for headless Services. */
  readonly clusterIPs: readonly string[];
  readonly externalIPs: readonly string[];
  /** status.loadBalancer.ingress[].ip with ipMode VIP (or unsaid). */
  readonly loadBalancerIPs: readonly string[];
  readonly loadBalancerSourceRanges: readonly string[];
  readonly ports: readonly ServicePortRecord[];
  readonly affinitySeconds?: number;
  readonly externalTrafficPolicy?: string;
  readonly internalTrafficPolicy?: string;
  readonly healthCheckNodePort?: number;
}

export interface EndpointRecord {
  readonly addresses: readonly string[];
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly node?: string;
  readonly zone?: string;
  readonly hintZones?: readonly string[];
  readonly hintNodes?: readonly string[];
  /** targetRef, when it is a Pod. */
  readonly pod?: { readonly namespace: string; readonly name: string; readonly uid?: string };
}

export interface EndpointSliceRecord {
  readonly kind: 'endpointslice';
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
  readonly resourceVersion?: string;
  /** The label kubernetes.io/service-name. */
  readonly service?: string;
  readonly ports: readonly {
    readonly name?: string;
    readonly protocol: 'tcp' | 'udp' | 'sctp';
    readonly port?: number;
  }[];
  readonly endpoints: readonly EndpointRecord[];
}

export interface NodeRecord {
  readonly kind: 'node';
  readonly uid: string;
  readonly name: string;
  readonly namespace: '';
  readonly resourceVersion?: string;
  /** InternalIP and ExternalIP. */
  readonly addresses: readonly string[];
  readonly podCIDRs: readonly string[];
  readonly zone?: string;
  /** status.nodeInfo.kubeletVersion, `v1.30.4`. (Its kubeProxyVersion is the kubelet's guess: KEP-4004.) */
  readonly kubeletVersion?: string;
}

export type ClusterRecord = PodRecord | ServiceRecord | EndpointSliceRecord | NodeRecord;
export type ClusterKind = ClusterRecord['kind'];

/** The four kinds, in the order in which they are listed and compared. */
export const CLUSTER_KINDS: readonly ClusterKind[] = ['node', 'service', 'endpointslice', 'pod'];

/**
 * A change in the cluster. `list` replaces everything known of a kind (an object that is not in it is
 * gone from that moment), `set` adds or replaces one object, `delete` ends it.
 */
export type ClusterChange =
  | {
      readonly op: 'list';
      readonly kind: ClusterKind;
      readonly items: readonly ClusterRecord[];
      readonly resourceVersion?: string;
    }
  | { readonly op: 'set'; readonly item: ClusterRecord }
  | { readonly op: 'delete'; readonly item: ClusterRecord };
