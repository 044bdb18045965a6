import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { labUnavailable } from '../../src/lab/available.js';
import { createLab, type Lab } from '../../src/lab/lab.js';
import type { LabOptions } from '../../src/lab/spec.js';
import { fakeIo } from '../cli/fake-io.js';
import { buildProgram, endAll, Whichpod } from '../live/program.js';
import { FAULTY } from '../support/faults-lab.js';

/** `web` with a NodePort, `sticky` with affinity, `refuses`, `dns`, and one more. */
const EMPTY = 'empty';
const SHAPE: LabOptions = {
  ...FAULTY,
  services: [
    ...FAULTY.services.filter(({ name }) => ['web', 'sticky', 'refuses', 'dns'].includes(name)),
    {
      namespace: 'shop',
      name: EMPTY,
      protocol: 'tcp',
      port: 80,
      clusterIP: '10.96.0.90',
      targetPort: 80,
      endpoints: [],
    },
  ],
};
const CLIENT = '10.244.1.5';
const OUTSIDE = FAULTY.outsideAddress;
/** As the kernel's module is loaded by default. */
const RECENT_CAPACITY = 100;
const TRIES = 16;

const CASES = [
  { what: 'one that was answered', of: `${CLIENT}:42001`, to: 'shop/web', finds: [] },
  {
    what: 'one that a Pod refused',
    of: `${CLIENT}:42002`,
    to: 'shop/refuses',
    finds: ['refused-by-pod'],
  },
  {
    what: 'one to a Service without endpoints',
    of: `${CLIENT}:42003`,
    to: `shop/${EMPTY}`,
    finds: ['no-endpoints'],
  },
  {
    what: 'one from outside that is masqueraded',
    of: `${OUTSIDE}:42004`,
    to: `${FAULTY.nodeAddress}:30080`,
    finds: ['masquerade'],
  },
  { what: 'one of affinity', of: `${CLIENT}:42005`, to: 'shop/sticky', finds: ['affinity'] },
  { what: 'a UDP flow', of: `${CLIENT}:42006`, to: 'shop/dns', finds: [] },
] as const;

type Json = Readonly<Record<string, unknown>>;

const folder = mkdtempSync(join(tmpdir(), 'whichpod-record-explain-'));
const objects = join(folder, 'objects');
const recording = join(folder, 'case.pcapng');
let lab: Lab | undefined;
/** What the live run was asked while it ran, by client. */
const live = new Map<string, Json>();
/** The one whose endpoint's list was full. */
let forgotten = '';
let liveRules: Json = {};
let whatIf: Json = {};
const HYPOTHETICAL = ['--what-if', 'tcp', '10.244.1.6', 'shop/sticky:80'];

beforeAll(async () => {
  if (labUnavailable(SHAPE) !== undefined) return;
  buildProgram();
  lab = await createLab(SHAPE);
  mkdirSync(objects);
  for (const [name, list] of Object.entries(lab.objects)) {
    writeFileSync(join(objects, `${name}.json`), JSON.stringify(list));
  }
  // Else the kernel rejects the first few requests only.
  await must(lab, 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit');
  const args = ['-o', 'ndjson', '-w', recording, '--remember', '100', '--node-name', 'node1'];
  const run = onNode(lab, 'live', ...args);
  await run.watching();
  for (const { of, to } of CASES) {
    const [ip = '', port = ''] = of.split(':');
    const isFlow = to === 'shop/dns';
    const from = ip === OUTSIDE ? 'outside' : 'client';
    const sourcePorts = { first: Number(port), size: 1 };
    const protocol = isFlow ? 'udp' : 'tcp';
    await lab.request({ from, to, count: 1, protocol, sourcePorts, timeoutMs: 2_000 });
    // The kernel keeps a flow for half a minute, and looks at what is over from time to time only.
    if (isFlow) await must(lab, `conntrack -D -p udp -s ${CLIENT} >/dev/null`);
  }
  forgotten = await forget(lab);
  await Promise.all(CASES.map(({ of }) => closed(run, of)));
  await closed(run, forgotten);
  for (const of of [...CASES.map((one) => one.of), forgotten]) {
    live.set(of, await written(lab, 'explain', of));
  }
  run.signal('SIGINT');
  await run.ended;
  liveRules = await written(lab, 'rules', '-o', 'json');
  whatIf = await written(lab, 'explain', ...HYPOTHETICAL);
}, 300_000);
afterEach(endAll);
afterAll(async () => {
  await lab?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => {
  const unavailable = labUnavailable(SHAPE);
  if (unavailable !== undefined) context.skip(unavailable);
});

async function must(of: Lab, script: string): Promise<string> {
  const { code, stdout, stderr } = await of.exec('node', ['sh', '-c', script]);
  if (code !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout.trim();
}

function closed(run: Whichpod, of: string): Promise<unknown> {
  const port = Number(of.split(':')[1]);
  return run.said.until(
    (line) => line.type === 'close' && (line['client'] as { port: number }).port === port,
  );
}

/** Fills the list that holds the client with others, until its next connection goes elsewhere: which one that is. */
async function forget(of: Lab): Promise<string> {
  const lists = `grep -l src=${CLIENT} /proc/net/xt_recent/KUBE-SEP-*`;
  for (let i = 0; i < TRIES; i++) {
    const before = await must(of, lists);
    const others = Array.from({ length: RECENT_CAPACITY }, (_, n) => `echo +10.9.${i}.${n} >$L`);
    await must(of, `L=${before}; ${others.join('; ')}; ! grep -q src=${CLIENT} $L`);
    const port = 42_100 + i;
    const sourcePorts = { first: port, size: 1 };
    await of.request({ from: 'client', to: 'shop/sticky', count: 1, sourcePorts });
    if ((await must(of, lists)) !== before) return `${CLIENT}:${port}`;
  }
  throw new Error('the same endpoint each time');
}

function onNode(of: Lab, command: string, ...args: string[]): Whichpod {
  return new Whichpod([command, '--objects', objects, ...args], of.enter('node'));
}

let files = 0;

async function written(of: Lab, command: string, ...args: string[]): Promise<Json> {
  const file = join(folder, `${++files}.json`);
  const into = command === 'explain' ? ['-w', file] : [];
  const enter = command === 'explain' ? [] : ['sh', '-c', `exec "$0" "$@" >${file}`];
  const run = new Whichpod(
    [command, '--objects', objects, ...args, ...into],
    [...of.enter('node'), ...enter],
  );
  const { code } = await run.ended;
  expect([code, run.stderr]).toEqual([0, expect.anything()]);
  return JSON.parse(readFileSync(file, 'utf8')) as Json;
}

async function ofRecording(command: string, ...args: string[]): Promise<Json> {
  const io = fakeIo();
  const code = await runCli([command, '-o', 'json', ...args, recording], io, commands);
  expect([code, io.stderr.text]).toEqual([0, '']);
  return JSON.parse(io.stdout.text) as Json;
}

/** Lines are those of a text that each of the two makes of the rules. */
function withoutLines(value: unknown): unknown {
  return without(['line'], value);
}

/** What a run of its own reads of the rules are other moments' counters. */
function withoutMoments(value: unknown): unknown {
  return without(['line', 'packets', 'bytes', 'time', 'since', 'counters', 'version'], value);
}

function without(left: readonly string[], value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, one: unknown) => (left.includes(key) ? undefined : one)),
  );
}

function codes(said: Json | undefined): string[] {
  return ((said?.['findings'] ?? []) as { code: string }[]).map(({ code }) => code);
}

describe('of a recording', () => {
  it.each(CASES)('explain of $what says what it said of the live run', async ({ of, finds }) => {
    const was = live.get(of);
    expect(codes(was)).toEqual(expect.arrayContaining([...finds]));
    expect(withoutLines(await ofRecording('explain', of))).toEqual(withoutLines(was));
  });

  it('explain says that affinity failed because the kernel’s list was full, as the live run did', async () => {
    const was = live.get(forgotten);
    expect(codes(was)).toContain('affinity-list-full');
    expect(withoutLines(await ofRecording('explain', forgotten))).toEqual(withoutLines(was));
  });

  it('explain --what-if knows routes and lists as they were at its end', async () => {
    const said = await ofRecording('explain', ...HYPOTHETICAL);
    expect(JSON.stringify(said)).toContain('it is taken to come in by');
    expect(withoutMoments(said)).toEqual(withoutMoments(whatIf));
  });

  it('rules says what it says on the node', async () => {
    const { services } = await ofRecording('rules');
    expect(withoutMoments(services)).toEqual(withoutMoments(liveRules['services']));
  });
});
