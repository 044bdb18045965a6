import type { LiveRequest, RecordRequest } from '../commands.js';
import type { Io } from '../io.js';
import { run as live } from '../live/live.js';

/**
 * `whichpod record`: a live run that shows nothing but its summary, on stderr, and writes itself down.
 */
export async function run(
  request: LiveRequest & { readonly record: RecordRequest },
  io: Io,
): Promise<number> {
  const { stderr, terminal } = io;
  return live(request, {
    ...io,
    stdin: io.stdin,
    // Its results are the recording; what is said goes where it cannot get into it.
    stdout: stderr,
    recording: io.stdout,
    terminal: { stdout: terminal.stderr, stderr: terminal.stderr },
  });
}
