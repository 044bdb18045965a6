import type { SeenPacket } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import type { IptablesRules, NftablesRules, NftJson, RuleSet } from '../../model/ruleset.js';
import { type Diagnosis, type Look, onInterface, shown } from '../look.js';
import { isAnswer } from '../places.js';
import { field } from '../walk/nftables-json.js';
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
  const drops = rules.flatMap(invalidDrops);
  const said = drops.length > 0 ? drops : [...new Set(rules.map(noInvalidDrop))];
  for (const says of said) evidence.push(shown('rules', says));
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
      'iptables-save | grep INVALID; nft list ruleset | grep "ct state invalid"   # who drops such packets, and do they come there?',
    ],
  };
}

function protestSays(protest: SeenPacket): FindingEvidence {
  const says = `the client sent an RST to ${endText(protest.to)}, which it had never addressed, ${onInterface(protest)}`;
  return shown('packets', says, protest.time);
}

/** Rules that drop what conntrack holds for INVALID, whoever wrote them; kube-proxy's is in KUBE-FORWARD. */
function invalidDrops(rules: RuleSet): string[] {
  return rules.kind === 'nftables' ? dropsInNftables(rules) : dropsInIptables(rules);
}

function dropsInIptables({ tables }: IptablesRules): string[] {
  const found: string[] = [];
  for (const table of tables.values()) {
    // In `nat` no packet is INVALID: conntrack shows it those that begin a connection only.
    if (table.name === 'nat') continue;
    for (const chain of table.chains.values()) {
      for (const { text, packets } of chain.rules) {
        if (!/(?<!! )--(?:ct)?state \S*INVALID\b.* -j DROP/.test(text)) continue;
        found.push(dropText(`${table.name} ${chain.name}`, packets));
      }
    }
  }
  return found;
}

function dropsInNftables({ chains }: NftablesRules): string[] {
  const found: string[] = [];
  for (const { name, rules } of chains.values()) {
    for (const { expressions } of rules) {
      const drops = expressions.some((one) => one === 'drop' || field(one, 'drop') !== undefined);
      if (!drops || !expressions.some(asksForInvalid)) continue;
      const counter = expressions.map((one) => field(field(one, 'counter'), 'packets'));
      const packets = counter.find((one) => typeof one === 'number');
      found.push(dropText(`table kube-proxy ${name}`, packets));
    }
  }
  return found;
}

/** `ct state invalid`, alone or among others (libnftables-json(5)). */
function asksForInvalid(expression: NftJson): boolean {
  const match = field(expression, 'match');
  if (field(field(field(match, 'left'), 'ct'), 'key') !== 'state') return false;
  return field(match, 'op') !== '!=' && holds(field(match, 'right'), 'invalid');
}

function holds(value: NftJson | undefined, text: string): boolean {
  if (value === text) return true;
  if (typeof value !== 'object' || value === null) return false;
  return Object.values(value).some((inner: NftJson) => holds(inner, text));
}

function dropText(where: string, packets: number | undefined): string {
  const counted = packets === undefined ? '' : `, which has dropped ${packets} packets`;
  return `${where} holds a rule that drops INVALID packets${counted}`;
}

/** What was read is said with it: of nftables that is kube-proxy's own table. */
function noInvalidDrop(rules: RuleSet): string {
  return rules.kind === 'nftables'
    ? 'kube-proxy’s table has no rule that drops packets in state invalid; tables of other programs were not read'
    : `no rule drops packets in state INVALID, of the tables that were read (${[...rules.tables.keys()].sort().join(', ')})`;
}
