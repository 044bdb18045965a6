import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

/** How long a program may take to end when it is asked to, before it is killed. */
const GRACE_MS = 1000;

export interface Finished {
  /** Exit code; -1 when a signal ended it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export type Child = ChildProcessByStdio<Writable, Readable, Readable>;

/** The programs that one lab started, so that it can end them, and only them. */
export class Processes {
  readonly #running = new Set<Child>();
  #ended = false;

  /** Throws once the lab was closed: what is still on its way to being built must not start anew. */
  start(argv: readonly string[], cwd?: string): Child {
    if (this.#ended) throw new Error('lab: it is closed');
    const [program = '', ...rest] = argv;
    const child = spawn(program, rest, {
      stdio: ['pipe', 'pipe', 'pipe'],
      env: environment(),
      // Not in the terminal's group: on Ctrl-C whoever has the lab ends it in order.
      detached: true,
      ...(cwd === undefined ? {} : { cwd }),
    });
    this.#running.add(child);
    const forget = (): void => {
      this.#running.delete(child);
    };
    child.once('close', forget).once('error', forget);
    child.stdin.on('error', () => undefined); // it ended before it read everything: its exit code tells
    return child;
  }

  /** Runs to the end; killed after `timeoutMs`. Rejects only if the program could not be started. */
  async run(argv: readonly string[], input = '', timeoutMs?: number): Promise<Finished> {
    const child = this.start(argv);
    const timer =
      timeoutMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (piece: Buffer) => stdout.push(piece));
    child.stderr.on('data', (piece: Buffer) => stderr.push(piece));
    child.stdin.end(input);
    return new Promise((resolve, reject) => {
      child.once('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      child.once('close', (code) => {
        clearTimeout(timer);
        resolve({
          code: code ?? -1,
          stdout: Buffer.concat(stdout).toString(),
          stderr: Buffer.concat(stderr).toString(),
        });
      });
    });
  }

  /** As `run`, but what does not exit with 0 is an error that shows what the program said. */
  async must(argv: readonly string[], input = ''): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv, input);
    if (code !== 0) throw new Error(`lab: ${argv.join(' ')} failed (${code}): ${stderr.trim()}`);
    return stdout;
  }

  /** Ends all of them, by force if need be, and waits until they are gone. */
  async end(): Promise<void> {
    this.#ended = true;
    await Promise.all([...this.#running].map((child) => endOne(child)));
  }

  /** Kills all of them without waiting. */
  kill(): void {
    this.#ended = true;
    for (const child of this.#running) child.kill('SIGKILL');
  }
}

function endOne(child: Child): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => child.kill('SIGKILL'), GRACE_MS);
    const over = (): void => {
      clearTimeout(timer);
      resolve();
    };
    child.once('close', over).once('error', over);
    child.kill('SIGTERM');
  });
}

/** Without NODE_OPTIONS, which would load the parent's hooks into every helper. */
function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _, ...rest } = process.env;
  return rest;
}
