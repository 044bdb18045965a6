import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createWriteStream, readdirSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Problem, UsageError } from '../../../src/model/problem.js';
import { InputBytes, readWhole } from '../../../src/sources/files/chunks.js';
import { expandInputs, type InputFile } from '../../../src/sources/files/expand.js';
import { pieces, Scratch } from './replayed.js';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

async function fileOf(path: string): Promise<InputFile> {
  const [file] = await expandInputs([{ path }], undefined, true);
  if (file === undefined) throw new Error('no file');
  return file;
}

async function readAll(bytes: InputBytes): Promise<{ all: Buffer; problems: Problem[] }> {
  const problems: Problem[] = [];
  const parts: Buffer[] = [];
  for await (const chunk of bytes.chunks((problem) => problems.push(problem))) {
    parts.push(Buffer.from(chunk));
  }
  return { all: Buffer.concat(parts), problems };
}

const LARGE = randomBytes(700_000);
const CONTENTS: readonly (readonly [string, Buffer])[] = [
  ['nothing', Buffer.alloc(0)],
  ['one byte', Buffer.from('x')],
  ['a few bytes', Buffer.from('hello')],
  ['exactly one head', LARGE.subarray(0, 65_536)],
  ['exactly one chunk', LARGE.subarray(0, 262_144)],
  ['several chunks', LARGE],
  ['what compresses well', Buffer.alloc(3_000_000, 'abc')],
];

/** The ways in which bytes may come. */
const WAYS: Readonly<Record<string, (content: Buffer) => Promise<InputBytes>>> = {
  file: async (content) => new InputBytes(await fileOf(scratch.write('f', content))),
  'compressed file': async (content) =>
    new InputBytes(await fileOf(scratch.write('f', gzipSync(content)))),
  'file of two compressed parts': async (content) => {
    const half = content.length >> 1;
    const parts = [gzipSync(content.subarray(0, half)), gzipSync(content.subarray(half))];
    return new InputBytes(await fileOf(scratch.write('f', Buffer.concat(parts))));
  },
  pipe: async (content) => {
    const path = join(scratch.path, 'pipe');
    execFileSync('mkfifo', [path]);
    Readable.from([content]).pipe(createWriteStream(path));
    return new InputBytes(await fileOf(path));
  },
  'standard input in small pieces': async (content) =>
    new InputBytes(await fileOf('-'), pieces(content, content.length > 1_000 ? 10_007 : 1)),
  'compressed standard input, byte by byte at first': async (content) => {
    const packed = gzipSync(content);
    async function* slowly(): AsyncGenerator<Uint8Array> {
      yield* pieces(packed.subarray(0, 20), 1);
      yield* pieces(packed.subarray(20), 30_000);
    }
    return new InputBytes(await fileOf('-'), slowly());
  },
};

describe.each(Object.keys(WAYS))('%s', (way) => {
  test.each(CONTENTS)('%s is read completely, its head first', async (_name, content) => {
    const bytes = await WAYS[way]?.(content);
    if (bytes === undefined) throw new Error('no such way');
    const head = await bytes.head();
    expect(content.subarray(0, 65_536).equals(head.bytes)).toBe(true);
    expect(head.problem).toBeUndefined();
    expect(head.whole).toBe(content.length < 65_536);
    const { all, problems } = await readAll(bytes);
    expect(all.equals(content)).toBe(true);
    expect(problems).toEqual([]);
  });
});

test('a file can be read again', async () => {
  const bytes = new InputBytes(await fileOf(scratch.write('f', LARGE)));
  await readAll(bytes);
  expect((await readAll(bytes)).all.equals(LARGE)).toBe(true);
  expect(bytes.readBytes).toBe(LARGE.length);
});

const PACKED = gzipSync(LARGE);

test.each([1, 2, 9, 10, 11, 100, 65_536, 65_537, 300_000, PACKED.length - 9, PACKED.length - 1])(
  'a compressed file cut after %i bytes gives its beginning and one problem',
  async (length) => {
    for (const path of [scratch.write('f', PACKED.subarray(0, length)), '-']) {
      const bytes = new InputBytes(await fileOf(path), pieces(PACKED.subarray(0, length), 50_000));
      const head = await bytes.head();
      const { all, problems } = await readAll(bytes);
      if (length < 3) {
        // Too short to be taken for gzip.
        expect(all.equals(PACKED.subarray(0, length))).toBe(true);
        continue;
      }
      expect(problems.map(({ code, fatal }) => [code, fatal])).toEqual([['gzip-truncated', true]]);
      expect(all.equals(LARGE.subarray(0, all.length))).toBe(true);
      expect(problems[0]?.where.offset).toBe(all.length);
      // Deflate's blocks are some 30 kB long; of a random file nothing shrinks.
      expect(all.length).toBeGreaterThan(length - 40_000);
      expect(head.whole).toBe(false);
    }
  },
);

test.each([
  ['a few zeros', Buffer.alloc(8)],
  ['a block of zeros', Buffer.alloc(400_000)],
  ['something else', Buffer.from('\u0000\u0000\u0080 and more')],
])('what stands behind the compressed data is left alone: %s', async (_name, more) => {
  for (const content of [LARGE, Buffer.from('hello')]) {
    const packed = Buffer.concat([gzipSync(content), more]);
    const bytes = new InputBytes(await fileOf(scratch.write('f', packed)));
    const { all, problems } = await readAll(bytes);
    expect(problems).toEqual([]);
    expect(all.equals(content)).toBe(true);
  }
});

test('of a compressed file with a wrong checksum all is given, and one problem', async () => {
  for (const content of [LARGE, Buffer.from('hello'), Buffer.alloc(3_000_000, 'abc')]) {
    const damaged = gzipSync(content);
    damaged.writeUInt32LE(7, damaged.length - 8);
    const bytes = new InputBytes(await fileOf(scratch.write('f', damaged)));
    const { all, problems } = await readAll(bytes);
    expect(problems.map(({ code, where }) => [code, where.offset])).toEqual([
      ['gzip-damaged', content.length],
    ]);
    expect(all.equals(content)).toBe(true);
  }
});

test('a compressed file that is damaged gives what comes before, and one problem', async () => {
  const damaged = Buffer.from(gzipSync(Buffer.alloc(20_000_000, 'abcdefgh')));
  for (let i = damaged.length >> 1; i < (damaged.length >> 1) + 50; i++) {
    damaged[i] = ~(damaged[i] ?? 0) & 0xff;
  }
  const bytes = new InputBytes(await fileOf(scratch.write('f', damaged)));
  const { all, problems } = await readAll(bytes);
  expect(problems.map(({ code, fatal }) => [code, fatal])).toEqual([['gzip-damaged', true]]);
  expect(all.length).toBeGreaterThan(1_000_000);
  expect(all.equals(Buffer.alloc(20_000_000, 'abcdefgh').subarray(0, all.length))).toBe(true);
});

test('a pipe that breaks after its beginning gives that and one problem', async () => {
  async function* breaking(): AsyncGenerator<Uint8Array> {
    yield LARGE.subarray(0, 100_000);
    throw Object.assign(new Error('broken'), { code: 'EIO' });
  }
  const bytes = new InputBytes(await fileOf('-'), breaking());
  await bytes.head();
  const { all, problems } = await readAll(bytes);
  expect(all.length).toBe(100_000);
  expect(problems.map(({ code, fatal }) => [code, fatal])).toEqual([['file-read-failed', true]]);
});

test('an input that cannot be read at all is a usage error', async () => {
  // biome-ignore lint/correctness/useYield: it fails before it gives anything
  async function* broken(): AsyncGenerator<Uint8Array> {
    throw Object.assign(new Error('no'), { code: 'EACCES' });
  }
  await expect(new InputBytes(await fileOf('-'), broken()).head()).rejects.toBeInstanceOf(
    UsageError,
  );
});

test('a file that becomes shorter while it is read simply ends', async () => {
  const path = scratch.write('f', LARGE);
  const bytes = new InputBytes(await fileOf(path));
  let length = 0;
  for await (const chunk of bytes.chunks(() => {})) {
    if (length === 0) truncateSync(path, 10);
    length += chunk.length;
  }
  expect(length).toBeLessThan(LARGE.length);
});

test('a file is closed when the receiver stops early', async () => {
  if (process.platform !== 'linux') return;
  const bytes = new InputBytes(await fileOf(scratch.write('f', LARGE)));
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 20; i++) {
    for await (const chunk of bytes.chunks(() => {})) {
      expect(chunk.length).toBeGreaterThan(0);
      break;
    }
    await bytes.head();
  }
  expect(readdirSync('/proc/self/fd').length).toBeLessThan(before + 10);
});

test('an input larger than the limit is not read whole', async () => {
  const bytes = new InputBytes(await fileOf(scratch.write('f', LARGE)));
  expect(await readWhole(bytes, LARGE.length - 1, () => {})).toBeUndefined();
  expect((await readWhole(bytes, LARGE.length, () => {}))?.length).toBe(LARGE.length);
});
