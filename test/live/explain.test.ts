import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { TruthRow } from '../../src/lab/traffic-client.js';
import { inNodeLab, type NodeLab } from './node-lab.js';
import { Whichpod } from './program.js';

const SHAPE = { layout: 'routed', ruleBackend: 'iptables-nft', chainNames: 'current' } as const;

let node: NodeLab;
let folder: string | undefined;
let files = 0;

inNodeLab(SHAPE, (made) => {
  node = made;
});
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whichpod-explain-test-'));
});
afterAll(async () => {
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
});

function whichpod(command: string, ...args: string[]): Whichpod {
  return new Whichpod([command, '--objects', node.objects, ...args], node.lab.enter('node'));
}

/** What `explain -o json` wrote, as far as these tests look at it. */
interface Explained {
  readonly attribution: {
    readonly connection: string;
    readonly client: { readonly ip: string; readonly port: number };
    readonly backend?: { readonly ip: string };
  };
  readonly story: { readonly lines: readonly { readonly what: string }[] };
  readonly walk?: { readonly endings: readonly { readonly ip?: string }[] };
}

interface Answer {
  readonly code: number | null;
  readonly stderr: string;
  readonly said: Explained;
}

/** Starts explain; its answer is what it has written into its file at its end. */
function asked(...args: string[]): { readonly run: Whichpod; readonly answer: Promise<Answer> } {
  const file = join(folder ?? '', `${++files}.json`);
  const run = whichpod('explain', ...args, '-w', file);
  const answer = run.ended.then(async ({ code }) => {
    const text = existsSync(file) ? await readFile(file, 'utf8') : '{}';
    return { code, stderr: run.stderr, said: JSON.parse(text) as Explained };
  });
  return { run, answer };
}

function explain(...args: string[]): Promise<Answer> {
  return asked(...args).answer;
}

async function request(to: string, sourcePort: number): Promise<TruthRow> {
  const [row] = await node.lab.churn({
    from: 'client',
    to,
    connections: 1,
    sourcePorts: { first: sourcePort, size: 1 },
  });
  if (row === undefined) throw new Error('no request was made');
  return row;
}

/** Resolves when the run has told of the connection's end. */
function closed(run: Whichpod, port: number): Promise<unknown> {
  return run.said.until(
    (line) => line.type === 'close' && (line['client'] as { port: number }).port === port,
  );
}

it('asks the live run for a connection that has ended, by its client and by its id', async () => {
  const live = whichpod('live', '-o', 'ndjson');
  await live.watching();
  const row = await request('shop/web', 41_001);
  await closed(live, 41_001);
  const byClient = await explain('10.244.1.9:41001');
  expect([byClient.code, byClient.stderr]).toEqual([0, expect.stringContaining('written: ')]);
  const { attribution, story, walk } = byClient.said;
  expect(attribution.backend?.ip).toBe(row.podIP);
  expect(walk?.endings.map((ending) => ending.ip)).toContain(row.podIP);
  const what = story.lines.map((line) => line.what).join('; ');
  for (const seen of ['SYN', 'SYN, translated', 'SYN-ACK', 'NEW', 'FIN']) {
    expect(what).toContain(seen);
  }
  // Nobody asked for the changes of entries.
  expect(what).not.toContain('UPDATE');
  const byId = await explain(attribution.connection);
  expect(byId.said.attribution).toEqual(attribution);
  live.signal('SIGINT');
  await live.ended;
});

it('says of which connections it knows where none matches, and remembers no more than it was told to', async () => {
  const live = whichpod('live', '-o', 'ndjson', '--remember', '2');
  await live.watching();
  for (const port of [41_101, 41_102, 41_103]) {
    await request('shop/web', port);
    await closed(live, port);
  }
  const gone = await explain('10.244.1.9:41101');
  expect(gone.code).toBe(2);
  expect(gone.stderr).toContain('none of the 2 connections to Services matches');
  expect(gone.stderr).toContain('10.244.1.9:41103');
  expect(gone.stderr).toContain('remembers the last 2');
  const several = await explain('--from', 'shop/client', '--to', 'shop/web');
  expect([several.code, several.said.attribution.client.port]).toEqual([0, 41_103]);
  expect(several.stderr).toContain('2 connections match');
});

it('waits for the next connection where no live run is there, and shows the states of its entry', async () => {
  const { run, answer } = asked('--to', 'shop/api');
  await run.watching();
  const row = await request('shop/api', 41_201);
  const { code, stderr, said } = await answer;
  expect([code, stderr]).toEqual([0, expect.stringContaining('no live run to ask; waiting')]);
  expect(stderr).toContain('explained now: it has ended');
  expect(said.attribution.client.port).toBe(41_201);
  expect(said.attribution.backend?.ip).toBe(row.podIP);
  expect(said.story.lines.map((line) => line.what).join()).toContain('UPDATE ESTABLISHED');
});

it('ends with 1 when none came, and with 2 for an id that nobody can tell of', async () => {
  const none = await explain('--to', 'shop/web', '--duration', '300ms');
  expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('none came')]);
  const unknown = await explain('0123456789abcdef');
  expect([unknown.code, unknown.stderr]).toEqual([
    2,
    expect.stringContaining('no live run to ask'),
  ]);
});
