import type { Finding } from '../../model/finding.js';
import { type Diagnosis, shown } from '../look.js';
import { endText, kubectlService, listText, serviceText } from '../words.js';

/** A Service's address was called at a port that the Service does not have. */
export const closedPort: Diagnosis = ({ case: it }): readonly Finding[] => {
  const { attribution, cluster, notices } = it;
  const { backend, destination, protocol } = attribution;
  const notice = notices.find(
    ({ code, connection }) =>
      code === 'closed-service-port' && connection === attribution.connection,
  );
  const { service } = cluster;
  const isCluster = service?.clusterIPs.includes(destination.ip) === true;
  const ports = service?.ports.filter((port) => port.protocol === protocol) ?? [];
  const lacks = isCluster && !ports.some(({ port }) => port === destination.port);
  if (backend !== undefined || (notice === undefined && !lacks)) return [];
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
