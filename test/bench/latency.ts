import { execFileSync, spawn } from 'node:child_process';
import { mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ours } from './children.js';
import type { ChurnLab } from './churn-lab.js';
import { compiledProgram } from './compile.js';
import { type Context, programOf, settleMs } from './context.js';
import { Watched } from './watched.js';

/** SIGINT is how it is ended. */
const EXIT_INTERRUPTED = 130;

/** By then V8 has compiled what it will compile. */
export const WARM_SECONDS = 3;

interface Shares {
  readonly p50: number;
  readonly p99: number;
}

/** From the client's call of connect to the arrival of the connection's first line at its reader, in µs. */
export interface Latencies extends Shares {
  readonly connections: number;
  /** Of connections that began after the first seconds; NaN if none did. */
  readonly warm: Shares;
}

/**
 * Runs `live -o ndjson` into a pipe while traffic passes, which notes its beginnings in a folder. The reader only
 * notes when bytes came; all is read later.
 */
export async function measureLatency(
  context: Context,
  node: ChurnLab,
  traffic: (times: string) => Promise<unknown>,
): Promise<Latencies> {
  const folder = await mkdtemp(join(context.scratch, 'latency-'));
  const fifo = join(folder, 'lines');
  const times = join(folder, 'times');
  execFileSync('mkfifo', [fifo]);
  await mkdir(times);
  try {
    // Opened for both, it waits for nobody: a thread that waits here could not be ended.
    const writer = await open(fifo, 'r+');
    const reader = readerOf(fifo);
    // Asked for at the end.
    reader.catch(() => undefined);
    const args = ['live', '--objects', node.objects, '-o', 'ndjson'];
    const argv = [...node.lab.enter('node'), process.execPath, programOf(context), ...args];
    const watched = new Watched(argv, writer.fd);
    await writer.close();
    await watched.says(/^watching /m);
    await watched.during(() => traffic(times), settleMs(context));
    if (watched.exitCode !== EXIT_INTERRUPTED) {
      throw new Error(`live ended with ${watched.exitCode}: ${watched.said.stderr}`);
    }
    const begun = await beginnings(times);
    const lines = firstLines(await reader, begun.byClient);
    if (lines.length !== begun.count) {
      throw new Error(`${begun.count} connections began, ${lines.length} were told of`);
    }
    return latenciesOf(lines);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** A program that reads a FIFO to its end; what it tells of it (see churn/reader.cc). */
function readerOf(fifo: string): Promise<Buffer> {
  const child = ours(
    spawn(compiledProgram('reader'), [fifo], { stdio: ['ignore', 'pipe', 'inherit'] }),
  );
  const told: Buffer[] = [];
  child.stdout.on('data', (bytes: Buffer) => told.push(bytes));
  return new Promise((resolve, reject) => {
    child.once('error', reject).once('close', (code) => {
      if (code === 0) resolve(Buffer.concat(told));
      else reject(new Error(`the reader of the lines ended with ${code}`));
    });
  });
}

function latenciesOf(all: readonly FirstLine[]): Latencies {
  const begin = all.reduce((least, { began }) => Math.min(least, began), Number.POSITIVE_INFINITY);
  const warm = all.filter(({ began }) => began - begin > WARM_SECONDS * 1e6);
  return { connections: all.length, ...sharesOf(all), warm: sharesOf(warm) };
}

/** In µs. */
interface FirstLine {
  /** On the wall. */
  readonly began: number;
  readonly latency: number;
}

/** When connections from an address and port began, in µs on the wall, in their order. */
type Beginnings = ReadonlyMap<string, readonly number[]>;

const BEGINNING_BYTES = 16;

/** What the clients wrote (see churn/churn.cc), one file for each of their addresses. */
async function beginnings(
  folder: string,
): Promise<{ readonly byClient: Beginnings; readonly count: number }> {
  const byClient = new Map<string, number[]>();
  let count = 0;
  for (const address of await readdir(folder)) {
    const told = await readFile(join(folder, address));
    for (let at = 0; at < told.length; at += BEGINNING_BYTES) {
      const client = `${address} ${told.readBigInt64LE(at + 8)}`;
      const began = Number(told.readBigInt64LE(at)) / 1000;
      const known = byClient.get(client);
      if (known === undefined) byClient.set(client, [began]);
      else known.push(began);
      count++;
    }
  }
  return { byClient, count };
}

function sharesOf(lines: readonly FirstLine[]): Shares {
  const all = lines.map(({ latency }) => latency).sort((a, b) => a - b);
  const at = (share: number): number => all[Math.floor((all.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Bytes before each piece: when it came, and its length. */
const PIECE_HEADER_BYTES = 16;

interface Line {
  readonly type: string;
  readonly connection?: string;
  readonly time?: string;
  readonly client?: { readonly ip: string; readonly port: number };
}

/** What a double of µs since 1970 may be off. */
const CLOCK_SLACK_US = 1;

function firstLines(told: Buffer, begun: Beginnings): FirstLine[] {
  const known = new Set<string>();
  const lines: FirstLine[] = [];
  let rest = '';
  for (let at = 0; at < told.length; ) {
    const came = Number(told.readBigUInt64LE(at)) / 1000;
    const length = Number(told.readBigUInt64LE(at + 8));
    const begin = at + PIECE_HEADER_BYTES;
    at = begin + length;
    const whole = (rest + told.toString('latin1', begin, at)).split('\n');
    rest = whole.pop() ?? '';
    for (const line of whole) {
      const { type, connection = '', time = '', client } = JSON.parse(line) as Line;
      if (type !== 'attribution' || known.has(connection)) continue;
      known.add(connection);
      // Its time is of its SYN, or of conntrack's report: behind its beginning, before its port's next use.
      const until = microseconds(time) + CLOCK_SLACK_US;
      const began = begun.get(`${client?.ip} ${client?.port}`)?.findLast((one) => one <= until);
      if (began === undefined) throw new Error(`no client began ${line}`);
      lines.push({ began, latency: came - began });
    }
  }
  return lines;
}

/** Of an RFC 3339 time in UTC with nanoseconds. */
function microseconds(time: string): number {
  const [whole = '', fraction = '0Z'] = time.split('.');
  return Date.parse(`${whole}Z`) * 1000 + Number(fraction.slice(0, -1).padEnd(9, '0')) / 1000;
}
