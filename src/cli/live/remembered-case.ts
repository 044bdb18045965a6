import type { Case } from '../../model/case.js';
import type { Choice, Match } from '../../pipeline/choice.js';
import type { EvidenceMemory } from '../../pipeline/evidence-memory.js';
import { nodeFacts } from '../../pipeline/node-facts.js';
import type { readNode } from './node-readings.js';
import type { TableReadings } from './table-readings.js';

/** What a live run remembers of a connection, beside what its node is and what was read of conntrack's table around it. */
export function rememberedCase(
  memory: EvidenceMemory,
  match: Match,
  choice: Choice,
  now: {
    readonly read: Awaited<ReturnType<typeof readNode>>;
    readonly table: TableReadings | undefined;
    /** The node's name, where it is known. */
    readonly node: string | undefined;
  },
): Case {
  const { attribution } = match;
  const { readings, recentCapacity, versions } = now.read;
  return memory.gather(match).result({
    notices: choice.noticesFor(attribution.connection),
    losses: choice.losses,
    earlier: memory.earlier.before(attribution),
    node: { ...nodeFacts(readings), ...(now.node !== undefined && { name: now.node }) },
    ...(readings.routes !== undefined && { routes: readings.routes }),
    ...(recentCapacity !== undefined && { recentCapacity }),
    ...(versions !== undefined && { versions }),
    ...now.table?.around(attribution.time, attribution.endTime),
  });
}
