import { catchError, NEVER, Observable, of, startWith } from 'rxjs';
import type { InputEvent } from '../../model/event.js';
import { PermissionError, UsageError } from '../../model/problem.js';
import type { Backlog } from '../backlog.js';
import { conntrackEvents, conntrackList } from './command.js';
import { conntrackNetlink, whyNoNetlink } from './netlink.js';

export type ConntrackChoice = 'auto' | 'netlink' | 'events' | 'list' | 'none';

/** Each listing costs the kernel a walk over the whole table, so it is the last resort and not done more often. */
const LIST_INTERVAL_MS = 200;

export interface ConntrackSource {
  /** For people: which way it is read. */
  readonly name: string;
  /** Cold: nothing is opened or started before it is subscribed to. */
  readonly events: Observable<InputEvent>;
}

/**
 * Chooses how conntrack is read: `auto` takes netlink, and the conntrack program where the addon cannot
 * be loaded, and goes on without (a notice says so) where neither may be used: packets alone attribute
 * most connections. `unresolved` emits while connections wait for evidence: `list` asks only then.
 * `onOpen` is called, perhaps more than once, when nothing that begins from then on is missed. `backlog` is
 * told what waits, as far as that is known. `updates`: changes of entries too, where events are listened to.
 */
export function chooseConntrack(
  choice: ConntrackChoice,
  unresolved: Observable<unknown>,
  onOpen: () => void = () => undefined,
  backlog?: Backlog,
  updates = false,
): ConntrackSource {
  const netlink = (): Observable<InputEvent> =>
    announced(conntrackNetlink({ updates, ...(backlog !== undefined && { backlog }) }), onOpen);
  switch (choice) {
    case 'none':
      return { name: 'none', events: announced(NEVER, onOpen) };
    case 'netlink':
      return { name: 'netlink', events: netlink() };
    case 'events':
      return { name: 'conntrack -E', events: conntrackEvents({ onOpen, updates }) };
    case 'list': {
      // One listing at the start, to know what was open before.
      const trigger = unresolved.pipe(startWith(undefined));
      return {
        name: 'conntrack -L',
        events: conntrackList({ trigger, minIntervalMs: LIST_INTERVAL_MS, onListed: onOpen }),
      };
    }
    case 'auto': {
      const addon = whyNoNetlink() === undefined;
      const events = addon ? netlink() : conntrackEvents({ onOpen, updates });
      const without = (error: unknown): Observable<InputEvent> =>
        announced(goOnWithout(error), onOpen);
      return {
        name: addon ? 'netlink' : 'conntrack -E',
        events: events.pipe(catchError(without)),
      };
    }
  }
}

/** For a source that is open as soon as it is subscribed to. */
function announced(source: Observable<InputEvent>, onOpen: () => void): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const subscription = source.subscribe(subscriber);
    onOpen();
    return subscription;
  });
}

function goOnWithout(error: unknown): Observable<InputEvent> {
  if (!(error instanceof PermissionError || error instanceof UsageError)) throw error;
  const detail = `conntrack cannot be read, packets alone must do: ${error.message}`;
  return of({ type: 'notice', notice: { code: 'no-conntrack', detail } });
}
