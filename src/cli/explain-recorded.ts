import { ClusterState } from '../correlate/cluster-state.js';
import type { Case } from '../model/case.js';
import { Interfaces } from '../model/interfaces.js';
import { UsageError } from '../model/problem.js';
import { CaseGatherer } from '../pipeline/case-gatherer.js';
import { Choice, type Match } from '../pipeline/choice.js';
import { Earlier } from '../pipeline/earlier.js';
import { nodeFacts } from '../pipeline/node-facts.js';
import type { Selector } from '../pipeline/selector.js';
import type { ReplayInputs } from '../sources/files/open.js';
import { tellMatches, whyNone } from './explain-matches.js';
import type { NodeRequest } from './explain-request.js';
import type { Io } from './io.js';
import { eventsOf, machineFor, openRecorded } from './recorded-inputs.js';

/**
 * The case of a recorded connection. Files are read twice: to find the connection, then to gather what
 * concerns it; so nothing but that is kept, however large they are. A pipe can be read only once: of it
 * the last stretch is kept, and what of the connection lies before is not seen.
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
  const machine = machineFor(inputs, request, interfaces);
  const choice = new Choice(selector);
  const earlier = new Earlier();
  const hear = (said: ReturnType<typeof machine.take>): void => {
    choice.hear(said);
    earlier.hear(said);
  };
  for await (const batch of eventsOf(inputs, interfaces)) {
    for (const event of batch) machine.push(event);
    hear(machine.take());
    if (io.signal.aborted) return undefined;
  }
  hear(machine.finish(inputs.counts.packets));
  const chosen = choice.chosen;
  if (chosen === undefined) throw new UsageError(whyNone(selector, choice));
  tellMatches(selector, choice, chosen, io);
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
  const home = inputs.nodes.length === 1 ? inputs.nodes[0] : undefined;
  const gatherer = new CaseGatherer(match, interfaces, cluster, home);
  for await (const batch of eventsOf(inputs, interfaces)) {
    for (const event of batch) {
      if (event.type === 'cluster') cluster.apply(event.change, event.time);
      gatherer.take(event);
    }
    if (io.signal.aborted) return undefined;
  }
  const { attribution } = match;
  const name = attribution.node ?? home;
  const routes = routesOf(inputs, name);
  return gatherer.result({
    notices: choice.noticesFor(attribution.connection),
    losses: choice.losses,
    node: {
      ...nodeFacts(routes === undefined ? {} : { routes }),
      ...(name !== undefined && name !== '' && { name }),
    },
    earlier: earlier.before(attribution),
    ...(routes !== undefined && { routes }),
  });
}

function routesOf(
  { routes }: ReplayInputs,
  node: string | undefined,
): ReturnType<ReplayInputs['routes']['get']> {
  return routes.get(node ?? '') ?? (routes.size === 1 ? [...routes.values()][0] : undefined);
}
