import type { Writable } from 'node:stream';
import { type AddonLoad, loadAddon } from './binding.js';

/** fs.pipe-max-size as Linux has it. A pipe holds 64 KiB unless somebody asks for more, a socket some 200. */
const BYTES = 1 << 20;

/**
 * Makes the pipe or socket behind a stream, if it is one, as large as the system allows. Node writes into it
 * when the event loop comes round, and no more than there is room for: at ten thousand connections a second
 * 64 KiB a round are too little even for a reader that reads at once.
 */
export function widen(stream: Writable, load: () => AddonLoad = loadAddon): void {
  if (!('fd' in stream) || typeof stream.fd !== 'number') return;
  const loading = load();
  if (loading.ok) loading.addon.widen(stream.fd, BYTES);
}
