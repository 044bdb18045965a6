import { expect, test } from 'vitest';
import type { InputEvent } from '../../src/model/event.js';
import { PacketRows } from '../../src/model/packet-rows.js';
import { inOrder } from '../../src/pipeline/reorder.js';
import { describe, eventStream, packetStream, packetsInto, type Tap } from './rows.js';

async function ordered(stream: AsyncIterable<InputEvent>): Promise<string[]> {
  const out: string[] = [];
  for await (const event of inOrder(stream)) describe(event, out);
  return out;
}

const SECOND = 1_000_000_000;

const CASES: readonly { name: string; batches: Tap[][]; out: string[] }[] = [
  { name: 'an empty stream gives nothing', batches: [], out: [] },
  {
    name: 'a batch out of order inside is sorted, equal moments keep their order',
    batches: [
      [
        { t: 3, n: 1 },
        { t: 1, n: 2 },
        { t: 3, n: 0 },
        { t: 1, n: 1 },
      ],
    ],
    out: ['p1#2', 'p1#1', 'p3#1', 'p3#0'],
  },
  {
    name: 'a batch that begins before the last one ended is merged into it, earlier batches first among equals',
    batches: [
      [
        { t: 1, n: 1 },
        { t: 5, n: 2 },
        { t: 9, n: 3 },
      ],
      [
        { t: 5, n: 4 },
        { t: 7, n: 5 },
        { t: 9, n: 6 },
        { t: 11, n: 7 },
      ],
    ],
    out: ['p1#1', 'p5#2', 'p5#4', 'p7#5', 'p9#3', 'p9#6', 'p11#7'],
  },
  {
    name: 'a batch may overlap several earlier ones',
    batches: [
      [{ t: 1, n: 1 }],
      [{ t: 4, n: 2 }],
      [{ t: 8, n: 3 }],
      [
        { t: 0, n: 4 },
        { t: 5, n: 5 },
        { t: 9, n: 6 },
      ],
    ],
    out: ['p0#4', 'p1#1', 'p4#2', 'p5#5', 'p8#3', 'p9#6'],
  },
  {
    name: 'a row later than the window is passed on at once and does not disturb the others',
    batches: [
      [{ t: 0, n: 1 }],
      [{ t: 3 * SECOND, n: 2 }],
      [{ t: 1, n: 3 }],
      [{ t: 4 * SECOND, n: 4 }],
    ],
    out: ['p0#1', 'p1#3', `p${3 * SECOND}#2`, `p${4 * SECOND}#4`],
  },
];

test.each(CASES)('$name', async ({ batches, out }) => {
  expect(await ordered(packetStream(batches))).toEqual(out);
});

test('rows out of order by more than the window come after rows that were passed on before', async () => {
  const out = await ordered(
    packetStream([
      [{ t: 0, n: 1 }],
      [{ t: SECOND, n: 2 }],
      [{ t: 9 * SECOND, n: 3 }],
      [{ t: 5, n: 4 }],
    ]),
  );
  expect(out).toEqual(['p0#1', `p${SECOND}#2`, 'p5#4', `p${9 * SECOND}#3`]);
});

test('what is one second old is given out before the stream ends', async () => {
  let asked = 0;
  async function* endless(): AsyncGenerator<InputEvent> {
    const rows = new PacketRows(1);
    for (let i = 0; ; i++) {
      asked = i;
      rows.clear();
      yield { type: 'packets', rows: packetsInto(rows, [{ t: i * (SECOND / 4), n: i }]) };
    }
  }
  const out: string[] = [];
  for await (const event of inOrder(endless())) {
    describe(event, out);
    if (out.length >= 10) break;
  }
  expect(out.slice(0, 3)).toEqual(['p0#0', 'p250000000#1', 'p500000000#2']);
  expect(asked).toBeLessThan(2_000);
});

test('a stream without end at one moment keeps a bounded number of rows', async () => {
  // All rows at one moment: only the bound on rows can let them go.
  const SIZE = 1_000;
  let given = 0;
  async function* same(): AsyncGenerator<InputEvent> {
    const rows = new PacketRows(SIZE);
    const taps = Array.from({ length: SIZE }, (_, n): Tap => ({ t: 1, n }));
    for (let i = 0; i < 200; i++) {
      rows.clear();
      packetsInto(rows, taps);
      given += SIZE;
      yield { type: 'packets', rows };
    }
  }
  let taken = 0;
  let most = 0;
  for await (const event of inOrder(same())) {
    most = Math.max(most, given - taken);
    if (event.type === 'packets') taken += (event.to ?? 0) - (event.from ?? 0);
  }
  expect(taken).toBe(200 * SIZE);
  expect(most).toBeLessThan(40_000);
});

test('many small batches share memory instead of holding a large piece each', async () => {
  const held = new Set<Uint32Array>();
  async function* small(): AsyncGenerator<InputEvent> {
    const rows = new PacketRows(4_096);
    for (let i = 0; i < 2_000; i++) {
      rows.clear();
      held.add(rows.words);
      yield { type: 'packets', rows: packetsInto(rows, [{ t: i, n: i }]) };
    }
  }
  expect(await ordered(small())).toHaveLength(2_000);
  // The giver's own memory never went away.
  expect(held.size).toBe(1);
});

test('events without rows keep their place by time, or by where they stood', async () => {
  const batch = (t: number): InputEvent => ({
    type: 'packets',
    rows: packetsInto(new PacketRows(1), [{ t, n: t }]),
  });
  const tell = (detail: string): InputEvent => ({ type: 'notice', notice: { code: 'x', detail } });
  expect(
    await ordered(
      eventStream([
        tell('first'),
        batch(10),
        tell('second'),
        batch(20),
        batch(30),
        { type: 'addresses', time: 1_000_000_000_015n, addresses: ['a'] },
        { type: 'addresses', time: 1_000_000_000_005n, addresses: ['b'] },
      ]),
    ),
  ).toEqual([
    'notice first',
    'addresses b',
    'p10#10',
    'notice second',
    'addresses a',
    'p20#20',
    'p30#30',
  ]);
});
