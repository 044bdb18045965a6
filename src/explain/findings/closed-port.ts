import type { Case } from '../../model/case.js';
import type { ServicePortRecord } from '../../model/cluster.js';
import type { Notice } from '../../model/event.js';
import type { Finding } from '../../model/finding.js';
import { type Diagnosis, shown } from '../look.js';
import { endText, kubectlService, listText, serviceText } from '../words.js';

/** Whether a Service's address was called at a port that the Service does not have. */
export function isClosedPort(it: Case): boolean {
  const { attribution, cluster } = it;
  const { backend, destination } = attribution;
  const isCluster = cluster.service?.clusterIPs.includes(destination.ip) === true;
  const lacks = isCluster && !portsOf(it).some(({ port }) => port === destination.port);
  return backend === undefined && (lacks || noticeOf(it) !== undefined);
}

function noticeOf({ attribution, notices }: Case): Notice | undefined {
  return notices.find(
    ({ code, connection }) =>
      code === 'closed-service-port' && connection === attribution.connection,
  );
}

function portsOf({ attribution, cluster }: Case): readonly ServicePortRecord[] {
  return cluster.service?.ports.filter(({ protocol }) => protocol === attribution.protocol) ?? [];
}

/** Nothing stands behind that port, so nothing answers. */
export const closedPort: Diagnosis = ({ case: it }): readonly Finding[] => {
  if (!isClosedPort(it)) return [];
  const { destination, protocol } = it.attribution;
  const notice = noticeOf(it);
  const ports = portsOf(it);
  const { service } = it.cluster;
  const { namespace, name } = kubectlService(it);
  const evidence = notice === undefined ? [] : [shown('rules', notice.detail, notice.time)];
  if (service !== undefined) {
    const has = ports.length === 0 ? 'none' : listText(ports.map(({ port }) => String(port)));
    evidence.push(shown('cluster', `${serviceText(it)} has these ${protocol} ports: ${has}`));
  }
  return [
    {
      code: 'closed-service-port',
      weight: 'fault',
      title: `${serviceText(it)} has no ${protocol} port ${destination.port}`,
      evidence,
      meaning: `No rule translates what is sent to ${endText(destination)}. In iptables mode it is routed like any address, usually away and to nobody; mode nftables rejects it.`,
      next: [`kubectl -n ${namespace} get service ${name} -o jsonpath='{.spec.ports}'`],
    },
  ];
};
