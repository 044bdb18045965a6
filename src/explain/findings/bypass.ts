import type { SeenPacket } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import type { RuleSet } from '../../model/ruleset.js';
import { type Diagnosis, type Look, onInterface, shown } from '../look.js';
import { isAnswer } from '../places.js';
import { endText, kubectlService } from '../words.js';

/** Packets of the endpoint's that reached the client with the endpoint's own address. */
export const bypass: Diagnosis = (look) => {
  const { attribution, packets } = look.case;
  const { near, far } = look.places;
  if (attribution.backend === undefined || near === undefined || near === far) return [];
  const atClient = packets.filter(({ interface: name }) => name === near);
  const answer = atClient.find(
    (packet) => isAnswer(packet) && packet.view === 'translated' && packet.direction !== 'in',
  );
  // The client never spoke to the endpoint's address: it can only have been spoken to from there.
  const protest = atClient.find(
    ({ kind, way, view, direction }) =>
      kind === 'rst' && way === 'forward' && view === 'translated' && direction !== 'out',
  );
  // Copies on a bridge may show both; one that was translated back has arrived.
  const arrived = packets.some((packet) => isAnswer(packet) && packet.view === 'original');
  if (answer !== undefined && !arrived) return [bypassed(look, answer, protest)];
  // An RST about a copy that a bridge delivered twice ends nothing.
  return protest === undefined || attribution.outcome !== 'reset' ? [] : [midStream(look, protest)];
};

function bypassed(look: Look, answer: SeenPacket, protest: SeenPacket | undefined): Finding {
  const { destination } = look.case.attribution;
  const evidence: FindingEvidence[] = [
    shown(
      'packets',
      `an answer from ${endText(answer.from)} went out ${onInterface(answer)}: the client waits for one from ${endText(destination)}`,
      answer.time,
    ),
  ];
  if (protest !== undefined) evidence.push(protestSays(protest));
  return {
    code: 'reply-bypassed-nat',
    weight: 'fault',
    title: `the answer reached the client with ${endText(answer.from)}'s address, not the Service's`,
    evidence,
    meaning:
      'Only the node that translated a connection can translate its answers back. This answer did not pass its conntrack: client and Pod are neighbours on one bridge without bridge-nf-call-iptables, or the answer took another way than the request. The client’s kernel answers with an RST.',
    next: [
      'sysctl net.bridge.bridge-nf-call-iptables   # must be 1 where Pods hang on a bridge',
      'ip rule; ip route show table all   # do requests and answers take the same way?',
      `conntrack -L -d ${destination.ip}   # UNREPLIED: conntrack never saw the answer`,
    ],
  };
}

function midStream(look: Look, protest: SeenPacket): Finding {
  const { conntrack, rules } = look.case;
  const evidence: FindingEvidence[] = [protestSays(protest)];
  const deleted = conntrack.find(
    ({ event, byProgram, time }) =>
      event === 'destroy' && byProgram && (time === undefined || time <= protest.time),
  );
  if (deleted !== undefined) {
    const says = 'a program had deleted its entry while the connection was open';
    evidence.push(shown('conntrack', says, deleted.time));
  }
  const drop = rules.map(invalidDrop).find((says) => says !== undefined);
  if (rules.length > 0) {
    evidence.push(shown('rules', drop ?? 'no rule of FORWARD drops packets in state INVALID'));
  }
  const { namespace } = kubectlService(look.case);
  return {
    code: 'invalid-answered-by-rst',
    weight: 'fault',
    title: `the client reset a packet that came from ${endText(protest.to)} untranslated`,
    evidence,
    meaning:
      'In mid-stream a packet of the Pod’s reached the client without being translated back: conntrack had no entry for it any more, or held it for INVALID (out of its window), and does not translate such packets. The client knows no connection with the Pod’s own address and answers with an RST, which ends the connection.',
    next: [
      'conntrack -S   # does invalid grow?',
      'sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1   # takes packets out of the window as they are',
      `who deletes entries? kubectl -n ${namespace} get events; look for conntrack -F or -D in scripts and agents`,
      'kube-proxy drops INVALID packets in KUBE-FORWARD: is that rule there, and does FORWARD reach it?',
    ],
  };
}

function protestSays(protest: SeenPacket): FindingEvidence {
  const says = `the client sent an RST to ${endText(protest.to)}, which it had never addressed, ${onInterface(protest)}`;
  return shown('packets', says, protest.time);
}

/** kube-proxy's rule against it: in iptables mode since 1.15, in mode nftables in chain `filter-forward` or the like. */
function invalidDrop(rules: RuleSet): string | undefined {
  if (rules.kind !== 'iptables') return undefined;
  for (const chain of rules.tables.get('filter')?.chains.values() ?? []) {
    for (const { text, packets } of chain.rules) {
      if (!/--ctstate \S*INVALID\b.* -j DROP/.test(text)) continue;
      const counted = packets === undefined ? '' : `, which has dropped ${packets} packets`;
      return `${chain.name} holds a rule that drops INVALID packets${counted}`;
    }
  }
  return undefined;
}
