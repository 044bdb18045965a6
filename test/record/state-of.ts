import { inflateRawSync } from 'node:zlib';

/** What whichpod itself has put into a recording, inflated: the state blocks' content, one behind the other. */
export function stateOf(bytes: Uint8Array): Buffer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += view.getUint32(at + 4, true)) {
    if (view.getUint32(at, true) !== 0x8000_5770) continue;
    const size = view.getUint32(at + 4, true);
    parts.push(inflateRawSync(bytes.subarray(at + 28, at + size - 4)));
  }
  return Buffer.concat(parts);
}
