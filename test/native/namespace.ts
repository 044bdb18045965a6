import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** Why tests on the real kernel cannot run here; `undefined` if they can. */
export function missingForKernelTests(programs: readonly string[] = []): string | undefined {
  if (process.platform !== 'linux') return 'not Linux';
  if (process.getuid?.() !== 0) return 'not root';
  for (const program of ['ip', ...programs]) {
    try {
      execFileSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' });
    } catch {
      return `no ${program}`;
    }
  }
  return undefined;
}

let made = 0;

/** A network namespace of the test's own, with lo up. `destroy` in a finally or afterAll. */
export class Namespace {
  readonly name = `wpt-${process.pid}-${++made}`;
  private readonly children: Child[] = [];

  constructor() {
    execFileSync('ip', ['netns', 'add', this.name]);
    this.ip('link set lo up');
  }

  ip(command: string): string {
    return execFileSync('ip', ['-n', this.name, ...command.split(' ')], { encoding: 'utf8' });
  }

  /** Runs a program in it to its end; its stdout. */
  run(program: string, args: readonly string[], input?: string): string {
    return execFileSync('ip', ['netns', 'exec', this.name, program, ...args], {
      encoding: 'utf8',
      ...(input !== undefined && { input }),
    });
  }

  /** Starts a Node script in it, which prints JSON lines. */
  start(script: string, args: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Child {
    // `env` begins behind ip: a preloaded library is for Node alone.
    const settings = Object.entries(env).map(([name, value]) => `${name}=${value ?? ''}`);
    const child = new Child(
      spawn(
        'ip',
        ['netns', 'exec', this.name, 'env', ...settings, process.execPath, script, ...args],
        { stdio: ['pipe', 'pipe', 'pipe'] },
      ),
    );
    this.children.push(child);
    return child;
  }

  /** Ends what was started in it and removes it. */
  async destroy(): Promise<void> {
    await Promise.all(this.children.map((child) => child.kill()));
    execFileSync('ip', ['netns', 'delete', this.name]);
  }
}

/** Two ends of a veth pair, one in each namespace; `a` has .1, `b` .2 of 10.99.0.0/24 and fd99::/64. */
export function join(a: Namespace, b: Namespace): void {
  a.ip(`link add wpa type veth peer name wpb netns ${b.name}`);
  // Duplicate address detection would send packets of its own and keep the addresses from use.
  a.ip('addr add 10.99.0.1/24 dev wpa');
  a.ip('addr add fd99::1/64 dev wpa nodad');
  b.ip('addr add 10.99.0.2/24 dev wpb');
  b.ip('addr add fd99::2/64 dev wpb nodad');
  a.ip('link set wpa up');
  b.ip('link set wpb up');
}

export type Line = Readonly<Record<string, unknown>>;

/** A child process that prints one JSON object a line. */
export class Child {
  readonly lines: Line[] = [];
  private readonly waiting: (() => void)[] = [];
  private stderr = '';
  private exit: { code: number | null; signal: NodeJS.Signals | null } | undefined;
  private readonly process: ChildProcess;

  constructor(child: ChildProcess) {
    this.process = child;
    if (child.stdout === null || child.stderr === null) throw new Error('no pipes');
    createInterface({ input: child.stdout }).on('line', (text) => {
      this.lines.push(JSON.parse(text) as Line);
      this.wake();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.stderr += text;
    });
    child.on('close', (code, signal) => {
      this.exit = { code, signal };
      this.wake();
    });
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  /** Waits until a line (or all of them together) satisfies; fails if the child ends before. */
  async until(satisfied: (lines: readonly Line[]) => boolean): Promise<void> {
    while (!satisfied(this.lines)) {
      if (this.exit !== undefined) {
        throw new Error(`ended (${this.exit.code ?? this.exit.signal}) before: ${this.stderr}`);
      }
      await new Promise<void>((resolve) => this.waiting.push(resolve));
    }
  }

  /** Waits for a line with this `type`. */
  async line(type: string): Promise<Line> {
    await this.until((lines) => lines.some((line) => line['type'] === type));
    return this.lines.find((line) => line['type'] === type) ?? {};
  }

  write(text: string): void {
    this.process.stdin?.write(text);
  }

  /** Closes its stdin, which asks it to end, and waits for that. */
  async finish(): Promise<{ code: number | null; signal: string | null; stderr: string }> {
    this.process.stdin?.end();
    if (this.exit === undefined) await once(this.process, 'close');
    return {
      code: this.exit?.code ?? null,
      signal: this.exit?.signal ?? null,
      stderr: this.stderr,
    };
  }

  async kill(): Promise<void> {
    if (this.exit !== undefined) return;
    this.process.kill('SIGKILL');
    await once(this.process, 'close');
  }

  private wake(): void {
    for (const resolve of this.waiting.splice(0)) resolve();
  }
}
