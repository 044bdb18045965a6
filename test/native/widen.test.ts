import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { createConnection, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, type Writable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { loadAddon } from '../../src/native/binding.js';
import { widen } from '../../src/native/widen.js';

const DEFAULT_PIPE = 65_536;
const PIECE = Buffer.alloc(4_096);

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'whichpod-test-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A stream that is nothing but its descriptor. */
const streamOf = (fd: number): Writable => Object.assign(new PassThrough(), { fd });

/** A pipe that is open at both ends, so that nobody has to read. */
function withPipe(use: (fd: number) => void): void {
  const path = join(folder, 'fifo');
  execFileSync('mkfifo', [path]);
  const fd = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  try {
    use(fd);
  } finally {
    closeSync(fd);
  }
}

/** How much a pipe takes until its writer would have to wait. */
function room(fd: number): number {
  let bytes = 0;
  for (;;) {
    try {
      bytes += writeSync(fd, PIECE);
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('EAGAIN');
      return bytes;
    }
  }
}

describe('widen', () => {
  test('gives the reader of a pipe more room', () => {
    withPipe((fd) => {
      widen(streamOf(fd));
      expect(room(fd)).toBeGreaterThan(DEFAULT_PIPE);
    });
  });

  test('takes what the system allows where it does not allow as much', () => {
    withPipe((fd) => {
      const loaded = loadAddon();
      if (!loaded.ok) throw new Error(loaded.reason);
      // No kernel gives a gigabyte to a pipe.
      expect(loaded.addon.widen(fd, 2 ** 30)).toBeGreaterThan(DEFAULT_PIPE);
    });
  });

  test('leaves a pipe that is large enough as it is', () => {
    withPipe((fd) => {
      const loaded = loadAddon();
      if (!loaded.ok) throw new Error(loaded.reason);
      expect(loaded.addon.widen(fd, 4_096)).toBe(DEFAULT_PIPE);
      expect(room(fd)).toBe(DEFAULT_PIPE);
    });
  });

  test('gives the reader of a socket no less room', async () => {
    const server = createServer().listen(join(folder, 'socket'));
    await new Promise((resolve) => server.once('listening', resolve));
    const client = createConnection(join(folder, 'socket'));
    await new Promise((resolve) => client.once('connect', resolve));
    const loaded = loadAddon();
    if (!loaded.ok) throw new Error(loaded.reason);
    const fd = (client as Socket & { _handle: { fd: number } })._handle.fd;
    const before = loaded.addon.widen(fd, 0);
    expect(before).toBeGreaterThan(0);
    expect(loaded.addon.widen(fd, 2 ** 20)).toBeGreaterThanOrEqual(before);
    client.destroy();
    server.close();
  });

  test('leaves files, closed descriptors and streams without one alone', () => {
    const loaded = loadAddon();
    if (!loaded.ok) throw new Error(loaded.reason);
    const fd = openSync(join(folder, 'file'), 'w');
    expect(loaded.addon.widen(fd, 2 ** 20)).toBe(0);
    closeSync(fd);
    expect(loaded.addon.widen(fd, 2 ** 20)).toBe(0);
    widen(streamOf(fd));
    widen(new PassThrough());
  });

  test('does without the addon', () => {
    withPipe((fd) => {
      widen(streamOf(fd), () => ({ ok: false, reason: 'not built' }));
      expect(room(fd)).toBe(DEFAULT_PIPE);
    });
  });

  test('says what it expects', () => {
    const loaded = loadAddon();
    if (!loaded.ok) throw new Error(loaded.reason);
    const { widen: bare } = loaded.addon;
    expect(() => bare('1' as never, 2)).toThrow(TypeError);
    expect(() => (bare as unknown as () => number)()).toThrow(TypeError);
  });
});
