import type { OutputEvent } from '../model/attribution.js';
import type { Nanos } from '../model/time.js';

/** The latest moment that an event speaks of, if it speaks of any. */
export function eventTime(event: OutputEvent): Nanos | undefined {
  switch (event.type) {
    case 'attribution':
      return event.attribution.time;
    case 'close':
      return event.attribution.endTime ?? event.attribution.time;
    case 'direct':
      return event.direct.time;
    case 'loss':
      return event.loss.to ?? event.loss.from;
    case 'notice':
      return event.notice.time;
    case 'summary':
      return undefined;
  }
}
