import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN } from '../../src/model/packet.js';
import { PacketRows } from '../../src/model/packet-rows.js';
import { nanosOf } from '../../src/model/time.js';
import { mergeByTime } from '../../src/pipeline/merge.js';
import {
  describe,
  eventStream,
  type Flow,
  flowStream,
  packetStream,
  packetsInto,
  type Tap,
} from './rows.js';

async function merged(
  streams: readonly AsyncIterable<InputEvent>[],
  interfaces = new Interfaces(),
): Promise<string[]> {
  const out: string[] = [];
  for await (const batch of mergeByTime(streams, interfaces)) {
    for (const event of batch) describe(event, out);
  }
  return out;
}

const SECOND = 1_000_000_000;
const at = (t: number): bigint => nanosOf(1_000, t);
const addresses = (t: number, ip: string): InputEvent => ({
  type: 'addresses',
  time: at(t),
  addresses: [ip],
});
const loss = (detail: string, to?: bigint): InputEvent => ({
  type: 'loss',
  loss: { source: 'file', count: 1, detail, ...(to === undefined ? {} : { to }) },
});

test('no stream at all gives nothing', async () => {
  expect(await merged([])).toEqual([]);
});

test('streams without a row give nothing', async () => {
  expect(await merged([packetStream([]), packetStream([[], []]), flowStream([[]])])).toEqual([]);
});

test('one sorted stream passes as it is, without a copy of its rows', async () => {
  const taps = Array.from({ length: 50 }, (_, i): Tap => ({ t: Math.floor(i / 2), n: -i >>> 0 }));
  const rows = packetsInto(new PacketRows(64), taps);
  const memory = rows.words;
  let count = 0;
  const stream = eventStream([{ type: 'packets', rows }]);
  for await (const batch of mergeByTime([stream], new Interfaces())) {
    for (const event of batch) {
      count++;
      expect(event).toMatchObject({ type: 'packets', from: 0, to: 50 });
      expect(event.type === 'packets' && event.rows.words === memory).toBe(true);
    }
  }
  expect(count).toBe(1);
});

test('only the rows between `from` and `to` of an event count', async () => {
  const rows = packetsInto(new PacketRows(4), [
    { t: 9, n: 1 },
    { t: 1, n: 2 },
    { t: 2, n: 3 },
    { t: 0, n: 4 },
  ]);
  expect(await merged([eventStream([{ type: 'packets', rows, from: 1, to: 3 }])])).toEqual([
    'p1#2',
    'p2#3',
  ]);
});

test('two captures are interleaved by time', async () => {
  expect(
    await merged([
      packetStream([
        [
          { t: 10, n: 1 },
          { t: 30, n: 3 },
        ],
        [{ t: 50, n: 5 }],
      ]),
      packetStream([
        [{ t: 20, n: 2 }],
        [
          { t: 40, n: 4 },
          { t: 60, n: 6 },
        ],
      ]),
    ]),
  ).toEqual(['p10#1', 'p20#2', 'p30#3', 'p40#4', 'p50#5', 'p60#6']);
});

test('rows of one moment keep the order of their file', async () => {
  expect(
    await merged([
      packetStream([
        [
          { t: 5, n: 9 },
          { t: 5, n: 1 },
        ],
        [{ t: 5, n: 4 }],
      ]),
    ]),
  ).toEqual(['p5#9', 'p5#1', 'p5#4']);
});

test('at one moment go rules, cluster, addresses, packets, conntrack and losses, in this order', async () => {
  const time = at(7);
  const rules: InputEvent = {
    type: 'rules',
    time,
    services: [],
    rules: { kind: 'iptables', family: 4, backend: 'nft', tables: new Map() },
  };
  const cluster: InputEvent = {
    type: 'cluster',
    time,
    change: { op: 'list', kind: 'pod', items: [] },
  };
  const streams = [
    eventStream([{ type: 'tick', time }]),
    eventStream([{ type: 'notice', notice: { code: 'x', time, detail: 'n' } }]),
    eventStream([loss('l', time)]),
    flowStream([[{ t: 7, n: 1 }]]),
    packetStream([[{ t: 7, n: 1 }]]),
    eventStream([addresses(7, '10.0.0.1')]),
    eventStream([cluster]),
    eventStream([rules]),
  ];
  expect(await merged(streams)).toEqual([
    'rules',
    'cluster',
    'addresses 10.0.0.1',
    'p7#1',
    'c7#1',
    'loss l',
    'notice n',
    'tick',
  ]);
});

test('copies of one moment in several captures go SYN, SYN-ACK, data, end', async () => {
  const one = (n: number, flags: number) => packetStream([[{ t: 3, n, flags }]]);
  expect(
    await merged([
      one(1, TCP_RST),
      one(2, TCP_FIN | TCP_ACK),
      one(3, TCP_ACK),
      one(4, TCP_SYN | TCP_ACK),
      one(5, TCP_SYN),
    ]),
  ).toEqual(['p3#5', 'p3#4', 'p3#3', 'p3#1', 'p3#2']);
});

test('packets that differ in nothing but the interface are ordered by its name, not its number', async () => {
  for (const names of [
    ['veth1', 'eth0'],
    ['eth0', 'veth1'],
  ]) {
    const interfaces = new Interfaces();
    const ids = names.map((name) => interfaces.id({ name }));
    const seen: (string | undefined)[] = [];
    const streams = ids.map((id) => packetStream([[{ t: 3, n: 1, interface: id }]]));
    for await (const batch of mergeByTime(streams, interfaces)) {
      for (const event of batch) {
        if (event.type !== 'packets') continue;
        for (let r = event.from ?? 0; r < (event.to ?? 0); r++) {
          seen.push(interfaces.name(event.rows.words[r * event.rows.stride + 4] ?? 0));
        }
      }
    }
    expect(seen).toEqual(['eth0', 'veth1']);
  }
});

test('a conntrack event with a whole second for a time goes at the end of that second, in file order', async () => {
  const coarse: Flow[] = [
    { t: 0, n: 9, resolution: SECOND },
    { t: 0, n: 3, resolution: SECOND },
  ];
  expect(
    await merged([
      flowStream([coarse]),
      packetStream([
        [
          { t: SECOND - 1, n: 1 },
          { t: SECOND + 1, n: 2 },
        ],
      ]),
    ]),
  ).toEqual([`p${SECOND - 1}#1`, 'c0#9', 'c0#3', `p${SECOND + 1}#2`]);
});

test('conntrack rows without a time hold from the beginning: they go first', async () => {
  expect(
    await merged([
      packetStream([[{ t: 0, n: 1 }]]),
      flowStream([
        [
          { t: -1, n: 2 },
          { t: -1, n: 1 },
        ],
      ]),
    ]),
  ).toEqual(['c-1#2', 'c-1#1', 'p0#1']);
});

test('an event without a time keeps its place in its stream', async () => {
  const rows = packetsInto(new PacketRows(2), [{ t: 10, n: 1 }]);
  expect(
    await merged([
      eventStream([{ type: 'packets', rows }, loss('cut off')]),
      packetStream([
        [
          { t: 5, n: 2 },
          { t: 15, n: 3 },
        ],
      ]),
    ]),
  ).toEqual(['p5#2', 'p10#1', 'loss cut off', 'p15#3']);
});

test('runs of rows are handed on where they lie, the longest that fit', async () => {
  const long = Array.from({ length: 100 }, (_, i): Tap => ({ t: 1_000 + i, n: i }));
  const runs: string[] = [];
  const places = new Map<PacketRows, string>();
  const streams = [
    packetStream([[{ t: 1, n: 1 }, { t: 3, n: 1 }, ...long]]),
    packetStream([
      [
        { t: 2, n: 2 },
        { t: 4, n: 2 },
      ],
    ]),
  ];
  for await (const batch of mergeByTime(streams, new Interfaces())) {
    for (const event of batch) {
      if (event.type !== 'packets') continue;
      const place = places.get(event.rows) ?? 'ab'[places.size] ?? '?';
      places.set(event.rows, place);
      runs.push(`${place} ${event.from}-${event.to}`);
    }
  }
  expect(runs).toEqual(['a 0-1', 'b 0-1', 'a 1-2', 'b 1-2', 'a 2-102']);
});

test('all streams are closed when the receiver stops early', async () => {
  const closed: string[] = [];
  async function* watched(name: string): AsyncGenerator<InputEvent> {
    try {
      yield* packetStream([[{ t: 1, n: 1 }], [{ t: 5 * SECOND, n: 2 }], [{ t: 9 * SECOND, n: 2 }]]);
    } finally {
      closed.push(name);
    }
  }
  for await (const batch of mergeByTime([watched('a'), watched('b')], new Interfaces())) {
    expect(batch.length).toBeGreaterThan(0);
    break;
  }
  expect(closed.sort()).toEqual(['a', 'b']);
});

test('a stream that fails ends the merge with its error and closes the others', async () => {
  let closed = false;
  async function* failing(): AsyncGenerator<InputEvent> {
    yield { type: 'tick', time: at(1) };
    throw new Error('disk on fire');
  }
  async function* other(): AsyncGenerator<InputEvent> {
    try {
      yield* packetStream([[{ t: 1, n: 1 }], [{ t: 2, n: 2 }]]);
    } finally {
      closed = true;
    }
  }
  await expect(merged([other(), failing()])).rejects.toThrow('disk on fire');
  expect(closed).toBe(true);
});

/** Nearly sorted taps cut into batches; no two alike, so that nothing but the order can differ. */
const disorder = fc
  .array(
    fc.record({
      step: fc.integer({ min: 0, max: 200_000_000 }),
      late: fc.integer({ min: 0, max: 400_000_000 }),
    }),
    { maxLength: 60 },
  )
  .chain((steps) =>
    fc.record({
      steps: fc.constant(steps),
      cuts: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 60 }),
    }),
  );

function batches(
  { steps, cuts }: { steps: { step: number; late: number }[]; cuts: number[] },
  first: number,
): Tap[][] {
  let t = 0;
  const taps = steps.map(({ step, late }, i): Tap => {
    t += step;
    return { t: Math.max(0, t - late), n: first + i };
  });
  const out: Tap[][] = [];
  for (let i = 0, c = 0; i < taps.length; c++) {
    const size = cuts[c % cuts.length] ?? 1;
    out.push(taps.slice(i, i + size));
    i += size;
  }
  return out;
}

test('property: disorder within the window comes out sorted, complete, and the same in any order of streams', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(disorder, { maxLength: 4 }),
      fc.infiniteStream(fc.nat()),
      async (inputs, random) => {
        const sources = inputs.map((input, i) => batches(input, 1_000 * i));
        const flat = sources.flat(2);
        const expected = [...flat].sort((a, b) => a.t - b.t).map(({ t }) => t);
        const out = await merged(sources.map(packetStream));
        expect(out.map((text) => Number(text.slice(1).split('#')[0]))).toEqual(expected);
        expect([...out].sort()).toEqual(flat.map(({ t, n }) => `p${t}#${n}`).sort());
        const shuffled = [...sources];
        for (let i = shuffled.length - 1; i > 0; i--) {
          const j = (random.next().value ?? 0) % (i + 1);
          const [a, b] = [shuffled[i], shuffled[j]];
          if (a !== undefined && b !== undefined) [shuffled[i], shuffled[j]] = [b, a];
        }
        expect(await merged(shuffled.map(packetStream))).toEqual(out);
      },
    ),
    { numRuns: 150 },
  );
});

test('property: a stream given twice gives each row twice, in any order of streams', async () => {
  await fc.assert(
    fc.asyncProperty(disorder, disorder, async (one, two) => {
      const a = batches(one, 0);
      const b = batches(two, 1_000);
      const x = await merged([a, a, b].map(packetStream));
      expect(await merged([a, b, a].map(packetStream))).toEqual(x);
      expect(await merged([b, a, a].map(packetStream))).toEqual(x);
      expect(x).toHaveLength(2 * a.flat().length + b.flat().length);
    }),
    { numRuns: 80 },
  );
});

test('property: nothing is lost or made up, however wild the disorder', async () => {
  const wild = fc.array(fc.array(fc.nat({ max: 20 * SECOND }), { maxLength: 12 }), {
    maxLength: 12,
  });
  await fc.assert(
    fc.asyncProperty(wild, wild, async (packets, flows) => {
      const taps = packets.map((batch, i) => batch.map((t, j): Tap => ({ t, n: 100 * i + j })));
      const entries = flows.map((batch, i) => batch.map((t, j): Flow => ({ t, n: 100 * i + j })));
      const out = await merged([packetStream(taps), flowStream(entries)]);
      const expected = [
        ...taps.flat().map(({ t, n }) => `p${t}#${n}`),
        ...entries.flat().map(({ t, n }) => `c${t}#${n}`),
      ];
      expect([...out].sort()).toEqual(expected.sort());
      expect(await merged([packetStream(taps), flowStream(entries)])).toEqual(out);
    }),
    { numRuns: 150 },
  );
});
