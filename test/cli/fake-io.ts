import { Readable } from 'node:stream';
import type { Commands } from '../../src/cli/commands.js';
import type { Io } from '../../src/cli/io.js';
import { Collector } from '../sinks/collector.js';

export interface FakeIo extends Io {
  readonly stdout: Collector;
  readonly stderr: Collector;
  readonly interrupt: () => void;
}

/** A world of our own: streams that are kept, no terminal, an empty environment, a clock that stands still. */
export function fakeIo(change: Partial<Io> = {}): FakeIo {
  const controller = new AbortController();
  return {
    stdin: Readable.from([]),
    terminal: { stdout: false, stderr: false },
    columns: () => undefined,
    env: {},
    platform: 'linux',
    uid: 0,
    signal: controller.signal,
    onExit: () => undefined,
    now: () => 0n,
    ...change,
    stdout: new Collector(),
    stderr: new Collector(),
    interrupt: () => controller.abort(),
  };
}

/** Commands that fail loudly unless the test gives them something to do. */
export function fakeCommands(given: Partial<Commands> = {}): Commands {
  const unexpected = (name: string) => () => Promise.reject(new Error(`${name} was not expected`));
  return {
    live: unexpected('live'),
    replay: unexpected('replay'),
    demo: unexpected('demo'),
    ...given,
  };
}
