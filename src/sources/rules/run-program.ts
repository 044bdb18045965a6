import { spawn } from 'node:child_process';

/** What a program wrote on stderr is kept up to here: enough for every warning, not for a flood. */
const MAX_STDERR = 65_536;

/**
 * What a program writes is handed on in one turn of the event loop for about so long: as compiled code, reading
 * 256 KiB of rules takes 1 ms; the first 64 KiB, with code that has never run, take ten.
 */
const TURN_MS = 2;

export interface RunLimits {
  /** The program is killed when it has run this long. */
  readonly timeoutMs: number;
  /** The program is killed when it has written more than this on stdout. */
  readonly maxBytes: number;
  /** The program is killed when this is aborted. */
  readonly signal: AbortSignal;
}

export interface RunResult {
  /** `ran`: it ended by itself, with `code`. `failed`: it could not be started; `stderr` says why. */
  readonly end: 'ran' | 'missing' | 'failed' | 'timeout' | 'too-much' | 'aborted';
  readonly code: number;
  readonly stderr: string;
}

/**
 * Runs a program to its end and hands on what it writes on stdout as it comes; never rejects. Nothing
 * is given to it on stdin. It is gone when the promise resolves.
 */
export function runProgram(
  command: readonly string[],
  limits: RunLimits,
  onChunk: (chunk: Uint8Array) => void,
): Promise<RunResult> {
  return new Promise((resolve) => {
    const { signal } = limits;
    if (signal.aborted) {
      resolve({ end: 'aborted', code: -1, stderr: '' });
      return;
    }
    const [program = '', ...args] = command;
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let end: RunResult['end'] = 'ran';
    let stderr = '';
    let bytes = 0;
    let turnBegan = performance.now();
    const kill = (why: RunResult['end']): void => {
      if (end === 'ran') end = why;
      child.kill('SIGKILL');
      // A grandchild may hold the pipes open; nobody waits for it.
      child.stdout.destroy();
      child.stderr.destroy();
    };
    const onAbort = (): void => kill('aborted');
    const timer = setTimeout(() => kill('timeout'), limits.timeoutMs);
    signal.addEventListener('abort', onAbort);

    child.stdout.on('data', (chunk: Uint8Array) => {
      if (end !== 'ran') return;
      bytes += chunk.length;
      if (bytes > limits.maxBytes) {
        kill('too-much');
        return;
      }
      onChunk(chunk);
      if (performance.now() - turnBegan < TURN_MS) return;
      // A fast program would else keep its pipe full, and the event loop with it.
      child.stdout.pause();
      setImmediate(() => {
        turnBegan = performance.now();
        child.stdout.resume();
      });
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      if (stderr.length < MAX_STDERR) stderr += text.slice(0, MAX_STDERR - stderr.length);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      end = error.code === 'ENOENT' ? 'missing' : 'failed';
      stderr = error.message;
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      resolve({ end, code: code ?? -1, stderr });
    });
  });
}
