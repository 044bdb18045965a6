import { merge, type Observable, type Subscription } from 'rxjs';
import type { Correlator } from '../correlate/correlator.js';
import type { OutputEvent } from '../model/attribution.js';
import type { InputEvent } from '../model/event.js';

/**
 * Feeds the machine from live sources, each event as it comes: the machine itself bears events that
 * are out of order by some milliseconds, and waiting would only make it late. `say` gets what became
 * worth saying after each event. A source's failure ends all of them and goes to `failed`.
 */
export function feed(
  machine: Correlator,
  sources: readonly Observable<InputEvent>[],
  say: (events: readonly OutputEvent[]) => void,
  failed: (error: unknown) => void,
): Subscription {
  return merge(...sources).subscribe({
    next: (event) => {
      machine.push(event);
      const events = machine.take();
      if (events.length > 0) say(events);
    },
    error: failed,
  });
}
