import { from, map, mergeMap, type Observable, Subject, type Subscription, tap, timer } from 'rxjs';
import { Correlator } from '../correlate/correlator.js';
import type { OutputEvent } from '../model/attribution.js';
import type { InputEvent, Loss } from '../model/event.js';
import { Interfaces } from '../model/interfaces.js';
import { type Nanos, secondsOf } from '../model/time.js';
import { feed } from '../pipeline/feed.js';
import { RuleSurvey } from '../pipeline/rule-survey.js';
import { watchAddresses } from '../sources/addresses.js';
import type { Backlog } from '../sources/backlog.js';
import type { LiveRequest } from './commands.js';
import type { Io } from './io.js';
import { liveSources } from './live-sources.js';
import { rehearse } from './rehearse.js';
import { Quota, RunEnd } from './run-end.js';
import { Shown } from './shown.js';

/** Time passes also when nothing happens: bounds run out, rows that are held back come out. */
const TICK_MS = 50;
/** How long rules and cluster may take before traffic is watched without them. */
const NAMES_MS = 10_000;
/** How long child processes may take to begin; a cap that is started again and again should not keep conntrack from being used. */
const OPEN_MS = 5_000;
/** What the kernel still holds when the end is asked for is read within this time. */
const DRAIN_MS = 60;
/** What was read and waits for the machine is looked at, but nobody who asks for the end should wait longer. */
const BACKLOG_MS = 3_000;
const BACKLOG_CHECK_MS = 10;

/** `whichpod live`: from this node's sources into the machine, until interrupted or enough. */
export async function run(request: LiveRequest, io: Io): Promise<number> {
  const interfaces = new Interfaces();
  const machine = new Correlator({
    interfaces,
    baseSeconds: secondsOf(io.now()),
    firstListingIsOld: true,
    ...(request.nodeName !== undefined && { node: request.nodeName }),
    // `--count` counts what is said.
    saysDirect: request.output.direct,
    describes: request.output.format !== 'summary' || request.count !== undefined,
    ...(request.udpIdleNs !== undefined && { udpIdleNs: request.udpIdleNs }),
  });
  const unresolved = new Subject<void>();
  const names = new Awaited(awaitedNames(request));
  const traffic = new Awaited(['capture', 'conntrack']);
  const sources = liveSources(request, interfaces, unresolved, (what) => {
    names.has(what);
    traffic.has(what);
  });
  const shown = new Shown(request.output, io, 'drop');
  const survey = new RuleSurvey();
  const quota = new Quota(request.count);
  const end = new RunEnd([io.signal, shown.sink.closed]);
  const running: Subscription[] = [];
  const start = (...events: Observable<InputEvent>[]): void => {
    const say = (said: readonly OutputEvent[]): void => quota.take(shown.show(said));
    running.push(feed(machine, events, say, (error) => end.fail(error)));
  };
  const stopRehearsal = rehearse(request.output.format);
  try {
    start(
      watchAddresses(),
      sources.names.pipe(
        tap((event) => {
          if (event.type === 'notice' && CLUSTER_DONE.has(event.notice.code)) names.has('cluster');
        }),
        mergeMap((event) => survey.take(event)),
      ),
    );
    await Promise.race([names.promise, end.promise, elapse(NAMES_MS)]);
    if (!io.signal.aborted) {
      start(from(survey.conclude()));
      start(sources.traffic.pipe(tap(stopRehearsal)), ticks());
      await Promise.race([traffic.promise, end.promise, elapse(OPEN_MS)]);
      io.stderr.write(`watching (${sources.description}); Ctrl-C ends\n`);
      if (request.durationNs === undefined) await end.promise;
      else await Promise.race([end.promise, elapse(request.durationNs / 1_000_000)]);
      await elapse(DRAIN_MS);
      const left = await worked(sources.backlog);
      if (left > 0) machine.push({ type: 'loss', loss: unseen(left, io.now()) });
    }
  } finally {
    stopRehearsal();
    for (const subscription of running) subscription.unsubscribe();
  }
  shown.show(machine.finish());
  return shown.end();

  function ticks(): Observable<InputEvent> {
    return timer(TICK_MS, TICK_MS).pipe(
      map(() => {
        const time = io.now();
        if (machine.pending > 0) unresolved.next();
        shown.sink.tick(time);
        if (quota.enough(Number(time / 1_000_000n))) end.ask();
        return { type: 'tick', time };
      }),
    );
  }
}

/** Notices after which waiting for the cluster's lists is over. */
const CLUSTER_DONE = new Set(['cluster-listed', 'no-cluster']);

/** What must be known before traffic is judged, as far as it is asked for. */
function awaitedNames(request: LiveRequest): string[] {
  const all: string[] = [];
  if (request.rules !== 'none') all.push('rules');
  if (request.cluster !== undefined || request.objects !== undefined) all.push('cluster');
  return all;
}

/** Resolves when each of some things has come about. */
class Awaited {
  readonly promise: Promise<void>;
  private readonly missing: Set<string>;
  private resolve: () => void = () => undefined;

  constructor(things: readonly string[]) {
    this.missing = new Set(things);
    this.promise = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.check();
  }

  has(thing: string): void {
    this.missing.delete(thing);
    this.check();
  }

  private check(): void {
    if (this.missing.size === 0) this.resolve();
  }
}

/** Waits until nothing waits any more, or too long; what is left. */
async function worked(backlog: Backlog): Promise<number> {
  let left = backlog.size;
  for (let waited = 0; left > 0 && waited < BACKLOG_MS; waited += BACKLOG_CHECK_MS) {
    await elapse(BACKLOG_CHECK_MS);
    left = backlog.size;
  }
  return left;
}

function unseen(count: number, to: Nanos): Loss {
  const detail =
    'the run ended before these packets and conntrack events were looked at: this process gets too little time for the traffic of this node';
  return { source: 'queue', count, to, detail };
}

function elapse(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
