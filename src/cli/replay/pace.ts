import { C_NSEC, C_SEC, CONNTRACK_WORDS } from '../../model/conntrack.js';
import type { InputEvent } from '../../model/event.js';
import { P_NSEC, P_SEC, PACKET_WORDS } from '../../model/packet.js';
import { type Nanos, nanosOf } from '../../model/time.js';

/** Shorter waits are not worth a timer. */
const SHORTEST_MS = 2;
/** A gap in a recording is not sat out longer than this at once, so that an interruption is heard. */
const LONGEST_MS = 500;

/** Holds events back until as much time has passed as passed between them when they were recorded. */
export class Pace {
  private readonly speed: number;
  private readonly now: () => Nanos;
  private readonly signal: AbortSignal;
  private begin: { readonly event: Nanos; readonly clock: Nanos } | undefined;

  constructor(speed: number, now: () => Nanos, signal: AbortSignal) {
    this.speed = speed;
    this.now = now;
    this.signal = signal;
  }

  /** Resolves when it is an event's turn, or the signal has been given. */
  async until(event: InputEvent): Promise<void> {
    const time = beginningOf(event);
    if (time === undefined) return;
    this.begin ??= { event: time, clock: this.now() };
    const { begin } = this;
    const dueMs = Number(time - begin.event) / 1e6 / this.speed;
    for (;;) {
      const waitMs = dueMs - Number(this.now() - begin.clock) / 1e6;
      if (waitMs < SHORTEST_MS || this.signal.aborted) return;
      await new Promise((resolve) => setTimeout(resolve, Math.min(waitMs, LONGEST_MS)));
    }
  }
}

/** The moment of an event, by its first row if it has rows; `undefined` without one. */
function beginningOf(event: InputEvent): Nanos | undefined {
  switch (event.type) {
    case 'packets': {
      const at = (event.from ?? 0) * PACKET_WORDS;
      return nanosOf(event.rows.words[at + P_SEC] ?? 0, event.rows.words[at + P_NSEC] ?? 0);
    }
    case 'conntrack': {
      const at = (event.from ?? 0) * CONNTRACK_WORDS;
      const seconds = event.rows.words[at + C_SEC] ?? 0;
      return seconds === 0 ? undefined : nanosOf(seconds, event.rows.words[at + C_NSEC] ?? 0);
    }
    case 'tick':
      return event.time;
    // What comes seldom may bear a time of long before; it goes with its neighbours.
    default:
      return undefined;
  }
}
