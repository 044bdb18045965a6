import type { SeenPacket } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, type Look, onInterface, shown } from '../look.js';
import { type ResetBy, resetSender } from '../resets.js';
import { durationText, kubectlPod, peerText } from '../words.js';

/** An established connection that an RST ended: who sent it. */
export const reset: Diagnosis = (look) => {
  const { attribution, packets } = look.case;
  if (attribution.outcome !== 'reset') return [];
  // The one that came first ended it: an answer to an RST is none.
  const first = packets.find(({ kind }) => kind === 'rst');
  const by = first === undefined ? undefined : resetSender(look.case, first.way);
  if (by === undefined) return [undecided(look, first)];
  switch (by.sender) {
    case 'client':
      return [byClient(look, by)];
    case 'backend':
      return [byPod(look, by)];
    case 'node':
      return [byNode(look, by)];
    case 'beyond':
      return [undecided(look, by.rst, by.because)];
  }
};

function says(look: Look, { rst, because }: ResetBy): readonly FindingEvidence[] {
  const { time } = look.case.attribution;
  const after = time === undefined ? '' : ` ${durationText(Number(rst.time - time))} after the SYN`;
  const ttl = rst.ttl === undefined ? '' : `, TTL ${rst.ttl}`;
  return [shown('packets', `RST${after}${ttl}: ${because}`, rst.time)];
}

function byClient(look: Look, by: ResetBy): Finding {
  const { client } = look.case.attribution;
  return {
    code: 'reset-by-client',
    weight: 'odd',
    title: `${peerText(client)} reset the connection`,
    evidence: says(look, by),
    meaning:
      'The client ended it with an RST: it closed with data unread, was killed, gave up (a timeout), or closes so on purpose (SO_LINGER 0, load balancers’ health checks).',
    next: [
      kubectlPod('logs', client, '--since=10m   # a timeout, a crash?'),
      'compare the time of the RST with the client’s timeouts',
    ],
  };
}

function byPod(look: Look, by: ResetBy): Finding {
  const backend = look.case.attribution.backend ?? look.case.attribution.destination;
  return {
    code: 'reset-by-pod',
    weight: 'fault',
    title: `${peerText(backend)} reset the connection`,
    evidence: says(look, by),
    meaning:
      'The Pod ended it with an RST: its server was killed or crashed, closed with data unread, or knows nothing of this connection (it was restarted, or the address is another Pod’s now).',
    next: [
      kubectlPod('describe pod', backend, '  # restarts, OOMKilled, deleted?'),
      kubectlPod('logs', backend, '--previous'),
    ],
  };
}

function byNode(look: Look, by: ResetBy): Finding {
  return {
    code: 'reset-by-node',
    weight: 'fault',
    title: 'this node reset the connection: neither the client nor the Pod did',
    evidence: says(look, by),
    meaning:
      'The RST was made on this node: a rule with REJECT --reject-with tcp-reset, a network policy, or a proxy on the node.',
    next: [
      'iptables-save -c | grep -i tcp-reset; nft list ruleset | grep -i "tcp reset"',
      'kubectl get networkpolicies -A',
    ],
  };
}

function undecided(look: Look, rst: SeenPacket | undefined, because?: string): Finding {
  const evidence: FindingEvidence[] = [];
  if (rst !== undefined) {
    const seen = because ?? `seen first ${onInterface(rst)}`;
    const way = rst.way === 'forward' ? 'to the Pod' : 'to the client';
    evidence.push(shown('packets', `RST ${way}: ${seen}`, rst.time));
  }
  const missing =
    because !== undefined
      ? 'it came from beyond this node: that end, or something on the way, sent it'
      : look.case.looked.packets
        ? 'not both ends’ interfaces were captured'
        : 'packets were not looked at';
  evidence.push(shown('node', `not to be told: ${missing}`));
  return {
    code: 'reset',
    weight: 'fault',
    title: 'the connection was reset; by whom cannot be told',
    evidence,
    meaning:
      'An RST ended the connection. Where it first came in would tell who sent it: the client, the Pod, or something in between.',
    next: ['capture on the interfaces of both ends: whichpod live without --interface'],
  };
}
