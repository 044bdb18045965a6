import type { Case } from '../model/case.js';
import { UsageError } from '../model/problem.js';
import type { Selector } from '../pipeline/selector.js';
import type { LoadedNode } from './explain-inputs.js';
import type { ExplainRequest, NodeRequest } from './explain-request.js';
import type { Io } from './io.js';

export async function liveCase(
  _selector: Selector,
  _next: boolean,
  _request: ExplainRequest,
  _io: Io,
): Promise<Case | undefined> {
  throw new UsageError('explain of this node is not there yet; name recordings');
}

export async function loadLive(_request: NodeRequest, _io: Io): Promise<LoadedNode> {
  throw new UsageError('explain of this node is not there yet; name recordings');
}
