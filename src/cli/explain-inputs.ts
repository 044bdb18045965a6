import type { ClusterState } from '../correlate/cluster-state.js';
import { UsageError } from '../model/problem.js';
import type { RuleSet } from '../model/ruleset.js';
import type { ServiceEntry } from '../model/services.js';
import type { NodeFacts } from '../model/walk.js';
import type { NodeRequest } from './explain-request.js';
import type { Io } from './io.js';

/** A node without any connection: what decides where one would go. As it was at the end of recordings, or is. */
export interface LoadedNode {
  /** As the cluster calls it, where that is known. */
  readonly name?: string;
  /** In force, of both families; several of one where legacy and nft are both live. */
  readonly rules: readonly RuleSet[];
  /** What they make reachable. */
  readonly entries: readonly ServiceEntry[];
  /** Ask it without a time: as last known. */
  readonly cluster: ClusterState;
  readonly facts: NodeFacts;
  /** Which kinds of evidence there were. */
  readonly looked: { readonly rules: boolean; readonly cluster: boolean };
}

/** Reads rules, cluster and facts of a node from recordings, or from this node where no inputs are given. */
export async function loadNode(_request: NodeRequest, _io: Io): Promise<LoadedNode> {
  throw new UsageError('not there yet');
}
