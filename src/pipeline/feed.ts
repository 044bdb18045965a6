import { merge, type Observable, Subscription } from 'rxjs';
import type { Correlator } from '../correlate/correlator.js';
import type { OutputEvent } from '../model/attribution.js';
import type { InputEvent } from '../model/event.js';

/**
 * Feeds the machine from live sources, each event as it comes: the machine itself bears events that
 * are out of order by some milliseconds, and waiting would only make it late. `say` gets what became
 * worth saying at the end of the turn of the event loop in which it did: sources hand over several
 * batches in one, and each call of `say` costs a call of the system. A source's failure ends all of them
 * and goes to `failed`. After unsubscribing what was not said yet is left in the machine.
 */
export function feed(
  machine: Correlator,
  sources: readonly Observable<InputEvent>[],
  say: (events: readonly OutputEvent[]) => void,
  failed: (error: unknown) => void,
): Subscription {
  let waits = false;
  const speak = (): void => {
    waits = false;
    if (subscription.closed) return;
    const events = machine.take();
    if (events.length > 0) say(events);
  };
  const subscription = new Subscription();
  subscription.add(
    merge(...sources).subscribe({
      next: (event) => {
        machine.push(event);
        if (waits) return;
        waits = true;
        queueMicrotask(speak);
      },
      error: failed,
    }),
  );
  return subscription;
}
