import type { Check, Diagnosis, NodeFacts } from '../../model/doctor.js';
import { clusterBy, judgeCluster } from './cluster.js';
import { judgeConntrack } from './conntrack.js';
import { judgeInterfaces } from './interfaces.js';
import { judgeNode } from './node.js';
import { conntrackBy, judgeProcess, packetsBy } from './process.js';
import { judgePrograms } from './programs.js';
import { judgeRules, rulePlaces } from './rules.js';

/** In the order in which they are told. */
const JUDGES: readonly ((facts: NodeFacts) => Check[])[] = [
  judgeProcess,
  judgeNode,
  judgePrograms,
  judgeRules,
  judgeConntrack,
  judgeInterfaces,
  judgeCluster,
];

/** Whether live can work on such a node, by what means, and what it would miss; each with the fact behind it. */
export function diagnose(facts: NodeFacts): Diagnosis {
  // Elsewhere nothing of the rest is there to be judged.
  const judges = facts.process.platform === 'linux' ? JUDGES : JUDGES.slice(0, 1);
  const checks = judges.flatMap((judge) => judge(facts));
  const misses = checks.flatMap((check) => (check.misses === undefined ? [] : [check.misses]));
  return {
    works: checks.every(({ level }) => level !== 'fail'),
    packets: packetsBy(facts),
    conntrack: conntrackBy(facts),
    rules: rulePlaces(facts),
    cluster: clusterBy(facts),
    misses: [...new Set(misses)],
    checks,
  };
}
