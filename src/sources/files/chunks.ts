import { close, open, read, readSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { createGunzip } from 'node:zlib';
import type { Problem } from '../../model/problem.js';
import { codeOf, type InputFile, unreadable } from './expand.js';

const openFile = promisify(open);
const closeFile = promisify(close);

/** Read at once: large enough that a read costs little, small enough to stay in the cache until it is decoded. */
const CHUNK_BYTES = 512 * 1024;

/** After so many bytes other things have their turn (Ctrl-C, the progress bar): some milliseconds of decoding. */
const TURN_BYTES = 8 * 1024 * 1024;

/** Compressed bytes inflated at once. Deflate makes at most 1,032 of one: 66 MB, and as much of the piece before. */
const GZIP_PIECE_BYTES = 64 * 1024;

/** Given out at once: each takes a turn of another thread. As much is lost where the compression is damaged. */
const INFLATED_BYTES = 128 * 1024;

/** RFC 1952, 2.3.1: ID1, ID2, and deflate, the only method there is. */
const GZIP_MAGIC = [0x1f, 0x8b, 8];

/** What is read of an input to recognise it. */
const HEAD_BYTES = 64 * 1024;

/** The beginning of an input. */
export interface Head {
  /** At most HEAD_BYTES, uncompressed; less only if that is all there is. */
  readonly bytes: Uint8Array;
  /** These bytes are all there is. */
  readonly whole: boolean;
  /** What is wrong within the head: the file cannot be read further, the compression is damaged. */
  readonly problem?: Problem;
}

interface Begun {
  readonly head: Uint8Array;
  readonly rest: AsyncGenerator<Uint8Array>;
}

/**
 * The bytes of one input, uncompressed if they begin like gzip (RFC 1952). A file can be read as often
 * as wanted; a pipe only once, but its head can be looked at before.
 */
export class InputBytes {
  private readonly file: InputFile;
  private readonly stdin: AsyncIterable<Uint8Array> | undefined;
  /** Of a pipe: what was read to see its head, and the rest. */
  private begun: Begun | undefined;
  /** Whether it is compressed, once that was seen. */
  private gzip: boolean | undefined;
  private hear: ((chunk: Uint8Array) => void) | undefined;
  /** Raw bytes that were read so far by the last `chunks`. */
  readBytes = 0;

  constructor(file: InputFile, stdin?: AsyncIterable<Uint8Array>) {
    this.file = file;
    this.stdin = stdin;
  }

  /**
   * Reads as much as is needed to recognise the input; to be called once. Throws UsageError if it may
   * not be read.
   */
  async head(enough: (bytes: Uint8Array) => boolean = () => false): Promise<Head> {
    // Of a pipe a problem in the head comes up only once, but is told again when its chunks are read.
    const problems: Problem[] = [];
    let later: ((problem: Problem) => void) | undefined;
    const source = this.read((problem) =>
      later === undefined ? problems.push(problem) : later(problem),
    );
    const pieces: Uint8Array[] = [];
    let length = 0;
    let next = await source.next();
    for (; next.done !== true && length < HEAD_BYTES; next = await source.next()) {
      // A copy: a Buffer's slice would share the memory that the next read fills.
      pieces.push(new Uint8Array(next.value));
      length += next.value.length;
      if (length >= HEAD_BYTES) break;
      if (this.file.form !== 'file' && enough(concatenate(pieces))) break;
    }
    const all = concatenate(pieces);
    if (this.file.form === 'file') {
      await source.return(undefined);
    } else {
      this.begun = { head: all, rest: source };
      this.forward = (tell) => {
        later = tell;
        for (const problem of problems) tell(problem);
      };
    }
    const [problem] = problems;
    const whole = next.done === true && problem === undefined;
    return {
      bytes: all.subarray(0, HEAD_BYTES),
      whole,
      ...(problem === undefined ? {} : { problem }),
    };
  }

  private forward: (tell: (problem: Problem) => void) => void = () => {};

  /** Who keeps what is in a pipe: hears its uncompressed bytes as `chunks` gives them. */
  keep(hear: (chunk: Uint8Array) => void): void {
    this.hear = hear;
  }

  /**
   * All bytes in chunks; a chunk may be read only until the next is asked for. What goes wrong on the
   * way is told once and ends the chunks. The file is closed at the end or when the receiver stops.
   */
  chunks(onProblem: (problem: Problem) => void): AsyncGenerator<Uint8Array> {
    if (this.begun !== undefined) return this.resume(this.begun, onProblem);
    // A generator within a generator costs as much as reading does: what is known to be plain has none.
    return this.gzip === false ? this.raw(onProblem) : this.read(onProblem);
  }

  private async *resume(
    { head, rest }: Begun,
    onProblem: (problem: Problem) => void,
  ): AsyncGenerator<Uint8Array> {
    this.begun = undefined;
    this.hear?.(head);
    yield head;
    this.forward(onProblem);
    if (this.hear === undefined) {
      yield* rest;
      return;
    }
    for await (const chunk of rest) {
      this.hear(chunk);
      yield chunk;
    }
  }

  private async *read(onProblem: (problem: Problem) => void): AsyncGenerator<Uint8Array> {
    const raw = this.raw(onProblem);
    try {
      const first = await atLeast(raw, GZIP_MAGIC.length);
      const all = rejoin(first, raw);
      const gzip = GZIP_MAGIC.every((byte, i) => first[i] === byte);
      this.gzip = gzip;
      const { file } = this;
      const again = file.form === 'file' ? () => readFile(file) : undefined;
      yield* gzip ? inflate(all, again, onProblem) : all;
    } finally {
      // Who stops at the first chunk has not begun with the rest.
      await raw.return(undefined);
    }
  }

  private async *raw(tell: (problem: Problem) => void): AsyncGenerator<Uint8Array> {
    const { file } = this;
    this.readBytes = 0;
    const source = file.form === 'stdin' ? (this.stdin ?? []) : readFile(file);
    try {
      for await (const chunk of source) {
        this.readBytes += chunk.length;
        yield chunk;
      }
    } catch (error) {
      if (this.readBytes === 0) throw unreadable(file.name, codeOf(error));
      tell({
        code: 'file-read-failed',
        message: `reading failed (${codeOf(error)})`,
        where: { offset: this.readBytes },
        advice: 'what came before it counts; check the disk or the program that writes the pipe',
        fatal: true,
      });
    }
  }
}

/**
 * A file is read where its bytes are used: they are still in this core's cache then, and a hand-over to
 * another thread costs more than it saves. What is not a file may let us wait and is read beside.
 */
async function* readFile(file: InputFile): AsyncGenerator<Uint8Array> {
  const descriptor = await openFile(file.key, 'r');
  const isFile = file.form === 'file';
  try {
    const buffer = Buffer.allocUnsafeSlow(
      isFile ? Math.min(CHUNK_BYTES, file.size + 1) : CHUNK_BYTES,
    );
    let sinceTurn = 0;
    for (;;) {
      const count = isFile ? readSync(descriptor, buffer) : await readInto(descriptor, buffer);
      if (count === 0) return;
      yield buffer.subarray(0, count);
      sinceTurn += count;
      if (sinceTurn < TURN_BYTES) continue;
      sinceTurn = 0;
      await setImmediate();
    }
  } finally {
    await closeFile(descriptor);
  }
}

function readInto(descriptor: number, buffer: Buffer): Promise<number> {
  return new Promise((done, fail) => {
    read(descriptor, buffer, 0, buffer.length, null, (error, count) => {
      if (error) fail(error);
      else done(count);
    });
  });
}

/** The first chunk or, where it is shorter than `length`, the first few in one. */
async function atLeast(chunks: AsyncGenerator<Uint8Array>, length: number): Promise<Uint8Array> {
  let first: Uint8Array = new Uint8Array(0);
  while (first.length < length) {
    const next = await chunks.next();
    if (next.done === true) break;
    first = first.length === 0 ? next.value : concatenate([first, next.value]);
  }
  return first;
}

async function* rejoin(
  first: Uint8Array,
  rest: AsyncGenerator<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (first.length > 0) yield first;
  yield* rest;
}

/** What zlib's inflate says when all was read and only the checksum or length at the end differs. */
const WRONG_TRAILER = /^incorrect (?:data|length) check$/;

/**
 * Uncompresses; what can be is given out before damage or a missing end is told. Of the piece in which it
 * meets damage zlib keeps back the last it made. That is as well where the code itself is damaged, since
 * those bytes may be wrong already; where only the end does not fit (a wrong checksum tells not where),
 * they are read once more byte by byte, if the bytes can be had `again`.
 */
async function* inflate(
  raw: AsyncIterable<Uint8Array>,
  again: (() => AsyncIterable<Uint8Array>) | undefined,
  tell: (problem: Problem) => void,
): AsyncGenerator<Uint8Array> {
  const { failure, given, failedAt } = yield* inflatePieces(raw, () => GZIP_PIECE_BYTES);
  if (failure === undefined) return;
  const cut = codeOf(failure) === 'Z_BUF_ERROR';
  let place = given;
  if (again !== undefined && WRONG_TRAILER.test(failure.message)) {
    const size = (at: number): number => Math.min(GZIP_PIECE_BYTES, Math.max(1, failedAt - at));
    let passed = 0;
    for await (const chunk of inflatePieces(again(), size)) {
      const rest = chunk.subarray(Math.max(0, given - passed));
      passed += chunk.length;
      if (rest.length > 0) yield rest;
    }
    place = Math.max(given, passed);
  }
  const advice = 'copy or record the file again';
  tell({
    code: cut ? 'gzip-truncated' : 'gzip-damaged',
    message: cut ? 'the compressed file is cut off' : 'the compressed file is damaged',
    where: { offset: place },
    advice: place === 0 ? advice : `what came before it counts; ${advice}`,
    fatal: true,
  });
}

/** How uncompressing ended. */
interface Inflated {
  readonly failure: Error | undefined;
  /** Bytes that were given out. */
  readonly given: number;
  /** Where the compressed piece began that was being read last. */
  readonly failedAt: number;
}

/** Uncompresses piece by piece; `sizeAt` tells how long the piece at an offset is to be. */
async function* inflatePieces(
  raw: AsyncIterable<Uint8Array>,
  sizeAt: (offset: number) => number,
): AsyncGenerator<Uint8Array, Inflated> {
  const gunzip = createGunzip({ chunkSize: INFLATED_BYTES });
  let ready: Uint8Array[] = [];
  let failure: Error | undefined;
  let given = 0;
  let before = 0;
  let failedAt = 0;
  // Listening to `data` rather than iterating: an iterator drops what is ready when an error comes.
  gunzip.on('data', (chunk: Uint8Array) => ready.push(chunk));
  let wake = (): void => {};
  gunzip.on('error', (error) => {
    failure = error;
    // The callback of a write that fails does not come.
    wake();
  });
  // Comes before the input's end where something stands behind the compressed data (padding with zeros,
  // say), which is left alone as gzip does.
  let ended = false;
  gunzip.on('end', () => {
    ended = true;
    wake();
  });
  let earlier: Uint8Array[] = [];
  const taken = (): Uint8Array[] => {
    const chunks = ready;
    ready = [];
    for (const chunk of chunks) given += chunk.length;
    return chunks;
  };
  try {
    for await (const chunk of raw) {
      for (let at = 0; at < chunk.length && failure === undefined && !ended; ) {
        failedAt = before + at;
        const piece = chunk.subarray(at, at + sizeAt(failedAt));
        at += piece.length;
        const written = new Promise<void>((done) => {
          wake = done;
          gunzip.write(piece, () => done());
        });
        // What came of the piece before is used while another thread uncompresses this one.
        yield* earlier;
        await written;
        earlier = taken();
      }
      if (failure !== undefined || ended) break;
      before += chunk.length;
    }
    yield* earlier;
    if (failure === undefined && !ended) {
      await new Promise<void>((done) => {
        wake = done;
        gunzip.end();
      });
    }
    yield* taken();
  } finally {
    gunzip.destroy();
  }
  return { failure, given, failedAt };
}

/** All of an input, if it is not larger than `limit`; `undefined` if it is. */
export async function readWhole(
  bytes: InputBytes,
  limit: number,
  onProblem: (problem: Problem) => void,
): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of bytes.chunks(onProblem)) {
    length += chunk.length;
    if (length > limit) return undefined;
    pieces.push(new Uint8Array(chunk));
  }
  return concatenate(pieces);
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const [only] = pieces;
  if (only !== undefined && pieces.length === 1) return only;
  const whole = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}
