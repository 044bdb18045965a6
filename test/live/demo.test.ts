import { readdirSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import { TUTORIAL, TUTORIAL_CLIENT } from '../../src/lab/tutorial.js';
import { buildProgram, endAll, processesOf, type Said, Whichpod } from './program.js';

const PODS = TUTORIAL.pods.filter((pod) => pod.name !== TUTORIAL_CLIENT);
const CLIENT = TUTORIAL.pods.find((pod) => pod.name === TUTORIAL_CLIENT);

beforeAll(() => {
  if (process.platform === 'linux') buildProgram();
});
beforeEach((context) => {
  const unavailable = labUnavailable(TUTORIAL);
  if (unavailable !== undefined) context.skip(unavailable);
});
afterEach(endAll);

const demo = (count: number): Whichpod =>
  new Whichpod(['demo', '--count', String(count), '-o', 'ndjson']);

const isAttribution = (line: Said): boolean => line.type === 'attribution';

/** Namespaces that a process made for its lab, by the pid in their names. */
function namespacesOf(pid: number): string[] {
  try {
    return readdirSync('/run/netns').filter((name) => name.startsWith(`wp${pid}-`));
  } catch {
    return [];
  }
}

const nothingLeftOf = (run: Whichpod): unknown => [namespacesOf(run.pid), processesOf(run)];

/** Nobody is told when an orphan ends. */
async function untilAlone(run: Whichpod): Promise<void> {
  const until = performance.now() + 10_000;
  while (processesOf(run).length > 0 && performance.now() < until) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('demo', () => {
  it('shows the walk of the tutorial and names the Pod of each request', async () => {
    const run = demo(8);
    expect(await run.ended, run.stderr).toEqual({ code: 0, signal: null });
    expect(nothingLeftOf(run)).toEqual([[], []]);

    const walk = run.stderr.split('\n');
    const line = (...parts: readonly string[]): string | undefined =>
      walk.find((text) => parts.every((part) => text.includes(part)));
    expect(line('request to Service default/nginx', '10.111.248.8:80')).toBeDefined();
    expect(line('KUBE-SERVICES', '-> KUBE-SVC-4N57TFCL4MD7ZTDA')).toMatch(/^ *0 0 +1 60 +\*/);
    expect(
      line(
        'KUBE-SVC-4N57TFCL4MD7ZTDA',
        'probability 0.50000000000',
        '-> KUBE-SEP-RNUA2WF32F4IZIFK',
      ),
    ).toMatch(/^ *0 0 +1 60 +\*/);
    expect(line('KUBE-SEP-RNUA2WF32F4IZIFK', 'DNAT to 10.44.0.1:80')).toMatch(/^ *0 0 +1 60 +\*/);
    expect(
      line('10.44.0.1:80 is the address of Pod nginx-86c57db685-vskrb on node01'),
    ).toBeDefined();
    expect(line('KUBE-SVC-2CMXP7HKUVJN7L6M')).toBeDefined();
    expect(line('8 of 8 agree')).toBeDefined();

    const types = new Set(run.said.all.map((it) => it.type));
    expect(types.has('text')).toBe(false);
    const closed = run.said.all.filter((it) => it.type === 'close');
    expect(closed).toHaveLength(8);
    for (const it of closed) {
      expect(it).toMatchObject({
        schema: 'whichpod/1',
        verdict: 'attributed',
        outcome: 'established',
        client: { ip: CLIENT?.ip, pod: { namespace: 'default', name: TUTORIAL_CLIENT } },
        destination: { ip: '10.111.248.8', port: 80 },
        service: { namespace: 'default', name: 'nginx', via: 'clusterIP' },
        rules: { path: ['KUBE-SERVICES', 'KUBE-SVC-4N57TFCL4MD7ZTDA', expect.any(String)] },
      });
      const { ip, pod } = it['backend'] as { ip: string; pod: { name: string } };
      expect(PODS.find((known) => known.ip === ip)?.name).toBe(pod.name);
    }
    expect(run.said.all.at(-1)).toMatchObject({
      type: 'summary',
      connections: { seen: 8, attributed: 8 },
      losses: 0,
    });
  });

  it.each(['process', 'group'] as const)(
    'cleans up after SIGINT to its %s, and the summary is still said',
    async (whole) => {
      const run = demo(500);
      await run.said.until(isAttribution);
      expect(namespacesOf(run.pid).length).toBeGreaterThan(0);
      run.signal('SIGINT', whole);
      expect(await run.ended).toEqual({ code: 130, signal: null });
      expect(nothingLeftOf(run)).toEqual([[], []]);
      expect(run.said.all.at(-1)?.type).toBe('summary');
    },
  );

  it('leaves no process when it is killed, and the next one removes its namespaces', async () => {
    const killed = demo(500);
    await killed.said.until(isAttribution);
    expect(processesOf(killed).length).toBeGreaterThan(5);
    killed.signal('SIGKILL');
    await untilAlone(killed);
    expect(processesOf(killed)).toEqual([]);
    expect(namespacesOf(killed.pid).length).toBeGreaterThan(0);

    const next = demo(1);
    await next.line(/^Building a small node/);
    await next.line(/^By hand: /);
    expect(namespacesOf(killed.pid)).toEqual([]);
    next.signal('SIGINT');
    await next.ended;
    expect(nothingLeftOf(next)).toEqual([[], []]);
  });
});
