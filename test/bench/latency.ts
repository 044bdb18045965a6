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

export interface Shares {
  readonly p50: number;
  readonly p99: number;
}

/** From the client's call of connect to the arrival of the connection's first line at its reader, in µs. */
export interface Latencies {
  /** Of the traffic that a program sees that has just begun. */
  readonly cold: Shares;
  /** Of the last traffic; NaN without one. */
  readonly warm: Shares;
}

/** Traffic that notes its beginnings in a folder. */
type Traffic = (times: string) => Promise<unknown>;

/**
 * Runs `live -o ndjson` into a pipe while traffic passes: some for it when it has just begun, then some that does not
 * count, for V8 to compile what it will compile, then some more. The reader only notes when bytes came; all is
 * read later.
 */
export async function measureLatency(
  context: Context,
  node: ChurnLab,
  { cold, between, warm }: { cold: Traffic; between?: Traffic; warm?: Traffic },
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
    let coldUntil = Number.POSITIVE_INFINITY;
    let warmFrom = Number.POSITIVE_INFINITY;
    await watched.during(async () => {
      await cold(times);
      coldUntil = Date.now() * 1000;
      await between?.(times);
      warmFrom = Date.now() * 1000;
      await warm?.(times);
    }, settleMs(context));
    if (watched.exitCode !== EXIT_INTERRUPTED) {
      throw new Error(`live ended with ${watched.exitCode}: ${watched.said.stderr}`);
    }
    const begun = await beginnings(times);
    const lines = firstLines(await reader, begun.byClient);
    if (lines.length !== begun.count) {
      throw new Error(`${begun.count} connections began, ${lines.length} were told of`);
    }
    return {
      cold: sharesOf(lines.filter(({ began }) => began < coldUntil)),
      warm: sharesOf(lines.filter(({ began }) => began >= warmFrom)),
    };
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
