import type { Context } from './context.js';
import { figureOf, mapFigure } from './figure.js';
import type { ProgramRun } from './program.js';
import type { Run } from './report.js';

/** One of those that are compared. */
export interface Contestant {
  readonly name: string;
  run(): Promise<ProgramRun>;
}

/**
 * Runs each once a round, one after the other, so that what else the machine does meets all alike. A round
 * that does not count goes before, to bring files into memory. Each one's runs, in its place.
 */
export async function inTurn(
  context: Pick<Context, 'rounds' | 'quick' | 'say'>,
  contestants: readonly Contestant[],
): Promise<readonly (readonly ProgramRun[])[]> {
  const runs: ProgramRun[][] = contestants.map(() => []);
  for (let round = context.quick ? 1 : 0; round <= context.rounds; round++) {
    for (const [i, contestant] of contestants.entries()) {
      const run = await contestant.run();
      if (round === 0) continue;
      runs[i]?.push(run);
      context.say(`  ${contestant.name}: ${run.seconds.toFixed(3)} s`);
    }
  }
  return runs;
}

/** A program's runs as one line; `count` is how much was worked on. */
export function runOf(name: string, runs: readonly ProgramRun[], count?: number): Run {
  const seconds = figureOf(runs.map((run) => run.seconds));
  return {
    name,
    seconds,
    cpuSeconds: figureOf(runs.map((run) => run.cpuSeconds)),
    peakMegabytes: figureOf(runs.map((run) => run.peakMegabytes)),
    ...(count === undefined ? {} : { perSecond: mapFigure(seconds, (s) => count / s) }),
  };
}
