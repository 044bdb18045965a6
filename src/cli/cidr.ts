import { parseAddress } from '../model/address.js';

/** A range of addresses: four words and how many of their 128 bits count (IPv4 is held mapped). */
export interface Cidr {
  readonly family: 4 | 6;
  readonly words: readonly [number, number, number, number];
  readonly bits: number;
}

const IPV4_BITS = 32;
const BITS = 128;

/** Reads `10.0.0.0/8`, `fd00::/8` or a single address; `undefined` if it is none of them. */
export function parseCidr(text: string): Cidr | undefined {
  const m = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text);
  if (!m) return undefined;
  const words = new Uint32Array(4);
  const family = parseAddress(m[1] ?? '', words, 0);
  if (family === 0) return undefined;
  const width = family === 4 ? IPV4_BITS : BITS;
  const prefix = m[2] === undefined ? width : Number(m[2]);
  if (prefix > width) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = words;
  return { family, words: [a, b, c, d], bits: BITS - width + prefix };
}

const scratch = new Uint32Array(4);

/** Whether canonical address text lies in any of the ranges. */
export function inAny(ranges: readonly Cidr[], ip: string): boolean {
  const family = parseAddress(ip, scratch, 0);
  return ranges.some((range) => range.family === family && covers(range));
}

function covers({ words, bits }: Cidr): boolean {
  for (let w = 0; w < 4; w++) {
    const left = bits - 32 * w;
    if (left <= 0) return true;
    const mask = left >= 32 ? 0xffff_ffff : ~(0xffff_ffff >>> left) >>> 0;
    if ((((words[w] ?? 0) ^ (scratch[w] ?? 0)) & mask) !== 0) return false;
  }
  return true;
}
