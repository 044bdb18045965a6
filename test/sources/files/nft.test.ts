import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { recorded } from '../../support/recorded.js';
import { replay, Scratch } from './replayed.js';

const RULES = recorded('decode/rules/data/1.36-nftables-00-rules.nft.json.gz').toString();
const OTHERS = recorded('decode/rules/data/1.36-nftables-05-no-endpoints.nft.json.gz').toString();

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const write = (name: string, text: string): string => scratch.write(name, text);

const FOUR = 'rules  4 nft nftables 44';
const SIX = 'rules  6 nft nftables 4';

test('a listing of nft holds for the whole run, one rule set a family', async () => {
  const { inputs, prelude, events, problems } = await replay([write('x', RULES)]);
  expect(prelude).toEqual([`${FOUR} -`, `${SIX} -`]);
  expect(events).toEqual([]);
  expect(problems).toEqual([]);
  expect(inputs.hasEvidence).toBe(false);
});

test('the earlier of a pair holds, and the later is named once', async () => {
  write('nft.before.json', RULES);
  write('nft.json', OTHERS);
  const { inputs, prelude } = await replay([scratch.path]);
  expect(prelude).toEqual([`${FOUR} -`, `${SIX} -`]);
  expect(inputs.skipped).toMatchObject([{ file: join(scratch.path, 'nft.json'), kind: 'no-time' }]);
});

test('two listings without a time that differ are refused, equal ones are not', async () => {
  const other = OTHERS.replace('10.96.81.51', '10.96.81.52');
  await expect(replay([write('a', RULES), write('b', other)])).rejects.toThrow(/FILE@TIME/);
  const { prelude } = await replay([write('a', RULES), write('b', RULES)]);
  expect(prelude).toEqual([`${FOUR} -`, `${SIX} -`]);
});

test('listings with times follow one another, unless they say the same', async () => {
  const times = ['2026-11-22T10:00:00Z', '2026-11-22T10:00:01Z', '2026-11-22T10:00:02Z'] as const;
  const { prelude, events } = await replay([
    `${write('c', OTHERS)}@${times[2]}`,
    `${write('b', RULES)}@${times[1]}`,
    `${write('a', RULES)}@${times[0]}`,
  ]);
  expect(prelude).toEqual([`${FOUR} -`, `${SIX} -`]);
  expect(events).toEqual([
    `${FOUR} 2026-11-22T10:00:02.000000000Z`,
    `${SIX} 2026-11-22T10:00:02.000000000Z`,
  ]);
});

test('a cut listing gives its beginning and a loss; of one cut too early nothing can be used', async () => {
  const { prelude, problems } = await replay([write('x', RULES.slice(0, 40_000))]);
  expect(prelude[0]).toMatch(/^rules {2}4 nft nftables 44 /);
  expect(prelude.at(-1)).toMatch(/^loss /);
  expect(problems).toHaveLength(1);
  await expect(replay([write('y', '{"nftables": [{"metain')])).rejects.toThrow(/cut off/);
});

test("a listing of iptables-nft's tables is left out with what to give instead", async () => {
  const tables = recorded('decode/rules/data/1.30-iptables-nft.nft.json.gz').toString();
  const { inputs, prelude } = await replay([write('x', tables)]);
  expect(prelude).toEqual([]);
  expect(inputs.skipped).toMatchObject([
    { kind: 'unsupported', reason: expect.stringMatching(/ip nat.*iptables-save/) },
  ]);
});
