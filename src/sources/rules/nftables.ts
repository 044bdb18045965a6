import { filter, Observable, type SchedulerLike, type Subscriber } from 'rxjs';
import { fingerprintSteps } from '../../decode/rules/fingerprint.js';
import { readNftJsonSteps } from '../../decode/rules/nft-json.js';
import { nftServiceSteps } from '../../decode/rules/nft-services.js';
import type { InputEvent } from '../../model/event.js';
import { describeWhere, type Problem } from '../../model/problem.js';
import type { NftablesRules } from '../../model/ruleset.js';
import type { Nanos } from '../../model/time.js';
import { inSlices } from '../slices.js';
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

export interface NftablesOptions {
  /** The node whose rules these are. */
  readonly node?: string;
  /** What stands before nft, as in `['ip', 'netns', 'exec', 'x']`. */
  readonly prefix?: readonly string[];
  readonly families?: readonly (4 | 6)[];
  readonly changes?: ChangeSources;
  readonly budget?: Budget;
  /** Called after each reading of everything, also when there was nothing to tell. */
  readonly onRead?: () => void;
  /** Without a change the rules are read this often (default 30 s, 10 min while changes of nf_tables are heard), rarer if reading takes long. */
  readonly intervalMs?: number;
  /** How long nft may take (default 60 s). */
  readonly timeoutMs?: number;
  /** How much nft may print (default 256 MiB). */
  readonly maxBytes?: number;
  readonly now?: () => Nanos;
  readonly scheduler?: SchedulerLike;
}

const INTERVAL_MS = 30_000;
/** While every change is heard, in case one was not. */
const HEARD_INTERVAL_MS = 600_000;

/** What nft says of a table that is not there: the kernel's ENOENT. */
const NO_TABLE = /^Error: (?:Could not process rule: )?No such file or directory$/m;

/**
 * kube-proxy's tables of nftables mode on this node, one `rules` event a family whenever they have
 * changed (not when affinity sets have); an empty rule set when a table is gone, nothing while there is
 * none. They are read on subscription, after each trigger and on a slow timer, with so much rest between
 * that it costs less than 5 % of a core. Only these tables are listed: to list everything takes nft
 * 34 s where iptables-nft holds 415,000 rules. What hinders it is a `notice`, said once
 * (`rules-tool-missing`, `rules-permission`, `rules-failed`, `rules-warning`), and a `loss` for rules
 * that could be read before. It never ends by itself; on unsubscription nft is killed if it runs.
 */
export function watchNftables(options: NftablesOptions = {}): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const watch = new NftablesWatch(options);
    const changes = new Changes(options.changes, options.scheduler);
    return paced(() => watch.read(), {
      // Who hears of nf_tables' changes need not guess from the cluster's when the rules follow.
      trigger: changes.events.pipe(filter((change) => change === 'nft' || !changes.hearsNft)),
      idleMs: () => options.intervalMs ?? (changes.hearsNft ? HEARD_INTERVAL_MS : INTERVAL_MS),
      idle: () => 'nft',
      ...(options.budget && { budget: options.budget }),
      ...(options.scheduler && { scheduler: options.scheduler }),
    }).subscribe(subscriber);
  });
}

class NftablesWatch {
  private readonly options: NftablesOptions;
  private readonly now: () => Nanos;
  private readonly limits: { readonly timeoutMs: number; readonly maxBytes: number };
  private readonly hindrances: RuleHindrances;
  /** Of the rules last told; none for a family without a table. */
  private readonly fingerprints = new Map<4 | 6, string>();

  constructor(options: NftablesOptions) {
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
      await this.readFamily(out, family, signal);
      if (signal.aborted) return;
    }
  }

  private async readFamily(
    out: Subscriber<InputEvent>,
    family: 4 | 6,
    signal: AbortSignal,
  ): Promise<void> {
    const command = ['nft', '-j', 'list', 'table', family === 4 ? 'ip' : 'ip6', 'kube-proxy'];
    const program = command.join(' ');
    const at = this.now();
    let chunks: Uint8Array[] = [];
    const result = await runRuleProgram(
      this.options.prefix ?? [],
      command,
      { ...this.limits, signal },
      () => {
        chunks = [];
        return (chunk) => chunks.push(chunk);
      },
    );
    if (signal.aborted) return;
    if (notStarted(result)) {
      const detail =
        'nft was not found: where kube-proxy runs in nftables mode, its rules are not read; install the package nftables';
      this.hindrances.say(out, 'rules-tool-missing', detail);
      return;
    }
    if (result.end === 'ran' && result.code !== 0 && NO_TABLE.test(result.stderr)) {
      await this.gone(out, family, program, at, signal);
      return;
    }
    if (result.end !== 'ran' || result.code !== 0) {
      this.hindrances.failed(out, program, result, at);
      return;
    }
    for (const line of result.stderr.split('\n')) {
      if (line.trim() !== '')
        this.hindrances.say(out, 'rules-warning', `${program}: ${line.trim()}`);
    }
    const listing = await inSlices(readNftJsonSteps(Buffer.concat(chunks)), signal);
    if (listing === undefined) return;
    const { rules, problems } = listing;
    this.complain(out, program, problems);
    const [listed] = rules.filter((one) => one.family === family);
    if (!listed || problems.some(({ fatal }) => fatal)) return;
    this.hindrances.succeeded(program, at);
    await this.tell(out, program, listed, at, signal);
  }

  private async gone(
    out: Subscriber<InputEvent>,
    family: 4 | 6,
    program: string,
    at: Nanos,
    signal: AbortSignal,
  ): Promise<void> {
    if (!this.fingerprints.has(family)) return;
    const nothing = { chains: new Map(), sets: new Map(), maps: new Map() };
    const rules: NftablesRules = { kind: 'nftables', family, backend: 'nft', ...nothing };
    await this.tell(out, program, rules, at, signal);
    this.fingerprints.delete(family);
  }

  private async tell(
    out: Subscriber<InputEvent>,
    program: string,
    rules: NftablesRules,
    time: Nanos,
    signal: AbortSignal,
  ): Promise<void> {
    const fingerprint = await inSlices(fingerprintSteps(rules), signal);
    if (fingerprint === undefined || this.fingerprints.get(rules.family) === fingerprint) return;
    const problems: Problem[] = [];
    const services = await inSlices(nftServiceSteps(rules, problems), signal);
    if (services === undefined) return;
    this.fingerprints.set(rules.family, fingerprint);
    this.complain(out, program, problems);
    const { node } = this.options;
    out.next({ type: 'rules', time, ...(node !== undefined && { node }), rules, services });
  }

  private complain(
    out: Subscriber<InputEvent>,
    program: string,
    problems: readonly Problem[],
  ): void {
    for (const problem of problems) {
      const where = describeWhere(problem.where);
      const at = where === '' ? '' : ` (${where})`;
      this.hindrances.say(
        out,
        'rules-warning',
        `${program}: ${problem.message}${at}; ${problem.advice}`,
      );
    }
  }
}
