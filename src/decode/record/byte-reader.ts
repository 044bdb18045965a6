const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/**
 * Reads what `ByteWriter` wrote. Past the end, and in a number that is too long, everything reads as 0 or
 * empty and `failed` is set: callers look at it once, behind what they read.
 */
export class ByteReader {
  failed = false;
  private readonly bytes: Uint8Array;
  private at: number;
  private readonly end: number;

  constructor(bytes: Uint8Array, from = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = from;
    this.end = end;
  }

  get place(): number {
    return this.at;
  }

  get left(): number {
    return this.end - this.at;
  }

  byte(): number {
    if (this.at >= this.end) {
      this.failed = true;
      return 0;
    }
    return this.bytes[this.at++] ?? 0;
  }

  number(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        // Of the fifth byte four bits have a place.
        if (shift === 28 && byte > 0x0f) this.failed = true;
        return value >>> 0;
      }
    }
    this.failed = true;
    return 0;
  }

  signed(): number {
    const value = this.number();
    return (value >>> 1) ^ -(value & 1);
  }

  long(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    this.failed = true;
    return 0n;
  }

  raw(length: number): Uint8Array {
    if (length > this.left) {
      this.failed = true;
      return new Uint8Array(0);
    }
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  text(): string {
    return decoder.decode(this.raw(this.number()));
  }
}
