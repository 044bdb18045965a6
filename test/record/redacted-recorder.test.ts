import { describe, expect, it } from 'vitest';
import { RedactedRecorder } from '../../src/cli/record/redacted-recorder.js';
import { RecordDecoder } from '../../src/decode/record/decoder.js';
import type { RecordedItem } from '../../src/decode/record/items.js';
import { textOfRules } from '../../src/decode/record/rules-text.js';
import { IptablesSaveReader } from '../../src/decode/rules/iptables-save.js';
import { iptablesServices } from '../../src/decode/rules/iptables-services.js';
import { MAPPED } from '../../src/model/address.js';
import type { ServiceRecord } from '../../src/model/cluster.js';
import {
  C_EVENT,
  C_FAMILY,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RDST,
  C_RSRC,
  EVENT_NEW,
} from '../../src/model/conntrack.js';
import { ConntrackRows } from '../../src/model/conntrack-rows.js';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import {
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_INTERFACE,
  P_PROTOCOL,
  P_SEQ,
  P_SPORT,
  P_SRC,
} from '../../src/model/packet.js';
import { PacketRows } from '../../src/model/packet-rows.js';
import { emptyFrame } from '../../src/sources/capture/frame-tap.js';
import { iptablesSave } from '../bench/generate/rules.js';
import { ethernet, ipv4, synOptions, tcp } from '../support/capture-builder.js';
import { stateOf } from './state-of.js';

const KEY = Uint8Array.from({ length: 32 }, (_, i) => i * 11 + 1);
const CLIENT = 0x0ac3_5a17;
const SECOND = 1_000_000_000n;

/** Files as they come, one or several. */
class Files {
  readonly pieces: Uint8Array[][] = [];

  begin(): void {
    this.pieces.push([]);
  }

  write(bytes: Uint8Array): void {
    this.pieces.at(-1)?.push(bytes.slice());
  }

  close(): void {}

  get bytes(): Buffer[] {
    return this.pieces.map((file) => Buffer.concat(file));
  }
}

function rulesOf(services: number): InputEvent {
  const reader = new IptablesSaveReader({ backend: 'nft' });
  for (const piece of iptablesSave({ services, endpointsEach: 4, clients: 4 }, 4)) {
    reader.feed(new TextEncoder().encode(piece));
  }
  reader.end();
  const [rules] = reader.dumps;
  if (rules === undefined) throw new Error('no rules were made');
  return { type: 'rules', time: 5n, rules, services: iptablesServices(rules) };
}

const service = (name: string): ServiceRecord => ({
  kind: 'service',
  uid: `uid-of-${name}`,
  namespace: 'bench',
  name,
  type: 'ClusterIP',
  clusterIPs: ['10.96.0.1'],
  externalIPs: [],
  loadBalancerIPs: [],
  loadBalancerSourceRanges: [],
  ports: [{ protocol: 'tcp', port: 80 }],
});

/** A recorder, and rows that are filled again and again. */
class Run {
  readonly files = new Files();
  readonly recorder: RedactedRecorder;
  private readonly interfaces = new Interfaces();
  private readonly packets = new PacketRows(4);
  private readonly entries = new ConntrackRows(4);
  private readonly veth = this.interfaces.id({ name: 'vethsecret0' });

  constructor(more: { readonly maxNs?: number } = {}) {
    const head = { version: '0', baseSeconds: 0, firstListingIsOld: true };
    const { files: target, interfaces } = this;
    this.recorder = new RedactedRecorder({ target, interfaces, sources: 'x', head, ...more }, KEY);
  }

  /** A SYN of a connection, its row and its entry. */
  connection(port: number, time: bigint): void {
    const { packets, entries, recorder, veth } = this;
    packets.clear();
    const at = packets.add();
    const { words } = packets;
    words[at] = Number(time / SECOND);
    words[at + 1] = Number(time % SECOND);
    words[at + P_FAMILY] = 4;
    words[at + P_PROTOCOL] = 6;
    words[at + P_FLAGS] = 2;
    words.set([0, 0, MAPPED, CLIENT], at + P_SRC);
    words.set([0, 0, MAPPED, 0x0a60_0002], at + P_DST);
    words[at + P_SPORT] = port;
    words[at + P_DPORT] = 80;
    words[at + P_SEQ] = port * 7;
    words[at + P_INTERFACE] = veth;
    const bytes = ethernet(
      ipv4(tcp({ sport: port, dport: 80, options: synOptions() }), {
        src: '10.195.90.23',
        dst: '10.96.0.2',
        protocol: 6,
      }),
    );
    recorder.frame({
      ...emptyFrame(),
      seconds: words[at] ?? 0,
      nanoseconds: words[at + 1] ?? 0,
      interface: veth,
      linkType: 1,
      bytes,
      captured: bytes.length,
      onWire: bytes.length,
      words,
      row: at,
    });
    bytes.fill(0xee);
    recorder.take({ type: 'packets', rows: packets });
    entries.clear();
    const entry = entries.add();
    entries.words[entry] = Number(time / SECOND);
    entries.words[entry + C_EVENT] = EVENT_NEW;
    entries.words[entry + C_FAMILY] = 4;
    entries.words[entry + C_PROTOCOL] = 6;
    for (const place of [C_OSRC, C_RDST]) {
      entries.words.set([0, 0, MAPPED, CLIENT], entry + place);
    }
    for (const place of [C_ODST, C_RSRC]) {
      entries.words.set([0, 0, MAPPED, 0x0a60_0002], entry + place);
    }
    entries.words[entry + C_OSPORT] = port;
    entries.words[entry + C_ODPORT] = 80;
    recorder.take({ type: 'conntrack', rows: entries });
    recorder.take({ type: 'tick', time });
  }
}

/** What a file says: its items, rows as their words, rules as their text; without what is drawn by lot. */
function itemsOf(bytes: Uint8Array): unknown[] {
  const decoder = new RecordDecoder(new Interfaces());
  decoder.feed(stateOf(bytes));
  const items: unknown[] = [];
  for (let item = decoder.next(); item !== undefined; item = decoder.next()) {
    items.push(told(item));
  }
  expect(decoder.problem).toBe(undefined);
  return items;
}

function told(item: RecordedItem): unknown {
  if (item.type === 'head') return { ...item.head, run: '' };
  if (item.type !== 'event') return item.type;
  const { event } = item;
  switch (event.type) {
    case 'packets':
    case 'conntrack':
      return [event.type, event.rows.words.slice(0, event.rows.length * event.rows.stride)];
    case 'rules':
      return ['rules', Buffer.concat([...textOfRules(event.rules)]).toString()];
    default:
      return event;
  }
}

/** The frames of a file, as they stand in its packet blocks. */
function framesOf(bytes: Buffer): string[] {
  const frames: string[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) {
    if (bytes.readUInt32LE(at) !== 6) continue;
    const captured = bytes.readUInt32LE(at + 20);
    frames.push(bytes.subarray(at + 28, at + 28 + captured).toString('hex'));
  }
  return frames;
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a redacting recorder', () => {
  it('writes the same whether its rules are worked on in turns or at once', async () => {
    const rules = rulesOf(120);
    const atOnce = new Run();
    const inTurns = new Run();
    for (const run of [atOnce, inTurns]) {
      const { recorder } = run;
      recorder.take({
        type: 'cluster',
        change: { op: 'list', kind: 'service', items: [service('svc-1')] },
      });
      recorder.take(rules);
      recorder.concluded();
      for (let n = 0; n < 50; n++) run.connection(40_000 + n, SECOND + BigInt(n) * 60_000_000n);
      recorder.take({ type: 'cluster', change: { op: 'set', item: service('svc-2') } });
      recorder.take(rulesOf(121));
      for (let n = 0; n < 5; n++) run.connection(50_000 + n, 9n * SECOND + BigInt(n));
      if (run === inTurns) for (let n = 0; n < 200; n++) await turn();
      for (let n = 0; n < 5; n++) run.connection(51_000 + n, 10n * SECOND + BigInt(n));
      recorder.end(12n * SECOND);
    }
    const [one = Buffer.alloc(0)] = atOnce.files.bytes;
    const [other = Buffer.alloc(0)] = inTurns.files.bytes;
    const items = itemsOf(one);
    expect(items).toHaveLength(itemsOf(other).length);
    expect(itemsOf(other)).toEqual(items);
    expect(items.filter((item) => Array.isArray(item) && item[0] === 'packets')).toHaveLength(60);
    expect(framesOf(one)).toHaveLength(60);
    expect(framesOf(other)).toEqual(framesOf(one));
    expect(new Set(framesOf(one)).size).toBe(60);
  });

  it('calls everything the same in all files of a series', () => {
    const run = new Run({ maxNs: 2_000_000_000 });
    const { recorder, files } = run;
    recorder.take({
      type: 'cluster',
      change: { op: 'list', kind: 'service', items: [service('svc-1'), service('svc-2')] },
    });
    recorder.take(rulesOf(3));
    recorder.concluded();
    for (let n = 0; n < 60; n++) run.connection(40_000, SECOND + BigInt(n) * 100_000_000n);
    recorder.end(20n * SECOND);
    expect(files.bytes.length).toBeGreaterThan(2);
    const said = files.bytes.map((bytes) => {
      const items = itemsOf(bytes);
      const cluster = items.find((item) => (item as { type?: string }).type === 'cluster');
      const rules = items.find((item) => Array.isArray(item) && item[0] === 'rules');
      const entry = items.find((item) => Array.isArray(item) && item[0] === 'conntrack') as [
        string,
        Uint32Array,
      ];
      const ends = [...entry[1].subarray(C_OSRC, C_OSPORT)];
      // Of a frame: hardware addresses; addresses; of blocks: the interface's name.
      const [frame = ''] = framesOf(bytes);
      const [name] = /veth[0-9a-f]{10}/.exec(bytes.toString('latin1')) ?? [];
      return { cluster, rules, ends, frame: [frame.slice(0, 24), frame.slice(52, 68)], name };
    });
    const [first] = said;
    expect(first?.name).toMatch(/^veth/);
    expect(first?.frame[0]).toHaveLength(24);
    for (const one of said) expect(one).toEqual(first);
    for (const bytes of files.bytes) {
      expect(bytes.toString('latin1')).not.toMatch(/secret|svc-[12]\b/);
    }
  });

  it('tells of a failure to write with the next event', async () => {
    const run = new Run();
    const { recorder, files } = run;
    recorder.take(rulesOf(120));
    files.write = () => {
      throw new Error('disk full');
    };
    run.connection(40_000, SECOND);
    for (let n = 0; n < 300; n++) await turn();
    const tell = (): void => {
      for (let n = 2n; n < 6n; n++) recorder.take({ type: 'tick', time: n * SECOND });
    };
    expect(tell).toThrow('disk full');
  });
});
