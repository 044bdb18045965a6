import { mkdirSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { UsageError } from '../../../src/model/problem.js';
import { formatNanos } from '../../../src/model/time.js';
import { expandInputs, type InputArgument } from '../../../src/sources/files/expand.js';
import { RECORDING, Scratch } from './replayed.js';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const expand = (args: readonly InputArgument[], node?: string) => expandInputs(args, node, true);
const names = async (...paths: string[]): Promise<string[]> =>
  (await expand(paths.map((path) => ({ path })))).map(({ key }) => key);

test('a folder means its files, its api, pods and snap, and its net as context; nothing deeper', async () => {
  for (const name of [
    'b.pcap',
    'api/x.json',
    'pods/p.pcap',
    'snap/s.xml',
    'net/addr.json',
    'node2/n.pcap',
    'api/deep/y.json',
  ]) {
    scratch.write(name, 'x');
  }
  const files = await expand([{ path: scratch.path }]);
  expect(files.map(({ key, context }) => [key.slice(scratch.path.length + 1), context])).toEqual([
    ['api/x.json', false],
    ['b.pcap', false],
    ['net/addr.json', true],
    ['pods/p.pcap', false],
    ['snap/s.xml', false],
  ]);
  expect(files.every(({ named, folder }) => !named && folder === scratch.path)).toBe(true);
});

test('the files come in an order of their own, and what is named twice comes twice', async () => {
  const a = scratch.write('a', '1');
  const b = scratch.write('b', '2');
  expect(await names(b, a, b)).toEqual([a, b, b]);
  expect(await names(b, b, a)).toEqual([a, b, b]);
  expect(await names(scratch.path, a)).toEqual([a, a, b]);
});

test('relative and absolute spellings of a path are the same file', async () => {
  const relative = join('test', 'sources', 'files', 'data', 'recording', 'client.pcap');
  expect(await names(relative)).toEqual([join(RECORDING, 'client.pcap')]);
});

test('links to files are followed, folders and broken links inside a folder are left out', async () => {
  const a = scratch.write('elsewhere/a', '1');
  mkdirSync(join(scratch.path, 'here'));
  symlinkSync(a, join(scratch.path, 'here', 'link'));
  symlinkSync('/nowhere/at/all', join(scratch.path, 'here', 'broken'));
  symlinkSync(scratch.path, join(scratch.path, 'here', 'loop'));
  expect(await names(join(scratch.path, 'here'))).toEqual([join(scratch.path, 'here', 'link')]);
});

const TIMES: readonly (readonly [string, string | undefined, number | undefined])[] = [
  ['rules-1795377468.889.txt', '2026-11-22T19:57:48.889000000Z', 1_000_000],
  ['rules-1795377468.txt', '2026-11-22T19:57:48.000000000Z', 1_000_000_000],
  ['rules-1795377468.txt.gz', '2026-11-22T19:57:48.000000000Z', 1_000_000_000],
  ['rules-1795377468.123456789', '2026-11-22T19:57:48.123456789Z', 1],
  ['rules-2026.txt', undefined, undefined],
  ['rules-17953774689.txt', undefined, undefined],
  ['1795377468.txt', undefined, undefined],
  ['rules-1795377468-old.txt', undefined, undefined],
];

test.each(TIMES)('the name %s tells the time %s', async (name, time, resolution) => {
  const path = scratch.write(name, 'x');
  const [file] = await expand([{ path }]);
  expect(file?.time && formatNanos(file.time.time)).toBe(time);
  expect(file?.time?.resolutionNs).toBe(resolution);
});

test.each([
  ['1795377468.889', '2026-11-22T19:57:48.889000000Z', 1_000_000],
  ['1795377468', '2026-11-22T19:57:48.000000000Z', 1_000_000_000],
  ['2026-11-22T20:57:48.5+01:00', '2026-11-22T19:57:48.500000000Z', 100_000_000],
  ['2026-11-22T19:57:48Z', '2026-11-22T19:57:48.000000000Z', 1_000_000_000],
])('FILE@%s gives a file that time, above what its name tells', async (text, time, resolution) => {
  const path = scratch.write('rules-1700000000.txt', 'x');
  const [file] = await expand([{ path: `${path}@${text}` }]);
  expect(file?.key).toBe(path);
  expect(file?.time && formatNanos(file.time.time)).toBe(time);
  expect(file?.time?.resolutionNs).toBe(resolution);
});

test('a file that is really called like a time or a node is that file', async () => {
  scratch.write('a', 'x');
  const timed = scratch.write('a@17', 'x');
  const noded = scratch.write('n=a', 'x');
  const [first] = await expand([{ path: timed }]);
  expect(first).toMatchObject({ key: timed });
  expect(first?.time).toBeUndefined();
  const [second] = await expand([{ node: join(scratch.path, 'n'), path: 'a' }]);
  expect(second).toMatchObject({ key: noded });
  expect(second?.node).toBeUndefined();
});

test('NAME=PATH names the node of a file or of all files of a folder, else the default does', async () => {
  const a = scratch.write('f/a', 'x');
  const folder = join(scratch.path, 'f');
  expect((await expand([{ node: 'n1', path: a }], 'other'))[0]?.node).toBe('n1');
  expect((await expand([{ node: 'n1', path: folder }], 'other'))[0]?.node).toBe('n1');
  expect((await expand([{ path: a }], 'other'))[0]?.node).toBe('other');
  expect((await expand([{ path: a }]))[0]?.node).toBeUndefined();
});

const REFUSED: readonly { name: string; args: () => InputArgument[]; says: RegExp }[] = [
  { name: 'a path where nothing is', args: () => [{ path: '/no/such' }], says: /\/no\/such/ },
  {
    name: 'a path below a file',
    args: () => [{ path: `${scratch.write('plain', 'x')}/below` }],
    says: /plain\/below/,
  },
  {
    name: 'a time that is none',
    args: () => [{ path: `${scratch.write('plain', 'x')}@noon` }],
    says: /plain@noon/,
  },
  { name: 'a folder with a time', args: () => [{ path: `${scratch.path}@17` }], says: /folder/ },
  { name: 'an empty path', args: () => [{ path: '' }], says: /no such/ },
  { name: 'standard input twice', args: () => [{ path: '-' }, { path: '-' }], says: /twice/ },
  {
    name: 'a file that the system does not let us reach',
    args: () => {
      const loop = join(scratch.path, 'loop');
      symlinkSync(loop, loop);
      return [{ path: loop }];
    },
    says: /loop.*ELOOP/,
  },
];

test.each(REFUSED)('$name is refused, and the message names it', async ({ args, says }) => {
  const failure = await expand(args()).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(UsageError);
  expect(String(failure)).toMatch(says);
});

test('standard input is refused where there is none', async () => {
  await expect(expandInputs([{ path: '-' }], undefined, false)).rejects.toBeInstanceOf(UsageError);
});
