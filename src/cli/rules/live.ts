import { merge, type Observable, Subject, type Subscription, share } from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import { PermissionError } from '../../model/problem.js';
import type { CounterMove, RuleOverview } from '../../model/rule-view.js';
import type { Nanos } from '../../model/time.js';
import { RuleBook } from '../../pipeline/rule-book.js';
import { movesBetween, type Snapshot, snapshot } from '../../pipeline/rule-moves.js';
import { watchAddresses } from '../../sources/addresses.js';
import { Budget } from '../../sources/rules/budget.js';
import { chooseRules } from '../../sources/rules/choose.js';
import { watchIptables } from '../../sources/rules/iptables.js';
import type { Io } from '../io.js';
import { clusterSource } from '../live/sources.js';
import { tellNotices } from './notices.js';
import type { RulesRequest } from './request.js';

/** How long rules, and the cluster's lists, may take before what is there is shown. */
const RULES_MS = 90_000;
const CLUSTER_MS = 10_000;
/** Notices after which waiting for the cluster's lists is over. */
const CLUSTER_DONE = new Set(['cluster-listed', 'no-cluster']);
/** What the output itself says, or what nobody asked for. */
const UNTOLD = new Set(['rules-read', 'cluster-listed']);
/** Intervals that come so much longer than asked for are worth a word. */
const SLOW = 1.5;
const NS_PER_MS = 1_000_000;

/** The live node's rules and cluster. `close` ends what runs for it. */
export class LiveRules {
  readonly book = new RuleBook();
  private readonly request: RulesRequest;
  private readonly io: Io;
  private readonly running: Subscription[] = [];
  private readonly addresses = new Set<string>();
  private failed: unknown;
  /** Emits when the cluster or the rules say something else than before. */
  private readonly changes = new Subject<void>();

  constructor(request: RulesRequest, io: Io) {
    this.request = request;
    this.io = io;
  }

  get node(): string | undefined {
    return this.request.nodeName ?? this.book.cluster.nodeWith(this.addresses);
  }

  /** Resolves when the cluster was listed and the rules were read, as far as they can be. */
  async open(): Promise<void> {
    const cluster = new Promise<void>((resolve) => {
      const source = clusterSource(this.request, resolve).pipe(share());
      if (this.request.objects === undefined && this.request.cluster === undefined) resolve();
      this.listen(merge(source, watchAddresses()), (event) => {
        if (event.type === 'notice' && CLUSTER_DONE.has(event.notice.code)) resolve();
      });
    });
    await Promise.all([this.within(CLUSTER_MS, cluster), this.read()]);
    tellNotices(this.io, this.book.conclude(), UNTOLD);
    if (this.failed !== undefined) throw this.failed;
    if (this.book.held.length === 0 && this.io.uid !== 0 && !this.io.signal.aborted) {
      throw new PermissionError('no rules can be read; run as root, or name a recording');
    }
  }

  /** Reads the rules once. */
  async read(): Promise<void> {
    const subscriptions: Subscription[] = [];
    const done = new Promise<void>((resolve) => {
      if (this.request.rules === 'none') resolve();
      const source = chooseRules(this.request.rules, {
        clusterChanges: new Subject(),
        onRead: resolve,
      });
      subscriptions.push(this.listen(source.events));
    });
    await this.within(RULES_MS, done);
    for (const subscription of subscriptions) subscription.unsubscribe();
  }

  /**
   * Reads the counters again and again, and hands on those that moved; never ends by itself. `slow` hears, in ms,
   * of intervals that are longer than asked for, so that reading takes no more than a part of a core.
   */
  watch(
    intervalNs: number,
    view: () => RuleOverview,
    show: (moves: readonly CounterMove[], overview: RuleOverview, at: Nanos) => void,
    slow: (ms: number) => void,
  ): void {
    const { book, io } = this;
    let overview = view();
    let before: Snapshot = snapshot(overview, book.held);
    let isStale = false;
    let last: Nanos | undefined;
    let told = SLOW * (intervalNs / NS_PER_MS);
    this.running.push(
      this.changes.subscribe(() => {
        isStale = true;
      }),
    );
    const intervalMs = intervalNs / NS_PER_MS;
    const source = watchIptables({
      intervalMs,
      budget: new Budget(),
      onRules: (rules, at) => book.count(rules, undefined, at),
      onRead: () => {
        const now = io.now();
        const gap = last === undefined ? 0 : Number(now - last) / NS_PER_MS;
        last = now;
        if (gap > told + intervalMs / 2) {
          told = SLOW * gap;
          slow(gap);
        }
        if (isStale) overview = view();
        isStale = false;
        const after = snapshot(overview, book.held);
        const moves = movesBetween(before, after, overview, book.held);
        before = after;
        show(moves, overview, now);
      },
    });
    this.listen(source);
  }

  close(): void {
    for (const subscription of this.running) subscription.unsubscribe();
  }

  private listen(
    events: Observable<InputEvent>,
    hear: (event: InputEvent) => void = () => undefined,
  ): Subscription {
    const subscription = events.subscribe({
      next: (event) => {
        if (event.type === 'addresses') for (const ip of event.addresses) this.addresses.add(ip);
        tellNotices(this.io, this.book.take(event), UNTOLD);
        if (event.type === 'rules' || event.type === 'cluster') this.changes.next();
        if (event.type === 'loss') this.io.stderr.write(`loss: ${event.loss.detail}\n`);
        hear(event);
      },
      error: (error: unknown) => {
        this.failed = error;
        hear({ type: 'notice', notice: { code: 'no-cluster', detail: '' } });
      },
    });
    this.running.push(subscription);
    return subscription;
  }

  /** Waits for something, but not beyond a time, and not when the end is asked for. */
  async within(ms: number, promise: Promise<void>): Promise<void> {
    const { signal } = this.io;
    if (signal.aborted) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
      signal.addEventListener('abort', () => resolve(), { once: true });
    });
    await Promise.race([promise, late]);
    clearTimeout(timer);
  }

  /** Lets time pass. */
  async elapse(ms: number): Promise<void> {
    await this.within(ms, new Promise(() => undefined));
  }
}
