import type { TruthRow } from '../../src/lab/traffic-client.js';

/** The fields of whichpod's NDJSON that are held against the truth. */
interface Line {
  readonly type: string;
  readonly connection?: string;
  readonly time?: string;
  readonly protocol?: string;
  readonly client?: Address;
  readonly destination?: Address;
  readonly service?: { readonly namespace?: string; readonly name?: string };
  readonly backend?: Address & { readonly pod?: { readonly name?: string } };
  /** Of a loss: the name of what lost something. */
  readonly source?: Address | string;
  readonly verdict?: string;
  readonly reason?: string;
  readonly outcome?: string;
  readonly evidence?: readonly string[];
  readonly connections?: Readonly<Record<string, unknown>>;
  readonly losses?: number;
}

interface Address {
  readonly ip?: string | undefined;
  readonly port?: number | undefined;
}

export interface Failed {
  readonly verdict: string;
  readonly reason?: string;
  readonly outcome: string;
}

export interface Expected {
  /** What became of the requests that got no answer, all alike or each of them; default: none may fail. */
  readonly failed?: Failed | ((row: TruthRow) => Failed | undefined);
  /** A source that may lose something, which it then says; default: none may. */
  readonly lossy?: string;
}

/**
 * Holds whichpod's events against what really happened: every connection of the truth is there exactly
 * once, with the Pod that answered, its Service, the peer that the Pod saw and its outcome; nothing was
 * lost and the summary counts exactly these. One complaint for each fault.
 *
 * A row of the truth is one connection (no keep-alive). Uses of one tuple are matched in their order.
 */
export function score(
  truth: readonly TruthRow[],
  events: readonly object[],
  expected: Expected = {},
): string[] {
  const complaints: string[] = [];
  const lines = events as readonly Line[];
  const seen = new Map<
    string,
    { last: Line; time: string; attributions: number; closes: number }
  >();
  for (const line of lines) {
    if (line.type !== 'attribution' && line.type !== 'close') continue;
    const id = line.connection ?? '';
    const known = seen.get(id) ?? { last: line, time: line.time ?? '', attributions: 0, closes: 0 };
    known.last = line;
    if (line.type === 'close') known.closes++;
    else known.attributions++;
    seen.set(id, known);
  }
  const byTuple = new Map<string, (typeof seen extends Map<string, infer V> ? V : never)[]>();
  for (const known of seen.values()) {
    const { protocol, client, destination } = known.last;
    push(byTuple, tuple(protocol, client, destination), known);
    if (known.closes !== 1) complaints.push(`${known.last.connection}: ${known.closes} last words`);
    if (known.attributions === 0) complaints.push(`${known.last.connection}: closed, never said`);
  }
  for (const uses of byTuple.values()) uses.sort((a, b) => (a.time < b.time ? -1 : 1));
  const rows = new Map<string, TruthRow[]>();
  for (const row of truth) {
    push(
      rows,
      tuple(row.proto, { ip: row.src, port: row.sport }, { ip: row.dst, port: row.dport }),
      row,
    );
  }
  for (const [key, uses] of rows) {
    uses.sort((a, b) => a.t0 - b.t0);
    const said = byTuple.get(key) ?? [];
    byTuple.delete(key);
    if (said.length !== uses.length) {
      complaints.push(`${key}: used ${uses.length} times, said ${said.length} times`);
      continue;
    }
    for (const [i, row] of uses.entries()) {
      const use = said[i];
      if (use === undefined) continue;
      for (const fault of faults(row, use.last, expected)) {
        complaints.push(`${key} (${row.svc}, use ${i + 1} of ${uses.length}): ${fault}`);
      }
    }
  }
  for (const key of byTuple.keys()) complaints.push(`${key}: nobody made it`);
  complaints.push(...summaryFaults(truth, lines, expected));
  return complaints;
}

function failureOf(row: TruthRow, { failed }: Expected): Failed | undefined {
  return typeof failed === 'function' ? failed(row) : failed;
}

function faults(row: TruthRow, said: Line, expected: Expected): string[] {
  const wrong: string[] = [];
  const must = (what: string, got: unknown, wanted: unknown): void => {
    if (got !== wanted) wrong.push(`${what} ${String(got)} instead of ${String(wanted)}`);
  };
  must('Service', `${said.service?.namespace}/${said.service?.name}`, row.svc.replace(/:.*$/, ''));
  if (!row.ok) {
    const failed = failureOf(row, expected);
    if (failed === undefined) return [`not answered: ${row.err}`];
    must('verdict', said.verdict, failed.verdict);
    must('reason', said.reason, failed.reason);
    must('outcome', said.outcome, failed.outcome);
    return wrong;
  }
  must('verdict', `${said.verdict} ${said.reason ?? ''}`, 'attributed ');
  must('Pod', said.backend?.pod?.name, row.pod);
  if (row.podIP !== undefined) must('endpoint', said.backend?.ip, row.podIP);
  if (row.podPort !== undefined) must('port', said.backend?.port, row.podPort);
  const peer = typeof said.source === 'object' ? said.source : said.client;
  must('peer', `${peer?.ip} ${peer?.port}`, `${row.seenSrc} ${row.seenSport}`);
  if (said.outcome !== 'established') wrong.push(`outcome ${said.outcome}`);
  return wrong;
}

function summaryFaults(
  truth: readonly TruthRow[],
  lines: readonly Line[],
  expected: Expected,
): string[] {
  const summary = lines.at(-1);
  if (summary?.type !== 'summary') return ['the last line is no summary'];
  const unattributed = truth.filter(
    (row) => !row.ok && failureOf(row, expected)?.verdict === 'unattributed',
  ).length;
  const wanted: Readonly<Record<string, number>> = {
    seen: truth.length,
    attributed: truth.length - unattributed,
    unattributed,
    conflict: 0,
    pending: 0,
  };
  const complaints = Object.entries(wanted).flatMap(([name, count]) => {
    const got = summary.connections?.[name];
    return got === count ? [] : [`summary: ${name} ${String(got)} instead of ${count}`];
  });
  const losses = lines.filter((line) => line.type === 'loss');
  if (summary.losses !== losses.length) complaints.push(`summary: ${summary.losses} losses`);
  for (const loss of losses) {
    if (loss.source !== expected.lossy) complaints.push(`loss: ${JSON.stringify(loss)}`);
  }
  return complaints;
}

function tuple(
  protocol: string | undefined,
  from: Address | undefined,
  to: Address | undefined,
): string {
  return `${protocol} ${from?.ip}:${from?.port} -> ${to?.ip}:${to?.port}`;
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
