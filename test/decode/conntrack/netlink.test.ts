import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type ConntrackMessages,
  decodeConntrackMessages,
  dumpRequest,
} from '../../../src/decode/conntrack/netlink.js';
import { ConntrackXmlReader } from '../../../src/decode/conntrack/xml.js';
import {
  CONNTRACK_WORDS,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
  EVENT_UPDATE,
} from '../../../src/model/conntrack.js';
import { ConntrackRows } from '../../../src/model/conntrack-rows.js';
import { seeded } from '../../support/seeded.js';
import { datagrams, type Entry, entriesOf, mutate, recording } from './entries.js';

const viewOf = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

function decode(
  bytes: Uint8Array,
  sec = 1_000,
  nsec = 5,
): { entries: Entry[] } & ConntrackMessages {
  const rows = new ConntrackRows(1);
  const said = decodeConntrackMessages(viewOf(bytes), 0, bytes.length, rows, sec, nsec);
  return { entries: entriesOf(rows), ...said };
}

function xml(name: string): Entry[] {
  const reader = new ConntrackXmlReader();
  reader.feed(recording(name));
  reader.end();
  return entriesOf(reader.rows);
}

/** Without what the program's printing adds or takes away. */
function common(entry: Entry): Omit<Entry, 'time' | 'resolution' | 'lateness' | 'kernelTime'> {
  const { time, resolution, lateness, kernelTime, ...rest } = entry;
  return rest;
}

const nanos = (time: string | undefined): bigint => {
  const [whole = '', fraction = ''] = (time ?? '').split('.');
  return BigInt(Date.parse(`${whole}Z`)) * 1_000_000n + BigInt(fraction.replace('Z', ''));
};

describe('a recorded kernel', () => {
  test('gives the same events as the program printed, in the same order', () => {
    const found = datagrams('kernel-6.18-nl-events.bin').flatMap(
      ({ bytes }) => decode(bytes).entries,
    );
    expect(found.map(common)).toEqual(xml('kernel-6.18-events.xml').map(common));
    const kinds = new Set(found.map((e) => e.event));
    expect(kinds).toEqual(new Set([EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY]));
    expect(found.some((e) => e.userspace && e.event === EVENT_DESTROY)).toBe(true);
  });

  test('gives the same table as the program listed', () => {
    const sorted = (entries: Entry[]): ReturnType<typeof common>[] =>
      entries
        .map((entry) => ({ ...common(entry), timeout: 0 }))
        .sort((a, b) => (a.original < b.original ? -1 : 1));
    const parts = datagrams('kernel-6.18-nl-dump.bin').map(({ bytes }) => decode(bytes));
    const found = parts.flatMap((part) => part.entries);
    expect(sorted(found)).toEqual(sorted(xml('kernel-6.18-list.xml')));
    expect(parts.filter((part) => part.done)).toHaveLength(2);
    expect(parts.every((part) => part.error === 0 && !part.interrupted)).toBe(true);
    expect(found.every((e) => e.event === EVENT_LISTED && e.lateness === 0)).toBe(true);
    expect(found.every((e) => e.time === '1970-01-01T00:16:40.000000005Z')).toBe(true);
    expect(new Set(found.map((e) => e.zones))).toEqual(
      new Set(['0 0 0', '5 0 0', '12 0 0', '0 3 0', '0 0 4']),
    );
  });

  test('that keeps times tells when each event arose', () => {
    for (const { bytes, sec, nsec } of datagrams('kernel-6.18-nl-events.bin')) {
      const received = BigInt(sec) * 1_000_000_000n + BigInt(nsec);
      for (const entry of decode(bytes, sec, nsec).entries) {
        expect(entry).toMatchObject({ kernelTime: true, resolution: 1, lateness: 0 });
        const late = received - nanos(entry.time);
        expect(late).toBeGreaterThan(0n);
        expect(late).toBeLessThan(20_000_000n);
      }
    }
  });

  test('that keeps none leaves the time of reading', () => {
    for (const { bytes, sec, nsec } of datagrams('kernel-6.18-plain-nl-events.bin')) {
      for (const entry of decode(bytes, sec, nsec).entries) {
        expect(entry.kernelTime).toBeUndefined();
        expect(nanos(entry.time)).toBe(BigInt(sec) * 1_000_000_000n + BigInt(nsec));
        expect(entry).toMatchObject({ resolution: 1, lateness: 1_000_000_000 });
      }
    }
  });
});

const LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** An attribute with a body of bytes or of attributes. */
function attribute(type: number, ...body: (number | Uint8Array)[]): Uint8Array {
  const parts = body.map((part) => (typeof part === 'number' ? Uint8Array.of(part) : part));
  const length = 4 + parts.reduce((sum, part) => sum + part.length, 0);
  const out = new Uint8Array((length + 3) & ~3);
  const view = new DataView(out.buffer);
  view.setUint16(0, length, LITTLE);
  view.setUint16(2, type, LITTLE);
  let at = 4;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function message(type: number, flags: number, seq: number, ...body: Uint8Array[]): Uint8Array {
  const length = 16 + body.reduce((sum, part) => sum + part.length, 0);
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  view.setUint32(0, length, LITTLE);
  view.setUint16(4, type, LITTLE);
  view.setUint16(6, flags, LITTLE);
  view.setUint32(8, seq, LITTLE);
  let at = 16;
  for (const part of body) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function int32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setInt32(0, value, LITTLE);
  return out;
}

const join = (...parts: Uint8Array[]): Uint8Array =>
  Uint8Array.from(parts.flatMap((part) => [...part]));

const GENMSG = Uint8Array.of(2, 0, 0, 0);
const ip = (last: number): Uint8Array => Uint8Array.of(10, 0, 0, last);
const addresses = attribute(0x8001, attribute(1, ip(1)), attribute(2, ip(2)));
const ports = attribute(0x8002, attribute(1, 6), attribute(2, 0x9c, 0x40), attribute(3, 0, 80));
const ORIGINAL = attribute(0x8001, addresses, ports);
const NEW = 0x100;
const DELETE = 0x102;
const ENTRY = message(NEW, 0x600, 0, GENMSG, ORIGINAL);

describe('messages', () => {
  test('of the original tuple alone are enough', () => {
    const { entries, problems } = decode(ENTRY);
    expect(problems).toEqual([]);
    expect(entries).toEqual([
      {
        event: EVENT_NEW,
        protocol: 6,
        original: '10.0.0.1:40000 > 10.0.0.2:80',
        zones: '0 0 0',
        time: '1970-01-01T00:16:40.000000005Z',
        resolution: 1,
        lateness: 1_000_000_000,
      },
    ]);
  });

  test.each<[string, Uint8Array, Partial<ConntrackMessages>]>([
    ['nothing', new Uint8Array(0), {}],
    ['the end of a dump', message(3, 2, 7, int32(0)), { done: true }],
    ['the end of a dump without a code', message(3, 2, 7), { done: true }],
    ['a dump that ended badly', message(3, 2, 7, int32(-12)), { done: true, error: 12 }],
    ['an interrupted dump', message(3, 2 | 0x10, 7, int32(0)), { done: true, interrupted: true }],
    ['an acknowledgement', message(2, 0, 7, int32(0)), {}],
    ['a refusal', message(2, 0, 7, int32(-1), new Uint8Array(16)), { error: 1 }],
    [
      'two refusals, of which the first counts',
      join(message(2, 0, 7, int32(-16)), message(2, 0, 7, int32(-1))),
      { error: 16 },
    ],
    ['another subsystem', message(0x200, 0x600, 0, GENMSG, ORIGINAL), {}],
    ['no operation', message(1, 0, 0), {}],
  ])('%s', (_name, bytes, expected) => {
    expect(decode(bytes)).toEqual({
      entries: [],
      done: false,
      error: 0,
      interrupted: false,
      problems: [],
      ...expected,
    });
  });

  test.each<[string, number, number, number, number]>([
    ['a new entry', NEW, 0x600, 0, EVENT_NEW],
    ['a change', NEW, 0, 0, EVENT_UPDATE],
    ['an end', DELETE, 0, 0, EVENT_DESTROY],
    ['a reply to a dump', NEW, 2, 9, EVENT_LISTED],
  ])('%s', (_name, type, flags, seq, event) => {
    const { entries } = decode(message(type, flags, seq, GENMSG, ORIGINAL));
    expect(entries.map((e) => e.event)).toEqual([event]);
  });

  test('of other protocols are left out without a word', () => {
    const gre = attribute(1, addresses, attribute(2, attribute(1, 47)));
    const found = decode(join(message(NEW, 0x600, 0, GENMSG, gre), ENTRY));
    expect(found.entries).toHaveLength(1);
    expect(found.problems).toEqual([]);
  });

  test.each<[string, ...Uint8Array[]]>([
    ['no body'],
    ['no attributes', GENMSG],
    ['no addresses', GENMSG, attribute(1, ports)],
    ['one address', GENMSG, attribute(1, attribute(1, attribute(1, ip(1))), ports)],
    [
      'addresses of two families',
      GENMSG,
      attribute(1, attribute(1, attribute(1, ip(1)), attribute(4, new Uint8Array(16))), ports),
    ],
    [
      'a short address',
      GENMSG,
      attribute(1, attribute(1, attribute(1, 10, 0), attribute(2, ip(2))), ports),
    ],
    ['no protocol', GENMSG, attribute(1, addresses)],
    [
      'no protocol number',
      GENMSG,
      attribute(1, addresses, attribute(2, attribute(2, 0, 80), attribute(3, 0, 80))),
    ],
    ['an empty protocol number', GENMSG, attribute(1, addresses, attribute(2, attribute(1)))],
    ['no ports', GENMSG, attribute(1, addresses, attribute(2, attribute(1, 6)))],
    [
      'a short port',
      GENMSG,
      attribute(1, addresses, attribute(2, attribute(1, 6), attribute(2, 9), attribute(3, 0, 80))),
    ],
    ['a short zone', GENMSG, ORIGINAL, attribute(18, 1)],
    ['a short zone of a tuple', GENMSG, attribute(1, addresses, ports, attribute(3, 1))],
    ['a short status', GENMSG, ORIGINAL, attribute(3, 1, 2)],
    ['a short timeout', GENMSG, ORIGINAL, attribute(7, 1)],
    ['a short mark', GENMSG, ORIGINAL, attribute(8, 1)],
    ['a short id', GENMSG, ORIGINAL, attribute(12, 1)],
    ['a short counter', GENMSG, ORIGINAL, attribute(9, attribute(1, 1, 2, 3, 4))],
    ['a short state', GENMSG, ORIGINAL, attribute(4, attribute(1, attribute(1)))],
    ['a short start', GENMSG, ORIGINAL, attribute(20, attribute(1, 1, 2, 3, 4))],
    ['a short event time', GENMSG, ORIGINAL, attribute(27, 1, 2, 3, 4)],
    [
      'an attribute shorter than its header',
      GENMSG,
      ORIGINAL,
      Uint8Array.of(1, 0, 1, 0, 0, 0, 0, 0),
    ],
    ['an attribute beyond the end', GENMSG, ORIGINAL, Uint8Array.of(0x80, 0x80, 8, 0)],
    [
      'a nested attribute beyond its parent',
      GENMSG,
      ORIGINAL,
      attribute(9, Uint8Array.of(200, 200, 1, 0)),
    ],
    ['half an attribute header', GENMSG, ORIGINAL, Uint8Array.of(8, 8)],
  ])('with %s cost one entry', (_name, ...body) => {
    const bad = message(NEW, 0x600, 0, ...body);
    const found = decode(join(ENTRY, padded(bad), ENTRY, padded(bad)));
    expect(found.entries).toHaveLength(2);
    expect(found.problems).toHaveLength(1);
    expect(found.problems[0]).toMatchObject({
      code: 'netlink-damaged',
      fatal: false,
      lost: 2,
      where: { offset: ENTRY.length },
    });
  });

  test('cut at each length give what is whole and say that one was cut', () => {
    const whole = join(ENTRY, ENTRY);
    for (let length = 0; length <= whole.length; length++) {
      const found = decode(whole.slice(0, length));
      expect(found.entries).toHaveLength(Math.floor(length / ENTRY.length));
      expect(found.problems).toHaveLength(length % ENTRY.length === 0 ? 0 : 1);
    }
  });

  test('are looked for only where they are said to be', () => {
    const rows = new ConntrackRows(1);
    const bytes = join(new Uint8Array(8).fill(0xff), ENTRY, new Uint8Array(8).fill(0xff));
    const said = decodeConntrackMessages(viewOf(bytes), 8, 8 + ENTRY.length, rows, 1, 1);
    expect(said.problems).toEqual([]);
    expect(rows.length).toBe(1);
  });

  test('mutated in any way never do more than get lost', () => {
    const random = seeded(20_261_124);
    const all = datagrams('kernel-6.18-nl-events.bin').map(({ bytes }) => bytes);
    let taken = 0;
    for (let i = 0; i < 4_000; i++) {
      const bytes = mutate(join(all[i % all.length] ?? ENTRY, ENTRY), random);
      const rows = new ConntrackRows(1);
      const said = decodeConntrackMessages(viewOf(bytes), 0, bytes.length, rows, 1, 1);
      taken += rows.length;
      expect(rows.length).toBeLessThanOrEqual(bytes.length / 20);
      expect(said.problems.length).toBeLessThanOrEqual(1);
      for (const entry of entriesOf(rows)) {
        expect([6, 17, 132]).toContain(entry.protocol);
        expect([EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY, EVENT_LISTED]).toContain(entry.event);
      }
    }
    expect(taken).toBeGreaterThan(1_000);
  });

  test('of random bytes do nothing worse', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const rows = new ConntrackRows(1);
        const said = decodeConntrackMessages(viewOf(bytes), 0, bytes.length, rows, 1, 1);
        expect(said.problems.length).toBeLessThanOrEqual(1);
        expect(rows.words.length).toBeGreaterThanOrEqual(rows.length * CONNTRACK_WORDS);
      }),
      { numRuns: 300 },
    );
  });
});

function padded(bytes: Uint8Array): Uint8Array {
  return join(bytes, new Uint8Array(-bytes.length & 3));
}

describe('a request', () => {
  test('asks for the dump of one family', () => {
    const view = new DataView(dumpRequest(10, 0xfffffffe).buffer);
    expect(view.byteLength).toBe(20);
    expect(view.getUint32(0, LITTLE)).toBe(20);
    expect(view.getUint16(4, LITTLE)).toBe(0x101);
    expect(view.getUint16(6, LITTLE)).toBe(0x301);
    expect(view.getUint32(8, LITTLE)).toBe(0xfffffffe);
    expect(view.getUint32(12, LITTLE)).toBe(0);
    expect(view.getUint8(16)).toBe(10);
    expect(view.getUint8(17)).toBe(0);
  });
});
