import { describe, expect, test } from 'vitest';
import { readClusterDocument } from '../../../src/decode/cluster/documents.js';
import { recorded } from '../../support/recorded.js';
import { seeded } from '../../support/seeded.js';

const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const object = (kind: string | undefined, name: string): object => ({
  ...(kind === undefined ? {} : { kind, apiVersion: 'v1' }),
  metadata: { name, namespace: 'n', uid: `u-${name}` },
});
const codes = (value: unknown): string[] =>
  readClusterDocument(bytes(value)).problems.map((problem) => problem.code);

describe('recorded lists', () => {
  const kinds = [
    ['pods', 'pod', 26],
    ['services', 'service', 29],
    ['endpointslices', 'endpointslice', 30],
    ['nodes', 'node', 2],
  ] as const;
  test.each(kinds)('%s of the API are a list of each %s', (file, kind, count) => {
    const document = readClusterDocument(
      recorded(`sources/cluster/data/08-rolling-update/${file}.json.gz`),
    );
    expect(document.problems).toEqual([]);
    expect(document.ignored).toEqual([]);
    expect(document.resourceVersion).toBe('717');
    expect(document.changes).toHaveLength(1);
    const [change] = document.changes;
    expect(change).toMatchObject({ op: 'list', kind, resourceVersion: '717' });
    expect(change?.op === 'list' && change.items.length).toBe(count);
  });

  test.each(kinds)('%s of kubectl are a list of each %s', (file, kind) => {
    const document = readClusterDocument(recorded(`decode/cluster/data/kubectl-${file}.json.gz`));
    expect(document.problems).toEqual([]);
    expect(document.changes.map((change) => change.op === 'list' && change.kind)).toEqual([kind]);
    expect(document.resourceVersion).toBeUndefined();
  });

  test('a host-network Pod is one, with the address of its node', () => {
    const pods = readClusterDocument(
      recorded('sources/cluster/data/08-rolling-update/pods.json.gz'),
    );
    const [change] = pods.changes;
    const items = change?.op === 'list' ? change.items : [];
    expect(items.find((item) => item.name === 'hostsrv-75f8bfd47-pvxb6')).toMatchObject({
      hostNetwork: true,
      ips: ['192.168.77.11', 'fd00:77::11'],
      node: 'node1',
    });
  });
});

describe('a document', () => {
  test('that is a List of several kinds gives a list of each, in a fixed order', () => {
    const items = [
      object('Pod', 'p'),
      object('Node', 'k'),
      object('Deployment', 'd'),
      object('Pod', 'q'),
      object('Service', 's'),
    ];
    const document = readClusterDocument(bytes({ kind: 'List', items }));
    expect(
      document.changes.map((c) => c.op === 'list' && [c.kind, c.items.map((i) => i.name)]),
    ).toEqual([
      ['node', ['k']],
      ['service', ['s']],
      ['pod', ['p', 'q']],
    ]);
    expect(document.ignored).toEqual(['Deployment']);
    expect(document.problems).toEqual([]);
  });

  test('that is an empty typed list says that there are none', () => {
    expect(readClusterDocument(bytes({ kind: 'PodList', items: null })).changes).toEqual([
      { op: 'list', kind: 'pod', items: [] },
    ]);
  });

  test('that is an empty List says nothing', () => {
    expect(readClusterDocument(bytes({ kind: 'List', items: [] }))).toEqual({
      changes: [],
      ignored: [],
      problems: [],
    });
  });

  test.each(['DeploymentList', 'ReplicaSetList', 'NamespaceList', 'EndpointsList'])(
    'that is a %s is ignored without a problem',
    (kind) => {
      const items = [object(undefined, 'a'), object(undefined, 'b')];
      const document = readClusterDocument(bytes({ kind, items }));
      expect(document.changes).toEqual([]);
      expect(document.problems).toEqual([]);
      expect(document.ignored).toEqual([kind.replace('List', '')]);
    },
  );

  test('that is one object adds it', () => {
    expect(readClusterDocument(bytes(object('Pod', 'p'))).changes).toMatchObject([
      { op: 'set', item: { kind: 'pod', name: 'p' } },
    ]);
  });

  test('that is one object of no interest is ignored', () => {
    expect(readClusterDocument(bytes(object('Secret', 'p')))).toEqual({
      changes: [],
      ignored: ['Secret'],
      problems: [],
    });
  });

  test('that is one page of several adds its objects and says what is missing', () => {
    const metadata = { resourceVersion: '5', continue: 'x', remainingItemCount: 12 };
    const document = readClusterDocument(
      bytes({ kind: 'PodList', metadata, items: [object(undefined, 'p')] }),
    );
    expect(document.changes).toMatchObject([{ op: 'set', item: { name: 'p' } }]);
    expect(document.problems).toMatchObject([
      { code: 'cluster-partial-list', fatal: false, lost: 12 },
    ]);
  });

  test('begins with a byte order mark or not', () => {
    const text = `\ufeff${JSON.stringify(object('Pod', 'p'))}`;
    expect(readClusterDocument(bytes(text)).changes).toHaveLength(1);
  });

  test('with bad items gives the good ones and says which were bad', () => {
    const items = [object(undefined, 'p'), null, {}, object(undefined, 'q'), 'x'];
    const document = readClusterDocument(bytes({ kind: 'PodList', items }));
    expect(document.changes).toMatchObject([{ op: 'list', items: [{ name: 'p' }, { name: 'q' }] }]);
    expect(document.problems.map((p) => [p.code, p.where.record, p.lost])).toEqual([
      ['cluster-bad-object', 2, 1],
      ['cluster-bad-object', 3, 1],
      ['cluster-bad-object', 5, 1],
    ]);
  });

  test('with thousands of bad items counts them in a bounded number of problems', () => {
    const items = new Array<unknown>(5_000).fill(0);
    const { problems } = readClusterDocument(bytes({ kind: 'PodList', items }));
    expect(problems.length).toBeLessThan(100);
    expect(problems.reduce((sum, p) => sum + (p.lost ?? 0), 0)).toBe(5_000);
  });

  const useless: [string, string, string][] = [
    ['is empty', '', 'cluster-not-json'],
    ['is no JSON', 'hello', 'cluster-not-json'],
    ['is an object cut off before its items', '{"kind":"PodList","met', 'cluster-not-json'],
    ['is null', 'null', 'cluster-not-an-object'],
    ['is a list', '[]', 'cluster-not-an-object'],
    ['is a number', '7', 'cluster-not-an-object'],
    ['is an object without kind', '{}', 'cluster-bad-object'],
    ['nests too deep to be true', '['.repeat(200_000), 'cluster-not-json'],
  ];
  test.each(useless)('that %s gives one problem and nothing else', (_name, text, code) => {
    const document = readClusterDocument(bytes(text));
    expect(document.changes).toEqual([]);
    expect(document.problems.map((problem) => problem.code)).toEqual([code]);
  });
});

describe('several documents in one file', () => {
  const lists = [
    { kind: 'PodList', metadata: { resourceVersion: '5' }, items: [object(undefined, 'p')] },
    { kind: 'List', items: [object('Service', 's'), object('Deployment', 'd')] },
  ];
  const names = (value: unknown): unknown[] =>
    readClusterDocument(bytes(value)).changes.map((change) =>
      change.op === 'list'
        ? [change.op, ...change.items.map(({ name }) => name)]
        : [change.op, change.item.name],
    );

  test.each([
    ['one after another', lists.map((list) => JSON.stringify(list, null, 2)).join('\n')],
    ['without a space between them', lists.map((list) => JSON.stringify(list)).join('')],
    ['as JSON lines', `${lists.map((list) => JSON.stringify(list)).join('\r\n')}\n`],
    ['in an array', JSON.stringify(lists)],
  ])('%s are all read', (_name, text) => {
    expect(names(text)).toEqual([
      ['list', 'p'],
      ['list', 's'],
    ]);
    expect(readClusterDocument(bytes(text))).toMatchObject({
      ignored: ['Deployment'],
      problems: [],
    });
  });

  test('that are single objects add them', () => {
    const objects = [object('Pod', 'p'), object('Secret', 'x'), object('Pod', 'q')];
    const lines = objects.map((one) => JSON.stringify(one)).join('\n');
    for (const text of [lines, JSON.stringify(objects)]) {
      expect(names(text)).toEqual([
        ['set', 'p'],
        ['set', 'q'],
      ]);
      expect(codes(text)).toEqual([]);
    }
  });

  test('with more damage than anybody reads tell its beginning, how much it is, and what ended the reading', () => {
    const list = JSON.stringify({ kind: 'PodList', items: [7] });
    const text = `${Array.from({ length: 200 }, () => list).join('\n')}\n{"kind":"Pod","met`;
    const { problems } = readClusterDocument(bytes(text));
    expect(problems).toHaveLength(52);
    expect(problems.reduce((sum, { lost = 0 }) => sum + lost, 0)).toBe(200);
    expect(problems.filter(({ fatal }) => fatal)).toEqual([
      expect.objectContaining({ code: 'cluster-not-json' }),
    ]);
  });

  test('of which one is cut off give what stands before it, and say where', () => {
    const text = `\ufeff${JSON.stringify(object('Pod', 'é'))}\n{"kind":"Pod","met`;
    const { changes, problems } = readClusterDocument(bytes(text));
    expect(changes).toMatchObject([{ op: 'set', item: { name: 'é' } }]);
    const offset = bytes(text).length;
    expect(problems).toMatchObject([
      { code: 'cluster-not-json', fatal: true, where: { line: 2, offset } },
    ]);
  });
});

describe('a list that is cut off', () => {
  const items = [object(undefined, 'a'), object(undefined, 'b}]"'), object(undefined, 'c')];
  const text = JSON.stringify({ kind: 'PodList', metadata: { resourceVersion: '9' }, items });

  test('gives the objects before the cut, one by one, wherever it is cut', () => {
    for (let length = 0; length < text.length; length++) {
      const document = readClusterDocument(bytes(text.slice(0, length)));
      const whole = items.filter((item) => {
        const end = text.indexOf(JSON.stringify(item)) + JSON.stringify(item).length;
        return end <= length;
      }).length;
      expect(document.changes.map((change) => change.op)).toEqual(new Array(whole).fill('set'));
      expect(document.problems).toHaveLength(1);
      expect(document.problems[0]?.fatal).toBe(true);
    }
  });

  test('says how far it was read', () => {
    const cut = text.slice(0, text.indexOf('"c"'));
    expect(readClusterDocument(bytes(cut)).problems).toMatchObject([
      { code: 'cluster-truncated', where: { record: 3, line: 1 } },
    ]);
  });

  test('and whose kind stands at its end is read by the kinds of its items', () => {
    const list = JSON.stringify({
      apiVersion: 'v1',
      items: [object('Pod', 'a'), object('Node', 'k')],
    });
    const document = readClusterDocument(bytes(list.slice(0, -1)));
    expect(document.changes.map((c) => c.op === 'set' && c.item.kind)).toEqual(['node', 'pod']);
    expect(codes(list.slice(0, -1))).toEqual(['cluster-truncated']);
  });
});

test('mutated lists give records and problems, never an exception', () => {
  const random = seeded(20_261_122);
  const original = recorded('decode/cluster/data/kubectl-services.json.gz').subarray(0, 6_000);
  const alphabet = bytes('{}[]",:0aAé\\\n\0tnf-.');
  for (let run = 0; run < 400; run++) {
    const mutated = Buffer.from(original);
    for (let i = 0; i < 1 + (run % 8); i++) {
      const letter = alphabet[Math.floor(random() * alphabet.length)] ?? 0;
      mutated[Math.floor(random() * mutated.length)] = letter;
    }
    const cut = mutated.subarray(0, Math.floor(random() * (mutated.length + 1)));
    const document = readClusterDocument(cut);
    expect(document.changes.length).toBeLessThan(100);
    for (const problem of document.problems) expect(problem.code).toMatch(/^cluster-/);
  }
});
