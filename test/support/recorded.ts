import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** A recorded file under test/, unpacked. */
export function recorded(path: string): Buffer {
  return gunzipSync(readFileSync(new URL(`../${path}`, import.meta.url)));
}
