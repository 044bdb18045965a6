import type { Case, SeenPacket } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, decidedBy, entryOf, type Look, onInterface, shown } from '../look.js';
import { isAnswer, isOpening, sameEnd, sendings, wasCaptured } from '../places.js';
import { countText, endText, icmpText, kubectlPod, peerText, serviceText } from '../words.js';
import { isClosedPort } from './closed-port.js';
import { noEndpoints } from './no-endpoints.js';

const WHAT = { tcp: 'SYN', udp: 'datagram', sctp: 'INIT' } as const;
const ANSWER = { tcp: 'SYN-ACK', udp: 'answer', sctp: 'INIT ACK' } as const;

/** The opening packet was answered by nobody: how far it came, and so which side lost it. */
export const unanswered: Diagnosis = (look) => {
  const { attribution, entries, packets } = look.case;
  const waits = isWaiting(look.case);
  if (attribution.outcome !== 'unanswered' && !waits && !isHalfOpen(look)) return [];
  const refused =
    entries.some(({ refusal }) => refusal !== undefined) || noEndpoints(look).length > 0;
  if (attribution.backend === undefined && (refused || isClosedPort(look.case))) return [];
  // An answer that came back untranslated was an answer: another finding tells of it.
  if (packets.some((packet) => isMissed(packet, look))) return [];
  const found = attribution.backend === undefined ? lostBeforeChoice(look) : lostAfterChoice(look);
  return [waits ? stillOpen(found) : found];
};

/** Nothing answered it as far as was looked, and it was not given up yet. */
function isWaiting({ attribution, conntrack, packets }: Case): boolean {
  if (attribution.outcome !== 'open') return false;
  // What came back, and what goes on, was not begun in vain.
  if (packets.some(({ kind, way }) => way === 'back' || kind === 'segment')) return false;
  if (conntrack.some(({ event, unreplied }) => event !== 'destroy' && unreplied !== true)) {
    return false;
  }
  // An entry that conntrack picked up in mid-stream is unreplied as well.
  const isOpened = conntrack.some(({ state }) => state === undefined || state === 'SYN_SENT');
  return packets.some(isOpening) || isOpened;
}

/** It is no fault yet: an answer may come after the last of what was looked at. */
function stillOpen(found: Finding): Finding {
  const says = 'it was still open at the end of what was looked at: an answer may have come later';
  return { ...found, weight: 'odd', evidence: [...found.evidence, shown('node', says)] };
}

/**
 * The endpoint answered, and the client asked on or the endpoint answered again: the header says `established`
 * since an answer was seen, but nothing shows that it arrived.
 */
function isHalfOpen({ case: it, places }: Look): boolean {
  const { attribution, packets } = it;
  if (attribution.protocol !== 'tcp' || attribution.outcome !== 'established') return false;
  if (it.losses.length > 0 || !wasCaptured(it, places.near) || places.near === places.far) {
    return false;
  }
  const answers = packets.filter(isAnswer);
  const went = packets.some(
    ({ kind, way, interface: name }) =>
      name === places.near && (way === 'back' || (kind !== 'syn' && kind !== 'icmp-error')),
  );
  const isOpen = it.conntrack.some(
    ({ assured, state }) => assured === true || state === 'ESTABLISHED',
  );
  const again = sendings(answers.filter((packet) => packet.interface === places.far)) > 1;
  const wasRepeated = again || (answers.length > 0 && (attribution.retransmits ?? 0) > 0);
  return wasRepeated && !went && !isOpen;
}

function isMissed(packet: SeenPacket, { places }: Look): boolean {
  const { near, far } = places;
  return (
    isAnswer(packet) && packet.view === 'translated' && packet.interface === near && near !== far
  );
}

/** No endpoint is known: either nothing that would show it was looked at, or the packet died in the node. */
function lostBeforeChoice(look: Look): Finding {
  const { attribution, conntrack, looked, losses } = look.case;
  const what = WHAT[attribution.protocol];
  const evidence: FindingEvidence[] = [arrival(look), ...errors(look)];
  if (looked.conntrack && conntrack.length === 0 && losses.length === 0) {
    evidence.push(shown('conntrack', 'conntrack told of no entry for it'), ...decidedBy(look));
    return lostOnNode(
      look,
      `the ${what} to ${serviceText(look.case)} was lost on this node before it left`,
      evidence,
      'conntrack confirms an entry when the first packet leaves the node (or reaches a local socket). There was none, so the packet died on its way through the node: a rule dropped it, or the endpoint that was chosen had no route.',
    );
  }
  const missing = looked.conntrack
    ? losses.length > 0
      ? 'evidence was lost at that time'
      : 'conntrack’s word names no endpoint'
    : 'conntrack was not looked at';
  return undecided(look, evidence, `which endpoint was chosen is not known: ${missing}`);
}

function lostAfterChoice(look: Look): Finding {
  const { case: it, places } = look;
  const { attribution, packets } = it;
  const { near, far, backendHere } = places;
  const backend = attribution.backend ?? attribution.destination;
  const what = WHAT[attribution.protocol];
  const answer = ANSWER[attribution.protocol];
  const name = peerText(backend);
  const sent = packets.filter(
    (packet) => isOpening(packet) && packet.view === 'translated' && sameEnd(packet.to, backend),
  );
  const reached = sent.filter((packet) => packet.interface === far);
  const answered = packets.find((packet) => isAnswer(packet) && packet.interface === far);
  const evidence: FindingEvidence[] = [...chosen(look), ...errors(look)];
  if (answered !== undefined && far !== undefined) {
    evidence.push(
      shown('packets', `its ${answer} came in ${onInterface(answered)}`, answered.time),
    );
    const returned = packets.some((packet) => isAnswer(packet) && packet.interface === near);
    if (near === undefined || near === far || !wasCaptured(it, near) || returned) {
      return undecided(look, evidence, 'the client’s interface was not captured');
    }
    evidence.push(shown('packets', `no ${answer} went out on ${near}`));
    return {
      code: 'answer-lost-on-node',
      weight: 'fault',
      title: `${name} answered, and this node lost the answer`,
      evidence,
      meaning:
        'The answer came into this node and never left it towards the client: a filter rule, a reverse path filter or conntrack (state INVALID) dropped it.',
      next: [
        'iptables-save -c -t filter | grep -E "DROP|REJECT"   # look again after a second: which counter moves?',
        'conntrack -S   # does invalid or drop grow?',
        'sysctl net.ipv4.conf.all.rp_filter; nstat -az TcpExtIPReversePathFilter',
      ],
    };
  }
  if (reached.length > 0 && far !== undefined) {
    const [first] = reached;
    const times = countText(sendings(reached), `translated ${what}`);
    evidence.push(
      shown('packets', `${times} seen on ${far}`, first?.time),
      shown('packets', `no ${answer} came in on ${far}`),
    );
    if (backendHere === false) return unansweredBeyond(look, name, far, evidence);
    if (backendHere === true) return unansweredByPod(look, name, far, evidence);
    return undecided(
      look,
      evidence,
      `whether ${far} is the interface of the endpoint or leads to another node is not known`,
    );
  }
  if (far !== undefined && wasCaptured(it, far) && sent.length === 0) {
    evidence.push(shown('packets', `no translated ${what} was seen on ${far}, which was captured`));
    return lostOnNode(
      look,
      `the ${what} to ${name} never left this node`,
      evidence,
      'The packet was given its endpoint and did not come out of the interface towards it: no neighbour answers for the address, the interface is down, or a queue or a program at the interface dropped it.',
    );
  }
  return undecided(
    look,
    evidence,
    far === undefined
      ? 'the interface of the endpoint is not known'
      : `${far}, the interface of the endpoint, was not captured`,
  );
}

/** conntrack or packets name the endpoint. */
function chosen(look: Look): readonly FindingEvidence[] {
  const evidence: FindingEvidence[] = [arrival(look)];
  const entry = entryOf(look.case);
  if (entry?.reply !== undefined) {
    const state = entry.unreplied === true ? ', UNREPLIED' : '';
    const says = `conntrack sent it to ${endText(entry.reply.source)}${state}`;
    evidence.push(shown('conntrack', says, entry.time));
  }
  return evidence;
}

function arrival({ case: it }: Look): FindingEvidence {
  const { attribution, packets } = it;
  const what = WHAT[attribution.protocol];
  const sights = packets.filter((packet) => isOpening(packet) && packet.view === 'original');
  const [first] = sights;
  if (first === undefined) {
    return shown('packets', `no ${what} to ${endText(attribution.destination)} was seen coming in`);
  }
  const here = sights.filter(
    (sight) => sight.interface === first.interface && sight.direction === first.direction,
  );
  const said = `${countText(sendings(here), what)} to ${endText(attribution.destination)} seen`;
  return shown('packets', `${said} ${onInterface(first)}`, first.time);
}

function errors({ case: { packets } }: Look): readonly FindingEvidence[] {
  return packets
    .filter(({ kind }) => kind === 'icmp-error')
    .slice(0, 1)
    .map(({ icmp, time }) =>
      shown(
        'packets',
        icmp === undefined ? 'an ICMP error' : `ICMP ${icmpText(icmp)} from ${icmp.sender}`,
        time,
      ),
    );
}

function unansweredByPod(
  look: Look,
  name: string,
  far: string,
  evidence: readonly FindingEvidence[],
): Finding {
  const backend = look.case.attribution.backend ?? look.case.attribution.destination;
  return {
    code: 'unanswered-by-pod',
    weight: 'fault',
    title: `${name} was sent it and did not answer`,
    evidence,
    meaning: `The node did its part: the packet went out on ${far} to the Pod. Something in the Pod's own network namespace dropped it or is too busy to answer (a full accept queue, rules of a sidecar, a network policy at its interface, no route back).`,
    next: [
      kubectlPod('exec', backend, '-- ss -ltnu   # is the port open, is Recv-Q full?'),
      kubectlPod('get pod', backend, '-o wide   # is it running?'),
      'kubectl get networkpolicies -A   # one that covers the Pod?',
      `tcpdump -ni ${far} host ${backend.ip}`,
    ],
  };
}

function unansweredBeyond(
  look: Look,
  name: string,
  far: string,
  evidence: readonly FindingEvidence[],
): Finding {
  const { backend } = look.case.attribution;
  const known = backend?.pod?.node ?? backend?.node;
  const node = known ?? 'the node behind it';
  return {
    code: 'unanswered-beyond-node',
    weight: 'fault',
    title: `it left this node for ${name}, and no answer came back`,
    evidence: [
      ...evidence,
      shown(
        'node',
        known === undefined
          ? `${far} leads away from this node: what became of it there was not captured here`
          : `the endpoint is on ${known}: what became of it there was not captured here`,
      ),
    ],
    meaning:
      'This node translated it and sent it on. It was lost between the nodes, on the other node or in the Pod; or the answer took another way back.',
    next: [
      `look on ${node}: whichpod live --client ${look.case.attribution.client.ip} --direct`,
      `ping -c 3 ${backend?.ip ?? 'POD'}; tcpdump -ni ${far} host ${backend?.ip ?? 'POD'}`,
      'check the tunnel or route between the nodes, security groups and MTU',
    ],
  };
}

function lostOnNode(
  look: Look,
  title: string,
  evidence: readonly FindingEvidence[],
  meaning: string,
): Finding {
  const { attribution, node } = look.case;
  const ip = attribution.backend?.ip ?? 'ENDPOINT';
  const route = attribution.backend === undefined ? undefined : node.interfaceTo?.(ip);
  const known = route === undefined ? [] : [shown('node', `the route to ${ip} leads to ${route}`)];
  return {
    code: 'syn-lost-on-node',
    weight: 'fault',
    title,
    evidence: [...evidence, ...known],
    meaning,
    next: [
      `ip route get ${ip}; ip neigh show ${ip}`,
      'iptables-save -c -t filter | grep -E "DROP|REJECT"   # which counter moves?',
      'sysctl net.ipv4.conf.all.rp_filter; conntrack -S',
    ],
  };
}

function undecided(look: Look, evidence: readonly FindingEvidence[], missing: string): Finding {
  const { attribution } = look.case;
  const whom =
    attribution.backend === undefined ? serviceText(look.case) : peerText(attribution.backend);
  return {
    code: 'unanswered',
    weight: 'fault',
    title: `nobody answered for ${whom}; which side lost it cannot be told`,
    evidence: [...evidence, shown('node', `not to be told: ${missing}`)],
    meaning:
      'The client got no answer. With the interfaces of both ends captured, and conntrack, it could be said whether the packet was lost on this node, the Pod kept silent, or the answer was lost.',
    next: [
      'whichpod live   # on this node, without --interface: it sees all interfaces and conntrack',
    ],
  };
}
