import { Writable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../src/model/problem.js';
import { StreamTarget } from '../../../src/sinks/pcapng/stream-target.js';

/** A reader that takes the first piece and nothing more until `goOn`. */
function slowReader() {
  const taken: Uint8Array[] = [];
  let waits: (() => void) | undefined;
  const stream = new Writable({
    write: (chunk: Uint8Array, _encoding, done) => {
      taken.push(chunk);
      waits = done;
    },
  });
  return { stream, taken, goOn: () => waits?.() };
}

describe('a recording into a pipe', () => {
  it('keeps what waits, though the writer uses its memory again', async () => {
    const { stream, taken, goOn } = slowReader();
    const target = new StreamTarget(stream);
    target.begin();
    const bytes = new Uint8Array([1, 2, 3]);
    target.write(bytes);
    bytes.fill(9);
    target.write(bytes);
    goOn();
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken.map((piece) => [...piece])).toEqual([
      [1, 2, 3],
      [9, 9, 9],
    ]);
  });

  it('whose reader is too slow is given up in words, and not before 64 MiB wait', () => {
    const { stream } = slowReader();
    const target = new StreamTarget(stream);
    const megabyte = new Uint8Array(1024 * 1024);
    for (let i = 0; i <= 64; i++) target.write(megabyte);
    expect(() => target.write(megabyte)).toThrow(UsageError);
    expect(() => target.write(megabyte)).toThrow(/read too slowly/);
  });

  it.each([
    ['breaks', (stream: Writable) => stream.destroy(new Error('EPIPE'))],
    ['is closed', (stream: Writable) => stream.destroy()],
  ])('that %s is told once, and nothing more is written', async (_, end) => {
    const { stream, taken } = slowReader();
    const target = new StreamTarget(stream);
    expect(target.closed.aborted).toBe(false);
    const closed = new Promise((resolve) => stream.once('close', resolve));
    end(stream);
    await closed;
    expect(target.closed.aborted).toBe(true);
    target.write(new Uint8Array([1]));
    expect(taken).toEqual([]);
  });

  it('is not closed by its end: standard output belongs to the process', () => {
    const { stream } = slowReader();
    const target = new StreamTarget(stream);
    target.close();
    expect([stream.writableEnded, stream.destroyed]).toEqual([false, false]);
  });
});
