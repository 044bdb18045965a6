import { stat } from 'node:fs/promises';
import { ClusterState } from '../../correlate/cluster-state.js';
import type { OutputEvent } from '../../model/attribution.js';
import type { Case } from '../../model/case.js';
import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { UsageError } from '../../model/problem.js';
import { CaseGatherer, type CaseSetting } from '../../pipeline/case-gatherer.js';
import { Choice, type Match } from '../../pipeline/choice.js';
import { Earlier } from '../../pipeline/earlier.js';
import { EvidenceMemory } from '../../pipeline/evidence-memory.js';
import type { Selector } from '../../pipeline/selector.js';
import type { ReplayInputs } from '../../sources/files/open.js';
import type { Io } from '../io.js';
import { finish, machineFor } from '../replay/machine.js';
import { eventsOf, openRecorded } from '../replay/recorded-inputs.js';
import { isKind, type Kind, tellMatches, whyNone } from './matches.js';
import type { NodeRequest } from './request.js';

/**
 * The case of a recorded connection. Files are read twice: to find the connection, then to gather what
 * concerns it; so nothing but that is kept, however large they are. A pipe can be read only once: of it
 * the last stretch is kept, and of a connection that ends what lies in it.
 */
export async function recordedCase(
  selector: Selector,
  request: NodeRequest,
  io: Io,
): Promise<Case | undefined> {
  const interfaces = new Interfaces();
  const inputs = await openRecorded(request, io, interfaces);
  if (!inputs.hasEvidence) {
    throw new UsageError(
      'no capture and no conntrack among the inputs, so there is no connection to explain; add a pcap, or what conntrack -L or -E printed',
    );
  }
  const { udpIdleNs } = request;
  const machine = machineFor(inputs, interfaces, { saysDirect: true, udpIdleNs });
  const choice = new Choice(selector);
  const earlier = new Earlier();
  const once = (await hasPipe(request))
    ? new Once(interfaces, machine.cluster, homeOf(inputs))
    : undefined;
  const hear = (said: ReturnType<typeof machine.take>): void => {
    const meant = choice.hear(said);
    if (once === undefined) earlier.hear(said);
    else once.hear(said, meant);
  };
  const had = new Set<Kind>();
  for await (const batch of eventsOf(inputs, interfaces)) {
    for (const event of batch) {
      once?.take(event);
      if (isKind(event.type)) had.add(event.type);
      machine.push(event);
    }
    hear(machine.take());
    if (io.signal.aborted) return undefined;
  }
  hear(finish(machine, inputs));
  const chosen = choice.chosen;
  if (chosen === undefined) throw new UsageError(whyNone(selector, choice, had));
  tellMatches(selector, choice, chosen, io);
  if (once !== undefined) return once.result(chosen, choice, inputs);
  return gather(chosen, choice, earlier, request, io);
}

async function gather(
  match: Match,
  choice: Choice,
  earlier: Earlier,
  request: NodeRequest,
  io: Io,
): Promise<Case | undefined> {
  const interfaces = new Interfaces();
  const inputs = await openRecorded(request, io, interfaces, { quiet: true });
  const cluster = new ClusterState();
  const home = homeOf(inputs);
  const gatherer = new CaseGatherer(match, interfaces, cluster, home);
  for await (const batch of eventsOf(inputs, interfaces)) {
    for (const event of batch) {
      if (event.type === 'cluster') cluster.apply(event.change, event.time);
      gatherer.take(event);
    }
    if (io.signal.aborted) return undefined;
  }
  return gatherer.result({
    ...settingFor(match, choice, inputs),
    earlier: earlier.before(match.attribution),
  });
}

function settingFor(
  { attribution }: Match,
  choice: Choice,
  inputs: ReplayInputs,
): Omit<CaseSetting, 'earlier'> {
  const name = attribution.node ?? homeOf(inputs);
  const routes = routesOf(inputs, name);
  return {
    notices: choice.noticesFor(attribution.connection),
    losses: choice.losses,
    ...(name !== undefined && name !== '' && { nodeName: name }),
    ...(routes !== undefined && { routes }),
  };
}

/** The node of a recording of one. */
function homeOf({ nodes }: ReplayInputs): string | undefined {
  return nodes.length === 1 ? nodes[0] : undefined;
}

/** Whether anything among the inputs can be read only once. */
async function hasPipe({ inputs }: NodeRequest): Promise<boolean> {
  const kinds = await Promise.all(
    inputs.map(async ({ path }) => {
      const stats = path === '-' ? undefined : await stat(path).catch(() => undefined);
      return path === '-' || (stats !== undefined && !stats.isFile() && !stats.isDirectory());
    }),
  );
  return kinds.includes(true);
}

/** So many connections' worth of packets and entries: 52 MB. */
const KEPT_OF_PIPE = 10_000;
/** Of so many connections that match the evidence is gathered as they end, the last of them. */
const MAX_GATHERED = 64;

/** What is gathered of an input that cannot be read again: of each connection that matches, when it has ended. */
class Once {
  private readonly memory: EvidenceMemory;
  private readonly gathered = new Map<string, CaseGatherer>();

  constructor(interfaces: Interfaces, cluster: ClusterState, home: string | undefined) {
    this.memory = new EvidenceMemory({
      interfaces,
      cluster,
      connections: KEPT_OF_PIPE,
      ...(home !== undefined && { home }),
    });
  }

  take(event: InputEvent): void {
    this.memory.take(event);
  }

  /** `meant`: what of that is about a connection that matches. */
  hear(said: readonly OutputEvent[], meant: readonly Match[]): void {
    this.memory.hear(said);
    for (const match of meant) {
      if (!match.closed) continue;
      const { connection } = match.attribution;
      this.gathered.delete(connection);
      this.gathered.set(connection, this.memory.gather(match));
      if (this.gathered.size <= MAX_GATHERED) continue;
      const [oldest] = this.gathered.keys();
      if (oldest !== undefined) this.gathered.delete(oldest);
    }
  }

  result(match: Match, choice: Choice, inputs: ReplayInputs): Case {
    const { attribution } = match;
    const gatherer = this.gathered.get(attribution.connection) ?? this.memory.gather(match);
    return gatherer.result({
      ...settingFor(match, choice, inputs),
      earlier: this.memory.before(attribution),
    });
  }
}

function routesOf(
  { routes }: ReplayInputs,
  node: string | undefined,
): ReturnType<ReplayInputs['routes']['get']> {
  return routes.get(node ?? '') ?? (routes.size === 1 ? [...routes.values()][0] : undefined);
}
