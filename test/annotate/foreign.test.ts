import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { isCapture } from '../../src/decode/capture/reader.js';
import { SectionWriter } from '../../src/sinks/pcapng/section-writer.js';
import { seeded } from '../support/seeded.js';
import { bytesAt, NO_WIRESHARK, pcapAs, program, replay } from './annotated.js';
import { type Block, blocksOf, commentsOf, headerOf, printsOf, toldBy } from './blocks.js';

const PCAPS = new URL('../../pcaps/', import.meta.url).pathname;
const TUTORIAL = join(PCAPS, 'tutorial');
const CAPTURE = join(TUTORIAL, 'capture.pcapng');
const CONTEXT = ['api', 'conntrack-events.txt', 'iptables-save.txt', 'net'].map((name) =>
  join(TUTORIAL, name),
);
const folder = mkdtempSync(join(tmpdir(), 'whichpod-foreign-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

const NAMES = 4;
const withoutNames = (blocks: readonly Block[]): string[] =>
  printsOf(blocks.filter(({ type }) => type !== NAMES));

/** What tells a packet from others, as tshark reads it. */
function packets(path: string): string[] {
  const names = ['frame.time_epoch', 'frame.cap_len', 'frame.len', 'frame.interface_id'];
  const { code, stdout, stderr } = program(
    'tshark',
    ...['-n', '-r', path, '-T', 'fields', '-e', 'frame.md5_hash', '-o'],
    ...['frame.generate_md5_hash:TRUE', ...names.flatMap((name) => ['-e', name])],
  );
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return stdout.split('\n').filter((line) => line !== '');
}

/** Everything that a pcapng block can have, in either byte order. */
function everything(bigEndian: boolean, most = Number.POSITIVE_INFINITY): Uint8Array {
  const frames = blocksOf(bytesAt(CAPTURE))
    .filter(({ type }) => type === 6)
    .slice(0, most);
  const order = (...values: number[]): Uint8Array => {
    const bytes = new Uint8Array(values.length * 4);
    const view = new DataView(bytes.buffer);
    for (const [i, value] of values.entries()) view.setUint32(i * 4, value, !bigEndian);
    return bytes;
  };
  const order64 = (value: bigint): Uint8Array => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigUint64(0, value, !bigEndian);
    return bytes;
  };
  const after = (first: number, ...rest: readonly Uint8Array[]): Uint8Array =>
    new Uint8Array(Buffer.concat([Uint8Array.of(first), ...rest]));
  const writer = new SectionWriter({
    bigEndian,
    hardware: 'a machine',
    os: 'Linux',
    application: 'somebody',
    comments: ['of the section', 'and another'],
  });
  writer.interface({
    linkType: 1,
    snapLength: 65_535,
    options: [
      { code: 2, value: 'eth0' },
      { code: 3, value: 'the first' },
      { code: 6, value: new Uint8Array([2, 0, 0, 0, 0, 1]) },
      { code: 9, value: new Uint8Array([9]) },
      { code: 11, value: new Uint8Array([0, 105, 112]) },
      { code: 13, value: new Uint8Array([0]) },
      { code: 1, value: 'of the interface' },
    ],
  });
  // Of the program for BPF an instruction: ret 65535 (code, jt, jf, k).
  const instruction = [Uint8Array.from(bigEndian ? [0, 6, 0, 0] : [6, 0, 0, 0])];
  writer.interface({
    linkType: 1,
    snapLength: 65_535,
    options: [
      { code: 8, value: order64(10_000_000_000n) },
      { code: 10, value: order(3_600) },
      { code: 11, value: after(1, ...instruction, order(65_535)) },
      { code: 14, value: order64(1n) },
      { code: 2989, value: new Uint8Array(Buffer.concat([order(32_473), Uint8Array.of(9, 8)])) },
    ],
  });
  writer.names([{ address: '10.9.9.9', names: ['somebody.example'] }]);
  // Of a kind that nobody knows; secrets for decryption (a TLS key log, empty); a custom block.
  writer.block(0x7abc_def0, new Uint8Array([1, 2, 3, 4]));
  writer.block(10, order(0x544c_534b, 0));
  writer.block(0x0bad, order(32_473, 0x0102_0304));
  for (const [n, { fixed, little }] of frames.entries()) {
    const view = new DataView(fixed.buffer);
    writer.packet({
      interface: 0,
      high: view.getUint32(4, little),
      low: view.getUint32(8, little),
      bytes: fixed,
      from: 20,
      captured: view.getUint32(12, little),
      onWire: view.getUint32(16, little),
      options: [
        { code: 2, value: order(1) },
        { code: 1, value: `packet ${n}` },
        { code: 3, value: new Uint8Array([2, 1, 2, 3, 4]) },
        { code: 4, value: order(0, 0) },
        { code: 5, value: order(0, n) },
        { code: 6, value: order(3) },
        { code: 7, value: n % 2 === 0 ? new Uint8Array([0, 1]) : after(2, order64(BigInt(n))) },
      ],
    });
  }
  writer.block(3, order(4, 0x0102_0304));
  writer.statistics(0, { time: 0n, received: 5, dropped: 0 });
  return writer.take().slice();
}

describe('what others recorded', () => {
  it.each([
    ['little-endian', false],
    ['big-endian', true],
  ])('keeps every byte of every block and option of a section, %s', async (name, bigEndian) => {
    const [source, kept] = [at(`${name}.pcapng`), at(`${name}-kept.pcapng`)];
    writeFileSync(source, everything(bigEndian));
    const { code } = await replay(source, ...CONTEXT, '-w', kept);
    expect(code).toBe(0);
    const before = blocksOf(bytesAt(source));
    const after = blocksOf(bytesAt(kept));
    // Of names there are ours beside theirs.
    expect(withoutNames(after)).toEqual(withoutNames(before));
    expect(after.filter(({ type }) => type === NAMES)).toHaveLength(2);
    expect(printsOf(after)).toEqual(expect.arrayContaining(printsOf(before)));
    const comments = commentsOf(after);
    expect(comments.get(28)).toEqual([
      'packet 27',
      expect.stringContaining('whichpod connection=b6156689159c0461 '),
    ]);
    expect(comments.get(1)).toEqual(['packet 0']);
  });

  it('makes one section of several of either byte order, and keeps all that they tell', async () => {
    const source = at('everything.pcapng');
    const sections = [everything(true), everything(false), everything(true)];
    writeFileSync(source, Buffer.concat(sections));
    const { code, stderr } = await replay(source, ...CONTEXT, '-w', at('kept.pcapng'));
    expect(code).toBe(0);
    // A block of no known kind, and a custom one, of the little-endian section.
    expect(stderr).toContain('2 blocks that only their own program knows were copied as they are');
    const before = blocksOf(bytesAt(source));
    const after = blocksOf(bytesAt(at('kept.pcapng')));
    expect(after.filter(({ type }) => type === 0x0a0d0d0a)).toHaveLength(1);
    expect(new Set(after.map(({ little }) => little))).toEqual(new Set([false]));
    expect(toldBy(after)).toEqual(toldBy(before));
    // Theirs three times, ours once.
    expect(after.filter(({ type }) => type === NAMES)).toHaveLength(4);
    expect(headerOf(after)).toEqual([
      '2 a machine',
      '3 Linux',
      expect.stringMatching(/^4 whichpod /),
      '1 from everything.pcapng: application="somebody"',
      '1 of the section',
      '1 and another',
    ]);
  });

  it.skipIf(NO_WIRESHARK)('is read by stock tshark, with its own comments and ours', () => {
    // A packet without a time needs one where it cannot be of the first interface: 1970.
    const told = (line: string): string =>
      line.replace(/\t\d*$/, '').replace('\t0.000000000\t', '\t\t');
    const after = packets(at('kept.pcapng'));
    expect(after.map(told)).toEqual(packets(at('everything.pcapng')).map(told));
    const numbers = after.map((line) => line.split('\t').at(-1));
    expect([428, 429, 859, 1289].map((n) => numbers[n])).toEqual(['0', '0', '2', '4']);
  });

  it.each([
    ['1.30-iptables-nft/10-multi-port', 16],
    ['1.30-iptables-legacy/01-seed', 17],
    ['1.30-iptables-nft-ptp/06-hairpin-and-host', 15],
    ['1.30-iptables-nft/08-rolling-update', 16],
    ['1.36-nftables/05-no-endpoints', 17],
  ])(
    'mends descriptions that are shorter than they say, of %s, and loses nothing',
    async (scene, count) => {
      const source = join(PCAPS, scene, 'multi.pcapng.gz');
      const broken = new Uint8Array(gunzipSync(readFileSync(source)));
      const out = at('multi.pcapng');
      const { code, stderr } = await replay(source, '-o', 'summary', '-w', out);
      expect(code).toBe(0);
      expect(stderr.match(/shorter than its length says/g)).toHaveLength(1);
      expect(stderr).not.toContain('left out');
      const after = blocksOf(bytesAt(out));
      expect(toldBy(after).packets.map(({ packet }) => packet)).toEqual(
        toldBy(blocksOf(broken, 8)).packets.map(({ packet }) => packet),
      );
      const os = after.filter(({ type }) => type === 1).map(({ options }) => options.at(-1));
      for (const option of os) {
        expect(option?.code).toBe(12);
        expect(new TextDecoder().decode(option?.value)).toBe('Linux 6.18.44');
      }
      expect(os).toHaveLength(count);
      if (NO_WIRESHARK) return;
      expect(program('tshark', '-r', source)).not.toMatchObject({ code: 0 });
      expect(program('tshark', '-r', out, '-c', '100')).toMatchObject({ code: 0, stderr: '' });
      expect(program('capinfos', '-c', out)).toMatchObject({ code: 0, stderr: '' });
    },
  );

  describe.skipIf(NO_WIRESHARK)('rewritten by stock programs', () => {
    const split = (): string => {
      program('editcap', '-c', '200', CAPTURE, at('part.pcapng'));
      const parts = program('sh', '-c', `ls ${folder}/part_*`).stdout.trim().split('\n');
      program('mergecap', '-w', at('merged.pcapng'), ...parts);
      return at('merged.pcapng');
    };
    const as = (format: string, ...how: readonly string[]): string => {
      const one = at(`one.${format}`);
      const { code } = program('editcap', ...how, '-F', format, CAPTURE, one);
      expect(code).toBe(0);
      return one;
    };
    const turned = (path: string, snapLength?: number): string => {
      writeFileSync(at('turned.pcap'), pcapAs(bytesAt(path), { big: true, snapLength }));
      return at('turned.pcap');
    };
    const by = (name: string, ...argv: readonly string[]): string => {
      expect(program(name, ...argv, at('copied')).code).toBe(0);
      return at('copied');
    };
    it.each([
      ['split by editcap and merged by mergecap', split],
      ['a pcap of microseconds', () => as('pcap')],
      ['a pcap of nanoseconds', () => as('nsecpcap')],
      ['a patched pcap', () => as('modpcap')],
      ['a pcap of a big-endian machine', () => turned(as('nsecpcap'))],
      ['a pcap without a snap length', () => turned(as('pcap'), 0)],
      [
        'copied by tcpdump',
        () =>
          by('tcpdump', '-Z', 'root', '-r', as('nsecpcap'), '--time-stamp-precision=nano', '-w'),
      ],
      ['copied by tshark', () => by('tshark', '-r', CAPTURE, '-w')],
      ['with times of another resolution', () => as('pcapng', '-t', '0.5')],
      [
        'a compressed pcap',
        () => {
          const plain = bytesAt(as('nsecpcap'));
          writeFileSync(at('one.pcap.gz'), gzipSync(plain));
          return at('one.pcap.gz');
        },
      ],
    ])('%s: its packets are equal, and commented', async (_name, make) => {
      const source = make();
      const out = at('out.pcapng');
      const { code, stderr } = await replay(source, ...CONTEXT, '-o', 'summary', '-w', out);
      expect(code).toBe(0);
      expect(stderr).toContain('428 packets, 48 with a comment');
      const unnumbered = (line: string): string => line.replace(/\t\d*$/, '');
      const [before, after] = [packets(source), packets(out)];
      if (isCapture(bytesAt(source)) === 'pcapng') expect(after).toEqual(before);
      else expect(after.map(unnumbered)).toEqual(before.map(unnumbered));
      expect(after).toHaveLength(428);
    });

    it('reads a pcap that it annotated with tcpdump', () => {
      const dumped = program('tcpdump', '-n', '-r', at('out.pcapng'));
      expect(dumped.code).toBe(0);
      expect(dumped.stdout.trimEnd().split('\n')).toHaveLength(428);
    });
  });

  it.skipIf(NO_WIRESHARK)(
    'whatever bytes are changed, nothing crashes and the rest can be read',
    async () => {
      const random = seeded(6);
      const below = (limit: number): number => Math.floor(random() * limit);
      const whole = Buffer.concat([
        everything(true, 12),
        everything(false, 12),
        everything(true, 9),
      ]);
      let written = 0;
      for (let n = 0; n < 40; n++) {
        const bytes = new Uint8Array(whole);
        for (let i = below(4); i >= 0; i--) bytes[below(bytes.length)] = below(256);
        const source = at('mutated.pcapng');
        writeFileSync(source, bytes.subarray(0, 2_000 + below(10_000)));
        const out = at(`mutated-${n}.pcapng`);
        const { code, stderr } = await replay(source, ...CONTEXT, '-o', 'summary', '-w', out);
        expect([0, 2], stderr).toContain(code);
        if (code !== 0) continue;
        written++;
        // The reference reader throws at a block that does not end as it begins.
        blocksOf(bytesAt(out));
        const info = program('capinfos', '-c', out);
        expect(info, `case ${n}`).toMatchObject({ code: 0, stderr: '' });
      }
      expect(written).toBeGreaterThan(15);
    },
  );

  it.skipIf(NO_WIRESHARK)('of damaged captures the good part is written, or nothing', async () => {
    const { stdout } = program('sh', '-c', `ls ${PCAPS}malformed | grep -E 'pcap'`);
    for (const name of stdout.trim().split('\n')) {
      const source = join(PCAPS, 'malformed', name);
      const plain = await replay(source, '-o', 'summary');
      const out = at(`${name}.pcapng`);
      const { code, stderr } = await replay(source, '-o', 'summary', '-w', out);
      if (plain.code !== 0 || name === 'empty.pcap') {
        expect(code, `${name}: ${stderr}`).toBe(2);
        expect(() => bytesAt(out)).toThrow('ENOENT');
        continue;
      }
      expect(code, stderr).toBe(0);
      expect(program('capinfos', '-c', out), name).toMatchObject({ code: 0, stderr: '' });
    }
  });
});
