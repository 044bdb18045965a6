import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  compare,
  fraction,
  NONE,
  ONE,
  ofPart,
  ofStatistic,
  percent,
  plus,
  rest,
  times,
  toNumber,
} from '../../src/model/share.js';
import type { Share } from '../../src/model/walk.js';

const THIRD = ofStatistic(715_827_883);
const HALF = ofStatistic(2 ** 30);

const shares = fc.integer({ min: 0, max: 2 ** 31 }).map((stored): Share => ofStatistic(stored));

describe('a share', () => {
  it.each([
    ['nothing', NONE, '0 %', '0', 0],
    ['everything', ONE, '100 %', '1', 1],
    ['a half', HALF, '50 %', '1/2^1', 0.5],
    ['a third as the kernel has it', THIRD, '33.33 %', '715827883/2^31', 715_827_883 / 2 ** 31],
    ['an eighth', times(HALF, times(HALF, HALF)), '12.5 %', '1/2^3', 0.125],
    ['one of 2^31', ofStatistic(1), '< 0.01 %', '1/2^31', 2 ** -31],
    ['all but one of 2^31', rest(ofStatistic(1)), '> 99.99 %', '2147483647/2^31', 1 - 2 ** -31],
    ['more than everything', ofStatistic(2 ** 33), '100 %', '1', 1],
    ['less than nothing', ofStatistic(-1), '0 %', '0', 0],
    ['no number', ofStatistic(Number.NaN), '0 %', '0', 0],
  ])('of %s is written as people and as programs want it', (_, share, text, exact, number) => {
    expect(percent(share)).toBe(text);
    expect(fraction(share)).toBe(exact);
    expect(toNumber(share)).toBe(number);
  });

  it('is equal part by part to an equal one, however it came about', () => {
    expect(plus(HALF, HALF)).toEqual(ONE);
    expect(rest(ONE)).toEqual(NONE);
    expect(plus(times(THIRD, HALF), times(THIRD, HALF))).toEqual(THIRD);
  });

  it('of the k-th of n numbers of numgen is what counting the random numbers gives', () => {
    // 2^32 = 3 * 1431655765 + 1: the first gets the one that is over.
    expect([0, 1, 2].map((part) => ofPart(part, 3).parts)).toEqual(
      [1_431_655_766n, 1_431_655_765n, 1_431_655_765n].map((parts) => lowered(parts)),
    );
    expect(ofPart(0, 1)).toEqual(ONE);
    expect(ofPart(3, 4)).toEqual(times(HALF, HALF));
    for (const [part, of] of [
      [3, 3],
      [-1, 3],
      [0, 0],
      [0.5, 3],
      [0, 2 ** 33],
    ] as const) {
      expect(ofPart(part, of)).toEqual(NONE);
    }
  });

  it('of numgen: all n add up to one, and differ by one random number at most', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 200 }), (of) => {
        const all = Array.from({ length: of }, (_, part) => ofPart(part, of));
        expect(all.reduce(plus, NONE)).toEqual(ONE);
        const counts = all.map((share) => share.parts << BigInt(32 - share.bits));
        const [low, high] = [counts.reduce(least), counts.reduce(most)];
        expect(high - low <= 1n).toBe(true);
      }),
      { numRuns: 100 },
    );
  });

  it('adds, multiplies and compares as rational numbers do', () => {
    fc.assert(
      fc.property(shares, shares, shares, (a, b, c) => {
        expect(plus(a, rest(a))).toEqual(ONE);
        expect(times(a, b)).toEqual(times(b, a));
        expect(times(times(a, b), c)).toEqual(times(a, times(b, c)));
        expect(plus(times(a, b), times(a, rest(b)))).toEqual(a);
        expect(Math.sign(compare(a, b))).toBe(Math.sign(toNumber(a) - toNumber(b)));
        expect(toNumber(times(a, b))).toBeCloseTo(toNumber(a) * toNumber(b), 15);
      }),
      { numRuns: 200 },
    );
  });

  it('of a chain of five thousand endpoints is exact to its last bit', () => {
    let left = ONE;
    let sum = NONE;
    for (let n = 5000; n > 1; n--) {
      const taken = ofStatistic(Math.round(2 ** 31 / n));
      sum = plus(sum, times(left, taken));
      left = times(left, rest(taken));
    }
    expect(plus(sum, left)).toEqual(ONE);
    expect(toNumber(left)).toBeCloseTo(1 / 5000, 8);
  });
});

function lowered(parts: bigint): bigint {
  let odd = parts;
  while ((odd & 1n) === 0n) odd >>= 1n;
  return odd;
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function most(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
