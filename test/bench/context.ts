import type { RecordingShape } from './generate/recording.js';
import type { PartReport } from './report.js';

/** What every part is told. */
export interface Context {
  /** Tiny inputs: shows that the part works, says nothing about speed. */
  readonly quick: boolean;
  /** Rounds that count; one more goes before them. */
  readonly rounds: number;
  /** Folder of the built program. */
  readonly dist: string;
  /** A folder for inputs, removed at the end. */
  readonly scratch: string;
  /** What the command line says of a generated recording. */
  readonly shape: Partial<RecordingShape>;
  /** Progress, for people. */
  say(line: string): void;
}

/** One part of the report. */
export interface Part {
  readonly name: string;
  readonly purpose: string;
  /** Programs beside whichpod without which it cannot be run. */
  readonly needs: readonly string[];
  /** Others whose versions the report names. */
  readonly uses?: readonly string[];
  run(context: Context): Promise<PartReport>;
}

export const programOf = (context: Context): string => `${context.dist}/main.js`;

/** How long an observer gets to work off what it has taken in, and to tell of the last connections. */
export const settleMs = (context: Context): number => (context.quick ? 300 : 1_500);

export const pause = (ms: number): Promise<unknown> =>
  new Promise((resolve) => setTimeout(resolve, ms));
