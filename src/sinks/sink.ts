import type { Writable } from 'node:stream';
import type { OutputEvent } from '../model/attribution.js';
import type { Nanos } from '../model/time.js';

export const FORMATS = ['table', 'wide', 'ndjson', 'summary'] as const;
export type Format = (typeof FORMATS)[number];

/**
 * Where a run's events go. A sink never blocks its caller and never throws for what an event says.
 * It neither opens nor closes the streams that it was given.
 */
export interface Sink {
  /** Takes events in the order in which the machine said them. Ignored after `end()` and once `closed`. */
  write(events: readonly OutputEvent[]): void;
  /** Tells the time when no event does, so that rows held back come out. Live calls it from its timer. */
  tick(now: Nanos): void;
  /** With `overflow: 'wait'`: a promise to await before the next `write`, while the reader is slower than we are. */
  ready(): Promise<void> | undefined;
  /** Gaps in the output, each told as a loss: its reader was too slow. */
  readonly losses: number;
  /** Aborts when nobody reads any more (`| head`): the run should stop quietly. */
  readonly closed: AbortSignal;
  /**
   * Writes what is left and resolves when it has left the process (or nobody reads it any more); calling
   * it again gives the same promise. Rejects with a UsageError if writing failed for another reason than a
   * reader that left, a full disk for instance.
   */
  end(): Promise<void>;
}

export interface SinkOptions {
  /** Results. */
  readonly stdout: Writable;
  /** Remarks of the tables: notices, losses. NDJSON has them in the stream. */
  readonly stderr: Writable;
  /** stdout is a terminal: headers come again, and `summary` is written for people. */
  readonly terminal: boolean;
  /** The terminal's width at this moment; `undefined` where there is none: nothing is shortened. */
  columns(): number | undefined;
  /** Colours on stdout and on stderr: each only if that one is a terminal. */
  readonly colors: { readonly stdout: boolean; readonly stderr: boolean };
  /** Show every notice rather than the first few of a kind. */
  readonly verbose: boolean;
  /**
   * What to do when the reader is slower than the events. `drop`: leave whole events out, count them and
   * say so (live: the capture must not wait). `wait`: leave nothing out; the caller awaits `ready()`.
   */
  readonly overflow: 'drop' | 'wait';
}
