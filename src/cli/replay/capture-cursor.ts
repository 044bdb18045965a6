import type { PacketComments } from '../../pipeline/packet-comments.js';
import type { CopiedCapture } from '../../sinks/pcapng/copied-capture.js';
import { tapCapture } from '../../sources/files/tap.js';
import { type CaptureItem, CaptureItems } from './capture-items.js';

/** A capture that is read along with others: the things of one piece of it, of which some were taken. */
export class CaptureCursor {
  readonly copied: CopiedCapture;
  /** Among the captures: of packets of one moment those of the first come first. */
  readonly position: number;
  private readonly items: CaptureItems;
  private readonly pieces: AsyncGenerator<void>;
  private at = 0;

  constructor(
    chunks: AsyncIterable<Uint8Array>,
    comments: PacketComments,
    copied: CopiedCapture,
    position: number,
  ) {
    this.copied = copied;
    this.position = position;
    this.items = new CaptureItems(comments);
    this.pieces = tapCapture(chunks, this.items);
  }

  /** What comes next; `undefined`: the piece is used up. */
  get head(): CaptureItem | undefined {
    return this.items.items[this.at];
  }

  advance(): void {
    this.at++;
  }

  /** Reads on until there is a head; false at the end. */
  async read(): Promise<boolean> {
    do {
      const next = await this.pieces.next();
      if (next.done === true) return false;
      this.at = 0;
    } while (this.head === undefined);
    return true;
  }

  async close(): Promise<void> {
    await this.pieces.return(undefined);
  }

  /** Whether its head comes before another's. What has no time does not wait for others. */
  isBefore(other: CaptureCursor): boolean {
    const [own, its] = [this.head, other.head];
    if (own === undefined || its === undefined) return own !== undefined;
    if (own.seconds !== its.seconds) return own.seconds < its.seconds;
    if (own.nanoseconds !== its.nanoseconds) return own.nanoseconds < its.nanoseconds;
    return this.position < other.position;
  }
}

/** The one of some that comes first, and which of the others will be next. */
export function firstTwo(
  cursors: readonly CaptureCursor[],
): readonly [CaptureCursor | undefined, CaptureCursor | undefined] {
  let first: CaptureCursor | undefined;
  let second: CaptureCursor | undefined;
  for (const it of cursors) {
    if (first === undefined || it.isBefore(first)) {
      second = first;
      first = it;
    } else if (second === undefined || it.isBefore(second)) {
      second = it;
    }
  }
  return [first, second];
}
