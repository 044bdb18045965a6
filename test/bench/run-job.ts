import type { Job, JobName } from './child.js';
import { compiledChild } from './compile.js';
import { measureProgram, type ProgramRun } from './program.js';

export interface JobRun<R> extends ProgramRun {
  readonly result: R;
}

/** Runs a job in a process of its own; `prefix` stands before it, as to enter a network namespace. */
export async function runJob<N extends JobName>(
  name: N,
  input: Parameters<Job<N>>[0],
  prefix: readonly string[] = [],
): Promise<JobRun<Awaited<ReturnType<Job<N>>>>> {
  const argv = [process.execPath, '--expose-gc', compiledChild(), name, JSON.stringify(input)];
  const run = await measureProgram([...prefix, ...argv]);
  return { ...run, result: JSON.parse(run.stdout) as Awaited<ReturnType<Job<N>>> };
}
