import { UsageError } from '../../model/problem.js';
import type { Audit, CounterMove, Drift, RuleOverview } from '../../model/rule-view.js';
import type { Nanos } from '../../model/time.js';
import { auditCounters } from '../../pipeline/rule-audit.js';
import type { HeldRules, RuleBook } from '../../pipeline/rule-book.js';
import { findDrift } from '../../pipeline/rule-drift.js';
import { movesBetween, type Snapshot, snapshot } from '../../pipeline/rule-moves.js';
import { viewRules } from '../../pipeline/rule-view.js';
import { escapeText } from '../../sinks/escape.js';
import { Output } from '../../sinks/output.js';
import { moveJson, rulesJson } from '../../sinks/rules-json.js';
import { auditReport, driftReport } from '../../sinks/rules-report.js';
import { rulesTable } from '../../sinks/rules-table.js';
import { rulesTree } from '../../sinks/rules-tree.js';
import { MovesPicture, moveLine } from '../../sinks/rules-watch.js';
import { humanDuration } from '../../sinks/units.js';
import { EXIT } from '../exit.js';
import type { Io } from '../io.js';
import { LiveRules } from './live.js';
import {
  auditRecorded,
  firstCounters,
  isSameSeries,
  type Recorded,
  readRecorded,
} from './recorded.js';
import type { RulesRequest } from './request.js';

const NS_PER_MS = 1_000_000;
/** Width of a tree that goes to no terminal: what fits most pagers and mails. A table is for grep and awk: it takes what it needs. */
const DEFAULT_COLUMNS = 100;

/** `whichpod rules`: what the rules of a node, live or recorded, do with Services. */
export async function run(request: RulesRequest, io: Io): Promise<number> {
  for (const remark of request.remarks) io.stderr.write(`${escapeText(remark)}\n`);
  const page = new Page(request, io);
  return request.inputs.length > 0
    ? await recorded(request, io, page)
    : await live(request, io, page);
}

async function recorded(request: RulesRequest, io: Io, page: Page): Promise<number> {
  const found = await readRecorded(request, io);
  const { book, node } = found;
  const overview = viewOf(request, book);
  if (request.watchNs !== undefined) return await page.moves(movesOf(found, overview), overview);
  const over = request.over ?? (found.hasEvidence ? 'connections' : 'counters');
  let audit: readonly Audit[] | undefined;
  if (request.audit) {
    audit =
      over === 'connections'
        ? (await auditRecorded(request, io, book)).filter((one) => isWanted(request, one))
        : auditCounters(overview, book.held, firstCounters(found, overview));
  }
  return await page.show(overview, driftOf(request, book, overview, node), audit);
}

async function live(request: RulesRequest, io: Io, page: Page): Promise<number> {
  const rules = new LiveRules(request, io);
  try {
    await rules.open();
    const { book } = rules;
    const overview = viewOf(request, book);
    if (request.watchNs !== undefined) return await watch(request, io, rules, page);
    let audit: readonly Audit[] | undefined;
    if (request.audit) {
      let before: Snapshot | undefined;
      if (request.durationNs !== undefined) {
        before = snapshot(overview, book.held);
        io.stderr.write(
          `counting for ${humanDuration(request.durationNs)}; Ctrl-C ends it earlier\n`,
        );
        await rules.elapse(request.durationNs / NS_PER_MS);
        await reread(rules, book);
      }
      audit = auditCounters(viewOf(request, book), book.held, before);
    }
    let drift = driftOf(request, book, viewOf(request, book), rules.node);
    if (drift.length > 0 && request.drift && !io.signal.aborted) {
      // Lists do not tell since when they are so: what is still there later is no delay of kube-proxy's.
      io.stderr.write(
        `rules and cluster differ; looking again in ${humanDuration(request.settleNs)}\n`,
      );
      await rules.elapse(request.settleNs / NS_PER_MS);
      const before = new Set(drift.map(keyOfDrift));
      await reread(rules, book);
      drift = driftOf(request, book, viewOf(request, book), rules.node).filter((one) =>
        before.has(keyOfDrift(one)),
      );
    }
    return await page.show(viewOf(request, book), drift, audit);
  } finally {
    rules.close();
  }
}

/** Reads again also when the end was asked for: what was counted until then is to be shown. */
async function reread(rules: LiveRules, book: RuleBook): Promise<void> {
  await rules.read();
  for (const { rules: newest, node, time } of book.held) book.count(newest, node, time);
}

async function watch(request: RulesRequest, io: Io, rules: LiveRules, page: Page): Promise<number> {
  const view = (): RuleOverview => viewOf(request, rules.book);
  const overview = view();
  refuseUncounted(overview);
  const chains = overview.services.flatMap(({ balancers }) => balancers);
  const endpoints = chains.reduce((n, one) => n + one.endpoints.length, 0);
  const every = humanDuration(request.watchNs ?? 0);
  io.stderr.write(
    `watching the counters of ${endpoints} endpoints in ${chains.length} chains, every ${every}; Ctrl-C ends\n`,
  );
  rules.watch(
    request.watchNs ?? 0,
    view,
    (moves, now, at) => page.look(moves, now, at),
    (ms) =>
      io.stderr.write(
        `one reading of these rules costs too much for every ${every}: looking every ${humanDuration(ms * NS_PER_MS)}, so that it takes at most 5 % of a core\n`,
      ),
  );
  const end = request.durationNs === undefined ? undefined : request.durationNs / NS_PER_MS;
  const closed = page.closed();
  if (end === undefined) await closed;
  else await rules.within(end, closed);
  await page.end();
  return EXIT.done;
}

function refuseUncounted({ read, services }: RuleOverview): void {
  const used = new Set(services.flatMap(({ ways }) => ways.map((way) => way.read)));
  if ([...used].some((one) => read[one]?.hasCounters)) return;
  throw new UsageError(
    used.size === 0
      ? '--watch: there are no rules of Services to watch here'
      : '--watch: these rules have no counters (kube-proxy counts nothing in nftables mode); see connections with whichpod live',
  );
}

function viewOf(request: RulesRequest, book: RuleBook): RuleOverview {
  const { service, namespaces, exact } = request;
  const overview = viewRules(book.held, book.cluster, {
    ...(service && { service }),
    namespaces,
    exact,
  });
  if (service === undefined || overview.services.length > 0) return overview;
  const names = new Set(
    book.held
      .flatMap((one) => one.services.flatMap(({ service: it }) => it ?? []))
      .map((it) => `${it.namespace}/${it.name}`),
  );
  const wanted = `${service.namespace}/${service.name}`;
  if (book.cluster.service(service) !== undefined) return overview;
  const near = [...names].filter(
    (name) => name.split('/')[1] === service.name || name.startsWith(`${service.namespace}/`),
  );
  const others = [...(near.length > 0 ? near : names)].sort().slice(0, 5).join(', ');
  throw new UsageError(
    `no Service ${wanted} in these rules, and no file of that name${others === '' ? '' : `; there are for instance ${others}`}`,
  );
}

/** All differences are looked for, whatever is shown: a chain of a Service that is not in view is not stale. */
function driftOf(
  request: RulesRequest,
  book: RuleBook,
  overview: RuleOverview,
  node: string | undefined,
): readonly Drift[] {
  const isAll = request.service === undefined && request.namespaces.length === 0;
  const all = isAll ? overview : viewRules(book.held, book.cluster);
  const drifts = findDrift(all, book.held, book.cluster, {
    settleNs: BigInt(request.settleNs),
    ...(node !== undefined && { node }),
  });
  const wanted = drifts.filter((one) => isWanted(request, one));
  const asked = request.drift || request.failOn.includes('drift');
  if (asked && !overview.hasCluster && wanted.length === 0)
    throw new UsageError(nothingToCompare(request));
  return wanted;
}

function nothingToCompare({ inputs }: RulesRequest): string {
  const what = '--drift: there is no cluster to compare the rules with';
  return inputs.length > 0
    ? `${what}; add what kubectl get pods,services,endpointslices,nodes -A -o json printed`
    : `${what}; give --kubeconfig or --objects; whichpod doctor says what is missing`;
}

function isWanted({ service, namespaces }: RulesRequest, one: Pick<Drift, 'service'>): boolean {
  const { service: of } = one;
  if (service !== undefined) return of?.namespace === service.namespace && of.name === service.name;
  return namespaces.length === 0 || (of !== undefined && namespaces.includes(of.namespace));
}

const keyOfDrift = ({ code, service, read, chain, endpoint }: Drift): string =>
  JSON.stringify([code, service, read, chain, endpoint]);

/** How counters moved from each dump of a recording to the next. */
function movesOf(
  { book, dumps }: Recorded,
  overview: RuleOverview,
): readonly { readonly at: Nanos | undefined; readonly moves: readonly CounterMove[] }[] {
  const looks: { at: Nanos | undefined; moves: readonly CounterMove[] }[] = [];
  for (const [i, { rules, node, time }] of dumps.entries()) {
    const earlier = dumps
      .slice(0, i)
      .findLast((one) =>
        book.held.some(
          (held) => isSameSeries(held, one.rules, one.node) && isSameSeries(held, rules, node),
        ),
      );
    if (earlier === undefined) continue;
    const withRules = (to: HeldRules['rules']): HeldRules[] =>
      book.held.map((held) => (isSameSeries(held, rules, node) ? { ...held, rules: to } : held));
    const after = withRules(rules);
    const moves = movesBetween(
      snapshot(overview, withRules(earlier.rules)),
      snapshot(overview, after),
      overview,
      after,
    ).filter(({ read }) => {
      const held = book.held[read];
      return held !== undefined && isSameSeries(held, rules, node);
    });
    looks.push({ at: time, moves });
  }
  return looks;
}

/** stdout as `rules` writes it. */
class Page {
  private readonly request: RulesRequest;
  private readonly io: Io;
  private readonly output: Output;
  private readonly colors: boolean;
  private readonly picture: MovesPicture;

  constructor(request: RulesRequest, io: Io) {
    this.request = request;
    this.io = io;
    this.output = new Output(io.stdout, () => undefined);
    this.colors = request.colors && io.terminal.stdout;
    this.picture = new MovesPicture(this.colors);
  }

  async show(
    overview: RuleOverview,
    drift: readonly Drift[],
    audit: readonly Audit[] | undefined,
  ): Promise<number> {
    const { request, io } = this;
    const text = {
      columns: io.terminal.stdout ? io.columns() : DEFAULT_COLUMNS,
      colors: this.colors,
    };
    const table = { ...text, columns: io.terminal.stdout ? text.columns : undefined };
    if (request.format === 'json') {
      await this.write(rulesJson(overview, { drift, ...(audit !== undefined && { audit }) }));
    } else {
      if (audit !== undefined) await this.write(auditReport(audit, text));
      if (request.drift) await this.write(driftReport(drift, overview, text));
      if (audit === undefined && !request.drift) {
        const pieces =
          request.format === 'table'
            ? rulesTable(overview, table)
            : rulesTree(overview, drift, text);
        await this.write(pieces);
      }
    }
    await this.end();
    const isFound =
      (request.failOn.includes('drift') && drift.length > 0) ||
      (request.failOn.includes('skew') && audit?.some(({ verdict }) => verdict === 'skewed'));
    return isFound ? EXIT.found : EXIT.done;
  }

  async moves(
    looks: readonly { readonly at: Nanos | undefined; readonly moves: readonly CounterMove[] }[],
    overview: RuleOverview,
  ): Promise<number> {
    refuseUncounted(overview);
    if (looks.length === 0) {
      throw new UsageError('--watch: one dump of rules shows no movement; name an earlier one too');
    }
    for (const { at, moves } of looks) this.lines(moves, overview, at);
    const count = looks.reduce((n, { moves }) => n + moves.length, 0);
    this.io.stderr.write(`${count} counters moved between ${looks.length + 1} dumps\n`);
    await this.end();
    return EXIT.done;
  }

  /** What a look at the live node's counters found. */
  look(moves: readonly CounterMove[], overview: RuleOverview, at: Nanos): void {
    const { io, request } = this;
    if (io.terminal.stdout && request.format !== 'json') {
      this.output.write(this.picture.draw(moves, at, io.columns()));
    } else {
      this.lines(moves, overview, at);
    }
  }

  /** Resolves when nobody reads any more, or the end is asked for. */
  closed(): Promise<void> {
    return new Promise((resolve) => {
      for (const signal of [this.output.closed, this.io.signal]) {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      }
    });
  }

  async end(): Promise<void> {
    await this.output.flush();
  }

  private lines(
    moves: readonly CounterMove[],
    overview: RuleOverview,
    at: Nanos | undefined,
  ): void {
    for (const move of moves) {
      this.output.write(
        this.request.format === 'json' ? moveJson(move, overview, at) : moveLine(move, at),
      );
    }
  }

  private async write(pieces: Iterable<string>): Promise<void> {
    for (const piece of pieces) {
      this.output.write(piece);
      const full = this.output.ready();
      if (full !== undefined) await full;
      if (this.output.closed.aborted) return;
    }
  }
}
