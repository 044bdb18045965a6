import { tmpdir } from 'node:os';
import { Spool } from '../../sinks/pcapng/spool.js';
import { folderOf } from '../../sinks/pcapng/whole-file.js';
import type { Source } from '../../sources/files/streams.js';

/** Keeps captures that come out of pipes, to be read once more. To be closed, whatever happens. */
export class Pipes {
  private readonly folder: string;
  private readonly spools = new Map<string, Spool>();

  /** `path`: of the file to be written, beside which they are kept; `-`: there is none. */
  constructor(path: string) {
    this.folder = (path === '-' ? undefined : folderOf(path)) ?? tmpdir();
  }

  keep({ file, bytes }: Source): void {
    const spool = new Spool(this.folder);
    this.spools.set(file.key, spool);
    bytes.keep((chunk) => spool.write(chunk));
  }

  get(key: string): Spool | undefined {
    return this.spools.get(key);
  }

  close(): void {
    for (const spool of this.spools.values()) spool.close();
  }
}
