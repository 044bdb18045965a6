import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { labUnavailable } from '../../src/lab/available.js';
import { fakeIo } from '../cli/fake-io.js';
import { createNodeLab, type NodeLab } from '../live/node-lab.js';
import { buildProgram, endAll, Whichpod } from '../live/program.js';

const SHAPE = { layout: 'routed', ruleBackend: 'iptables-nft', chainNames: 'current' } as const;
const PORTS = [42_001, 42_002, 42_003];

const folder = mkdtempSync(join(tmpdir(), 'whichpod-record-explain-'));
const recording = join(folder, 'case.pcapng');
let node: NodeLab | undefined;
/** What the live run was asked while it ran: of each port, and of the rules. */
const live = new Map<number, Json>();
let liveRules: Json = {};

type Json = Readonly<Record<string, unknown>>;

beforeAll(async () => {
  if (labUnavailable(SHAPE) !== undefined) return;
  buildProgram();
  node = await createNodeLab(SHAPE);
  const run = onNode(node, 'live', '-o', 'ndjson', '-w', recording);
  await run.watching();
  for (const port of PORTS) {
    const sourcePorts = { first: port, size: 1 };
    await node.lab.churn({ from: 'client', to: 'shop/web', connections: 1, sourcePorts });
    await run.said.until(
      (line) => line.type === 'close' && (line['client'] as { port: number }).port === port,
    );
  }
  for (const port of PORTS) {
    live.set(port, await written(node, 'explain', `10.244.1.9:${port}`));
  }
  run.signal('SIGINT');
  await run.ended;
  liveRules = await written(node, 'rules', '-o', 'json');
}, 120_000);
afterEach(endAll);
afterAll(async () => {
  await node?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => {
  const unavailable = labUnavailable(SHAPE);
  if (unavailable !== undefined) context.skip(unavailable);
});

function onNode({ lab, objects }: NodeLab, command: string, ...args: string[]): Whichpod {
  return new Whichpod([command, '--objects', objects, ...args], lab.enter('node'));
}

let files = 0;

async function written(lab: NodeLab, command: string, ...args: string[]): Promise<Json> {
  const file = join(folder, `${++files}.json`);
  const into = command === 'explain' ? ['-w', file] : [];
  const enter = command === 'explain' ? [] : ['sh', '-c', `exec "$0" "$@" >${file}`];
  const run = new Whichpod(
    [command, '--objects', lab.objects, ...args, ...into],
    [...lab.lab.enter('node'), ...enter],
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
  return JSON.parse(
    JSON.stringify(value, (key, one: unknown) => (key === 'line' ? undefined : one)),
  );
}

/** What a run of its own reads of the rules are other moments' counters. */
function withoutMoments(value: unknown): unknown {
  const left = ['packets', 'bytes', 'time', 'since', 'counters', 'version'];
  return JSON.parse(
    JSON.stringify(value, (key, one: unknown) => (left.includes(key) ? undefined : one)),
  );
}

describe('of a recording', () => {
  it.each(PORTS)('explain of port %i says what it said of the live run', async (port) => {
    const said = await ofRecording('explain', `10.244.1.9:${port}`);
    const was = live.get(port) ?? {};
    expect(withoutLines(said)).toEqual(withoutLines(was));
  });

  it('rules says what it says on the node', async () => {
    const { services } = await ofRecording('rules');
    expect(withoutMoments(services)).toEqual(withoutMoments(liveRules['services']));
  });
});
