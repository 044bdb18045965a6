import type { Readable, Writable } from 'node:stream';
import type { Nanos } from '../model/time.js';

/** Environment variables; those that whichpod itself looks at have names here. */
interface Environment {
  readonly NO_COLOR?: string | undefined;
  readonly TERM?: string | undefined;
  /** This node's name, as the downward API sets it. */
  readonly NODE_NAME?: string | undefined;
  readonly [name: string]: string | undefined;
}

/** The outside world as a command sees it. Only `main.ts` makes one from the process; tests make their own. */
export interface Io {
  /** Results only. */
  readonly stdout: Writable;
  /** Where a recording into `-` goes, if not to stdout. */
  readonly recording?: Writable;
  /** Progress, notices and errors. */
  readonly stderr: Writable;
  readonly stdin: Readable;
  /** Which of the streams is a terminal. */
  readonly terminal: { readonly stdout: boolean; readonly stderr: boolean };
  /** The terminal's width now; `undefined` if stdout is none or does not say. */
  columns(): number | undefined;
  readonly env: Environment;
  /** `linux`, `darwin` …, as Node names them. */
  readonly platform: string;
  /** Effective user; `undefined` where there are no such numbers. */
  readonly uid: number | undefined;
  /** Aborts once when the user or the system asks for the end (SIGINT, SIGTERM, SIGHUP). */
  readonly signal: AbortSignal;
  /** Registers what must be undone, without waiting, when the process ends in whatever way. */
  onExit(undo: () => void): void;
  /** The clock on the wall. */
  now(): Nanos;
}
