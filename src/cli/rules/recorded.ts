import { rulesKey } from '../../decode/record/shapes.js';
import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { UsageError } from '../../model/problem.js';
import type { Audit, RuleOverview } from '../../model/rule-view.js';
import type { RuleSet } from '../../model/ruleset.js';
import type { Nanos } from '../../model/time.js';
import { ConnectionAudit } from '../../pipeline/connection-audit.js';
import { inTime } from '../../pipeline/in-time.js';
import { openedEvents } from '../../pipeline/opened-events.js';
import { type HeldRules, RuleBook } from '../../pipeline/rule-book.js';
import { type Snapshot, snapshot } from '../../pipeline/rule-moves.js';
import type { RuleDump } from '../../sources/files/rule-dumps.js';
import type { Io } from '../io.js';
import { finish, machineFor } from '../replay/machine.js';
import { openRecorded } from '../replay/recorded-inputs.js';
import { tellNotices } from './notices.js';
import type { RulesRequest } from './request.js';

/** Captures and conntrack say nothing about rules; a recording of a run does. */
const KINDS = new Set([
  'iptables-save',
  'nft-json',
  'cluster-document',
  'cluster-watch',
  'ip-json',
  'recording',
] as const);

const SEVERAL =
  'rules are in a recorded run and in dumps: of one node those that were read last are shown';

type RulesEvent = Extract<InputEvent, { type: 'rules' }>;

interface Dump {
  readonly rules: RuleSet;
  readonly node?: string;
  readonly time?: Nanos;
  /** Named as the earlier one of a pair. */
  readonly isBefore: boolean;
}

/** What recordings say of rules and cluster in the end. */
export interface Recorded {
  readonly book: RuleBook;
  readonly node?: string;
  /** All dumps in order of time; of a recorded run, where nobody watches the counters, the first. */
  readonly dumps: readonly Dump[];
  /** There is something to attribute. */
  readonly hasEvidence: boolean;
}

/** Rules out of dumps and of recorded runs alike, in order of time. */
export async function readRecorded(request: RulesRequest, io: Io): Promise<Recorded> {
  const interfaces = new Interfaces();
  const files: RuleDump[] = [];
  const all = await openRecorded(request, io, interfaces, {
    kinds: KINDS,
    onRules: (dump) => files.push(dump),
  });
  // The runs among them: with one node's, dumps that name none are of that node.
  const hasRuns = all.captures.length > 0;
  const onlyNode = all.nodes.length === 1 && all.nodes[0] !== '' ? all.nodes[0] : undefined;
  const ofRuns = new Set(all.captures.map(({ file }) => file));
  if (hasRuns && files.some(({ file }) => !ofRuns.has(file))) {
    io.stderr.write(`${SEVERAL}\n`);
  }
  const at = (node = onlyNode): { readonly node?: string } => (node === undefined ? {} : { node });
  const dumps = files.map(({ file, rules, time }): Dump => {
    const isBefore = /\.before\.[^/]*$/.test(file.key);
    return { rules, ...at(file.node), ...(time !== undefined && { time }), isBefore };
  });
  dumps.sort(byTime);
  const times = dumps.map(({ time }) => time);
  // What the cluster became after the rules were read last, they cannot know; a run reads them when it changes.
  const end = hasRuns || times.some((time) => time === undefined) ? undefined : times.at(-1);
  const book = new RuleBook();
  const addresses = new Set<string>();
  const timeOf = new Map(dumps.map(({ rules, time }) => [rules, time]));
  const newest = new Map<string, Nanos>();
  /** Notes rules, and says whether they are to be shown in the place of others. */
  const isNewest = ({ rules, node, time = timeOf.get(rules) }: RulesEvent): boolean => {
    const dump = { rules, ...at(node), ...(time !== undefined && { time }), isBefore: false };
    const key = rulesKey(dump.node, rules);
    if (!timeOf.has(rules)) {
      const isFirst = !dumps.some((one) => rulesKey(one.node, one.rules) === key);
      if (isFirst || request.watchNs !== undefined) dumps.push(dump);
      book.count(rules, dump.node, time);
    }
    // The earliest dump is told before a run's rules, whenever it was taken.
    if (time !== undefined && time < (newest.get(key) ?? time)) return false;
    if (time !== undefined) newest.set(key, time);
    return true;
  };
  if (all.recorded === undefined) book.prepare(all.prelude);
  const take = (event: InputEvent): void => {
    if (event.type === 'addresses') for (const one of event.addresses) addresses.add(one);
    if (event.type === 'rules' && !isNewest(event)) return;
    const isLater =
      event.type === 'cluster' && end !== undefined && event.time !== undefined && event.time > end;
    if (isLater) return;
    const placed = event.type === 'rules' ? { ...event, ...at(event.node) } : event;
    tellNotices(io, book.take(placed), new Set(['rules-read']));
  };
  for (const event of all.prelude) take(event);
  for await (const batch of inTime(all, interfaces)) {
    for (const event of batch) take(event);
    if (io.signal.aborted) break;
  }
  tellNotices(io, book.conclude(), new Set(['rules-read']));
  for (const { rules, node, time } of dumps) book.count(rules, node, time);
  dumps.sort(byTime);
  if (book.held.length === 0) {
    throw new UsageError(
      'no rules among the inputs; add what iptables-save -c, ip6tables-save -c or nft -j list ruleset printed',
    );
  }
  const node = request.nodeName ?? book.cluster.nodeWith(addresses);
  const hasEvidence = await isEvidence(request, io);
  return { book, dumps, hasEvidence, ...(node !== undefined && { node }) };
}

async function isEvidence(request: RulesRequest, io: Io): Promise<boolean> {
  // Heads of files only, and only where somebody asks.
  if (!request.audit || request.over === 'counters') return false;
  const inputs = await openRecorded(request, io, new Interfaces(), { quiet: true });
  return inputs.hasEvidence;
}

/** What the counters in view had at the first dump of each series; `undefined` where each has one dump only. */
export function firstCounters(
  { book, dumps }: Recorded,
  overview: RuleOverview,
): Snapshot | undefined {
  let isSeveral = false;
  const held = book.held.map((one): HeldRules => {
    const [first] = dumps.filter(({ rules, node }) => isSameSeries(one, rules, node));
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
  const inputs = await openRecorded(request, io, interfaces, { quiet: true });
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

/** Those without a time first; of a pair the earlier. */
function byTime(a: Dump, b: Dump): number {
  const x: Nanos = a.time ?? -1n;
  const y: Nanos = b.time ?? -1n;
  if (x !== y) return x < y ? -1 : 1;
  return (a.isBefore ? 0 : 1) - (b.isBefore ? 0 : 1);
}
