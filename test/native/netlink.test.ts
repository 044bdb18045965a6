import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { missingForKernelTests, Namespace } from './namespace.js';

const missing = missingForKernelTests();

test('an overrun of the socket’s buffer is told with its number and its span', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const namespace = new Namespace();
  onTestFinished(() => namespace.destroy());
  const script = fileURLToPath(new URL('./scripts/overrun.mjs', import.meta.url));
  const child = namespace.start(script);
  const { code, stderr } = await child.finish();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const gap = await child.line('gap');
  expect(Number(gap['dropped'])).toBeGreaterThan(0);
  expect(Number(gap['seconds'])).toBeGreaterThanOrEqual(0);
  // The kernel's least, whatever was asked (SOCK_MIN_RCVBUF).
  expect(Number(gap['granted'])).toBeGreaterThan(1_000);
});
