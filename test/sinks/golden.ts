import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { expect } from 'vitest';

/** Holds text against a file beside the tests; `UPDATE_GOLDENS=1` writes the file instead (then read `git diff`). */
export function expectGolden(file: URL, text: string): void {
  const { UPDATE_GOLDENS: update } = process.env;
  if (update === '1') {
    mkdirSync(dirname(file.pathname), { recursive: true });
    writeFileSync(file, text);
  }
  expect(text).toBe(readFileSync(file, 'utf8'));
}
