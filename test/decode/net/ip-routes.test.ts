import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { deviceTo, isIpRoutes, readIpRoutes } from '../../../src/decode/net/ip-routes.js';
import type { Route } from '../../../src/model/readings.js';
import { seeded } from '../../support/seeded.js';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const read = (value: unknown) => readIpRoutes(bytes(JSON.stringify(value)));

/** As iproute2 6.1 prints a node's table. */
const V4 = [
  { dst: 'default', gateway: '192.168.77.1', dev: 'eth0', flags: [] },
  { dst: '10.244.0.0/24', gateway: '192.168.77.12', dev: 'eth0', flags: [] },
  { dst: '10.244.1.2', dev: 'veth1', scope: 'link', flags: [] },
  { dst: '192.168.77.0/24', dev: 'eth0', protocol: 'kernel', prefsrc: '192.168.77.11', flags: [] },
];
const V6 = [
  { dst: 'fd00:10:244:1::2', dev: 'veth1', metric: 1024, flags: [], pref: 'medium' },
  { dst: 'fe80::/64', dev: 'eth0', protocol: 'kernel', metric: 256, flags: [], pref: 'medium' },
  { dst: 'default', gateway: 'fe80::1', dev: 'eth0', metric: 1024, flags: [], pref: 'medium' },
];

describe('a list of routes', () => {
  it('is read as it is printed, of both families', () => {
    expect(read(V4)).toEqual({
      routes: [
        { network: '0.0.0.0', prefix: 0, device: 'eth0', metric: 0 },
        { network: '10.244.0.0', prefix: 24, device: 'eth0', metric: 0 },
        { network: '10.244.1.2', prefix: 32, device: 'veth1', metric: 0 },
        { network: '192.168.77.0', prefix: 24, device: 'eth0', metric: 0 },
      ],
      problems: [],
    });
    expect(read(V6).routes).toEqual([
      { network: 'fd00:10:244:1::2', prefix: 128, device: 'veth1', metric: 1024 },
      { network: 'fe80::', prefix: 64, device: 'eth0', metric: 256 },
      { network: '::', prefix: 0, device: 'eth0', metric: 1024 },
    ]);
  });

  it.each([
    ['without a device: unreachable', { type: 'unreachable', dst: '10.0.0.0/8', flags: [] }, []],
    ['without a destination', { dev: 'eth0', flags: [] }, []],
    [
      'over several ways: the first',
      { dst: '10.9.0.0/16', flags: [], nexthops: [{ via: {}, dev: 'a' }, { dev: 'b' }] },
      [{ network: '10.9.0.0', prefix: 16, device: 'a', metric: 0 }],
    ],
    ['over ways that are none', { dst: '10.9.0.0/16', nexthops: [7] }, []],
    ['over no ways', { dst: '10.9.0.0/16', nexthops: [] }, []],
    [
      'with a metric that is no number',
      { dst: '10.9.0.0/16', dev: 'a', metric: '5' },
      [{ network: '10.9.0.0', prefix: 16, device: 'a', metric: 0 }],
    ],
  ])('takes a route %s', (_, row, routes) => {
    expect(read([row])).toEqual({ routes, problems: [] });
  });

  it.each([
    ['an entry that is no object', [null, 5, V4[0]], 2],
    ['a destination that is no address', [{ dst: 'nowhere', dev: 'a' }, V4[0]], 1],
    ['a prefix that is too long', [{ dst: '10.0.0.0/33', dev: 'a' }, V4[0]], 1],
    ['a prefix that is too long of IPv6', [{ dst: 'fd00::/129', dev: 'a' }, V6[2]], 1],
    ['a prefix that is no number', [{ dst: '10.0.0.0/x', dev: 'a' }, V4[0]], 1],
  ])('tells of %s and reads the others', (_, rows, count) => {
    const { routes, problems } = read(rows);
    expect(routes).toHaveLength(1);
    expect(problems.map(({ code, fatal }) => [code, fatal])).toEqual(
      Array.from({ length: count }, () => ['route-bad-entry', false]),
    );
  });

  it('tells of rubbish no more often than is of use', () => {
    expect(read(Array.from({ length: 5_000 }, () => 1)).problems).toHaveLength(20);
  });

  it('says where it is cut, wherever that is', () => {
    const whole = JSON.stringify(V4);
    for (let length = 0; length < whole.length; length++) {
      const { routes, problems } = readIpRoutes(bytes(whole.slice(0, length)));
      expect(routes).toEqual([]);
      expect(problems.map(({ code, fatal }) => [code, fatal])).toEqual([['routes-not-json', true]]);
    }
    expect(readIpRoutes(bytes('{"dst":"default"}')).problems[0]?.code).toBe('routes-not-json');
  });

  it('gives nothing but its problems whatever is changed in it', () => {
    const random = seeded(5);
    const whole = bytes(JSON.stringify([...V4, ...V6]));
    for (let i = 0; i < 2_000; i++) {
      const changed = whole.slice(0, 1 + Math.floor(random() * whole.length));
      for (let n = 0; n < 3; n++) {
        changed[Math.floor(random() * changed.length)] = Math.floor(random() * 256);
      }
      const { routes, problems } = readIpRoutes(changed);
      for (const { code } of problems) expect(code).toMatch(/^route(?:s-not-json|-bad-entry)$/);
      for (const { prefix, network } of routes) {
        expect(prefix).toBeLessThanOrEqual(network.includes(':') ? 128 : 32);
        expect(() => deviceTo(routes, network)).not.toThrow();
      }
    }
  });

  it('is known by its beginning, and what else ip prints is not taken for it', () => {
    for (const list of [V4, V6]) expect(isIpRoutes(bytes(JSON.stringify(list)))).toBe(true);
    const typed = [{ type: 'local', dst: '10.0.0.1', dev: 'lo', flags: [] }];
    expect(isIpRoutes(bytes(JSON.stringify(typed)))).toBe(true);
    const neighbours = [{ dst: '10.244.1.2', dev: 'veth1', lladdr: '0a:00', state: ['STALE'] }];
    const addresses = [{ ifindex: 1, ifname: 'lo', flags: ['UP'] }];
    for (const other of [neighbours, addresses, [], {}]) {
      expect(isIpRoutes(bytes(JSON.stringify(other)))).toBe(false);
    }
  });
});

describe('the device to an address', () => {
  const routes: readonly Route[] = [...read(V4).routes, ...read(V6).routes];

  it.each([
    ['10.244.1.2', 'veth1'],
    ['10.244.0.9', 'eth0'],
    ['8.8.8.8', 'eth0'],
    ['fd00:10:244:1::2', 'veth1'],
    ['fe80::5', 'eth0'],
    ['2001:db8::1', 'eth0'],
    ['no address', undefined],
    ['', undefined],
  ])('%s is by %s', (address, device) => {
    expect(deviceTo(routes, address)).toBe(device);
  });

  it('is that of the lowest metric among networks of one length', () => {
    const [a, b] = [
      { network: '10.0.0.0', prefix: 8, device: 'a', metric: 200 },
      { network: '10.0.0.0', prefix: 8, device: 'b', metric: 100 },
    ];
    expect([deviceTo([a, b], '10.1.2.3'), deviceTo([b, a], '10.1.2.3')]).toEqual(['b', 'b']);
  });

  it('is none without a route of its family', () => {
    expect(deviceTo(read(V4).routes, 'fd00::1')).toBeUndefined();
    expect(deviceTo(read(V6).routes, '10.0.0.1')).toBeUndefined();
  });

  it('is that of the longest network that holds it', () => {
    const word = fc.integer({ min: 0, max: 0xffff_ffff });
    const text = (n: number): string => [24, 16, 8, 0].map((s) => (n >>> s) & 255).join('.');
    const table = fc.array(fc.tuple(word, fc.integer({ min: 0, max: 32 })), { maxLength: 12 });
    fc.assert(
      fc.property(table, word, (networks, address) => {
        const all = networks.map(([n, prefix], i) => {
          // Half of them hold it.
          const base = i % 2 === 0 ? address : n;
          return { network: text(base), prefix, device: `${i}`, metric: i };
        });
        const inside = all.filter(({ network, prefix }) => {
          const n = network.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
          return Math.floor(n / 2 ** (32 - prefix)) === Math.floor(address / 2 ** (32 - prefix));
        });
        const best = inside.sort((x, y) => y.prefix - x.prefix || x.metric - y.metric)[0];
        expect(deviceTo(all, text(address))).toBe(best?.device);
      }),
      { numRuns: 200 },
    );
  });
});
