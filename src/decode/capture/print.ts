import { i32 } from './bytes.js';

/**
 * Fingerprints: MurmurHash3 (x86, 32 bits; Austin Appleby, public domain) taken in pieces. Not a guard
 * against people who want collisions: a print only supports what sequence numbers and tuples say.
 */
const SEED = 0x77686f70;

/** Begins a print with one number. */
export function begin(value: number): number {
  return mix(SEED, value);
}

/** Goes on with the bytes from `from` to `to` (excluded). */
export function addBytes(hash: number, bytes: Uint8Array, from: number, to: number): number {
  let h = hash;
  let at = from;
  for (; at + 4 <= to; at += 4) h = mix(h, i32(bytes, at));
  if (at < to) {
    let tail = to - at;
    for (; at < to; at++) tail = (tail << 8) | (bytes[at] as number);
    h = mix(h, tail);
  }
  return h;
}

/** The finished print: unsigned, never 0 (0 says that nothing could be read). */
export function finish(hash: number): number {
  let h = hash;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  h = (h ^ (h >>> 16)) >>> 0;
  return h === 0 ? 1 : h;
}

/** Goes on with one number. */
export function mix(hash: number, value: number): number {
  let k = Math.imul(value, 0xcc9e2d51);
  k = (k << 15) | (k >>> 17);
  const h = hash ^ Math.imul(k, 0x1b873593);
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}
