import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const MAIN = new URL('../../src/main.ts', import.meta.url);

function whichpod(...argv: string[]) {
  return spawn(process.execPath, ['--import', 'tsx', fileURLToPath(MAIN), ...argv], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  });
}

describe('the program', () => {
  it('writes results to stdout and ends with 0', async () => {
    const child = whichpod('--version');
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
      stderr: '',
    });
  });

  it('writes errors to stderr and ends with the documented code', async () => {
    const child = whichpod('live', '--port', '0');
    const [stdout, stderr, [code]] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, 'exit'),
    ]);
    expect({ code, stdout, stderr }).toEqual({
      code: 2,
      stdout: '',
      stderr: "whichpod: --port: '0' is no port; write a number from 1 to 65535\n",
    });
  });

  it('does not mind a reader that has left', async () => {
    const child = whichpod('--help');
    child.stdout.destroy();
    const [stderr, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  });

  it('loads nothing for its help but the command line itself', () => {
    const seen = new Set<string>();
    const packages = new Set<string>();
    const visit = (file: URL): void => {
      if (seen.has(file.href)) return;
      seen.add(file.href);
      const source = readFileSync(file, 'utf8');
      for (const [, type, from = ''] of source.matchAll(
        /^(?:import|export) (type )?[^;]*?from '([^']+)';$/gms,
      )) {
        if (type) continue;
        if (from.startsWith('.')) visit(new URL(from.replace(/\.js$/, '.ts'), file));
        else packages.add(from);
      }
    };
    visit(MAIN);
    expect([...packages].sort()).toEqual(['@commander-js/extra-typings', 'node:fs']);
    expect(seen.size).toBeGreaterThan(8);
  });
});
