import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CASES, LAST_CASES } from './lifecycle-cases.js';
import { missingForKernelTests, Namespace } from './namespace.js';

const SCRIPT = fileURLToPath(new URL('./scripts/lifecycle.mjs', import.meta.url));
const missing = missingForKernelTests();

describe.each(['ring', 'netlink'])('the life of a %s', (kind) => {
  let namespace: Namespace | undefined;
  beforeAll(() => {
    if (missing === undefined) namespace = new Namespace();
  });
  afterAll(() => namespace?.destroy());

  test.for([...CASES, ...LAST_CASES])('%s', async (name, context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(SCRIPT, [kind, name]);
    const { code, signal, stderr } = await child.finish();
    expect({ code, signal, stderr, lines: child.lines }).toEqual({
      code: 0,
      signal: null,
      stderr: '',
      lines: [{ type: 'ok' }],
    });
  });
});
