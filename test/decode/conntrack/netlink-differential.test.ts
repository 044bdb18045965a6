import { describe, expect, test } from 'vitest';
import { decodeConntrackMessages } from '../../../src/decode/conntrack/netlink.js';
import { CONNTRACK_WORDS } from '../../../src/model/conntrack.js';
import { ConntrackRows } from '../../../src/model/conntrack-rows.js';
import { seeded } from '../../support/seeded.js';
import { datagrams, mutate } from './entries.js';
import { plainMessages } from './plain-netlink.js';

/** Holds the decoder against the plain one, in memory full of ones; how many rows there were. */
function compare(bytes: Uint8Array): number {
  const around = new Uint8Array(bytes.length + 64).fill(0xff);
  around.set(bytes, 32);
  const rows = new ConntrackRows(1);
  rows.words.fill(0xffff_ffff);
  const view = new DataView(around.buffer);
  const said = decodeConntrackMessages(view, 32, 32 + bytes.length, rows, 1_795_377_821, 5);
  const plain = plainMessages(bytes, 1_795_377_821, 5);
  const words = rows.words.subarray(0, rows.length * CONNTRACK_WORDS);
  expect(Array.from(words)).toEqual(plain.rows.flat());
  const [problem] = said.problems;
  expect({
    done: said.done,
    error: said.error,
    interrupted: said.interrupted,
    lost: problem?.lost ?? 0,
    first: problem === undefined ? undefined : (problem.where.offset ?? 0) - 32,
  }).toEqual({
    done: plain.done,
    error: plain.error,
    interrupted: plain.interrupted,
    lost: plain.lost,
    first: plain.firstLost,
  });
  return rows.length;
}

const NAMES = ['nl-events', 'plain-nl-events', 'nl-dump'].map((name) => `kernel-6.18-${name}.bin`);

describe('the decoder of ctnetlink messages and a plain one agree', () => {
  test.each(NAMES)('on %s', (name) => {
    let rows = 0;
    for (const { bytes } of datagrams(name)) rows += compare(bytes);
    expect(rows).toBeGreaterThan(5);
  });

  test.each(NAMES)('on %s cut at each length', (name) => {
    for (const { bytes } of datagrams(name).slice(0, 3)) {
      for (let length = 0; length < Math.min(bytes.length, 700); length++) {
        compare(bytes.subarray(0, length));
      }
    }
  });

  test('on mutated messages', () => {
    const random = seeded(20_261_125);
    const all = NAMES.flatMap((name) => datagrams(name).map(({ bytes }) => bytes));
    let rows = 0;
    for (let i = 0; i < 6_000; i++) {
      const whole = (all[i % all.length] ?? new Uint8Array()).slice(0, 900);
      if (i % 2 === 0) {
        rows += compare(mutate(whole, random));
      } else {
        const at = Math.floor(random() * whole.length);
        whole[at] = (whole[at] ?? 0) ^ (1 << Math.floor(random() * 8));
        rows += compare(whole);
      }
    }
    expect(rows).toBeGreaterThan(2_000);
  });
});
