import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { GAP, layOut, type Shape } from '../../src/sinks/layout.js';

const shape = (rank: number, min: number, usual: number, max: number, essential = true): Shape => ({
  rank,
  min,
  usual,
  max,
  essential,
});

const SHAPES = [
  shape(2, 4, 8, 20),
  shape(1, 4, 10, 30),
  shape(3, 4, 6, 12),
  shape(4, 5, 5, 9, false),
];

describe('layOut', () => {
  it.each([
    [
      'without a terminal each column has what it usually needs',
      undefined,
      [0, 0, 0, 0],
      [8, 10, 6, 5],
    ],
    [
      'without a terminal a longer cell widens its column by steps',
      undefined,
      [9, 10, 6, 6],
      [12, 10, 6, 9],
    ],
    ['nothing grows beyond its bound', undefined, [999, 999, 999, 999], [20, 30, 12, 9]],
    ['an optional column is left out first', 34, [0, 0, 0, 0], [8, 10, 6, 0]],
    ['room that no cell has needed yet goes first', 28, [8, 10, 2, 0], [8, 10, 6, 0]],
    ['and is taken before a filled column is shortened', 27, [8, 10, 2, 0], [8, 10, 5, 0]],
    ['then what is beyond the usual goes', 28, [20, 10, 6, 0], [8, 10, 6, 0]],
    ['then the least important shrink to their least', 20, [8, 10, 6, 0], [4, 8, 4, 0]],
    [
      'the least important essential column goes when the least widths do not fit',
      15,
      [8, 10, 6, 0],
      [4, 9, 0, 0],
    ],
    ['two columns always stay', 6, [8, 10, 6, 0], [1, 3, 0, 0]],
  ])('%s', (_, available, seen, expected) => {
    expect(layOut(SHAPES, seen, available)).toEqual(expected);
  });

  it('uses no more than there is, keeps its choice of columns, and gives no column more than its bound', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 60 }), { minLength: 4, maxLength: 4 }),
        fc.integer({ min: 4, max: 120 }),
        (seen, available) => {
          const widths = layOut(SHAPES, seen, available);
          const used = widths.filter((w) => w > 0);
          expect(used.reduce((a, b) => a + b + GAP, -GAP)).toBeLessThanOrEqual(available);
          expect(widths.map((w) => w > 0)).toEqual(
            layOut(SHAPES, [0, 0, 0, 0], available).map((w) => w > 0),
          );
          expect(widths.filter((w, i) => w > (SHAPES[i]?.max ?? 0))).toEqual([]);
        },
      ),
      { numRuns: 300 },
    );
  });
});
