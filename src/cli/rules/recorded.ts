import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { describeWhere, UsageError } from '../../model/problem.js';
import type { Audit, RuleOverview } from '../../model/rule-view.js';
import { type Nanos, UTC } from '../../model/time.js';
import { ConnectionAudit } from '../../pipeline/connection-audit.js';
import { inTime } from '../../pipeline/in-time.js';
import { openedEvents } from '../../pipeline/opened-events.js';
import { type HeldRules, RuleBook } from '../../pipeline/rule-book.js';
import { type Snapshot, snapshot } from '../../pipeline/rule-moves.js';
import { escapeText } from '../../sinks/escape.js';
import { type OpenOptions, openInputs, type ReplayInputs } from '../../sources/files/open.js';
import type { Io } from '../io.js';
import { finish, machineFor } from '../replay/machine.js';
import { tellNotices } from './notices.js';
import type { RulesRequest } from './request.js';

type Dump = Parameters<NonNullable<OpenOptions['onRules']>>[0];

/** What recordings say of rules and cluster in the end. */
export interface Recorded {
  readonly book: RuleBook;
  readonly node?: string;
  /** All dumps in order of time. */
  readonly dumps: readonly Dump[];
  /** There is something to attribute. */
  readonly hasEvidence: boolean;
}

/** Captures and conntrack say nothing about rules, so they are not read unless there is nothing else. */
const KINDS = new Set([
  'iptables-save',
  'nft-json',
  'cluster-document',
  'cluster-watch',
  'ip-json',
] as const);

export async function readRecorded(request: RulesRequest, io: Io): Promise<Recorded> {
  const dumps: Dump[] = [];
  const few = await open(request, io, { kinds: KINDS, onRules: (dump) => dumps.push(dump) });
  const all = dumps.length === 0 ? await open(request, io, {}) : few;
  dumps.sort(byTime);
  const times = dumps.map(({ time }) => time);
  // What the cluster became after the rules were read last, they cannot know.
  const end = times.some((time) => time === undefined) ? undefined : times.at(-1);
  const book = new RuleBook();
  const addresses = new Set<string>();
  if (all.recorded === undefined) book.prepare(all.prelude);
  const take = (event: InputEvent): void => {
    if (event.type === 'addresses') for (const one of event.addresses) addresses.add(one);
    const isLater =
      event.type === 'cluster' && end !== undefined && event.time !== undefined && event.time > end;
    if (!isLater) tellNotices(io, book.take(event), new Set(['rules-read']));
  };
  for (const event of all.prelude) take(event);
  for await (const batch of inTime(all, new Interfaces())) {
    for (const event of batch) take(event);
    if (io.signal.aborted) break;
  }
  tellNotices(io, book.conclude(), new Set(['rules-read']));
  for (const { rules, file, time } of dumps) book.count(rules, file.node, time);
  if (book.held.length === 0) {
    throw new UsageError(
      'no rules among the inputs; add what iptables-save -c, ip6tables-save -c or nft -j list ruleset printed',
    );
  }
  const node = request.nodeName ?? book.cluster.nodeWith(addresses);
  const hasEvidence = all === few ? await isEvidence(request, io) : all.hasEvidence;
  return { book, dumps, hasEvidence, ...(node !== undefined && { node }) };
}

async function isEvidence(request: RulesRequest, io: Io): Promise<boolean> {
  // Heads of files only, and only where somebody asks.
  if (!request.audit || request.over === 'counters') return false;
  return (await open(request, io, {}, true)).hasEvidence;
}

/** What the counters in view had at the first dump of each series; `undefined` where each has one dump only. */
export function firstCounters(
  { book, dumps }: Recorded,
  overview: RuleOverview,
): Snapshot | undefined {
  let isSeveral = false;
  const held = book.held.map((one): HeldRules => {
    const [first] = dumps.filter(({ rules, file }) => isSameSeries(one, rules, file.node));
    if (first === undefined || first.time === one.time) return one;
    isSeveral = true;
    return { ...one, rules: first.rules };
  });
  return isSeveral ? snapshot(overview, held) : undefined;
}

export function isSameSeries(
  held: HeldRules,
  rules: Dump['rules'],
  node: string | undefined,
): boolean {
  const { kind, backend, family } = held.rules;
  return (
    kind === rules.kind &&
    backend === rules.backend &&
    family === rules.family &&
    held.node === node
  );
}

/** Runs the machine over everything, as a replay does, and counts what it attributes. */
export async function auditRecorded(
  request: RulesRequest,
  io: Io,
  book: RuleBook,
): Promise<readonly Audit[]> {
  const interfaces = new Interfaces();
  const inputs = await open(request, io, {}, true, interfaces);
  const onlyNode = inputs.nodes.length === 1 ? inputs.nodes[0] : undefined;
  const node = onlyNode === '' ? undefined : onlyNode;
  const machine = machineFor(inputs, interfaces);
  const audit = new ConnectionAudit(node, (ip) => book.cluster.podAt(ip));
  const push = (events: readonly InputEvent[]): void => {
    for (const event of events) {
      audit.learn(event);
      machine.push(event);
    }
  };
  const { before, after } = openedEvents(inputs, interfaces);
  push(before);
  for await (const batch of after) {
    push(batch);
    audit.take(machine.take());
    if (io.signal.aborted) break;
  }
  audit.take(finish(machine, inputs));
  return audit.audits();
}

async function open(
  request: RulesRequest,
  io: Io,
  options: Pick<OpenOptions, 'kinds' | 'onRules'>,
  isQuiet = false,
  interfaces = new Interfaces(),
): Promise<ReplayInputs> {
  return await openInputs(request.inputs, {
    interfaces,
    offsetAt: request.offsetAt ?? UTC,
    stdin: io.stdin,
    ...(request.nodeName !== undefined && { node: request.nodeName }),
    ...options,
    onProblem: (file, { message, where, advice }) => {
      if (isQuiet) return;
      const at = describeWhere(where);
      io.stderr.write(
        `${escapeText(`${file}: ${message}${at === '' ? '' : ` (${at})`}; ${advice}`)}\n`,
      );
    },
  });
}

/** Those without a time first; of a pair the earlier. */
function byTime(a: Dump, b: Dump): number {
  const x: Nanos = a.time ?? -1n;
  const y: Nanos = b.time ?? -1n;
  if (x !== y) return x < y ? -1 : 1;
  const isBefore = (dump: Dump): number => (/\.before\.[^/]*$/.test(dump.file.key) ? 0 : 1);
  return isBefore(a) - isBefore(b);
}
