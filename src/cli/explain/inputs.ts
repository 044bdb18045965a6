import { UsageError } from '../../model/problem.js';
import type { Io } from '../io.js';
import type { LoadedNode } from '../live/node-now.js';
import type { NodeRequest } from './request.js';

/** Reads rules, cluster and facts of a node from recordings, or from this node where no inputs are given. */
export async function loadNode(request: NodeRequest, io: Io): Promise<LoadedNode> {
  const node =
    request.inputs.length > 0
      ? await (await import('../replay/recorded-inputs.js')).loadRecorded(request, io)
      : await (await import('./live.js')).loadLive(request, io);
  if (node.looked.rules) return node;
  throw new UsageError(
    request.inputs.length > 0
      ? 'no rules among the inputs; add what iptables-save or nft -j list ruleset printed'
      : 'no rules could be read on this node; whichpod doctor says why',
  );
}
