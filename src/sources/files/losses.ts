import type { InputEvent, Loss } from '../../model/event.js';
import { describeWhere, type Problem, UsageError } from '../../model/problem.js';
import type { Nanos } from '../../model/time.js';

/** Who is told of what is wrong with a file. */
export type OnProblem = (file: string, problem: Problem) => void;

/** The span of time that something missing may have been in; what is not known is absent. */
export interface Gap {
  readonly from?: Nanos | undefined;
  readonly to?: Nanos | undefined;
}

/** The loss that a problem with a file stands for; `undefined` if nothing is missing because of it. */
export function lossOf(file: string, problem: Problem, gap: Gap = {}): InputEvent | undefined {
  const count = problem.lost ?? (problem.fatal ? 1 : 0);
  if (count < 1) return undefined;
  const where = describeWhere(problem.where);
  const loss: Loss = {
    source: 'file',
    count,
    ...(gap.from === undefined ? {} : { from: gap.from }),
    ...(gap.to === undefined ? {} : { to: gap.to }),
    detail: `${file}: ${problem.message}${where === '' ? '' : ` (${where})`}`,
  };
  return { type: 'loss', loss };
}

/** The error for an input of which nothing can be used. */
export function unusable(file: string, problem: Problem): UsageError {
  const where = describeWhere(problem.where);
  return new UsageError(
    `${file}: ${problem.message}${where === '' ? '' : ` (${where})`}; ${problem.advice}`,
  );
}
