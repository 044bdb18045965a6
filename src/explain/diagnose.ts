import type { Case } from '../model/case.js';
import type { ExplainedWalk } from '../model/explanation.js';
import type { Finding } from '../model/finding.js';
import { affinity } from './findings/affinity.js';
import { agreement } from './findings/agreement.js';
import { bypass } from './findings/bypass.js';
import { closedPort } from './findings/closed-port.js';
import { conntrackTable } from './findings/conntrack-table.js';
import { drift } from './findings/drift.js';
import { endpointState } from './findings/endpoint-state.js';
import { entryLost } from './findings/entry-lost.js';
import { sourceNat } from './findings/nat.js';
import { noEndpoints } from './findings/no-endpoints.js';
import { refused } from './findings/refused.js';
import { localPolicy, sourceRanges } from './findings/refused-by-rules.js';
import { reset } from './findings/reset.js';
import { retransmit } from './findings/retransmit.js';
import { staleChain } from './findings/stale-chain.js';
import { staleEntry } from './findings/stale-entry.js';
import { unanswered } from './findings/unanswered.js';
import { version } from './findings/version.js';
import { type Diagnosis, lookAt } from './look.js';

/** Causes before what they lead to: of two findings of one weight the earlier comes first. */
const DIAGNOSES: readonly Diagnosis[] = [
  noEndpoints,
  localPolicy,
  sourceRanges,
  closedPort,
  conntrackTable,
  staleEntry,
  drift,
  staleChain,
  endpointState,
  bypass,
  entryLost,
  refused,
  unanswered,
  reset,
  agreement,
  retransmit,
  affinity,
  sourceNat,
  version,
];

const WEIGHTS: readonly Finding['weight'][] = ['fault', 'odd', 'fact'];

/** What a case shows, the gravest first; nothing that its evidence does not show. docs/diagnoses.md lists all codes. */
export function diagnose(it: Case, walk: ExplainedWalk | undefined): readonly Finding[] {
  const look = lookAt(it, walk);
  const all = DIAGNOSES.flatMap((one) => one(look));
  return WEIGHTS.flatMap((weight) => all.filter((finding) => finding.weight === weight));
}
