import { closeSync, openSync, readSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { attempt, writeAll } from './whole-file.js';

/** What a capture tells is not for everybody. */
const MODE = 0o600;
const CHUNK_BYTES = 512 * 1024;
let made = 0;

/**
 * Keeps what is read of a pipe, to be read once more: in a file that has no name any more, so that nothing is left
 * however this process ends. Throws UsageError or PermissionError, in one line.
 */
export class Spool {
  private readonly name: string;
  private readonly descriptor: number;
  private isOpen = true;

  constructor(folder: string) {
    this.name = join(folder, `.whichpod.${process.pid}.${made++}.part`);
    this.descriptor = attempt(this.name, () => {
      const descriptor = openSync(this.name, 'wx+', MODE);
      unlinkSync(this.name);
      return descriptor;
    });
  }

  /** Blocks until the system has it. */
  write(bytes: Uint8Array): void {
    attempt(this.name, () => writeAll(this.descriptor, bytes));
  }

  /** All that was written, from its beginning; a chunk may be read until the next is asked for. */
  async *chunks(): AsyncGenerator<Uint8Array> {
    const buffer = new Uint8Array(CHUNK_BYTES);
    for (let at = 0; ; ) {
      const length = readSync(this.descriptor, buffer, 0, buffer.length, at);
      if (length === 0) return;
      at += length;
      yield buffer.subarray(0, length);
    }
  }

  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    closeSync(this.descriptor);
  }
}
