import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildProgram } from '../live/program.js';
import type { DatedReport, Measured, Row } from './report.js';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));
/** All parts together take some 15 s on two processors of which others want their share. */
const LIMIT_MS = 180_000;

const bench = (...args: readonly string[]) =>
  spawnSync(process.execPath, ['--import', 'tsx', MAIN, ...args], { encoding: 'utf8' });

let folder: string;
let reports: readonly DatedReport[];

beforeAll(() => {
  buildProgram();
  folder = mkdtempSync(join(tmpdir(), 'whichpod-bench-test-'));
  const file = join(folder, 'figures.json');
  const { status, stderr } = bench('--quick', '--json', file);
  if (status !== 0) throw new Error(stderr);
  reports = (JSON.parse(readFileSync(file, 'utf8')) as { reports: DatedReport[] }).reports;
}, LIMIT_MS);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Rows by their names; a part that gives others has lost or gained a target. */
const ROWS: Readonly<Record<string, readonly string[]>> = {
  replay: ['summary', 'ndjson', 'ndjson-tshark', 'memory'],
  formats: ['pcap', 'pcapng', 'big-endian, VLAN', 'SLL2, nanoseconds', 'pcapng-pcap'],
  scale: ['memory-0', 'memory-1', 'constant'],
  decode: ['decode'],
  live: [
    'cpu-200/s-0',
    'cpu-200/s-1',
    'cpu-200/s-2',
    'loss-200/s',
    'cpu-as fast as it goes-0',
    'cpu-as fast as it goes-1',
    'cpu-as fast as it goes-2',
    'loss-as fast as it goes',
    'latency-2000-p50-cold',
    'latency-2000-p99-cold',
  ],
  node: ['first', 'first-api', 'idle', 'resident'],
  record: ['bytes', 'cpu', 'loss'],
  annotate: ['rate', 'bytes'],
  conntrack: ['xml', 'events', 'listing-500'],
  rules: ['time', 'whole', 'memory', 'block', 'block-again'],
  explain: ['explain-20'],
  cluster: ['memory', 'block', 'block-again', 'block-changes', 'time'],
  memory: [
    'bytes-counted',
    'resident-counted',
    'bytes-described',
    'resident-described',
    'waves-counted',
    'waves-described',
  ],
  startup: ['help'],
};

const figures = (row: Row): readonly Measured[] =>
  row.peer === undefined ? [row.ours] : [row.ours, row.peer];

describe('npm run bench -- --quick', () => {
  it.for(Object.entries(ROWS))('measures every target of %s', ([part, ids], context) => {
    const report = reports.find((it) => it.part === part);
    const [skipped] = report?.skipped ?? [];
    if (skipped !== undefined && !process.env['CI']) context.skip(skipped);
    expect(report?.skipped).toEqual([]);
    expect(report?.rows.map((row) => row.id)).toEqual(ids);
    for (const row of report?.rows ?? []) {
      // What nobody lost is none; everything else took time, memory or packets.
      const least = row.id.startsWith('loss') ? 0 : Number.MIN_VALUE;
      for (const { what, figure } of figures(row)) {
        expect(figure.min, `${row.id}: ${what}`).toBeGreaterThanOrEqual(least);
        expect(figure.median, `${row.id}: ${what}`).toBeGreaterThanOrEqual(figure.min);
        expect(figure.max, `${row.id}: ${what}`).toBeGreaterThanOrEqual(figure.median);
        expect(figure.max, `${row.id}: ${what}`).toBeLessThan(Number.POSITIVE_INFINITY);
      }
    }
  });

  it('loses nothing at this little', () => {
    const rows = reports
      .filter(({ part }) => part === 'live' || part === 'record')
      .flatMap((report) => report.rows);
    const lost = rows.filter((row) => row.id.startsWith('loss'));
    for (const row of lost) expect(row.ours.figure.max, row.remark).toBe(0);
  });

  it('says where it was measured, with what, and passes no verdict', () => {
    expect(reports.map((it) => it.part)).toEqual(Object.keys(ROWS));
    for (const report of reports) {
      expect(report.machine).toMatch(/\d+ x .+, Linux .+, Node \d+\./);
      expect(report.command).toBe(`npm run bench -- ${report.part} --quick`);
      expect(report.rows.filter((row) => row.met !== undefined)).toEqual([]);
    }
  });
});

/** Command lines of all processes that have this in it. */
const processesWith = (text: string): string[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      } catch {
        return ''; // it has ended
      }
    })
    .filter((line) => line.includes(text));

describe('npm run bench interrupted', () => {
  it(
    'takes away what it generated, compiled and started',
    async () => {
      const scratch = join(folder, 'interrupted');
      const compiled = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url));
      const ours = (at: string) =>
        readdirSync(at).filter((name) => name.startsWith('whichpod-bench-'));
      mkdirSync(scratch);
      const before = ours(compiled);
      const child = spawn(
        process.execPath,
        ['--import', 'tsx', MAIN, 'rules', 'memory', '--quick', '--rounds', '50'],
        { env: { ...process.env, TMPDIR: scratch }, stdio: ['ignore', 'ignore', 'pipe'] },
      );
      const ended = once(child, 'close');
      // The first round is over, so a job was compiled.
      for await (const said of child.stderr.setEncoding('utf8')) {
        if (String(said).includes('rules to the index')) break;
      }
      expect(ours(scratch)).toHaveLength(1);
      expect(ours(compiled).length).toBeGreaterThan(before.length);
      // The job that runs has its input there.
      await expect.poll(() => processesWith(scratch).length).toBeGreaterThan(0);
      child.kill('SIGINT');
      expect(await ended).toEqual([130, null]);
      expect(ours(scratch)).toEqual([]);
      expect(ours(compiled)).toEqual(before);
      await expect.poll(() => processesWith(scratch)).toEqual([]);
    },
    LIMIT_MS,
  );
});

describe('npm run bench refuses', () => {
  it.each([
    ['a part that there is not', ['speed'], 'no benchmark speed'],
    ['words for numbers', ['replay', '--packets', 'many'], '--packets takes a number, not many'],
    ['too few packets', ['generate', '/tmp', '--packets', '7', '--connections', '1'], 'at least 8'],
    ['a folder that is not named', ['generate'], 'into which folder'],
    ['a format that there is not', ['generate', '/tmp', '--format', 'cap'], '--format is one of'],
  ])('%s', (_what, args, said) => {
    const { status, stderr } = bench(...args);
    expect(status).toBe(2);
    expect(stderr).toContain(said);
  });
});
