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
  /** The same bytes four at a time; signed, so that reckoning with them stays within 32 bits. */
  private readonly words: Int32Array;

  /** `longest`: bytes that may stay here when all that can be read was read. */
  constructor(longest: number) {
    const words = Math.ceil((longest + PIECE_BYTES) / 4);
    this.words = new Int32Array(words);
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
    const { bytes, words } = this;
    let { line } = this;
    const whole = index >>> 4;
    for (let w = 0; w < whole * 4; w += 4) {
      const found =
        feedIn(words[w] as number) |
        feedIn(words[w + 1] as number) |
        feedIn(words[w + 2] as number) |
        feedIn(words[w + 3] as number);
      if (found !== 0) line += lineFeeds(bytes, w * 4, w * 4 + 16);
    }
    return line + lineFeeds(bytes, whole * 16, index);
  }
}

/** Not 0 if one of a word's four bytes is a line feed: the classic test for a zero byte, exact as a whole. */
function feedIn(word: number): number {
  const x = word ^ 0x0a0a0a0a;
  return (x - 0x01010101) & ~x & 0x80808080;
}

function lineFeeds(bytes: Uint8Array, from: number, to: number): number {
  let count = 0;
  for (let i = from; i < to; i++) if (bytes[i] === LINE_FEED) count++;
  return count;
}
