import type { CaptureTap } from '../../decode/capture/intake.js';
import { CaptureReader } from '../../decode/capture/reader.js';
import { Interfaces } from '../../model/interfaces.js';
import type { Source } from './streams.js';

/**
 * Reads a capture once more, for what is in it beside its packets of interest; what is wrong with it was told the
 * first time. `pause` is awaited after each chunk; the reading ends when it gives false.
 */
export async function tapCapture(
  { file, bytes }: Source,
  tap: CaptureTap,
  pause: (bytesRead: number) => Promise<boolean>,
): Promise<void> {
  const { node } = file;
  const interfaces = new Interfaces();
  const reader = new CaptureReader({ interfaces, tap, ...(node !== undefined && { node }) });
  let before = 0;
  for await (const chunk of bytes.chunks(() => undefined)) {
    reader.feed(chunk);
    reader.rows.clear();
    const read = bytes.readBytes - before;
    before = bytes.readBytes;
    if (!(await pause(read))) return;
  }
}
