import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';
import type { AddonLoad } from '../../src/native/binding.js';
import { isNativeError, loadAddon } from '../../src/native/binding.js';

const COMPILED = fileURLToPath(new URL('../../dist/native/binding.js', import.meta.url));
const folders: string[] = [];

afterEach(() => {
  vi.unstubAllGlobals();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

/** What the compiled binding says in a folder of its own, where the addon is `content` or is not there. */
async function loadBeside(content: string | undefined): Promise<AddonLoad> {
  const folder = mkdtempSync(join(tmpdir(), 'whichpod-test-'));
  folders.push(folder);
  const binding = join(folder, 'dist', 'native', 'binding.mjs');
  mkdirSync(dirname(binding), { recursive: true });
  // Without the source map, which does not fit there.
  writeFileSync(
    binding,
    readFileSync(COMPILED, 'utf8').replace(/^\/\/# sourceMappingURL=.*$/m, ''),
  );
  if (content !== undefined) {
    const release = join(folder, 'native', 'build', 'Release');
    mkdirSync(release, { recursive: true });
    writeFileSync(join(release, 'whichpod.node'), content);
  }
  const module_ = (await import(pathToFileURL(binding).href)) as { loadAddon: () => AddonLoad };
  return module_.loadAddon();
}

describe('loadAddon', () => {
  test.runIf(process.platform === 'linux')('gives the two classes, the same ones each time', () => {
    const load = loadAddon();
    expect(load).toMatchObject({
      ok: true,
      addon: { PacketRing: expect.any(Function), NetlinkSocket: expect.any(Function) },
    });
    expect(loadAddon()).toBe(load);
  });

  test.each([
    ['is not built', undefined, /not built.*npm run build:native/],
    ['is damaged or of another machine', 'not a library', /not built for this machine.*again/],
  ])('says what to do when the addon %s', async (_, content, reason) => {
    expect(await loadBeside(content)).toMatchObject({
      ok: false,
      reason: expect.stringMatching(reason),
    });
  });

  test('says why there is none off Linux', async () => {
    vi.stubGlobal('process', { ...process, platform: 'darwin' });
    expect(await loadBeside('')).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/Linux.*darwin/),
    });
  });
});

test.each([
  [new Error('plain'), false],
  [Object.assign(new Error('x'), { code: 'EPERM', errno: 1, syscall: 'bind' }), true],
  [{ code: 'EPERM', errno: 1, syscall: 'bind' }, false],
  [undefined, false],
])('isNativeError(%o) is %s', (value, is) => {
  expect(isNativeError(value)).toBe(is);
});
