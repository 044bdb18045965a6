import type pc from 'picocolors';

/** What the parts of the text share. */
export interface Page {
  readonly width: number;
  readonly colors: ReturnType<typeof pc.createColors>;
  readonly everyRule: boolean;
}
