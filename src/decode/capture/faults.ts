import type { Problem, Where } from '../../model/problem.js';

/**
 * So many different faults of single records are told apart; a file that has more is told about as a
 * whole. (A hostile file may have another one in each record.)
 */
const MAX_KINDS = 32;

interface Kind {
  readonly code: string;
  readonly message: string;
  readonly advice: string;
  readonly where: Where;
  readonly loses: boolean;
  count: number;
}

/**
 * The problems of one capture. A fatal one is told at once and only once; faults of single records are
 * gathered and told at the end, one line a kind, with the first place and the number.
 */
export class Faults {
  readonly problems: Problem[] = [];
  private readonly kinds = new Map<string, Kind>();
  private stopped = false;

  /** Whether a fatal problem was told: nothing more is read then. */
  get fatal(): boolean {
    return this.stopped;
  }

  /** Nothing after this point can be read. */
  stop(code: string, where: Where, message: string, advice: string): void {
    this.stopped = true;
    this.problems.push({ code, message, where, advice, fatal: true });
  }

  /** The input ends within a record: what came before counts. */
  cutAtEnd(code: string, where: Where, message: string): void {
    const advice =
      'what came before it counts; if the file is still being written, read it again later';
    this.problems.push({ code, message, where, advice, fatal: false, lost: 1 });
  }

  /**
   * One record could not be used (`loses`), or only in part. `key` tells apart what `code` does not.
   * The texts of the first of a kind are kept.
   */
  record(
    code: string,
    key: number,
    where: Where,
    message: string,
    advice: string,
    loses: boolean,
  ): void {
    const known = this.kinds.get(`${code} ${key}`) ?? this.kinds.get(MORE.code);
    if (known !== undefined) {
      known.count++;
    } else if (this.kinds.size < MAX_KINDS) {
      this.kinds.set(`${code} ${key}`, { code, message, advice, where, loses, count: 1 });
    } else {
      this.kinds.set(MORE.code, { ...MORE, where, loses: true, count: 1 });
    }
  }

  /** Tells what was gathered. Harmless when called again. */
  finish(): void {
    for (const { code, message, advice, where, loses, count } of this.kinds.values()) {
      const times = count === 1 ? '' : ` (${count} records, this is the first)`;
      const problem = { code, message: `${message}${times}`, where, advice, fatal: false };
      this.problems.push(loses ? { ...problem, lost: count } : problem);
    }
    this.kinds.clear();
  }
}

const MORE = {
  code: 'capture-more-faults',
  message: 'records with still other faults were skipped',
  advice: 'the file is damaged in many places: record it again, or repair it',
};
