import type { Case, SeenEntry, SeenPacket } from '../model/case.js';
import type { ExplainedWalk } from '../model/explanation.js';
import type { Finding, FindingEvidence } from '../model/finding.js';
import type { Nanos } from '../model/time.js';
import { type Places, placesOf } from './places.js';

/** What every diagnosis looks at. */
export interface Look {
  readonly case: Case;
  readonly walk: ExplainedWalk | undefined;
  readonly places: Places;
}

/** Makes the findings of one family; none where its evidence is not there. */
export type Diagnosis = (look: Look) => readonly Finding[];

export function lookAt(it: Case, walk: ExplainedWalk | undefined): Look {
  return { case: it, walk, places: placesOf(it) };
}

/** A statement of fact with its time. */
export function shown(
  from: FindingEvidence['from'],
  says: string,
  time?: Nanos | undefined,
): FindingEvidence {
  return { from, says, ...(time !== undefined && { time }) };
}

/** "on vethab12", or "where the capture does not tell". */
export function onInterface({ interface: name }: SeenPacket): string {
  return name === undefined ? 'on an interface that the capture does not name' : `on ${name}`;
}

/** The rule at which the walk ends, where it ends in one. */
export function decidedBy({ walk }: Look): readonly FindingEvidence[] {
  const rule = walk?.taken?.decidedBy;
  if (rule === undefined) return [];
  const line = rule.line === undefined ? '' : ` (line ${rule.line} of the dump)`;
  return [shown('rules', `${rule.table} ${rule.chain}: ${rule.text}${line}`)];
}

/** The first word of conntrack's that tells where the connection was sent. */
export function entryOf({ conntrack }: Case): SeenEntry | undefined {
  return (
    conntrack.find(({ event, reply }) => event === 'new' && reply !== undefined) ??
    conntrack.find(({ reply }) => reply !== undefined)
  );
}
