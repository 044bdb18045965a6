import type { ThenEndpoint } from '../../model/case.js';
import type { FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { countText, endText, icmpText, kubectlService, serviceText } from '../words.js';
import { isClosedPort } from './closed-port.js';

/** The Service had no endpoint that could be used, so the rules reject. */
export const noEndpoints: Diagnosis = (look) => {
  const { attribution, cluster, entries, looked } = look.case;
  if (attribution.backend !== undefined) return [];
  const entry = entries.find(({ refusal }) => refusal === 'no-endpoints');
  const usable = cluster.endpoints.filter((it) => it.ready || it.serving);
  const byApi =
    looked.cluster &&
    cluster.service !== undefined &&
    !isClosedPort(look.case) &&
    usable.length === 0 &&
    // A dump from before its endpoints went has routes yet; that nothing is there now the refusal shows.
    (entries.every(({ routes }) => routes.length === 0) || refusals(look).length > 0);
  if (entry === undefined && !byApi) return [];
  const name = serviceText(look.case);
  const evidence: FindingEvidence[] = [];
  if (entry !== undefined) {
    const path = entry.refusedBy === undefined ? '' : ` (${entry.refusedBy.path.join(' → ')})`;
    const does = entry.action === 'drop' ? 'drop' : 'reject';
    evidence.push(
      shown('rules', `the rules ${does} ${endText(attribution.destination)}: no endpoints${path}`),
    );
  }
  if (looked.cluster && cluster.service !== undefined) evidence.push(endpointsSay(look, name));
  evidence.push(...refusals(look));
  const { namespace, name: service } = kubectlService(look.case);
  return [
    {
      code: 'no-endpoints',
      weight: 'fault',
      title: `${name} has no endpoints`,
      evidence,
      meaning:
        'Nothing stands behind the Service: kube-proxy has no Pod to send this to and refuses it on the client’s node.',
      next: [
        `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${service} -o wide`,
        `kubectl -n ${namespace} get service ${service} -o jsonpath='{.spec.selector}'   # compare with the Pods' labels`,
        `kubectl -n ${namespace} get pods -o wide   # are there any, and are they ready?`,
      ],
    },
  ];
};

function endpointsSay({ case: { cluster } }: Look, name: string): FindingEvidence {
  const { endpoints } = cluster;
  if (endpoints.length === 0) {
    return shown('cluster', `the EndpointSlices of ${name} list no endpoint for this port`);
  }
  const states = endpoints.map((it) => `${it.addresses.join(', ')} ${stateText(it)}`).join('; ');
  const listed = countText(endpoints.length, 'endpoint');
  return shown('cluster', `the EndpointSlices of ${name} list ${listed}: ${states}`);
}

/** "ready", "not ready", "terminating, still serving". */
export function stateText({ ready, serving, terminating }: ThenEndpoint): string {
  if (terminating) return serving ? 'terminating, still serving' : 'terminating';
  return ready ? 'ready' : 'not ready';
}

/** What told the client that it was refused. */
function refusals({ case: { packets } }: Look): readonly FindingEvidence[] {
  const error = packets.find(({ kind, icmp }) => kind === 'icmp-error' && icmp !== undefined);
  const rst = packets.find(({ kind, way }) => kind === 'rst' && way === 'back');
  const evidence: FindingEvidence[] = [];
  if (error?.icmp !== undefined) {
    const says = `ICMP ${icmpText(error.icmp)} from ${error.icmp.sender}`;
    evidence.push(shown('packets', `the client was told: ${says}`, error.time));
  }
  if (rst !== undefined) evidence.push(shown('packets', 'the client was sent an RST', rst.time));
  return evidence;
}
