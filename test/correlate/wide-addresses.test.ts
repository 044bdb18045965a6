import { describe, expect, it } from 'vitest';
import { isWide, WideAddresses } from '../../src/correlate/wide-addresses.js';

const WORDS = [0, 1, 0xffff, 0x8000_0000, 0xffff_ffff];
/** All that differ in any of their words, each at a place of its own. */
const ALL = WORDS.flatMap((a) =>
  WORDS.flatMap((b) => WORDS.flatMap((c) => WORDS.map((d) => [a, b, c, d]))),
);

function filled(): WideAddresses {
  const addresses = new WideAddresses();
  for (const words of ALL) addresses.put(Uint32Array.from(words), 0);
  return addresses;
}

describe('IPv6 addresses as numbers', () => {
  it('differ if any of their words does', () => {
    const addresses = new WideAddresses();
    const numbers = ALL.map((words) => addresses.put(Uint32Array.from(words), 0));
    expect(new Set(numbers).size).toBe(ALL.length);
    expect(addresses.size).toBe(ALL.length);
    expect(numbers.every(isWide)).toBe(true);
  });

  it('are found and written again, wherever they lie in a row', () => {
    const addresses = filled();
    const row = new Uint32Array(10);
    const back = new Uint32Array(10);
    for (const words of ALL) {
      row.set(words, 3);
      const number = addresses.find(row, 3);
      expect(number).toBe(addresses.put(row, 3));
      addresses.write(number, back, 5);
      expect([...back.subarray(5, 9)]).toEqual(words);
    }
    expect(addresses.find(Uint32Array.of(2, 3, 4, 5), 0)).toBe(0);
  });

  it('have other numbers among others', () => {
    const addresses = filled();
    const others = new WideAddresses();
    const words = Uint32Array.from(ALL.at(-1) ?? []);
    expect(addresses.among(others, addresses.find(words, 0))).toBe(1);
    expect(others.find(words, 0)).toBe(1);
  });
});
