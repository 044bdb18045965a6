import {
  EMPTY,
  from,
  map,
  mergeMap,
  type Observable,
  Subject,
  type Subscription,
  tap,
  timer,
} from 'rxjs';
import { Correlator } from '../../correlate/correlator.js';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent, Loss } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import { type Nanos, secondsOf } from '../../model/time.js';
import { feed } from '../../pipeline/feed.js';
import { RuleSurvey } from '../../pipeline/rule-survey.js';
import { watchAddresses } from '../../sources/addresses.js';
import type { Backlog } from '../../sources/backlog.js';
import { NodeReader } from '../../sources/node/readings.js';
import type { LiveRequest } from '../commands.js';
import type { Io } from '../io.js';
import { LiveRecording } from '../record/live-recording.js';
import { Quota, RunEnd } from '../run-end.js';
import { Shown } from '../shown.js';
import { liveSources } from './sources.js';
import type { Witness } from './witness.js';

/** Time passes also when nothing happens: bounds run out, rows that are held back come out. */
const TICK_MS = 50;
/**
 * The machine counts nanoseconds from before the run: so none of its times fits into 31 bits, and V8 does not make code
 * for those that do, which it would have to make again after two seconds.
 */
const BASE_BEFORE_SECONDS = 10;
/** How long rules and cluster may take before traffic is watched without them. */
const NAMES_MS = 10_000;
/** How long child processes may take to begin; a cap that is started again and again should not keep conntrack from being used. */
const OPEN_MS = 5_000;
/** What the kernel still holds when the end is asked for is read within this time. */
const DRAIN_MS = 60;
/** The node is read for the last time meanwhile, or not: where it is so slow, what it says can be done without. */
const LAST_READING_MS = 1_000;
/** What was read and waits for the machine is looked at, but nobody who asks for the end should wait longer. */
const BACKLOG_MS = 3_000;
const BACKLOG_CHECK_MS = 10;

/** `whichpod live`: from this node's sources into the machine, until interrupted or enough. */
export async function run(request: LiveRequest, io: Io): Promise<number> {
  const { remember = 0 } = request;
  if (remember === 0) return watch(request, io);
  const { LiveMemory } = await import('./memory.js');
  return watch(request, io, new LiveMemory(remember, io));
}

/** The same with someone who sees everything that goes into the machine, and hears all that it says. */
export async function watch(request: LiveRequest, io: Io, witness?: Witness): Promise<number> {
  const interfaces = new Interfaces();
  const baseSeconds = secondsOf(io.now()) - BASE_BEFORE_SECONDS;
  const machine = new Correlator({
    interfaces,
    baseSeconds,
    firstListingIsOld: true,
    ...(request.nodeName !== undefined && { node: request.nodeName }),
    // `--count` counts what is said.
    saysDirect: request.output.direct,
    // So do a recording's comments.
    describes:
      request.output.format !== 'summary' ||
      request.count !== undefined ||
      request.record !== undefined ||
      witness !== undefined,
    ...(request.udpIdleNs !== undefined && { udpIdleNs: request.udpIdleNs }),
  });
  const reader = new NodeReader(() => io.now());
  witness?.begin({
    interfaces,
    cluster: machine.cluster,
    node: request.nodeName,
    readNode: () => reader.read(),
  });
  const unresolved = new Subject<void>();
  const names = new Awaited(awaitedNames(request));
  const traffic = new Awaited(['capture', 'conntrack']);
  const opened = (what: 'rules' | 'cluster' | 'capture' | 'conntrack'): void => {
    names.has(what);
    traffic.has(what);
  };
  const sources = liveSources(request, interfaces, unresolved, opened, {
    ...(request.record !== undefined && {
      tap: (frame) => recording?.frame(frame),
      everything: request.record.everything,
      ...(request.record.snaplen !== undefined && { snaplen: request.record.snaplen }),
    }),
  });
  const recording =
    request.record &&
    new LiveRecording(request.record, {
      io,
      interfaces,
      request,
      baseSeconds,
      sources: sources.description,
      failed: (error) => end.fail(error),
    });
  /** What goes to the machine is written down before. */
  const noted = (events: Observable<InputEvent>): Observable<InputEvent> =>
    recording === undefined ? events : events.pipe(tap((event) => recording.take(event)));
  const shown = await Shown.open(request.output, io, 'drop');
  const survey = new RuleSurvey();
  const quota = new Quota(request.count);
  const end = new RunEnd([io.signal, shown.sink.closed, ...(recording?.closed ?? [])]);
  const running: Subscription[] = [];
  const start = (...events: Observable<InputEvent>[]): void => {
    const say = (said: readonly OutputEvent[]): void => {
      witness?.hear(said);
      recording?.said(said);
      quota.take(shown.show(said));
    };
    const seen = witness === undefined ? events : events.map((one) => one.pipe(tap(witness.take)));
    running.push(feed(machine, seen, say, (error) => end.fail(error)));
  };
  try {
    start(
      noted(watchAddresses()),
      noted(sources.names).pipe(
        tap((event) => {
          if (event.type === 'notice' && CLUSTER_DONE.has(event.notice.code)) names.has('cluster');
        }),
        mergeMap((event) => survey.take(event)),
      ),
    );
    await Promise.race([names.promise, end.promise, elapse(NAMES_MS)]);
    if (!io.signal.aborted) {
      recording?.concluded();
      start(from(survey.conclude()));
      // Only explain looks at it.
      const isRead = recording !== undefined || witness !== undefined;
      start(noted(sources.traffic), noted(ticks()), noted(isRead ? reader.events : EMPTY));
      await Promise.race([traffic.promise, end.promise, elapse(OPEN_MS)]);
      io.stderr.write(`watching (${sources.description}); Ctrl-C ends\n`);
      if (request.durationNs === undefined) await end.promise;
      else await Promise.race([end.promise, elapse(request.durationNs / 1_000_000)]);
      const read = isRead ? reader.read(true, LAST_READING_MS) : undefined;
      await Promise.all([elapse(DRAIN_MS), Promise.race([read, elapse(LAST_READING_MS)])]);
      const left = await worked(sources.backlog);
      if (left > 0) {
        const loss: InputEvent = { type: 'loss', loss: unseen(left, io.now()) };
        recording?.take(loss);
        machine.push(loss);
      }
    }
  } finally {
    witness?.end();
    for (const subscription of running) subscription.unsubscribe();
  }
  const last = machine.finish();
  recording?.said(last);
  recording?.end(io.now());
  shown.show(last);
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
