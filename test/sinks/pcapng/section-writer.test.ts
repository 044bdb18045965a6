import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { CaptureReader } from '../../../src/decode/capture/reader.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { P_DIRECTION, P_NSEC, P_SEC } from '../../../src/model/packet.js';
import { nanosOf } from '../../../src/model/time.js';
import {
  PACKET_INBOUND,
  PACKET_UNICAST,
  SectionWriter,
  stampWords,
} from '../../../src/sinks/pcapng/section-writer.js';

const folder = mkdtempSync(join(tmpdir(), 'whichpod-pcapng-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const NO_TSHARK = !has('tshark') && process.env['CI'] === undefined;

/** A UDP datagram from 10.0.0.1 to 10.0.0.2 in Ethernet. */
function frame(): Uint8Array {
  const bytes = new Uint8Array(60);
  bytes.set([8, 0, 0x45, 0, 0, 46], 12);
  bytes.set([64, 17], 22);
  bytes.set([10, 0, 0, 1, 10, 0, 0, 2, 0x13, 0x88, 0x13, 0x89, 0, 26], 26);
  return bytes;
}

function sample(bigEndian: boolean): Uint8Array {
  const writer = new SectionWriter({
    bigEndian,
    application: 'whichpod test',
    os: 'Linux',
    comments: ['of the section'],
  });
  writer.names([
    { address: '10.0.0.1', names: ['web-1.shop.pod', 'second.shop.pod'] },
    { address: 'fd00::1', names: ['web.shop.svc'] },
    { address: 'no address', names: ['nobody'] },
    { address: '10.0.0.9', names: [''] },
  ]);
  const number = writer.interface({
    linkType: 1,
    snapLength: 192,
    name: 'veth1',
    description: 'Pod shop/web-1',
  });
  // A type for local use: readers pass over it.
  writer.block(0x8000_5770, new Uint8Array([1, 2, 3]));
  const words = new Uint32Array(2);
  stampWords(1_795_377_469, 999_999_999, words);
  writer.packet({
    interface: number,
    high: words[0] ?? 0,
    low: words[1] ?? 0,
    bytes: frame(),
    from: 0,
    captured: 60,
    onWire: 61,
    flags: PACKET_INBOUND | PACKET_UNICAST,
    comments: ['one', 'zwei ü'],
  });
  const time = 1_795_377_470_000_000_001n;
  writer.statistics(number, { time, start: time, received: 7, dropped: 0, droppedBySystem: 3 });
  return writer.take().slice();
}

function tshark(file: string, ...args: string[]): string {
  const { stdout, stderr, status } = spawnSync('tshark', ['-r', file, ...args], {
    encoding: 'utf8',
  });
  expect(stderr.replace(/^Running as user.*\n/, '')).toBe('');
  expect(status).toBe(0);
  return stdout;
}

describe.each([false, true])('a section (big-endian: %s)', (bigEndian) => {
  it('is read back by our own reader', () => {
    const interfaces = new Interfaces();
    const reader = new CaptureReader({ interfaces, nameOfIndex: () => undefined });
    reader.feed(sample(bigEndian));
    reader.end();
    expect(reader.problems).toEqual([]);
    expect(reader.packets).toBe(1);
    const { words } = reader.rows;
    expect([words[P_SEC], words[P_NSEC], words[P_DIRECTION]]).toEqual([
      1_795_377_469, 999_999_999, 1,
    ]);
    expect(reader.statistics()).toEqual([
      { interface: 1, received: 7, droppedByInterface: 0, droppedBySystem: 3 },
    ]);
  });

  it.skipIf(NO_TSHARK)('is read by tshark, tcpdump and capinfos without a word', () => {
    const file = join(folder, `${bigEndian}.pcapng`);
    writeFileSync(file, sample(bigEndian));
    const fields = ['frame.time_epoch', 'frame.comment', 'ip.src_host', 'frame.interface_name'];
    const asked = [
      ...fields,
      'frame.interface_description',
      'frame.len',
      'frame.packet_flags_direction',
    ];
    const line = tshark(file, '-N', 'n', '-T', 'fields', ...asked.flatMap((f) => ['-e', f]));
    expect(line.trimEnd().split('\t')).toEqual([
      '1795377469.999999999',
      'one,zwei ü',
      // Of several names the last one counts.
      'second.shop.pod',
      'veth1',
      'Pod shop/web-1',
      '61',
      '0x00000001',
    ]);
    const info = spawnSync('capinfos', [file], { encoding: 'utf8' });
    expect(info.stdout).toMatch(/Number of packets: +1\n/);
    const dump = spawnSync('tcpdump', ['-nr', file], { encoding: 'utf8' });
    expect(dump.stdout).toContain('IP 10.0.0.1.5000 > 10.0.0.2.5001: UDP');
  });
});

it('gives times as two words that make the same number of nanoseconds', () => {
  const words = new Uint32Array(2);
  const seconds = fc.integer({ min: 0, max: 0xffff_ffff });
  fc.assert(
    fc.property(seconds, fc.integer({ min: 0, max: 999_999_999 }), (sec, nsec) => {
      stampWords(sec, nsec, words);
      const made = (BigInt(words[0] ?? 0) << 32n) | BigInt(words[1] ?? 0);
      expect(made).toBe(nanosOf(sec, nsec));
    }),
    { numRuns: 300 },
  );
});

it('cuts text that is too long for an option at the end of a character', () => {
  const writer = new SectionWriter({ comments: [`${'x'.repeat(65_534)}ü`] });
  const all = writer.take();
  const view = new DataView(all.buffer, all.byteOffset, all.length);
  expect(view.getUint16(26, true)).toBe(65_534);
  expect(view.getUint32(4, true)).toBe(all.length);
  expect(view.getUint32(all.length - 4, true)).toBe(all.length);
});

it('splits very many names into blocks that every reader takes', () => {
  const writer = new SectionWriter();
  writer.take();
  const records = Array.from({ length: 40_000 }, (_, i) => ({
    address: `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`,
    names: [`pod-with-quite-a-long-name-${i}.namespace.pod`],
  }));
  writer.names(records);
  const all = writer.take();
  const view = new DataView(all.buffer, all.byteOffset, all.length);
  const sizes: number[] = [];
  for (let at = 0; at < all.length; at += view.getUint32(at + 4, true)) {
    sizes.push(view.getUint32(at + 4, true));
  }
  expect(sizes.length).toBeGreaterThan(1);
  expect(Math.max(...sizes)).toBeLessThan(2 * 1024 * 1024);
  expect(sizes.reduce((a, b) => a + b)).toBe(all.length);
});
