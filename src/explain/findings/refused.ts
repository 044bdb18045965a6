import type { Loss } from '../../model/event.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, decidedBy, type Look, onInterface, shown } from '../look.js';
import { sameEnd } from '../places.js';
import { resetSender } from '../resets.js';
import { endText, icmpText, kubectlPod, kubectlService, peerText, serviceText } from '../words.js';
import { isClosedPort } from './closed-port.js';

/** Refused before it was established: by the endpoint, or by this node in its place. */
export const refused: Diagnosis = (look) => {
  const { attribution, entries, node, packets } = look.case;
  const { outcome, backend } = attribution;
  if (outcome !== 'refused' && outcome !== 'rejected') return [];
  const error = packets.find(({ kind, icmp }) => kind === 'icmp-error' && icmp !== undefined);
  if (backend === undefined) {
    // What rules refuse for a reason that they name is another finding.
    if (entries.some(({ refusal }) => refusal !== undefined) || isClosedPort(look.case)) return [];
    if (look.case.cluster.service !== undefined && look.case.cluster.endpoints.length === 0)
      return [];
    const rst = packets.find(({ kind, way }) => kind === 'rst' && way === 'back');
    const ownAddress =
      node.addresses?.has(attribution.destination.ip) === true ||
      attribution.destination.ip.startsWith('127.');
    // What REJECT sends in an endpoint's place bears the address that the client used.
    const isByRule = rst?.direction !== 'in' && look.walk?.taken?.kind === 'rejected';
    const isOurs =
      error?.icmp === undefined
        ? rst !== undefined && (ownAddress || isByRule) && isUntranslated(look)
        : isOwn(look, error.icmp.sender);
    if (!isOurs) return [];
    const from = ownAddress ? 'from an address of this node' : 'where a rule refuses with one';
    const said =
      error !== undefined || rst === undefined
        ? errorSays(look)
        : shown('packets', `an RST ${onInterface(rst)}, ${from}`, rst.time);
    return [
      byNode(look, [
        said,
        shown('conntrack', 'conntrack told of no translation'),
        ...decidedBy(look),
      ]),
    ];
  }
  const by = resetSender(look.case, 'back');
  if (by?.sender === 'node') {
    const says = `an RST was sent to the client: ${by.because}`;
    return [byNode(look, [shown('packets', says, by.rst.time)])];
  }
  if (by?.sender === 'backend') {
    return [byPod(look, [shown('packets', `RST from it: ${by.because}`, by.rst.time)])];
  }
  if (error?.icmp !== undefined) {
    if (error.icmp.sender === backend.ip) return [byPod(look, [errorSays(look)])];
    if (node.addresses?.has(error.icmp.sender) === true) return [byNode(look, [errorSays(look)])];
  }
  return [undecided(look)];
};

/**
 * Whether this node sent an error about a packet that went nowhere: from its own address, or with the one
 * that the client used, which NAT puts into errors about what it translated. That nothing went further
 * conntrack shows.
 */
function isOwn(look: Look, sender: string): boolean {
  const { attribution, node } = look.case;
  if (!isUntranslated(look)) return false;
  return node.addresses?.has(sender) === true || sender === attribution.destination.ip;
}

/** A capture that dropped packets takes nothing from what conntrack told. */
function hidesEntries({ source }: Loss): boolean {
  return source !== 'capture' && source !== 'ring';
}

function isUntranslated({ case: { conntrack, looked, losses } }: Look): boolean {
  if (!looked.conntrack || losses.some(hidesEntries)) return false;
  return conntrack.every(
    ({ original, reply }) => reply !== undefined && sameEnd(reply.source, original.destination),
  );
}

function errorSays({ case: { packets } }: Look): FindingEvidence {
  const error = packets.find(({ kind, icmp }) => kind === 'icmp-error' && icmp !== undefined);
  if (error?.icmp === undefined) return shown('packets', 'an ICMP error');
  const says = `ICMP ${icmpText(error.icmp)} from ${error.icmp.sender}, ${onInterface(error)}`;
  return shown('packets', says, error.time);
}

function byPod(look: Look, evidence: readonly FindingEvidence[]): Finding {
  const { attribution } = look.case;
  const backend = attribution.backend ?? attribution.destination;
  const { namespace, name } = kubectlService(look.case);
  return {
    code: 'refused-by-pod',
    weight: 'fault',
    title: `${peerText(backend)} refused it: nobody listens on port ${backend.port}`,
    evidence,
    meaning:
      'The packet reached the Pod and its kernel refused it. The server is not running (yet, or any more), listens on another port, or on 127.0.0.1 only.',
    next: [
      kubectlPod('exec', backend, '-- ss -ltnu   # which ports are open, on which addresses?'),
      `kubectl -n ${namespace} get service ${name} -o jsonpath='{.spec.ports}'   # is targetPort the server's port?`,
      kubectlPod('logs', backend, '--since=10m'),
    ],
  };
}

function byNode(look: Look, evidence: readonly FindingEvidence[]): Finding {
  const { attribution } = look.case;
  return {
    code: 'refused-by-node',
    weight: 'fault',
    title: `this node refused it, not a Pod of ${serviceText(look.case)}`,
    evidence,
    meaning: `This node itself, not kube-proxy's rule for a Service without endpoints, refused what was sent to ${endText(attribution.destination)}: a network policy, a firewall; or nothing listens there and no rule translates it.`,
    next: [
      'iptables-save -c | grep REJECT; ip6tables-save -c | grep REJECT; nft list ruleset | grep reject',
      'kubectl get networkpolicies -A',
    ],
  };
}

function undecided(look: Look): Finding {
  const { attribution, looked, packets } = look.case;
  const backend = attribution.backend ?? attribution.destination;
  const rst = packets.find(({ kind, way }) => kind === 'rst' && way === 'back');
  const evidence: FindingEvidence[] = [];
  if (rst !== undefined) {
    evidence.push(shown('packets', `an RST to the client ${onInterface(rst)}`, rst.time));
  }
  const missing = !looked.packets
    ? 'packets were not looked at'
    : look.places.backendHere === false
      ? 'the endpoint is not on this node'
      : 'the endpoint’s interface was not captured';
  evidence.push(shown('node', `not to be told: ${missing}`));
  return {
    code: 'refused',
    weight: 'fault',
    title: `refused on its way to ${peerText(backend)}; by whom cannot be told`,
    evidence,
    meaning:
      'The connection was refused before it was established: by the Pod (nobody listens), or by a rule on the way.',
    next: [
      kubectlPod('exec', backend, '-- ss -ltnu'),
      `capture on the endpoint's own interface: tcpdump -ni any host ${backend.ip}`,
    ],
  };
}
