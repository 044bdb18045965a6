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
  /** Programs beside whichpod whose versions the report names. */
  readonly tools: readonly string[];
  run(context: Context): Promise<PartReport>;
}

export const programOf = (context: Context): string => `${context.dist}/main.js`;
