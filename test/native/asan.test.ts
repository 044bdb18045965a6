import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CASES, LAST_CASES } from './lifecycle-cases.js';
import { missingForKernelTests, Namespace } from './namespace.js';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const NATIVE = here('../../native');
// Below build/, which is ignored everywhere, and inside the project, so that node-addon-api is found.
const COPY = join(NATIVE, 'build', 'asan');
const NODE_GYP = here('../../node_modules/node-gyp/bin/node-gyp.js');
const missing = missingForKernelTests(['g++', 'make', 'python3']);

/** Builds a copy of the addon under AddressSanitizer and returns the environment that runs it. */
async function build(): Promise<NodeJS.ProcessEnv> {
  rmSync(COPY, { recursive: true, force: true });
  mkdirSync(COPY, { recursive: true });
  for (const name of readdirSync(NATIVE)) {
    if (/\.(cc|h|gyp)$/.test(name)) cpSync(join(NATIVE, name), join(COPY, name));
  }
  // The headers that came with this Node, where they did: else node-gyp fetches them.
  const prefix = join(process.execPath, '..', '..');
  const headers = existsSync(join(prefix, 'include', 'node', 'node_api.h'));
  await promisify(execFile)(process.execPath, [
    ...[NODE_GYP, 'rebuild', '--directory', COPY, '--loglevel=error'],
    ...(headers ? [`--nodedir=${prefix}`] : []),
    ...['--', '-Dwhichpod_asan=1'],
  ]);
  const runtime = execFileSync('g++', ['-print-file-name=libasan.so'], { encoding: 'utf8' });
  return {
    WHICHPOD_ADDON: join(COPY, 'build', 'Release', 'whichpod.node'),
    LD_PRELOAD: runtime.trim(),
    // Node itself frees little at its end, so leaks cannot be told from its own.
    ASAN_OPTIONS: 'detect_leaks=0:abort_on_error=0:exitcode=99',
  };
}

describe('under AddressSanitizer', () => {
  let namespace: Namespace | undefined;
  let environment: NodeJS.ProcessEnv = {};
  beforeAll(async () => {
    if (missing !== undefined) return;
    namespace = new Namespace();
    environment = await build();
  }, 180_000);
  afterAll(() => namespace?.destroy());

  test('the addon really is built with it', (context) => {
    if (namespace === undefined) return context.skip(missing);
    const file = environment['WHICHPOD_ADDON'] ?? '';
    expect(readFileSync(file).includes('__asan_report_load')).toBe(true);
  });

  // Starting Node takes a second here, so what can share a process does.
  const runs = ['ring', 'netlink'].flatMap((kind) => [
    [kind, ...CASES],
    ...LAST_CASES.map((name) => [kind, name]),
  ]);
  test.for(runs)('the %s: %s …', async (args, context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(here('./scripts/lifecycle.mjs'), args, environment);
    const { code, stderr } = await child.finish();
    expect({ code, stderr, lines: child.lines }).toEqual({
      code: 0,
      stderr: '',
      lines: [{ type: 'ok' }],
    });
  });

  test.for(['drops.mjs', 'overrun.mjs'])('%s, with much traffic', async (script, context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(here(`./scripts/${script}`), [], environment);
    const { code, stderr } = await child.finish();
    expect({ code, stderr, lines: child.lines.length }).toEqual({ code: 0, stderr: '', lines: 1 });
  });
});
