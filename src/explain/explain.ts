import type { PodRef } from '../model/attribution.js';
import type { Case } from '../model/case.js';
import type { ExplainedWalk, Explanation } from '../model/explanation.js';
import { protocolNumber } from '../model/packet.js';
import type { RuleSet } from '../model/ruleset.js';
import type { Distribution, FirstPacket, NodeFacts } from '../model/walk.js';
import { diagnose } from './diagnose.js';
import { isOpening } from './places.js';
import { tellStory } from './story.js';
import { type SeenEnd, takenOf } from './walk/taken.js';
import { countText, icmpText, listText } from './words.js';

/** The engine that goes through a node's rules with one packet. */
type Explore = (rules: readonly RuleSet[], packet: FirstPacket, facts: NodeFacts) => Distribution;

/** All that can be said of a connection: the walk through the rules, its story, and what is wrong with it. */
export function explainCase(it: Case, explore: Explore): Explanation {
  const possible =
    it.rules.length === 0 ? undefined : explore(it.rules, firstPacketOf(it), it.node);
  const walk =
    possible === undefined ? undefined : { ...walkTaken(it, possible), pods: podsOf(it) };
  return {
    attribution: it.attribution,
    ...(walk !== undefined && { walk }),
    story: tellStory(it),
    findings: diagnose(it, walk),
    remarks: [...remarksOf(it), ...unmatched(it, walk), ...(possible?.remarks ?? [])],
  };
}

/** What was refused although nothing in the rules at hand refuses it: they are not all that was in force. */
function unmatched(it: Case, walk: ExplainedWalk | undefined): string[] {
  if (walk === undefined || walk.taken !== undefined) return [];
  if (seenEnd(it).refused === undefined && it.attribution.outcome !== 'rejected') return [];
  return [
    'it was refused, and none of the rules known for that moment refuses it: what is shown of the walk is not what happened (another rule set was in force by then, or a table is missing from what was read)',
  ];
}

/** Who had the Service's endpoints' addresses, by its slices, and who served. */
function podsOf({ attribution: { backend }, cluster }: Case): ReadonlyMap<string, PodRef> {
  const pods = new Map<string, PodRef>();
  for (const { addresses, pod, node } of cluster.endpoints) {
    if (pod === undefined) continue;
    for (const ip of addresses) pods.set(ip, { ...pod, ...(node !== undefined && { node }) });
  }
  if (backend?.pod !== undefined) pods.set(backend.ip, backend.pod);
  return pods;
}

/** Which of the possible ways it took, by the evidence. */
function walkTaken(it: Case, possible: Distribution): ExplainedWalk {
  const { endings, knownBy } = takenOf(possible, seenEnd(it));
  const [only] = possible.endings;
  const isRefused = only?.kind === 'dropped' || only?.kind === 'rejected';
  if (
    knownBy.length === 0 &&
    it.attribution.backend === undefined &&
    possible.endings.length === 1 &&
    only !== undefined &&
    isRefused
  ) {
    return { possible, taken: only, knownBy: ['these rules leave no other way'] };
  }
  const [taken] = endings;
  return { possible, ...(taken !== undefined && { taken }), knownBy };
}

function seenEnd(it: Case): SeenEnd {
  const { backend, client, source, evidence, verdict } = it.attribution;
  // Where sources contradict each other none of them is taken for the truth.
  if (verdict === 'conflict') return {};
  if (backend !== undefined) {
    const byConntrack = evidence.includes('conntrack');
    const saidBy = byConntrack ? 'conntrack’s reply tuple' : 'the translated packet';
    const seen = source ?? (byConntrack ? client : undefined);
    return {
      endpoint: { ip: backend.ip, port: backend.port, saidBy },
      ...(seen !== undefined && { source: { ip: seen.ip, saidBy } }),
    };
  }
  const error = it.packets.find(({ kind, way }) => kind === 'icmp-error' && way === 'back');
  const rst = it.packets.find(({ kind, way }) => kind === 'rst' && way === 'back');
  if (error?.icmp !== undefined) {
    const saidBy = `ICMP ${icmpText(error.icmp)} says`;
    return { refused: { how: 'rejected', saidBy } };
  }
  return rst === undefined ? {} : { refused: { how: 'rejected', saidBy: 'the RST says' } };
}

/** Its opening packet as it came into the node's rules. */
function firstPacketOf({ attribution, node, packets }: Case): FirstPacket {
  const { client, destination, interfaces, protocol } = attribution;
  const seen = packets.find((packet) => isOpening(packet) && packet.view === 'original');
  const name = seen?.interface ?? interfaces?.in;
  const isNode = node.addresses?.has(client.ip) === true;
  return {
    protocol: protocolNumber(protocol),
    source: client.ip,
    sourcePort: client.port,
    destination: destination.ip,
    port: destination.port,
    from: isNode ? { kind: 'node' } : { kind: 'interface', ...(name !== undefined && { name }) },
  };
}

/** What limits the answer: what was not looked for cannot be missed, what was lost neither. */
function remarksOf({ attribution, closed, conntrack, looked, losses, packets }: Case): string[] {
  const remarks: string[] = [];
  const missing = [
    looked.packets ? [] : ['packets'],
    looked.conntrack ? [] : ['conntrack'],
    looked.rules ? [] : ['rules'],
    looked.cluster ? [] : ['the cluster'],
  ].flat();
  if (missing.length > 0) {
    remarks.push(`${listText(missing)} had no part in this: nothing of that kind was looked at`);
  }
  if (looked.packets && packets.length === 0) remarks.push('no packet of it was seen');
  if (looked.conntrack && conntrack.length === 0) remarks.push('conntrack told nothing of it');
  for (const { source, count, detail } of losses) {
    remarks.push(
      `${countText(count, 'loss', 'losses')} of ${source} may hide a part of it: ${detail}`,
    );
  }
  if (!closed) remarks.push('it had not ended when this was said');
  const off = attribution.timeUncertaintyNs;
  if (off !== undefined && attribution.timeSource !== 'packet') {
    remarks.push('the time of its beginning is conntrack’s, not a packet’s');
  }
  return remarks;
}
