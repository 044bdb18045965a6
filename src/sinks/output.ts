import type { Writable } from 'node:stream';
import { UsageError } from '../model/problem.js';

/**
 * How much written text may wait for a slow reader. 16 MiB is some 25,000 connections: seconds of a busy
 * node, and little beside the memory of the process.
 */
const MAX_PENDING_BYTES = 16 * 1024 * 1024;

/** What Node says when the reader of a pipe or socket has gone, or the stream was ended by its owner. */
const READER_LEFT = new Set([
  'EPIPE',
  'ECONNRESET',
  'ERR_STREAM_DESTROYED',
  'ERR_STREAM_WRITE_AFTER_END',
]);

/** A stream that somebody else owns, written to without ever waiting for it. */
export class Output {
  private readonly stream: Writable;
  private readonly isDescriptor: boolean;
  private readonly gone = new AbortController();
  private failure: Error | undefined;
  private overflowing = false;
  private readonly onRoom: () => void;

  /** `onRoom` is called when everything that was waiting has been read after the bound was exceeded. */
  constructor(stream: Writable, onRoom: () => void) {
    this.stream = stream;
    this.isDescriptor = 'fd' in stream && typeof stream.fd === 'number';
    this.onRoom = onRoom;
    stream.on('error', this.fail);
    stream.on('close', this.leave);
    stream.on('drain', this.drained);
    if (stream.destroyed || stream.writableEnded) this.gone.abort();
  }

  get closed(): AbortSignal {
    return this.gone.signal;
  }

  /** More than the bound waits; stays so until all of it was read, so that a gap has one beginning and one end. */
  get full(): boolean {
    if (!this.overflowing && this.stream.writableLength > MAX_PENDING_BYTES) {
      this.overflowing = true;
    }
    return this.overflowing;
  }

  /** Bytes are the stream's from then on, unless they are `handedOver`. */
  write(piece: string | Uint8Array): void {
    if (piece.length > 0 && !this.gone.signal.aborted) this.stream.write(piece);
  }

  /**
   * Whether the system has all that was written: at once with a file, a terminal, and a pipe that has room. Of
   * streams that are no descriptor nobody knows what they keep.
   */
  get handedOver(): boolean {
    return this.isDescriptor && this.stream.writableLength === 0;
  }

  /** A promise that resolves when the stream wants more, or `undefined` if it does now. */
  ready(): Promise<void> | undefined {
    if (this.gone.signal.aborted || !this.stream.writableNeedDrain) return undefined;
    return new Promise((resolve) => {
      const done = (): void => {
        this.stream.off('drain', done);
        this.gone.signal.removeEventListener('abort', done);
        resolve();
      };
      this.stream.on('drain', done);
      this.gone.signal.addEventListener('abort', done);
    });
  }

  /** Resolves when everything written has been handed to the system or nobody reads it any more. */
  async flush(): Promise<void> {
    if (!this.gone.signal.aborted) {
      await new Promise<void>((resolve) => {
        this.gone.signal.addEventListener('abort', () => resolve(), { once: true });
        this.stream.write('', () => resolve());
      });
    }
    if (this.failure) throw this.failure;
  }

  private readonly fail = (error: NodeJS.ErrnoException): void => {
    if (!READER_LEFT.has(error.code ?? '')) {
      this.failure ??= new UsageError(
        `cannot write the output: ${error.message}; free the disk or write somewhere else`,
        { cause: error },
      );
    }
    this.gone.abort();
  };

  private readonly leave = (): void => {
    this.gone.abort();
  };

  private readonly drained = (): void => {
    if (!this.overflowing) return;
    this.overflowing = false;
    this.onRoom();
  };
}
