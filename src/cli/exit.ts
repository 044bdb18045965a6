import { PermissionError, UsageError } from '../model/problem.js';

/** What the exit code says (docs/operating.md). */
export const EXIT = {
  done: 0,
  /** Ran, but found what `--fail-on` asked for. */
  found: 1,
  /** Wrong usage or unusable input. */
  usage: 2,
  /** A permission or capability is missing. */
  permission: 3,
  /** A fault of whichpod itself: EX_SOFTWARE of sysexits.h, apart from what the others promise. */
  fault: 70,
  interrupted: 130,
} as const;

/** How an error ends the program: its exit code and what stderr says, without a newline at the end. */
export function explainError(error: unknown, verbose: boolean): { code: number; text: string } {
  if (error instanceof UsageError) return { code: EXIT.usage, text: oneLine(error.message) };
  if (error instanceof PermissionError) {
    return { code: EXIT.permission, text: oneLine(error.message) };
  }
  if (!(error instanceof Error)) {
    return { code: EXIT.fault, text: `unexpected error: ${oneLine(String(error))}` };
  }
  if (verbose)
    return { code: EXIT.fault, text: `unexpected error: ${error.stack ?? error.message}` };
  return {
    code: EXIT.fault,
    text: `unexpected error: ${oneLine(error.message)} (this is a fault in whichpod; -v shows where)`,
  };
}

function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, ' ');
}
