import {
  asyncScheduler,
  BehaviorSubject,
  defer,
  filter,
  merge,
  Observable,
  repeat,
  type SchedulerLike,
  switchMap,
  take,
  timer,
} from 'rxjs';

/** After a reading the same time passes this often before the next: never more than 5 % of a core. */
const REST_FACTOR = 20;
/** Readings are at least this far apart: kube-proxy itself writes rules once a second at most. */
const MIN_REST_MS = 1_000;

export interface Pace {
  /** Each emission asks for a reading; any number of them while one runs or rests ask for one. */
  readonly trigger: Observable<unknown>;
  /** Without a trigger there is a reading this long after the one before. */
  readonly idleMs: number;
  readonly scheduler?: SchedulerLike;
}

/** Reads at once, and again and again as the pace says; ends only with an error. */
export function paced<T>(read: () => Observable<T>, pace: Pace): Observable<T> {
  const scheduler = pace.scheduler ?? asyncScheduler;
  return new Observable<T>((subscriber) => {
    const asked = new BehaviorSubject(false);
    let started = 0;
    const next = (): Observable<unknown> => {
      const rest = Math.max(MIN_REST_MS, REST_FACTOR * (scheduler.now() - started));
      const idle = timer(Math.max(0, pace.idleMs - rest), scheduler);
      return timer(rest, scheduler).pipe(
        switchMap(() => merge(asked.pipe(filter((yes) => yes)), idle)),
        take(1),
      );
    };
    const readings = defer(() => {
      asked.next(false);
      started = scheduler.now();
      return read();
    }).pipe(repeat({ delay: next }));
    subscriber.add(
      pace.trigger.subscribe({
        next: () => asked.next(true),
        error: (error: unknown) => subscriber.error(error),
      }),
    );
    subscriber.add(readings.subscribe(subscriber));
  });
}
