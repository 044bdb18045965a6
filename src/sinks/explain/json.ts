import type { Attribution } from '../../model/attribution.js';
import type { ExplainedWalk, Explanation } from '../../model/explanation.js';
import type { Finding } from '../../model/finding.js';
import { toNumber } from '../../model/share.js';
import type { Story } from '../../model/story.js';
import { formatNanos, type Nanos } from '../../model/time.js';
import type {
  Distribution,
  Effect,
  FirstPacket,
  Share,
  WalkEnding,
  WalkedRule,
} from '../../model/walk.js';
import { quote } from '../lines.js';
import { sameEnd } from './ways.js';

/** Endings whose steps are listed beside those of the one that was taken: a Service of 1,000 endpoints has millions. */
const MAX_WALKED = 64;

/** JSON values; a member that is `undefined` is left out. */
type Json =
  | string
  | number
  | boolean
  | undefined
  | readonly Json[]
  | { readonly [key: string]: Json };

/** The explanation for programs, schema `whichpod-explain/1` (docs/schema.md), ending in a newline. */
export function renderJson(explanation: Explanation): string {
  const { attribution, walk, story, findings, remarks } = explanation;
  return `${write(
    {
      schema: 'whichpod-explain/1',
      attribution: attribution && attributionOf(attribution),
      walk: walk && walkOf(walk),
      story: story && storyOf(story),
      findings: findings.map(findingOf),
      remarks,
    },
    0,
  )}\n`;
}

/** Deeper values stand on one line: a rule a line, an ending a line. */
const SPREAD_LEVELS = 3;

/** As JSON.stringify writes it, with every string safe to look at. */
function write(value: Json, level: number): string {
  if (typeof value === 'string') return quote(value);
  if (typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (isList(value))
    return brackets(
      '[',
      value.map((it) => write(it, level + 1)),
      ']',
      level,
    );
  const members = Object.entries(value)
    .filter(([, it]) => it !== undefined && !isEmptyGroup(it) && !isNoNumber(it))
    .map(([key, it]) => `${quote(key)}: ${write(it, level + 1)}`);
  return brackets('{', members, '}', level);
}

function brackets(open: string, items: readonly string[], close: string, level: number): string {
  if (items.length === 0) return open + close;
  if (level >= SPREAD_LEVELS) return open + items.join(', ') + close;
  const indent = '  '.repeat(level);
  return `${open}\n${indent}  ${items.join(`,\n${indent}  `)}\n${indent}${close}`;
}

function isList(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

/** A group of which nothing is known is itself not known. */
function isEmptyGroup(value: Json): boolean {
  return (
    typeof value === 'object' &&
    !isList(value) &&
    Object.values(value).every((it) => it === undefined)
  );
}

/** JSON has none for NaN. */
function isNoNumber(value: Json): boolean {
  return typeof value === 'number' && !Number.isFinite(value);
}

/** '' is how some records say that they do not know. */
const known = (text: string | undefined): string | undefined => (text === '' ? undefined : text);
const time = (at: Nanos | undefined): string | undefined =>
  at === undefined ? undefined : formatNanos(at);

/** Member for member as the events' (docs/schema.md#attribution-and-close). */
function attributionOf(a: Attribution): Json {
  const { client, backend } = a;
  return {
    connection: a.connection,
    time: time(a.time),
    timeSource: a.timeSource,
    timeUncertaintyNs: a.timeUncertaintyNs,
    protocol: a.protocol,
    zone: a.zone,
    client: peer(client),
    destination: end(a.destination),
    service: a.service && {
      namespace: known(a.service.namespace),
      name: known(a.service.name),
      portName: known(a.service.portName),
      via: a.service.via,
    },
    backend: backend && peer(backend),
    source: a.source && end(a.source),
    rules: a.rules && {
      mode: a.rules.mode,
      backend: a.rules.backend,
      path: a.rules.path,
      probability: a.rules.probability,
      affinity: a.rules.affinity,
    },
    interfaces: interfaces(a.interfaces),
    evidence: a.evidence,
    verdict: a.verdict,
    reason: a.reason,
    outcome: a.outcome,
    claims:
      a.claims === undefined || a.claims.length === 0
        ? undefined
        : a.claims.map((it) => ({ evidence: it.evidence, backend: peer(it.backend) })),
    latency: a.latency && {
      natNs: a.latency.natNs,
      handshakeNs: a.latency.handshakeNs,
      networkNs: a.latency.networkNs,
      networkRoundTripNs: a.latency.networkRoundTripNs,
    },
    node: known(a.node),
    farEnd: a.farEnd && {
      node: a.farEnd.node,
      time: time(a.farEnd.time),
      interfaces: interfaces(a.farEnd.interfaces),
      handshakeNs: a.farEnd.handshakeNs,
    },
    retransmits: a.retransmits,
    endTime: time(a.endTime),
    original: a.original && { packets: a.original.packets, bytes: a.original.bytes },
    reply: a.reply && { packets: a.reply.packets, bytes: a.reply.bytes },
  };
}

function peer(it: NonNullable<Attribution['backend']>): Json {
  return {
    ip: it.ip,
    port: it.port,
    pod: it.pod && podOf(it.pod),
    node: known(it.node),
    hostNetwork: it.hostNetwork,
  };
}

function podOf(pod: NonNullable<Attribution['client']['pod']>): Json {
  return {
    namespace: pod.namespace,
    name: pod.name,
    uid: known(pod.uid),
    node: known(pod.node),
  };
}

const end = (at: { readonly ip: string; readonly port: number }): Json => ({
  ip: at.ip,
  port: at.port,
});

const interfaces = (it: Attribution['interfaces']): Json =>
  it && { in: known(it.in), out: known(it.out) };

/**
 * Rules are listed once and named by their number: of thousands of ways each passes over the same
 * thousands of rules.
 */
function walkOf(walk: ExplainedWalk): Json {
  const { possible, taken, knownBy, pods } = walk;
  const rules = new RuleList();
  const at = taken === undefined ? -1 : possible.endings.findIndex((it) => sameEnd(it, taken));
  const endings = possible.endings.map((ending, i) =>
    endingOf(ending, i < MAX_WALKED || i === at ? rules : undefined, pods, rules),
  );
  return {
    packet: packetOf(possible),
    endings,
    taken: at < 0 ? undefined : at,
    knownBy,
    rules: rules.all,
    remarks: possible.remarks,
  };
}

class RuleList {
  readonly all: Json[] = [];
  private readonly numbers = new Map<WalkedRule, number>();
  private readonly texts = new Map<string, number>();

  number(rule: WalkedRule): number {
    const known = this.numbers.get(rule);
    if (known !== undefined) return known;
    const json = ruleOf(rule);
    const text = write(json, SPREAD_LEVELS);
    const number = this.texts.get(text) ?? this.all.push(json) - 1;
    this.texts.set(text, number);
    this.numbers.set(rule, number);
    return number;
  }
}

function packetOf({ packet }: Distribution): Json {
  return {
    protocol: packet.protocol,
    source: packet.source,
    sourcePort: packet.sourcePort,
    destination: packet.destination,
    port: packet.port,
    from: fromOf(packet),
  };
}

function fromOf({ from }: FirstPacket): Json {
  return from.kind === 'node' ? { kind: 'node' } : { kind: 'interface', name: known(from.name) };
}

/** `walked`: where its steps are listed; absent: they are left out. */
function endingOf(
  ending: WalkEnding,
  walked: RuleList | undefined,
  pods: ExplainedWalk['pods'],
  rules: RuleList,
): Json {
  const pod = ending.ip === undefined ? undefined : pods?.get(ending.ip);
  return {
    kind: ending.kind,
    ip: ending.ip,
    port: ending.port,
    pod: pod && podOf(pod),
    share: shareOf(ending.share),
    masquerade: ending.masquerade,
    mark: ending.mark,
    path: ending.path,
    affinity: ending.affinity,
    decidedBy: ending.decidedBy && rules.number(ending.decidedBy),
    assuming: ending.assuming,
    steps: walked && ending.steps.map((step) => walked.number(step)),
  };
}

function shareOf(share: Share): Json {
  return { parts: String(share.parts), bits: share.bits, value: toNumber(share) };
}

function ruleOf(rule: WalkedRule): Json {
  return {
    backend: rule.backend,
    hook: rule.hook,
    table: rule.table,
    chain: rule.chain,
    depth: rule.depth,
    position: rule.position,
    line: rule.line,
    handle: rule.handle,
    text: rule.text,
    packets: rule.packets,
    bytes: rule.bytes,
    met: rule.met,
    because: known(rule.because),
    chance: rule.chance && shareOf(rule.chance),
    effects: rule.effects.map(effectOf),
  };
}

function effectOf(effect: Effect): Json {
  switch (effect.does) {
    case 'jump':
    case 'goto':
      return { does: effect.does, chain: effect.chain };
    case 'dnat':
      return { does: effect.does, ip: effect.ip, port: effect.port };
    case 'snat':
      return { does: effect.does, ip: effect.ip };
    case 'masquerade':
      return { does: effect.does, randomFully: effect.randomFully };
    case 'mark':
      return { does: effect.does, mark: effect.mark };
    case 'remember':
      return { does: effect.does, list: effect.list };
    case 'unknown':
      return { does: effect.does, what: effect.what };
    case 'accept':
    case 'drop':
    case 'reject':
    case 'return':
    case 'nothing':
      return { does: effect.does };
  }
}

function storyOf({ places, lines, begin }: Story): Json {
  return {
    begin: time(begin),
    places: places.map((it) => ({ role: it.role, name: it.name, of: known(it.of) })),
    lines: lines.map((line) => ({
      time: time(line.time),
      sinceNs: line.sinceNs,
      uncertaintyNs: line.uncertaintyNs,
      place: line.place,
      way: line.way,
      what: line.what,
      detail: known(line.detail),
      bad: line.bad,
    })),
  };
}

function findingOf(finding: Finding): Json {
  return {
    code: finding.code,
    weight: finding.weight,
    title: finding.title,
    evidence: finding.evidence.map((it) => ({
      from: it.from,
      says: it.says,
      time: time(it.time),
    })),
    meaning: finding.meaning,
    next: finding.next,
  };
}
