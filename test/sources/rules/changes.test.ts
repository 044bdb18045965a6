import { TestScheduler } from 'rxjs/testing';
import { expect, test } from 'vitest';
import { type ChangeSources, Changes } from '../../../src/sources/rules/changes.js';
import type { NftChange } from '../../../src/sources/rules/nft-changes.js';

const NFT: Record<string, NftChange> = { l: 'listening', c: 'changed' };

test.each([
  ['a change of nf_tables is told at once', 'l-c-c', '', '--n-n', '10s !'],
  ['that it is listened for is none', 'l', '', '-', '10s !'],
  ['no more of them does not end it', 'l-c|', '', '--n', '10s !'],
  [
    'kube-proxy is given time to follow the cluster',
    '',
    '100ms x',
    '250ms k 349ms k 799ms k 1199ms k',
    '10s !',
  ],
  [
    'of a burst the first and the last of a second count',
    '',
    'x 99ms x 99ms x 99ms x',
    '150ms k 349ms k 649ms k 349ms k 799ms k 1199ms k',
    '10s !',
  ],
])('%s', (_, nft, cluster, expected, end) => {
  new TestScheduler((actual, wanted) => expect(actual).toEqual(wanted)).run(
    ({ hot, expectObservable }) => {
      const sources: ChangeSources = {
        ...(nft !== '' && { nft: hot(nft, NFT) }),
        ...(cluster !== '' && { cluster: hot(cluster) }),
      };
      expectObservable(new Changes(sources).events, end).toBe(expected, { n: 'nft', k: 'cluster' });
    },
  );
});

test('a change of legacy tables is told at once', () => {
  new TestScheduler((actual, wanted) => expect(actual).toEqual(wanted)).run(
    ({ hot, expectObservable }) => {
      const changes = new Changes({ legacy: hot('-x--x|') });
      expectObservable(changes.events, '10s !').toBe('-y--y', { y: 'legacy' });
    },
  );
});

test('it is known whether changes of nf_tables are heard', () => {
  const heard: boolean[] = [];
  new TestScheduler((actual, wanted) => expect(actual).toEqual(wanted)).run(({ hot, flush }) => {
    const changes = new Changes({ nft: hot('-l-c-|', NFT), cluster: hot('x----') });
    heard.push(changes.hearsNft);
    changes.events.subscribe((change) => {
      if (change === 'nft') heard.push(changes.hearsNft);
    });
    flush();
    heard.push(changes.hearsNft);
  });
  expect(heard).toEqual([false, true, false]);
});
