import {
  asyncScheduler,
  BehaviorSubject,
  defer,
  EMPTY,
  filter,
  finalize,
  merge,
  Observable,
  repeat,
  type SchedulerLike,
  switchMap,
  take,
  tap,
  timer,
} from 'rxjs';
import { Budget } from './budget.js';

/** Readings are at least this far apart: one change of kube-proxy's comes as several of the kernel's. */
const MIN_REST_MS = 100;

export interface Pace<A> {
  /** Each emission asks for a reading; any number of them while one runs or rests ask for one. */
  readonly trigger: Observable<A>;
  /** Without a trigger there is a reading this long after the one before; `idle` says what it is asked for. */
  readonly idleMs: () => number;
  readonly idle: () => A;
  /** What readings may cost; one of its own by default. */
  readonly budget?: Budget;
  readonly scheduler?: SchedulerLike;
}

/**
 * Reads at once, and again and again as the pace says; `read` is told what it was asked for since it was
 * last called, the first time nothing. Ends only with an error.
 */
export function paced<A, T>(
  read: (asked: ReadonlySet<A>) => Observable<T>,
  pace: Pace<A>,
): Observable<T> {
  const scheduler = pace.scheduler ?? asyncScheduler;
  return new Observable<T>((subscriber) => {
    const budget = pace.budget ?? new Budget(() => scheduler.now());
    let asked = new Set<A>();
    const isAsked = new BehaviorSubject(false);
    const ask = (what: A): void => {
      asked.add(what);
      isAsked.next(true);
    };
    const next = (): Observable<unknown> => {
      const rest = Math.max(MIN_REST_MS, budget.restMs());
      const idle = timer(Math.max(0, pace.idleMs() - rest), scheduler);
      return timer(rest, scheduler).pipe(
        switchMap(() =>
          merge(
            isAsked.pipe(filter((yes) => yes)),
            idle.pipe(
              tap(() => ask(pace.idle())),
              switchMap(() => EMPTY),
            ),
          ),
        ),
        take(1),
      );
    };
    const readings = defer(() => {
      const what = asked;
      asked = new Set();
      isAsked.next(false);
      return read(what).pipe(finalize(budget.begin()));
    }).pipe(repeat({ delay: next }));
    subscriber.add(
      pace.trigger.subscribe({
        next: ask,
        error: (error: unknown) => subscriber.error(error),
      }),
    );
    subscriber.add(readings.subscribe(subscriber));
  });
}
