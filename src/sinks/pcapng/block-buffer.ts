/** A pcapng option's value is at most this long (its length is 16 bits, draft-ietf-opsawg-pcapng 3.5). */
const MAX_OPTION_BYTES = 65_535;
const FIRST_BYTES = 64 * 1024;

const encoder = new TextEncoder();

/** An option as it stands in a block: its code, and its value in the section's byte order or as text. */
export interface PcapngOption {
  readonly code: number;
  readonly value: Uint8Array | string;
}

/**
 * Bytes of pcapng blocks in one byte order, back to back in memory that is used again. Every block is
 * begun and ended: its two lengths are filled in at its end, and everything in it is padded to 32 bits.
 */
export class BlockBuffer {
  readonly little: boolean;
  private bytes = new Uint8Array(FIRST_BYTES);
  private view = new DataView(this.bytes.buffer);
  private at = 0;
  private blockAt = 0;

  constructor(little: boolean) {
    this.little = little;
  }

  get length(): number {
    return this.at;
  }

  /** What was written since the last call; may be read until the next block is begun. */
  take(): Uint8Array {
    const taken = this.bytes.subarray(0, this.at);
    this.at = 0;
    return taken;
  }

  begin(type: number): void {
    this.room(12);
    this.blockAt = this.at;
    this.view.setUint32(this.at, type, this.little);
    this.at += 8;
  }

  end(): void {
    this.room(4);
    const length = this.at + 4 - this.blockAt;
    this.view.setUint32(this.blockAt + 4, length, this.little);
    this.view.setUint32(this.at, length, this.little);
    this.at += 4;
  }

  u16(value: number): void {
    this.room(2);
    this.view.setUint16(this.at, value, this.little);
    this.at += 2;
  }

  u32(value: number): void {
    this.room(4);
    this.view.setUint32(this.at, value, this.little);
    this.at += 4;
  }

  /** A part of some bytes, padded with zeros to a multiple of four. */
  padded(source: Uint8Array, from: number, length: number): void {
    const end = (length + 3) & ~3;
    this.room(end);
    this.bytes.set(source.subarray(from, from + length), this.at);
    this.bytes.fill(0, this.at + length, this.at + end);
    this.at += end;
  }

  /** An option; text that is too long for one is cut at the end of a character. */
  option(code: number, value: Uint8Array | string): void {
    const bytes = typeof value === 'string' ? utf8(value, MAX_OPTION_BYTES) : value;
    const length = Math.min(bytes.length, MAX_OPTION_BYTES);
    this.u16(code);
    this.u16(length);
    this.padded(bytes, 0, length);
  }

  optionU32(code: number, value: number): void {
    this.u16(code);
    this.u16(4);
    this.u32(value);
  }

  /** A 64-bit number, in the section's order as all numbers in options. */
  optionU64(code: number, value: bigint): void {
    this.u16(code);
    this.u16(8);
    this.room(8);
    this.view.setBigUint64(this.at, BigInt.asUintN(64, value), this.little);
    this.at += 8;
  }

  /** A time stamp in an option: its high word comes first in either byte order (4.6). */
  optionTime(code: number, value: bigint): void {
    this.u16(code);
    this.u16(8);
    this.time(value);
  }

  time(value: bigint): void {
    const all = BigInt.asUintN(64, value);
    this.u32(Number(all >> 32n));
    this.u32(Number(all & 0xffff_ffffn));
  }

  endOfOptions(): void {
    this.u32(0);
  }

  private room(more: number): void {
    if (this.at + more <= this.bytes.length) return;
    const larger = new Uint8Array(Math.max(this.bytes.length * 2, this.at + more));
    larger.set(this.bytes.subarray(0, this.at));
    this.bytes = larger;
    this.view = new DataView(larger.buffer);
  }
}

/** Text in UTF-8, cut to a number of bytes but not within a character. */
export function utf8(text: string, limit: number): Uint8Array {
  const bytes = encoder.encode(text);
  if (bytes.length <= limit) return bytes;
  let end = limit;
  // A byte 10xxxxxx goes on with a character.
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.subarray(0, end);
}
