#!/usr/bin/env node
import { EXIT, explainError } from './cli/exit.js';
import { interruption } from './cli/interruption.js';
import type { Io } from './cli/io.js';
import { commands } from './cli/load.js';
import { runCli } from './cli/program.js';

function processIo(): Io {
  const { stdout, stderr } = process;
  // A reader that left is no error, and a sink notices it by itself; without a listener it would be a crash.
  stdout.on('error', () => undefined);
  stderr.on('error', () => undefined);
  return {
    stdout,
    stderr,
    // Asking for it opens it.
    get stdin() {
      return process.stdin;
    },
    terminal: { stdout: stdout.isTTY === true, stderr: stderr.isTTY === true },
    // Some terminals say 0 when they do not know.
    columns: () => (stdout.isTTY && stdout.columns > 0 ? stdout.columns : undefined),
    env: process.env,
    platform: process.platform,
    uid: process.geteuid?.(),
    signal: interruption(process, () => process.exit(EXIT.interrupted), Date.now),
    onExit: (undo) => process.once('exit', undo),
    now: () => BigInt(Date.now()) * 1_000_000n,
  };
}

const flushed = (stream: NodeJS.WriteStream): Promise<void> =>
  new Promise((resolve) => {
    stream.write('', () => resolve());
  });

process.on('uncaughtException', (error) => {
  process.stderr.write(`whichpod: ${explainError(error, process.argv.includes('-v')).text}\n`);
  process.exit(EXIT.fault);
});

// Node ends with 13, and says nothing, when what is awaited here never comes.
process.on('exit', (code) => {
  if (code !== 13) return;
  process.stderr.write('whichpod: ended before it was done (this is a fault in whichpod)\n');
  process.exitCode = EXIT.fault;
});

process.exitCode = await runCli(process.argv.slice(2), processIo(), commands);
await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
// Whatever a library still keeps open must not keep the process.
process.exit();
