import { parseAddress } from '../../model/address.js';
import { isOpenTo } from '../../model/clients.js';
import type { FindingEvidence } from '../../model/finding.js';
import type { ServiceEntry } from '../../model/services.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { endText, kubectlService, listText, serviceText } from '../words.js';

/** Traffic policy Local, and no endpoint on this node: the rules drop. */
export const localPolicy: Diagnosis = (look) => {
  const { attribution, cluster, entries, node } = look.case;
  if (attribution.backend !== undefined) return [];
  const entry = entries.find(({ refusal }) => refusal === 'no-local-endpoints');
  if (entry === undefined) return [];
  const internal = attribution.service?.via === 'clusterIP';
  const policy = internal ? 'internalTrafficPolicy' : 'externalTrafficPolicy';
  const evidence: FindingEvidence[] = [ruleSays(look, entry, 'no local endpoints')];
  const { service } = cluster;
  if (service?.[policy] !== undefined) {
    evidence.push(shown('cluster', `${serviceText(look.case)} has ${policy}: ${service[policy]}`));
  }
  const where = [...new Set(cluster.endpoints.flatMap((it) => it.node ?? []))].sort();
  if (where.length > 0) {
    const here = node.name === undefined ? '' : `; this node is ${node.name}`;
    evidence.push(shown('cluster', `its endpoints are on ${listText(where)}${here}`));
  }
  const { namespace, name } = kubectlService(look.case);
  return [
    {
      code: 'local-policy-without-endpoint',
      weight: 'fault',
      title: `${serviceText(look.case)} has ${policy} Local and no endpoint on this node`,
      evidence,
      meaning:
        'With policy Local a node sends only to its own Pods. This node has none for the Service, so it drops the packet without an answer: the client sees a timeout.',
      next: [
        `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name} -o wide   # nodes of the endpoints`,
        internal
          ? 'run a Pod of the Service on every node that has clients (a DaemonSet), or set internalTrafficPolicy: Cluster'
          : 'a load balancer must ask the health check node port (spec.healthCheckNodePort) and leave this node out; or set externalTrafficPolicy: Cluster',
      ],
    },
  ];
};

/** The load balancer's source ranges leave the client out. */
export const sourceRanges: Diagnosis = (look) => {
  const { attribution, cluster, entries } = look.case;
  if (attribution.backend !== undefined) return [];
  const entry = entries.find(({ refusal }) => refusal === 'source-ranges');
  const ranges = cluster.service?.loadBalancerSourceRanges ?? [];
  if (entry === undefined || isWithin(attribution.client.ip, ranges)) return [];
  const evidence: FindingEvidence[] = [ruleSays(look, entry, 'not from its source ranges')];
  if (ranges.length > 0) {
    const says = `${serviceText(look.case)} allows ${listText(ranges)}; the client is ${attribution.client.ip}`;
    evidence.push(shown('cluster', says));
  }
  const { namespace, name } = kubectlService(look.case);
  return [
    {
      code: 'source-ranges',
      weight: 'fault',
      title: `${serviceText(look.case)}'s source ranges leave ${attribution.client.ip} out`,
      evidence,
      meaning:
        'spec.loadBalancerSourceRanges admits only some networks to the load balancer’s address; kube-proxy drops the rest without an answer.',
      next: [
        `kubectl -n ${namespace} get service ${name} -o jsonpath='{.spec.loadBalancerSourceRanges}'`,
        'check which address arrives here: a load balancer or a NAT before it may have replaced the client’s',
      ],
    },
  ];
};

function ruleSays({ case: it }: Look, entry: ServiceEntry, why: string): FindingEvidence {
  const path = entry.refusedBy === undefined ? '' : ` (${entry.refusedBy.path.join(' → ')})`;
  const does = entry.action === 'reject' ? 'reject' : 'drop';
  return shown('rules', `the rules ${does} ${endText(it.attribution.destination)}: ${why}${path}`);
}

function isWithin(ip: string, networks: readonly string[]): boolean {
  const words = new Uint32Array(4);
  if (parseAddress(ip, words, 0) === 0) return false;
  const clients = networks.map((network) => [{ is: 'network', network, negated: false } as const]);
  if (clients.length === 0) return false;
  return isOpenTo(clients, { words, at: 0, local: undefined, interface: undefined }) === true;
}
