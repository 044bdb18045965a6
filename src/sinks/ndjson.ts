import {
  type Attribution,
  type Backend,
  type Claim,
  type Direct,
  EVIDENCE,
  type Evidence,
  type FarEnd,
  OUTCOMES,
  type OutputEvent,
  type Peer,
  type PodRef,
  type ServiceRef,
  type Summary,
  VERDICTS,
} from '../model/attribution.js';
import type { Loss, Notice } from '../model/event.js';
import type { RulePath } from '../model/services.js';
import { formatNanos } from '../model/time.js';
import { fragment, type Lines, quote } from './lines.js';
import type { Sink, SinkOptions } from './sink.js';
import { type Renderer, TextSink } from './text-sink.js';

const PREFIX = '{"schema":"whichpod/1","type":"';

export function createNdjsonSink(options: SinkOptions): Sink {
  return new TextSink(ndjson, options);
}

const ndjson: Renderer = {
  render(events, to) {
    for (const event of events) {
      put(event, to);
      to.put(NEWLINE);
    }
  },
  tick: () => undefined,
  end: () => undefined,
};

/** One event as JSON without a newline (docs/schema.md). */
function put(event: OutputEvent, to: Lines): void {
  switch (event.type) {
    case 'attribution':
    case 'close':
      attributionLine(event.type, event.attribution, to);
      break;
    case 'direct':
      to.text(directLine(event.direct));
      break;
    case 'loss':
      to.text(lossLine(event.loss));
      break;
    case 'notice':
      to.text(noticeLine(event.notice));
      break;
    case 'summary':
      to.text(summaryLine(event.summary));
      break;
  }
}

const NEWLINE = fragment('\n');
const BEGINNING = {
  attribution: fragment(`${PREFIX}attribution","connection":"`),
  close: fragment(`${PREFIX}close","connection":"`),
} as const;
const END_OF_TEXT = fragment('"');
const END_OF_GROUP = fragment('}');
const TIME = fragment('","time":"');
const TIME_SOURCE = eachOf(
  ['packet', 'conntrack', 'listing'],
  (source) => `","timeSource":"${source}"`,
);
const UNCERTAINTY = fragment(',"timeUncertaintyNs":');
const PROTOCOL = eachOf(['tcp', 'udp', 'sctp'], (protocol) => `,"protocol":"${protocol}"`);
const ZONE = fragment(',"zone":');
const CLIENT = fragment(',"client":{"ip":"');
/** What stands between time and client of nearly all connections, in one piece. */
const FROM_TIME_TO_CLIENT = {
  packet: timeToClient('packet'),
  conntrack: timeToClient('conntrack'),
  listing: timeToClient('listing'),
} as const;
const PORT = fragment('","port":');
const NODE = fragment(',"node":');
const SOURCE = fragment(',"source":{"ip":"');
const VERDICT = eachOf(VERDICTS, (verdict) => `,"verdict":"${verdict}"`);
const REASON = fragment(',"reason":"');
const OUTCOME = eachOf(OUTCOMES, (outcome) => `,"outcome":"${outcome}"`);
const ATTRIBUTED = eachOf(OUTCOMES, (outcome) => `,"verdict":"attributed","outcome":"${outcome}"`);
const RETRANSMITS = fragment(',"retransmits":');
const END_TIME = fragment(',"endTime":"');

/** A fragment for each name that there is. */
function eachOf<Name extends string>(
  names: readonly Name[],
  write: (name: Name) => string,
): Readonly<Record<Name, Uint8Array>> {
  const written = names.map((name) => [name, fragment(write(name))]);
  return Object.fromEntries(written) as Record<Name, Uint8Array>;
}

function timeToClient(source: Attribution['timeSource']) {
  return eachOf(
    ['tcp', 'udp', 'sctp'],
    (protocol) => `","timeSource":"${source}","protocol":"${protocol}","client":{"ip":"`,
  );
}

/**
 * Written byte by byte: this is the whole cost of telling of a connection, and text that is put together
 * and then encoded takes several times as long. A test holds every line against JSON.stringify. Names of
 * verdicts and so on, connection ids and addresses are the machine's own text (address.ts makes canonical
 * ASCII), so they need no look at each character; all that came from outside is quoted.
 */
function attributionLine(type: 'attribution' | 'close', a: Attribution, to: Lines): void {
  to.put(BEGINNING[type]);
  to.ascii(a.connection);
  if (a.time !== undefined) {
    to.put(TIME);
    to.time(a.time);
  }
  if (a.timeUncertaintyNs === undefined && a.zone === undefined) {
    to.put(FROM_TIME_TO_CLIENT[a.timeSource][a.protocol]);
  } else {
    to.put(TIME_SOURCE[a.timeSource]);
    putNumber(UNCERTAINTY, a.timeUncertaintyNs, to);
    to.put(PROTOCOL[a.protocol]);
    putNumber(ZONE, a.zone, to);
    to.put(CLIENT);
  }
  putClient(a.client, to);
  to.put(wayOf(a));
  if (a.source) {
    to.put(SOURCE);
    to.ascii(a.source.ip);
    to.put(PORT);
    to.number(a.source.port);
    to.put(END_OF_GROUP);
    if (a.rules) to.put(rules(a.rules));
  }
  if (a.interfaces) putInterfaces(a.interfaces, to);
  to.put(evidence(a.evidence));
  if (a.verdict === 'attributed' && a.reason === undefined) to.put(ATTRIBUTED[a.outcome]);
  else {
    to.put(VERDICT[a.verdict]);
    if (a.reason !== undefined) {
      to.put(REASON);
      to.ascii(a.reason);
      to.put(END_OF_TEXT);
    }
    to.put(OUTCOME[a.outcome]);
  }
  if (a.claims && a.claims.length > 0) to.text(`,"claims":[${a.claims.map(claim).join(',')}]`);
  if (a.latency) LATENCY.put(a.latency, to);
  if (a.node !== undefined) to.text(text('node', a.node));
  if (a.farEnd) to.text(`,"farEnd":${farEnd(a.farEnd)}`);
  putNumber(RETRANSMITS, a.retransmits, to);
  if (a.endTime !== undefined) {
    to.put(END_TIME);
    to.time(a.endTime);
    to.put(END_OF_TEXT);
  }
  if (a.original) ORIGINAL.put(a.original, to);
  if (a.reply) REPLY.put(a.reply, to);
  to.put(END_OF_GROUP);
}

/** Nothing for what is not known or no number (JSON has none for NaN). */
function putNumber(name: Uint8Array, value: number | undefined, to: Lines): void {
  if (value === undefined || !Number.isFinite(value)) return;
  to.put(name);
  to.number(value);
}

function putClient(client: Peer, to: Lines): void {
  to.ascii(client.ip);
  to.put(PORT);
  to.number(client.port);
  if (client.pod !== undefined) {
    to.put(podBytes(client.pod));
  }
  if (client.node !== undefined && client.node !== '') {
    to.put(NODE);
    to.quoted(client.node);
  }
}

const INTERFACES = fragment(',"interfaces":{"');
const IN = fragment('in":');
const OUT = fragment('out":');
const NEXT_OUT = fragment(',"out":');

function putInterfaces(it: NonNullable<Attribution['interfaces']>, to: Lines): void {
  const before = it.in !== undefined && it.in !== '';
  const after = it.out !== undefined && it.out !== '';
  if (!before && !after) return;
  to.put(INTERFACES);
  if (before) {
    to.put(IN);
    to.quoted(it.in);
  }
  if (after) {
    to.put(before ? NEXT_OUT : OUT);
    to.quoted(it.out);
  }
  to.put(END_OF_GROUP);
}

/** Numbers of a group, in its order; nothing if none of them is known. */
class Numbers<Name extends string> {
  private readonly names: readonly Name[];
  /** Of the first that is there, and of each after it. */
  private readonly first: readonly Uint8Array[];
  private readonly next: readonly Uint8Array[];

  constructor(group: string, names: readonly Name[]) {
    this.names = names;
    this.first = names.map((name) => fragment(`,"${group}":{"${name}":`));
    this.next = names.map((name) => fragment(`,"${name}":`));
  }

  put(values: { readonly [name in Name]?: number | undefined }, to: Lines): void {
    let pieces = this.first;
    for (let i = 0; i < this.names.length; i++) {
      const name = this.names[i];
      const piece = pieces[i];
      const value = name === undefined ? undefined : values[name];
      if (piece === undefined || value === undefined || !Number.isFinite(value)) continue;
      to.put(piece);
      to.number(value);
      pieces = this.next;
    }
    if (pieces === this.next) to.put(END_OF_GROUP);
  }
}

const LATENCY = new Numbers('latency', ['natNs', 'handshakeNs', 'networkNs', 'networkRoundTripNs']);
const ORIGINAL = new Numbers('original', ['packets', 'bytes']);
const REPLY = new Numbers('reply', ['packets', 'bytes']);

interface WrittenWay {
  readonly destination: Attribution['destination'];
  readonly service: ServiceRef | undefined;
  readonly rules: RulePath | undefined;
  readonly bytes: Uint8Array;
}

/** Connections to one endpoint through one Service address share these objects: they are written once. */
const ways = new WeakMap<Backend, WrittenWay>();

/** From the end of the client to the end of the backend, and the rules where no `source` comes between. */
function wayOf({ destination, service: named, backend: to, source, rules: by }: Attribution) {
  const path = source === undefined ? by : undefined;
  const known = to && ways.get(to);
  if (
    known &&
    known.destination === destination &&
    known.service === named &&
    known.rules === path
  ) {
    return known.bytes;
  }
  const bytes = fragment(
    `},"destination":${address(destination)}}${named ? `,"service":${service(named)}` : ''}${to ? `,"backend":${backend(to)}` : ''}${path ? rulesText(path) : ''}`,
  );
  if (to) ways.set(to, { destination, service: named, rules: path, bytes });
  return bytes;
}

function farEnd(far: FarEnd): string {
  let s = `{"node":${quote(far.node)}`;
  if (far.time !== undefined) s += `,"time":"${formatNanos(far.time)}"`;
  if (far.interfaces) {
    s += group('interfaces', text('in', far.interfaces.in) + text('out', far.interfaces.out));
  }
  return `${s}${number('handshakeNs', far.handshakeNs)}}`;
}

function directLine(d: Direct): string {
  let s = `${PREFIX}direct","connection":"${d.connection}"`;
  if (d.time !== undefined) s += `,"time":"${formatNanos(d.time)}"`;
  s += `,"protocol":"${d.protocol}","client":${peer(d.client)}},"backend":${backend(d.backend)}`;
  return `${s},"outcome":"${d.outcome}","candidates":${JSON.stringify(d.candidates)}}`;
}

function lossLine(loss: Loss): string {
  let s = `${PREFIX}loss","source":${quote(loss.source)}${number('count', loss.count)}`;
  if (loss.from !== undefined) s += `,"from":"${formatNanos(loss.from)}"`;
  if (loss.to !== undefined) s += `,"to":"${formatNanos(loss.to)}"`;
  return `${s}${text('detail', loss.detail)}}`;
}

function noticeLine(notice: Notice): string {
  let s = `${PREFIX}notice","code":${quote(notice.code)}`;
  if (notice.time !== undefined) s += `,"time":"${formatNanos(notice.time)}"`;
  return `${s}${text('connection', notice.connection)}${text('detail', notice.detail)}}`;
}

/** The summary as one line of JSON without its newline. */
export function summaryLine(summary: Summary): string {
  return `${PREFIX}summary",${JSON.stringify({
    connections: summary.connections,
    packets: summary.packets,
    losses: summary.losses,
    durationNs: summary.durationNs,
    direct: summary.direct,
    other: summary.other,
    existing: summary.existing,
    leftOut: summary.leftOut,
  }).slice(1)}`;
}

/** Pods and rule paths are few, and many connections share them: each is written once and kept for as long as it lives. */
const podTexts = new WeakMap<PodRef, Uint8Array>();
const ruleTexts = new WeakMap<RulePath, Uint8Array>();

function podBytes(ref: PodRef): Uint8Array {
  let bytes = podTexts.get(ref);
  if (bytes === undefined) {
    bytes = fragment(`,"pod":${pod(ref)}`);
    podTexts.set(ref, bytes);
  }
  return bytes;
}

function pod(ref: PodRef): string {
  return `{"namespace":${quote(ref.namespace)},"name":${quote(ref.name)}${text('uid', ref.uid)}${text('node', ref.node)}}`;
}

function service(ref: ServiceRef): string {
  const names = `${text('namespace', ref.namespace)}${text('name', ref.name)}${text('portName', ref.portName)}`;
  return `{${`${names},"via":"${ref.via}"`.slice(1)}}`;
}

function rules(path: RulePath): Uint8Array {
  let bytes = ruleTexts.get(path);
  if (bytes === undefined) {
    bytes = fragment(rulesText(path));
    ruleTexts.set(path, bytes);
  }
  return bytes;
}

function rulesText(path: RulePath): string {
  return `,"rules":{"mode":"${path.mode}"${text('backend', path.backend)},"path":[${path.path.map(quote).join(',')}]${number('probability', path.probability)},"affinity":${path.affinity}}`;
}

/** Without its closing brace, as `peer`: the caller may have more to add. */
function address(at: { readonly ip: string; readonly port: number }): string {
  return `{"ip":"${at.ip}","port":${at.port}`;
}

function peer(it: Peer): string {
  const s = `{"ip":"${it.ip}","port":${it.port}`;
  if (it.pod === undefined) return it.node === undefined ? s : s + text('node', it.node);
  return it.node === undefined
    ? `${s},"pod":${pod(it.pod)}`
    : `${s},"pod":${pod(it.pod)}${text('node', it.node)}`;
}

function backend(it: Backend): string {
  const s = peer(it);
  return it.hostNetwork === undefined ? `${s}}` : `${s},"hostNetwork":${it.hostNetwork}}`;
}

/** Every possible list of evidence, by the bits of its members. */
const EVIDENCE_TEXTS: readonly Uint8Array[] = Array.from(
  { length: 1 << EVIDENCE.length },
  (_, bits) =>
    fragment(`,"evidence":${JSON.stringify(EVIDENCE.filter((_, i) => bits & (1 << i)))}`),
);
const NO_EVIDENCE = fragment(',"evidence":[]');

function evidence(list: readonly Evidence[]): Uint8Array {
  let bits = 0;
  for (const it of list) bits |= 1 << EVIDENCE.indexOf(it);
  return EVIDENCE_TEXTS[bits] ?? NO_EVIDENCE;
}

function claim(it: Claim): string {
  return `{"evidence":"${it.evidence}","backend":${backend(it.backend)}}`;
}

/** `,"name":{…}` of fields that each begin with a comma; nothing if there are none. */
function group(name: string, fields: string): string {
  return fields === '' ? '' : `,"${name}":{${fields.slice(1)}}`;
}

/** `,"name":"…"`; nothing for what is not known. */
function text(name: string, value: string | undefined): string {
  return value === undefined || value === '' ? '' : `,"${name}":${quote(value)}`;
}

/** `,"name":1`; nothing for what is not known or no number (JSON has none for NaN). */
function number(name: string, value: number | undefined): string {
  return value === undefined || !Number.isFinite(value)
    ? ''
    : `,"${name}":${value === 0 ? 0 : value}`;
}
