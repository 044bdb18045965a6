import {
  closeSync,
  openSync,
  realpathSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { PermissionError, UsageError } from '../../model/problem.js';

/** What a capture tells is not for everybody. */
const MODE = 0o600;

/**
 * A file that is there as a whole or not at all: written under another name beside its own, which it gets at the
 * end. (What is no regular file, a pipe or a device, is written as it is.) Throws UsageError or PermissionError, in
 * one line.
 */
export class WholeFile {
  private readonly path: string;
  /** What is written, which is not there yet under its own name; absent: written as it is. */
  private readonly beside: { readonly name: string; readonly final: string } | undefined;
  private readonly descriptor: number;
  private over = false;

  constructor(path: string) {
    this.path = path;
    const stats = statOf(path);
    if (stats !== undefined && !stats.isFile()) {
      this.descriptor = attempt(path, () => openSync(path, 'w'));
      return;
    }
    // A link goes on to lead to the file.
    const final = stats === undefined ? path : attempt(path, () => realpathSync(path));
    const name = join(dirname(final), `.${basename(final)}.${process.pid}.part`);
    this.beside = { name, final };
    this.descriptor = attempt(path, () => openSync(name, 'w', MODE));
  }

  /** Blocks until the system has it. */
  write(bytes: Uint8Array): void {
    attempt(this.path, () => writeAll(this.descriptor, bytes));
  }

  /** Ends it; then it is there. */
  finish(): void {
    const { beside, descriptor } = this;
    attempt(this.path, () => {
      closeSync(descriptor);
      if (beside !== undefined) renameSync(beside.name, beside.final);
    });
    this.over = true;
  }

  /** Takes away what was not finished. */
  discard(): void {
    if (this.over) return;
    this.over = true;
    for (const undo of [
      () => closeSync(this.descriptor),
      () => this.beside !== undefined && unlinkSync(this.beside.name),
    ]) {
      try {
        undo();
      } catch {
        // Closed or gone already.
      }
    }
  }
}

/** Blocks until the system has all of it. */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at);
}

/** Does something with a file; what goes wrong is thrown as UsageError or PermissionError. */
export function attempt<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw failed(path, error);
  }
}

/** Where there is room for as much as a file holds: beside it; `undefined` if it is no regular one. */
export function folderOf(path: string): string | undefined {
  const stats = statOf(path);
  return stats === undefined || stats.isFile() ? dirname(path) : undefined;
}

/** Whether a path leads to one of some files, under whatever name. */
export function isOneOf(path: string, others: readonly string[]): string | undefined {
  const own = statOf(path);
  if (own === undefined) return undefined;
  return others.find((other) => {
    const its = statOf(other);
    return its !== undefined && its.dev === own.dev && its.ino === own.ino;
  });
}

/** `undefined` if there is nothing, or nothing that may be seen: opening it will tell. */
function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

function failed(path: string, error: unknown): Error {
  const code =
    typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : '';
  const options = { cause: error };
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
    case 'EFBIG': {
      const why = code === 'EFBIG' ? 'it may not grow so large' : 'the disk is full';
      const advice = 'nothing was left there; make room, or name another place';
      return new UsageError(`cannot write ${path}: ${why}; ${advice}`, options);
    }
    case 'EACCES':
    case 'EPERM':
    case 'EROFS': {
      const why = code === 'EROFS' ? 'the file system is read-only' : 'permission denied';
      const advice = 'name a place that may be written';
      return new PermissionError(`cannot write ${path}: ${why}; ${advice}`, options);
    }
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
      return new UsageError(
        `cannot write ${path}: no such folder, or it is one; check the path`,
        options,
      );
    default: {
      const why = error instanceof Error ? error.message : String(error);
      return new UsageError(`cannot write ${path}: ${why}; check the disk`, options);
    }
  }
}
