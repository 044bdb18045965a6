import { readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RecordDecoder } from '../../../src/decode/record/decoder.js';
import { RecordEncoder } from '../../../src/decode/record/encoder.js';
import { IptablesSaveReader } from '../../../src/decode/rules/iptables-save.js';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { nftServices } from '../../../src/decode/rules/nft-services.js';
import { CONNTRACK_WORDS } from '../../../src/model/conntrack.js';
import { ConntrackRows } from '../../../src/model/conntrack-rows.js';
import type { InputEvent } from '../../../src/model/event.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import { P_INTERFACE, PACKET_WORDS } from '../../../src/model/packet.js';
import { PacketRows } from '../../../src/model/packet-rows.js';
import type { Rows } from '../../../src/model/rows.js';
import type { RuleSet } from '../../../src/model/ruleset.js';
import { seeded } from '../../support/seeded.js';

const DATA = new URL('../rules/data/', import.meta.url);

/** What comes back, rows copied since they are filled again. */
function back(bytes: Uint8Array, interfaces = new Interfaces(), piece = bytes.length) {
  const decoder = new RecordDecoder(interfaces);
  const items: unknown[] = [];
  for (let at = 0; at < bytes.length; at += Math.max(1, piece)) {
    decoder.feed(bytes.subarray(at, at + Math.max(1, piece)));
    for (let item = decoder.next(); item !== undefined; item = decoder.next()) {
      const event = item.type === 'event' ? item.event : undefined;
      if (event?.type === 'packets' || event?.type === 'conntrack') {
        const { rows, ...rest } = event;
        items.push({ ...rest, words: [...rows.words.subarray(0, rows.length * rows.stride)] });
      } else items.push(event ?? item);
    }
  }
  return { items, problem: decoder.problem, pending: decoder.pending };
}

function rowsOf<R extends Rows>(rows: R, all: readonly (readonly number[])[]): R {
  for (const words of all) {
    const at = rows.add();
    for (const [i, word] of words.entries()) rows.words[at + i] = word;
  }
  return rows;
}

const word = fc.oneof(fc.constant(0), fc.nat(100), fc.integer({ min: 0, max: 0xffff_ffff }));
const listOfRows = (stride: number) =>
  fc.array(fc.array(word, { minLength: stride, maxLength: stride }), { maxLength: 12 });

describe('rows', () => {
  it('of packets and conntrack come back word for word, in parts and over several batches', () => {
    const batches = fc.array(
      fc.record({ packets: listOfRows(PACKET_WORDS), entries: listOfRows(CONNTRACK_WORDS) }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(batches, fc.nat(3), fc.integer({ min: 1, max: 999 }), (all, skip, piece) => {
        const interfaces = new Interfaces();
        for (const name of ['veth1', 'eth0']) interfaces.id({ name });
        interfaces.id({ index: 7, node: 'node1' });
        const encoder = new RecordEncoder(interfaces);
        const expected: unknown[] = [];
        for (const { packets, entries } of all) {
          const p = rowsOf(new PacketRows(1), packets);
          for (let at = P_INTERFACE; at < p.length * PACKET_WORDS; at += PACKET_WORDS) {
            p.words[at] = (p.words[at] ?? 0) % 4;
          }
          const from = Math.min(skip, p.length);
          encoder.event({ type: 'packets', rows: p, from });
          const words = [...p.words.subarray(from * PACKET_WORDS, p.length * PACKET_WORDS)];
          expected.push({ type: 'packets', words });
          const c = rowsOf(new ConntrackRows(1), entries);
          encoder.event({ type: 'conntrack', node: 'node1', rows: c });
          expected.push({ type: 'conntrack', node: 'node1', words: entries.flat() });
        }
        const again = new Interfaces();
        const { items, problem, pending } = back(encoder.takeAll(), again, piece);
        expect({ problem, pending }).toEqual({ problem: undefined, pending: 0 });
        expect(items).toEqual(expected);
      }),
      { numRuns: 150 },
    );
  });

  it('name their interfaces as before, whatever number those get', () => {
    const interfaces = new Interfaces();
    interfaces.id({ name: 'veth1', index: 5, node: 'n' });
    const rows = rowsOf(new PacketRows(1), [[]]);
    rows.words[P_INTERFACE] = interfaces.id({ index: 9 });
    const encoder = new RecordEncoder(interfaces);
    encoder.event({ type: 'packets', rows });
    const again = new Interfaces();
    again.id({ name: 'lo' });
    const [packets] = back(encoder.takeAll(), again).items as { words: number[] }[];
    expect(again.get(packets?.words[P_INTERFACE] ?? 0)).toEqual({ index: 9 });
    expect(again.get(2)).toEqual({ name: 'veth1', index: 5, node: 'n' });
  });

  it('of several sights of one packet take little room', () => {
    const random = seeded(3);
    const first = Array.from({ length: PACKET_WORDS }, () => Math.floor(random() * 0x1_0000_0000));
    first[P_INTERFACE] = 0;
    const copies = Array.from({ length: 100 }, (_, i) => first.with(1, i * 1000));
    const encoder = new RecordEncoder(new Interfaces());
    encoder.event({ type: 'packets', rows: rowsOf(new PacketRows(), copies) });
    expect(encoder.takeAll().length).toBeLessThan(100 * 8 + 5 * PACKET_WORDS + 40);
  });
});

describe('what comes seldom', () => {
  const text = fc.string({ maxLength: 12 });
  const time = fc.bigInt({ min: 0n, max: (1n << 62n) - 1n });
  const optional = <T>(key: string, of: fc.Arbitrary<T>) =>
    fc.option(of, { nil: undefined }).map((value) => (value === undefined ? {} : { [key]: value }));
  const texts = fc.array(text, { maxLength: 3 });
  const pod = fc.record({
    kind: fc.constant('pod' as const),
    uid: text,
    namespace: text,
    name: text,
    ips: texts,
    hostNetwork: fc.boolean(),
    ready: fc.boolean(),
  });
  const node = fc.record({
    kind: fc.constant('node' as const),
    uid: text,
    name: text,
    namespace: fc.constant('' as const),
    addresses: texts,
    podCIDRs: texts,
  });
  const service = fc.record({
    kind: fc.constant('service' as const),
    uid: text,
    namespace: text,
    name: text,
    type: text,
    clusterIPs: texts,
    externalIPs: texts,
    loadBalancerIPs: texts,
    loadBalancerSourceRanges: texts,
    ports: fc.array(
      fc.record({ protocol: fc.constantFrom('tcp', 'udp', 'sctp'), port: fc.nat(65_535) }),
      { maxLength: 2 },
    ),
  });
  const slice = fc.record({
    kind: fc.constant('endpointslice' as const),
    uid: text,
    namespace: text,
    name: text,
    service: text,
    ports: fc.constant([{ protocol: 'tcp' as const }]),
    endpoints: fc.array(
      fc.record({
        addresses: texts,
        ready: fc.boolean(),
        serving: fc.boolean(),
        terminating: fc.boolean(),
        pod: fc.record({ namespace: text, name: text }),
      }),
      { maxLength: 2 },
    ),
  });
  const change = fc.oneof(
    fc.record({ op: fc.constant('list'), kind: fc.constant('pod'), items: fc.array(pod) }),
    fc.record({ op: fc.constant('list'), kind: fc.constant('node'), items: fc.array(node) }),
    fc.record({ op: fc.constantFrom('set', 'delete'), item: fc.oneof(pod, node, service, slice) }),
  );
  const merged = (...parts: fc.Arbitrary<object>[]) =>
    fc.tuple(...parts).map((all) => Object.assign({}, ...all) as unknown as InputEvent);
  const count = fc.nat(2 ** 40);
  const route = fc.record({
    network: text,
    prefix: fc.nat(128),
    device: text,
    metric: fc.nat(2 ** 32),
  });
  const held = fc.array(
    fc.tuple(
      text,
      fc.integer({ min: 0, max: 1e9 }).map((ms) => ms / 1_000),
    ),
  );
  const readings = fc.record(
    {
      table: fc.record(
        { count, max: count, insertFailed: count, drop: count, earlyDrop: count },
        { requiredKeys: [] },
      ),
      routes: fc.array(route, { maxLength: 3 }),
      recent: fc.array(fc.tuple(text, held), { maxLength: 3 }),
      recentCapacity: count,
      kubeProxy: text,
    },
    { requiredKeys: [] },
  );
  const event = fc.oneof(
    merged(fc.record({ type: fc.constant('readings'), time, readings }), optional('node', text)),
    merged(fc.record({ type: fc.constant('tick'), time })),
    merged(fc.record({ type: fc.constant('cluster'), change }), optional('time', time)),
    merged(
      fc.record({ type: fc.constant('addresses'), addresses: texts }),
      optional('time', time),
      optional('node', text),
    ),
    merged(
      fc.record({
        type: fc.constant('loss'),
        loss: merged(
          fc.record({ source: fc.constantFrom('ring', 'queue'), count: fc.nat(), detail: text }),
          optional('from', time),
          optional('to', time),
        ),
      }),
    ),
    merged(
      fc.record({
        type: fc.constant('notice'),
        notice: merged(fc.record({ code: text, detail: text }), optional('time', time)),
      }),
    ),
  );

  it('comes back as it was', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 8 }), (events) => {
        const encoder = new RecordEncoder(new Interfaces());
        for (const one of events) encoder.event(one);
        const { items, problem } = back(encoder.takeAll());
        expect(problem).toBeUndefined();
        expect(items).toEqual(events);
      }),
      { numRuns: 300 },
    );
  });

  it('head, marks and end come back as well', () => {
    const encoder = new RecordEncoder(new Interfaces());
    const head = {
      version: '1.0.0',
      run: 'abc',
      file: 1,
      node: 'node1',
      baseSeconds: 1_795_377_469,
      firstListingIsOld: true,
      facts: { kernel: '6.1' },
    };
    encoder.head(head);
    encoder.concluded();
    encoder.resumed();
    encoder.end();
    expect(back(encoder.takeAll()).items).toEqual([
      { type: 'head', head },
      { type: 'concluded' },
      { type: 'resumed' },
      { type: 'end' },
    ]);
  });
});

/** Everything about rules that can be compared. */
function flat(rules: RuleSet): unknown {
  if (rules.kind === 'nftables') return rules;
  const { tables, ...rest } = rules;
  const all = [...tables.values()].map(({ name, chains }) => ({
    name,
    chains: [...chains.values()].map(({ name: chain, policy, packets, bytes, rules: its }) => ({
      chain,
      policy,
      packets,
      bytes,
      rules: its.map((rule) => [rule.line, rule.text, rule.packets, rule.bytes]),
    })),
  }));
  return { ...rest, all };
}

describe('rules', () => {
  const time = 1_795_377_469_123_456_789n;
  function roundTrip(rules: RuleSet): Extract<InputEvent, { type: 'rules' }> {
    const encoder = new RecordEncoder(new Interfaces());
    encoder.event({ type: 'rules', time, node: 'n', rules, services: [] });
    const { items, problem } = back(encoder.takeAll());
    expect(problem).toBeUndefined();
    return items[0] as Extract<InputEvent, { type: 'rules' }>;
  }

  it.each(readdirSync(DATA).filter((file) => /ip6?tables-save/.test(file)))(
    'of iptables come back line for line: %s',
    (file) => {
      const raw = readFileSync(new URL(file, DATA));
      const reader = new IptablesSaveReader();
      reader.feed(file.endsWith('.gz') ? gunzipSync(raw) : raw);
      reader.end();
      expect(reader.dumps.length).toBeGreaterThan(0);
      for (const dump of reader.dumps) {
        const told = roundTrip(dump);
        expect(flat(told.rules)).toEqual(flat(dump));
        expect(told.services).toEqual(iptablesServices(dump, []));
        expect([told.time, told.node]).toEqual([time, 'n']);
      }
    },
  );

  it.each(readdirSync(DATA).filter((file) => /nftables.*nft[.]json/.test(file)))(
    'of nftables come back as they were: %s',
    (file) => {
      const raw = readFileSync(new URL(file, DATA));
      const { rules } = readNftJson(file.endsWith('.gz') ? gunzipSync(raw) : raw);
      expect(rules.length).toBeGreaterThan(0);
      for (const one of rules) {
        const told = roundTrip(one);
        expect(told.rules).toEqual(one);
        expect(told.services).toEqual(nftServices(one, []));
      }
    },
  );

  it('that are gone come back as none', () => {
    const none = { kind: 'iptables', family: 6, backend: 'legacy', tables: new Map() } as const;
    expect(roundTrip(none).rules).toEqual(none);
  });
});

/** Readings that no version writes. */
const REFUSED = [
  '{"readings":{}}',
  '{"time":"x","readings":{}}',
  '{"time":"5"}',
  '{"time":"5","readings":[]}',
  '{"time":"5","node":7,"readings":{}}',
  '{"time":"5","readings":{"table":{"count":-1}}}',
  '{"time":"5","readings":{"routes":[{"network":"10.0.0.1"}]}}',
  '{"time":"5","readings":{"recent":[["list",[["10.0.0.1",null]]]]}}',
  '{"time":"5","readings":{"recent":[["list"]]}}',
  '{"time":"5","readings":{"kubeProxy":1}}',
];

function jsonItem(tag: number, text: string): number[] {
  const bytes = new TextEncoder().encode(text);
  return [tag, bytes.length, ...bytes];
}

describe('what is damaged', () => {
  /** A sequence with something of everything. */
  function sample(): Uint8Array {
    const interfaces = new Interfaces();
    interfaces.id({ name: 'veth1' });
    const encoder = new RecordEncoder(interfaces);
    encoder.head({
      version: '1',
      run: 'r',
      file: 1,
      baseSeconds: 5,
      firstListingIsOld: true,
      facts: {},
    });
    const reader = new IptablesSaveReader();
    const text = '*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ACCEPT\nCOMMIT\n';
    reader.feed(new TextEncoder().encode(text));
    reader.end();
    for (const rules of reader.dumps) encoder.event({ type: 'rules', rules, services: [] });
    const pod = {
      kind: 'pod',
      uid: 'u',
      namespace: 'n',
      name: 'p',
      ips: ['10.0.0.1'],
      hostNetwork: false,
      ready: true,
    } as const;
    encoder.event({ type: 'cluster', change: { op: 'list', kind: 'pod', items: [pod] } });
    encoder.concluded();
    const rows = rowsOf(new PacketRows(1), [
      [1, 2, 3, 0, 1],
      [1, 9, 3, 0, 1],
    ]);
    encoder.event({ type: 'packets', rows });
    encoder.event({ type: 'conntrack', rows: rowsOf(new ConntrackRows(1), [[1, 2, 3]]) });
    const readings = {
      table: { count: 5, max: 9, insertFailed: 1 },
      routes: [{ network: '10.0.0.1', prefix: 32, device: 'veth1', metric: 0 }],
      recent: [['KUBE-SEP-A', [['10.0.0.1', 1.5]]]],
      kubeProxy: '1.30.4',
    } as const;
    encoder.event({ type: 'readings', time: 6n, readings });
    encoder.event({ type: 'tick', time: 7n });
    encoder.end();
    return encoder.takeAll();
  }

  const plain = (item: unknown): string =>
    JSON.stringify(item, (key, value: unknown) =>
      key === 'rules' && typeof value === 'object' && value !== null && 'kind' in value
        ? JSON.stringify(flat(value as RuleSet))
        : typeof value === 'bigint'
          ? String(value)
          : value,
    );

  it('by being cut gives the items before it', () => {
    const whole = sample();
    const all = back(whole).items.map(plain);
    expect(all.length).toBe(9);
    for (let length = 0; length < whole.length; length++) {
      const { items, problem } = back(whole.slice(0, length));
      expect(problem).toBeUndefined();
      expect(items.map(plain)).toEqual(all.slice(0, items.length));
    }
  });

  it('in any byte gives items of the known kinds or a problem, never more', () => {
    const whole = sample();
    const random = seeded(77);
    const kinds = new Set<string | undefined>();
    for (let round = 0; round < 3_000; round++) {
      const bytes = whole.slice();
      const changes = 1 + Math.floor(random() * 4);
      for (let i = 0; i < changes; i++) {
        bytes[Math.floor(random() * bytes.length)] = Math.floor(random() * 256);
      }
      const { items, problem } = back(bytes);
      expect(items.length).toBeLessThan(200);
      kinds.add(problem?.code);
    }
    expect(kinds).toEqual(new Set([undefined, 'recording-damaged']));
  });

  it.each<[string, number[]]>([
    ['of kind 0', [0, 0]],
    ['longer than any', [3, 0xff, 0xff, 0xff, 0xff, 0x0f]],
    ['with a length that does not end', [3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]],
    ['with more rows than bytes', [3, 3, 0, 0xff, 0x7f]],
    ['with a tick before 1970', [5, 1, 1]],
    ...REFUSED.map((text): [string, number[]] => [`of readings: ${text}`, jsonItem(15, text)]),
  ])('an item %s stops it', (_, bytes) => {
    expect(back(new Uint8Array(bytes)).problem?.code).toBe('recording-damaged');
  });

  it('an item of a kind that is not known is passed over and counted', () => {
    const decoder = new RecordDecoder(new Interfaces());
    decoder.feed(new Uint8Array([99, 2, 7, 7, 2, 0, 99, 0, 120, 0, 12, 0]));
    const items: unknown[] = [];
    for (let item = decoder.next(); item !== undefined; item = decoder.next()) items.push(item);
    expect(items).toEqual([{ type: 'concluded' }, { type: 'end' }]);
    expect(decoder.problem).toBeUndefined();
    expect([...decoder.unknown]).toEqual([
      [99, 2],
      [120, 1],
    ]);
  });
});
