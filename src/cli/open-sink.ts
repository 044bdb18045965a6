import { widen } from '../native/widen.js';
import { createSink } from '../sinks/create-sink.js';
import type { Sink, SinkOptions } from '../sinks/sink.js';
import type { OutputRequest } from './commands.js';
import type { Io } from './io.js';

/** The sink that the user asked for, on the process's streams. */
export async function openSink(
  request: Pick<OutputRequest, 'format' | 'colors' | 'verbose'>,
  io: Io,
  overflow: SinkOptions['overflow'],
): Promise<Sink> {
  widen(io.stdout);
  return await createSink(request.format, {
    stdout: io.stdout,
    stderr: io.stderr,
    terminal: io.terminal.stdout,
    columns: () => io.columns(),
    colors: {
      stdout: request.colors && io.terminal.stdout,
      stderr: request.colors && io.terminal.stderr,
    },
    verbose: request.verbose,
    overflow,
  });
}
