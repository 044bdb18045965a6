import { readFileSync } from 'node:fs';
import { CaptureReader } from '../../../src/decode/capture/reader.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { idiomaticRead } from './idiomatic.js';

interface DecodeJob {
  readonly capture: string;
  readonly rounds: number;
}

interface DecodeResult {
  /** Seconds of each pass over the whole file in memory. */
  readonly ours: readonly number[];
  readonly idiomatic: readonly number[];
  /** Packets that open or close a connection, as each reader counts them. */
  readonly rows: number;
  readonly idiomaticRows: number;
}

/** As replay reads files. */
const CHUNK = 1 << 18;

/** Passes over a capture that lies in memory, in turn; the first of each does not count. */
export function job({ capture, rounds }: DecodeJob): DecodeResult {
  const bytes = readFileSync(capture);
  const ours: number[] = [];
  const idiomatic: number[] = [];
  let rows = 0;
  let idiomaticRows = 0;
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now();
    rows = readAll(bytes);
    const between = performance.now();
    idiomaticRows = idiomaticRead(bytes);
    const end = performance.now();
    if (round === 0) continue;
    ours.push((between - start) / 1000);
    idiomatic.push((end - between) / 1000);
  }
  return { ours, idiomatic, rows, idiomaticRows };
}

function readAll(bytes: Buffer): number {
  const reader = new CaptureReader({ interfaces: new Interfaces() });
  let rows = 0;
  for (let at = 0; at < bytes.length; at += CHUNK) {
    reader.feed(bytes.subarray(at, at + CHUNK));
    rows += reader.rows.length;
    reader.rows.clear();
  }
  reader.end();
  return rows;
}
