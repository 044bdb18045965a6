import { Observable, type Subscriber } from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import type { Readings, RecentLists, Route } from '../../model/readings.js';
import { NANOS_PER_SECOND, type Nanos } from '../../model/time.js';
import { conntrackFacts } from './conntrack.js';
import { kubeProxyFacts } from './kube-proxy.js';
import { readRecent } from './recent.js';
import { readRoutes } from './routes.js';

const ROOT = '/';
/** What the kernel counts shows in two readings; some files of /proc. */
const OFTEN_MS = 10_000;
/** Routes take two programs, kube-proxy's version a question to it. */
const SELDOM_TURNS = 6;
/** More lists and addresses in them are read when routes are: each list is a file. */
const FEW_ENTRIES = 2_000;
/** Reading takes at most one part in so many of the time, what is asked for not counted. */
const REST = 100n;
/** Nobody waits longer for a reading. */
const LIMIT_MS = 5_000;
/** Of more routes (a node that speaks BGP) only those of single addresses count: they lead to Pods. */
const MAX_ROUTES = 10_000;
/** Of all lists together; further lists are left out. 2 MB of JSON. */
const MAX_ADDRESSES = 50_000;
/** Of a moment that is computed from the kernel's ticks and its uptime. */
const SAME_SECONDS = 1;

/** Reads what of a node is neither traffic nor rules, and tells what is new of it. Nothing is changed. */
export class NodeReader {
  /** At once and then from time to time, while somebody is subscribed; one may be. Never ends by itself. */
  readonly events: Observable<InputEvent>;
  private readonly now: () => Nanos;
  private told: Subscriber<InputEvent> | undefined;
  private last: Readings = {};
  private lastRecent: Nanos = 0n;
  private entries = 0;
  private reading: Promise<void> = Promise.resolve();

  constructor(now: () => Nanos) {
    this.now = now;
    this.events = new Observable((subscriber) => {
      this.told = subscriber;
      let turn = 0;
      let reads = false;
      let rests: Nanos | undefined;
      const look = async (): Promise<void> => {
        const begin = now();
        // A node that is slow is not asked as often.
        if (reads || (rests !== undefined && begin < rests)) return;
        reads = true;
        await this.read(turn++ % SELDOM_TURNS === 0);
        reads = false;
        rests = begin + (now() - begin) * REST;
      };
      void look();
      const timer = setInterval(() => void look(), OFTEN_MS).unref();
      return () => {
        clearInterval(timer);
        this.told = undefined;
      };
    });
  }

  /** Reads, `all` or what costs little; what is new has been told when it resolves. Never rejects. */
  read(all = true, limitMs = LIMIT_MS): Promise<void> {
    // One after the other: what is news is found out by what was told before.
    this.reading = this.reading.then(() => this.look(all, limitMs));
    return this.reading;
  }

  private async look(all: boolean, limitMs: number): Promise<void> {
    const time = this.now();
    const signal = AbortSignal.timeout(limitMs);
    const [{ settings, counters }, recent, routes, proxy] = await Promise.all([
      conntrackFacts(ROOT),
      all || this.entries <= FEW_ENTRIES ? readRecent(ROOT) : undefined,
      all ? readRoutes(signal) : undefined,
      all ? kubeProxyFacts(signal) : undefined,
    ]);
    const table = {
      count: settings['count'],
      max: settings['max'],
      insertFailed: counters['insert_failed'],
      drop: counters['drop'],
      earlyDrop: counters['early_drop'],
    };
    this.tell(time, {
      table: defined(table),
      ...this.newLists(recent?.lists, time),
      ...this.news('routes', routes && fewer(routes)),
      ...this.news('recentCapacity', recent?.capacity),
      ...this.news('kubeProxy', proxy?.proxyVersion),
    });
  }

  private tell(time: Nanos, readings: Readings): void {
    this.last = { ...this.last, ...readings };
    this.told?.next({ type: 'readings', time, readings });
  }

  private news<M extends 'routes' | 'recentCapacity' | 'kubeProxy'>(
    member: M,
    value: Readings[M],
  ): Pick<Readings, M> | undefined {
    if (value === undefined) return undefined;
    const isKnown = JSON.stringify(value) === JSON.stringify(this.last[member]);
    return isKnown ? undefined : ({ [member]: value } as Pick<Readings, M>);
  }

  /** Ages grow, so it is the moments that are compared. */
  private newLists(
    lists: RecentLists | undefined,
    time: Nanos,
  ): Pick<Readings, 'recent'> | undefined {
    if (lists === undefined) return undefined;
    this.entries = lists.reduce((sum, [, held]) => sum + 1 + held.length, 0);
    const recent = bounded(lists);
    const passed = Number(time - this.lastRecent) / NANOS_PER_SECOND;
    if (isSame(recent, this.last.recent, passed)) return undefined;
    this.lastRecent = time;
    return { recent };
  }
}

function defined(table: Readonly<Record<string, number | undefined>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(table).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  );
}

function fewer(routes: readonly Route[]): readonly Route[] {
  if (routes.length <= MAX_ROUTES) return routes;
  return routes
    .filter(({ network, prefix }) => prefix === (network.includes(':') ? 128 : 32))
    .slice(0, MAX_ROUTES);
}

/** Ages to the millisecond, the finest that the kernel's ticks can be. */
function bounded(lists: RecentLists): RecentLists {
  let left = MAX_ADDRESSES;
  return lists.flatMap(([list, held]) => {
    left -= held.length;
    if (left < 0) return [];
    return [[list, held.map(([address, age]) => [address, Math.round(age * 1_000) / 1_000])]];
  });
}

function isSame(now: RecentLists, before: RecentLists | undefined, passed: number): boolean {
  return (
    before !== undefined &&
    now.length === before.length &&
    now.every(([list, held], i) => {
      const [name, known = []] = before[i] ?? [];
      return (
        list === name &&
        held.length === known.length &&
        held.every(([address, age], k) => {
          const [other, itsAge = 0] = known[k] ?? [];
          return address === other && Math.abs(age - passed - itsAge) < SAME_SECONDS;
        })
      );
    })
  );
}
