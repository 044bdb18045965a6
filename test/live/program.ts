import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { EventLog } from '../support/event-log.js';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** The program as it is installed, compiled. */
const MAIN = join(ROOT, 'dist/main.js');

/** Compiles what these tests run if it is older than its source. One at a time: test files run side by side. */
export function buildProgram(): void {
  const isBuilt = '[ -e dist/main.js ] && [ -z "$(find src -type f -newer dist/main.js)" ]';
  // Types are checked elsewhere.
  const compile =
    '"$0" node_modules/typescript/bin/tsc -p tsconfig.build.json --noCheck && npm run --silent bundle';
  const { status, stdout } = spawnSync(
    'flock',
    [join(ROOT, 'src'), 'sh', '-c', `${isBuilt} || { ${compile}; }`, process.execPath],
    { cwd: ROOT, encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`the program does not compile: ${stdout}`);
}

/** One line of NDJSON as whichpod wrote it. */
export interface Said {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

const MARK = 'WHICHPOD_TEST_RUN';
let marks = 0;

/** Commands of the processes that came of a run and have not ended. */
export function processesOf(run: Whichpod): string[] {
  return readdirSync('/proc').flatMap((pid) => {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'latin1').split('\0');
      if (!environment.includes(`${MARK}=${run.mark}`)) return [];
      return [readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').slice(0, 200)];
    } catch {
      return []; // not a process, or it has ended
    }
  });
}

const started = new Set<Whichpod>();

/** For afterEach: kills what a failed test left. */
export async function endAll(): Promise<void> {
  await Promise.all([...started].map((run) => run.kill()));
}

/** A process of whichpod under test with its NDJSON. */
export class Whichpod {
  /** Each line of stdout; `text` where it was no JSON object. */
  readonly said = new EventLog<Said>();
  readonly ended: Promise<Ended>;
  readonly pid: number;
  /** In the environment of this process and all that come of it, and of nobody else. */
  readonly mark = `${process.pid}.${++marks}`;
  stderr = '';
  private readonly complaints = new EventLog<string>();
  private readonly child: ReturnType<typeof spawn>;
  private exited = false;

  /** `prefix` as of `lab.enter`; in a process group of its own, so that the group can be told apart. */
  constructor(args: readonly string[], prefix: readonly string[] = []) {
    const [command = '', ...rest] = [...prefix, process.execPath, MAIN, ...args];
    const child = spawn(command, rest, {
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      env: { ...process.env, [MARK]: this.mark },
    });
    this.child = child;
    this.pid = child.pid ?? -1;
    started.add(this);
    createInterface({ input: child.stdout }).on('line', (line) => this.said.push(parse(line)));
    createInterface({ input: child.stderr }).on('line', (line) => {
      this.stderr += `${line}\n`;
      this.complaints.push(line);
    });
    this.ended = new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => {
        this.exited = true;
        started.delete(this);
        const end = new Error(`whichpod ended (${code ?? signal}): ${this.stderr}`);
        this.said.fail(end);
        this.complaints.fail(end);
        resolve({ code, signal });
      });
    });
  }

  /** Resolves with the line of stderr that fits. */
  line(fits: RegExp): Promise<string> {
    return this.complaints.until((line) => fits.test(line));
  }

  /** Resolves when it watches. */
  watching(): Promise<string> {
    return this.line(/^watching /);
  }

  signal(name: NodeJS.Signals, whole: 'process' | 'group' = 'process'): void {
    if (!this.exited) process.kill(whole === 'group' ? -this.pid : this.pid, name);
  }

  /** The reader leaves, as `head` does. */
  closeStdout(): void {
    this.child.stdout?.destroy();
  }

  /** The reader stops reading, and goes on. What its pipe holds (64 KiB) is written all the same. */
  stopReading(): void {
    this.child.stdout?.pause();
  }
  readOn(): void {
    this.child.stdout?.resume();
  }

  async kill(): Promise<void> {
    this.signal('SIGKILL');
    await this.ended;
  }
}

function parse(line: string): Said {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && 'type' in value) return value as Said;
  } catch {
    // told by its type
  }
  return { type: 'text', line };
}
