import { ClusterState } from '../correlate/cluster-state.js';
import { Correlator } from '../correlate/correlator.js';
import type { Route } from '../decode/net/ip-routes.js';
import type { InputEvent } from '../model/event.js';
import { Interfaces } from '../model/interfaces.js';
import { UsageError } from '../model/problem.js';
import type { RuleSet } from '../model/ruleset.js';
import type { ServiceEntry } from '../model/services.js';
import { secondsOf, UTC } from '../model/time.js';
import type { NodeFacts } from '../model/walk.js';
import { mergeByTime } from '../pipeline/merge.js';
import { nodeFacts } from '../pipeline/node-facts.js';
import { RuleSurvey } from '../pipeline/rule-survey.js';
import { escapeText } from '../sinks/escape.js';
import { type OpenOptions, openInputs, type ReplayInputs } from '../sources/files/open.js';
import type { NodeRequest } from './explain-request.js';
import type { Io } from './io.js';
import { Progress } from './progress.js';
import { describe, skippedLines } from './replay.js';

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

/** Kinds of inputs that tell what holds, whatever happened. */
const CONTEXT: OpenOptions['kinds'] = new Set([
  'iptables-save',
  'nft-json',
  'cluster-document',
  'cluster-watch',
  'ip-json',
  'ip-routes',
  'unknown',
  'empty',
]);

/** Reads rules, cluster and facts of a node from recordings, or from this node where no inputs are given. */
export async function loadNode(request: NodeRequest, io: Io): Promise<LoadedNode> {
  const node =
    request.inputs.length > 0
      ? await loadRecorded(request, io)
      : await (await import('./explain-live.js')).loadLive(request, io);
  if (node.looked.rules) return node;
  throw new UsageError(
    request.inputs.length > 0
      ? 'no rules among the inputs; add what iptables-save or nft -j list ruleset printed'
      : 'no rules could be read on this node; whichpod doctor says why',
  );
}

async function loadRecorded(request: NodeRequest, io: Io): Promise<LoadedNode> {
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

/** What is in force after all events were taken. */
export class NodeNow {
  private readonly cluster = new ClusterState();
  private readonly rules = new Map<string, Extract<InputEvent, { type: 'rules' }>>();
  private addresses: readonly string[] | undefined;
  private knowsCluster = false;

  take(event: InputEvent): void {
    switch (event.type) {
      case 'rules': {
        const { kind, backend, family } = event.rules;
        this.rules.set(`${event.node ?? ''} ${family} ${kind} ${backend}`, event);
        break;
      }
      case 'cluster':
        this.knowsCluster = true;
        this.cluster.apply(event.change, event.time);
        break;
      case 'addresses':
        this.addresses = event.addresses;
        break;
      default:
        break;
    }
  }

  /** Nodes that rules are from; `''` for one of which that is not known. */
  get nodes(): readonly string[] {
    return [...new Set([...this.rules.values()].map(({ node }) => node ?? ''))].sort();
  }

  result(name: string, routes: readonly Route[] | undefined, more?: NodeFacts): LoadedNode {
    const { cluster } = this;
    const inOrder = [...this.rules].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, event]) => event);
    const own = this.addresses ?? cluster.nodeAddresses(name === '' ? undefined : name);
    return {
      ...(name !== '' && { name }),
      rules: inOrder.map(({ rules }) => rules),
      entries: inOrder.flatMap(({ services }) => services),
      cluster,
      facts: {
        ...nodeFacts({
          ...(own.length > 0 && { addresses: own }),
          ...(routes !== undefined && { routes }),
        }),
        ...more,
      },
      looked: { rules: inOrder.length > 0, cluster: this.knowsCluster },
    };
  }
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
  const survey = new RuleSurvey();
  survey.prepare(inputs.prelude);
  yield inputs.prelude.flatMap((event) => survey.take(event));
  yield survey.conclude();
  for await (const batch of mergeByTime(inputs.streams, interfaces)) {
    yield batch.flatMap((event) => survey.take(event));
  }
}

/** The machine as replay sets it up. */
export function machineFor(
  inputs: ReplayInputs,
  request: NodeRequest,
  interfaces: Interfaces,
): Correlator {
  const onlyNode = inputs.nodes.length === 1 ? inputs.nodes[0] : undefined;
  return new Correlator({
    interfaces,
    baseSeconds: inputs.firstTime === undefined ? 0 : secondsOf(inputs.firstTime),
    severalNodes: inputs.nodes.length > 1,
    ...(inputs.lastRules !== undefined && { lastRules: inputs.lastRules }),
    packetsOnly: !inputs.hasConntrack && inputs.nodes.length === 1,
    ...(onlyNode !== undefined && onlyNode !== '' && { node: onlyNode }),
    saysDirect: true,
    ...(request.udpIdleNs !== undefined && { udpIdleNs: request.udpIdleNs }),
  });
}
