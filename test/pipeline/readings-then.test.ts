import { describe, expect, it } from 'vitest';
import type { Readings, RecentLists } from '../../src/model/readings.js';
import { ReadingsThen } from '../../src/pipeline/readings-then.js';

const S = 1_000_000_000n;
/** A connection from second 100 to second 105. */
const [BEGIN, END] = [100n * S, 105n * S];

const to = (device: string) => [{ network: '10.0.0.1', prefix: 32, device, metric: 0 }];
const list = (seconds: number): RecentLists => [['L', [['10.0.0.1', seconds]]]];

function then(
  all: readonly (readonly [second: bigint, Readings])[],
  ends: 'ends' | 'open' = 'ends',
) {
  const readings = new ReadingsThen(BEGIN, ends === 'ends' ? END : undefined);
  for (const [second, told] of all) readings.take(second * S, told);
  const { node, others, versions } = readings;
  return { ...node, ...others, ...versions };
}

describe('readings around a connection', () => {
  it('are the last before it and the first after its end', () => {
    const all = [90n, 95n, 103n, 106n, 110n].map(
      (second) => [second, { table: { insertFailed: Number(second) } }] as const,
    );
    expect(then(all).conntrackTable).toEqual({
      before: { time: 95n * S, insertFailed: 95 },
      after: { time: 106n * S, insertFailed: 106 },
    });
  });

  it.each([
    ['none', [], undefined],
    ['one before it', [90n], { before: { time: 90n * S } }],
    ['one after it', [120n], { before: { time: 120n * S } }],
    ['two before it', [80n, 90n], { before: { time: 90n * S } }],
    [
      'two after it',
      [120n, 130n],
      // The nearest of either side that there is.
      { before: { time: 120n * S } },
    ],
    ['one on each side', [90n, 120n], { before: { time: 90n * S }, after: { time: 120n * S } }],
  ] as const)('are the nearest where there are %s', (_, seconds, expected) => {
    const all = seconds.map((second) => [second, { table: {} }] as const);
    expect(then(all).conntrackTable).toEqual(expected);
  });

  it('are those of the first moment after its end, also where a thing was told long before', () => {
    const found = then([
      [
        50n,
        { routes: to('veth1'), recentCapacity: 100, kubeProxy: '1.30.4', apiServer: 'v1.31.1' },
      ],
      [90n, { table: {} }],
      [107n, { routes: to('veth2') }],
      [200n, { routes: to('veth3'), recentCapacity: 5, kubeProxy: '1.31.0' }],
    ]);
    expect(found).toMatchObject({
      routes: to('veth2'),
      recentCapacity: 100,
      kubeProxy: '1.30.4',
      api: 'v1.31.1',
    });
  });

  it('are told later rather than not at all', () => {
    expect(
      then([
        [106n, { table: {} }],
        [130n, { routes: to('veth1') }],
        [140n, { routes: to('veth2') }],
      ]),
    ).toMatchObject({
      routes: to('veth1'),
    });
  });

  it('age with the time that passes until that moment', () => {
    expect(
      then([
        [99n, { recent: list(3) }],
        [108n, {}],
      ]).recent,
    ).toEqual(list(12));
    // Told later than that moment: it was seen then or has not been yet.
    expect(
      then([
        [106n, {}],
        [110n, { recent: list(3) }],
      ]).recent,
    ).toEqual(list(0));
  });

  it('of one that is open are the last', () => {
    const found = then(
      [
        [106n, { routes: to('a') }],
        [150n, { routes: to('b'), table: {} }],
      ],
      'open',
    );
    expect(found).toMatchObject({ routes: to('b') });
  });
});
