import { spawn } from 'node:child_process';
import { ours } from './children.js';
import type { ChurnLab } from './churn-lab.js';
import { type Context, pause, programOf, settleMs } from './context.js';
import { cleanEnvironment } from './program.js';
import { wallClockOffset } from './wall-clock.js';

/** SIGINT is how it is ended. */
const EXIT_INTERRUPTED = 130;

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
  const args = ['live', '--objects', node.objects, '-o', 'ndjson'];
  const [program = '', ...rest] = [
    ...node.lab.enter('node'),
    process.execPath,
    programOf(context),
    ...args,
  ];
  const child = ours(
    spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: cleanEnvironment() }),
  );
  const pieces: { readonly at: number; readonly bytes: Buffer }[] = [];
  child.stdout.on('data', (bytes: Buffer) => pieces.push({ at: performance.now(), bytes }));
  let said = '';
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject).once('close', resolve);
  });
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (piece: Buffer) => {
      said += piece.toString();
      if (/^watching /m.test(said)) resolve();
    });
    ended.then(() => reject(new Error(`live ended: ${said}`)), reject);
  });
  const offsetBefore = wallClockOffset();
  let code: number | null;
  try {
    await traffic();
    await pause(settleMs(context));
  } finally {
    child.kill('SIGINT');
    code = await ended;
  }
  if (code !== EXIT_INTERRUPTED) throw new Error(`live ended with ${code}: ${said}`);
  // The clock may be slewed meanwhile.
  const offset = (offsetBefore + wallClockOffset()) / 2;
  const all = firstLines(pieces, offset);
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

function firstLines(
  pieces: readonly { readonly at: number; readonly bytes: Buffer }[],
  offset: number,
): FirstLine[] {
  const told = new Set<string>();
  const lines: FirstLine[] = [];
  let rest = '';
  for (const { at, bytes } of pieces) {
    const whole = (rest + bytes.toString()).split('\n');
    rest = whole.pop() ?? '';
    for (const line of whole) {
      const event = JSON.parse(line) as { type: string; connection?: string; time?: string };
      const { type, connection = '', time = '' } = event;
      if (type !== 'attribution' || told.has(connection)) continue;
      told.add(connection);
      const began = microseconds(time);
      lines.push({ began, latency: (at + offset) * 1000 - began });
    }
  }
  return lines;
}

/** Of an RFC 3339 time in UTC with nanoseconds; a double is exact enough for microseconds. */
function microseconds(time: string): number {
  const [whole = '', fraction = '0Z'] = time.split('.');
  return Date.parse(`${whole}Z`) * 1000 + Number(fraction.slice(0, -1).padEnd(9, '0')) / 1000;
}
