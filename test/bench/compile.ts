import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
/** Below node_modules, so that what is compiled finds the packages. */
const CACHE = join(ROOT, 'node_modules/.cache');

let folder: string | undefined;
let child: string | undefined;
const programs = new Map<string, string>();

/** Compiles the jobs with what they use of src, once in a run; the path of child.js. Removed on exit. */
export function compiledChild(): string {
  child ??= compileJobs(compiled());
  return child;
}

/** Compiles a program of the live parts, once in a run; its path. Removed on exit. */
export function compiledProgram(name: 'churn' | 'reader'): string {
  const program = programs.get(name) ?? compileProgram(compiled(), name);
  programs.set(name, program);
  return program;
}

function compiled(): string {
  if (folder !== undefined) return folder;
  mkdirSync(CACHE, { recursive: true });
  const out = mkdtempSync(join(CACHE, 'whichpod-bench-'));
  process.once('exit', () => rmSync(out, { recursive: true, force: true }));
  folder = out;
  return out;
}

function compileProgram(out: string, name: string): string {
  const program = join(out, name);
  const source = join(ROOT, `test/bench/churn/${name}.cc`);
  const flags = ['-O2', '-Wall', '-Wextra', '-std=c++17'];
  const { error, status, stderr } = spawnSync('g++', [...flags, '-o', program, source], {
    encoding: 'utf8',
  });
  if (status !== 0) {
    throw new Error(`${source} does not compile: ${error?.message ?? stderr}`);
  }
  return program;
}

function compileJobs(out: string): string {
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
  return join(out, 'test/bench/child.js');
}
