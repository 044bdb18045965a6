import type { Share } from './walk.js';

/*
 * Arithmetic of shares. Every result is exact and in lowest terms, so equal shares are equal part by
 * part. Nothing here goes beyond 0 or 1: a hostile rule set's numbers are cut to that range.
 */

/** `statistic` compares 31 random bits (linux/net/netfilter/xt_statistic.c). */
const STATISTIC_BITS = 31;
const STATISTIC_ONE = 2 ** STATISTIC_BITS;

/** `numgen random` scales 32 random bits (linux/net/netfilter/nft_numgen.c, reciprocal_scale). */
const NUMGEN_BITS = 32;
const NUMGEN_ONE = 1n << 32n;

export const NONE: Share = { parts: 0n, bits: 0 };
export const ONE: Share = { parts: 1n, bits: 0 };

export function times(a: Share, b: Share): Share {
  return lowest(a.parts * b.parts, a.bits + b.bits);
}

export function plus(a: Share, b: Share): Share {
  const bits = Math.max(a.bits, b.bits);
  return lowest(at(a, bits) + at(b, bits), bits);
}

/** Of all together. */
export function total(all: readonly { readonly share: Share }[]): Share {
  return all.reduce((sum, { share }) => plus(sum, share), NONE);
}

/** What is left of everything: 1 - share. */
export function rest(share: Share): Share {
  return lowest((1n << BigInt(share.bits)) - share.parts, share.bits);
}

/** Below 0: the first is smaller; 0: equal. */
export function compare(a: Share, b: Share): number {
  const bits = Math.max(a.bits, b.bits);
  const [left, right] = [at(a, bits), at(b, bits)];
  if (left === right) return 0;
  return left < right ? -1 : 1;
}

/** How often `statistic --mode random` matches: `stored` of 2^31, as the kernel holds the probability. */
export function ofStatistic(stored: number): Share {
  const whole = Math.min(Math.max(Math.round(stored), 0), STATISTIC_ONE);
  return Number.isFinite(stored) ? lowest(BigInt(whole), STATISTIC_BITS) : NONE;
}

/**
 * How often `numgen random mod of` gives `part` (from 0): the kernel takes (random * of) >> 32, so 2^32
 * random numbers are dealt out as evenly as they can be, not all the same.
 */
export function ofPart(part: number, of: number): Share {
  const inRange = Number.isSafeInteger(part) && Number.isSafeInteger(of) && part >= 0 && part < of;
  // A modulus has 32 bits.
  if (!inRange || of > 0xffff_ffff) return NONE;
  const first = (n: number): bigint => (BigInt(n) * NUMGEN_ONE + BigInt(of) - 1n) / BigInt(of);
  return lowest(first(part + 1) - first(part), NUMGEN_BITS);
}

/** The nearest number; 0 for what no number is small enough for. */
export function toNumber(share: Share): number {
  // 64 bits in front are more than a number keeps.
  const excess = Math.max(share.parts.toString(16).length * 4 - 64, 0);
  return Number(share.parts >> BigInt(excess)) * 2 ** (excess - share.bits);
}

/** For people, two digits behind the point at most: `25 %`, `33.33 %`; `< 0.01 %` and `> 99.99 %` are not 0 and 1. */
export function percent(share: Share): string {
  const bits = BigInt(share.bits);
  const hundredths = Number((share.parts * 20_000n + (1n << bits)) >> (bits + 1n));
  if (hundredths === 0 && share.parts !== 0n) return '< 0.01 %';
  if (hundredths === 10_000 && share.bits !== 0) return '> 99.99 %';
  return `${hundredths / 100} %`;
}

/** Exactly: `715827883/2^31`, `1/2^1`; `0` and `1` as such. */
export function fraction(share: Share): string {
  return share.bits === 0 ? `${share.parts}` : `${share.parts}/2^${share.bits}`;
}

function at(share: Share, bits: number): bigint {
  return share.parts << BigInt(bits - share.bits);
}

function lowest(parts: bigint, bits: number): Share {
  if (parts === 0n) return NONE;
  let [left, over] = [parts, bits];
  // Trailing zeros in steps: shares of long chains have thousands of bits.
  for (let step = 32; step >= 1; ) {
    const mask = (1n << BigInt(step)) - 1n;
    if (over >= step && (left & mask) === 0n) {
      left >>= BigInt(step);
      over -= step;
    } else step >>= 1;
  }
  return { parts: left, bits: over };
}
