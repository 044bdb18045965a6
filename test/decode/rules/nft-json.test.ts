import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { nftServices } from '../../../src/decode/rules/nft-services.js';
import { recorded } from './dumps.js';

const read = (text: string): ReturnType<typeof readNftJson> => readNftJson(Buffer.from(text));
const own = { family: 'ip', table: 'kube-proxy' };
const listing = (...items: readonly unknown[]): string => JSON.stringify({ nftables: items });
const codes = (text: string): string[] => read(text).problems.map(({ code }) => code);

describe('recorded listings', () => {
  test('both families, with chains, sets and maps as they were printed', () => {
    const { rules, otherTables, problems } = readNftJson(
      recorded('1.36-nftables-03-session-affinity.nft.json.gz'),
    );
    expect(problems).toEqual([]);
    expect(otherTables).toEqual(['ip mangle', 'ip raw']);
    expect(
      rules.map(({ kind, family, backend, version }) => [kind, family, backend, version]),
    ).toEqual([
      ['nftables', 4, 'nft', '1.0.6'],
      ['nftables', 6, 'nft', '1.0.6'],
    ]);
    const [four] = rules;
    expect(four?.chains.get('filter-prerouting-pre-dnat')).toMatchObject({
      type: 'filter',
      hook: 'prerouting',
      priority: -110,
      policy: 'accept',
    });
    expect(four?.chains.get('external-K4CWHINZ-default/np-local/tcp/')?.rules).toHaveLength(4);
    expect(four?.chains.get('cluster-ips-check')?.rules[0]).toMatchObject({
      handle: expect.any(Number),
      comment: 'Reject traffic to invalid ports of ClusterIPs',
      expressions: [{ match: { right: '@cluster-ips' } }, { reject: { type: 'icmp' } }],
    });
    expect(four?.sets.get('cluster-ips')).toMatchObject({
      comment: 'Active ClusterIPs',
      keyTypes: ['ipv4_addr'],
      flags: [],
    });
    expect(four?.sets.get('affinity-HS4YTFEE-default/sticky/tcp/__10.244.2.3/8080')).toMatchObject({
      flags: ['timeout'],
      timeoutSeconds: 10_800,
      elements: [{ key: '10.244.1.3', expiresSeconds: 10_787 }],
    });
    expect(four?.maps.get('no-endpoint-nodeports')).toMatchObject({
      keyTypes: ['inet_proto', 'inet_service'],
      valueType: 'verdict',
      elements: [
        {
          key: { concat: ['tcp', 30_090] },
          value: { goto: { target: 'reject-chain' } },
          comment: 'shop/none-np',
        },
      ],
    });
  });

  test("iptables-nft's tables are no rules of kube-proxy's nftables mode, and no problem", () => {
    expect(readNftJson(recorded('1.30-iptables-nft.nft.json.gz'))).toEqual({
      rules: [],
      otherTables: ['ip filter', 'ip mangle', 'ip nat', 'ip6 filter', 'ip6 mangle', 'ip6 nat'],
      problems: [],
    });
  });

  test('a listing cut at any place gives its beginning and says where it ends', () => {
    const whole = recorded('1.36-nftables-05-no-endpoints.nft.json.gz').toString();
    const all = read(whole).rules;
    const count = (rules: typeof all): number =>
      rules
        .flatMap(({ chains }) => [...chains.values()])
        .reduce((sum, chain) => sum + 1 + chain.rules.length, 0);
    let before = 0;
    for (let length = 1; length < whole.trimEnd().length; length += 997) {
      const { rules, problems } = read(whole.slice(0, length));
      expect(problems).toMatchObject([{ fatal: true }]);
      expect(count(rules)).toBeGreaterThanOrEqual(before);
      before = count(rules);
      for (const one of rules) nftServices(one);
    }
    expect(before).toBeGreaterThan(0.9 * count(all));
  });

  test('damaged listings give rules or problems, never anything else', () => {
    const whole = recorded('1.36-nftables-05-no-endpoints.nft.json.gz');
    const edit = fc.record({
      at: fc.nat(whole.length - 1),
      length: fc.nat(40),
      by: fc.constantFrom('', '"', '[', ']', '{', '}', ':', ',', '0', 'null', '\u0000', '"elem":'),
    });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 4 }), (edits) => {
        let text = whole.toString('latin1');
        for (const { at, length, by } of edits) {
          text = text.slice(0, at) + by + text.slice(at + length);
        }
        const { rules, problems } = readNftJson(Buffer.from(text, 'latin1'));
        expect(problems.length).toBeLessThanOrEqual(60);
        for (const one of rules) expect(nftServices(one).length).toBeLessThan(1_000);
      }),
      { numRuns: 150, seed: 22_112_026 },
    );
  });
});

describe('forms', () => {
  const chain = { chain: { ...own, name: 'c', handle: 1 } };

  test.each([
    ['nothing', '', ['nft-not-json']],
    ['no JSON', 'table ip kube-proxy {', ['nft-not-json']],
    ['other JSON', '{"a": 1}', ['nft-not-a-listing']],
    ['a list alone', '[]', ['nft-not-a-listing']],
    ['a listing that is none', '{"nftables": {}}', ['nft-not-a-listing']],
    ['an empty listing', '{"nftables": []}', []],
    ['a listing and rubbish', `${listing(chain)} x`, ['nft-truncated']],
    ['an item of another form', listing(1, chain), ['nft-bad-item']],
    ['a chain without a name', listing({ chain: own }), ['nft-bad-item']],
    ['a set without a name', listing({ set: own }), ['nft-bad-item']],
    ['a rule without expressions', listing({ rule: { ...own, chain: 'c' } }), ['nft-bad-item']],
    [
      'an element of another form',
      listing({ map: { ...own, name: 'm', map: 'verdict', elem: [[1], [1, 2]] } }),
      ['nft-bad-item'],
    ],
    ['an unknown kind of item', listing({ flowtable: { ...own, name: 'f' } }, { x: 1 }), []],
  ])('%s', (_, text, expected) => {
    expect(codes(text)).toEqual(expected);
  });

  test('an item that is skipped is told with its number', () => {
    expect(read(listing(chain, null, chain)).problems).toMatchObject([
      { where: { record: 2 }, fatal: false, lost: 1 },
    ]);
  });

  test('of very many bad items the rest is counted', () => {
    const { problems } = read(listing(...Array.from({ length: 1_000 }, () => 0)));
    expect(problems.length).toBeLessThan(60);
    expect(problems.reduce((sum, { lost }) => sum + (lost ?? 0), 0)).toBe(1_000);
  });

  test('flags, types and elements come one by one or as lists', () => {
    const set = (name: string, more: object): object => ({ set: { ...own, name, ...more } });
    const { rules, problems } = read(
      listing(
        set('one', { type: 'ipv4_addr', flags: 'timeout', elem: '10.0.0.1' }),
        set('many', { type: ['a', 'b'], flags: ['dynamic', 'timeout'], elem: ['x', 'y'] }),
        set('typeof', { type: { typeof: { payload: {} } }, elem: [] }),
      ),
    );
    expect(problems).toEqual([]);
    expect([...(rules[0]?.sets.values() ?? [])]).toEqual([
      { name: 'one', keyTypes: ['ipv4_addr'], flags: ['timeout'], elements: [{ key: '10.0.0.1' }] },
      {
        name: 'many',
        keyTypes: ['a', 'b'],
        flags: ['dynamic', 'timeout'],
        elements: [{ key: 'x' }, { key: 'y' }],
      },
      { name: 'typeof', keyTypes: [], flags: [], elements: [] },
    ]);
  });

  test('expressions that nobody knows are kept as they are', () => {
    const expr = [{ frobnicate: { deeply: ['a', 1, null, true] } }, null, 'x'];
    const { rules } = read(listing(chain, { rule: { ...own, chain: 'c', expr } }));
    expect(rules[0]?.chains.get('c')?.rules).toEqual([{ expressions: expr }]);
  });

  test('what is nested too deeply to be followed is skipped', () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`;
    const text = listing({ rule: { ...own, chain: 'c', expr: [] } }).replace(
      '"expr":[]',
      `"expr":[${deep}]`,
    );
    expect(codes(text)).toEqual(['nft-bad-item']);
  });

  test('several listings may follow one another', () => {
    const six = { chain: { ...own, family: 'ip6', name: 'c' } };
    for (const between of ['', '\n', '\n\n  ']) {
      const { rules, problems } = read(`${listing(chain)}${between}${listing(six)}\n`);
      expect(problems).toEqual([]);
      expect(rules.map(({ family }) => family)).toEqual([4, 6]);
    }
  });

  test('only ip and ip6 have a table of kube-proxy', () => {
    const text = listing(
      { table: { family: 'inet', name: 'kube-proxy' } },
      { table: { family: 'ip', name: 'filter' } },
      { chain: { family: 'ip', table: 'filter', name: 'INPUT' } },
    );
    expect(read(text)).toEqual({
      rules: [],
      otherTables: ['inet kube-proxy', 'ip filter'],
      problems: [],
    });
  });
});
