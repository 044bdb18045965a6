import type { CaptureTap } from '../../decode/capture/intake.js';
import { CaptureReader } from '../../decode/capture/reader.js';
import { Interfaces } from '../../model/interfaces.js';

/** Hears what is in a capture piece by piece: `expect` comes before what was found in each. */
export interface PieceTap extends CaptureTap {
  /** What is heard next lies in this memory, which stays as it is until the next piece, or in the reader's own. */
  expect(piece: Uint8Array): void;
}

/**
 * Reads a capture once more, for what is in it beside its packets of interest; what is wrong with it was told the
 * first time. Yields after each piece.
 */
export async function* tapCapture(
  chunks: AsyncIterable<Uint8Array>,
  tap: PieceTap,
): AsyncGenerator<void> {
  const reader = new CaptureReader({ interfaces: new Interfaces(), tap });
  for await (const chunk of chunks) {
    tap.expect(chunk);
    reader.feed(chunk);
    reader.rows.clear();
    yield;
  }
}
