import { protocolName } from '../model/packet.js';
import type {
  Audit,
  CounterMove,
  Drift,
  EndpointView,
  RuleOverview,
  ServiceView,
} from '../model/rule-view.js';
import { formatNanos, type Nanos } from '../model/time.js';
import { quote } from './lines.js';
import { exactWord } from './rules-words.js';

/** The schema of everything that `rules` writes for programs (docs/schema.md). */
const SCHEMA = 'whichpod-rules/1';

export interface RulesFindings {
  readonly drift?: readonly Drift[];
  readonly audit?: readonly Audit[];
}

/** One JSON object, a Service a line: a large node's is read and written piece by piece. */
export function* rulesJson(overview: RuleOverview, found: RulesFindings): Generator<string> {
  const read = overview.read.map(({ time, ...rest }) => ({
    ...rest,
    ...(time !== undefined && { time: formatNanos(time) }),
  }));
  yield `{"schema":${quote(SCHEMA)},"type":"rules","cluster":${overview.hasCluster},"read":${json(read)},"services":[`;
  let comma = '\n';
  for (const service of overview.services) {
    yield `${comma}${json(serviceJson(service))}`;
    comma = ',\n';
  }
  yield '\n]';
  if (found.drift !== undefined) yield* list('drift', found.drift.map(driftJson));
  if (found.audit !== undefined) yield* list('audit', found.audit.map(auditJson));
  yield '}\n';
}

/** One line a counter that moved. */
export function moveJson(
  { read, service, protocol, chain, endpoint, kind, before, after }: CounterMove,
  overview: RuleOverview,
  time: Nanos | undefined,
): string {
  const { node, kind: mode, backend } = overview.read[read] ?? {};
  return `${json({
    schema: SCHEMA,
    type: kind,
    ...(time !== undefined && { time: formatNanos(time) }),
    ...(node !== undefined && { node }),
    mode,
    backend,
    ...(service && { service }),
    protocol: protocolName(protocol),
    chain,
    endpoint: endpointJson(endpoint),
    before,
    after,
  })}\n`;
}

function* list(name: string, items: readonly unknown[]): Generator<string> {
  yield `,${quote(name)}:[`;
  let comma = '\n';
  for (const item of items) {
    yield `${comma}${json(item)}`;
    comma = ',\n';
  }
  yield '\n]';
}

function serviceJson({ service, nameUnverified, protocol, ways, balancers }: ServiceView): unknown {
  return {
    ...(service && { service }),
    ...(nameUnverified && { nameUnverified }),
    protocol: protocolName(protocol),
    ways,
    balancers: balancers.map(({ endpoints, ...rest }) => ({
      ...rest,
      endpoints: endpoints.map(endpointJson),
    })),
  };
}

function endpointJson({ exact, stored, ...rest }: EndpointView): unknown {
  return {
    ...rest,
    ...(stored !== undefined && { rule: `${stored}/2^31` }),
    ...(exact !== undefined && { exact: exactWord(exact) }),
  };
}

function driftJson({ since, protocol, ...rest }: Drift): unknown {
  return {
    ...rest,
    ...(protocol !== undefined && { protocol: protocolName(protocol) }),
    ...(since !== undefined && { since: formatNanos(since) }),
  };
}

function auditJson({ protocol, ...rest }: Audit): unknown {
  return { ...rest, protocol: protocolName(protocol) };
}

/** JSON that is also safe to look at. */
function json(value: unknown): string {
  return JSON.stringify(value).replace(
    /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g,
    (c) => quote(c).slice(1, -1),
  );
}
