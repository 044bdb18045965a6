import { fileURLToPath } from 'node:url';
import { ClusterState } from '../../src/correlate/cluster-state.js';
import { Correlator } from '../../src/correlate/correlator.js';
import type { Attribution, OutputEvent } from '../../src/model/attribution.js';
import type { Case, EarlierConnection } from '../../src/model/case.js';
import type { InputEvent, Loss, Notice } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import { secondsOf, UTC } from '../../src/model/time.js';
import { CaseGatherer } from '../../src/pipeline/case-gatherer.js';
import { mergeByTime } from '../../src/pipeline/merge.js';
import { RuleSurvey } from '../../src/pipeline/rule-survey.js';
import { openInputs, type ReplayInputs } from '../../src/sources/files/open.js';

/** Which parts of a folder are read: all, or files whose path fits. */
export interface CaseOptions {
  readonly inputs?: readonly string[];
  readonly node?: string;
}

/** Opens a folder below the project's root anew: streams are read once. */
function open(
  folder: string,
  { inputs, node }: CaseOptions,
  interfaces: Interfaces,
): Promise<ReplayInputs> {
  const root = fileURLToPath(new URL(`../../${folder}`, import.meta.url));
  const paths = inputs === undefined ? [root] : inputs.map((name) => `${root}/${name}`);
  return openInputs(
    paths.map((path) => ({ path })),
    { interfaces, offsetAt: UTC, onProblem: () => {}, ...(node !== undefined && { node }) },
  );
}

async function* events(inputs: ReplayInputs, interfaces: Interfaces): AsyncGenerator<InputEvent> {
  const survey = new RuleSurvey();
  survey.prepare(inputs.prelude);
  for (const event of inputs.prelude) yield* survey.take(event);
  yield* survey.conclude();
  for await (const batch of mergeByTime(inputs.streams, interfaces)) {
    for (const event of batch) yield* survey.take(event);
  }
}

interface Said {
  readonly closes: readonly Attribution[];
  readonly notices: readonly Notice[];
  readonly losses: readonly Loss[];
}

function sorted(all: readonly OutputEvent[]): Said {
  return {
    closes: all.flatMap((event) => (event.type === 'close' ? [event.attribution] : [])),
    notices: all.flatMap((event) => (event.type === 'notice' ? [event.notice] : [])),
    losses: all.flatMap((event) => (event.type === 'loss' ? [event.loss] : [])),
  };
}

/** The cases of all connections that a folder shows, of which `wanted` holds; in order of time. */
export async function casesOf(
  folder: string,
  wanted: (attribution: Attribution) => boolean = () => true,
  options: CaseOptions = {},
): Promise<readonly Case[]> {
  const interfaces = new Interfaces();
  const first = await open(folder, options, interfaces);
  const [name = ''] = first.nodes;
  const node = options.node ?? name;
  const machine = new Correlator({
    interfaces,
    baseSeconds: first.firstTime === undefined ? 0 : secondsOf(first.firstTime),
    ...(first.lastRules !== undefined && { lastRules: first.lastRules }),
    packetsOnly: !first.hasConntrack,
    ...(node !== '' && { node }),
  });
  const out: OutputEvent[] = [];
  for await (const event of events(first, interfaces)) {
    machine.push(event);
    out.push(...machine.take());
  }
  out.push(...machine.finish());
  const said = sorted(out);
  const cluster = new ClusterState();
  const chosen = said.closes.filter(wanted);
  const gatherers = chosen.map(
    (attribution) => new CaseGatherer({ attribution, closed: true }, interfaces, cluster, node),
  );
  const second = await open(folder, options, interfaces);
  for await (const event of events(second, interfaces)) {
    if (event.type === 'cluster') cluster.apply(event.change, event.time);
    for (const gatherer of gatherers) gatherer.take(event);
  }
  const routes = second.routes.get(node) ?? second.routes.get('');
  return gatherers.map((gatherer, i) => {
    const attribution = chosen[i] as Attribution;
    return gatherer.result({
      notices: said.notices.filter(
        ({ connection }) => connection === undefined || connection === attribution.connection,
      ),
      losses: said.losses,
      ...(node !== '' && { nodeName: node }),
      earlier: earlierOf(attribution, said.closes),
      ...(routes !== undefined && { routes }),
    });
  });
}

function earlierOf(
  { client, destination, protocol, time, connection }: Attribution,
  all: readonly Attribution[],
): readonly EarlierConnection[] {
  return all
    .filter(
      (other) =>
        other.connection !== connection &&
        other.client.ip === client.ip &&
        other.destination.ip === destination.ip &&
        other.destination.port === destination.port &&
        other.protocol === protocol &&
        time !== undefined &&
        (other.time ?? time) < time,
    )
    .flatMap(({ connection: id, time: at, backend }) =>
      at === undefined || backend === undefined
        ? []
        : [{ connection: id, time: at, backend: { ip: backend.ip, port: backend.port } }],
    )
    .sort((a, b) => (a.time > b.time ? -1 : 1));
}
