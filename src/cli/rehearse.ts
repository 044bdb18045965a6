import { Writable } from 'node:stream';
import { Rehearsal } from '../pipeline/rehearsal.js';
import { createSink } from '../sinks/create-sink.js';
import type { OutputRequest } from './commands.js';

/** After so many V8 has compiled what it will compile. */
const CONNECTIONS = 2_500;
/** At a time, so that what happens meanwhile is not kept waiting. */
const SLICE_MS = 3;

/** Plays a rehearsal in the event loop's free time, its output thrown away. Call what it gives back to end it. */
export function rehearse(format: OutputRequest['format']): () => void {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const sink = createSink(format, {
    stdout: nowhere,
    stderr: nowhere,
    terminal: false,
    columns: () => undefined,
    colors: { stdout: false, stderr: false },
    verbose: false,
    overflow: 'drop',
  });
  const rehearsal = new Rehearsal(format !== 'summary');
  let left = CONNECTIONS;
  const slice = (): void => {
    const until = performance.now() + SLICE_MS;
    while (left > 0 && performance.now() < until) {
      left--;
      sink.write(rehearsal.play());
    }
    if (left > 0) setImmediate(slice);
  };
  setImmediate(slice);
  return () => {
    left = 0;
  };
}
