import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Commands, LiveRequest, ReplayRequest } from '../../src/cli/commands.js';
import { runCli } from '../../src/cli/program.js';
import { PermissionError, UsageError } from '../../src/model/problem.js';
import { expectGolden } from '../sinks/golden.js';
import { fakeCommands, fakeIo } from './fake-io.js';

async function cli(argv: string[], commands: Partial<Commands> = {}, io = fakeIo()) {
  const code = await runCli(argv, io, fakeCommands(commands));
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

describe('help', () => {
  it.each([
    ['whichpod', ['--help']],
    ['whichpod-live', ['live', '--help']],
    ['whichpod-replay', ['replay', '-h']],
    ['whichpod-demo', ['demo', '--help']],
    ['whichpod-explain', ['explain', '--help']],
    ['whichpod-record', ['record', '--help']],
  ])('of %s is as recorded, on stdout, within 80 columns', async (name, argv) => {
    const { code, stdout, stderr } = await cli(argv);
    expect([code, stderr]).toEqual([0, '']);
    expectGolden(new URL(`data/${name}.txt`, import.meta.url), stdout);
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });

  it('is what one gets for nothing, on stderr, and wrong usage', async () => {
    const { code, stdout, stderr } = await cli([]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toBe((await cli(['--help'])).stdout);
  });

  it.each(['-V', '--version'])('%s prints the version', async (flag) => {
    const { version } = JSON.parse(
      readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
    );
    expect(await cli([flag])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('a command line', () => {
  it('runs live with its request', async () => {
    let got: LiveRequest | undefined;
    const { code } = await cli(
      [
        'live',
        '--service',
        'default/nginx',
        '--service',
        'a/b',
        '-n',
        'x',
        '--duration',
        '30s',
        '--no-cluster',
        '--no-color',
        '--node',
        'n1',
      ],
      {
        live: async (request) => {
          got = request;
          return 0;
        },
      },
    );
    expect(code).toBe(0);
    expect(got).toMatchObject({
      durationNs: 30e9,
      output: { colors: false, filter: { namespaces: ['x'], nodes: ['n1'], services: [{}, {}] } },
    });
    expect(got).not.toHaveProperty('cluster');
  });

  it('runs replay with its inputs, wherever they stand', async () => {
    let got: ReplayRequest | undefined;
    await cli(['replay', 'a', '-o', 'summary', 'n=b', '--tz', 'UTC', '--fail-on', 'loss'], {
      replay: async (request) => {
        got = request;
        return 0;
      },
    });
    expect(got).toMatchObject({
      inputs: [{ path: 'a' }, { node: 'n', path: 'b' }],
      output: { format: 'summary', failOn: ['loss'] },
    });
  });

  it('runs demo, and gives it the world', async () => {
    const io = fakeIo();
    let got: unknown[] = [];
    await cli(
      ['demo', '--count', '3'],
      {
        demo: async (...args) => {
          got = args;
          return 0;
        },
      },
      io,
    );
    expect(got).toEqual([expect.objectContaining({ count: 3 }), io]);
  });

  it('ends as its command ends', async () => {
    expect((await cli(['demo'], { demo: async () => 1 })).code).toBe(1);
  });

  it.each([
    [
      'an unknown command',
      ['life'],
      "unknown command 'life' (Did you mean live?) (see whichpod --help)",
    ],
    ['an unknown option', ['live', '--foo'], "unknown option '--foo' (see whichpod live --help)"],
    [
      'an option of another command',
      ['live', '--tz', 'UTC'],
      "unknown option '--tz' (see whichpod live --help)",
    ],
    [
      'a missing input',
      ['replay'],
      "missing required argument 'input' (see whichpod replay --help)",
    ],
    [
      'a missing value',
      ['live', '--port'],
      "option '--port <port>' argument missing (see whichpod live --help)",
    ],
    [
      'too many arguments',
      ['demo', 'x'],
      "too many arguments for 'demo'. Expected 0 arguments but got 1. (see whichpod demo --help)",
    ],
    [
      'a wrong value',
      ['live', '--port', 'x'],
      "--port: 'x' is no port; write a number from 1 to 65535",
    ],
    [
      'an option that would set the terminal',
      ['live', '--\u001b[2J'],
      "unknown option '--\\u{1b}[2J' (see whichpod live --help)",
    ],
  ])('with %s is refused in one line', async (_, argv, message) => {
    expect(await cli(argv)).toEqual({ code: 2, stdout: '', stderr: `whichpod: ${message}\n` });
  });

  it.each([
    [
      'unusable input',
      new UsageError('a.pcap: byte 0: no capture;\nname another'),
      2,
      'a.pcap: byte 0: no capture; name another',
    ],
    ['a missing permission', new PermissionError('needs CAP_NET_ADMIN'), 3, 'needs CAP_NET_ADMIN'],
    [
      'a fault',
      new Error('\u001b[31mboom'),
      70,
      'unexpected error: \\u{1b}[31mboom (this is a fault in whichpod; -v shows where)',
    ],
  ])('that meets %s says so in one line', async (_, error, code, message) => {
    const demo = () => Promise.reject(error);
    expect(await cli(['demo'], { demo })).toEqual({
      code,
      stdout: '',
      stderr: `whichpod: ${message}\n`,
    });
  });

  it('shows where a fault is with -v, in readable lines', async () => {
    const { stderr } = await cli(['demo', '-v'], { demo: () => Promise.reject(new Error('boom')) });
    expect(stderr).toMatch(/^whichpod: unexpected error: Error: boom\n {4}at /);
  });

  it.each([
    ['becomes 130', 0, 130],
    ['keeps what was found', 1, 1],
  ])('that was interrupted and ended cleanly %s', async (_, own, expected) => {
    const io = fakeIo();
    const live = async () => {
      io.interrupt();
      return own;
    };
    expect((await cli(['live'], { live }, io)).code).toBe(expected);
  });

  it('that was interrupted in the middle of a request says nothing', async () => {
    const io = fakeIo();
    const live = () => {
      io.interrupt();
      return Promise.reject(new DOMException('This operation was aborted', 'AbortError'));
    };
    expect(await cli(['live'], { live }, io)).toEqual({ code: 130, stdout: '', stderr: '' });
  });
});
