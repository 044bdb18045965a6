import { closeSync, openSync, writeSync } from 'node:fs';

/** Written at once, so that neither one line is a system call nor the whole lies in memory. */
const PIECE = 1 << 20;

/** Writes a text piece by piece; blocks. */
export function writeTextFile(path: string, pieces: Iterable<string>): void {
  const file = openSync(path, 'w');
  try {
    let held = '';
    for (const piece of pieces) {
      held += piece;
      if (held.length < PIECE) continue;
      writeSync(file, held);
      held = '';
    }
    writeSync(file, held);
  } finally {
    closeSync(file);
  }
}
