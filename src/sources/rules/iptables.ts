import { NEVER, Observable, type SchedulerLike, type Subscriber } from 'rxjs';
import { rulesFingerprint } from '../../decode/rules/fingerprint.js';
import { IptablesSaveReader } from '../../decode/rules/iptables-save.js';
import { iptablesServices } from '../../decode/rules/iptables-services.js';
import type { InputEvent } from '../../model/event.js';
import type { Problem } from '../../model/problem.js';
import type { IptablesBackend, IptablesRules } from '../../model/ruleset.js';
import type { Nanos } from '../../model/time.js';
import { wallClock } from '../wall-clock.js';
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
  /** Each emission says that the rules may have changed. */
  readonly trigger?: Observable<unknown>;
  /** Called after each reading of everything, also when there was nothing to tell. */
  readonly onRead?: () => void;
  /** Without a trigger the rules are read this often (default 30 s), rarer if reading takes long. */
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

/**
 * The iptables rules of this node: both families and both kernel back ends, each as one `rules` event
 * whenever its rules (not its counters) have changed; an empty rule set when they are gone. They are
 * read on subscription, after each trigger and on a slow timer, one program at a time, with so much
 * rest between that it costs less than 5 % of a core. What hinders it is a `notice`, said once
 * (`rules-tool-missing`, `rules-permission`, `rules-failed`, `rules-warning`), and a `loss` for rules
 * that could be read before. It never ends by itself; on unsubscription the program that runs is killed.
 */
export function watchIptables(options: IptablesOptions = {}): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const watch = new IptablesWatch(options);
    return paced(() => watch.read(), {
      trigger: options.trigger ?? NEVER,
      idleMs: options.intervalMs ?? INTERVAL_MS,
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

  constructor(options: IptablesOptions) {
    this.options = options;
    this.now = options.now ?? wallClock;
    this.limits = {
      timeoutMs: options.timeoutMs ?? TIMEOUT_MS,
      maxBytes: options.maxBytes ?? MAX_BYTES,
    };
    this.hindrances = new RuleHindrances(this.limits, this.now);
  }

  /** One reading of everything; completes. */
  read(): Observable<InputEvent> {
    return new Observable<InputEvent>((subscriber) => {
      const abort = new AbortController();
      this.readAll(subscriber, abort.signal).then(
        () => {
          this.options.onRead?.();
          subscriber.complete();
        },
        (error: unknown) => subscriber.error(error),
      );
      return () => abort.abort();
    });
  }

  private async readAll(out: Subscriber<InputEvent>, signal: AbortSignal): Promise<void> {
    for (const family of this.options.families ?? [4, 6]) {
      const tool = family === 4 ? 'iptables' : 'ip6tables';
      const nft = await this.run(`${tool}-nft-save`, family, signal, 'nft');
      const legacy = await this.run(`${tool}-legacy-save`, family, signal, 'legacy');
      const readings = [nft, legacy];
      // Before iptables 1.8 there is one back end and one name; some systems install only the links.
      if (isMissing(nft) || isMissing(legacy)) {
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
      for (const reading of readings) this.tell(out, reading, seen, !isMissing(legacy));
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
    let reader = new IptablesSaveReader({ offsetAt });
    const result = await runRuleProgram(
      this.options.prefix ?? [],
      [program, '-c'],
      { ...this.limits, signal },
      () => {
        reader = new IptablesSaveReader({ offsetAt });
        return (chunk) => reader.feed(chunk);
      },
    );
    if (result.end === 'ran' && result.code === 0) reader.end();
    const dumps = reader.dumps.map((dump) =>
      dump.backend === 'unknown' ? { ...dump, backend } : dump,
    );
    return { program, family, at, result, dumps, problems: reader.problems };
  }

  private tell(
    out: Subscriber<InputEvent>,
    reading: Reading,
    seen: Set<string>,
    legacyRead: boolean,
  ): void {
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
      this.changed(out, key, reading, rules);
    }
    for (const [key, known] of this.known) {
      if (known.program !== program || seen.has(key) || known.family !== reading.family) continue;
      // Once there and now gone: what was said of it no longer holds.
      seen.add(key);
      const { family, backend } = known;
      this.changed(out, key, reading, { kind: 'iptables', family, backend, tables: new Map() });
    }
  }

  private changed(
    out: Subscriber<InputEvent>,
    key: string,
    reading: Reading,
    rules: IptablesRules,
  ): void {
    const { program, at } = reading;
    const fingerprint = rulesFingerprint(rules);
    if (this.known.get(key)?.fingerprint === fingerprint) return;
    const { family, backend } = rules;
    this.known.set(key, { program, family, backend, fingerprint });
    const problems: Problem[] = [];
    const services = iptablesServices(rules, problems);
    for (const problem of problems) {
      this.hindrances.say(
        out,
        'rules-warning',
        `${program}: ${problem.message}; ${problem.advice}`,
      );
    }
    const { node } = this.options;
    out.next({ type: 'rules', time: at, ...(node !== undefined && { node }), rules, services });
  }
}

function isMissing({ result }: Reading): boolean {
  return notStarted(result);
}
