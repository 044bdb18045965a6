import { spawnSync } from 'node:child_process';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Io } from '../../src/cli/io.js';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { labUnavailable } from '../../src/lab/available.js';
import { fakeIo } from '../cli/fake-io.js';
import { buildProgram, endAll, Whichpod } from '../live/program.js';
import { createWaysLab, type WaysLab } from '../live/ways-lab.js';
import { seeded } from '../support/seeded.js';

const SHAPE = { layout: 'routed', ruleBackend: 'iptables-nft', chainNames: 'current' } as const;
const CONNECTIONS = 2_000;

const folder = mkdtempSync(join(tmpdir(), 'whichpod-record-'));
const at = (name: string): string => join(folder, name);
let made: WaysLab | undefined;

beforeAll(() => {
  if (process.platform === 'linux') buildProgram();
}, 240_000);
afterEach(endAll);
afterAll(async () => {
  await made?.close();
  rmSync(folder, { recursive: true, force: true });
});

beforeEach((context) => {
  const unavailable = labUnavailable(SHAPE);
  if (unavailable !== undefined) context.skip(unavailable);
});

/** A run on the lab's node whose standard output is a file. */
function onNode(lab: WaysLab, args: readonly string[], stdout: string): Whichpod {
  const into = ['sh', '-c', `exec "$0" "$@" >${stdout}`];
  const common = ['--kubeconfig', lab.kubeconfig, '--node-name', 'node1'];
  return new Whichpod([...args, ...common], [...lab.lab.enter('node'), ...into]);
}

async function replay(
  args: readonly string[],
  world: Partial<Io> = {},
): Promise<{ out: string; err: string; code: number }> {
  const io = fakeIo(world);
  const code = await runCli(['replay', '-o', 'ndjson', ...args], io, commands);
  return { out: io.stdout.text, err: io.stderr.text, code };
}

/** What stock programs of the Wireshark family say; not a word on stderr. */
function stock(program: string, ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync(program, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  expect(stderr.replace(/^(Running as user|reading from file).*\n/gm, '')).toBe('');
  expect(status).toBe(0);
  return stdout;
}

async function churn(lab: WaysLab, connections: number): Promise<void> {
  await lab.lab.churn({
    from: 'client',
    to: 'shop/roll',
    connections,
    concurrency: 16,
    perSecond: 400,
  });
}

/** Makes a Pod's interface speak before any connection does, from an address that is no Pod's: by an MLD report. */
function joinGroup(lab: WaysLab, pod: string): void {
  const join = `const s = require('node:dgram').createSocket('udp6').bind(0, () => {
    s.addMembership('ff02::4321', '::%eth0');
    setTimeout(() => s.close(), 50);
  });`;
  const [command = '', ...args] = [...lab.lab.enter(pod), process.execPath, '-e', join];
  expect(spawnSync(command, args, { encoding: 'utf8' })).toMatchObject({ status: 0, stderr: '' });
}

/** Records `CONNECTIONS` while the Service's endpoints change. */
async function record(lab: WaysLab): Promise<void> {
  const args = ['live', '-o', 'ndjson', '-w', at('case.pcapng'), '--count', String(CONNECTIONS)];
  const run = onNode(lab, args, at('live.ndjson'));
  await run.watching();
  joinGroup(lab, 'client');
  const parts = [
    ['web-1', 'web-2'],
    ['web-1', 'web-2', 'web-5'],
    ['web-5', 'web-6'],
    ['web-2', 'web-6'],
  ];
  for (const pods of parts) {
    await lab.setEndpoints('shop/roll', pods);
    await churn(lab, CONNECTIONS / parts.length);
  }
  const { code } = await run.ended;
  expect(code, run.stderr).toBe(0);
}

describe('a recording of 2,000 connections with rolling endpoints', () => {
  let live = '';
  let bytes = Buffer.alloc(0);

  beforeAll(async () => {
    if (labUnavailable(SHAPE) !== undefined) return;
    made = await createWaysLab(SHAPE);
    await record(made);
    live = readFileSync(at('live.ndjson'), 'utf8');
    bytes = readFileSync(at('case.pcapng'));
  }, 120_000);

  it('is replayed to the very bytes that the live run said', async () => {
    expect(live.match(/"type":"attribution"/g)?.length).toBeGreaterThanOrEqual(CONNECTIONS);
    const { out, err, code } = await replay([at('case.pcapng')]);
    expect(out).toBe(live);
    expect([err, code]).toEqual(['', 0]);
  });

  it.each([
    ['from standard input', 1_000],
    ['in a gzip file', 0],
  ])('is replayed the same %s', async (_, piece) => {
    if (piece === 0) {
      writeFileSync(at('case.pcapng.gz'), gzipSync(bytes, { level: 1 }));
      expect((await replay([at('case.pcapng.gz')])).out).toBe(live);
      return;
    }
    const pieces = function* (): Generator<Buffer> {
      for (let from = 0; from < bytes.length; from += 50_000)
        yield bytes.subarray(from, from + 50_000);
    };
    expect((await replay(['-'], { stdin: Readable.from(pieces()) })).out).toBe(live);
  });

  it('is followed while it grows', async () => {
    const file = at('growing.pcapng');
    const parts = [0, 0.2, 0.5, 0.9, 1].map((part) => Math.floor(part * bytes.length));
    writeFileSync(file, bytes.subarray(0, parts[1]));
    const followed = replay([file, '--follow']);
    for (let i = 1; i < parts.length - 1; i++) {
      await new Promise((resolve) => setImmediate(resolve));
      appendFileSync(file, bytes.subarray(parts[i], parts[i + 1]));
    }
    expect((await followed).out).toBe(live);
  });

  it('is read by stock programs without a word, with names, comments and Pods', () => {
    const file = at('case.pcapng');
    const fields = ['frame.comment', 'ip.src_host', 'ip.dst_host', 'frame.interface_name'];
    const asked = [...fields, 'frame.interface_description', 'frame.len', 'frame.cap_len'];
    const options = ['-N', 'n', '-o', 'nameres.use_external_name_resolver:FALSE', '-T', 'fields'];
    const rows = stock('tshark', '-r', file, ...options, ...asked.flatMap((field) => ['-e', field]))
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t'));
    const said = new Map<string, Record<string, unknown>>();
    for (const line of live.trimEnd().split('\n')) {
      const event = JSON.parse(line) as Record<string, unknown>;
      if (event['type'] === 'close') said.set(String(event['connection']), event);
    }
    const commented = new Set<string>();
    let chains = 0;
    for (const [comment = '', source, destination] of rows) {
      const id = /^whichpod connection=(\w+) verdict=attributed /.exec(comment)?.[1];
      if (id === undefined) continue;
      commented.add(id);
      const { backend } = said.get(id) as { backend: { pod: { name: string; namespace: string } } };
      const pod = `${backend.pod.name}.${backend.pod.namespace}.pod`;
      expect(source).toBe('client.shop.pod');
      expect(['roll.shop.svc', pod]).toContain(destination);
      expect(comment).toContain(`backend=shop/${backend.pod.name}(`);
      expect(comment).toContain('service=shop/roll:http via=clusterIP');
      // Where the endpoints changed before the rules did there is no chain to tell of yet.
      if (/ chain=KUBE-SERVICES>KUBE-SVC-\w+>KUBE-SEP-\w+ probability=[\d.]+/.test(comment))
        chains++;
    }
    expect(chains).toBeGreaterThan(CONNECTIONS / 2);
    expect(commented.size).toBeGreaterThanOrEqual(CONNECTIONS * 0.99);
    const described = new Set(rows.map((row) => row[4] ?? '').filter((text) => text !== ''));
    expect(described).toContain('Pod client.shop (10.244.1.8)');
    // Both sides of a connection's translation are found by its id.
    const [id = ''] = commented;
    const both = stock('tshark', '-r', file, '-Y', `frame.comment contains "connection=${id}"`);
    expect(both.trimEnd().split('\n').length).toBeGreaterThanOrEqual(2);

    const info = stock('capinfos', '-M', file);
    expect(info).toMatch(new RegExp(`Number of packets: +${rows.length}\n`));
    expect(stock('tcpdump', '-nr', file).trimEnd().split('\n').length).toBe(rows.length);
  });

  it('keeps no payload: every TCP packet ends with its headers', () => {
    const lengths = stock(
      'tshark',
      '-r',
      at('case.pcapng'),
      '-Y',
      'ip && tcp && !icmp',
      '-T',
      'fields',
      '-e',
      'frame.cap_len',
      '-e',
      'tcp.hdr_len',
    );
    const lines = lengths.trimEnd().split('\n');
    expect(lines.length).toBeGreaterThan(CONNECTIONS);
    for (const line of lines) {
      const [captured, header] = line.split('\t').map(Number);
      expect(captured).toBe(14 + 20 + (header ?? 0));
    }
  });

  it('cut at any place gives the beginning of what the live run said, and a loss', async () => {
    const random = seeded(11);
    const cuts = Array.from(
      { length: 5 },
      () => 1_000 + Math.floor(random() * (bytes.length - 50_000)),
    );
    const all = live.split('\n');
    for (const cut of cuts) {
      writeFileSync(at('cut.pcapng'), bytes.subarray(0, cut));
      const { out, err, code } = await replay([at('cut.pcapng')]);
      const lines = out.trimEnd().split('\n');
      const loss = lines.findIndex((line) => line.includes('"type":"loss"'));
      expect([code, loss >= 0, err.includes('cut')]).toEqual([0, true, true]);
      expect(lines.slice(0, loss)).toEqual(all.slice(0, loss));
      expect(lines.at(-1)).toContain('"type":"summary"');
    }
  });
});
