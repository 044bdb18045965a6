import { lastValueFrom, toArray } from 'rxjs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clusterFromFiles } from '../../../src/sources/cluster/files.js';
import { Scratch } from '../files/replayed.js';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const pods = (namespace: string): string =>
  JSON.stringify({
    kind: 'PodList',
    apiVersion: 'v1',
    items: [{ metadata: { name: 'p', namespace, uid: `uid-${namespace}` } }],
  });

test('lists of one kind in several files, or in one, are parts of one list', async () => {
  const a = scratch.write('a.json', pods('a'));
  const b = scratch.write('b.json', `${pods('b')}\n${pods('c')}\n`);
  const events = await lastValueFrom(clusterFromFiles([a, b]).pipe(toArray()));
  expect(events).toMatchObject([
    {
      type: 'cluster',
      change: { op: 'list', items: [{ namespace: 'a' }, { namespace: 'b' }, { namespace: 'c' }] },
    },
  ]);
});
