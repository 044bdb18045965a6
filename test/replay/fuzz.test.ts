import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pcap } from '../support/capture-builder.js';
import { seeded } from '../support/seeded.js';
import {
  addEnhanced,
  addressList,
  beginPcapng,
  type Connection,
  eventFlow,
  eventLine,
  listedFlow,
  POD_A,
  POD_B,
  POD_OBJECTS,
  pcapRecords,
  podList,
  ruleLines,
  serviceList,
  text,
  watchLine,
  XML_END,
  XML_HEAD,
} from '../support/small-world.js';
import { balances, CONTROL, ofType, replayed } from './replayed.js';

/** Replays of a folder in which one or more files are damaged; all together some ten seconds. */
const CASES = 160;

const CONNECTIONS: readonly Connection[] = Array.from({ length: 6 }, (_, i) => ({
  port: 40_000 + i,
  pod: i % 2 === 0 ? POD_A : POD_B,
  at: 20 + i * 100,
}));

function capture(): Uint8Array {
  return pcap(CONNECTIONS.flatMap(pcapRecords));
}

/** A small folder with an input of every kind. */
const SOUND: ReadonlyMap<string, Uint8Array> = new Map([
  ['client.pcap', capture()],
  ['multi.pcapng', CONNECTIONS.reduce(addEnhanced, beginPcapng()).bytes()],
  ['packed.pcap.gz', gzipSync(capture())],
  ['conntrack-events.txt', text(CONNECTIONS.map(eventLine).join(''))],
  ['conntrack-events.xml', text(XML_HEAD + CONNECTIONS.map(eventFlow).join('') + XML_END)],
  [
    'snap/conntrack-1795377312.5.xml',
    text(XML_HEAD + CONNECTIONS.map(listedFlow).join('') + XML_END),
  ],
  ['iptables-save.txt', text(`${ruleLines().join('\n')}\n`)],
  ['api/pods.json', text(podList(POD_OBJECTS))],
  ['api/services.json', text(serviceList())],
  ['api/watch.jsonl', text(POD_OBJECTS.map(watchLine).join(''))],
  ['net/addr.json', text(addressList())],
]);

/** Numbers that lengths, times and ports go wrong at, and text that terminals and parsers act on. */
const INTERESTING: readonly Uint8Array[] = [
  Uint8Array.of(0, 0, 0, 0),
  Uint8Array.of(0xff, 0xff, 0xff, 0xff),
  Uint8Array.of(4, 0, 0, 0),
  Uint8Array.of(0, 0, 0, 0x80),
  text('\u001b[2J\u009b\u202e'),
  text('99999999999999999999'),
  text('-1'),
  text('"__proto__"'),
  text('<flow>'),
  text('\n'),
  text('\0'),
];

const MUTATIONS = {
  'a bit flipped': (bytes, pick) => {
    const at = pick(bytes.length);
    return bytes.with(at, (bytes[at] ?? 0) ^ (1 << pick(8)));
  },
  'a byte set': (bytes, pick) => bytes.with(pick(bytes.length), pick(256)),
  'cut off': (bytes, pick) => bytes.slice(0, pick(bytes.length)),
  'a piece left out': (bytes, pick) => {
    const at = pick(bytes.length);
    return splice(bytes, at, 1 + pick(40), new Uint8Array(0));
  },
  'a piece said twice': (bytes, pick) => {
    const at = pick(bytes.length);
    return splice(bytes, at, 0, bytes.slice(at, at + 1 + pick(200)));
  },
  'something put in': (bytes, pick) => splice(bytes, pick(bytes.length), 0, interesting(pick)),
  'something put over it': (bytes, pick) => {
    const put = interesting(pick);
    return splice(bytes, pick(bytes.length), put.length, put);
  },
} satisfies Record<string, (bytes: Uint8Array, pick: (below: number) => number) => Uint8Array>;

function interesting(pick: (below: number) => number): Uint8Array {
  return INTERESTING[pick(INTERESTING.length)] ?? new Uint8Array(0);
}

function splice(bytes: Uint8Array, at: number, length: number, put: Uint8Array): Uint8Array {
  return Uint8Array.from([...bytes.subarray(0, at), ...put, ...bytes.subarray(at + length)]);
}

describe('a replay of damaged inputs', () => {
  const before = process.cwd();
  let folder = '';

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'whichpod-fuzz-'));
    process.chdir(folder);
    for (const [path, content] of SOUND) {
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, content);
    }
  });

  afterAll(() => {
    process.chdir(before);
    rmSync(folder, { recursive: true, force: true });
  });

  it('finds every connection before anything is damaged', async () => {
    const { exit, stderr, events } = await replayed('.');
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' });
    const [summary] = ofType(events, 'summary');
    expect(summary?.connections).toMatchObject({ seen: 6, attributed: 6 });
  });

  const seeds = Array.from({ length: 8 }, (_, i) => i + 1);
  it.each(seeds)(
    'ends with 0 or 2, says why in safe lines, and its sum holds (seed %i)',
    async (seed) => {
      const random = seeded(seed);
      const pick = (below: number): number => Math.floor(random() * below);
      const paths = [...SOUND.keys()];
      const kinds = Object.values(MUTATIONS);
      const names = Object.keys(MUTATIONS);
      let finished = 0;
      for (let n = 0; n < CASES / seeds.length; n++) {
        const damaged = new Map<string, Uint8Array>();
        const told: string[] = [`seed ${seed}, case ${n}:`];
        for (let times = 1 + pick(3); times > 0; times--) {
          const path = paths[pick(paths.length)] ?? '';
          const bytes = damaged.get(path) ?? SOUND.get(path);
          const kind = pick(kinds.length);
          if (bytes === undefined || bytes.length === 0) continue;
          damaged.set(path, kinds[kind]?.(bytes, pick) ?? bytes);
          told.push(`${path}: ${names[kind]};`);
        }
        for (const [path, content] of damaged) writeFileSync(path, content);
        const { exit, stderr, events } = await replayed('.');
        const why = `${told.join(' ')}\n${stderr}`;
        expect([0, 2], why).toContain(exit);
        if (exit === 0) finished++;
        expect(stderr, why).not.toMatch(CONTROL);
        if (exit === 2) expect(stderr, why).toMatch(/^whichpod: [^\n]+\n$/m);
        const summaries = ofType(events, 'summary');
        expect(summaries, why).toHaveLength(exit === 0 ? 1 : 0);
        for (const summary of summaries) {
          expect(balances(summary), why).toBe(true);
          expect(summary.losses, why).toBe(ofType(events, 'loss').length);
        }
        for (const path of damaged.keys()) writeFileSync(path, SOUND.get(path) ?? '');
      }
      // A fuzzer whose every case is refused at once would see nothing.
      expect(finished).toBeGreaterThan(CASES / seeds.length / 4);
    },
  );
});
