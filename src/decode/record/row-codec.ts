import type { Rows } from '../../model/rows.js';
import type { ByteReader } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';

/**
 * Rows one after the other, each as what differs from the row before it, which may be of an earlier batch:
 * a bit a word says which words changed, then each of them as the difference. A packet's copies on other
 * interfaces differ in few words, and what deflate is given is a third as long.
 */
export class RowCodec {
  private readonly before: Uint32Array;
  private readonly stride: number;

  constructor(stride: number) {
    this.stride = stride;
    this.before = new Uint32Array(stride);
  }

  write(out: ByteWriter, rows: Rows, from: number, to: number): void {
    const { before, stride } = this;
    const { words } = rows;
    out.number(to - from);
    for (let at = from * stride; at < to * stride; at += stride) {
      for (let group = 0; group < stride; group += 8) {
        const end = Math.min(group + 8, stride);
        let mask = 0;
        for (let w = group; w < end; w++) {
          if (words[at + w] !== before[w]) mask |= 1 << (w - group);
        }
        out.byte(mask);
      }
      for (let w = 0; w < stride; w++) {
        const word = words[at + w] as number;
        const old = before[w] as number;
        if (word === old) continue;
        out.signed((word - old) | 0);
        before[w] = word;
      }
    }
  }

  /** Adds the rows to others; false if this is not what `write` wrote. */
  read(input: ByteReader, rows: Rows): boolean {
    const { before, stride } = this;
    const groups = (stride + 7) >>> 3;
    const count = input.number();
    // Each row has its bits: a count that does not fit is not followed.
    if (count * groups > input.left) return false;
    const masks = new Uint8Array(groups);
    for (let i = 0; i < count; i++) {
      for (let g = 0; g < groups; g++) masks[g] = input.byte();
      const at = rows.addUnset();
      const { words } = rows;
      for (let w = 0; w < stride; w++) {
        const changed = ((masks[w >>> 3] as number) >>> (w & 7)) & 1;
        const word = changed === 0 ? (before[w] as number) : (before[w] as number) + input.signed();
        words[at + w] = word;
        before[w] = word;
      }
      if (input.failed) return false;
    }
    return true;
  }
}
