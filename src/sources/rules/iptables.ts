import { EMPTY, mergeMap, Observable, of, type SchedulerLike, type Subscriber } from 'rxjs';
import { rulesFingerprint } from '../../decode/rules/fingerprint.js';
import { IptablesSaveReader } from '../../decode/rules/iptables-save.js';
import { iptablesServiceSteps } from '../../decode/rules/iptables-services.js';
import type { InputEvent } from '../../model/event.js';
import type { Problem } from '../../model/problem.js';
import type { IptablesBackend, IptablesRules } from '../../model/ruleset.js';
import type { Nanos } from '../../model/time.js';
import { inSlices, nextTurn } from '../slices.js';
import { wallClock } from '../wall-clock.js';
import type { Budget } from './budget.js';
import { type ChangeSources, Changes } from './changes.js';
import { paced } from './paced.js';
import {
  MAX_BYTES,
  notStarted,
  RuleHindrances,
  runRuleProgram,
  TIMEOUT_MS,
} from './rule-program.js';
import type { RunResult } from './run-program.js';

export interface IptablesOptions {
  /** The node whose rules these are. */
  readonly node?: string;
  /**
   * What stands before each program: `['ip', 'netns', 'exec', 'x']`, or
   * `['nsenter', '--mount=/proc/1/ns/mnt', '--']` for the host's own binaries from within a Pod.
   */
  readonly prefix?: readonly string[];
  readonly families?: readonly (4 | 6)[];
  readonly changes?: ChangeSources;
  readonly budget?: Budget;
  /** Called after each reading of everything, also when there was nothing to tell. */
  readonly onRead?: () => void;
  /** Hears what each reading found, also where nothing but counters has changed: before what is told of it. */
  readonly onRules?: (rules: IptablesRules, at: Nanos) => void;
  /**
   * Without a change the rules are read this often (default 30 s), rarer if reading takes long; while changes
   * of nf_tables are heard, the legacy ones only.
   */
  readonly intervalMs?: number;
  /** How long one program may take (default 60 s). */
  readonly timeoutMs?: number;
  /** How much one program may print (default 256 MiB). */
  readonly maxBytes?: number;
  readonly now?: () => Nanos;
  readonly scheduler?: SchedulerLike;
}

const INTERVAL_MS = 30_000;
/** iptables-nft-save says this on stderr; it is no news when the legacy tables are read as well. */
const LEGACY_TOO = /ip6?tables-legacy tables present/;

/** What of the rules is to be read. */
type Part = 'all' | 'nft' | 'legacy';

/**
 * The iptables rules of this node: both families and both kernel back ends, each as one `rules` event
 * whenever its rules (not its counters) have changed; an empty rule set when they are gone. They are
 * read on subscription, after changes and on a slow timer, one program at a time, with so much
 * rest between that it costs less than 5 % of a core, and never more than a few ms of the event loop's
 * time at once. The kernel tells of changes of nf_tables, but not of the legacy tables: they are looked at
 * when their size has changed and, where there are some, after changes in the cluster. What hinders it is a
 * `notice`, said once (`rules-tool-missing`, `rules-permission`, `rules-failed`, `rules-warning`), and a
 * `loss` for rules that could be read before. It never ends by itself; on unsubscription the program that
 * runs is killed.
 */
export function watchIptables(options: IptablesOptions = {}): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const watch = new IptablesWatch(options);
    const changes = new Changes(options.changes, options.scheduler);
    const legacy = (): Observable<Part> => (watch.hasLegacy ? of('legacy') : EMPTY);
    return paced((asked: ReadonlySet<Part>) => watch.read(asked), {
      trigger: changes.events.pipe(
        mergeMap((change) => {
          if (change !== 'cluster') return of<Part>(change);
          return changes.hearsNft ? legacy() : of<Part>('all');
        }),
      ),
      idleMs: () => options.intervalMs ?? INTERVAL_MS,
      idle: () => (changes.hearsNft ? 'legacy' : 'all'),
      ...(options.budget && { budget: options.budget }),
      ...(options.scheduler && { scheduler: options.scheduler }),
    }).subscribe(subscriber);
  });
}

/** What was last read of one family and back end. */
interface Known {
  readonly program: string;
  readonly family: 4 | 6;
  readonly backend: IptablesBackend;
  readonly fingerprint: string;
  readonly isEmpty: boolean;
}

/** One program's output. */
interface Reading {
  readonly program: string;
  readonly family: 4 | 6;
  readonly at: Nanos;
  readonly result: RunResult;
  readonly dumps: readonly IptablesRules[];
  readonly problems: readonly Problem[];
}

class IptablesWatch {
  private readonly options: IptablesOptions;
  private readonly now: () => Nanos;
  private readonly known = new Map<string, Known>();
  private readonly limits: { readonly timeoutMs: number; readonly maxBytes: number };
  private readonly hindrances: RuleHindrances;
  /** Each back end has a program of its own, as the last reading of everything found. */
  private isSplit = false;

  constructor(options: IptablesOptions) {
    this.options = options;
    this.now = options.now ?? wallClock;
    this.limits = {
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      maxBytes: options.maxBytes ?? MAX_BYTES,
    };
    this.hindrances = new RuleHindrances(this.limits, this.now);
  }

  /** There are legacy rules, as far as was seen. */
  get hasLegacy(): boolean {
    for (const { backend, isEmpty } of this.known.values()) {
      if (backend !== 'nft' && !isEmpty) return true;
    }
    return false;
  }

  /** One reading of what is asked for, nothing meaning everything; completes. */
  read(asked: ReadonlySet<Part>): Observable<InputEvent> {
    const parts: Part[] = asked.size === 0 || !this.isSplit ? ['all'] : [...asked];
    return new Observable<InputEvent>((subscriber) => {
      const abort = new AbortController();
      const { signal } = abort;
      const read =
        parts.includes('all') || parts.length > 1
          ? this.readAll(subscriber, signal)
          : this.readPart(subscriber, signal, parts[0] === 'nft' ? 'nft' : 'legacy');
      read.then(
        () => {
          this.options.onRead?.();
          subscriber.complete();
        },
        (error: unknown) => subscriber.error(error),
      );
      return () => abort.abort();
    });
  }

  /** One back end, of which it is known that its programs are there. */
  private async readPart(
    out: Subscriber<InputEvent>,
    signal: AbortSignal,
    backend: 'nft' | 'legacy',
  ): Promise<void> {
    for (const family of this.options.families ?? [4, 6]) {
      const tool = family === 4 ? 'iptables' : 'ip6tables';
      const reading = await this.run(`${tool}-${backend}-save`, family, signal, backend);
      if (isMissing(reading)) this.isSplit = false;
      await this.tell(out, reading, new Set(), true, signal);
      if (signal.aborted) return;
    }
  }

  private async readAll(out: Subscriber<InputEvent>, signal: AbortSignal): Promise<void> {
    this.isSplit = true;
    for (const family of this.options.families ?? [4, 6]) {
      const tool = family === 4 ? 'iptables' : 'ip6tables';
      const nft = await this.run(`${tool}-nft-save`, family, signal, 'nft');
      const legacy = await this.run(`${tool}-legacy-save`, family, signal, 'legacy');
      const readings = [nft, legacy];
      // Before iptables 1.8 there is one back end and one name; some systems install only the links.
      if (isMissing(nft) || isMissing(legacy)) {
        this.isSplit = false;
        const there = isMissing(nft) ? (isMissing(legacy) ? 'unknown' : 'legacy') : 'nft';
        readings.push(await this.run(`${tool}-save`, family, signal, there));
      }
      if (signal.aborted) return;
      if (readings.every(isMissing)) {
        this.hindrances.say(
          out,
          'rules-tool-missing',
          `${tool}-save was not found: without it the iptables rules of IPv${family} are not read; install the package iptables`,
        );
      }
      const seen = new Set<string>();
      for (const reading of readings) {
        await this.tell(out, reading, seen, !isMissing(legacy), signal);
      }
    }
  }

  /** `backend`: whose rules the program prints where its header does not tell. */
  private async run(
    program: string,
    family: 4 | 6,
    signal: AbortSignal,
    backend: IptablesBackend,
  ): Promise<Reading> {
    const at = this.now();
    const zone = -60 * new Date().getTimezoneOffset();
    const offsetAt = (): number => zone;
    let reader = new IptablesSaveReader({ offsetAt, backend });
    const result = await runRuleProgram(
      this.options.prefix ?? [],
      [program, '-c'],
      { ...this.limits, signal },
      () => {
        reader = new IptablesSaveReader({ offsetAt, backend });
        return (chunk) => reader.feed(chunk);
      },
    );
    if (result.end === 'ran' && result.code === 0) reader.end();
    return { program, family, at, result, dumps: reader.dumps, problems: reader.problems };
  }

  private async tell(
    out: Subscriber<InputEvent>,
    reading: Reading,
    seen: Set<string>,
    legacyRead: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { program, result } = reading;
    if (isMissing(reading)) return;
    if (result.end !== 'ran' || result.code !== 0) {
      this.hindrances.failed(out, program, result, reading.at);
      return;
    }
    for (const line of result.stderr.split('\n')) {
      if (line.trim() === '' || (legacyRead && LEGACY_TOO.test(line))) continue;
      this.hindrances.say(out, 'rules-warning', `${program}: ${line.trim()}`);
    }
    for (const problem of reading.problems) {
      const { line } = problem.where;
      const where = line === undefined ? '' : `, line ${line}`;
      this.hindrances.say(
        out,
        'rules-warning',
        `${program}${where}: ${problem.message}; ${problem.advice}`,
      );
    }
    this.hindrances.succeeded(program, reading.at);
    for (const rules of reading.dumps) {
      const key = `${rules.family} ${rules.backend}`;
      if (seen.has(key)) continue;
      seen.add(key);
      await this.changed(out, key, reading, rules, signal);
    }
    for (const [key, known] of this.known) {
      if (known.program !== program || seen.has(key) || known.family !== reading.family) continue;
      // Once there and now gone: what was said of it no longer holds.
      seen.add(key);
      const { family, backend } = known;
      const nothing: IptablesRules = { kind: 'iptables', family, backend, tables: new Map() };
      await this.changed(out, key, reading, nothing, signal);
    }
  }

  private async changed(
    out: Subscriber<InputEvent>,
    key: string,
    reading: Reading,
    rules: IptablesRules,
    signal: AbortSignal,
  ): Promise<void> {
    const { program, at } = reading;
    this.options.onRules?.(rules, at);
    const fingerprint = rulesFingerprint(rules);
    if (this.known.get(key)?.fingerprint === fingerprint) return;
    const problems: Problem[] = [];
    const services = await inSlices(iptablesServiceSteps(rules, problems), signal);
    if (services === undefined) return;
    const { family, backend, tables } = rules;
    const isEmpty = tables.size === 0;
    this.known.set(key, { program, family, backend, fingerprint, isEmpty });
    for (const problem of problems) {
      this.hindrances.say(
        out,
        'rules-warning',
        `${program}: ${problem.message}; ${problem.advice}`,
      );
    }
    const { node } = this.options;
    // Who takes them has work to do as well: in a turn of its own.
    await nextTurn();
    if (signal.aborted) return;
    out.next({ type: 'rules', time: at, ...(node !== undefined && { node }), rules, services });
  }
}

function isMissing({ result }: Reading): boolean {
  return notStarted(result);
}
