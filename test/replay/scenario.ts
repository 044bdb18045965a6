import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { fakeIo } from '../cli/fake-io.js';

const PCAPS = fileURLToPath(new URL('../../pcaps/', import.meta.url));

/** A line of whichpod's output, as far as these tests look at it. */
export interface Line {
  readonly type: string;
  readonly connection?: string;
  readonly time?: string;
  readonly timeSource?: string;
  readonly protocol?: string;
  readonly client?: End;
  readonly destination?: End;
  readonly service?: { readonly namespace?: string; readonly name?: string; readonly via?: string };
  readonly backend?: End & { readonly pod?: { readonly name?: string } };
  readonly source?: End;
  readonly detail?: string;
  readonly rules?: { readonly path?: readonly string[] };
  readonly verdict?: string;
  readonly reason?: string;
  readonly outcome?: string;
  readonly evidence?: readonly string[];
  readonly code?: string;
  readonly connections?: Readonly<
    Record<'seen' | 'attributed' | 'unattributed' | 'conflict' | 'pending', number>
  >;
}

interface End {
  readonly ip?: string;
  readonly port?: number;
}

/** A request as client and Pod recorded it (truth.jsonl). */
export interface Request {
  readonly from?: string;
  readonly proto: string;
  readonly svc?: string;
  readonly src: string;
  readonly sport: number;
  readonly dst: string;
  readonly dport: number;
  readonly t0: number;
  readonly t1?: number;
  readonly ok: boolean;
  readonly pod?: string;
  readonly podIP?: string;
  readonly seenSrc?: string;
  readonly seenSport?: number;
}

/** A request that is not told as it was. */
export interface Fault {
  readonly what: string;
  readonly request: Request;
}

export interface Score {
  readonly served: number;
  readonly failed: number;
  readonly faults: readonly Fault[];
  /** Whether the summary's parts make up its whole. */
  readonly balances: boolean;
  /** All of this in words, one a fault. */
  readonly complaints: readonly string[];
}

/** Paths of a scenario's files that match, sorted. */
export function filesOf(scenario: string, patterns: readonly RegExp[]): string[] {
  const folder = join(PCAPS, scenario);
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  return names
    .filter((name) => patterns.some((p) => p.test(name)))
    .map((name) => join(folder, name));
}

/** Runs `whichpod replay` in this process; output as text. */
export async function replay(
  inputs: readonly string[],
  options: readonly string[] = [],
): Promise<{ code: number; stdout: string; stderr: string; lines: Line[] }> {
  const io = fakeIo();
  const code = await runCli(['replay', ...inputs, '-o', 'ndjson', ...options], io, commands);
  const stdout = io.stdout.text;
  const lines = stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Line);
  return { code, stdout, stderr: io.stderr.text, lines };
}

/** How the truth names what was asked for where it is a Pod's hostPort and no Service. */
const HOST_PORT = '(hostPort';

function truthOf(scenario: string): Request[] {
  const folder = join(PCAPS, scenario);
  const names = ['truth.jsonl.gz', 'truth-sctp.jsonl.gz', 'truth.jsonl'];
  const name = names.find((n) => existsSync(join(folder, n)));
  if (name === undefined) throw new Error(`${scenario}: no truth`);
  const bytes = readFileSync(join(folder, name));
  return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes)
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Request)
    .filter(({ svc }) => svc?.startsWith('(') !== true || svc.startsWith(HOST_PORT));
}

const tuple = (proto?: string, a?: End, b?: End): string =>
  `${proto} ${a?.ip} ${a?.port} ${b?.ip} ${b?.port}`;

const seconds = (time: string | undefined): number => {
  const [whole = '', fraction = '0'] = (time ?? '').replace(/Z$/, '').split('.');
  return Date.parse(`${whole}Z`) / 1000 + Number(`0.${fraction}`);
};

/** conntrack's times are late by some milliseconds: printed when the answer may have been there already. */
const LATE = 0.015;

/**
 * Holds the last word on each connection against the truth: the connection in force when a request was
 * sent must name the Pod that answered, its Service and the peer that it saw; a request that failed must
 * not be said established, and, where packets were given, must have been seen. Requests sent at `until`
 * (seconds since 1970) or later are not asked for.
 */
export function score(
  scenario: string,
  lines: readonly Line[],
  packets: boolean,
  until = Number.POSITIVE_INFINITY,
): Score {
  const inForce = connectionsInForce(lines);
  const truth = truthOf(scenario).filter((request) => request.t0 < until);
  const served = new Set(truth.filter((r) => r.ok).map((r) => inForce(r)?.connection));
  const faults = truth.flatMap((request): Fault[] => {
    const c = inForce(request);
    const what = request.ok
      ? faultOf(request, c)
      : faultOfFailed(request, c, packets, served.has(c?.connection));
    return what === undefined ? [] : [{ what, request }];
  });
  const n = lines.find((line) => line.type === 'summary')?.connections;
  const balances =
    n !== undefined && n.seen === n.attributed + n.unattributed + n.conflict + n.pending;
  const complaints = faults.map(
    ({ what, request: r }) =>
      `${what}: ${r.proto} ${r.src}:${r.sport} -> ${r.dst}:${r.dport} at ${r.t0}`,
  );
  if (!balances) complaints.push('the summary does not balance');
  const ok = truth.filter((r) => r.ok).length;
  return { served: ok, failed: truth.length - ok, faults, balances, complaints };
}

/** The connection that carried a request: the last of its tuple that began before its answer. */
function connectionsInForce(lines: readonly Line[]): (request: Request) => Line | undefined {
  const connections = new Map<string, Line>();
  for (const line of lines) {
    if (line.type !== 'attribution' && line.type !== 'close') continue;
    const known = connections.get(line.connection ?? '');
    connections.set(line.connection ?? '', {
      ...known,
      ...line,
      time: known?.time ?? line.time ?? '',
    });
  }
  const byTuple = new Map<string, Line[]>();
  for (const c of connections.values()) {
    const key = tuple(c.protocol, c.client, c.destination);
    byTuple.set(key, [...(byTuple.get(key) ?? []), c]);
  }
  for (const list of byTuple.values()) list.sort((a, b) => seconds(a.time) - seconds(b.time));
  return (r) => {
    const list =
      byTuple.get(tuple(r.proto, { ip: r.src, port: r.sport }, { ip: r.dst, port: r.dport })) ?? [];
    const end = r.t1 ?? r.t0;
    const before = list.filter((c) => seconds(c.time) <= end).at(-1);
    if (before?.backend?.pod?.name === r.pod) return before;
    const late = list.find(
      (c) =>
        c.timeSource !== 'packet' &&
        c.backend?.pod?.name === r.pod &&
        seconds(c.time) > end &&
        seconds(c.time) <= end + LATE,
    );
    return late ?? before ?? list.find((c) => seconds(c.time) <= end + 0.3);
  };
}

const serviceOf = ({ service }: Line): string => `${service?.namespace}/${service?.name}`;

function faultOf(r: Request, c: Line | undefined): string | undefined {
  if (c === undefined) return 'missing';
  if (c.verdict !== 'attributed') return `${c.verdict} (${c.reason})`;
  if (c.backend?.pod?.name !== r.pod) return `says Pod ${c.backend?.pod?.name}, was ${r.pod}`;
  if (r.svc?.startsWith(HOST_PORT) === true) {
    if (c.service?.name !== undefined || c.service?.via !== 'hostPort') {
      return `says Service ${c.service?.name} for a hostPort`;
    }
  } else if (r.svc !== undefined && serviceOf(c) !== r.svc.replace(/:.*$/, '')) {
    return `says Service ${serviceOf(c)}`;
  }
  const peer = c.source ?? c.client;
  const isPeer =
    peer?.ip === r.seenSrc && (r.seenSport === undefined || peer?.port === r.seenSport);
  if (r.seenSrc !== undefined && !isPeer) return `says the Pod saw ${peer?.ip}:${peer?.port}`;
  if (['refused', 'unanswered', 'rejected'].includes(c.outcome ?? '')) return `says ${c.outcome}`;
  return undefined;
}

function faultOfFailed(
  r: Request,
  c: Line | undefined,
  packets: boolean,
  servedOthers: boolean,
): string | undefined {
  if (c === undefined) {
    return packets && /^(pod|ext)/.test(r.from ?? '') ? 'failed and never seen' : undefined;
  }
  return c.outcome === 'established' && !servedOthers ? 'failed and said established' : undefined;
}
