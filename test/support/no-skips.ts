import { writeFileSync } from 'node:fs';
import type { Reporter, TestCase, TestModule, Vitest } from 'vitest/node';

/** A test may be skipped in CI only for what the set-up cannot change. Compared with the start of the reason. */
const ALLOWED_REASONS: readonly string[] = ['not Linux', 'the kernel has neither'];

/** Counts of one run; `failed` includes skips without an allowed reason, files that could not be read, errors outside tests. */
interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/**
 * Makes a skipped test a failure of the run, unless its reason (`context.skip(reason)`) is allowed: what
 * the set-up installs is there in CI, so a test that finds it missing has found a fault. Says nothing
 * about a run that was narrowed by a name pattern. Where WHICHPOD_TEST_COUNTS names a file, writes
 * `passed failed skipped` to it for `.ci/run`.
 */
export class NoSkips implements Reporter {
  #narrowed = false;

  onInit(vitest: Vitest): void {
    this.#narrowed = vitest.config.testNamePattern !== undefined;
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts: Counts = { passed: 0, failed: errors.length, skipped: 0 };
    const complaints: string[] = [];
    for (const module of modules) {
      if (module.errors().length > 0) counts.failed++;
      for (const test of module.children.allTests()) this.#count(test, counts, complaints);
    }
    if (complaints.length > 0) {
      process.stdout.write(`\nSkipped without an allowed reason:\n${complaints.join('\n')}\n`);
      process.exitCode = 1;
    }
    const file = process.env['WHICHPOD_TEST_COUNTS'];
    if (file !== undefined) {
      writeFileSync(file, `${counts.passed} ${counts.failed} ${counts.skipped}\n`);
    }
  }

  #count(test: TestCase, counts: Counts, complaints: string[]): void {
    const result = test.result();
    if (result.state === 'passed') {
      counts.passed++;
      return;
    }
    if (result.state !== 'skipped') {
      counts.failed++;
      return;
    }
    const reason = result.note;
    if (this.#narrowed || ALLOWED_REASONS.some((allowed) => reason?.startsWith(allowed) === true)) {
      counts.skipped++;
      return;
    }
    counts.failed++;
    complaints.push(
      `  ${test.module.relativeModuleId} > ${test.fullName}: ${reason ?? 'no reason given'}`,
    );
  }
}
