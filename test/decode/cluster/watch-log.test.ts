import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  MAX_WATCH_LINE_BYTES,
  readWatchLine,
  WatchLogReader,
} from '../../../src/decode/cluster/watch-log.js';
import { recorded } from '../../support/recorded.js';
import { seeded } from '../../support/seeded.js';

const pod =
  '{"kind":"Pod","metadata":{"name":"p","namespace":"n","uid":"u","resourceVersion":"5"}}';

function read(text: string | Uint8Array, chunk = Number.POSITIVE_INFINITY): WatchLogReader {
  const bytes = typeof text === 'string' ? new TextEncoder().encode(text) : text;
  const reader = new WatchLogReader();
  for (let at = 0; at < bytes.length; at += chunk) reader.feed(bytes.slice(at, at + chunk));
  reader.end();
  return reader;
}

describe('a recorded watch', () => {
  const log = recorded('sources/cluster/data/08-rolling-update/watch.jsonl.gz');

  test('is read completely, with the time of each event to the digit', () => {
    const { events, problems } = read(log);
    expect(problems).toEqual([]);
    expect(events).toHaveLength(36);
    expect(events[0]?.time).toBe(1_795_377_425_652_089_600n);
    expect(events.filter((e) => e.change.op === 'delete')).toHaveLength(4);
    expect(events[3]?.change).toMatchObject({ op: 'set', item: { kind: 'endpointslice' } });
  });

  test('is the same whatever the chunks', () => {
    const whole = read(log);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000 }), (size) => {
        expect(read(log, size).events).toEqual(whole.events);
      }),
      { numRuns: 20 },
    );
  });

  test('that is cut off keeps what came before and says so', () => {
    const { events, problems } = read(log.subarray(0, log.length - 20));
    expect(events).toHaveLength(35);
    expect(problems).toMatchObject([
      { code: 'watch-truncated', where: { line: 36 }, fatal: true, lost: 1 },
    ]);
  });
});

describe('a line', () => {
  const good: [string, string, object][] = [
    ['of the API has no time', `{"type":"ADDED","object":${pod}}`, { change: { op: 'set' } }],
    ['that deletes', `{"type":"DELETED","object":${pod}}`, { change: { op: 'delete' } }],
    ['with its time first', `{"t":1.5,"type":"ADDED","object":${pod}}`, { time: 1_500_000_000n }],
    ['with its time last', `{"type":"ADDED","object":${pod},"t": 3}`, { time: 3_000_000_000n }],
    [
      'with more digits than a double holds',
      `{"t":1795377425.652089601,"type":"MODIFIED","object":${pod}}`,
      { time: 1_795_377_425_652_089_601n },
    ],
    [
      'whose object has a t of its own',
      `{"type":"ADDED","object":{"t":9,"kind":"Pod","metadata":{"name":"p"}},"t":2}`,
      { time: 2_000_000_000n },
    ],
    [
      'that says the kind as a resource',
      '{"type":"ADDED","resource":"nodes","object":{"metadata":{"name":"k"}}}',
      { change: { item: { kind: 'node' } } },
    ],
    ['with a carriage return', `{"type":"ADDED","object":${pod}}\r`, { change: { op: 'set' } }],
  ];
  test.each(good)('%s is an event', (_name, line, expected) => {
    for (const text of [line, `${line}\n`]) {
      const { events, problems } = read(text);
      expect(problems).toEqual([]);
      expect(events).toMatchObject([expected]);
    }
  });

  const silent: [string, string][] = [
    ['empty', ''],
    ['blank', '  '],
    [
      'a bookmark',
      '{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9"}}}',
    ],
    ['of another kind', '{"type":"ADDED","object":{"kind":"Secret","metadata":{"name":"x"}}}'],
  ];
  test.each(silent)('that is %s gives nothing', (_name, line) => {
    const { events, problems } = read(`${line}\n`);
    expect(events).toEqual([]);
    expect(problems).toEqual([]);
  });

  const bad: [string, string, string][] = [
    ['is no JSON', 'x', 'watch-bad-line'],
    ['is a number', '7', 'watch-bad-line'],
    ['is null', 'null', 'watch-bad-line'],
    ['has no type', '{}', 'watch-bad-line'],
    ['has an unknown type', `{"type":"CHANGED","object":${pod}}`, 'watch-bad-line'],
    ['has no object', '{"type":"ADDED"}', 'watch-bad-line'],
    ['has an object without a name', '{"type":"ADDED","object":{"kind":"Pod"}}', 'watch-bad-line'],
    ['has a time in words', `{"t":"now","type":"ADDED","object":${pod}}`, 'watch-bad-time'],
    ['has a negative time', `{"t":-1,"type":"ADDED","object":${pod}}`, 'watch-bad-time'],
    [
      'is the server giving up',
      '{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}',
      'watch-error',
    ],
  ];
  test.each(bad)('that %s is one loss, and the next line is read', (_name, line, code) => {
    const { events, problems } = read(`\n${line}\n{"type":"ADDED","object":${pod}}\n`);
    expect(events).toHaveLength(1);
    expect(problems).toMatchObject([{ code, where: { line: 2 }, fatal: false, lost: 1 }]);
  });

  test('that is longer than any object is one loss, in bounded memory', () => {
    const reader = new WatchLogReader();
    const chunk = new Uint8Array(1024 * 1024).fill(0x20);
    for (let sent = 0; sent <= MAX_WATCH_LINE_BYTES; sent += chunk.length) reader.feed(chunk);
    reader.feed(new TextEncoder().encode(`\n{"type":"ADDED","object":${pod}}`));
    reader.end();
    expect(reader.events).toHaveLength(1);
    expect(reader.problems).toMatchObject([{ code: 'watch-long-line', where: { line: 1 } }]);
  });
});

test('thousands of bad lines are counted in a bounded number of problems', () => {
  const { problems } = read('x\n'.repeat(5_000));
  expect(problems.length).toBeLessThan(100);
  expect(problems.reduce((sum, p) => sum + (p.lost ?? 0), 0)).toBe(5_000);
});

test("the server's last word keeps its status and its words", () => {
  const line = '{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old"}}';
  expect(readWatchLine(line)).toEqual({ type: 'error', status: 410, message: 'too old' });
});

test('mutated lines give events and problems, never an exception', () => {
  const random = seeded(7);
  const log = recorded('sources/cluster/data/05b-endpoint-dies/watch.jsonl.gz').subarray(0, 8_000);
  for (let run = 0; run < 300; run++) {
    const mutated = Buffer.from(log);
    for (let i = 0; i < 1 + (run % 10); i++) {
      mutated[Math.floor(random() * mutated.length)] = Math.floor(random() * 256);
    }
    const { events, problems } = read(mutated, 1 + Math.floor(random() * 4_000));
    const lines = mutated.toString('latin1').split('\n').length;
    expect(events.length + problems.length).toBeLessThanOrEqual(lines);
    for (const problem of problems) expect(problem.code).toMatch(/^watch-/);
  }
});
