import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isIpJson, readIpJson } from '../../../src/decode/net/ip-json.js';
import { seeded } from '../../support/seeded.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

/** As iproute2 6.1 prints it: a veth, a VLAN-like `link`, both families. */
const ADDR = JSON.stringify([
  {
    ifindex: 1,
    ifname: 'lo',
    flags: ['LOOPBACK'],
    addr_info: [
      { family: 'inet', local: '127.0.0.1', prefixlen: 8 },
      { family: 'inet6', local: '::1', prefixlen: 128 },
    ],
  },
  {
    ifindex: 7,
    link_index: 2,
    ifname: 'veth0',
    addr_info: [{ family: 'inet6', local: 'FE80:0::1', prefixlen: 64 }, {}],
  },
]);

test('addresses come canonical and sorted, names by index', () => {
  const { addresses, names, problems } = readIpJson(bytes(ADDR));
  expect(addresses).toEqual(['127.0.0.1', '::1', 'fe80::1']);
  expect([...names]).toEqual([
    [1, 'lo'],
    [7, 'veth0'],
  ]);
  expect(problems).toEqual([]);
});

test('ip -j link tells names only', () => {
  const link = '[{"ifindex":3,"link_index":2,"ifname":"eth0","mtu":1500,"link_netnsid":0}]';
  expect(isIpJson(bytes(link))).toBe(true);
  const { addresses, names } = readIpJson(bytes(link));
  expect(addresses).toEqual([]);
  expect([...names]).toEqual([[3, 'eth0']]);
});

const CASES: readonly (readonly [string, string, readonly string[]])[] = [
  ['an empty list', '[]', []],
  ['empty entries, as filters leave them', '[{},{"ifindex":1,"ifname":"lo"}]', []],
  ['nothing', '', ['ip-not-json']],
  ['a list that is cut off', ADDR.slice(0, 100), ['ip-not-json']],
  ['an object', '{"ifindex":1}', ['ip-not-a-list']],
  [
    'entries that are none',
    '[null, 7, "x", [1]]',
    ['ip-bad-entry', 'ip-bad-entry', 'ip-bad-entry'],
  ],
  [
    'an address that is none',
    '[{"ifindex":1,"ifname":"lo","addr_info":[{"local":"300.1.1.1"},{"local":7},null]}]',
    ['ip-bad-entry'],
  ],
];

test.each(CASES)('%s', (_name, text, codes) => {
  expect(readIpJson(bytes(text)).problems.map(({ code }) => code)).toEqual(codes);
});

test('problems stay few however bad a list is', () => {
  expect(readIpJson(bytes(`[${'1,'.repeat(10_000)}1]`)).problems.length).toBeLessThan(50);
});

test.each([
  [ADDR, true],
  ['[ {\n        "ifindex": 1,\n        "ifname": "lo",', true],
  ['[{},{},{"ifindex":2,"link":"eth0","ifname":"eth0.7"', true],
  ['[{"dst":"default","gateway":"10.0.0.1","dev":"eth0"}]', false],
  ['[{"mac":"33:33:00:00:00:01","ifname":"eth0","flags":["self"]}]', false],
  ['{"ifindex":1,"ifname":"lo"}', false],
  ['', false],
])('%s: recognised %s', (text, expected) => {
  expect(isIpJson(bytes(text))).toBe(expected);
});

test('property: any JSON gives a result, never an error', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const { addresses, names, problems } = readIpJson(bytes(JSON.stringify(value)));
      expect(addresses.length + names.size + problems.length).toBeGreaterThanOrEqual(0);
      if (!Array.isArray(value)) expect(problems[0]?.fatal).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test('fuzz: a mutated list gives a result, never an error', () => {
  const random = seeded(4);
  for (let round = 0; round < 300; round++) {
    const mutated = bytes(ADDR);
    for (let n = 0; n < 3; n++) {
      mutated[Math.floor(random() * mutated.length)] = Math.floor(random() * 256);
    }
    isIpJson(mutated);
    const { addresses, problems } = readIpJson(mutated);
    if (problems.some(({ fatal }) => fatal)) expect(addresses).toEqual([]);
  }
});
