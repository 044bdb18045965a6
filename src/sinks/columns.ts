import { formatEndpoint } from '../model/address.js';
import { type Attribution, EVIDENCE, type Evidence, type Peer } from '../model/attribution.js';
import { formatNanos, type Nanos } from '../model/time.js';
import { escapeText } from './escape.js';
import type { Shape } from './layout.js';
import { humanDuration } from './units.js';
import type { Cut } from './width.js';

export interface Column extends Shape {
  readonly header: string;
  readonly cut: Cut;
  /** Colour by what came of the connection, faint, or plain. */
  readonly paint: 'result' | 'dim' | 'none';
  /** The cell's text, safe for a terminal; '' if there is nothing to say. */
  readonly cell: (a: Attribution) => string;
  /** What is said instead where that does not fit; without it `cell` is cut. */
  readonly brief?: (a: Attribution) => string;
}

/** Time of day, UTC, to the millisecond. */
export function timeOfDay(time: Nanos): string {
  return formatNanos(time).slice(11, 23);
}

const endpoint = (at: { readonly ip: string; readonly port: number } | undefined): string =>
  at ? escapeText(formatEndpoint(at.ip, at.port)) : '';

/** A Pod's name, with its namespace where that is not the Service's; an address where no Pod is known. */
function podOrAddress(peer: Peer | undefined, a: Attribution): string {
  if (!peer?.pod) return endpoint(peer);
  const { namespace, name } = peer.pod;
  return escapeText(namespace === a.service?.namespace ? name : `${namespace}/${name}`);
}

/** The same without namespace or port. */
const podOrIp = (peer: Peer | undefined): string => escapeText(peer?.pod?.name ?? peer?.ip ?? '');

function serviceOrAddress(a: Attribution): string {
  const { service, destination } = a;
  if (service?.name === undefined) return endpoint(destination);
  return escapeText(`${service.namespace ?? ''}/${service.name}:${destination.port}`);
}

function serviceName({ service, destination }: Attribution): string {
  if (service?.name === undefined) return endpoint(destination);
  return escapeText(`${service.name}:${destination.port}`);
}

/** Labels for what does not fit a column; every other reason is shown as it is. */
const SHORT_REASONS: ReadonlyMap<string, string> = new Map([
  ['unknown-service-address', 'unknown-service'],
]);

/** Verdict and outcome in one word: what came of it, or why nobody knows. */
function result(a: Attribution): string {
  if (a.verdict === 'attributed') return a.outcome;
  if (a.verdict === 'conflict') return 'conflict';
  return SHORT_REASONS.get(a.reason ?? '') ?? a.reason ?? 'unattributed';
}

/** The chain of the endpoint: the last on the way that is no map. */
function endpointChain(a: Attribution): string {
  return escapeText(a.rules?.path.findLast((name) => !name.startsWith('map ')) ?? '');
}

const LETTERS: Readonly<Record<Evidence, string>> = {
  conntrack: 'C',
  packets: 'P',
  rules: 'R',
  cluster: 'K',
};

function evidenceLetters(a: Attribution): string {
  return EVIDENCE.map((e) => (a.evidence.includes(e) ? LETTERS[e] : '-')).join('');
}

const duration = (ns: number | undefined): string => (ns === undefined ? '' : humanDuration(ns));

function latencies(a: Attribution): string {
  const { natNs, handshakeNs } = a.latency ?? {};
  if (natNs === undefined && handshakeNs === undefined) return '';
  return `${duration(natNs) || '-'}/${duration(handshakeNs) || '-'}`;
}

const node = (peer: Peer | undefined): string => escapeText(peer?.node ?? peer?.pod?.node ?? '');

function interfaces(a: Attribution): string {
  if (!a.interfaces) return '';
  return escapeText(`${a.interfaces.in ?? '?'}>${a.interfaces.out ?? '?'}`);
}

interface Options {
  readonly cut?: Cut;
  readonly paint?: Column['paint'];
  readonly optional?: boolean;
  readonly brief?: Column['brief'];
}

const column = (
  rank: number,
  header: string,
  [min, usual, max]: readonly [number, number, number],
  cell: Column['cell'],
  options: Options = {},
): Column => ({
  header,
  min,
  usual,
  max,
  rank,
  essential: !options.optional,
  cut: options.cut ?? 'middle',
  paint: options.paint ?? 'none',
  cell,
  ...(options.brief ? { brief: options.brief } : {}),
});

const CLIENT: Options = { brief: (a) => podOrIp(a.client) };
const SERVICE: Options = { brief: serviceName };
const POD: Options = { brief: (a) => podOrIp(a.backend) };
const OPTIONAL: Options = { optional: true };

/** The essential ones fill 80 columns when all have what they usually need; the others come as there is room. */
export const TABLE: readonly Column[] = [
  column(5, 'TIME (UTC)', [12, 12, 12], (a) => (a.time === undefined ? '' : timeOfDay(a.time)), {
    paint: 'dim',
  }),
  column(4, 'CLIENT', [8, 12, 60], (a) => podOrAddress(a.client, a), CLIENT),
  column(3, 'SERVICE', [10, 16, 70], serviceOrAddress, SERVICE),
  column(1, 'POD', [12, 22, 80], (a) => podOrAddress(a.backend, a), POD),
  column(2, 'RESULT', [11, 12, 20], result, { cut: 'end', paint: 'result' }),
  column(7, 'CHAIN', [12, 25, 60], endpointChain, OPTIONAL),
  column(6, 'EVID', [4, 4, 4], evidenceLetters, OPTIONAL),
  column(8, 'LATENCY', [10, 10, 13], latencies, { optional: true, cut: 'end' }),
  column(9, 'NODE', [8, 8, 40], (a) => node(a.backend), OPTIONAL),
];

export const WIDE: readonly Column[] = [
  column(
    5,
    'TIME (UTC)',
    [12, 18, 18],
    (a) => (a.time === undefined ? '' : formatNanos(a.time).slice(11, -1)),
    { paint: 'dim', cut: 'end' },
  ),
  column(12, 'PROTO', [5, 5, 5], (a) => a.protocol, OPTIONAL),
  column(4, 'CLIENT', [8, 16, 60], (a) => podOrAddress(a.client, a), CLIENT),
  column(14, 'FROM', [16, 16, 50], (a) => endpoint(a.client), OPTIONAL),
  column(3, 'SERVICE', [10, 16, 70], serviceOrAddress, SERVICE),
  column(15, 'TO', [16, 16, 50], (a) => endpoint(a.destination), OPTIONAL),
  column(16, 'VIA', [9, 9, 14], (a) => a.service?.via ?? '', OPTIONAL),
  column(1, 'POD', [12, 22, 80], (a) => podOrAddress(a.backend, a), POD),
  column(13, 'BACKEND', [16, 16, 50], (a) => endpoint(a.backend), OPTIONAL),
  column(9, 'NODE', [8, 8, 40], (a) => node(a.backend), OPTIONAL),
  column(2, 'RESULT', [11, 12, 20], result, { cut: 'end', paint: 'result' }),
  column(17, 'REASON', [12, 19, 24], (a) => a.reason ?? '', { optional: true, cut: 'end' }),
  column(
    7,
    'CHAIN PATH',
    [25, 65, 200],
    (a) => escapeText(a.rules?.path.join('>') ?? ''),
    OPTIONAL,
  ),
  column(
    11,
    'PROB',
    [6, 6, 6],
    (a) => (a.rules?.affinity ? 'sticky' : shortProbability(a.rules?.probability)),
    OPTIONAL,
  ),
  column(6, 'EVIDENCE', [20, 31, 31], (a) => a.evidence.join(','), { optional: true, cut: 'end' }),
  column(18, 'INTERFACES', [12, 24, 40], interfaces, OPTIONAL),
  column(8, 'NAT', [5, 5, 8], (a) => duration(a.latency?.natNs), OPTIONAL),
  column(10, 'HANDSHAKE', [9, 9, 9], (a) => duration(a.latency?.handshakeNs), OPTIONAL),
  column(19, 'PEER SEEN BY POD', [16, 19, 50], (a) => endpoint(a.source), OPTIONAL),
];

function shortProbability(p: number | undefined): string {
  if (p === undefined) return '';
  return p > 0 && p < 0.0001 ? '<.0001' : String(Number(p.toFixed(4)));
}
