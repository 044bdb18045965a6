import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import { closeLabsSync, createLab } from '../../src/lab/lab.js';
import { sweepStaleLabs } from '../../src/lab/namespaces.js';
import { TUTORIAL, TUTORIAL_CLIENT } from '../../src/lab/tutorial.js';

const unavailable = labUnavailable(TUTORIAL);
const PARENT = fileURLToPath(new URL('./parent.ts', import.meta.url));
const children: ChildProcess[] = [];

beforeEach((context) => {
  if (unavailable !== undefined) context.skip(unavailable);
});

afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  sweepStaleLabs();
});

/** The namespaces of the labs of one process. */
function namespacesOf(pid: number | undefined): string[] {
  if (!existsSync('/run/netns')) return [];
  return readdirSync('/run/netns').filter((name) => name.startsWith(`wp${pid}-`));
}

/** The processes in the network namespace behind a link of /proc, by that link's text. */
function processesIn(link: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readlinkSync(`/proc/${pid}/ns/net`) === link;
    } catch {
      return false; // it ended meanwhile
    }
  });
}

/** Starts a process that builds a lab; resolves with its first word. */
async function parent(...args: readonly string[]): Promise<{ child: ChildProcess; word: string }> {
  const child = spawn(process.execPath, ['--import', 'tsx', PARENT, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  children.push(child);
  const [word] = await once(createInterface(child.stdout), 'line');
  return { child, word };
}

describe('closing', () => {
  it('removes everything, also twice, also with programs still running', async () => {
    const lab = await createLab(TUTORIAL);
    const link = (await lab.exec('node', ['readlink', '/proc/self/ns/net'])).stdout.trim();
    const endless = lab.exec('node', ['sleep', '1000']);
    await vi.waitUntil(() => processesIn(link).length > 0);
    const traffic = lab.request({
      from: TUTORIAL_CLIENT,
      to: 'default/nginx',
      count: 1e6,
      perSecond: 10,
    });
    const broken = expect(traffic).rejects.toThrow(/ended early/);
    await lab.close();
    await lab.close();
    await broken;
    expect((await endless).code).toBe(-1);
    expect(namespacesOf(process.pid)).toEqual([]);
    expect(processesIn(link)).toEqual([]);
    await expect(lab.exec('node', ['true'])).rejects.toThrow(/closed/);
  });

  it('leaves the other labs of the process alone', async () => {
    const [one, two] = await Promise.all([createLab(TUTORIAL), createLab(TUTORIAL)]);
    await one.close();
    const rows = await two.request({ from: TUTORIAL_CLIENT, to: 'default/nginx', count: 2 });
    expect(rows.every((row) => row.ok)).toBe(true);
    await two.close();
    expect(namespacesOf(process.pid)).toEqual([]);
  });

  it('at once, in the middle of the building, leaves nothing', async () => {
    const building = createLab(TUTORIAL);
    const failed = expect(building).rejects.toThrow();
    await vi.waitUntil(() => namespacesOf(process.pid).length > 0);
    closeLabsSync();
    await failed;
    expect(namespacesOf(process.pid)).toEqual([]);
  });

  it('follows a failure to build', async () => {
    const bad = { ...TUTORIAL, podCIDR: '10.32.0.0/99' };
    await expect(createLab(bad)).rejects.toThrow(/lab: ip .* failed/);
    expect(namespacesOf(process.pid)).toEqual([]);
  });

  it('ends an exec that takes too long', async () => {
    const lab = await createLab(TUTORIAL);
    try {
      const { code } = await lab.exec('node', ['sleep', '1000'], { timeoutMs: 50 });
      expect(code).toBe(-1);
      const echoed = await lab.exec('node', ['cat'], { input: 'word' });
      expect(echoed).toEqual({ code: 0, stdout: 'word', stderr: '' });
    } finally {
      await lab.close();
    }
  });
});

describe('a process that has a lab', () => {
  it.each([
    ['once it is built', []],
    ['while it is being built', ['while building']],
  ])('leaves nothing after Ctrl-C %s', async (_, args) => {
    const { child } = await parent(...args);
    child.kill('SIGINT');
    const [code] = await once(child, 'exit');
    expect(code).toBe(130);
    expect(namespacesOf(child.pid)).toEqual([]);
  });

  it('leaves its namespaces when it is killed, empty, and the next lab sweeps them', async () => {
    const { child, word } = await parent();
    const name = basename(word);
    expect(namespacesOf(child.pid)).toContain(name);
    expect(sweepStaleLabs()).not.toContain(name);
    const inside = readdirSync('/proc').filter((pid) => parentOf(pid) === child.pid);
    expect(inside.length).toBeGreaterThanOrEqual(4);
    child.kill('SIGKILL');
    await once(child, 'exit');
    await vi.waitUntil(() => inside.every((pid) => !existsSync(`/proc/${pid}`)), {
      timeout: 10_000,
    });
    expect(namespacesOf(child.pid)).toContain(name);
    const lab = await createLab(TUTORIAL);
    expect(namespacesOf(child.pid)).toEqual([]);
    await lab.close();
  });
});

function parentOf(pid: string): number | undefined {
  if (!/^\d+$/.test(pid)) return undefined;
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(/^PPid:\s*(\d+)/m.exec(status)?.[1]);
  } catch {
    return undefined;
  }
}
