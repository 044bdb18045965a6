import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { fakeIo } from '../cli/fake-io.js';

const isThere = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
/** In CI these programs are installed, and a test that needs one must fail without it. */
export const NO_WIRESHARK =
  process.env['CI'] === undefined &&
  !['tshark', 'capinfos', 'editcap', 'mergecap', 'tcpdump'].every(isThere);

export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export async function replay(...argv: readonly string[]): Promise<Run> {
  const io = fakeIo();
  const code = await runCli(['replay', ...argv], io, commands);
  return { code, stdout: io.stdout.text, stderr: io.stderr.text };
}

export function bytesAt(path: string): Uint8Array {
  return new Uint8Array(readFileSync(path));
}

/** Runs a program to its end; what it says on stderr but for the warning that root gets. */
export function program(name: string, ...argv: readonly string[]): Run {
  const { status, stdout, stderr } = spawnSync(name, argv, {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  });
  const said = stderr
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('Running as user "root"'));
  return { code: status ?? -1, stdout, stderr: said.join('\n') };
}

/** Rows of fields that tshark shows. */
export function fields(
  path: string,
  filter: string,
  names: readonly string[],
  options: readonly string[] = [],
): string[][] {
  const shown = names.flatMap((name) => ['-e', name]);
  const { code, stdout, stderr } = program(
    'tshark',
    ...['-N', 'n', '-r', path, '-T', 'fields', ...shown],
    ...(filter === '' ? [] : ['-Y', filter]),
    ...options,
  );
  if (code !== 0 || stderr !== '') throw new Error(`tshark ${path}: ${code} ${stderr}`);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

/** A little-endian pcap in another form; the frames stay. */
export function pcapAs(
  bytes: Uint8Array,
  { big = false, snapLength }: { big?: boolean; snapLength?: number | undefined },
): Uint8Array {
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const into = bytes.slice();
  const view = new DataView(into.buffer);
  const words = (start: number, count: number): void => {
    for (let i = start; i < start + count * 4; i += 4) {
      view.setUint32(i, from.getUint32(i, true), !big);
    }
  };
  words(0, 1);
  view.setUint16(4, 2, !big);
  view.setUint16(6, 4, !big);
  words(8, 4);
  if (snapLength !== undefined) view.setUint32(16, snapLength, !big);
  for (let record = 24; record < bytes.length; record += 16 + from.getUint32(record + 8, true)) {
    words(record, 4);
  }
  return into;
}
