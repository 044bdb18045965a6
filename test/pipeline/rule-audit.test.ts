import { describe, expect, it } from 'vitest';
import type { Audit } from '../../src/model/rule-view.js';
import { conclude, testStrata } from '../../src/pipeline/rule-audit.js';

const stratum = (observed: readonly number[], probabilities?: readonly number[]) => ({
  cells: observed.map((count, i) => ({
    observed: count,
    probability: probabilities?.[i] ?? 1 / observed.length,
  })),
});

const verdictOf = (...strata: Parameters<typeof testStrata>[0]): Audit['verdict'] => {
  const tested = testStrata(strata);
  const [audit] = conclude([
    { protocol: 6, over: 'counters', endpoints: [], remarks: [], ...tested },
  ]);
  return audit?.verdict ?? 'no choice';
};

describe('the test of one chain', () => {
  it('computes what a hand computes', () => {
    // (47-50)²/50 + (51-50)²/50 + (46-50)²/50 + (56-50)²/50
    const { test, total } = testStrata([stratum([47, 51, 46, 56])]);
    expect(total).toBe(200);
    expect(test?.chiSquared).toBeCloseTo(1.24, 10);
    expect(test).toMatchObject({ degrees: 3, cells: 4 });
    expect(test?.p).toBeCloseTo(0.7434, 4);
  });

  it.each([
    ['an even split is even', [250, 251, 249, 250], 'even'],
    ['half to one of four is skewed', [500, 167, 166, 167], 'skewed'],
    ['nothing to one of four is skewed', [0, 334, 333, 333], 'skewed'],
    ['one endpoint leaves no choice', [1_000], 'no choice'],
    ['no endpoint leaves no choice', [], 'no choice'],
    ['nothing counted is too few', [0, 0], 'too few'],
    ['three connections are too few, however they fell', [3, 0], 'too few'],
  ] as const)('%s', (_, observed, verdict) => {
    expect(verdictOf(stratum(observed))).toBe(verdict);
  });

  it('says how many connections would do', () => {
    expect(testStrata([stratum([1, 0, 0, 1])])).toMatchObject({ verdict: 'too few', needed: 20 });
    expect(testStrata([stratum([1, 0], [0.9, 0.1])])).toMatchObject({ needed: 50 });
  });

  it('pools endpoints of which too few are expected, and leaves none out', () => {
    const probabilities = [0.9, 0.02, 0.02, 0.02, 0.02, 0.02];
    const { test } = testStrata([stratum([90, 2, 2, 2, 2, 2], probabilities)]);
    expect(test).toMatchObject({ cells: 2, degrees: 1, chiSquared: 0 });
    expect(verdictOf(stratum([50, 10, 10, 10, 10, 10], probabilities))).toBe('skewed');
  });

  it('judges each part by the chances that it had', () => {
    // Together 300 to 100 would look like a bias of the second part's even chances.
    const strata = [stratum([200, 0], [1, 0]), stratum([100, 100])];
    expect(verdictOf(...strata)).toBe('even');
    const { test } = testStrata([stratum([47, 51, 46, 56]), stratum([100, 100])]);
    expect(test).toMatchObject({ degrees: 4, cells: 6 });
    expect(test?.chiSquared).toBeCloseTo(1.24, 10);
  });
});

it('of many chains one is not called skewed for what chance does to one of many', () => {
  const audit = (p: number): Audit => ({
    protocol: 6,
    over: 'counters',
    verdict: 'even',
    total: 100,
    endpoints: [],
    remarks: [],
    test: { chiSquared: 1, degrees: 1, p, cells: 2 },
  });
  expect(conclude([audit(0.005)]).map(({ verdict }) => verdict)).toEqual(['skewed']);
  const many = conclude([audit(0.005), ...Array.from({ length: 99 }, () => audit(0.5))]);
  expect(many.filter(({ verdict }) => verdict === 'skewed')).toEqual([]);
});
