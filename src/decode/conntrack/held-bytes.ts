const LINE_FEED = 0x0a;
/** How much of a chunk is looked at in one go: large enough that going round costs nothing, and it stays in the cache. */
const PIECE_BYTES = 64 * 1024;

/**
 * The part of a stream that is being read: what is left of an unfinished item and the next piece of the
 * input, in one buffer of fixed size. It knows the offset and the line of its first byte.
 */
export class HeldBytes {
  readonly bytes: Uint8Array;
  /** Bytes that count. */
  length = 0;
  /** Offset of the first byte in the stream. */
  offset = 0;
  private line = 1;
  /** The same bytes four at a time. */
  private readonly words: Uint32Array;

  /** `longest`: bytes that may stay here when all that can be read was read. */
  constructor(longest: number) {
    const words = Math.ceil((longest + PIECE_BYTES) / 4);
    this.words = new Uint32Array(words);
    this.bytes = new Uint8Array(this.words.buffer);
  }

  /** Takes what fits of `chunk` from `from` on; returns where the rest begins. */
  take(chunk: Uint8Array, from: number): number {
    const to = Math.min(chunk.length, from + this.bytes.length - this.length);
    this.bytes.set(chunk.subarray(from, to), this.length);
    this.length += to - from;
    return to;
  }

  /** Lets go of the first `count` bytes. */
  drop(count: number): void {
    this.line = this.lineAt(count);
    this.offset += count;
    this.bytes.copyWithin(0, count, this.length);
    this.length -= count;
  }

  /** The line, from 1, on which the byte at `index` stands. */
  lineAt(index: number): number {
    const { bytes } = this;
    let { line } = this;
    // Native code finds them at a byte a cycle or better; lines are long.
    for (let at = bytes.indexOf(LINE_FEED); at >= 0 && at < index; at = bytes.indexOf(LINE_FEED, at + 1)) {
      line++;
    }
    return line;
  }
}
