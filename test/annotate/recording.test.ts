import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { SectionWriter } from '../../src/sinks/pcapng/section-writer.js';
import { bytesAt, NO_WIRESHARK, program, replay } from './annotated.js';
import { type Block, blocksOf, commentsOf } from './blocks.js';

const PCAPS = new URL('../../pcaps/', import.meta.url).pathname;
const TUTORIAL = join(PCAPS, 'tutorial');
const CONTEXT = ['api', 'conntrack-events.txt', 'iptables-save.txt', 'net'].map((name) =>
  join(TUTORIAL, name),
);
const folder = mkdtempSync(join(tmpdir(), 'whichpod-recording-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string): string => join(folder, name);
const NAMES = 4;
const STATE = 0x8000_5770;
const hashes = (blocks: readonly Block[], type: number): string[] =>
  blocks.filter((it) => it.type === type).map(({ fixed }) => Buffer.from(fixed).toString('base64'));

describe.each(['dns', 'ipv6', 'nftables', 'nodeport', 'rolling', 'stale'])(
  'a recording of whichpod, %s, annotated',
  (name) => {
    const source = join(PCAPS, 'lab', name, 'case.pcapng');
    const [once, twice] = [at(`${name}-1.pcapng`), at(`${name}-2.pcapng`)];

    it('replays to the same answers, byte for byte', async () => {
      const plain = await replay(source);
      const run = await replay(source, '-w', once);
      expect(run.code).toBe(0);
      expect(run.stdout).toBe(plain.stdout);
      expect((await replay(once)).stdout).toBe(plain.stdout);
    });

    it('keeps its state, its packets and its names', () => {
      const [before, after] = [source, once].map((path) => blocksOf(bytesAt(path)));
      for (const type of [STATE, NAMES, 6, 5, 1]) {
        expect(hashes(after ?? [], type).length).toBeGreaterThan(0);
        if (type !== NAMES) expect(hashes(after ?? [], type)).toEqual(hashes(before ?? [], type));
        else
          expect(hashes(after ?? [], type)).toEqual(
            expect.arrayContaining(hashes(before ?? [], type)),
          );
      }
    });

    it('has one comment where it had one, and the last word in it', () => {
      const [before, after] = [source, once].map((path) => commentsOf(blocksOf(bytesAt(path))));
      for (const [packet, texts] of before ?? []) {
        const [own = '', ...more] = after?.get(packet) ?? [];
        expect(more).toEqual([]);
        const key = /^whichpod connection=\w+ /.exec(texts[0] ?? '')?.[0] ?? '-';
        expect(own.startsWith(key), `packet ${packet}: ${texts[0]} became ${own}`).toBe(true);
      }
    });

    it('is the same when it is annotated once more', async () => {
      const { code } = await replay(once, '-w', twice);
      expect(code).toBe(0);
      expect(bytesAt(twice)).toEqual(bytesAt(once));
    });

    it.skipIf(NO_WIRESHARK)('is read by stock programs without a word', () => {
      expect(program('tshark', '-r', once)).toMatchObject({ code: 0, stderr: '' });
      expect(program('capinfos', once)).toMatchObject({ code: 0, stderr: '' });
      expect(program('tcpdump', '-r', once)).toMatchObject({ code: 0 });
    });
  },
);

describe('comments that a capture has', () => {
  /** The tutorial's capture, its packets with these comments. */
  function commented(comments: readonly string[]): string {
    const blocks = blocksOf(bytesAt(join(TUTORIAL, 'capture.pcapng')));
    const writer = new SectionWriter();
    for (const { type, fixed, options, little } of blocks) {
      const view = new DataView(fixed.buffer);
      if (type === 1) {
        const snapLength = view.getUint32(4, little);
        writer.interface({ linkType: view.getUint16(0, little), snapLength, options });
      } else if (type === 6) {
        const [of, high, low, captured, onWire] = [0, 4, 8, 12, 16].map((word) =>
          view.getUint32(word, little),
        );
        writer.packet({
          interface: of ?? 0,
          high: high ?? 0,
          low: low ?? 0,
          bytes: fixed,
          from: 20,
          captured: captured ?? 0,
          onWire: onWire ?? 0,
          comments,
          options,
        });
      }
    }
    const path = at('commented.pcapng');
    writeFileSync(path, writer.take());
    return path;
  }

  it('stay, but for those of an earlier run of whichpod', async () => {
    const foreign = ['seen by hand', 'whichpod was right here', 'connection=1'];
    const source = commented([...foreign, 'whichpod connection=dead0000 verdict=conflict']);
    const out = at('recommented.pcapng');
    const { code, stderr } = await replay(source, ...CONTEXT, '-o', 'summary', '-w', out);
    expect(code).toBe(0);
    expect(stderr).toContain('428 packets, 48 with a comment');
    const comments = commentsOf(blocksOf(bytesAt(out)));
    expect(comments.size).toBe(428);
    for (const texts of comments.values()) {
      expect(texts.slice(0, 3)).toEqual(foreign);
      for (const text of texts.slice(3)) {
        expect(text).toMatch(/^whichpod connection=(?!dead)/);
      }
    }
    const ours = [...comments.values()].filter((texts) => texts.length === 4);
    expect(ours).toHaveLength(48);
  });

  it('and names that it has are told once, others are told behind them', async () => {
    const first = at('named.pcapng');
    await replay(join(TUTORIAL, 'capture.pcapng'), ...CONTEXT, '-w', first);
    const second = at('named-again.pcapng');
    await replay(first, ...CONTEXT, '-w', second);
    expect(bytesAt(second)).toEqual(bytesAt(first));
    // Another cluster's objects: the addresses have other owners there.
    const other = at('otherwise.pcapng');
    const api = join(PCAPS, '1.30-iptables-nft', '01-seed', 'api');
    await replay(first, api, '-w', other);
    const [before, after] = [first, other].map((path) => hashes(blocksOf(bytesAt(path)), NAMES));
    expect(after?.slice(0, before?.length)).toEqual(before);
    expect(after?.length).toBe((before?.length ?? 0) + 1);
  });
});
