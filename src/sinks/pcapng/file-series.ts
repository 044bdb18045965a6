import { closeSync, fdatasyncSync, openSync, unlinkSync, writeSync } from 'node:fs';
import { basename, dirname, extname, join } from 'node:path';
import { PermissionError, UsageError } from '../../model/problem.js';

/** What a capture tells is not for everybody. */
const MODE = 0o600;
const DIGITS = 5;

/** Where the blocks of a recording go. What was given to `write` is with the system when it returns. */
export interface BlockTarget {
  /** Begins the next file. Throws UsageError or PermissionError. */
  begin(): void;
  write(bytes: Uint8Array): void;
  /** Ends the file. */
  close(): void;
}

/**
 * A file, or a series of them: `case.pcapng`, or `case-00001.pcapng`, `case-00002.pcapng` … of which the
 * last few are kept. Written without waiting for another thread, so that what was written is there
 * whatever becomes of this process.
 */
export class FileSeries implements BlockTarget {
  private readonly path: string;
  private readonly series: { readonly keep: number } | undefined;
  private readonly written: string[] = [];
  private count = 0;
  private open: { readonly name: string; readonly descriptor: number } | undefined;

  /** Without `series` there is one file, of this very name. */
  constructor(path: string, series: { readonly keep: number } | undefined) {
    this.path = path;
    this.series = series;
  }

  begin(): void {
    this.count++;
    const name = this.series === undefined ? this.path : this.numbered(this.count);
    try {
      this.open = { name, descriptor: openSync(name, 'w', MODE) };
    } catch (error) {
      throw failed(name, error);
    }
    this.written.push(name);
    while (this.series !== undefined && this.written.length > this.series.keep) {
      const oldest = this.written.shift();
      try {
        if (oldest !== undefined) unlinkSync(oldest);
      } catch {
        // Somebody took it away already.
      }
    }
  }

  write(bytes: Uint8Array): void {
    if (this.open === undefined) return;
    const { name, descriptor } = this.open;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
    } catch (error) {
      throw failed(name, error);
    }
  }

  close(): void {
    if (this.open === undefined) return;
    const { name, descriptor } = this.open;
    this.open = undefined;
    try {
      fdatasyncSync(descriptor);
    } catch (error) {
      // A pipe or a device cannot be synchronised.
      if (codeOf(error) !== 'EINVAL') throw failed(name, error);
    } finally {
      closeSync(descriptor);
    }
  }

  private numbered(count: number): string {
    const extension = extname(this.path);
    const stem = basename(this.path, extension);
    return join(
      dirname(this.path),
      `${stem}-${String(count).padStart(DIGITS, '0')}${extension || '.pcapng'}`,
    );
  }
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
}

/** One line: which file, why, what to do. */
function failed(name: string, error: unknown): Error {
  const code = codeOf(error);
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new UsageError(
        `cannot write ${name}: the disk is full; what is there can be replayed; make room, or bound it with --max-size and --max-files`,
        { cause: error },
      );
    case 'EFBIG':
      return new UsageError(
        `cannot write ${name}: it may not grow any larger; use --max-size for a series of files`,
        { cause: error },
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new PermissionError(
        `cannot write ${name}: ${code === 'EROFS' ? 'the file system is read-only' : 'permission denied'}; name a place that may be written`,
        { cause: error },
      );
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
      return new UsageError(`cannot write ${name}: no such folder, or it is one; check the path`, {
        cause: error,
      });
    default: {
      const why = error instanceof Error ? error.message : String(error);
      return new UsageError(
        `cannot write ${name}: ${why}; what is there can be replayed; check the disk`,
        { cause: error },
      );
    }
  }
}
