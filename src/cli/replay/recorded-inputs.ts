import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { describeWhere, type Problem, UsageError } from '../../model/problem.js';
import { UTC } from '../../model/time.js';
import { openedEvents } from '../../pipeline/opened-events.js';
import { escapeText } from '../../sinks/escape.js';
import {
  type OpenOptions,
  openInputs,
  type ReplayInputs,
  type Skipped,
} from '../../sources/files/open.js';
import type { NodeRequest } from '../explain/request.js';
import type { Io } from '../io.js';
import { type LoadedNode, NodeNow } from '../live/node-now.js';
import { Progress } from '../progress.js';

/** Kinds of inputs that tell what holds, whatever happened; a recording of a run tells both. */
const CONTEXT: NonNullable<OpenOptions['kinds']> = new Set([
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

interface How extends Pick<OpenOptions, 'kinds' | 'onRules' | 'onPipe' | 'following'> {
  /** What is wrong with the inputs was told before. */
  readonly quiet?: boolean;
  /** Of a caller that ends it; else it ends when all is read, and pipes show none. */
  readonly progress?: Progress;
}

/** Opens recordings, and tells on stderr what is wrong with them and which of them say nothing. */
export async function openRecorded(
  request: Pick<NodeRequest, 'inputs' | 'nodeName' | 'offsetAt'>,
  io: Io,
  interfaces: Interfaces,
  how: How = {},
): Promise<ReplayInputs> {
  const { quiet = false, progress: shown, ...options } = how;
  const progress = shown ?? new Progress(io);
  const inputs = await openInputs(request.inputs, {
    interfaces,
    offsetAt: request.offsetAt ?? UTC,
    stdin: io.stdin,
    ...(request.nodeName !== undefined && { node: request.nodeName }),
    ...options,
    onProblem: (file, problem) => {
      progress.end();
      if (!quiet) io.stderr.write(`${escapeText(describe(file, problem))}\n`);
    },
    onProgress: (done, total) => {
      if (shown === undefined && done >= total) progress.end();
      else progress.show(done, total);
    },
  });
  // Whoever hears of all dumps uses those too that have no place in a replay.
  const skipped = inputs.skipped.filter(
    ({ kind }) => how.onRules === undefined || kind !== 'no-time',
  );
  if (!quiet) io.stderr.write(skippedLines(skipped));
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

/** What is wrong with a file, in one line. */
function describe(file: string, problem: Problem): string {
  const where = describeWhere(problem.where);
  const lost = problem.lost === undefined ? '' : ` [${problem.lost} lost]`;
  return `${file}: ${problem.message}${where === '' ? '' : ` (${where})`}${lost}; ${problem.advice}`;
}

/** Files of a folder that say nothing are named in one line; those that the user named get a line each. */
function skippedLines(skipped: readonly Skipped[]): string {
  const lines = skipped
    .filter(({ named, kind }) => named || kind === 'unsupported' || kind === 'no-time')
    .map(({ file, reason }) => `${file}: ${reason}\n`);
  const rest = skipped.filter(
    ({ named, kind }) => !named && (kind === 'unknown' || kind === 'empty'),
  );
  for (const kind of ['unknown', 'empty'] as const) {
    const names = rest.filter((it) => it.kind === kind).map(({ file }) => file);
    if (names.length === 0) continue;
    const what = kind === 'unknown' ? 'not recognised as evidence, skipped' : 'empty';
    lines.push(`${what}: ${names.join(', ')}\n`);
  }
  return lines.map((line) => `${escapeText(line.trimEnd())}\n`).join('');
}
