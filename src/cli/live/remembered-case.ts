import type { Case } from '../../model/case.js';
import type { Choice, Match } from '../../pipeline/choice.js';
import type { EvidenceMemory } from '../../pipeline/evidence-memory.js';
import type { NodeReadings } from '../../pipeline/node-facts.js';

/** What a live run remembers of a connection, and what was read of its node in plain data. */
export function rememberedCase(
  memory: EvidenceMemory,
  match: Match,
  choice: Choice,
  /** The node's name, where it is known. */
  nodeName: string | undefined,
): { readonly found: Case; readonly node: NodeReadings } {
  const { attribution } = match;
  const gatherer = memory.gather(match);
  const found = gatherer.result({
    notices: choice.noticesFor(attribution.connection),
    losses: choice.losses,
    earlier: memory.before(attribution),
    ...(nodeName !== undefined && { nodeName }),
  });
  return { found, node: gatherer.node };
}
