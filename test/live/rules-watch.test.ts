import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import { createLab, type Lab } from '../../src/lab/lab.js';
import { TUTORIAL, TUTORIAL_CLIENT } from '../../src/lab/tutorial.js';
import { buildProgram, endAll, type Said, Whichpod } from './program.js';

const SERVICE = 'default/nginx';
const CHAIN = 'KUBE-SVC-4N57TFCL4MD7ZTDA';
/** Enough that a bias of one half against a quarter cannot be taken for chance (p < 1e-30). */
const CHURN = 2_000;
const unavailable = labUnavailable(TUTORIAL);

let lab: Lab;
let objects: string;

beforeAll(async () => {
  if (unavailable !== undefined) return;
  buildProgram();
  lab = await createLab(TUTORIAL);
  objects = await mkdtemp(join(tmpdir(), 'whichpod-rules-test-'));
  await writeObjects();
});
beforeEach((context) => {
  if (unavailable === undefined) return;
  // What the set-up installs must be there where it has run.
  if (process.env['CI'] && /not installed/.test(unavailable)) throw new Error(unavailable);
  context.skip(unavailable);
});
afterEach(endAll);
afterAll(async () => {
  await lab?.close();
  if (objects !== undefined) await rm(objects, { recursive: true, force: true });
});

async function writeObjects(): Promise<void> {
  for (const [name, list] of Object.entries(lab.objects)) {
    await writeFile(join(objects, `${name}.json`), JSON.stringify(list));
  }
}

const rules = (...args: readonly string[]): Whichpod =>
  new Whichpod(['rules', ...args, '--objects', objects], lab.enter('node'));

/** One run to its end, with the JSON that it wrote. */
async function report(...args: readonly string[]): Promise<{
  readonly code: number | null;
  readonly stderr: string;
  readonly said: { readonly [key: string]: never[] };
}> {
  const command = [process.execPath, 'dist/main.js', 'rules', ...args, '-o', 'json'];
  const { code, stdout, stderr } = await lab.exec('node', [...command, '--objects', objects]);
  return { code, stderr, said: stdout === '' ? {} : JSON.parse(stdout) };
}

const send = (count: number): ReturnType<Lab['request']> =>
  lab.request({ from: TUTORIAL_CLIENT, to: SERVICE, count });

const ipOf = (name: string): string => TUTORIAL.pods.find((pod) => pod.name === name)?.ip ?? '';

interface Moved extends Said {
  readonly endpoint: { readonly ip: string };
  readonly before: { readonly packets: number; readonly bytes: number };
  readonly after: { readonly packets: number; readonly bytes: number };
}

describe('rules on a live node', () => {
  it('shows the counters move by exactly the connections made, 0 0 to 1 60', async () => {
    await lab.exec('node', ['iptables', '-t', 'nat', '-Z']);
    const run = rules(SERVICE, '--watch', '500ms', '-o', 'json');
    await run.line(/^watching the counters of 4 endpoints in 1 chains/);
    const [row] = await send(1);
    const first = (await run.said.until((line) => line.type === 'moved')) as Moved;
    expect(first).toMatchObject({
      schema: 'whichpod-rules/1',
      service: { namespace: 'default', name: 'nginx' },
      chain: 'KUBE-SVC-4N57TFCL4MD7ZTDA',
      endpoint: { pod: { name: row?.pod } },
      before: { packets: 0, bytes: 0 },
      after: { packets: 1, bytes: 60 },
    });
    const rows = await send(20);
    const total = (): number =>
      run.said.all.reduce((n, line) => {
        const { type, before, after } = line as Moved;
        return type === 'moved' ? n + after.packets - before.packets : n;
      }, 0);
    await run.said.until(() => total() === 21);
    const counted = new Map<string, number>();
    for (const line of run.said.all) {
      const { endpoint, before, after } = line as Moved;
      counted.set(endpoint.ip, (counted.get(endpoint.ip) ?? 0) + after.packets - before.packets);
    }
    const served = new Map<string, number>();
    const answers = row === undefined ? rows : [...rows, row];
    for (const { pod = '' } of answers) served.set(ipOf(pod), (served.get(ipOf(pod)) ?? 0) + 1);
    expect(Object.fromEntries(counted)).toEqual(Object.fromEntries(served));

    await lab.exec('node', ['iptables', '-t', 'nat', '-Z']);
    await run.said.until((line) => line.type === 'reset');
    expect(run.said.all.every((line) => (line as Moved).after.packets >= 0)).toBe(true);
    run.signal('SIGINT');
    expect((await run.ended).code).toBe(130);
  });

  it("finds the lab's churn even, and skewed once a chance is changed by hand", async () => {
    const churn = async (): Promise<unknown> =>
      await lab.churn({ from: TUTORIAL_CLIENT, to: SERVICE, connections: CHURN, concurrency: 8 });
    const zero = async (): Promise<unknown> =>
      await lab.exec('node', ['iptables', '-t', 'nat', '-Z']);
    await zero();
    await churn();
    const even = await report(SERVICE, '--audit', '--fail-on', 'skew');
    expect(even.said['audit']).toMatchObject([{ verdict: 'even', total: CHURN, chain: CHAIN }]);
    expect(even.code).toBe(0);

    const rule = (probability: number, ...counters: readonly string[]): Promise<unknown> =>
      lab.exec('node', [
        ...`iptables -t nat -R ${CHAIN} 1 -m statistic --mode random`.split(' '),
        ...`--probability ${probability} -j KUBE-SEP-YWXOX2RATT4U5XWP`.split(' '),
        ...counters,
      ]);
    await zero();
    await rule(0.5);
    await churn();
    const biased = await report(
      SERVICE,
      '--audit',
      '--drift',
      '--settle',
      '200ms',
      '--fail-on',
      'drift',
    );
    expect(biased.said['drift']).toMatchObject([{ code: 'share-uneven', chain: CHAIN }]);
    // What is counted is what these rules say; that they are not kube-proxy's is the other finding.
    expect(biased.said['audit']).toMatchObject([{ verdict: 'even' }]);
    expect(biased.code).toBe(1);

    // Put back as kube-proxy had it, with what was counted meanwhile.
    const listed = await lab.exec('node', ['iptables', '-t', 'nat', '-v', '-S', CHAIN]);
    const [, packets = '', bytes = ''] = /-c (\d+) (\d+) -j KUBE-SEP-YWX/.exec(listed.stdout) ?? [];
    await rule(0.25, '-c', packets, bytes);
    const skewed = await report(SERVICE, '--audit', '--fail-on', 'skew');
    expect(skewed.said['audit']).toMatchObject([{ verdict: 'skewed', total: CHURN }]);
    expect(skewed.code).toBe(1);
    const healed = await report(SERVICE, '--drift', '--fail-on', 'drift');
    expect(healed.said['drift']).toEqual([]);
    expect(healed.code).toBe(0);
  });

  it('finds an endpoint that was removed from the cluster only, and nothing before', async () => {
    const before = await report('--drift', '--fail-on', 'drift');
    expect([before.code, before.said['drift']]).toEqual([0, []]);
    const slices = structuredClone(lab.objects).endpointslices as unknown as {
      items: { endpoints: { addresses: string[] }[] }[];
    };
    for (const slice of slices.items) {
      slice.endpoints = slice.endpoints.filter(({ addresses }) => addresses[0] !== '10.44.0.1');
    }
    await writeFile(join(objects, 'endpointslices.json'), JSON.stringify(slices));
    const after = await report('--drift', '--settle', '200ms', '--fail-on', 'drift');
    await writeObjects();
    expect(after.code).toBe(1);
    expect(after.said['drift']).toMatchObject([
      {
        code: 'endpoint-extra',
        endpoint: { ip: '10.44.0.1', port: 80 },
        detail: '10.44.0.1:80 is in the rules, but in no slice of the Service',
      },
    ]);
  });
});
