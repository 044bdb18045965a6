import { copyFileSync, linkSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { fakeIo } from '../cli/fake-io.js';
import { bytesAt, replay } from './annotated.js';

const TUTORIAL = new URL('../../pcaps/tutorial', import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), 'whichpod-refused-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const capture = join(folder, 'capture.pcapng');
copyFileSync(join(TUTORIAL, 'capture.pcapng'), capture);
linkSync(capture, join(folder, 'hard.pcapng'));
symlinkSync(capture, join(folder, 'soft.pcapng'));

describe('what is not annotated', () => {
  it.each([
    ['an input', [capture, '-w', capture], 'this is an input'],
    ['an input by another name', [capture, '-w', join(folder, 'hard.pcapng')], 'this is an input'],
    ['an input through a link', [capture, '-w', join(folder, 'soft.pcapng')], 'this is an input'],
    ['into no folder', [capture, '-w', join(folder, 'none', 'a.pcapng')], 'no such folder'],
    ['onto a full disk', [capture, '-w', '/dev/full'], 'the disk is full'],
    ['without a name', [capture, '-w', ''], 'the path is empty'],
    ['beside events on stdout', [capture, '-w', '-', '-o', 'ndjson'], 'cannot both go'],
    ['while it grows', [capture, '-w', 'a.pcapng', '--follow'], '--follow'],
    [
      'without a capture',
      [join(TUTORIAL, 'conntrack-events.txt'), '-w', join(folder, 'a.pcapng')],
      'no capture among the inputs',
    ],
  ])('%s', async (_name, argv, message) => {
    const before = bytesAt(capture);
    const { code, stderr } = await replay(...argv);
    expect(code).toBe(2);
    expect(stderr.trimEnd().split('\n').at(-1)).toContain(message);
    expect(bytesAt(capture)).toEqual(before);
    expect(readdirSync(folder).sort()).toEqual(['capture.pcapng', 'hard.pcapng', 'soft.pcapng']);
  });

  it('leaves no file when it is interrupted', async () => {
    const io = fakeIo();
    io.interrupt();
    const argv = ['replay', capture, '-w', join(folder, 'a.pcapng')];
    expect(await runCli(argv, io, commands)).toBe(130);
    expect(io.stderr.text).toContain('nothing was written');
    expect(readdirSync(folder)).toHaveLength(3);
  });
});
