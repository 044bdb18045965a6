import type {
  ClusterChange,
  ClusterRecord,
  EndpointRecord,
  EndpointSliceRecord,
  HostPort,
  NodeRecord,
  PodRecord,
  ServicePortRecord,
  ServiceRecord,
} from '../../../model/cluster.js';
import type { RuleNames } from './names.js';
import type { Pseudonyms } from './pseudonyms.js';
import { nothing, releaseOf } from './rest.js';

const POLICIES = new Set(['Cluster', 'Local']);
const TYPES = new Set(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName']);
const PHASES = new Set(['Pending', 'Running', 'Succeeded', 'Failed', 'Unknown']);
/** RFC 3339. */
const MOMENT = /^\d{4}-\d\d-\d\dT[\d:.]{8,18}(?:Z|[+-]\d\d:\d\d)$/;

/** Objects of the cluster with pseudonyms. Resource versions are left out: by them a cluster may be known again. */
export class ClusterRedactor {
  private readonly pseudonyms: Pseudonyms;
  private readonly names: RuleNames;

  constructor(pseudonyms: Pseudonyms, names: RuleNames) {
    this.pseudonyms = pseudonyms;
    this.names = names;
  }

  change(change: ClusterChange): ClusterChange {
    switch (change.op) {
      case 'list': {
        const { kind, items } = change;
        return { op: 'list', kind, items: items.map((item) => this.record(item)) };
      }
      case 'set':
      case 'delete':
        return { op: change.op, item: this.record(change.item) };
    }
  }

  private record(item: ClusterRecord): ClusterRecord {
    switch (item.kind) {
      case 'pod':
        return this.pod(item);
      case 'service':
        return this.service(item);
      case 'endpointslice':
        return this.slice(item);
      case 'node':
        return this.aNode(item);
    }
  }

  private pod(pod: PodRecord): PodRecord {
    const {
      kind,
      uid,
      namespace,
      name,
      resourceVersion: _,
      ips,
      node,
      hostNetwork,
      phase,
      ready,
      deletedAt,
      createdAt,
      hostPorts,
      ...rest
    } = pod;
    nothing(rest);
    return {
      kind,
      uid: this.pseudonyms.name('uid', uid),
      namespace: this.pseudonyms.name('ns', namespace),
      name: this.pseudonyms.name('pod', name),
      ips: this.addresses(ips),
      ...this.node(node),
      hostNetwork,
      ...(phase !== undefined && { phase: PHASES.has(phase) ? phase : 'Unknown' }),
      ready,
      ...(isMoment(deletedAt) && { deletedAt }),
      ...(isMoment(createdAt) && { createdAt }),
      ...(hostPorts !== undefined && { hostPorts: hostPorts.map((one) => this.hostPort(one)) }),
    };
  }

  private hostPort(one: HostPort): HostPort {
    const { protocol, hostPort, containerPort, hostIP, ...rest } = one;
    nothing(rest);
    const ip = hostIP === undefined ? undefined : this.pseudonyms.addressText(hostIP);
    return { protocol, hostPort, containerPort, ...(ip !== undefined && { hostIP: ip }) };
  }

  private service(service: ServiceRecord): ServiceRecord {
    const {
      kind,
      uid,
      namespace,
      name,
      resourceVersion: _,
      type,
      clusterIPs,
      externalIPs,
      loadBalancerIPs,
      loadBalancerSourceRanges,
      ports,
      affinitySeconds,
      externalTrafficPolicy: outer,
      internalTrafficPolicy: inner,
      healthCheckNodePort,
      ...rest
    } = service;
    nothing(rest);
    for (const one of ports) {
      const named = `${namespace}/${name}`;
      this.names.learn(one.name === undefined ? named : `${named}:${one.name}`);
      // As up to Kubernetes 1.19 (decode/rules/chain-names.ts, `spellings`).
      if (one.name === undefined) this.names.learn(`${named}:`);
    }
    return {
      kind,
      uid: this.pseudonyms.name('uid', uid),
      namespace: this.pseudonyms.name('ns', namespace),
      name: this.pseudonyms.name('svc', name),
      type: TYPES.has(type) ? type : 'ClusterIP',
      clusterIPs: this.addresses(clusterIPs),
      externalIPs: this.addresses(externalIPs),
      loadBalancerIPs: this.addresses(loadBalancerIPs),
      loadBalancerSourceRanges: this.addresses(loadBalancerSourceRanges),
      ports: ports.map((one) => this.servicePort(one)),
      ...(affinitySeconds !== undefined && { affinitySeconds }),
      ...(outer !== undefined && POLICIES.has(outer) && { externalTrafficPolicy: outer }),
      ...(inner !== undefined && POLICIES.has(inner) && { internalTrafficPolicy: inner }),
      ...(healthCheckNodePort !== undefined && { healthCheckNodePort }),
    };
  }

  private servicePort(one: ServicePortRecord): ServicePortRecord {
    const { name, protocol, port, nodePort, ...rest } = one;
    nothing(rest);
    const number = nodePort === undefined ? {} : { nodePort };
    return { ...this.portName(name), protocol, port, ...number };
  }

  private slice(slice: EndpointSliceRecord): EndpointSliceRecord {
    const {
      kind,
      uid,
      namespace,
      name,
      resourceVersion: _,
      service,
      ports,
      endpoints,
      ...rest
    } = slice;
    nothing(rest);
    return {
      kind,
      uid: this.pseudonyms.name('uid', uid),
      namespace: this.pseudonyms.name('ns', namespace),
      name: this.pseudonyms.name('slice', name),
      ...(service !== undefined && { service: this.pseudonyms.name('svc', service) }),
      ports: ports.map(({ name: called, protocol, port, ...more }) => {
        nothing(more);
        const number = port === undefined ? {} : { port };
        return { ...this.portName(called), protocol, ...number };
      }),
      endpoints: endpoints.map((one) => this.endpoint(one)),
    };
  }

  private endpoint(one: EndpointRecord): EndpointRecord {
    const {
      addresses,
      ready,
      serving,
      terminating,
      node,
      zone,
      hintZones,
      hintNodes,
      pod,
      ...rest
    } = one;
    nothing(rest);
    const { pseudonyms } = this;
    return {
      addresses: this.addresses(addresses),
      ready,
      serving,
      terminating,
      ...this.node(node),
      ...this.zone(zone),
      ...(hintZones !== undefined && {
        hintZones: hintZones.map((name) => pseudonyms.name('zone', name)),
      }),
      ...(hintNodes !== undefined && {
        hintNodes: hintNodes.map((name) => pseudonyms.name('node', name)),
      }),
      ...(pod !== undefined && { pod: this.podOf(pod) }),
    };
  }

  private podOf(pod: NonNullable<EndpointRecord['pod']>): NonNullable<EndpointRecord['pod']> {
    const { namespace, name, uid, ...rest } = pod;
    nothing(rest);
    return {
      namespace: this.pseudonyms.name('ns', namespace),
      name: this.pseudonyms.name('pod', name),
      ...(uid !== undefined && { uid: this.pseudonyms.name('uid', uid) }),
    };
  }

  private aNode(node: NodeRecord): NodeRecord {
    const {
      kind,
      uid,
      namespace,
      name,
      resourceVersion: _,
      addresses,
      podCIDRs,
      zone,
      kubeletVersion,
      ...rest
    } = node;
    nothing(rest);
    const release = releaseOf(kubeletVersion);
    return {
      kind,
      uid: this.pseudonyms.name('uid', uid),
      namespace,
      name: this.pseudonyms.name('node', name),
      addresses: this.addresses(addresses),
      podCIDRs: this.addresses(podCIDRs),
      ...this.zone(zone),
      ...(release !== undefined && { kubeletVersion: release }),
    };
  }

  /** What is no address has no pseudonym, and is left out. */
  private addresses(all: readonly string[]): string[] {
    return all.flatMap((one) => this.pseudonyms.addressText(one) ?? []);
  }

  private node(name: string | undefined): { readonly node?: string } {
    return name === undefined ? {} : { node: this.pseudonyms.name('node', name) };
  }

  private zone(name: string | undefined): { readonly zone?: string } {
    return name === undefined ? {} : { zone: this.pseudonyms.name('zone', name) };
  }

  private portName(name: string | undefined): { readonly name?: string } {
    return name === undefined ? {} : { name: this.pseudonyms.name('port', name) };
  }
}

function isMoment(text: string | undefined): boolean {
  return text !== undefined && MOMENT.test(text);
}
