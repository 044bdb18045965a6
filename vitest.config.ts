import { defineConfig } from 'vitest/config';
import { NoSkips } from './test/support/no-skips.js';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // cap is not context-aware: it may be loaded once per process, so files run in forks (the default), never in threads.
    pool: 'forks',
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // In CI every prerequisite is there, so a skipped test is a failure.
    reporters: process.env['CI'] ? ['default', new NoSkips()] : ['default'],
  },
});
