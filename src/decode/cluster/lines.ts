/**
 * Cuts a stream of bytes into lines at LF, whatever the chunks. A line longer than the limit is not
 * kept: it comes out as `undefined` once its end is seen, so memory stays bounded by the limit.
 */
export class LineSplitter {
  private readonly limit: number;
  private readonly decoder = new TextDecoder();
  private parts: Uint8Array[] = [];
  private held = 0;
  private tooLong = false;

  /** `limit`: bytes of the longest line that is kept. */
  constructor(limit: number) {
    this.limit = limit;
  }

  /** The lines that end in this chunk, without their LF. The chunk may be used again afterwards. */
  *push(chunk: Uint8Array): Generator<string | undefined> {
    let from = 0;
    while (from < chunk.length) {
      const end = chunk.indexOf(0x0a, from);
      if (end < 0) {
        // Copied: the owner of the chunk may fill it again.
        this.keep(chunk.slice(from));
        return;
      }
      this.keep(chunk.subarray(from, end));
      yield this.take();
      from = end + 1;
    }
  }

  /** What stood after the last LF; `''` if nothing did. */
  rest(): string | undefined {
    return this.take();
  }

  private keep(part: Uint8Array): void {
    if (this.tooLong || this.held + part.length > this.limit) {
      this.tooLong = true;
      this.parts = [];
      return;
    }
    this.parts.push(part);
    this.held += part.length;
  }

  private take(): string | undefined {
    const { parts, held, tooLong } = this;
    this.parts = [];
    this.held = 0;
    this.tooLong = false;
    if (tooLong) return undefined;
    const [only] = parts;
    if (only !== undefined && parts.length === 1) return this.decoder.decode(only);
    const line = new Uint8Array(held);
    let at = 0;
    for (const part of parts) {
      line.set(part, at);
      at += part.length;
    }
    return this.decoder.decode(line);
  }
}
