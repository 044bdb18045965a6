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
import { type RunResult, runProgram } from './run-program.js';

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
/** 415,000 rules take iptables-nft-save 1.5 s on a quiet machine. */
const TIMEOUT_MS = 60_000;
/** Seven times the rules of 5,000 Services with 20 endpoints each. */
const MAX_BYTES = 256 << 20;

/** Where the programs are when PATH, as often outside of a login, lacks root's folders. */
const FOLDERS = ['', '/usr/sbin/', '/sbin/'];

/** Notices said once each; whoever causes more than this has been told. */
const MAX_SAID = 100;

const REFUSED = /permission denied|operation not permitted|must be root/i;
/** What sh, `ip netns exec` and nsenter say when the program after them does not exist. */
const NOT_THERE = /no such file or directory|not found|failed to execute/i;
/** iptables-nft-save says this on stderr; it is no news when the legacy tables are read as well. */
const LEGACY_TOO = /iptables-legacy tables present/;

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
  /** When each program last succeeded. */
  private readonly good = new Map<string, Nanos>();
  private readonly said = new Set<string>();

  constructor(options: IptablesOptions) {
    this.options = options;
    this.now = options.now ?? wallClock;
  }

  /** One reading of everything; completes. */
  read(): Observable<InputEvent> {
    return new Observable<InputEvent>((subscriber) => {
      const abort = new AbortController();
      this.readAll(subscriber, abort.signal).then(
        () => subscriber.complete(),
        (error: unknown) => subscriber.error(error),
      );
      return () => abort.abort();
    });
  }

  private async readAll(out: Subscriber<InputEvent>, signal: AbortSignal): Promise<void> {
    for (const family of this.options.families ?? [4, 6]) {
      const tool = family === 4 ? 'iptables' : 'ip6tables';
      const nft = await this.run(`${tool}-nft-save`, family, signal);
      const legacy = await this.run(`${tool}-legacy-save`, family, signal);
      const readings = [nft, legacy];
      // Before iptables 1.8 there is one back end and one name; some systems install only the links.
      if (isMissing(nft) || isMissing(legacy)) {
        readings.push(await this.run(`${tool}-save`, family, signal));
      }
      if (signal.aborted) return;
      if (readings.every(isMissing)) {
        this.say(
          out,
          'rules-tool-missing',
          `${tool}-save was not found: without it the iptables rules of IPv${family} are not read; install the package iptables`,
        );
      }
      const seen = new Set<string>();
      for (const reading of readings) this.tell(out, reading, seen, !isMissing(legacy));
    }
  }

  private async run(program: string, family: 4 | 6, signal: AbortSignal): Promise<Reading> {
    const { prefix = [], timeoutMs = TIMEOUT_MS, maxBytes = MAX_BYTES } = this.options;
    const at = this.now();
    const zoneOffsetSeconds = -60 * new Date().getTimezoneOffset();
    let reader = new IptablesSaveReader({ zoneOffsetSeconds });
    let result: RunResult = { end: 'missing', code: -1, stderr: '' };
    for (const folder of FOLDERS) {
      reader = new IptablesSaveReader({ zoneOffsetSeconds });
      result = await runProgram(
        [...prefix, `${folder}${program}`, '-c'],
        { timeoutMs, maxBytes, signal },
        (chunk) => reader.feed(chunk),
      );
      if (!notStarted(result)) break;
    }
    if (result.end === 'ran' && result.code === 0) reader.end();
    return { program, family, at, result, dumps: reader.dumps, problems: reader.problems };
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
      this.failed(out, reading);
      return;
    }
    for (const line of result.stderr.split('\n')) {
      if (line.trim() === '' || (legacyRead && LEGACY_TOO.test(line))) continue;
      this.say(out, 'rules-warning', `${program}: ${line.trim()}`);
    }
    for (const problem of reading.problems) {
      const { line } = problem.where;
      const where = line === undefined ? '' : `, line ${line}`;
      this.say(out, 'rules-warning', `${program}${where}: ${problem.message}; ${problem.advice}`);
    }
    this.good.set(program, reading.at);
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
      this.say(out, 'rules-warning', `${program}: ${problem.message}; ${problem.advice}`);
    }
    const { node } = this.options;
    out.next({ type: 'rules', time: at, ...(node !== undefined && { node }), rules, services });
  }

  private failed(out: Subscriber<InputEvent>, { program, result, at }: Reading): void {
    const why = reason(result, this.options);
    if (REFUSED.test(result.stderr)) {
      this.say(
        out,
        'rules-permission',
        `${program} may not read the rules (${why}); run as root, or in a container add NET_ADMIN and NET_RAW to securityContext.capabilities`,
      );
    } else {
      this.say(out, 'rules-failed', `${program} could not read the rules: ${why}`);
    }
    const from = this.good.get(program);
    if (from === undefined) return;
    const detail = `${program} could not read the rules: ${why}`;
    out.next({ type: 'loss', loss: { source: 'rules', count: 1, from, to: at, detail } });
  }

  private say(out: Subscriber<InputEvent>, code: string, detail: string): void {
    const key = `${code} ${detail}`;
    if (this.said.has(key) || this.said.size >= MAX_SAID) return;
    this.said.add(key);
    out.next({ type: 'notice', notice: { code, time: this.now(), detail } });
  }
}

/** The program does not exist, as far as can be told through a prefix. */
function notStarted(result: RunResult): boolean {
  if (result.end === 'missing') return true;
  return result.end === 'ran' && result.code !== 0 && NOT_THERE.test(result.stderr);
}

function isMissing({ result }: Reading): boolean {
  return notStarted(result);
}

function reason(result: RunResult, options: IptablesOptions): string {
  switch (result.end) {
    case 'timeout':
      return `it took more than ${(options.timeoutMs ?? TIMEOUT_MS) / 1_000} s`;
    case 'too-much':
      return `it printed more than ${options.maxBytes ?? MAX_BYTES} bytes`;
    default:
      return result.stderr.trim().slice(0, 300) || `it ended with code ${result.code}`;
  }
}
