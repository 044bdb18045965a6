import type { ThenEndpoint } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { kubectlPod, peerText, serviceText } from '../words.js';
import { stateText } from './no-endpoints.js';

const TERMINATING_CODE = 'endpoint-terminating';
const NOT_READY_CODE = 'endpoint-not-ready';

/** The endpoint that was chosen was not ready, or was going away, when the connection began. */
export const endpointState: Diagnosis = (look) => {
  const { attribution, cluster } = look.case;
  const { backend } = attribution;
  if (backend === undefined) return [];
  const endpoint = endpointOf(cluster.endpoints, backend);
  if (endpoint === undefined || (endpoint.ready && !endpoint.terminating)) return [];
  const code = endpoint.terminating ? TERMINATING_CODE : NOT_READY_CODE;
  return [found(look, endpoint, code)];
};

/** What the slices say of an endpoint, by address and, where they name it, port. */
function endpointOf(
  endpoints: readonly ThenEndpoint[],
  { ip, port }: { readonly ip: string; readonly port: number },
): ThenEndpoint | undefined {
  return endpoints.find(
    (it) => it.addresses.includes(ip) && (it.port === undefined || it.port === port),
  );
}

function found(look: Look, endpoint: ThenEndpoint, code: string): Finding {
  const { attribution, cluster } = look.case;
  const { time } = attribution;
  const backend = attribution.backend ?? attribution.destination;
  const name = peerText(backend);
  const others = cluster.endpoints.filter((it) => it !== endpoint && it.ready);
  const evidence: FindingEvidence[] = [
    shown('cluster', `when the connection began the API said of it: ${stateText(endpoint)}`, time),
    shown(
      'cluster',
      others.length === 0
        ? 'no other endpoint was ready: kube-proxy falls back to those that are terminating and still serve'
        : `${others.length} other endpoints were ready: the rules had not followed yet`,
      time,
    ),
  ];
  const pod = cluster.backendPod;
  if (pod?.deletedAt !== undefined) {
    evidence.push(shown('cluster', `the Pod's deletion was asked for at ${pod.deletedAt}`));
  }
  const failed = attribution.outcome !== 'established' && attribution.outcome !== 'open';
  const terminating = code === TERMINATING_CODE;
  return {
    code,
    weight: failed ? 'fault' : 'odd',
    title: `${name}, an endpoint of ${serviceText(look.case)}, ${terminating ? 'was terminating' : 'was not ready'}`,
    evidence,
    meaning: terminating
      ? 'The Pod was being deleted. Until every node has followed, new connections still go to it; a server that stops listening at once refuses them.'
      : 'A Pod that is not ready gets no new connections once every node has followed; this one got it before, or the Service publishes addresses that are not ready.',
    next: terminating
      ? [
          kubectlPod(
            'get pod',
            backend,
            '-o yaml   # terminationGracePeriodSeconds, lifecycle.preStop',
          ),
          'let the server go on serving for some seconds after SIGTERM (a preStop sleep), longer than rules take to follow',
        ]
      : [
          kubectlPod('describe pod', backend, '  # which probe fails?'),
          kubectlPod('logs', backend, '--since=10m'),
        ],
  };
}
