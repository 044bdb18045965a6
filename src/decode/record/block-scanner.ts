import type { Problem } from '../../model/problem.js';
import { isStateBlock, readStateBlock, STATE_BLOCK_TYPE, type StateBlock } from './state-block.js';

const SECTION_HEADER = 0x0a0d0d0a;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const BLOCK_START_BYTES = 8;
/** libpcap's INITIAL_MAX_BLOCKSIZE, as in capture/pcapng.ts. */
const MAX_BLOCK_BYTES = 16 * 1024 * 1024;
const FIRST_BYTES = 64 * 1024;

/**
 * Whether a file begins as our recordings do: a little-endian section whose first block is one of ours. (Other
 * programs that rewrite a recording leave these blocks out, or put them elsewhere: then it is a capture.) Of
 * one that is cut within that block nothing is left but the beginning of a capture.
 */
export function isRecording(first: Uint8Array): boolean {
  if (first.length < 12) return false;
  const view = new DataView(first.buffer, first.byteOffset, first.length);
  if (view.getUint32(0, true) !== SECTION_HEADER) return false;
  if (view.getUint32(8, true) !== BYTE_ORDER_MAGIC) return false;
  const at = view.getUint32(4, true);
  if (at < 28 || at + BLOCK_START_BYTES > first.length) return false;
  return (
    view.getUint32(at, true) === STATE_BLOCK_TYPE &&
    at + view.getUint32(at + 4, true) <= first.length &&
    isStateBlock(first.subarray(at + BLOCK_START_BYTES))
  );
}

/**
 * Picks the blocks of state out of a recording's bytes: `feed` them as they come, then call `next` until
 * it gives nothing. A block's bytes may be read until the next call. After a `problem`, which is fatal, nothing
 * more comes. Packets and names are passed over without a copy.
 */
export class BlockScanner {
  problem: Problem | undefined;
  /** Bytes of whole blocks so far: after a cut, what can be used ends here. */
  done = 0;
  private held = new Uint8Array(FIRST_BYTES);
  private length = 0;
  private chunk: Uint8Array = new Uint8Array(0);
  private at = 0;
  /** Bytes of a block that is passed over which are still to come. */
  private skip = 0;
  private numbers = 0;
  private blocks = 0;

  /** Everything of the last chunk must have been taken with `next`. */
  feed(chunk: Uint8Array): void {
    this.chunk = chunk;
    this.at = 0;
  }

  next(): StateBlock | undefined {
    while (this.problem === undefined) {
      if (this.skip > 0) {
        const passed = Math.min(this.skip, this.chunk.length - this.at);
        this.at += passed;
        this.skip -= passed;
        this.done += passed;
        if (this.skip > 0) return undefined;
      }
      if (!this.hold(BLOCK_START_BYTES)) return undefined;
      const view = new DataView(this.held.buffer);
      const type = view.getUint32(0, true);
      const size = view.getUint32(4, true);
      if (size < 12 || (size & 3) !== 0 || size > MAX_BLOCK_BYTES) {
        this.stop(`a block's length of ${size} is none that a block can have`);
        return undefined;
      }
      if (type !== STATE_BLOCK_TYPE) {
        this.blocks++;
        this.length = 0;
        this.done += BLOCK_START_BYTES;
        this.skip = size - BLOCK_START_BYTES;
        continue;
      }
      if (!this.hold(size)) return undefined;
      this.length = 0;
      if (new DataView(this.held.buffer).getUint32(size - 4, true) !== size) {
        this.stop('a block of state does not end as it begins');
        return undefined;
      }
      this.blocks++;
      this.done += size;
      const body = this.held.subarray(BLOCK_START_BYTES, size - 4);
      // Another program's, for its own use.
      if (!isStateBlock(body)) continue;
      const block = readStateBlock(body);
      if ('code' in block) {
        this.problem = block;
        return undefined;
      }
      if (block.number !== this.numbers) {
        this.stop(`block ${block.number} of the state comes where block ${this.numbers} should`);
        return undefined;
      }
      this.numbers++;
      return block;
    }
    return undefined;
  }

  /** Bytes of a block that is not complete. */
  get pending(): number {
    return this.length + (this.skip > 0 ? 1 : 0);
  }

  /** Gathers the first bytes of a block, of which some may be at hand; false if they are not all there. */
  private hold(wanted: number): boolean {
    if (this.length >= wanted) return true;
    const taken = Math.min(wanted - this.length, this.chunk.length - this.at);
    if (wanted > this.held.length) {
      const larger = new Uint8Array(wanted);
      larger.set(this.held.subarray(0, this.length));
      this.held = larger;
    }
    this.held.set(this.chunk.subarray(this.at, this.at + taken), this.length);
    this.at += taken;
    this.length += taken;
    return this.length === wanted;
  }

  private stop(message: string): void {
    this.problem = {
      code: 'recording-damaged',
      message,
      where: { offset: this.done, record: this.blocks + 1 },
      advice: 'what came before counts; copy or record the file again',
      fatal: true,
    };
  }
}
