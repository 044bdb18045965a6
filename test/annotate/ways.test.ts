import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  createWriteStream,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  watch,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable, Writable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { fakeIo } from '../cli/fake-io.js';
import { buildProgram, endAll, Whichpod } from '../live/program.js';
import { bytesAt, NO_WIRESHARK, replay } from './annotated.js';

const TUTORIAL = new URL('../../pcaps/tutorial', import.meta.url).pathname;
const CAPTURE = join(TUTORIAL, 'capture.pcapng');
const RECORDING = new URL('../../pcaps/lab/nodeport/case.pcapng', import.meta.url).pathname;
const CONTEXT = ['api', 'conntrack-events.txt', 'iptables-save.txt', 'net'].map((name) =>
  join(TUTORIAL, name),
);
const folder = mkdtempSync(join(tmpdir(), 'whichpod-ways-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const MAIN = new URL('../../dist/main.js', import.meta.url).pathname;

/** Compiling takes long on a busy machine. */
beforeAll(buildProgram, 120_000);

let expected: Uint8Array;
beforeAll(async () => {
  await replay(CAPTURE, ...CONTEXT, '-w', at('expected.pcapng'));
  expected = bytesAt(at('expected.pcapng'));
});

function* pieces(bytes: Uint8Array, length: number): Generator<Uint8Array> {
  for (let from = 0; from < bytes.length; from += length) {
    yield bytes.subarray(from, from + length);
  }
}

describe('a capture out of a pipe', () => {
  it.each([
    ['standard input', (bytes: Uint8Array) => bytes],
    ['compressed standard input', (bytes: Uint8Array) => gzipSync(bytes)],
  ])('%s, gives the same file, and leaves no other', async (_name, packed) => {
    const before = readdirSync(folder);
    const stdin = Readable.from(pieces(packed(bytesAt(CAPTURE)), 10_007));
    const io = fakeIo({ stdin });
    const code = await runCli(['replay', '-', ...CONTEXT, '-w', at('piped.pcapng')], io, commands);
    expect(code).toBe(0);
    expect(bytesAt(at('piped.pcapng'))).toEqual(expected);
    rmSync(at('piped.pcapng'));
    expect(readdirSync(folder)).toEqual(before);
  });

  it('by its name', async () => {
    execFileSync('mkfifo', [at('fifo')]);
    Readable.from(pieces(bytesAt(CAPTURE), 4_096)).pipe(createWriteStream(at('fifo')));
    const { code } = await replay(at('fifo'), ...CONTEXT, '-w', at('named.pcapng'));
    expect(code).toBe(0);
    expect(bytesAt(at('named.pcapng'))).toEqual(expected);
  });

  it('may be a whichpod recording, whose state is kept', async () => {
    await replay(RECORDING, '-w', at('from-file.pcapng'));
    const io = fakeIo({ stdin: Readable.from(pieces(bytesAt(RECORDING), 5_000)) });
    expect(await runCli(['replay', '-', '-w', at('from-pipe.pcapng')], io, commands)).toBe(0);
    expect(bytesAt(at('from-pipe.pcapng'))).toEqual(bytesAt(at('from-file.pcapng')));
  });
});

describe('standard output', () => {
  class Kept extends Writable {
    readonly chunks: Uint8Array[] = [];
    override _write(chunk: Uint8Array, _encoding: BufferEncoding, done: () => void): void {
      // The writer uses its memory again.
      this.chunks.push(new Uint8Array(chunk));
      done();
    }
  }

  it('gets the capture alone, and standard error what there is to say', async () => {
    const stdout = new Kept();
    const io = { ...fakeIo(), stdout };
    expect(await runCli(['replay', CAPTURE, ...CONTEXT, '-w', '-'], io, commands)).toBe(0);
    expect(Buffer.concat(stdout.chunks).equals(expected)).toBe(true);
    expect(io.stderr.text).toContain('standard output: 428 packets, 48 with a comment');
  });

  it.skipIf(NO_WIRESHARK)('goes from pipe to pipe', () => {
    const context = CONTEXT.map((path) => `'${path}'`).join(' ');
    const line = `cat '${CAPTURE}' | '${process.execPath}' '${MAIN}' replay - ${context} -w - 2>/dev/null | tshark -r - -Y frame.comment 2>&1`;
    const { stdout } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
    const shown = stdout.split('\n').filter((it) => it !== '' && !it.startsWith('Running as'));
    expect(shown).toHaveLength(48);
  });

  it('may have a reader that leaves', () => {
    const line = `'${process.execPath}' '${MAIN}' replay '${TUTORIAL}' -w - | head -c 100 | wc -c`;
    const { stdout, status } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
    expect({ stdout: stdout.trim(), status }).toEqual({ stdout: '100', status: 0 });
  });
});

describe('a file', () => {
  afterEach(endAll);

  it('that is there already is replaced as a whole', async () => {
    writeFileSync(at('old.pcapng'), 'something else');
    const { code } = await replay(CAPTURE, ...CONTEXT, '-w', at('old.pcapng'));
    expect(code).toBe(0);
    expect(bytesAt(at('old.pcapng'))).toEqual(expected);
  });

  it('is not there, and the old one still is, where it may not grow so large', () => {
    writeFileSync(at('kept.pcapng'), 'the old one');
    const before = readdirSync(folder);
    // Blocks of 512 bytes; what is written has some 70 kB.
    const line = `ulimit -f 20; exec '${process.execPath}' '${MAIN}' replay '${TUTORIAL}' -o summary -w '${at('kept.pcapng')}'`;
    const { status, stderr } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
    expect(stderr).toContain('it may not grow so large; nothing was left there');
    expect(status).toBe(2);
    expect(readFileSync(at('kept.pcapng'), 'utf8')).toBe('the old one');
    expect(readdirSync(folder)).toEqual(before);
  });

  it.each([
    ['interrupted', 'SIGINT', { code: 130, signal: null }, 0],
    ['killed', 'SIGKILL', { code: null, signal: 'SIGKILL' }, 1],
  ] as const)('is not there when the run is %s halfway', async (name, signal, end, left) => {
    const own = at(name);
    execFileSync('mkdir', [own]);
    execFileSync('mkfifo', [join(own, 'fifo')]);
    const out = join(own, 'out.pcapng');
    const begun = new Promise<void>((resolve) => {
      const watcher = watch(own, (_event, file) => {
        // The pipe's own has no name a moment later.
        if (file?.startsWith('.out.pcapng.') !== true) return;
        watcher.close();
        resolve();
      });
    });
    const run = new Whichpod(['replay', join(own, 'fifo'), ...CONTEXT, '-w', out]);
    const pipe = openSync(join(own, 'fifo'), 'w');
    try {
      // More than is read to recognise it.
      for (let n = 0; n < 3; n++) writeSync(pipe, bytesAt(CAPTURE));
      await begun;
      run.signal(signal);
      // An interrupted run reads what it has begun to read.
      if (left > 0) expect(await run.ended).toEqual(end);
    } finally {
      closeSync(pipe);
    }
    expect(await run.ended).toEqual(end);
    const files = readdirSync(own);
    expect(files).not.toContain('out.pcapng');
    expect(files.filter((it) => it.endsWith('.part'))).toHaveLength(left);
  });
});
