import type { SeenChange } from '../../model/case.js';
import type { FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { isAnswer, isOpening, sameEnd } from '../places.js';
import { countText, endText, kubectlPod, kubectlService, peerText } from '../words.js';

/** A connection or flow that goes on to an endpoint that is none any more. */
export const staleEntry: Diagnosis = (look) => {
  const { attribution } = look.case;
  if (attribution.backend === undefined) return [];
  return attribution.protocol === 'udp' ? staleUdp(look) : staleTcp(look);
};

const STALE_NOTICE = 'stale-conntrack-entry';

/** UDP: conntrack's entry lives as long as datagrams come, whatever became of the endpoint. */
function staleUdp(look: Look): ReturnType<Diagnosis> {
  const { attribution, notices, packets } = look.case;
  const { backend } = attribution;
  if (backend === undefined) return [];
  const gone = goneAt(look);
  const notice = notices.find(
    ({ code, connection }) => code === STALE_NOTICE && connection === attribution.connection,
  );
  const after = packets.filter(
    (packet) =>
      gone !== undefined &&
      isOpening(packet) &&
      packet.view === 'translated' &&
      sameEnd(packet.to, backend) &&
      packet.time > gone.time,
  );
  if (notice === undefined && after.length === 0) return [];
  const evidence: FindingEvidence[] = [];
  if (gone !== undefined) evidence.push(changeSays(gone));
  const [first] = after;
  if (first !== undefined) {
    const sights = countText(after.length, 'sight', 'sights');
    const says = `${sights} of datagrams to ${endText(backend)} after that, the first`;
    evidence.push(shown('packets', says, first.time));
    const answered = packets.some((packet) => isAnswer(packet) && packet.time > first.time);
    if (!answered && look.case.looked.packets) {
      evidence.push(shown('packets', 'nothing was seen to answer them'));
    }
  }
  if (notice !== undefined) evidence.push(shown('conntrack', notice.detail, notice.time));
  const { destination } = attribution;
  return [
    {
      code: 'stale-udp-entry',
      weight: 'fault',
      title: `conntrack still sends this UDP flow to ${peerText(backend)}, which is gone`,
      evidence,
      meaning:
        'A UDP flow keeps the endpoint that its first datagram was given, for as long as datagrams come. kube-proxy should delete the entry when the endpoint goes; this one was left, or was made anew just before.',
      next: [
        `conntrack -L -p udp --orig-dst ${destination.ip} --dst-nat ${backend.ip}`,
        `conntrack -D -p udp --orig-dst ${destination.ip} --dst-nat ${backend.ip}   # frees the flow at once`,
        'kubectl -n kube-system logs -l k8s-app=kube-proxy | grep -i conntrack   # did its clean-up fail?',
      ],
    },
  ];
}

/** TCP: an established connection stays with its endpoint until it ends; kube-proxy does not touch it. */
function staleTcp(look: Look): ReturnType<Diagnosis> {
  const { attribution } = look.case;
  const { backend, outcome } = attribution;
  const gone = goneAt(look);
  if (gone === undefined || backend === undefined) return [];
  const { namespace, name } = kubectlService(look.case);
  const failed = outcome === 'reset' || outcome === 'unanswered' || outcome === 'refused';
  return [
    {
      code: 'stale-tcp-entry',
      weight: failed ? 'fault' : 'odd',
      title: `${peerText(backend)} ceased to be an endpoint while the connection was open`,
      evidence: [
        shown('conntrack', `the connection went to ${endText(backend)}`, attribution.time),
        changeSays(gone),
      ],
      meaning:
        'A TCP connection keeps its endpoint until it ends, also when that is no endpoint any more: new requests on it go to a Pod that is shutting down or gone.',
      next: [
        kubectlPod('get pod', backend, '-o wide'),
        `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name} -o wide`,
        'let the server close idle connections when it is asked to end, or give clients a maximal connection age',
      ],
    },
  ];
}

/** When the endpoint went while the connection was open: by the rules or by the API, whichever told first. */
function goneAt({ case: { attribution, changes } }: Look): SeenChange | undefined {
  const { backend, endTime } = attribution;
  return changes.find(
    ({ endpoint, time }) =>
      // Its entry stays for two minutes after a connection's end: what happens then is of no concern.
      (endTime === undefined || time < endTime) &&
      endpoint !== undefined &&
      backend !== undefined &&
      sameEnd(endpoint, backend) &&
      endpoint.became === 'removed',
  );
}

function changeSays({ kind, what, time }: SeenChange): FindingEvidence {
  return shown(kind === 'rules' ? 'rules' : 'cluster', what, time);
}
