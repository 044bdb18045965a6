import {
  concat,
  finalize,
  ignoreElements,
  mergeMap,
  Observable,
  Subject,
  tap,
  throttle,
  timer,
} from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import type { Nanos } from '../../model/time.js';
import { wallClock } from '../wall-clock.js';
import { EventsChild } from './events-child.js';
import { listTable } from './listing.js';
import { CONNTRACK } from './program.js';

interface ConntrackCommandOptions {
  /** The program and what is put before it, e.g. `ip netns exec NAME conntrack`. */
  readonly command?: readonly string[];
  readonly now?: () => Nanos;
}

export interface ConntrackEventsOptions extends ConntrackCommandOptions {
  /** What the program prints: text has its times in microseconds, XML in seconds. */
  readonly format?: 'text' | 'xml';
  /** false: no listing at the start, after a restart and after an overrun. */
  readonly list?: boolean;
  /** Changes of existing entries too (assured, state, mark): ten times the events, seldom needed. */
  readonly updates?: boolean;
  /** Called each time the program has begun to listen. */
  readonly onOpen?: () => void;
}

export interface ConntrackListOptions extends ConntrackCommandOptions {
  /** Each emission asks for a listing; any number of them while one runs or rests ask for one more. */
  readonly trigger: Observable<unknown>;
  /** Between the end of a listing and the next. */
  readonly minIntervalMs: number;
  /** Called after each listing, also one that failed. */
  readonly onListed?: () => void;
}

/** Overruns come in series while the load lasts: one listing at a time, and this long between two. */
const RELIST_MS = 1_000;

/**
 * NEW and DESTROY events of both address families from `conntrack -E`, in the network namespace in which
 * the program runs. Once it listens the table is listed, so that nothing falls between; after an overrun
 * or a restart it is listed again. Starts on subscription, never ends by itself; unsubscribing ends the
 * program. Emits `conntrack` (the rows are filled again after each emission), `loss` with source
 * `netlink` when the program's socket overran and `conntrack` when the program died or printed what
 * cannot be read, and a notice `conntrack-restart` for each restart. Errors: UsageError without the
 * program or with one that does not know the options, PermissionError without CAP_NET_ADMIN.
 */
export function conntrackEvents(options: ConntrackEventsOptions = {}): Observable<InputEvent> {
  const { command = CONNTRACK, now = wallClock, format = 'text', updates = false } = options;
  return new Observable<InputEvent>((subscriber) => {
    const listening = new Subject<void>();
    if (options.list !== false) {
      const listings = conntrackList({
        command,
        now,
        trigger: listening,
        minIntervalMs: RELIST_MS,
      });
      subscriber.add(listings.subscribe(subscriber));
    }
    const onListening = (): void => {
      listening.next();
      options.onOpen?.();
    };
    const child = new EventsChild({ command, now, format, updates, onListening }, subscriber);
    subscriber.add(() => child.stop());
    child.start();
  });
}

/**
 * The table of both address families from `conntrack -L`, whenever `trigger` asks. Emits `conntrack` with
 * EVENT_LISTED rows whose time is that of their arrival, and `loss` with source `conntrack` for a listing
 * that failed. Completes after the last listing when `trigger` completes. Errors as `conntrackEvents`.
 */
export function conntrackList(options: ConntrackListOptions): Observable<InputEvent> {
  const { command = CONNTRACK, now = wallClock, trigger, minIntervalMs } = options;
  return new Observable<InputEvent>((subscriber) => {
    const rested = new Subject<void>();
    const listing = (): Observable<InputEvent> =>
      concat(
        listTable(command, now).pipe(tap({ complete: () => options.onListed?.() })),
        timer(minIntervalMs).pipe(ignoreElements()),
      ).pipe(finalize(() => rested.next()));
    return trigger
      .pipe(
        throttle(() => rested, { leading: true, trailing: true }),
        mergeMap(listing),
      )
      .subscribe(subscriber);
  });
}
