import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConntrackTextReader } from '../../../src/decode/conntrack/text.js';
import { ConntrackXmlReader } from '../../../src/decode/conntrack/xml.js';
import { EVENT_DESTROY, EVENT_LISTED, EVENT_NEW } from '../../../src/model/conntrack.js';
import { seeded } from '../../support/seeded.js';
import { type Entry, entriesOf, mutate, recording, recordings } from './entries.js';

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function read(input: string | Uint8Array, chunks: readonly number[] = []) {
  const bytes = typeof input === 'string' ? bytesOf(input) : input;
  const reader = new ConntrackTextReader();
  let from = 0;
  for (const length of chunks) {
    reader.feed(bytes.slice(from, from + length));
    from += length;
  }
  reader.feed(bytes.slice(from));
  reader.end();
  const { problems, counts } = reader;
  return { entries: entriesOf(reader.rows), problems, counts };
}

function readXml(bytes: Uint8Array): Entry[] {
  const reader = new ConntrackXmlReader();
  reader.feed(bytes);
  reader.end();
  return entriesOf(reader.rows);
}

/** Without what only one of the forms tells, or tells otherwise. */
function common(entry: Entry): Omit<Entry, 'time' | 'resolution' | 'lateness' | 'start' | 'stop'> {
  const { time, resolution, lateness, start, stop, ...rest } = entry;
  return rest;
}

const codes = (result: { problems: readonly { code: string }[] }): string[] =>
  result.problems.map((p) => p.code);

const TUPLES =
  'src=10.244.1.2 dst=10.96.0.10 sport=40000 dport=80 [UNREPLIED] src=10.244.1.5 dst=10.244.1.2 sport=8080 dport=40000';
const LINE = `[1795377319.548954]\t    [NEW] ipv4     2 tcp      6 120 SYN_SENT ${TUPLES} id=7`;
const GOOD: Entry = {
  event: EVENT_NEW,
  protocol: 6,
  original: '10.244.1.2:40000 > 10.96.0.10:80',
  reply: '10.244.1.5:8080 > 10.244.1.2:40000',
  time: '2026-11-22T19:55:19.548954000Z',
  resolution: 1_000,
  lateness: 1_000_000_000,
  status: ' unreplied',
  state: 'SYN_SENT',
  timeout: 120,
  id: 7,
  zones: '0 0 0',
};
const { time, resolution, lateness, ...TIMELESS } = GOOD;

describe('recorded events', () => {
  const pairs = recordings(/events\.txt$/).map((file) => [file, file.replace('txt', 'xml')]);

  test.each(pairs)('%s says the same as %s, in the same order', (text, xml) => {
    const found = read(recording(text ?? ''));
    const expected = readXml(recording(xml ?? ''));
    expect(found.problems).toEqual([]);
    expect(found.entries.map(common)).toEqual(expected.map(common));
    for (let i = 0; i < expected.length; i++) {
      // Two programs wrote them: each with its own clock reading, a few ms apart.
      const apart = seconds(found.entries[i]?.time) - seconds(expected[i]?.time);
      expect(apart).toBeGreaterThan(-1);
      expect(apart).toBeLessThan(2);
    }
  });

  test('without addresses families, times or ids name the same connections', () => {
    const plain = read(recording('kernel-6.18-events-plain.txt'));
    const full = read(recording('kernel-6.18-events.txt'));
    expect(plain.entries).toEqual(full.entries.map(common));
    expect(plain.counts).toEqual(full.counts);
  });
});

function seconds(time: string | undefined): number {
  return Date.parse(time ?? '') / 1_000;
}

describe('recorded listings', () => {
  const names = ['misc-list-mixed-ipv4', 'misc-list-mixed-ipv6', 'misc-list-zones-directional'];
  test.each(names)('%s says the same in both forms', (name) => {
    const found = read(recording(`${name}.txt`));
    expect(found.entries).toEqual(readXml(recording(`${name}.xml`)));
    expect(found.problems).toEqual([]);
  });

  test('of one moment agree in every form, /proc/net/nf_conntrack too', () => {
    const sorted = (entries: Entry[]): ReturnType<typeof common>[] =>
      entries
        .map((entry) => ({ ...common(entry), timeout: 0 }))
        .sort((a, b) => (a.original < b.original ? -1 : 1));
    const xml = sorted(readXml(recording('kernel-6.18-list.xml')));
    expect(xml.length).toBeGreaterThan(10);
    expect(sorted(read(recording('kernel-6.18-list.txt')).entries)).toEqual(xml);
    expect(sorted(read(recording('kernel-6.18-list-plain.txt')).entries)).toEqual(xml);
    const proc = sorted(read(recording('kernel-6.18-proc.txt')).entries);
    expect(proc).toEqual(xml.map(({ id, ...rest }) => rest));
  });

  const extended = recordings(/conntrack6?-ext\.txt$/);
  test.each(extended)('%s is read without a rest', (file) => {
    const lines = textOf(recording(file)).split('\n').length - 1;
    const { entries, problems, counts } = read(recording(file));
    expect(problems).toEqual([]);
    expect(counts.entries + counts.otherProtocols).toBe(lines);
    expect(entries.every((e) => e.event === EVENT_LISTED && e.time === undefined)).toBe(true);
  });
});

describe('forms of a line', () => {
  test.each<[string, string, Entry[]]>([
    ['nothing', '', []],
    ['empty lines', '\n  \n\r\n', []],
    ['everything', LINE, [GOOD]],
    ['CRLF', `${LINE}\r`, [GOOD]],
    ['blanks in the time', LINE.replace('548954]\t', '548954 ] '), [GOOD]],
    ['no time', LINE.slice(LINE.indexOf('\t')), [TIMELESS]],
    ['no family', LINE.replace('ipv4     2 ', ''), [GOOD]],
    ['a listing', LINE.slice(LINE.indexOf('ipv4')), [{ ...TIMELESS, event: EVENT_LISTED }]],
    [
      'a destroy that has neither timeout nor state',
      LINE.replace('[NEW]', '[DESTROY]').replace('120 SYN_SENT ', ''),
      [without({ ...GOOD, event: EVENT_DESTROY }, 'timeout', 'state')],
    ],
    [
      'a state without timeout',
      LINE.replace('120 SYN_SENT', 'CLOSE'),
      [without({ ...GOOD, state: 'CLOSE' }, 'timeout')],
    ],
    [
      'a state that no kernel had yet',
      LINE.replace('SYN_SENT', 'SYN_SENT9'),
      [without(GOOD, 'state')],
    ],
    ['no answer told', LINE.replace(' [UNREPLIED]', ''), [{ ...GOOD, status: ' ' }]],
    [
      'assured',
      LINE.replace('[UNREPLIED] ', '').concat(' [ASSURED]'),
      [{ ...GOOD, status: 'assured ' }],
    ],
    [
      'offloaded',
      LINE.replace('[UNREPLIED] ', '').concat(' [OFFLOAD]'),
      [{ ...GOOD, status: 'assured ' }],
    ],
    [
      'offloaded to hardware',
      LINE.replace('[UNREPLIED] ', '').concat(' [HW_OFFLOAD]'),
      [{ ...GOOD, status: 'assured ' }],
    ],
    [
      'times of creation and end, which are local and say no zone',
      `${LINE} [start=Sun Nov 22 22:44:48 2026] [stop=Sun Nov 22 22:44:52 2026] delta-time=4 mark=3`,
      [{ ...GOOD, mark: 3 }],
    ],
    [
      'a program that caused it, with an odd name',
      `${LINE} mark=3 [USERSPACE] portid=123 progname=id=9 src=x mark=4`,
      [{ ...GOOD, mark: 3, userspace: true }],
    ],
    ['a program that has gone', `${LINE} [USERSPACE] portid=123`, [{ ...GOOD, userspace: true }]],
    [
      'unknown words, labels, a security context',
      `${LINE} secctx=u:r:t:s0-s0:c0.c1 labels=a,b use=2 [NEWFLAG] synproxy`,
      [GOOD],
    ],
    [
      'counters beyond 32 bits',
      LINE.replace('dport=80', 'dport=80 packets=18446744073709551615 bytes=4294967296'),
      [{ ...GOOD, counters: '18446744073709551615 4294967296 0 0' }],
    ],
    ['a zone', `${LINE} zone=65535`, [{ ...GOOD, zones: '65535 0 0' }]],
    [
      'no reply',
      LINE.replace(/ \[UNREPLIED\].*/, ''),
      [without({ ...GOOD, status: ' ' }, 'reply', 'id')],
    ],
    [
      'IPv6 without its family',
      LINE.replace('ipv4     2 ', '').replace(/10\.(\d+)\.(\d+)\.(\d+)/g, 'fd00::$1:$2:$3'),
      [
        {
          ...GOOD,
          original: '[fd00::244:1:2]:40000 > [fd00::96:0:10]:80',
          reply: '[fd00::244:1:5]:8080 > [fd00::244:1:2]:40000',
        },
      ],
    ],
    [
      'SCTP, whose states are not TCP’s',
      LINE.replace('tcp      6', 'sctp     132').replace('SYN_SENT', 'ESTABLISHED'),
      [without({ ...GOOD, protocol: 132 }, 'state')],
    ],
    [
      'ICMP, which nobody follows',
      'icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=4660 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=4660 mark=0 use=1 id=1',
      [],
    ],
    [
      'GRE',
      'gre      47 29 src=10.0.0.1 dst=10.0.0.2 srckey=0x0 dstkey=0x4d [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 srckey=0x4d dstkey=0x0 mark=0',
      [],
    ],
    [
      'what the program says at its end',
      'conntrack v1.4.7 (conntrack-tools): 25 flow events have been shown.',
      [],
    ],
  ])('%s', (_name, line, entries) => {
    const found = read(line === '' ? '' : `${line}\n`);
    expect(found.problems).toEqual([]);
    expect(found.entries).toEqual(entries);
  });

  test('an overrun among the events is a loss', () => {
    const warning =
      'WARNING: We have hit ENOBUFS! We are losing events.\nThis message means that the current netlink socket buffer size is too small.\nPlease, check --buffer-size in conntrack(8) manpage.\n';
    const found = read(`${LINE}\n${warning}${LINE}\n`);
    expect(found.entries).toEqual([GOOD, GOOD]);
    expect(found.problems).toMatchObject([
      { code: 'conntrack-overrun', lost: 1, where: { line: 2, offset: LINE.length + 1 } },
    ]);
    expect(found.counts.damaged).toBe(0);
  });
});

function without<K extends keyof Entry>(entry: Entry, ...keys: K[]): Entry {
  return Object.fromEntries(
    Object.entries(entry).filter(([key]) => !(keys as string[]).includes(key)),
  ) as unknown as Entry;
}

describe('damage', () => {
  test.each<[string, string]>([
    ['words of something else', 'hello world'],
    ['a family alone', 'ipv4 2'],
    ['no protocol number', LINE.replace(' 6 120', '')],
    ['a protocol number above 255', LINE.replace(' 6 120', ' 256 120')],
    ['an unknown event', LINE.replace('[NEW]', '[RENEW]')],
    ['a time without microseconds', LINE.replace('.548954', '')],
    ['a time with too few digits', LINE.replace('.548954', '.548')],
    ['no tuple', LINE.slice(0, LINE.indexOf('src='))],
    ['no tuple of another protocol', 'icmp     1 29'],
    ['half a tuple', LINE.replace('dport=80 ', '')],
    ['half a reply', LINE.replace('dport=40000', '')],
    ['a third tuple', `${LINE} src=10.0.0.1`],
    ['an address that is none', LINE.replace('10.96.0.10', '10.96.0.256')],
    ['addresses of two families', LINE.replace('10.96.0.10', 'fd00::1')],
    ['a port above 65535', LINE.replace('dport=80', 'dport=65536')],
    ['an empty port', LINE.replace('dport=80', 'dport=')],
    ['an id beyond 32 bits', LINE.replace('id=7', 'id=4294967296')],
    ['a counter that is none', `${LINE} packets=x`],
    ['a line longer than any', `${LINE} labels=${'x'.repeat(20_000)}`],
    ['a line very much longer', `${LINE} labels=${'x'.repeat(300_000)}`],
  ])('%s costs its line and is told with its place', (_name, bad) => {
    const found = read(`${LINE}\n${bad}\n${LINE}\n`);
    expect(found.entries).toEqual([GOOD, GOOD]);
    expect(found.counts).toEqual({ entries: 2, otherProtocols: 0, damaged: 1 });
    expect(found.problems).toHaveLength(1);
    expect(found.problems[0]).toMatchObject({
      code: 'conntrack-bad-line',
      fatal: false,
      lost: 1,
      where: { line: 2, offset: LINE.length + 1 },
    });
  });

  test('an input cut at each length gives its whole lines and says that one was cut', () => {
    const whole = `${LINE}\n${LINE}\n`;
    for (let length = 0; length <= whole.length; length++) {
      const found = read(whole.slice(0, length));
      const lines = Math.floor(length / (LINE.length + 1));
      expect(found.entries).toHaveLength(lines);
      expect(codes(found)).toEqual(length % (LINE.length + 1) === 0 ? [] : ['conntrack-cut-line']);
    }
  });

  test('of very many problems some are kept and the rest counted', () => {
    const found = read(`${'what\n'.repeat(5_000)}${LINE}\n`);
    expect(found.entries).toEqual([GOOD]);
    expect(found.problems.length).toBeLessThanOrEqual(101);
    expect(found.problems.reduce((sum, p) => sum + (p.lost ?? 0), 0)).toBe(5_000);
  });
});

describe('chunks', () => {
  const bytes = bytesOf(`${textOf(recording('kernel-6.18-events.txt'))}what\n\n${LINE}`);

  test('of one byte give the same as the whole', () => {
    expect(read(bytes, Array(bytes.length).fill(1))).toEqual(read(bytes));
  });

  test('of any sizes give the same as the whole', () => {
    const whole = read(bytes);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 30 }), (chunks) => {
        expect(read(bytes, chunks)).toEqual(whole);
      }),
      { numRuns: 100 },
    );
  });

  test('without end do not fill the memory', () => {
    const reader = new ConntrackTextReader();
    const more = new Uint8Array(100_000).fill(0x61);
    for (let i = 0; i < 200; i++) reader.feed(more);
    reader.feed(bytesOf(`\n${LINE}\n`));
    reader.end();
    expect(reader.counts).toEqual({ entries: 1, otherProtocols: 0, damaged: 1 });
    expect(reader.problems).toHaveLength(1);
  });
});

describe('mutated lines', () => {
  test('never fail, and what is lost is counted', () => {
    const random = seeded(20_261_123);
    const lines = recordings(/^(kernel|misc).*\.txt$/).flatMap((file) =>
      textOf(recording(file))
        .split('\n')
        .filter((line) => line !== ''),
    );
    let taken = 0;
    for (let i = 0; i < 2_500; i++) {
      const line = lines[Math.floor(random() * lines.length)] ?? '';
      const { entries, problems, counts } = read(mutate(bytesOf(`${line}\n${LINE}\n`), random));
      taken += entries.length;
      expect(entries).toHaveLength(counts.entries);
      expect(problems.reduce((sum, p) => sum + (p.lost ?? 0), 0)).toBe(counts.damaged);
      expect(problems.every((p) => !p.fatal)).toBe(true);
      for (const { original } of entries) expect(original).toMatch(/:\d{1,5} > .*:\d{1,5}$/);
    }
    expect(taken).toBeGreaterThan(1_000);
  });
});
