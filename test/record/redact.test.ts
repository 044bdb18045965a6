import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { RedactedRecorder } from '../../src/cli/record/redacted-recorder.js';
import { Correlator } from '../../src/correlate/correlator.js';
import type { CaptureTap } from '../../src/decode/capture/intake.js';
import { CaptureReader } from '../../src/decode/capture/reader.js';
import { RecordDecoder } from '../../src/decode/record/decoder.js';
import { Pseudonyms } from '../../src/decode/record/redact/pseudonyms.js';
import { textOfRules } from '../../src/decode/record/rules-text.js';
import { canonicalAddress, formatAddress, parseAddress } from '../../src/model/address.js';
import type { OutputEvent } from '../../src/model/attribution.js';
import type { ClusterRecord } from '../../src/model/cluster.js';
import { C_FAMILY, C_ODST, C_OSRC, C_RDST, C_RSRC } from '../../src/model/conntrack.js';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import {
  P_DST,
  P_FAMILY,
  P_INTERFACE,
  P_NSEC,
  P_SEC,
  P_SENDER,
  P_SRC,
  PACKET_WORDS,
} from '../../src/model/packet.js';
import type { Rows } from '../../src/model/rows.js';
import { secondsOf, UTC } from '../../src/model/time.js';
import { inTime } from '../../src/pipeline/in-time.js';
import { RuleSurvey } from '../../src/pipeline/rule-survey.js';
import { createSink } from '../../src/sinks/create-sink.js';
import type { TappedFrame } from '../../src/sources/capture/frame-tap.js';
import { openInputs } from '../../src/sources/files/open.js';
import { fakeIo } from '../cli/fake-io.js';
import { Collector } from '../sinks/collector.js';
import { stateOf } from './state-of.js';

const PCAPS = new URL('../../pcaps', import.meta.url).pathname;
const KEY = Uint8Array.from({ length: 32 }, (_, i) => i * 7 + 3);
const folder = mkdtempSync(join(tmpdir(), 'whichpod-redact-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Frame {
  readonly time: bigint;
  readonly tapped: TappedFrame;
}

/** All frames of a folder's captures, in order, each with the row that it gave. */
function framesOf(path: string, interfaces: Interfaces): Frame[] {
  const all: Frame[] = [];
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
  for (const name of names.filter((one) => /[.]pcap([.]gz)?$/.test(one)).sort()) {
    let linkType = 0;
    let nanosPerUnit = 1;
    const on = interfaces.id({ name: /veth[0-9a-f]+/.exec(name)?.[0] ?? 'eth0' });
    const tap: CaptureTap = {
      pcap: (head) => {
        linkType = head.linkType;
        nanosPerUnit = head.nanosPerUnit;
      },
      record: ({ bytes, frame, captured, onWire, seconds, fraction }, words, row) => {
        const own = words.slice(row, row + PACKET_WORDS);
        if (row >= 0) own[P_INTERFACE] = on;
        const nanoseconds = fraction * nanosPerUnit;
        const tapped: TappedFrame = {
          seconds,
          nanoseconds,
          interface: on,
          packetType: 0,
          linkType,
          bytes: bytes.slice(frame, frame + captured),
          from: 0,
          captured,
          onWire,
          words: own,
          row: row < 0 ? -1 : 0,
        };
        all.push({ time: BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds), tapped });
      },
      block: () => undefined,
    };
    const reader = new CaptureReader({ interfaces: new Interfaces(), tap });
    const content = readFileSync(join(path, name));
    reader.feed(name.endsWith('.gz') ? gunzipSync(content) : content);
    reader.end();
  }
  return all.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
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
  const sink = await createSink('ndjson', {
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
  const frames = framesOf(path, interfaces);
  let next = 0;
  const giveFrames = (until: bigint): void => {
    for (; next < frames.length; next++) {
      const frame = frames[next];
      if (frame === undefined || frame.time > until) return;
      clear.frame(frame.tapped);
      recorder.frame(frame.tapped);
    }
  };
  for await (const batch of inTime(inputs, interfaces)) {
    for (const event of batch) {
      if (event.type === 'packets') {
        const { words } = event.rows;
        const row = ((event.to ?? event.rows.length) - 1) * PACKET_WORDS;
        const seconds = BigInt(words[row + P_SEC] ?? 0);
        giveFrames(seconds * 1_000_000_000n + BigInt(words[row + P_NSEC] ?? 0));
      }
      give(event);
    }
  }
  giveFrames(1n << 64n);
  for (let id = 1; interfaces.name(id) !== undefined; id++) {
    clear.interface(interfaces.name(id) ?? '');
  }
  say(machine.finish());
  recorder.end(BigInt(baseSeconds) * 1_000_000_000n);
  await sink.end();
  return { said: stdout.text, bytes: Buffer.concat(pieces), clear };
}

/** Names and addresses that must not be found. */
class Clear {
  readonly names = new Set<string>(['node1', 'secret-context', 'left-over']);
  /** Short words, most of them also the format's own. */
  readonly ports = new Set<string>();
  readonly addresses = new Set<string>();
  readonly networks = new Set<string>();
  readonly hardware = new Set<string>();
  /** What each rule set makes reachable, without names. */
  readonly services: unknown[] = [];

  note(event: InputEvent): void {
    switch (event.type) {
      case 'addresses':
        for (const one of event.addresses) this.addresses.add(one);
        break;
      case 'packets':
        this.rows(event.rows, [P_SRC, P_DST, P_SENDER], P_FAMILY);
        break;
      case 'conntrack':
        this.rows(event.rows, [C_OSRC, C_ODST, C_RSRC, C_RDST], C_FAMILY);
        break;
      case 'rules': {
        this.services.push(unnamed(event.services));
        const text = Buffer.concat([...textOfRules(event.rules)]).toString();
        for (const [one] of text.matchAll(/\b\d{1,3}(?:[.]\d{1,3}){3}\b/g)) {
          // Four bytes of which some are 0 are found in anything.
          if (!one.includes('.0')) this.addresses.add(one);
          else this.networks.add(one);
        }
        for (const [one] of text.matchAll(/\bKUBE-(?:SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}\b/g)) {
          this.names.add(one);
        }
        break;
      }
      case 'cluster': {
        const { change } = event;
        for (const item of change.op === 'list' ? change.items : [change.item]) this.object(item);
        break;
      }
      default:
        break;
    }
  }

  frame({ linkType, bytes, words, row }: TappedFrame): void {
    if (linkType === 1) {
      for (const at of [0, 6]) {
        const one = Buffer.from(bytes.subarray(at, at + 6)).toString('hex');
        if (!/^(?:0{12}|f{12})$/.test(one)) this.hardware.add(one);
      }
    }
    if (row >= 0) this.words(words, row, [P_SRC, P_DST, P_SENDER], P_FAMILY);
  }

  interface(name: string): void {
    if (!/^(?:lo|any|eth0)$/.test(name)) this.names.add(name);
  }

  private rows(rows: Rows, places: readonly number[], family: number): void {
    for (let row = 0; row < rows.length; row++) {
      this.words(rows.words, row * rows.stride, places, family);
    }
  }

  private words(words: Uint32Array, row: number, places: readonly number[], family: number): void {
    for (const place of places) {
      const at = row + place;
      if (words.subarray(at, at + 4).every((word) => word === 0)) continue;
      this.addresses.add(formatAddress(words, at, words[row + family] ?? 4));
    }
  }

  private object(item: ClusterRecord): void {
    for (const one of [item.uid, item.name, item.namespace]) if (one !== '') this.names.add(one);
    switch (item.kind) {
      case 'service': {
        const { clusterIPs, externalIPs, loadBalancerIPs } = item;
        for (const one of [...clusterIPs, ...externalIPs, ...loadBalancerIPs]) {
          this.addresses.add(one);
        }
        for (const { name } of item.ports) if (name !== undefined) this.ports.add(name);
        break;
      }
      case 'pod':
        for (const one of item.ips) this.addresses.add(one);
        break;
      case 'node':
        for (const one of item.addresses) this.addresses.add(one);
        if (item.zone !== undefined) this.names.add(item.zone);
        break;
      case 'endpointslice':
        for (const { addresses } of item.endpoints) {
          for (const one of addresses) this.addresses.add(one);
        }
        break;
    }
  }
}

/** All that a file's state names, as a decoder gives it. */
function namedBy(state: Uint8Array): Clear {
  const named = new Clear();
  const decoder = new RecordDecoder(new Interfaces());
  decoder.feed(state);
  for (let item = decoder.next(); item !== undefined; item = decoder.next()) {
    if (item.type === 'event') named.note(item.event);
  }
  expect(decoder.problem).toBe(undefined);
  return named;
}

/** Means the same everywhere, and stays. */
const isKept = (address: string): boolean =>
  /^(?:127[.]|22[4-9][.]|2[345]\d[.]|0[.]0[.]0[.]0$|::1?$|ff)/.test(address);

/** Ways to write an address: as here, with all its groups, and as its own bytes. */
function spellings(address: string): { readonly texts: readonly string[]; readonly raw: Buffer } {
  const words = new Uint32Array(4);
  const family = parseAddress(address, words, 0);
  const network = Buffer.alloc(16);
  for (const [w, word] of words.entries()) network.writeUInt32BE(word, w * 4);
  if (family === 4) return { texts: [address], raw: network.subarray(12) };
  const groups = network.toString('hex').match(/.{4}/g) ?? [];
  // As in names of nftables' chains.
  return { texts: [address, groups.join(':'), address.replaceAll(':', '.')], raw: network };
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
const WORDS = new Set(['kubernetes', 'sctp', 'client', 'dns', 'default']);

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
  '1.30-iptables-legacy/02-udp-dns',
  '1.30-iptables-nft/05-no-endpoints',
  '1.30-iptables-nft/07-dual-stack',
  '1.30-iptables-nft/10b-sctp',
  '1.30-nftables/03-session-affinity',
  '1.36-iptables-nft/25-hostport',
  '1.36-iptables-nft-vxlan/24-vxlan',
  '1.36-nftables/05-no-endpoints',
  '1.36-nftables/07-dual-stack',
];

/** A value without what anything is called, in whatever order. */
function unnamed(value: unknown): unknown {
  if (typeof value === 'string') return '*';
  if (Array.isArray(value)) return value.map((one) => JSON.stringify(unnamed(one))).sort();
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, unnamed(one)]));
}

describe('a redacted recording', () => {
  it.each(recordings)(
    'of %s gives the same verdicts, and none of its names',
    async (name) => {
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

      const state = stateOf(bytes);
      const all = Buffer.concat([bytes, state]);
      const text = all.toString('latin1');
      for (const one of clear.names) {
        // Most are long: quickly looked for.
        if (!text.includes(one)) continue;
        // As a word, or as part of a path or of a name with dots.
        const word = one.replace(/[.]/g, '\\.');
        const pattern = WORDS.has(one)
          ? asName(word)
          : new RegExp(`(?<![A-Za-z0-9])${word}(?![A-Za-z0-9])`);
        expect(pattern.exec(text)?.[0], one).toBe(undefined);
      }
      for (const one of clear.ports) expect(asName(one).exec(text)?.[0], one).toBe(undefined);
      expect(clear.hardware.size + clear.addresses.size).toBeGreaterThan(10);
      for (const one of clear.hardware) {
        expect(all.includes(Buffer.from(one, 'hex')), `${one} in bytes`).toBe(false);
      }
      for (const one of clear.addresses) {
        if (isKept(one)) continue;
        const { texts, raw } = spellings(one);
        for (const spelling of texts) {
          if (!text.includes(spelling)) continue;
          const word = spelling.replace(/\./g, '\\.');
          expect(new RegExp(`(?<![0-9a-f.:])${word}(?![0-9a-f])`).exec(text)?.[0]).toBe(undefined);
        }
        expect(all.includes(raw), `${one} in bytes`).toBe(false);
      }
      for (const one of clear.networks) {
        if (!isKept(one)) expect(text.includes(`${one}/`), one).toBe(false);
      }
      // What clients sent to and got from the recordings' servers.
      expect(/GET \/|HTTP\/1|cluster.local|svc.cluster/.exec(text)?.[0]).toBe(undefined);

      // One map for packets, conntrack, rules and cluster: no address is there that is not one's pseudonym.
      const pseudonyms = new Pseudonyms(KEY);
      const moved = new Set(
        [...clear.addresses, ...clear.networks].map((one) => pseudonyms.addressText(one)),
      );
      const named = namedBy(state);
      expect(named.addresses.size).toBeGreaterThan(5);
      // All ways to all Services, with all chains, and none that is not confirmed by its hash and was before.
      expect(clear.services.length).toBeGreaterThan(0);
      expect(named.services).toEqual(clear.services);
      for (const one of networks(clear, pseudonyms)) moved.add(one);
      const others = [...named.addresses].filter((one) => !moved.has(one) && !isKept(one));
      expect(others).toEqual([]);

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
    },
    120_000,
  );
});

/** A short word where it would be a name: in a path, before a name's other parts, as a member of an object. */
function asName(word: string): RegExp {
  return new RegExp(
    `[a-z0-9](?<!/svc-[0-9a-f]{12})/${word}(?![A-Za-z0-9])|(?<![A-Za-z0-9/])${word}/[a-z0-9]|"name":"${word}"|:${word}[ "]|\\b${word}\\.(?:pod|svc|node)\\b`,
  );
}

/** Networks of the rules: what is left of an address's pseudonym. */
function networks(clear: Clear, pseudonyms: Pseudonyms): Set<string | undefined> {
  const all = [...clear.networks];
  return new Set(
    all.flatMap((one) =>
      [8, 12, 16, 20, 22, 24].map((bits) =>
        pseudonyms.addressText(`${one}/${bits}`)?.replace(/\/.*/, ''),
      ),
    ),
  );
}

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
