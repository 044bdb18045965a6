import type { SeenPacket } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { isOpening, sameEnd } from '../places.js';
import { countText, durationText, endText, serviceText } from '../words.js';

const CODE = 'retransmit-to-other-endpoint';
/** What comes sooner is a copy: the first retransmission is due after 1 s (RFC 6298), some stacks' after 200 ms. */
const COPY_NS = 10_000_000n;

/** The opening packet was sent again; and perhaps given another endpoint. */
export const retransmit: Diagnosis = (look) => {
  const { attribution, notices } = look.case;
  const choices = choicesOf(look);
  const notice = notices.find(
    ({ code, connection }) => code === CODE && connection === attribution.connection,
  );
  if (choices.length > 1 || notice !== undefined) return [rerolled(look, choices, notice?.detail)];
  if ((attribution.retransmits ?? 0) === 0 || attribution.protocol === 'udp') return [];
  return [sentAgain(look, attribution.retransmits ?? 0)];
};

/** The first sight of each endpoint that one opening packet was sent to. */
function choicesOf({ case: { attribution, packets } }: Look): readonly SeenPacket[] {
  if (attribution.protocol === 'udp') return [];
  const firsts: SeenPacket[] = [];
  for (const packet of packets) {
    if (!isOpening(packet) || packet.view !== 'translated') continue;
    const known = firsts.some(
      (other) => sameEnd(other.to, packet.to) || other.sequence !== packet.sequence,
    );
    if (!known) firsts.push(packet);
  }
  return firsts;
}

function rerolled(look: Look, choices: readonly SeenPacket[], notice: string | undefined): Finding {
  const { attribution } = look.case;
  const evidence: FindingEvidence[] = choices.map((packet) =>
    shown('packets', `the same opening packet was sent to ${endText(packet.to)}`, packet.time),
  );
  if (choices.length < 2 && notice !== undefined) evidence.push(shown('packets', notice));
  const first = choices[0]?.to;
  const last = attribution.backend ?? choices.at(-1)?.to;
  const from = first === undefined || choices.length < 2 ? 'one endpoint' : endText(first);
  const to = last === undefined ? 'another' : endText(last);
  return {
    code: CODE,
    weight: 'odd',
    title: `sent again, it went from ${from} to ${to}`,
    evidence,
    meaning:
      'The first packet died before conntrack confirmed an entry (no route to the endpoint that was chosen, or no entry was left), so when it was sent again the rules chose anew. The delay is the client’s retransmission timeout.',
    next: [
      `ip route get ${first?.ip ?? 'ENDPOINT'}; ip neigh show ${first?.ip ?? 'ENDPOINT'}   # is the first endpoint still there?`,
      'look for other findings: an endpoint that is gone and still in the rules',
    ],
  };
}

function sentAgain(look: Look, times: number): Finding {
  const { attribution, packets } = look.case;
  const sights = packets.filter((packet) => isOpening(packet) && packet.view === 'original');
  const [first] = sights;
  const again = sights.find((packet) => first !== undefined && packet.time - first.time > COPY_NS);
  const after =
    first === undefined || again === undefined
      ? ''
      : `, first after ${durationText(Number(again.time - first.time))}`;
  const says = `the opening packet was sent again ${countText(times, 'time')}${after}`;
  return {
    code: 'opening-retransmitted',
    weight: attribution.outcome === 'established' ? 'odd' : 'fact',
    title: `the client asked ${serviceText(look.case)} ${times + 1} times before an answer or giving up`,
    evidence: [shown('packets', says, again?.time)],
    meaning:
      'The opening packet or its answer was lost, or came too late. Each retransmission costs the client its timeout (1 s, 2 s, 4 s …).',
    next: [
      'conntrack -S   # insert_failed, drop',
      'nstat -az | grep -E "ListenDrops|ListenOverflows"   # in the Pod',
    ],
  };
}
