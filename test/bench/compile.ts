import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Below node_modules, so that what is compiled finds the packages. */
const CACHE = join(ROOT, 'node_modules/.cache');

let folder: string | undefined;

/** Compiles the jobs with what they use of src, once in a run; the path of child.js. Removed on exit. */
export function compiledChild(): string {
  folder ??= compile();
  return join(folder, 'test/bench/child.js');
}

function compile(): string {
  mkdirSync(CACHE, { recursive: true });
  const out = mkdtempSync(join(CACHE, 'whichpod-bench-'));
  process.once('exit', () => rmSync(out, { recursive: true, force: true }));
  // A package's scope does not reach into node_modules.
  writeFileSync(join(out, 'package.json'), '{"type":"module"}');
  symlinkSync(join(ROOT, 'native'), join(out, 'native'));
  const config = {
    extends: join(ROOT, 'tsconfig.json'),
    compilerOptions: {
      noEmit: false,
      noCheck: true,
      rootDir: ROOT,
      outDir: out,
      typeRoots: [join(ROOT, 'node_modules/@types')],
    },
    include: [],
    files: [join(ROOT, 'test/bench/child.ts')],
  };
  writeFileSync(join(out, 'tsconfig.json'), JSON.stringify(config));
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', out], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`the benchmark's jobs do not compile: ${stdout}`);
  return out;
}
