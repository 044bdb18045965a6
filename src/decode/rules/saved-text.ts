/** A block holds whole lines and is at most so large; an address names a block and a place in it. */
const BLOCK_BITS = 20;
const BLOCK = 1 << BLOCK_BITS;
/** The first block, so that a small dump costs little; each further one is four times as large. */
const FIRST_BLOCK = 1 << 14;
/** Addresses have 32 bits, and the last one stands for none: 4 GB, 80 times the rules of 5,000 Services with 20 endpoints. */
const MAX_BLOCKS = (1 << (32 - BLOCK_BITS)) - 1;

/** Bytes behind each block, so that the last ones of its text can be read as a word. */
const SPARE = 4;

const NO_BYTES = new Uint8Array(SPARE);
const NOTHING = new DataView(NO_BYTES.buffer);

/** The place of an address in its block. */
export const placeOf = (address: number): number => address & (BLOCK - 1);

/**
 * The bytes of dumps of rules, kept so that a line is found by a 32-bit address: a node may hold
 * 400,000 rules in 40 MB, of which few are ever looked at, so of the others nothing but the bytes is kept.
 */
export class SavedText {
  private readonly blocks: Uint8Array[] = [];
  private readonly views: DataView[] = [];
  /** Where the whole lines of each block but the current one end. */
  private readonly ends: number[] = [];
  /** The block that is being written, how much of it is, and how much can be. */
  block: Uint8Array = new Uint8Array(0);
  length = 0;
  capacity = 0;

  /** The address of the current block's first byte. */
  get base(): number {
    return ((this.blocks.length - 1) << BLOCK_BITS) >>> 0;
  }

  /** Copies as much of `bytes` from `from` as the current block takes; how much that was. */
  append(bytes: Uint8Array, from: number): number {
    const count = Math.min(bytes.length - from, this.capacity - this.length);
    if (count > 0) this.block.set(bytes.subarray(from, from + count), this.length);
    this.length += count;
    return count;
  }

  /**
   * Begins another block with what follows `keep` in the current one, a line that is not complete and at
   * most half as long as a block; false if there are no addresses for it.
   */
  next(keep: number): boolean {
    if (this.blocks.length >= MAX_BLOCKS) return false;
    const rest = this.block.subarray(keep, this.length);
    if (this.blocks.length > 0) this.ends.push(keep);
    const size = Math.max(FIRST_BLOCK, 4 * this.capacity, 2 * rest.length);
    this.capacity = Math.min(BLOCK, size);
    const block = new Uint8Array(this.capacity + SPARE);
    block.set(rest);
    this.block = block;
    this.length = rest.length;
    this.blocks.push(block);
    this.views.push(new DataView(block.buffer));
    return true;
  }

  /** Forgets what follows `place` in the current block. */
  cut(place: number): void {
    this.length = place;
  }

  /** All of the text in parts, each of whole lines; the last line may lack its end. Not copied. */
  get parts(): readonly Uint8Array[] {
    return this.blocks.map((block, i) => block.subarray(0, this.ends[i] ?? this.length));
  }

  /** The block in which an address lies, and four bytes more. */
  viewAt(address: number): DataView {
    return this.views[address >>> BLOCK_BITS] ?? NOTHING;
  }

  /** The same as bytes. */
  bytesAt(address: number): Uint8Array {
    return this.blocks[address >>> BLOCK_BITS] ?? NO_BYTES;
  }
}

/** A longer text is given a buffer of its own. */
const SHORT = 256;
const encoder = new TextEncoder();
const scratch = new Uint8Array(3 * SHORT + SPARE);
const scratchView = new DataView(scratch.buffer);

/** A text as words can be read from it, until the next one is asked for. */
export function viewOf(text: string): { readonly view: DataView; readonly length: number } {
  if (text.length <= SHORT) {
    return { view: scratchView, length: encoder.encodeInto(text, scratch).written };
  }
  const bytes = encoder.encode(text);
  const spared = new Uint8Array(bytes.length + SPARE);
  spared.set(bytes);
  return { view: new DataView(spared.buffer), length: bytes.length };
}
