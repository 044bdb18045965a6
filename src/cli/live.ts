import { map, type Observable, Subject, type Subscription, tap, timer } from 'rxjs';
import { Correlator } from '../correlate/correlator.js';
import type { OutputEvent } from '../model/attribution.js';
import type { InputEvent } from '../model/event.js';
import { Interfaces } from '../model/interfaces.js';
import { secondsOf } from '../model/time.js';
import { feed } from '../pipeline/feed.js';
import { watchAddresses } from '../sources/addresses.js';
import type { LiveRequest } from './commands.js';
import type { Io } from './io.js';
import { liveSources } from './live-sources.js';
import { Quota, RunEnd } from './run-end.js';
import { Shown } from './shown.js';

/** Time passes also when nothing happens: bounds run out, rows that are held back come out. */
const TICK_MS = 50;
/** How long rules and cluster may take before traffic is watched without them. */
const NAMES_MS = 10_000;
/** What the kernel and our own queues still hold when the end is asked for is read within this time. */
const DRAIN_MS = 60;

/** `whichpod live`: from this node's sources into the machine, until interrupted or enough. */
export async function run(request: LiveRequest, io: Io): Promise<number> {
  const interfaces = new Interfaces();
  const machine = new Correlator({
    interfaces,
    baseSeconds: secondsOf(io.now()),
    firstListingIsOld: true,
    ...(request.udpIdleNs !== undefined && { udpIdleNs: request.udpIdleNs }),
  });
  const unresolved = new Subject<void>();
  const sources = liveSources(request, interfaces, unresolved);
  const shown = new Shown(request.output, io, 'drop');
  const quota = new Quota(request.count);
  const end = new RunEnd([io.signal, shown.sink.closed]);
  const names = new NamesKnown(request);
  const running: Subscription[] = [];
  const start = (...events: Observable<InputEvent>[]): void => {
    const say = (said: readonly OutputEvent[]): void => quota.take(shown.show(said));
    running.push(feed(machine, events, say, (error) => end.fail(error)));
  };
  try {
    start(
      watchAddresses(),
      sources.names.pipe(
        tap({ next: (event) => names.saw(event), complete: () => names.complete() }),
      ),
    );
    await Promise.race([names.promise, end.promise, elapse(NAMES_MS)]);
    if (!io.signal.aborted) {
      start(sources.traffic, ticks());
      io.stderr.write(`watching (${sources.description}); Ctrl-C ends\n`);
      if (request.durationNs === undefined) await end.promise;
      else await Promise.race([end.promise, elapse(request.durationNs / 1_000_000)]);
      await elapse(DRAIN_MS);
    }
  } finally {
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

/** Whether the rules were read once and the cluster listed once, as far as they are asked for. */
class NamesKnown {
  readonly promise: Promise<void>;
  private resolve: () => void = () => undefined;
  private rules: boolean;
  private cluster: boolean;

  constructor(request: LiveRequest) {
    this.rules = request.rules === 'none';
    // Files are read in no time.
    this.cluster = request.cluster === undefined || request.objects !== undefined;
    this.promise = new Promise((resolve) => {
      this.resolve = resolve;
    });
    this.check();
  }

  saw(event: InputEvent): void {
    if (event.type === 'rules') this.rules = true;
    if (event.type === 'notice') {
      if (event.notice.code.startsWith('rules-')) this.rules = true;
      if (CLUSTER_DONE.has(event.notice.code)) this.cluster = true;
    }
    this.check();
  }

  complete(): void {
    this.resolve();
  }

  private check(): void {
    if (this.rules && this.cluster) this.resolve();
  }
}

function elapse(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
