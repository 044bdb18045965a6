import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { labUnavailable } from '../../src/lab/available.js';
import { fakeIo } from '../cli/fake-io.js';
import { buildProgram, endAll, Whichpod } from '../live/program.js';
import { createWaysLab, type WaysLab } from '../live/ways-lab.js';

const SHAPE = { layout: 'routed', ruleBackend: 'iptables-nft', chainNames: 'current' } as const;
/** Into a namespace of mounts of its own, with a small disk at $0, which is copied to $0.kept at the end. */
const SMALL_DISK =
  'mount -t tmpfs -o size=192k tmpfs "$0" && { "$@"; code=$?; cp "$0"/* "$0.kept/"; exit $code; }';
const READ_ONLY = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"';

const folder = mkdtempSync(join(tmpdir(), 'whichpod-record-run-'));
const at = (name: string): string => join(folder, name);
let lab: WaysLab;

beforeAll(async () => {
  if (process.platform !== 'linux' || labUnavailable(SHAPE) !== undefined) return;
  buildProgram();
  lab = await createWaysLab(SHAPE);
}, 240_000);
afterEach(endAll);
afterAll(async () => {
  await lab?.close();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach((context) => {
  const unavailable = labUnavailable(SHAPE);
  if (unavailable !== undefined) context.skip(unavailable);
});

/** A run on the lab's node; `prefix` is put before the program's words. */
function onNode(args: readonly string[], prefix: readonly string[] = []): Whichpod {
  const common = ['--kubeconfig', lab.kubeconfig, '--node-name', 'node1'];
  return new Whichpod([...args, ...common], [...lab.lab.enter('node'), ...prefix]);
}

/** With its standard output in a file. */
const into = (file: string): string[] => ['sh', '-c', `exec "$0" "$@" >${file}`];

async function replay(args: readonly string[]) {
  const io = fakeIo();
  const code = await runCli(['replay', '-o', 'ndjson', ...args], io, commands);
  return { out: io.stdout.text, err: io.stderr.text, code };
}

function churn(connections: number, perSecond = 400) {
  return lab.lab.churn({
    from: 'client',
    to: 'shop/roll',
    connections,
    concurrency: 16,
    perSecond,
  });
}

interface Line {
  readonly type: string;
  readonly client?: { readonly ip: string; readonly port: number };
  readonly verdict?: string;
}
const linesOf = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);

/** Clients of attributed connections: of each there is one in so short a time. */
const clients = (text: string): Set<string> =>
  new Set(
    linesOf(text).flatMap(({ type, client, verdict }) =>
      type === 'attribution' && verdict === 'attributed' ? `${client?.ip}:${client?.port}` : [],
    ),
  );

function tshark(file: string, ...fields: string[]): string[][] {
  const { stdout, status } = spawnSync(
    'tshark',
    ['-r', file, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])],
    { encoding: 'utf8' },
  );
  expect(status).toBe(0);
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t'));
}

describe('a series of files', () => {
  let live = '';
  let files: string[] = [];

  beforeAll(async () => {
    if (labUnavailable(SHAPE) !== undefined) return;
    const args = ['live', '-o', 'ndjson', '-w', at('ring.pcapng'), '--max-time', '1s'];
    const run = onNode([...args, '--count', '800'], into(at('ring.ndjson')));
    await run.watching();
    await churn(400, 200);
    await lab.setEndpoints('shop/roll', ['web-5', 'web-6']);
    await churn(400, 200);
    expect((await run.ended).code, run.stderr).toBe(0);
    live = readFileSync(at('ring.ndjson'), 'utf8');
    files = readdirSync(folder)
      .filter((name) => /^ring-\d+/.test(name))
      .sort()
      .map(at);
  }, 120_000);

  it('together says what the live run said, byte for byte', async () => {
    expect(files.length).toBeGreaterThan(2);
    expect(await replay(files.toReversed())).toEqual({ out: live, err: '', code: 0 });
  });

  it('is replayed file by file: no connection is missing, none too many, older ones are known to be', async () => {
    const all = new Set<string>();
    for (const [i, file] of files.entries()) {
      const { out, err, code } = await replay([file]);
      expect([code, err]).toEqual([0, '']);
      expect(out).not.toContain('"type":"loss"');
      expect(out).toContain('"code":"rules-read"');
      for (const client of clients(out)) all.add(client);
      // conntrack keeps the entries of closed connections for a while: each later file lists those before it.
      const { existing } = linesOf(out).at(-1) as Line & { readonly existing: number };
      if (i > 0) expect(existing).toBeGreaterThan(0);
      else expect(existing).toBe(0);
    }
    expect(all).toEqual(clients(live));
  });

  it('is followed where its last file grows', async () => {
    const last = files.at(-1) ?? '';
    const bytes = readFileSync(last);
    const growing = at('growing.pcapng');
    writeFileSync(growing, bytes.subarray(0, bytes.length >> 1));
    const followed = replay([...files.slice(0, -1), growing, '--follow']);
    await new Promise((resolve) => setImmediate(resolve));
    appendFileSync(growing, bytes.subarray(bytes.length >> 1));
    expect((await followed).out).toBe(live);
  });
});

describe('what cannot be written', () => {
  it('a full disk ends the run with code 2, and what is there is replayed', async () => {
    for (const name of ['disk', 'disk.kept']) mkdirSync(at(name));
    const prefix = ['unshare', '-m', 'sh', '-c', SMALL_DISK, at('disk')];
    const run = onNode(['record', '-w', at('disk/case.pcapng')], prefix);
    await run.watching();
    const traffic = churn(800);
    const { code } = await run.ended;
    await traffic;
    expect(run.stderr).toContain('the disk is full');
    expect(code).toBe(2);
    const { out, err, code: replayed } = await replay([at('disk.kept/case.pcapng')]);
    expect([replayed, err.includes('cut')]).toEqual([0, true]);
    expect(clients(out).size).toBeGreaterThan(20);
    expect(out).toContain('"type":"loss"');
  });

  it.each([
    ['a folder that is not there', 'missing/case.pcapng', 2, 'no such folder', undefined],
    ['a folder', '', 2, 'no such folder, or it is one', undefined],
    ['a disk that is read-only', 'fixed/case.pcapng', 3, 'the file system is read-only', 'fixed'],
  ])('%s is said before anything is watched', async (_, path, expected, said, mounted) => {
    if (mounted !== undefined) mkdirSync(at(mounted));
    const prefix =
      mounted === undefined ? [] : ['unshare', '-m', 'sh', '-c', READ_ONLY, at(mounted)];
    const run = onNode(['record', '-w', path === '' ? folder : at(path)], prefix);
    const { code } = await run.ended;
    expect(run.stderr).toContain(said);
    expect(run.stderr).not.toContain('watching');
    expect(code).toBe(expected);
  });
});

it('a run that is killed leaves what it had written: the beginning of what it said, and a loss', async () => {
  const file = at('killed.pcapng');
  const run = onNode(['live', '-o', 'ndjson', '-w', file], into(at('killed.ndjson')));
  await run.watching();
  await churn(400, 200);
  run.signal('SIGKILL', 'group');
  await run.ended;
  const live = readFileSync(at('killed.ndjson'), 'utf8').split('\n').slice(0, -1);
  const { out, err, code } = await replay([file]);
  const lines = out.trimEnd().split('\n');
  const loss = lines.findIndex((line) => line.includes('"type":"loss"'));
  expect([code, err.includes('cut')]).toEqual([0, true]);
  expect(loss).toBeGreaterThan(100);
  const common = Math.min(loss, live.length);
  expect(lines.slice(0, common)).toEqual(live.slice(0, common));
}, 30_000);

describe('packets', () => {
  async function recorded(name: string, ...options: string[]): Promise<string> {
    const file = at(`${name}.pcapng`);
    const run = onNode(['record', '-w', file, '--count', '20', ...options]);
    await run.watching();
    await churn(20);
    expect((await run.ended).code, run.stderr).toBe(0);
    return file;
  }
  const asked = ['frame.cap_len', 'frame.len', 'tcp.flags', 'tcp.len'];

  it('are those that open and end connections', async () => {
    const rows = tshark(await recorded('plain'), ...asked);
    // SYN, FIN or RST.
    for (const [, , flags] of rows) expect(Number(flags) & 0x07).not.toBe(0);
  });

  it('are all of them with --full, cut to --snaplen', async () => {
    const rows = tshark(await recorded('full', '--full', '--snaplen', '70'), ...asked);
    const payload = rows.filter(([, , flags, bytes]) => {
      return (Number(flags) & 0x07) === 0 && Number(bytes) > 0;
    });
    expect(payload.length).toBeGreaterThan(20);
    for (const [kept, whole] of rows.map((row) => row.map(Number))) {
      expect(kept).toBe(Math.min(70, whole ?? 0));
    }
    expect(payload.some(([kept, whole]) => Number(kept) < Number(whole))).toBe(true);
  });

  it('are kept from the capture program, too', async () => {
    const file = await recorded('cap', '--backend', 'cap');
    expect(tshark(file, ...asked).length).toBeGreaterThan(40);
    expect(clients((await replay([file])).out).size).toBeGreaterThanOrEqual(20);
  });
});

it('a recording through a pipe says what the same one in a file says', async () => {
  const [copy, out] = [at('piped.pcapng'), at('piped.ndjson')];
  const through = `"$0" "$@" | tee ${copy} | "$0" "$1" replay - -o ndjson >${out}`;
  const run = onNode(['record', '-w', '-', '--count', '100'], ['sh', '-c', through]);
  await run.watching();
  await churn(100);
  expect((await run.ended).code, run.stderr).toBe(0);
  const piped = readFileSync(out, 'utf8');
  expect(clients(piped).size).toBeGreaterThanOrEqual(100);
  expect(await replay([copy])).toEqual({ out: piped, err: '', code: 0 });
});

it('a reader of the output who is slow takes nothing from the recording', async () => {
  const file = at('slow.pcapng');
  const run = onNode(['live', '-o', 'ndjson', '-w', file]);
  await run.watching();
  run.stopReading();
  await churn(600, 600);
  run.signal('SIGINT');
  run.readOn();
  await run.ended;
  expect(existsSync(file)).toBe(true);
  const { out, err } = await replay([file]);
  expect(err).toBe('');
  expect(clients(out).size).toBe(600);
}, 30_000);
