import { describe, expect, test } from 'vitest';
import { Interfaces } from '../../../src/model/interfaces.js';
import { UsageError } from '../../../src/model/problem.js';
import type { AddonLoad } from '../../../src/native/binding.js';
import { chooseCapture } from '../../../src/sources/capture/backend.js';

const options = { interfaces: new Interfaces() };
const linux = (load: AddonLoad) => ({ platform: 'linux', load: () => load });
const there = linux({
  ok: true,
  addon: {
    PacketRing: Object as never,
    NetlinkSocket: Object as never,
    widen: () => 0,
    legacyTables: async () => [],
  },
});
const absent = linux({ ok: false, reason: 'not built' });

describe('chooseCapture', () => {
  test.each([
    ['auto takes the ring', 'auto', there, 'ring', undefined],
    ['auto takes cap where there is no addon, and says why', 'auto', absent, 'cap', 'not built'],
    ['ring is the ring', 'ring', there, 'ring', undefined],
    ['cap is cap', 'cap', there, 'cap', undefined],
    ['cap needs no addon', 'cap', absent, 'cap', undefined],
  ] as const)('%s', (_, choice, machine, backend, fallback) => {
    const chosen = chooseCapture(choice, options, machine);
    expect([chosen.backend, chosen.fallback]).toEqual([backend, fallback]);
  });

  test('the ring cannot be had without the addon', () => {
    expect(() => chooseCapture('ring', options, absent)).toThrow(new UsageError('not built'));
  });

  test.each(['auto', 'ring', 'cap'] as const)('off Linux %s is explained', (choice) => {
    const mac = { ...there, platform: 'darwin' };
    expect(() => chooseCapture(choice, options, mac)).toThrow(/Linux.*darwin.*replay/);
    expect(() => chooseCapture(choice, options, mac)).toThrow(UsageError);
  });
});
