import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { SectionWriter } from '../../src/sinks/pcapng/section-writer.js';
import { bytesAt, fields, NO_WIRESHARK, pcapAs, program, replay } from './annotated.js';
import { blocksOf, headerOf, type Sight, toldBy } from './blocks.js';

const PCAPS = new URL('../../pcaps/', import.meta.url).pathname;
const TUTORIAL = join(PCAPS, 'tutorial');
const CAPTURE = join(TUTORIAL, 'capture.pcapng');
const CONTEXT = ['api', 'conntrack-events.txt', 'iptables-save.txt', 'net'].map((name) =>
  join(TUTORIAL, name),
);
const SCENE = join(PCAPS, '1.30-iptables-nft', '05-no-endpoints');
const folder = mkdtempSync(join(tmpdir(), 'whichpod-merged-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);

const PACKET_FIELDS = ['frame.md5_hash', 'frame.time_epoch', 'frame.cap_len', 'frame.len'];
const HASHED = ['-o', 'frame.generate_md5_hash:TRUE'];
const packetsOf = (path: string): string[] =>
  fields(path, '', PACKET_FIELDS, HASHED).map((row) => row.join(' '));

/** Packets of several files, each in its own order, the earliest of those that are next first. */
function inTurn(files: readonly (readonly string[])[]): string[] {
  const next = files.map(() => 0);
  const time = (file: number): string => files[file]?.[next[file] ?? 0]?.split(' ')[1] ?? '';
  const merged: string[] = [];
  for (;;) {
    let first = -1;
    for (const file of files.keys()) {
      // Equally long in text.
      if (time(file) !== '' && (first < 0 || time(file) < time(first))) first = file;
    }
    if (first < 0) return merged;
    merged.push(files[first]?.[next[first] ?? 0] ?? '');
    next[first] = (next[first] ?? 0) + 1;
  }
}

/** The tutorial's packets of one interface, as a pcap of tcpdump's own. */
function pcapOf(number: number, format: string): Uint8Array {
  const [part, whole] = [at(`part-${number}.pcapng`), at(`whole-${number}.pcap`)];
  program('tshark', '-r', CAPTURE, '-Y', `frame.interface_id == ${number}`, '-w', part);
  const { code } = program('editcap', '-F', format, part, whole);
  expect(code).toBe(0);
  return bytesAt(whole);
}

const sectionsIn = (path: string): number =>
  blocksOf(bytesAt(path)).filter(({ type }) => type === 0x0a0d0d0a).length;

describe.skipIf(NO_WIRESHARK)('several captures', () => {
  it.each([
    ['1.30-iptables-nft/05-no-endpoints', 549],
    // Each read in several pieces.
    ['1.36-nftables/02-udp-dns', 11_865],
  ])(
    'of %s become one section: every packet, its interface named, in the order of their times',
    async (name, packets) => {
      const scene = join(PCAPS, name);
      const out = at('scene.pcapng');
      const { code, stderr } = await replay(scene, '-o', 'summary', '-w', out);
      expect(code).toBe(0);
      expect(stderr).toContain(`${packets} packets, `);
      expect(sectionsIn(out)).toBe(1);
      const pods = program('sh', '-c', `ls ${scene}/pods`).stdout.trim().split('\n');
      const names = ['any.pcap.gz', 'client.pcap.gz', 'eth0.pcap.gz', 'multi.pcapng.gz', ...pods];
      const inputs = names.map((name) => {
        const isPod = pods.includes(name);
        const path = join(scene, ...(isPod ? ['pods'] : []), name);
        // Its own lengths are wrong, and tshark refuses it: annotated alone it is mended.
        if (!name.startsWith('multi')) return path;
        const mended = at('mended.pcapng');
        return replay(path, '-o', 'summary', '-w', mended).then(() => mended);
      });
      const files = (await Promise.all(inputs)).map(packetsOf);
      expect(packetsOf(out)).toEqual(inTurn(files));
      const named = fields(out, '', ['frame.interface_name', 'frame.interface_description']);
      const count = (name: string): number =>
        named.filter((row) => row.some((it) => it === name)).length;
      for (const [i, name] of names.entries()) {
        if (!name.startsWith('multi')) expect(count(name), name).toBe(files[i]?.length);
      }
      expect(count('cni0')).toBeGreaterThan(0);
      expect(program('capinfos', '-c', out)).toMatchObject({ code: 0, stderr: '' });
      const header = headerOf(blocksOf(bytesAt(out)));
      for (const name of names) {
        expect(header.filter((it) => it.startsWith(`1 from ${name}`))).toHaveLength(1);
      }
    },
  );

  it('give the same bytes in whatever order they are named', async () => {
    const inputs = ['eth0.pcap.gz', 'client.pcap.gz', 'any.pcap.gz', 'api'].map((name) =>
      join(SCENE, name),
    );
    await replay(...inputs, '-w', at('one-way.pcapng'));
    await replay(...inputs.toReversed(), '-w', at('other-way.pcapng'));
    expect(bytesAt(at('one-way.pcapng'))).toEqual(bytesAt(at('other-way.pcapng')));
  });

  it('of different snap lengths, byte orders and units are read by tcpdump too', async () => {
    const [first, second, third] = [
      pcapOf(0, 'nsecpcap'),
      pcapOf(1, 'pcap'),
      pcapOf(2, 'nsecpcap'),
    ];
    writeFileSync(at('a.pcap'), pcapAs(first, { big: true, snapLength: 128 }));
    writeFileSync(at('b.pcap'), pcapAs(second, { snapLength: 0 }));
    writeFileSync(at('c.pcap'), pcapAs(third, { big: true, snapLength: 96 }));
    const inputs = ['a.pcap', 'b.pcap', 'c.pcap'].map(at);
    const out = at('three.pcapng');
    const { code, stderr } = await replay(...inputs, ...CONTEXT, '-o', 'summary', '-w', out);
    expect(code).toBe(0);
    const files = inputs.map(packetsOf);
    expect(files.map((packets) => packets.length > 20)).toEqual([true, true, true]);
    const total = files.flat().length;
    expect(stderr).toContain(`${total} packets, `);
    // Microseconds end in zeros.
    expect(packetsOf(out)).toEqual(inTurn(files));
    const dumped = program('tcpdump', '-n', '-tt', '-r', out);
    expect(dumped.code).toBe(0);
    expect(dumped.stdout.trimEnd().split('\n')).toHaveLength(total);
    expect(dumped.stderr).not.toContain('snapshot length 128');
    const described = blocksOf(bytesAt(out)).filter(({ type }) => type === 1);
    const told = described.map(({ fixed, options }) => [
      new DataView(fixed.buffer).getUint32(4, true),
      ...options.filter(({ code }) => code === 1).map(({ value }) => String(Buffer.from(value))),
    ]);
    expect(told).toEqual([
      [0, 'recorded with a snap length of 128'],
      [0],
      [0, 'recorded with a snap length of 96'],
    ]);
  });

  it('that were one once are that one again', async () => {
    program('editcap', '-c', '100', CAPTURE, at('split.pcapng'));
    const parts = program('sh', '-c', `ls ${folder}/split_*`).stdout.trim().split('\n');
    expect(parts).toHaveLength(5);
    const [whole, joined] = [at('whole.pcapng'), at('joined.pcapng')];
    await replay(CAPTURE, ...CONTEXT, '-w', whole);
    await replay(...parts, ...CONTEXT, '-w', joined);
    // Dumpcap wrote them by interface, so the parts overlap in time.
    expect(packetsOf(joined).sort()).toEqual(packetsOf(whole).sort());
    const comments = (path: string): string[] =>
      fields(path, 'frame.comment', [...PACKET_FIELDS, 'frame.comment'], HASHED)
        .map((row) => row.join(' '))
        .sort();
    expect(comments(joined)).toEqual(comments(whole));
    expect(comments(joined)).toHaveLength(48);
  });

  it('give the same packets and comments compressed or not', async () => {
    const packed = join(SCENE, 'any.pcap.gz');
    writeFileSync(at('any.pcap.gz'), gunzipSync(readFileSync(packed)));
    const around = ['api', 'client.pcap.gz'].map((name) => join(SCENE, name));
    await replay(packed, ...around, '-w', at('packed.pcapng'));
    await replay(at('any.pcap.gz'), ...around, '-w', at('plain.pcapng'));
    const [plain, compressed] = ['plain.pcapng', 'packed.pcapng'].map((name) =>
      toldBy(blocksOf(bytesAt(at(name)))),
    );
    const sorted = (of: readonly Sight[] | undefined): string[] =>
      (of ?? []).map(({ interface: name, packet }) => `${name} ${packet}`).sort();
    // Of packets of one moment the path tells which comes first, and that is another.
    expect(sorted(plain?.packets)).toEqual(sorted(compressed?.packets));
  });
});

/** A little capture with one interface, its packets at these moments (ns). */
function small(name: string, options: readonly [number, string][], moments: readonly number[]) {
  const writer = new SectionWriter({
    options: options.map(([code, value]) => ({ code, value })),
  });
  writer.interface({ linkType: 1, snapLength: 0, name });
  for (const moment of moments) {
    const bytes = new TextEncoder().encode(`${name} at ${moment}`);
    const packet = { interface: 0, high: 0, low: moment, bytes, from: 0 };
    writer.packet({ ...packet, captured: bytes.length, onWire: bytes.length });
  }
  writer.statistics(0, { time: 1n, received: moments.length });
  const path = at(`${name}.pcapng`);
  writeFileSync(path, writer.take());
  return path;
}

const textIn = ({ fixed }: { readonly fixed: Uint8Array }): string =>
  new TextDecoder().decode(fixed.subarray(20)).replaceAll('\0', '');

describe('packets of several captures', () => {
  const merged = async (...paths: readonly string[]): Promise<string[]> => {
    await replay(...paths, '-w', at('small.pcapng'));
    return blocksOf(bytesAt(at('small.pcapng')))
      .filter(({ type }) => type === 6)
      .map(textIn);
  };

  it('of one moment come in the order of their paths, those of one capture in its own', async () => {
    const [a, b] = [small('a', [], [5, 5, 7]), small('b', [], [5, 6, 7])];
    expect(await merged(b, a)).toEqual([
      'a at 5',
      'a at 5',
      'b at 5',
      'b at 6',
      'a at 7',
      'b at 7',
    ]);
  });

  it('stay in the order of their capture, also where that is not one of time', async () => {
    const [a, b] = [small('c', [], [5, 2, 9]), small('d', [], [3, 8])];
    expect(await merged(a, b)).toEqual(['d at 3', 'c at 5', 'c at 2', 'd at 8', 'c at 9']);
  });

  it('whatever their times: all are there, each capture in its order, the earliest head first', async () => {
    const moments = fc.array(fc.nat({ max: 12 }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.array(moments, { minLength: 1, maxLength: 4 }), async (captures) => {
        const paths = captures.map((times, i) => small(`r${i}`, [], times));
        const told = captures.map((times, i) => times.map((time) => `r${i} at ${time}`));
        const timed = told.map((lines) =>
          lines.map((line) => `${line.replaceAll(' ', '_')} ${line.slice(6).padStart(2, '0')}`),
        );
        const expected = inTurn(timed).map((line) => line.split(' ')[0]?.replaceAll('_', ' '));
        expect(await merged(...paths)).toEqual(expected);
      }),
      { numRuns: 40 },
    );
  });

  it('keep what their section headers say: once where they agree, else each by its name', async () => {
    const same: [number, string] = [3, 'Linux 6.1'];
    const own = (text: string): [number, string] => [4, text];
    const a = small('e', [same, own('dumpcap'), [1, 'of both'], [2988, 'ABCDx']], [1]);
    const b = small('f', [same, own('tshark'), [1, 'of both'], [2, 'PC']], [2]);
    await replay(a, b, '-w', at('small.pcapng'));
    const blocks = blocksOf(bytesAt(at('small.pcapng')));
    expect(headerOf(blocks)).toEqual([
      '2 PC',
      '3 Linux 6.1',
      expect.stringMatching(/^4 whichpod /),
      '1 from e.pcapng: application="dumpcap"',
      '1 of both',
      '2988 ABCDx',
      '1 from f.pcapng: application="tshark"',
    ]);
    // And each statistics block is still of its own interface.
    expect(toldBy(blocks).others.filter((it) => it.startsWith('statistics'))).toHaveLength(2);
    expect(toldBy(blocks).others.toSorted()).toEqual(
      [a, b].flatMap((path) => toldBy(blocksOf(bytesAt(path))).others).toSorted(),
    );
  });

  it('may be in the state of a whichpod recording, which is kept where that is alone', async () => {
    const recording = join(PCAPS, 'lab', 'nodeport', 'case.pcapng');
    const foreign = small('g', [], [1]);
    const states = (path: string): number =>
      blocksOf(bytesAt(path)).filter(({ type }) => type === 0x8000_5770).length;
    const alone = await replay(recording, '-w', at('alone.pcapng'));
    expect(alone.stderr).not.toContain('left out');
    expect(states(at('alone.pcapng'))).toBe(states(recording));
    const beside = await replay(recording, foreign, '-w', at('beside.pcapng'));
    expect(beside.stderr).toContain('the state of whichpod recordings was left out');
    expect(states(at('beside.pcapng'))).toBe(0);
    const packets = toldBy(blocksOf(bytesAt(at('beside.pcapng')))).packets;
    expect(packets).toHaveLength(toldBy(blocksOf(bytesAt(recording))).packets.length + 1);
  });
});
