import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { RedactedRecorder } from '../../src/cli/record/redacted-recorder.js';
import { Correlator } from '../../src/correlate/correlator.js';
import { Pseudonyms } from '../../src/decode/record/redact-pseudonyms.js';
import { canonicalAddress, parseAddress } from '../../src/model/address.js';
import type { OutputEvent } from '../../src/model/attribution.js';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import {
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_NSEC,
  P_PROTOCOL,
  P_SEC,
  P_SPORT,
  P_SRC,
  PACKET_WORDS,
} from '../../src/model/packet.js';
import { secondsOf, UTC } from '../../src/model/time.js';
import { inTime } from '../../src/pipeline/in-time.js';
import { RuleSurvey } from '../../src/pipeline/rule-survey.js';
import { createSink } from '../../src/sinks/create-sink.js';
import { emptyFrame } from '../../src/sources/capture/frame-tap.js';
import { openInputs } from '../../src/sources/files/open.js';
import { fakeIo } from '../cli/fake-io.js';
import { Collector } from '../sinks/collector.js';

const PCAPS = new URL('../../pcaps', import.meta.url).pathname;
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 3);
const folder = mkdtempSync(join(tmpdir(), 'whichpod-redact-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The frame of a packet's row, as it may have been: link, network and transport headers, and a payload. */
function frameOf(words: Uint32Array, row: number): Uint8Array {
  const isV4 = words[row + P_FAMILY] === 4;
  const protocol = words[row + P_PROTOCOL] ?? 0;
  const frame = new Uint8Array(160);
  const view = new DataView(frame.buffer);
  frame.set([0x0a, 0x58, 10, 244, 1, 9, 0x0a, 0x58, 10, 244, 1, 1]);
  view.setUint16(12, isV4 ? 0x0800 : 0x86dd);
  const behind = isV4 ? 34 : 54;
  if (isV4) {
    frame.set([0x45, 0, 0, 146, 1, 2, 0x40, 0, 64, protocol], 14);
    view.setUint32(26, words[row + P_SRC + 3] ?? 0);
    view.setUint32(30, words[row + P_DST + 3] ?? 0);
  } else {
    frame.set([0x60, 0, 0, 0, 0, 106, protocol, 64], 14);
    for (let w = 0; w < 4; w++) {
      view.setUint32(22 + 4 * w, words[row + P_SRC + w] ?? 0);
      view.setUint32(38 + 4 * w, words[row + P_DST + w] ?? 0);
    }
  }
  view.setUint16(behind, words[row + P_SPORT] ?? 0);
  view.setUint16(behind + 2, words[row + P_DPORT] ?? 0);
  if (protocol === 6) {
    frame[behind + 12] = 0x50;
    frame[behind + 13] = words[row + P_FLAGS] ?? 0;
  } else if (protocol === 17) {
    view.setUint16(behind + 4, 160 - behind);
  }
  if (protocol === 132) {
    frame[behind + 12] = words[row + P_FLAGS] ?? 0;
    view.setUint16(behind + 14, 20);
  }
  frame.fill(0x5a, 120);
  return frame;
}

/** A run of recorded inputs, and what a redacting recorder makes of it. */
async function redacted(path: string): Promise<{ said: string; bytes: Uint8Array; clear: Clear }> {
  const interfaces = new Interfaces();
  const inputs = await openInputs([{ path }], {
    interfaces,
    offsetAt: UTC,
    onProblem: () => undefined,
  });
  const baseSeconds = inputs.firstTime === undefined ? 0 : secondsOf(inputs.firstTime);
  const common = { baseSeconds, firstListingIsOld: true, node: 'node1' };
  const pieces: Uint8Array[] = [];
  const target = {
    begin: () => undefined,
    write: (bytes: Uint8Array) => void pieces.push(bytes.slice()),
    close: () => undefined,
  };
  const head = { version: '0', ...common };
  const options = { target, interfaces, sources: 'cluster: secret-context', head };
  const recorder = new RedactedRecorder(options, KEY);
  const machine = new Correlator({ interfaces, ...common });
  const survey = new RuleSurvey();
  const clear = new Clear();
  const stdout = new Collector();
  const sink = createSink('ndjson', {
    stdout,
    stderr: new Collector(),
    terminal: false,
    columns: () => undefined,
    colors: { stdout: false, stderr: false },
    verbose: false,
    overflow: 'wait',
  });
  const say = (events: readonly OutputEvent[]): void => {
    if (events.length > 0) sink.write(events);
  };
  const give = (event: InputEvent): void => {
    clear.note(event);
    recorder.take(event);
    for (const one of survey.take(event)) machine.push(one);
    say(machine.take());
  };
  for (const event of inputs.prelude) give(event);
  recorder.concluded();
  for (const one of survey.conclude()) machine.push(one);
  const frame = emptyFrame();
  for await (const batch of inTime(inputs, interfaces)) {
    for (const event of batch) {
      if (event.type === 'packets') {
        const { words } = event.rows;
        const { from = 0, to = event.rows.length } = event;
        for (let row = from * PACKET_WORDS; row < to * PACKET_WORDS; row += PACKET_WORDS) {
          const [seconds = 0, nanoseconds = 0] = [words[row + P_SEC], words[row + P_NSEC]];
          const bytes = frameOf(words, row);
          const sizes = { captured: bytes.length, onWire: bytes.length };
          recorder.frame({
            ...frame,
            ...sizes,
            seconds,
            nanoseconds,
            linkType: 1,
            bytes,
            words,
            row,
          });
        }
      }
      give(event);
    }
  }
  say(machine.finish());
  recorder.end(BigInt(baseSeconds) * 1_000_000_000n);
  await sink.end();
  return { said: stdout.text, bytes: Buffer.concat(pieces), clear };
}

/** Names and addresses that must not be found. */
class Clear {
  readonly names = new Set<string>(['node1', 'secret-context', 'left-over']);
  readonly addresses = new Set<string>();

  note(event: InputEvent): void {
    if (event.type === 'addresses') for (const one of event.addresses) this.addresses.add(one);
    if (event.type !== 'cluster') return;
    const { change } = event;
    for (const item of change.op === 'list' ? change.items : [change.item]) {
      this.names.add(item.uid);
      this.names.add(item.name);
      this.names.add(item.namespace);
      if (item.kind === 'service') {
        this.names.add(`${item.namespace}/${item.name}`);
        for (const one of item.clusterIPs) this.addresses.add(one);
      }
      if (item.kind === 'pod') for (const one of item.ips) this.addresses.add(one);
      if (item.kind === 'node') for (const one of item.addresses) this.addresses.add(one);
    }
  }
}

/** Everything that a file says: its own bytes, and its state inflated. */
function everything(bytes: Uint8Array): Buffer {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const parts = [Buffer.from(bytes)];
  for (let at = 0; at < bytes.length; at += view.getUint32(at + 4, true)) {
    if (view.getUint32(at, true) !== 0x8000_5770) continue;
    const size = view.getUint32(at + 4, true);
    const body = bytes.subarray(at + 28, at + size - 4);
    parts.push(inflateRawSync(body));
  }
  return Buffer.concat(parts);
}

/** What differs between two values when every text of one stands for one text of the other. */
class Likeness {
  readonly faults: string[] = [];
  readonly pairs = new Map<string, string>();
  private readonly back = new Map<string, string>();

  compare(a: unknown, b: unknown, kind: string): void {
    if (kind === 'detail') return;
    if (typeof a === 'string' && typeof b === 'string') {
      const [from, to] = [`${kind} ${a}`, `${kind} ${b}`];
      if ((this.pairs.get(from) ?? b) !== b || (this.back.get(to) ?? a) !== a) {
        this.faults.push(`${from} is ${b}`);
      }
      this.pairs.set(from, b);
      this.back.set(to, a);
    } else if (Array.isArray(a) && Array.isArray(b)) {
      if (a.length !== b.length) this.faults.push(`${kind}: ${a.length} and ${b.length}`);
      for (const [i, one] of a.entries()) this.compare(one, b[i], kind);
    } else if (isObject(a) && isObject(b)) {
      if (Object.keys(a).join() !== Object.keys(b).join()) this.faults.push(`${kind}: members`);
      for (const [key, one] of Object.entries(a)) this.compare(one, b[key], key);
    } else if (a !== b) {
      this.faults.push(`${kind}: ${String(a)} and ${String(b)}`);
    }
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const linesOf = (text: string): Record<string, unknown>[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((event) => event['code'] !== 'redacted');

/**
 * Names of the recordings that are also words of the format, of rules or of comments: of these it is looked for
 * where they would be names.
 */
const WORDS = new Set([
  'kubernetes',
  'sctp',
  'client',
  'udp',
  'tcp',
  'dns',
  'default',
  'local',
  'none',
  'near',
]);

/** Are the same with and without pseudonyms. */
const SAME = [
  'verdict',
  'outcome',
  'reason',
  'via',
  'mode',
  'protocol',
  'evidence',
  'time',
  'type',
  'code',
];

const recordings = [
  'tutorial',
  '1.30-iptables-legacy/02-udp-dns',
  '1.30-iptables-nft/05-no-endpoints',
  '1.30-iptables-nft/06-hairpin-and-host',
  '1.30-iptables-nft/07-dual-stack',
  '1.30-iptables-nft/10b-sctp',
  '1.36-iptables-nft/25-hostport',
  '1.36-nftables/05-no-endpoints',
  '1.36-nftables/07-dual-stack',
];

describe('a redacted recording', () => {
  it.each(recordings)('of %s gives the same verdicts, and none of its names', async (name) => {
    const { said, bytes, clear } = await redacted(join(PCAPS, name));
    const file = join(folder, 'case.pcapng');
    writeFileSync(file, bytes);
    const io = fakeIo({});
    const code = await runCli(['replay', '-o', 'ndjson', file], io, commands);
    expect([code, io.stderr.text]).toEqual([0, '']);
    const likeness = new Likeness();
    const [before, after] = [linesOf(said), linesOf(io.stdout.text)];
    likeness.compare(before, after, 'event');
    expect(likeness.faults.slice(0, 5)).toEqual([]);
    const changed = [...likeness.pairs].filter(([from, to]) => {
      const [kind = ''] = from.split(' ');
      return SAME.includes(kind) && from !== `${kind} ${to}`;
    });
    expect(changed).toEqual([]);

    const all = everything(bytes);
    const text = all.toString('latin1');
    for (const one of clear.names) {
      if (one === '') continue;
      // Most are long: quickly looked for.
      if (!text.includes(one)) continue;
      // As a word, or as part of a path or of a name with dots.
      const word = one.replace(/[.]/g, '\\.');
      const pattern = WORDS.has(one)
        ? new RegExp(
            `[a-z0-9](?<!/svc-[0-9a-f]{12})/${word}(?![A-Za-z0-9])|(?<![A-Za-z0-9/])${word}/[a-z0-9]|"name":"${word}"|\b${word}.(?:pod|svc|node)\b`,
          )
        : new RegExp(`(?<![A-Za-z0-9])${word}(?![A-Za-z0-9])`);
      expect(pattern.exec(text)?.[0], one).toBe(undefined);
    }
    const words = new Uint32Array(4);
    for (const one of clear.addresses) {
      const family = parseAddress(one, words, 0);
      if (one.startsWith('127.') || one === '::1' || /^fe80|^ff/.test(one)) continue;
      expect(
        new RegExp(`(?<![0-9a-f.:])${one.replace(/\./g, '\\.')}(?![0-9a-f])`).test(text),
        one,
      ).toBe(false);
      const network = Buffer.alloc(16);
      for (const [w, word] of words.entries()) network.writeUInt32BE(word, w * 4);
      const raw = family === 4 ? network.subarray(12) : network;
      expect(all.includes(raw), `${one} in bytes`).toBe(false);
    }
    expect(text).not.toContain('ZZZZ');

    const tshark = spawnSync(
      'tshark',
      [
        '-r',
        file,
        '-T',
        'fields',
        '-e',
        'frame.comment',
        '-e',
        '_ws.expert.message',
        '-e',
        '_ws.malformed',
      ],
      { encoding: 'utf8', maxBuffer: 1 << 28 },
    );
    if (tshark.error === undefined) {
      expect(tshark.stderr.replace(/^Running as user.*\n/gm, '')).toBe('');
      expect(tshark.status).toBe(0);
      expect(tshark.stdout).toMatch(/whichpod connection=/);
      expect(tshark.stdout).not.toMatch(/malformed|illegal/i);
      for (const [, id = ''] of tshark.stdout.matchAll(/connection=(\w+)/g)) {
        expect(io.stdout.text).toContain(id);
      }
    }
  });
});

describe('pseudonyms of addresses', () => {
  const pseudonyms = new Pseudonyms(KEY);
  const v4 = fc.ipV4();
  const v6 = fc.ipV6().map((text) => canonicalAddress(text) ?? '::2');
  const bitsOf = (text: string): string => {
    const words = new Uint32Array(4);
    const family = parseAddress(text, words, 0);
    const bits = [...words].map((word) => word.toString(2).padStart(32, '0')).join('');
    return family === 4 ? bits.slice(96) : bits;
  };
  const common = (a: string, b: string): number => {
    let n = 0;
    while (n < a.length && a[n] === b[n]) n++;
    return n;
  };

  it.each([
    ['IPv4', v4],
    ['IPv6', v6],
  ])(
    'of %s share as many leading bits as the addresses do, and are the same each time',
    (_, any) => {
      const again = new Pseudonyms(KEY);
      fc.assert(
        fc.property(any, any, fc.nat(127), (a, b, near) => {
          const near4 = bitsOf(a).length === 32 ? near % 32 : near;
          for (const other of [b, flipped(a, near4)]) {
            const [x, y] = [pseudonyms.addressText(a) ?? '', pseudonyms.addressText(other) ?? ''];
            expect(common(bitsOf(x), bitsOf(y))).toBe(common(bitsOf(a), bitsOf(other)));
            expect(again.addressText(other)).toBe(y);
          }
        }),
        { numRuns: 200 },
      );
    },
  );

  it('hold networks together: what is in one stays in it', () => {
    fc.assert(
      fc.property(v4, fc.nat(32), (a, length) => {
        const network = pseudonyms.addressText(`${a}/${length}`) ?? '';
        const moved = pseudonyms.addressText(a) ?? '';
        const base = network.replace(/\/.*/, '');
        expect(bitsOf(base).slice(0, length)).toBe(bitsOf(moved).slice(0, length));
        expect(bitsOf(base).slice(length)).toMatch(/^0*$/);
      }),
      { numRuns: 200 },
    );
  });

  it.each(['0.0.0.0', '127.0.0.1', '224.0.0.251', '255.255.255.255', '::', '::1', 'ff02::1'])(
    'keep %s',
    (address) => expect(pseudonyms.addressText(address)).toBe(address),
  );

  it('keep what is link-local in its range, and lead nothing else there', () => {
    expect(pseudonyms.addressText('169.254.20.10')).toMatch(/^169\.254\./);
    expect(pseudonyms.addressText('fe80::1')).toMatch(/^fe[89ab]/);
    fc.assert(
      fc.property(v4, (a) => {
        const special = /^(?:127\.|169\.254\.|0\.0\.0\.0$|2[2-5]\d\.)/;
        fc.pre(Number(a.split('.')[0]) < 220);
        expect(special.test(pseudonyms.addressText(a) ?? '')).toBe(special.test(a));
      }),
    );
  });

  it('depend on the key, and names do', () => {
    const other = new Pseudonyms(new Uint8Array(32));
    expect(other.addressText('10.244.1.2')).not.toBe(pseudonyms.addressText('10.244.1.2'));
    expect(other.name('pod', 'web-1')).not.toBe(pseudonyms.name('pod', 'web-1'));
    expect(pseudonyms.name('pod', 'web-1')).toBe(new Pseudonyms(KEY).name('pod', 'web-1'));
  });

  function flipped(address: string, bit: number): string {
    const words = new Uint32Array(4);
    const family = parseAddress(address, words, 0);
    const at = family === 4 ? 96 + bit : bit;
    words[at >>> 5] = ((words[at >>> 5] ?? 0) ^ (0x8000_0000 >>> (at & 31))) >>> 0;
    const groups = [...words].flatMap((word) => [word >>> 16, word & 0xffff]);
    if (family === 6) return canonicalAddress(groups.map((g) => g.toString(16)).join(':')) ?? '';
    const word = words[3] ?? 0;
    return [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.');
  }
});
