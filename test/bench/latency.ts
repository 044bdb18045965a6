import { execFileSync, spawn } from 'node:child_process';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ours } from './children.js';
import type { ChurnLab } from './churn-lab.js';
import { compiledProgram } from './compile.js';
import { type Context, programOf, settleMs } from './context.js';
import { Watched } from './watched.js';

/** By then V8 has compiled what it will compile. */
export const WARM_SECONDS = 3;

interface Shares {
  readonly p50: number;
  readonly p99: number;
}

/** From the kernel's time of the SYN to the arrival of the connection's first line at its reader, in µs. */
export interface Latencies extends Shares {
  readonly connections: number;
  /** Of connections that began after the first seconds; NaN if none did. */
  readonly warm: Shares;
}

/** Runs `live -o ndjson` into a pipe while traffic passes. The reader only notes when bytes came; they are read later. */
export async function measureLatency(
  context: Context,
  node: ChurnLab,
  traffic: () => Promise<unknown>,
): Promise<Latencies> {
  const fifo = join(context.scratch, 'lines.fifo');
  execFileSync('mkfifo', [fifo]);
  try {
    const reader = readerOf(fifo);
    // Whichever comes to an end first: that there is a reader, or the reader.
    const writer = await Promise.race([open(fifo, 'w'), reader.then(() => undefined)]);
    if (writer === undefined) throw new Error('the reader ended before there was anything to read');
    const args = ['live', '--objects', node.objects, '-o', 'ndjson'];
    const argv = [...node.lab.enter('node'), process.execPath, programOf(context), ...args];
    const watched = new Watched(argv, writer.fd);
    await writer.close();
    await watched.says(/^watching /m);
    await watched.during(traffic, settleMs(context));
    return latenciesOf(firstLines(await reader));
  } finally {
    await rm(fifo);
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

function sharesOf(lines: readonly FirstLine[]): Shares {
  const all = lines.map(({ latency }) => latency).sort((a, b) => a - b);
  const at = (share: number): number => all[Math.floor((all.length - 1) * share)] ?? Number.NaN;
  return { p50: at(0.5), p99: at(0.99) };
}

/** Bytes before each piece: when it came, and its length. */
const PIECE_HEADER_BYTES = 16;

function firstLines(told: Buffer): FirstLine[] {
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
      const event = JSON.parse(line) as { type: string; connection?: string; time?: string };
      const { type, connection = '', time = '' } = event;
      if (type !== 'attribution' || known.has(connection)) continue;
      known.add(connection);
      const began = microseconds(time);
      lines.push({ began, latency: came - began });
    }
  }
  return lines;
}

/** Of an RFC 3339 time in UTC with nanoseconds; a double is exact enough for microseconds. */
function microseconds(time: string): number {
  const [whole = '', fraction = '0Z'] = time.split('.');
  return Date.parse(`${whole}Z`) * 1000 + Number(fraction.slice(0, -1).padEnd(9, '0')) / 1000;
}
