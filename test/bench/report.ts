import type { Figure } from './figure.js';

export type Unit = 's' | 'ms' | 'us' | 'MB' | 'bytes' | '/s' | '%' | 'count' | 'x';

/** A number that was measured, and of what. */
export interface Measured {
  readonly what: string;
  readonly unit: Unit;
  readonly figure: Figure;
}

/** A target is met if the judged number is on this side of the bound. */
export interface Bound {
  readonly side: 'at least' | 'at most';
  readonly value: number;
}

/** One target, or one comparison that has none. */
export interface Row {
  /** Unique in its part; stays the same from run to run. */
  readonly id: string;
  /** In words, with its bound; absent: for comparison only. */
  readonly target?: string;
  readonly ours: Measured;
  readonly peer?: Measured;
  /** How many times better than the peer (more of a rate, less of a time). */
  readonly ratio?: number;
  readonly met?: boolean;
  /** What a reader must know: scaled, limited by, left out because. */
  readonly remark?: string;
}

/** A program, or a function, as it was run. */
export interface Run {
  readonly name: string;
  readonly seconds: Figure;
  readonly cpuSeconds?: Figure;
  readonly peakMegabytes?: Figure;
  /** Of what is counted in the heading of the part. */
  readonly perSecond?: Figure;
}

export interface PartReport {
  readonly part: string;
  /** What was worked on. */
  readonly input: string;
  /** What `perSecond` of its runs counts. */
  readonly counted?: string;
  readonly rows: readonly Row[];
  readonly runs: readonly Run[];
  /** Why something could not be measured. */
  readonly skipped: readonly string[];
}

/** As it is kept: with when, where and how. */
export interface DatedReport extends PartReport {
  readonly date: string;
  readonly machine: string;
  readonly tools: readonly string[];
  readonly command: string;
}

/** Judges a row by a number: its own median unless `by` says another. */
export function judged(row: Row, bound: Bound, by: number = row.ours.figure.median): Row {
  return { ...row, met: bound.side === 'at least' ? by >= bound.value : by <= bound.value };
}

/** How many times better the first is than the second: rates by more, everything else by less. */
export function ratioOf(ours: Measured, peer: Measured): number {
  const [a, b] = [ours.figure.median, peer.figure.median];
  return ours.unit === '/s' ? a / b : b / a;
}
