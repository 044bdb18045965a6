import type { Problem } from '../../model/problem.js';
import type { HeldBytes } from './held-bytes.js';

/** What a reader of conntrack's output has seen so far. */
export interface ConntrackCounts {
  /** Entries and events that became rows. */
  entries: number;
  /** Entries over protocols other than TCP, UDP and SCTP: read, and left out, since nothing here follows them. */
  otherProtocols: number;
  /** Entries that could not be read. */
  damaged: number;
}

/** Problems that are kept in full: enough to see what is wrong with an input, few enough to be read. */
const MAX_PROBLEMS = 100;

/** Collects a reader's problems; beyond a limit they are only counted, and `close` says how many. */
export class ProblemReport {
  /** May be emptied by the reader's user at any time. */
  readonly problems: Problem[] = [];
  private untold = 0;
  private readonly held: HeldBytes;

  constructor(held: HeldBytes) {
    this.held = held;
  }

  /** An item was lost at `at` of the held bytes. */
  lost(code: string, message: string, at: number, advice: string): void {
    if (this.problems.length >= MAX_PROBLEMS) this.untold++;
    else this.problems.push({ ...this.problem(code, message, at, advice), lost: 1 });
  }

  /** Something worth saying at `at`, with which no item was lost. */
  note(code: string, message: string, at: number, advice: string): void {
    this.problems.push(this.problem(code, message, at, advice));
  }

  /** Says how many problems were only counted. */
  close(): void {
    if (this.untold === 0) return;
    const more = this.problem(
      'conntrack-more-damage',
      `${this.untold} more conntrack entries cannot be read`,
      this.held.length,
      'this input is badly damaged: record it again',
    );
    this.problems.push({ ...more, lost: this.untold });
    this.untold = 0;
  }

  private problem(code: string, message: string, at: number, advice: string): Problem {
    const where = { offset: this.held.offset + at, line: this.held.lineAt(at) };
    return { code, message, where, advice, fatal: false };
  }
}
