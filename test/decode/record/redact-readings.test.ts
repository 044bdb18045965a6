import fc from 'fast-check';
import { expect, it } from 'vitest';
import { deviceTo } from '../../../src/decode/net/ip-routes.js';
import { Redactor } from '../../../src/decode/record/redact/redactor.js';
import type { InputEvent } from '../../../src/model/event.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import type { Readings } from '../../../src/model/readings.js';

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i * 5 + 1);

function redacted(readings: Readings, node?: string): Extract<InputEvent, { type: 'readings' }> {
  const redactor = new Redactor(KEY, new Interfaces());
  const of = node === undefined ? {} : { node };
  const event = redactor.event({ type: 'readings', time: 5n, ...of, readings });
  if (event?.type !== 'readings') throw new Error('no readings');
  return event;
}

/** The pseudonym of an address, by what the same key makes of another event. */
function moved(address: string): string {
  const event = new Redactor(KEY, new Interfaces()).event({
    type: 'addresses',
    addresses: [address],
  });
  return event?.type === 'addresses' ? (event.addresses[0] ?? '') : '';
}

it('of what was read of a node numbers stay, names and addresses do not', () => {
  const table = { count: 5, max: 9, insertFailed: 1, drop: 2, earlyDrop: 3 };
  const event = redacted(
    {
      table,
      routes: [
        { network: '10.244.1.2', prefix: 32, device: 'vethsecret', metric: 7 },
        { network: 'no network', prefix: 8, device: 'vethsecret', metric: 0 },
      ],
      recent: [
        ['KUBE-SEP-AAAAAAAAAAAAAAAA', [['10.244.1.9', 1.5]]],
        ['secret-list', [['secret', 1]]],
      ],
      recentCapacity: 100,
      kubeProxy: '1.30.4-secret.3',
    },
    'secret-node',
  );
  expect(event).toEqual({
    type: 'readings',
    time: 5n,
    node: expect.stringMatching(/^node-[0-9a-f]{12}$/),
    readings: {
      table,
      routes: [
        {
          network: moved('10.244.1.2'),
          prefix: 32,
          device: expect.stringMatching(/^veth[0-9a-f]{8,11}$/),
          metric: 7,
        },
      ],
      recent: [
        [expect.stringMatching(/^KUBE-SEP-[A-Z2-7]{16}$/), [[moved('10.244.1.9'), 1.5]]],
        [expect.stringMatching(/^CHAIN-/), []],
      ],
      recentCapacity: 100,
      kubeProxy: '1.30.4',
    },
  });
  const text = JSON.stringify(event.readings);
  for (const one of ['secret', 'AAAAAAAA', '10.244.1.2', '10.244.1.9']) {
    expect(text).not.toContain(one);
  }
});

it.each(['v1.30', '1.30.4', 'v1.31.0+k3s1', 'build of secret', '1.30.4secret'])(
  'of version %s no word is kept',
  (kubeProxy) => {
    const said = redacted({ kubeProxy }).readings.kubeProxy;
    expect(said ?? '1.30').toMatch(/^v?\d+\.\d+(\.\d+)?$/);
    expect(said === undefined).toBe(kubeProxy.includes('secret'));
  },
);

it('routes lead pseudonyms by the pseudonyms of the devices that they led the addresses by', () => {
  const octet = fc.integer({ min: 0, max: 255 });
  const address = fc.tuple(octet, octet).map(([a, b]) => `10.244.${a}.${b}`);
  const route = fc.record({
    network: address,
    prefix: fc.constantFrom(0, 8, 16, 24, 30, 32),
    device: fc.constantFrom('eth0', 'vethab', 'cni0'),
    metric: fc.nat(3),
  });
  fc.assert(
    fc.property(fc.array(route, { maxLength: 6 }), address, (all, ip) => {
      const routes = all.map(({ network, ...rest }) => ({
        network: cut(network, rest.prefix),
        ...rest,
      }));
      const device = deviceTo(routes, ip);
      const after = deviceTo(redacted({ routes }).readings.routes ?? [], moved(ip));
      const known =
        device === undefined
          ? undefined
          : redacted({
              routes: [{ network: '10.0.0.1', prefix: 32, device, metric: 0 }],
            }).readings.routes?.[0]?.device;
      expect(after).toBe(known);
    }),
    { numRuns: 100 },
  );
});

/** An address without the bits behind a prefix, as routes have it. */
function cut(address: string, prefix: number): string {
  const words = address.split('.').map(Number);
  return words
    .map((word, i) => {
      const left = Math.max(0, Math.min(8, prefix - 8 * i));
      return word & (0xff << (8 - left)) & 0xff;
    })
    .join('.');
}
