import {
  type Attribution,
  type Backend,
  type Claim,
  type Direct,
  EVIDENCE,
  type Evidence,
  type FarEnd,
  type OutputEvent,
  type Peer,
  type PodRef,
  type ServiceRef,
  type Summary,
  type Traffic,
} from '../model/attribution.js';
import type { Loss, Notice } from '../model/event.js';
import type { RulePath } from '../model/services.js';
import { formatNanos, type Nanos } from '../model/time.js';
import type { Sink, SinkOptions } from './sink.js';
import { type Renderer, TextSink } from './text-sink.js';

/**
 * Lines are put together by hand: this is the whole cost of writing a connection, and going through an
 * object and JSON.stringify takes twice the time. A test holds every line against JSON.stringify.
 */
const PREFIX = '{"schema":"whichpod/1","type":"';

/** One event as one line of JSON without its newline (docs/schema.md). */
export function formatEvent(event: OutputEvent): string {
  switch (event.type) {
    case 'attribution':
    case 'close':
      return attributionLine(event.type, event.attribution);
    case 'direct':
      return directLine(event.direct);
    case 'loss':
      return lossLine(event.loss);
    case 'notice':
      return noticeLine(event.notice);
    case 'summary':
      return summaryLine(event.summary);
  }
}

export function createNdjsonSink(options: SinkOptions): Sink {
  return new TextSink(ndjson, options);
}

const ndjson: Renderer = {
  render(events) {
    let lines = '';
    for (const event of events) lines += `${formatEvent(event)}\n`;
    return lines;
  },
  tick: () => '',
  end: () => '',
};

/**
 * Names of evidence, verdicts and so on, connection ids and addresses are the machine's own text (address.ts
 * makes canonical ASCII), so they need no look at each character; all that came from outside goes through `quote`.
 */
function attributionLine(type: 'attribution' | 'close', a: Attribution): string {
  let s = `${PREFIX}${type}","connection":"${a.connection}"`;
  if (a.time !== undefined) s += `,"time":"${time(a.time)}"`;
  s += `,"timeSource":"${a.timeSource}"`;
  if (a.timeUncertaintyNs !== undefined) s += number('timeUncertaintyNs', a.timeUncertaintyNs);
  s += `,"protocol":"${a.protocol}"`;
  if (a.zone !== undefined) s += number('zone', a.zone);
  s += `,"client":${peer(a.client)}},"destination":${address(a.destination)}}`;
  if (a.service) s += `,"service":${service(a.service)}`;
  if (a.backend) s += `,"backend":${backend(a.backend)}`;
  if (a.source) s += `,"source":${address(a.source)}}`;
  if (a.rules) s += `,"rules":${rules(a.rules)}`;
  if (a.interfaces) {
    s += group('interfaces', text('in', a.interfaces.in) + text('out', a.interfaces.out));
  }
  s += `,"evidence":${evidence(a.evidence)},"verdict":"${a.verdict}"`;
  if (a.reason !== undefined) s += `,"reason":"${a.reason}"`;
  s += `,"outcome":"${a.outcome}"`;
  if (a.claims && a.claims.length > 0) s += `,"claims":[${a.claims.map(claim).join(',')}]`;
  if (a.latency) {
    const { natNs, handshakeNs, networkNs, networkRoundTripNs } = a.latency;
    s += group(
      'latency',
      number('natNs', natNs) +
        number('handshakeNs', handshakeNs) +
        number('networkNs', networkNs) +
        number('networkRoundTripNs', networkRoundTripNs),
    );
  }
  s += text('node', a.node);
  if (a.farEnd) s += `,"farEnd":${farEnd(a.farEnd)}`;
  if (a.retransmits !== undefined) s += number('retransmits', a.retransmits);
  if (a.endTime !== undefined) s += `,"endTime":"${time(a.endTime)}"`;
  if (a.original) s += traffic('original', a.original);
  if (a.reply) s += traffic('reply', a.reply);
  return `${s}}`;
}

function farEnd(far: FarEnd): string {
  let s = `{"node":${quote(far.node)}`;
  if (far.time !== undefined) s += `,"time":"${time(far.time)}"`;
  if (far.interfaces) {
    s += group('interfaces', text('in', far.interfaces.in) + text('out', far.interfaces.out));
  }
  return `${s}${number('handshakeNs', far.handshakeNs)}}`;
}

function directLine(d: Direct): string {
  let s = `${PREFIX}direct","connection":"${d.connection}"`;
  if (d.time !== undefined) s += `,"time":"${time(d.time)}"`;
  s += `,"protocol":"${d.protocol}","client":${peer(d.client)}},"backend":${backend(d.backend)}`;
  return `${s},"outcome":"${d.outcome}","candidates":${JSON.stringify(d.candidates)}}`;
}

function lossLine(loss: Loss): string {
  let s = `${PREFIX}loss","source":${quote(loss.source)}${number('count', loss.count)}`;
  if (loss.from !== undefined) s += `,"from":"${time(loss.from)}"`;
  if (loss.to !== undefined) s += `,"to":"${time(loss.to)}"`;
  return `${s}${text('detail', loss.detail)}}`;
}

function noticeLine(notice: Notice): string {
  let s = `${PREFIX}notice","code":${quote(notice.code)}`;
  if (notice.time !== undefined) s += `,"time":"${time(notice.time)}"`;
  return `${s}${text('connection', notice.connection)}${text('detail', notice.detail)}}`;
}

function summaryLine(summary: Summary): string {
  return `${PREFIX}summary",${JSON.stringify({
    connections: summary.connections,
    packets: summary.packets,
    losses: summary.losses,
    durationNs: summary.durationNs,
    direct: summary.direct,
    other: summary.other,
    existing: summary.existing,
  }).slice(1)}`;
}

/**
 * Pods, Services and rule paths are few, and many connections share them: each is written once and kept for as
 * long as it lives.
 */
const podTexts = new WeakMap<PodRef, string>();
const serviceTexts = new WeakMap<ServiceRef, string>();
const ruleTexts = new WeakMap<RulePath, string>();

function pod(ref: PodRef): string {
  let s = podTexts.get(ref);
  if (s === undefined) {
    s = flat(
      `{"namespace":${quote(ref.namespace)},"name":${quote(ref.name)}${text('uid', ref.uid)}${text('node', ref.node)}}`,
    );
    podTexts.set(ref, s);
  }
  return s;
}

function service(ref: ServiceRef): string {
  let s = serviceTexts.get(ref);
  if (s === undefined) {
    const names = `${text('namespace', ref.namespace)}${text('name', ref.name)}${text('portName', ref.portName)}`;
    s = flat(`{${`${names},"via":"${ref.via}"}`.slice(1)}`);
    serviceTexts.set(ref, s);
  }
  return s;
}

function rules(path: RulePath): string {
  let s = ruleTexts.get(path);
  if (s === undefined) {
    s = flat(
      `{"mode":"${path.mode}"${text('backend', path.backend)},"path":[${path.path.map(quote).join(',')}]${number('probability', path.probability)},"affinity":${path.affinity}}`,
    );
    ruleTexts.set(path, s);
  }
  return s;
}

/** The same text in one piece: V8 keeps a concatenation as a tree until somebody needs its characters. */
function flat(s: string): string {
  PLAIN.test(s);
  return s;
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
const EVIDENCE_TEXTS: readonly string[] = Array.from({ length: 1 << EVIDENCE.length }, (_, bits) =>
  JSON.stringify(EVIDENCE.filter((_, i) => bits & (1 << i))),
);

function evidence(list: readonly Evidence[]): string {
  let bits = 0;
  for (const it of list) bits |= 1 << EVIDENCE.indexOf(it);
  return EVIDENCE_TEXTS[bits] ?? '[]';
}

function claim(it: Claim): string {
  return `{"evidence":"${it.evidence}","backend":${backend(it.backend)}}`;
}

function traffic(name: string, it: Traffic): string {
  return group(name, number('packets', it.packets) + number('bytes', it.bytes));
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

const PLAIN = /^[ !#-[\]-~]*$/;
/** What a terminal would obey and JSON.stringify leaves as it is: DEL, C1, bidirectional controls, separators. */
const OBEYED = /[\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** Any text as a JSON string that is also safe to look at: it reads back as the same text. */
function quote(value: string): string {
  if (PLAIN.test(value)) return `"${value}"`;
  return JSON.stringify(value).replace(
    OBEYED,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

let secondStart = 0n;
let secondText = '';

/** RFC 3339 with nanoseconds. Events of one second share its text: only the fraction is written anew. */
function time(at: Nanos): string {
  let fraction = Number(at - secondStart);
  if (secondText === '' || fraction < 0 || fraction >= 1_000_000_000) {
    const whole = formatNanos(at);
    secondText = whole.slice(0, -10);
    fraction = Number(whole.slice(-10, -1));
    secondStart = at - BigInt(fraction);
  }
  return `${secondText}${String(fraction + 1_000_000_000).slice(1)}Z`;
}
