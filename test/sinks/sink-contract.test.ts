import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../src/model/problem.js';
import { createSink } from '../../src/sinks/create-sink.js';
import { FORMATS } from '../../src/sinks/sink.js';
import { Collector, Descriptor } from './collector.js';
import { attribution, close, HOSTILE, START, streams, summary } from './events.js';

const named = (name: string) =>
  attribution({
    connection: name.length.toString(),
    backend: { ip: '10.0.0.1', port: 1, pod: { namespace: 'default', name } },
  });

const many = (count: number) =>
  Array.from({ length: count }, (_, i) =>
    attribution({ connection: `c${i}`, time: START + BigInt(i) * 1000n }),
  );

describe.each(FORMATS)('every sink, here %s', (format) => {
  it('writes nothing for no events, and can be ended at once', async () => {
    const to = streams();
    const sink = await createSink(format, to);
    sink.write([]);
    sink.tick(START);
    await sink.end();
    expect(to.stdout.text + to.stderr.text).toBe('');
  });

  it('ends once, and ignores what comes after the end', async () => {
    const to = streams();
    const sink = await createSink(format, to);
    sink.write([attribution(), summary()]);
    const first = sink.end();
    expect(sink.end()).toBe(first);
    await first;
    const before = to.stdout.text;
    sink.write([attribution({ connection: 'late' }), summary()]);
    sink.tick(START + 10_000_000_000n);
    await sink.end();
    expect(to.stdout.text).toBe(before);
    expect(before).toMatch(/\n$/);
  });

  it('does not close the streams that it was given', async () => {
    const to = streams();
    const sink = await createSink(format, to);
    sink.write([summary()]);
    await sink.end();
    expect(to.stdout.writableEnded || to.stdout.destroyed || to.stderr.writableEnded).toBe(false);
  });

  it('takes hostile and huge text', async () => {
    const to = streams({ terminal: true, columns: () => 80 });
    const sink = await createSink(format, to);
    const huge = `x${'y'.repeat(1_000_000)}\u001b[31m`;
    sink.write([...HOSTILE, huge].map(named));
    sink.write([{ type: 'notice', notice: { code: HOSTILE[0] ?? '', detail: huge } }]);
    sink.write([{ type: 'loss', loss: { source: 'file', count: 1, detail: HOSTILE.join('') } }]);
    sink.write([close({ connection: 'unheard-of' }), summary()]);
    await sink.end();
    expect((to.stdout.text + to.stderr.text).replaceAll('\n', '')).not.toMatch(
      /[\p{Cc}\p{Cs}\p{Bidi_Control}]/u,
    );
  });

  it('takes many events at once', async () => {
    const to = streams();
    const sink = await createSink(format, to);
    sink.write(many(3000));
    sink.write([summary()]);
    await sink.end();
    if (format !== 'summary') expect(to.stdout.lines.length).toBeGreaterThan(3000);
  });

  it('writes the same to a descriptor, whether that takes it at once or later', async () => {
    const plain = streams();
    const stdout = new Descriptor();
    const to = { ...streams(), stdout };
    for (const one of [plain, to]) {
      const sink = await createSink(format, one);
      for (let i = 0; i < 40; i++) {
        if (i % 7 === 3) stdout.stall();
        sink.write(many(20).map((event) => ({ ...event })));
        if (i % 7 === 5) stdout.resume();
      }
      sink.write([summary()]);
      stdout.resume();
      await sink.end();
    }
    expect(stdout.text).toBe(plain.stdout.text);
  });

  it('stops quietly when nobody reads any more', async () => {
    const stdout = new Collector();
    const sink = await createSink(format, { ...streams(), stdout });
    expect(sink.closed.aborted).toBe(false);
    stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
    await new Promise((resolve) => sink.closed.addEventListener('abort', resolve));
    sink.write(many(10));
    sink.write([summary()]);
    expect(sink.ready()).toBeUndefined();
    await sink.end();
    expect(stdout.text).toBe('');
  });

  it('stops quietly when the stream was closed before it began', async () => {
    const stdout = new PassThrough();
    stdout.end();
    const sink = await createSink(format, { ...streams(), stdout });
    expect(sink.closed.aborted).toBe(true);
    sink.write(many(10));
    await sink.end();
  });

  it('says at the end why the output could not be written', async () => {
    const stdout = new Collector();
    const sink = await createSink(format, { ...streams(), stdout });
    stdout.destroy(Object.assign(new Error('no space left on device'), { code: 'ENOSPC' }));
    await new Promise((resolve) => sink.closed.addEventListener('abort', resolve));
    await expect(sink.end()).rejects.toThrow(UsageError);
    await expect(sink.end()).rejects.toThrow(/no space left on device/);
  });
});

describe('a sink whose reader is slow', () => {
  it('loses nothing when it may wait, and says when to go on', async () => {
    const stdout = new Collector(true);
    const sink = await createSink('ndjson', { ...streams(), stdout });
    expect(sink.ready()).toBeUndefined();
    for (let i = 0; i < 30; i++) sink.write(many(1000));
    const ready = sink.ready();
    expect(ready).toBeInstanceOf(Promise);
    stdout.resume();
    await ready;
    expect(sink.ready()).toBeUndefined();
    sink.write([summary()]);
    await sink.end();
    expect(stdout.lines).toHaveLength(30_001);
    expect(stdout.text).not.toContain('"type":"loss"');
    expect(stdout.text).not.toContain('leftOut');
  });

  it('stops waiting when the reader leaves', async () => {
    const stdout = new Collector(true);
    const sink = await createSink('ndjson', { ...streams(), stdout });
    sink.write(many(100));
    const ready = sink.ready();
    stdout.destroy();
    await ready;
    await sink.end();
    expect(sink.closed.aborted).toBe(true);
  });

  it('leaves events out rather than grow when it must not wait, and tells how many and when', async () => {
    const stdout = new Collector(true);
    const sink = await createSink('ndjson', { ...streams(), stdout, overflow: 'drop' });
    const total = 60_000;
    const events = many(total);
    sink.write(events);
    expect(sink.ready()).toBeUndefined();
    // 16 MiB, and at most one slice of 1,024 lines more.
    expect(stdout.writableLength).toBeLessThan(18 * 1024 * 1024);
    const own = { type: 'loss', loss: { source: 'ring', count: 3, detail: 'dropped' } } as const;
    sink.write([own]);
    const drained = new Promise((resolve) => stdout.once('drain', resolve));
    stdout.resume();
    await drained;
    sink.write([attribution({ connection: 'after' }), summary({ losses: 1 })]);
    await sink.end();

    const read = stdout.lines.map((line) => JSON.parse(line));
    const written = read.filter((e) => e.type === 'attribution' && e.connection !== 'after').length;
    const losses = read.filter((e) => e.type === 'loss');
    expect(written).toBeGreaterThan(1000);
    expect(losses.map((e) => [e.source, e.count])).toEqual([
      ['ring', 3],
      ['queue', total - written],
    ]);
    expect(losses[1].to).toBe('2026-11-22T19:55:00.260099123Z');
    expect(losses[1].from < losses[1].to).toBe(true);
    expect(read.at(-2).connection).toBe('after');
    expect(read.at(-1)).toMatchObject({ type: 'summary', losses: 2, leftOut: total - written });
    expect(sink.losses).toBe(1);
  });

  it('tells what it left out even if the reader never comes back before the end', async () => {
    const stdout = new Collector(true);
    const sink = await createSink('ndjson', { ...streams(), stdout, overflow: 'drop' });
    sink.write(many(60_000));
    sink.write([summary({ losses: 0 })]);
    const end = sink.end();
    stdout.resume();
    await end;
    const [loss, last] = stdout.lines.slice(-2).map((line) => JSON.parse(line));
    expect(loss).toMatchObject({ type: 'loss', source: 'queue' });
    expect(last).toMatchObject({ type: 'summary', losses: 1 });
  });

  it('tells it beside the table as well', async () => {
    const stdout = new Collector(true);
    const to = streams();
    const sink = await createSink('wide', { ...to, stdout, overflow: 'drop' });
    const rules = { mode: 'iptables', path: ['x'.repeat(200)], affinity: false } as const;
    let id = 0;
    const batch = () =>
      Array.from({ length: 1000 }, () => attribution({ connection: `${id++}`, rules }));
    while (stdout.writableLength <= 16 * 1024 * 1024) sink.write(batch());
    sink.write(batch());
    const end = sink.end();
    stdout.resume();
    await end;
    expect(to.stderr.text).toMatch(
      /^loss 19:55:00.200 queue: 1,000; the output was read too slowly/,
    );
  });
});
