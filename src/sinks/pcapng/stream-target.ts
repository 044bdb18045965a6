import type { Writable } from 'node:stream';
import { UsageError } from '../../model/problem.js';
import type { BlockTarget } from './file-series.js';

/** What may wait for a slow reader: some seconds of a busy node. A sequence with a hole is worth nothing. */
const MAX_WAITING_BYTES = 64 * 1024 * 1024;

/** A recording into a pipe. Aborts `closed` when the reader has gone. */
export class StreamTarget implements BlockTarget {
  readonly closed: AbortSignal;
  private readonly stream: Writable;

  constructor(stream: Writable) {
    this.stream = stream;
    const gone = new AbortController();
    this.closed = gone.signal;
    stream.on('error', () => gone.abort());
    stream.on('close', () => gone.abort());
  }

  begin(): void {
    // The reader's part begins where the pipe does.
  }

  write(bytes: Uint8Array): void {
    if (this.closed.aborted) return;
    if (this.stream.writableLength > MAX_WAITING_BYTES) {
      throw new UsageError(
        'the recording is read too slowly from its pipe: record into a file, or give the reader a faster way',
      );
    }
    // The memory is used again, and the stream keeps what it is given.
    this.stream.write(bytes.slice());
  }

  close(): void {
    // It is the process's own.
  }
}
