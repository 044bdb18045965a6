import fc from 'fast-check';
import { expect, it } from 'vitest';
import { chiSquaredTail } from '../../src/pipeline/chi-squared.js';

// Critical values of the chi-squared distribution (NIST/SEMATECH e-Handbook 1.3.6.7.4, to three decimals), and closed
// forms: with 2 degrees exp(-x/2), with 4 exp(-x/2)(1 + x/2).
it.each([
  [3.841, 1, 0.05, 3],
  [6.635, 1, 0.01, 4],
  [10.828, 1, 0.001, 5],
  [7.815, 3, 0.05, 4],
  [18.307, 10, 0.05, 4],
  [31.41, 20, 0.05, 4],
  [124.342, 100, 0.05, 4],
  [149.449, 100, 0.001, 5],
  [1, 2, Math.exp(-0.5), 12],
  [40, 2, Math.exp(-20), 18],
  [9, 4, Math.exp(-4.5) * 5.5, 12],
])('a value of %f with %i degrees of freedom has the tail %f', (x, degrees, tail, digits) => {
  expect(chiSquaredTail(x, degrees)).toBeCloseTo(tail, digits);
});

it.each([
  [0, 5],
  [-1, 5],
  [Number.NaN, 3],
  [3, 0],
])('of %f with %i degrees nothing can be said', (x, degrees) => {
  expect(chiSquaredTail(x, degrees)).toBe(1);
});

it('falls with the value, rises with the degrees, and stays between 0 and 1', () => {
  const value = fc.double({ min: 0.001, max: 2_000, noNaN: true });
  fc.assert(
    fc.property(value, value, fc.integer({ min: 1, max: 500 }), (a, b, degrees) => {
      const low = chiSquaredTail(Math.min(a, b), degrees);
      const high = chiSquaredTail(Math.max(a, b), degrees);
      expect(low).toBeLessThanOrEqual(1 + 1e-12);
      expect(high).toBeGreaterThanOrEqual(-1e-12);
      expect(high).toBeLessThanOrEqual(low + 1e-12);
      expect(chiSquaredTail(a, degrees + 1)).toBeGreaterThanOrEqual(
        chiSquaredTail(a, degrees) - 1e-12,
      );
    }),
    { numRuns: 200 },
  );
});
