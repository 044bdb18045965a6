/** Where in an input something was found. */
export interface Where {
  /** Byte offset from the start of the (uncompressed) input. */
  readonly offset?: number;
  /** Line, counted from 1. */
  readonly line?: number;
  /** Record, block or item, counted from 1. */
  readonly record?: number;
}

/**
 * What is wrong with an input, in the form in which it is told: what, where, what to do. Decoders
 * return it; they never throw for bad input and never print.
 */
export interface Problem {
  /** Stable, for branching and tests: `pcap-truncated`, `xml-bad-flow` … */
  readonly code: string;
  readonly message: string;
  readonly where: Where;
  /** What the reader of the message can do about it. */
  readonly advice: string;
  /** true: nothing after this point can be read. false: the item was skipped and counted. */
  readonly fatal: boolean;
  /** How many items were lost, where that is known. */
  readonly lost?: number;
}

/** An input that cannot be used at all, or wrong usage: ends the program with exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

/** A missing permission or capability: ends the program with exit code 3. */
export class PermissionError extends Error {
  override readonly name = 'PermissionError';
}

/** `offset 24`, `line 7`, `record 3 at offset 24` … */
export function describeWhere(where: Where): string {
  const at: string[] = [];
  if (where.record !== undefined) at.push(`record ${where.record}`);
  if (where.line !== undefined) at.push(`line ${where.line}`);
  if (where.offset !== undefined) at.push(`byte ${where.offset}`);
  return at.join(', ');
}
