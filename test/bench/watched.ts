import { type ChildProcess, spawn } from 'node:child_process';
import { ours } from './children.js';
import { pause } from './context.js';
import { cpuSecondsOf, peakMegabytesOf, residentMegabytesOf } from './proc.js';
import { cleanEnvironment } from './program.js';

/** What a program used while something happened, and has in memory at its end. */
interface Used {
  readonly cpuSeconds: number;
  readonly peakMegabytes: number;
  readonly residentMegabytes: number;
}

/** A running program with what it says: on stderr, and on stdout if that is a pipe. */
export class Watched {
  readonly said = { stdout: '', stderr: '' };
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;
  private over = false;
  /** Once it has ended, unless by a signal. */
  exitCode: number | null = null;

  constructor(argv: readonly string[], stdout: number | 'ignore' | 'pipe' = 'ignore') {
    const [program = '', ...args] = argv;
    this.child = ours(
      spawn(program, args, { stdio: ['ignore', stdout, 'pipe'], env: cleanEnvironment() }),
    );
    for (const stream of ['stdout', 'stderr'] as const) {
      this.child[stream]?.on('data', (piece: Buffer) => {
        this.said[stream] += piece.toString();
      });
    }
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject).once('close', (code) => {
        this.over = true;
        this.exitCode = code;
        resolve();
      });
    });
    // Told by whoever waits for it.
    this.ended.catch(() => undefined);
  }

  /** Resolves when it has said this; rejects if it ends without. */
  async says(what: RegExp, stream: 'stdout' | 'stderr' = 'stderr'): Promise<void> {
    while (!what.test(this.said[stream])) {
      this.check();
      const more = new Promise((resolve) => this.child[stream]?.once('data', resolve));
      await Promise.race([more, this.ended]);
    }
  }

  /** CPU and memory over the traffic, measured from outside; then it is interrupted, and has ended. */
  async during(traffic: () => Promise<unknown>, settle: number): Promise<Used> {
    const pid = this.child.pid ?? 0;
    try {
      this.check();
      const before = cpuSecondsOf(pid);
      await traffic();
      await pause(settle);
      this.check();
      return {
        cpuSeconds: cpuSecondsOf(pid) - before,
        peakMegabytes: peakMegabytesOf(pid),
        residentMegabytes: residentMegabytesOf(pid),
      };
    } finally {
      await this.interrupt();
    }
  }

  async interrupt(): Promise<void> {
    this.child.kill('SIGINT');
    await this.ended;
  }

  private check(): void {
    if (!this.over) return;
    throw new Error(`${this.child.spawnargs.join(' ')}: it ended: ${this.said.stderr}`);
  }
}
