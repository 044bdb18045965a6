import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Scratch } from './scratch.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

describe('.ci/run', () => {
  let scratch: Scratch;
  beforeEach(() => {
    scratch = new Scratch();
  });
  afterEach(() => scratch.remove());

  it('sets up, checks, tests, in this order, and closes with the counts', () => {
    const { code, stdout, calls } = scratch.run('run', { env: { FAKE_COUNTS: '12 0 0' } });
    expect(code).toBe(0);
    expect(stdout.trimEnd().split('\n').at(-1)).toBe('12 passed, 0 failed');
    expect(calls.filter((call) => /^npm (ci|run --silent check|test)/.test(call))).toEqual([
      'npm ci --include=dev --include=optional --no-progress',
      'npm run --silent check',
      'npm test',
    ]);
  });

  it.each<[string, Readonly<Record<string, string>>, string, number]>([
    ['skipped tests', { FAKE_COUNTS: '12 0 3' }, '12 passed, 0 failed, 3 skipped', 0],
    ['a failed test', { FAKE_COUNTS: '11 1 0', FAKE_TEST: 'broken' }, '11 passed, 1 failed', 1],
    ['a failed check', { FAKE_COUNTS: '12 0 0', FAKE_CHECK: 'broken' }, '12 passed, 1 failed', 1],
    [
      'a run that fails by itself',
      { FAKE_COUNTS: '12 0 0', FAKE_TEST: 'broken' },
      '12 passed, 1 failed',
      1,
    ],
    ['a run that never counted', { FAKE_TEST: 'broken' }, '0 passed, 1 failed', 1],
    ['a run without tests', { FAKE_COUNTS: '0 0 0' }, '0 passed, 1 failed', 1],
    ['a failed set-up', { FAKE_NPM: 'broken' }, '0 passed, 1 failed', 1],
  ])('tells of %s in its closing line and exit code', (_, env, line, code) => {
    const outcome = scratch.run('run', { env });
    expect(outcome.stdout.trimEnd().split('\n').at(-1)).toBe(line);
    expect(outcome.code).toBe(code);
  });
});

describe('a skipped test in CI', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'whichpod-skips-'));
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    const reporter = join(ROOT, 'test', 'support', 'no-skips.ts');
    writeFileSync(
      join(folder, 'vitest.config.mts'),
      `import { NoSkips } from ${JSON.stringify(reporter)};
       export default { test: { include: ['*.test.mts'], reporters: [new NoSkips()] } };`,
    );
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it.each([
    ['is no failure off Linux', "c.skip('not Linux')", 0, '1 0 1'],
    ['is a failure for any other reason', "c.skip('not root')", 1, '1 1 0'],
    ['is a failure without a reason', 'c.skip()', 1, '1 1 0'],
  ])('%s', (_, skip, code, counts) => {
    writeFileSync(
      join(folder, 'one.test.mts'),
      `import { it } from 'vitest'; it('passes', () => {}); it('skips', (c) => { ${skip} });`,
    );
    const file = join(folder, 'counts');
    const { status } = spawnSync(
      process.execPath,
      [join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'), 'run', '--root', folder],
      { env: { ...process.env, CI: 'true', WHICHPOD_TEST_COUNTS: file }, encoding: 'utf8' },
    );
    expect(readFileSync(file, 'utf8')).toBe(`${counts}\n`);
    expect(status).toBe(code);
  });
});
