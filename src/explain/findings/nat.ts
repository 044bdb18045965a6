import type { Finding, FindingEvidence } from '../../model/finding.js';
import type { WalkedRule } from '../../model/walk.js';
import { type Diagnosis, entryOf, type Look, shown } from '../look.js';
import { endText, peerText, serviceText } from '../words.js';

/** What source NAT did to the peer that the endpoint sees. */
export const sourceNat: Diagnosis = (look) => {
  const { attribution } = look.case;
  const { client, source, backend } = attribution;
  if (backend === undefined) return [];
  // A process of the node may well be sent to one of its node: that is no Pod's way.
  const isHairpin = client.ip === backend.ip && !look.places.clientIsNode;
  const findings: Finding[] = isHairpin ? [hairpin(look)] : [];
  if (source === undefined) return findings;
  if (source.ip !== client.ip) return [...findings, masquerade(look, isHairpin)];
  const mayMasquerade = look.places.clientIsNode && look.walk?.taken?.masquerade !== 'no';
  if (source.port === client.port || look.walk?.taken?.masquerade === 'yes' || mayMasquerade) {
    return findings;
  }
  return [...findings, portClash(look)];
};

function hairpin(look: Look): Finding {
  const { client, backend } = look.case.attribution;
  return {
    code: 'hairpin',
    weight: 'fact',
    title: `${peerText(client)} was sent to itself`,
    evidence: [
      shown(
        'conntrack',
        `client and endpoint are both ${backend?.ip ?? client.ip}`,
        look.case.attribution.time,
      ),
    ],
    meaning:
      'A Pod that calls a Service it is an endpoint of may be given itself. The packet leaves and comes back by one interface, and is masqueraded so that the answer passes the node: the Pod sees the node’s address.',
    next: ['on a bridge the port needs hairpin mode: bridge -d link show'],
  };
}

function masquerade(look: Look, isHairpin: boolean): Finding {
  const { attribution } = look.case;
  const { client, source } = attribution;
  const seen = source === undefined ? '' : endText(source);
  const evidence: FindingEvidence[] = [...replySays(look)];
  const marked = steps(look).filter(
    ({ met, effects }) => met === 'matched' && effects.some(({ does }) => does === 'mark'),
  );
  const hidden = steps(look).find(
    ({ met, effects }) =>
      met === 'matched' && effects.some(({ does }) => does === 'masquerade' || does === 'snat'),
  );
  for (const step of [...marked.slice(0, 1), ...(hidden === undefined ? [] : [hidden])]) {
    evidence.push(shown('rules', `${step.chain}: ${step.text}`));
  }
  return {
    code: 'masquerade',
    weight: 'fact',
    title: `${peerText(attribution.backend ?? client)} sees ${seen} in place of ${endText(client)}`,
    evidence,
    meaning: isHairpin
      ? 'Source NAT put an address of the node in the client’s place, as it must for a Pod that is sent to itself.'
      : 'Source NAT put an address of the node in the client’s place: the Pod cannot tell the client by its address. kube-proxy does so for clients outside the cluster’s Pod range and for NodePorts and load balancers with externalTrafficPolicy Cluster; a CNI may for what leaves the Pod range.',
    next: [
      'externalTrafficPolicy: Local keeps the address of clients from outside (only nodes with an endpoint answer then)',
      'is --cluster-cidr of kube-proxy the range of the Pods? is masqueradeAll set?',
      `conntrack -L -s ${client.ip} -d ${attribution.destination.ip}   # the reply tuple has the address that the Pod sees`,
    ],
  };
}

function portClash(look: Look): Finding {
  const { attribution } = look.case;
  const { client, source } = attribution;
  const evidence: FindingEvidence[] = [...replySays(look)];
  if (look.walk?.taken?.masquerade === 'no') {
    evidence.push(shown('rules', 'no rule that its first packet met masquerades'));
  }
  return {
    code: 'source-port-clash',
    weight: 'odd',
    title: `the Pod sees port ${source?.port ?? 0} in place of the client's ${client.port}`,
    evidence,
    meaning:
      'The client has another connection from the same port that looks the same to the Pod (through another Service, or straight to it). conntrack must keep the two apart and changed the port, though nothing masquerades.',
    next: [
      `conntrack -L -s ${client.ip} --sport ${client.port}   # the other connection from this port`,
      `logs of the Pod have port ${source?.port ?? 0}: search for that`,
    ],
  };
}

function replySays(look: Look): readonly FindingEvidence[] {
  const entry = entryOf(look.case);
  const { source } = look.case.attribution;
  if (entry?.reply !== undefined) {
    const says = `the reply tuple is ${endText(entry.reply.source)} → ${endText(entry.reply.destination)}`;
    return [shown('conntrack', says, entry.time)];
  }
  const packet = look.case.packets.find(
    ({ way, view }) => way === 'forward' && view === 'translated',
  );
  return source === undefined || packet === undefined
    ? []
    : [
        shown(
          'packets',
          `it left for ${serviceText(look.case)}'s endpoint as ${endText(packet.from)}`,
          packet.time,
        ),
      ];
}

function steps({ walk }: Look): readonly WalkedRule[] {
  return walk?.taken?.steps ?? [];
}
