import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { UsageError } from '../../model/problem.js';
import { UTC } from '../../model/time.js';
import { openedEvents } from '../../pipeline/opened-events.js';
import { escapeText } from '../../sinks/escape.js';
import { type OpenOptions, openInputs, type ReplayInputs } from '../../sources/files/open.js';
import type { NodeRequest } from '../explain/request.js';
import type { Io } from '../io.js';
import { type LoadedNode, NodeNow } from '../live/node-now.js';
import { Progress } from '../progress.js';
import { describe, skippedLines } from './replay.js';

/** Kinds of inputs that tell what holds, whatever happened. */
const CONTEXT: OpenOptions['kinds'] = new Set([
  'iptables-save',
  'nft-json',
  'cluster-document',
  'cluster-watch',
  'ip-json',
  'ip-routes',
  'recording',
  'unknown',
  'empty',
]);

/** The node of recordings, as it was at their end. */
export async function loadRecorded(request: NodeRequest, io: Io): Promise<LoadedNode> {
  const interfaces = new Interfaces();
  const inputs = await openRecorded(request, io, interfaces, { kinds: CONTEXT });
  const taken = new NodeNow();
  for await (const batch of eventsOf(inputs, interfaces)) {
    for (const event of batch) taken.take(event);
  }
  const nodes = taken.nodes;
  if (nodes.length > 1) {
    throw new UsageError(
      `the inputs are of several nodes (${nodes.join(', ')}), and rules are those of one; name only its own`,
    );
  }
  const [name = ''] = nodes;
  return taken.result(name, inputs.routes.get(name));
}

/** Opens recordings as replay does; `quiet`: what is wrong with them was told before. */
export async function openRecorded(
  request: NodeRequest,
  io: Io,
  interfaces: Interfaces,
  how: { readonly kinds?: OpenOptions['kinds']; readonly quiet?: boolean } = {},
): Promise<ReplayInputs> {
  const { kinds, quiet } = how;
  const progress = new Progress(io);
  const inputs = await openInputs(request.inputs, {
    interfaces,
    offsetAt: request.offsetAt ?? UTC,
    stdin: io.stdin,
    ...(request.nodeName !== undefined && { node: request.nodeName }),
    ...(kinds !== undefined && { kinds }),
    onProblem: (file, problem) => {
      progress.end();
      if (quiet !== true) io.stderr.write(`${escapeText(describe(file, problem))}\n`);
    },
    onProgress: (done, total) => {
      if (done >= total) progress.end();
      else progress.show(done, total);
    },
  });
  if (quiet !== true) io.stderr.write(skippedLines(inputs.skipped));
  return inputs;
}

/** All events of recordings in the order of their times, with the names that rules' hashes confirm. */
export async function* eventsOf(
  inputs: ReplayInputs,
  interfaces: Interfaces,
): AsyncGenerator<readonly InputEvent[]> {
  const { before, after } = openedEvents(inputs, interfaces);
  yield before;
  yield* after;
}
