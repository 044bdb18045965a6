import { spawn } from 'node:child_process';
import { ours } from './children.js';
import { cpuSecondsOfChildren, peakMegabytesOf } from './proc.js';

/** How often a running program's peak memory is read: it only grows, so at most its last moment is missed. */
const LOOK_EVERY_MS = 10;

/** Longer than any run here takes. */
const LIMIT_MS = 600_000;

export interface ProgramRun {
  readonly seconds: number;
  /** User and system time of the program and what it waited for. */
  readonly cpuSeconds: number;
  readonly peakMegabytes: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ProgramOptions {
  /** stdout goes to /dev/null instead of being kept. */
  readonly discard?: boolean;
  readonly stdinFile?: number;
}

/**
 * Runs a program to its end, measured from outside, so that a peer is measured as we are. Only one at a
 * time: CPU is what all ended children used. Rejects unless it exits with 0.
 */
export function measureProgram(
  argv: readonly string[],
  options: ProgramOptions = {},
): Promise<ProgramRun> {
  const [program = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const cpuBefore = cpuSecondsOfChildren();
    const start = performance.now();
    const child = ours(
      spawn(program, args, {
        stdio: [options.stdinFile ?? 'ignore', options.discard ? 'ignore' : 'pipe', 'pipe'],
        env: cleanEnvironment(),
        timeout: LIMIT_MS,
      }),
    );
    let peak = 0;
    const look = (): void => {
      peak = Math.max(peak, peakMegabytesOf(child.pid));
    };
    look(); // it may be over before the timer comes round
    const timer = setInterval(look, LOOK_EVERY_MS);
    let end = start;
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout?.on('data', (piece: Buffer) => stdout.push(piece));
    child.stderr?.on('data', (piece: Buffer) => stderr.push(piece));
    child.once('error', reject);
    child.once('exit', () => {
      end = performance.now();
      clearInterval(timer);
    });
    child.once('close', (code, signal) => {
      const said = Buffer.concat(stderr).toString();
      if (code !== 0) {
        reject(new Error(`${argv.join(' ')}: ended with ${code ?? signal}: ${said.trim()}`));
        return;
      }
      resolve({
        seconds: (end - start) / 1000,
        cpuSeconds: cpuSecondsOfChildren() - cpuBefore,
        peakMegabytes: peak,
        stdout: Buffer.concat(stdout).toString(),
        stderr: said,
      });
    });
  });
}

/** Without NODE_OPTIONS, which would load this process's hooks into every program. */
export function cleanEnvironment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...rest } = process.env;
  return rest;
}
