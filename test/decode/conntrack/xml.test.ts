import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ConntrackXmlReader } from '../../../src/decode/conntrack/xml.js';
import { EVENT_DESTROY, EVENT_LISTED, EVENT_NEW } from '../../../src/model/conntrack.js';
import { seeded } from '../../support/seeded.js';
import { type Entry, entriesOf, mutate, recording, recordings } from './entries.js';
import { referenceRead } from './reference.js';

const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const textOf = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

function read(input: string | Uint8Array, chunks: readonly number[] = [], zoneOffsetSeconds = 0) {
  const bytes = typeof input === 'string' ? bytesOf(input) : input;
  const reader = new ConntrackXmlReader({ offsetAt: () => zoneOffsetSeconds });
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

const codes = (result: { problems: readonly { code: string }[] }): string[] =>
  result.problems.map((p) => p.code);

const PROLOG = '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n';
const CLOSE = '</conntrack>\n';
const direction = (name: string, src: string, dst: string, sport: number, dport: number): string =>
  `<meta direction="${name}"><layer3 protonum="2" protoname="ipv4"><src>${src}</src><dst>${dst}</dst></layer3>` +
  `<layer4 protonum="6" protoname="tcp"><sport>${sport}</sport><dport>${dport}</dport></layer4></meta>`;
const ORIGINAL = direction('original', '10.244.1.2', '10.96.0.10', 40000, 80);
const REPLY = direction('reply', '10.244.1.5', '10.244.1.2', 8080, 40000);
const REST =
  '<meta direction="independent"><state>SYN_SENT</state><timeout>120</timeout><id>7</id><unreplied/></meta>';
const WHEN =
  '<when><hour>19</hour><min>05</min><sec>02</sec><wday>1</wday><day>22</day><month>11</month><year>2026</year></when>';
const FLOW = `<flow type="new">${ORIGINAL}${REPLY}${REST}${WHEN}</flow>`;
const GOOD: Entry = {
  event: EVENT_NEW,
  protocol: 6,
  original: '10.244.1.2:40000 > 10.96.0.10:80',
  reply: '10.244.1.5:8080 > 10.244.1.2:40000',
  time: '2026-11-22T19:05:02.000000000Z',
  resolution: 1_010_000_000,
  lateness: 1_000_000_000,
  status: ' unreplied',
  state: 'SYN_SENT',
  timeout: 120,
  id: 7,
  zones: '0 0 0',
};

describe('recorded documents', () => {
  // list-dying holds only what the program said on standard error: no XML at all.
  const files = recordings(/\.xml$/).filter((file) => !file.includes('dying'));

  test.each(files)('%s gives what a plain XML reader finds', (file) => {
    const bytes = recording(file);
    const expected = referenceRead(textOf(bytes));
    const found = read(bytes);
    expect(found.entries).toEqual(expected?.entries);
    expect(found.counts).toEqual({
      entries: expected?.entries.length,
      otherProtocols: expected?.others,
      damaged: 0,
    });
    const open = file.includes('SIGKILL') ? ['xml-open-document'] : [];
    expect(codes(found)).toEqual(open);
  });

  test('hold entries of every kind', () => {
    const all = files.flatMap((file) => read(recording(file)).entries);
    expect(all.length).toBeGreaterThan(3_000);
    expect(all.some((e) => e.userspace)).toBe(true);
    expect(all.some((e) => e.start && e.stop && e.counters)).toBe(true);
    expect(all.some((e) => e.zones === '7 0 0')).toBe(true);
    expect(all.some((e) => e.zones === '0 3 0')).toBe(true);
    expect(all.some((e) => e.zones === '0 0 4')).toBe(true);
    expect(all.some((e) => e.mark === 0xffffffff)).toBe(true);
    expect(all.some((e) => e.original.startsWith('['))).toBe(true);
    expect(all.some((e) => e.event === EVENT_DESTROY && e.timeout === undefined)).toBe(true);
    expect(all.filter((e) => e.protocol === 132).length).toBeGreaterThan(0);
    expect(all.filter((e) => e.protocol === 132 && e.state !== undefined)).toEqual([]);
  });
});

describe('forms that other versions or circumstances print', () => {
  const other: Entry = { ...GOOD, id: 8 };
  const second = FLOW.replace('<id>7', '<id>8');
  test.each<[string, string, Entry[], string[]]>([
    ['nothing at all', '', [], []],
    ['no flow', `${PROLOG}${CLOSE}`, [], []],
    ['one flow', `${PROLOG}${FLOW}\n${CLOSE}`, [GOOD], []],
    ['no line feeds', `${PROLOG}${FLOW}${second}${CLOSE}`.replaceAll('\n', ''), [GOOD, other], []],
    ['CRLF', `${PROLOG}${FLOW}\n${second}\n${CLOSE}`.replaceAll('\n', '\r\n'), [GOOD, other], []],
    [
      'an element a line',
      `${PROLOG}${FLOW}\n${CLOSE}`.replaceAll('><', '>\n  <').replace('>80<', '>\n 80 \n<'),
      [GOOD],
      [],
    ],
    ['a document left open', `${PROLOG}${FLOW}\n`, [GOOD], ['xml-open-document']],
    ['no root at all', `${FLOW}\n${second}\n`, [GOOD, other], []],
    [
      'several documents, the first left open',
      `${PROLOG}${FLOW}\n${PROLOG}${second}\n${CLOSE}`,
      [GOOD, other],
      [],
    ],
    [
      'an event caused by a program',
      `${PROLOG}${FLOW} [USERSPACE] portid=123 progname=conntrack\n${second}\n${CLOSE}`,
      [{ ...GOOD, userspace: true }, other],
      [],
    ],
    [
      'a program that has gone',
      `${PROLOG}${FLOW} [USERSPACE] portid=123\n${second}\n${CLOSE}`,
      [{ ...GOOD, userspace: true }, other],
      [],
    ],
    [
      'a program with a name of angle brackets',
      `${PROLOG}${FLOW} [USERSPACE] portid=4294967295 progname=<flow></flow> <\n${second}\n${CLOSE}`,
      [{ ...GOOD, userspace: true }, other],
      [],
    ],
    [
      'a line feed missing after the program',
      `${PROLOG}${FLOW} [USERSPACE] portid=1 progname=x${second}\n${CLOSE}`,
      [{ ...GOOD, userspace: true }, other],
      [],
    ],
    ['another suffix', `${PROLOG}${FLOW} [OTHER]\n${second}\n${CLOSE}`, [GOOD, other], []],
    [
      'single quotes, blanks and attributes in another order',
      `${PROLOG}${FLOW}\n${CLOSE}`
        .replaceAll('"', "'")
        .replaceAll(/protonum='(\d)' protoname='(\w+)'/g, " protoname = '$2'\n protonum= '$1' ")
        .replaceAll('</src>', '</src >'),
      [GOOD],
      [],
    ],
    [
      'elements in another order',
      `<flow type="new">${WHEN}${REST}${REPLY}${ORIGINAL}</flow>\n`,
      [GOOD],
      [],
    ],
    [
      'unknown elements, labels, a helper, a comment, an instruction',
      FLOW.replace(
        '<id>',
        '<labels><label>a</label><label/></labels><secctx>u:r:t:s0-s0:c0.c1</secctx><?x y?><id>',
      )
        .replace(WHEN, `<!-- <flow> -->${WHEN}<helper>ftp</helper>`)
        .replace('<src>', '<new a="x>"><src>1.2.3.4</src></new><src>'),
      [GOOD],
      [],
    ],
    [
      'a state that no kernel had yet',
      FLOW.replace('SYN_SENT', 'SYN_SENT3'),
      [{ ...GOOD, state: undefined } as unknown as Entry],
      [],
    ],
    [
      'a listing without status, in a zone',
      FLOW.replace(' type="new"', '')
        .replace(WHEN, '')
        .replace('<unreplied/>', '<zone>65535</zone>'),
      [
        {
          event: EVENT_LISTED,
          protocol: 6,
          original: GOOD.original,
          reply: GOOD.reply ?? '',
          status: ' ',
          state: 'SYN_SENT',
          timeout: 120,
          id: 7,
          zones: '65535 0 0',
        },
      ],
      [],
    ],
    [
      'no reply, no rest',
      `<flow type="new">${ORIGINAL}${WHEN}</flow>`,
      [
        {
          event: EVENT_NEW,
          protocol: 6,
          original: GOOD.original,
          time: GOOD.time ?? '',
          resolution: 1.01e9,
          lateness: 1e9,
          status: ' ',
          zones: '0 0 0',
        },
      ],
      [],
    ],
    [
      'a closing tag for a flag',
      FLOW.replace('<unreplied/>', '<unreplied></unreplied>'),
      [GOOD],
      [],
    ],
    [
      'counters of 64 bits',
      FLOW.replaceAll(
        '</layer4>',
        '</layer4><counters><packets>18446744073709551615</packets><bytes>4294967296</bytes></counters>',
      ),
      [
        {
          ...GOOD,
          counters: '18446744073709551615 4294967296 18446744073709551615 4294967296',
        },
      ],
      [],
    ],
    ['text around the document', `warning: x\n${PROLOG}${FLOW}\n${CLOSE}bye < now`, [GOOD], []],
  ])('%s', (_name, input, entries, problems) => {
    const found = read(input);
    expect(codes(found)).toEqual(problems);
    expect(found.entries).toEqual(entries);
  });

  test('a local time is put right by the zone of its machine', () => {
    const hour = 3_600;
    const found = read(FLOW.repeat(2), [], 2 * hour);
    expect(found.entries.map((e) => e.time)).toEqual(
      Array(2).fill('2026-11-22T17:05:02.000000000Z'),
    );
  });
});

describe('damage', () => {
  const second = FLOW.replace('<id>7', '<id>8');
  const other: Entry = { ...GOOD, id: 8 };
  test.each<[string, string]>([
    ['a port above 65535', FLOW.replace('>80<', '>65536<')],
    ['a port that is no number', FLOW.replace('>80<', '>8o<')],
    ['an empty port', FLOW.replace('>80<', '><')],
    ['a negative timeout', FLOW.replace('>120<', '>-1<')],
    ['an id beyond 32 bits', FLOW.replace('>7<', '>4294967296<')],
    ['an address that is none', FLOW.replace('10.96.0.10', '10.96.0.256')],
    ['an address with leading zeros', FLOW.replace('10.96.0.10', '10.96.00.10')],
    ['an address cut short', FLOW.replace('10.96.0.10', '10.96.0')],
    ['addresses of two families', FLOW.replace('10.96.0.10', 'fd00::1')],
    [
      'a counter beyond 64 bits',
      FLOW.replace(
        '</layer4>',
        '</layer4><counters><bytes>18446744073709551616</bytes></counters>',
      ),
    ],
    [
      'a start that is no time',
      FLOW.replace('<id>', '<timestamp><start>x</start></timestamp><id>'),
    ],
    ['an hour of 24', FLOW.replace('>19<', '>24<')],
    ['a time without its day', FLOW.replace('<day>22</day>', '')],
    ['a month 0', FLOW.replace('<month>11', '<month>0')],
    ['a year before 1970', FLOW.replace('2026', '1926')],
    ['a protocol that is no number', FLOW.replace('protonum="6"', 'protonum="tcp"')],
    ['no protocol', FLOW.replace('protonum="6" ', '')],
    ['no original tuple', FLOW.replace(ORIGINAL, '')],
    ['no source', FLOW.replace('<src>10.244.1.2</src>', '')],
    ['no destination port in the reply', FLOW.replace('<dport>40000</dport>', '')],
    ['an unknown type', FLOW.replace('"new"', '"renew"')],
    ['an empty flow element', '<flow type="new"/>'],
    ['a tag that closes another', FLOW.replace('</sport>', '</dport>')],
    ['a tag that is not closed', FLOW.replace('</layer3>', '')],
    ['an element inside a number', FLOW.replace('>80<', '>8<b>1</b>0<')],
    ['an attribute without quotes', FLOW.replace('"new"', 'new')],
    ['an attribute without a value', FLOW.replace('="new"', '')],
    ['an attribute not ended', FLOW.replace('type="new"', 'type="new')],
    ['a tag without a name', FLOW.replace('<state>', '<>')],
    ['a declaration inside', FLOW.replace('<state>', '<!DOCTYPE x><state>')],
    ['elements nested without end', FLOW.replace('<state>', '<x>'.repeat(40))],
    ['a beginning that is missing', FLOW.slice(40)],
    ['a flow cut by the next', FLOW.slice(0, 300)],
    ['a flow cut within a tag by the next', FLOW.slice(0, FLOW.indexOf('yer3'))],
    ['a flow cut within an attribute by the next', FLOW.slice(0, FLOW.indexOf('inal'))],
    ['a flow cut before its end by the next', FLOW.slice(0, -7)],
    ['a flow cut by a new document', `${FLOW.slice(0, 500)}\n${PROLOG}`],
    [
      'a flow longer than any',
      FLOW.replace('<state>', `<secctx>${'x'.repeat(66_000)}</secctx><state>`),
    ],
    [
      'a flow very much longer',
      FLOW.replace('<state>', `<secctx>${'x'.repeat(300_000)}</secctx><state>`),
    ],
  ])('%s costs one entry and is told with its place', (_name, bad) => {
    const before = `${PROLOG}${FLOW}\n`;
    const found = read(`${before}${bad}\n${second}\n${CLOSE}`);
    expect(found.entries).toEqual([GOOD, other]);
    expect(found.counts.damaged).toBe(1);
    expect(found.problems).toHaveLength(1);
    const [problem] = found.problems;
    expect(problem).toMatchObject({ code: 'xml-bad-flow', fatal: false, lost: 1 });
    expect(problem?.where.line).toBe(4);
    expect(problem?.where.offset).toBeGreaterThanOrEqual(before.length);
    expect(problem?.where.offset).toBeLessThanOrEqual(before.length + bad.length);
    expect(problem?.advice).not.toBe('');
  });

  test('a document cut at each length gives its whole flows and says what is missing', () => {
    const whole = `${PROLOG}${FLOW}\n${second} [USERSPACE] portid=9 progname=x\n${CLOSE}`;
    const firstEnd = PROLOG.length + FLOW.length;
    const secondStart = firstEnd + 1;
    const secondEnd = secondStart + second.length;
    for (let length = 0; length < whole.length; length++) {
      const found = read(whole.slice(0, length));
      const entries = (length >= firstEnd ? 1 : 0) + (length >= secondEnd ? 1 : 0);
      expect(found.entries.map((e) => e.id)).toEqual([7, 8].slice(0, entries));
      const inside =
        (length >= PROLOG.length + 5 && length < firstEnd) ||
        (length >= secondStart + 5 && length < secondEnd);
      const open = length > PROLOG.length - 2 && length < whole.length - 2;
      const expected = inside ? ['xml-cut-flow'] : open ? ['xml-open-document'] : [];
      // Right behind the names the tags are not told apart yet.
      if (length < PROLOG.length - 1 || length > whole.length - 3) continue;
      expect(codes(found), `cut at ${length}`).toEqual(expected);
    }
  });

  test('of very many problems some are kept and the rest counted', () => {
    const bad = FLOW.replace('>80<', '>x<');
    const found = read(`${PROLOG}${`${bad}\n`.repeat(5_000)}${FLOW}\n${CLOSE}`);
    expect(found.entries).toEqual([GOOD]);
    expect(found.problems.length).toBeLessThanOrEqual(101);
    expect(found.problems.reduce((sum, p) => sum + (p.lost ?? 0), 0)).toBe(5_000);
    expect(found.counts.damaged).toBe(5_000);
  });

  test('problems tell the line also far into an input', () => {
    const bad = FLOW.replace('>80<', '>x<');
    const found = read(`${PROLOG}${`${FLOW}\n`.repeat(1_000)}${bad}\n${FLOW}\n${CLOSE}`);
    expect(found.problems[0]?.where.line).toBe(1_003);
    expect(found.problems[0]?.where.offset).toBe(PROLOG.length + 1_000 * (FLOW.length + 1));
  });
});

describe('chunks', () => {
  const documents = [
    ...recordings(/^misc.*\.xml$/).map(recording),
    bytesOf(
      `${PROLOG}${FLOW} [USERSPACE] portid=1 progname=<\n${FLOW.replace('>80<', '>x<')}\n${FLOW.slice(0, 90)}`,
    ),
  ];

  test('of one byte give the same as the whole', () => {
    for (const bytes of documents) {
      expect(read(bytes, Array(bytes.length).fill(1))).toEqual(read(bytes));
    }
  });

  test('of any sizes give the same as the whole', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...documents),
        fc.array(fc.integer({ min: 0, max: 900 }), { maxLength: 30 }),
        (bytes, chunks) => {
          expect(read(bytes, chunks)).toEqual(read(bytes));
        },
      ),
      { numRuns: 150 },
    );
  });

  test('are not waited for: a flow is there when its line has ended', () => {
    const reader = new ConntrackXmlReader();
    reader.feed(bytesOf(`${PROLOG}${FLOW}`));
    reader.feed(bytesOf('\n'));
    expect(reader.rows.length).toBe(1);
    reader.rows.clear();
    reader.feed(bytesOf(`${FLOW}\n${FLOW}\n`));
    expect(reader.rows.length).toBe(2);
  });

  test('without end do not fill the memory', () => {
    const reader = new ConntrackXmlReader();
    reader.feed(bytesOf('<flow type="new"><meta direction="'));
    const more = new Uint8Array(100_000).fill(0x61);
    for (let i = 0; i < 200; i++) reader.feed(more);
    reader.end();
    expect(reader.counts).toEqual({ entries: 0, otherProtocols: 0, damaged: 1 });
    expect(reader.problems).toHaveLength(1);
  });
});

/** A copy with one letter or digit in the place of another, which is mostly still XML. */
function retype(bytes: Uint8Array, random: () => number): Uint8Array {
  const out = bytes.slice();
  const places = [...textOf(bytes).matchAll(/(?<=[>"][^<>"]*)[\w.:](?=[^<>"]*[<"])/g)];
  const pick = (): number => places[Math.floor(random() * places.length)]?.index ?? 0;
  out[pick()] = bytes[pick()] ?? 0;
  return out;
}

describe('mutated documents', () => {
  test('give what a plain XML reader finds wherever that accepts them, and never fail', () => {
    const random = seeded(20_261_122);
    const sources = recordings(/^(misc|kernel).*\.xml$/)
      .map((file) => textOf(recording(file)).split('\n'))
      .filter((lines) => lines.length > 3);
    let compared = 0;
    for (let i = 0; i < 4_000; i++) {
      const lines = sources[i % sources.length] ?? [];
      const at = 2 + Math.floor(random() * (lines.length - 3));
      const text = [...lines.slice(0, 2), ...lines.slice(at, at + 2), '</conntrack>', ''].join(
        '\n',
      );
      const bytes = i % 2 === 0 ? mutate(bytesOf(text), random) : retype(bytesOf(text), random);
      const chunk = 1 + Math.floor(random() * 1_000);
      const found = read(bytes, [chunk, chunk]);
      expect(found.problems.every((p) => !p.fatal && p.message !== '')).toBe(true);
      const mutated = textOf(bytes);
      // What a general parser resolves and conntrack never prints: entities, declarations, lone CRs.
      if (/[&\r]|<!/.test(mutated)) continue;
      const expected = referenceRead(mutated);
      if (!expected) continue;
      compared++;
      expect(found.entries, mutated).toEqual(expected.entries);
    }
    expect(compared).toBeGreaterThan(800);
  });

  test('of random bytes give nothing but problems', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom(
            '<flow',
            '</flow>',
            '<',
            '>',
            '/',
            '"',
            "='",
            'x',
            ' [USERSPACE]',
            '\n',
            '<!--',
            '-->',
            '<?',
            '?>',
            '<meta direction="original">',
            '</meta>',
          ),
          { maxLength: 60 },
        ),
        (parts) => {
          const found = read(parts.join(''));
          expect(found.entries).toEqual([]);
          const lost = found.problems.reduce((sum, p) => sum + (p.lost ?? 0), 0);
          expect(lost).toBe(found.counts.damaged);
        },
      ),
      { numRuns: 300 },
    );
  });
});
