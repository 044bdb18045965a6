import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Interfaces } from '../../../src/model/interfaces.js';
import { UsageError } from '../../../src/model/problem.js';
import { formatNanos, UTC } from '../../../src/model/time.js';
import { openInputs } from '../../../src/sources/files/open.js';
import {
  concat,
  ethernet,
  PcapngBuilder,
  type PcapRecord,
  pcap,
} from '../../support/capture-builder.js';
import { seeded } from '../../support/seeded.js';
import {
  entry,
  ipAddr,
  pieces,
  RECORDING,
  recordedBytes,
  recordedText,
  replay,
  Scratch,
  syn,
  synAt,
} from './replayed.js';

let scratch: Scratch;
beforeEach(() => {
  scratch = new Scratch();
});
afterEach(() => scratch.remove());

const at = (name: string): string => join(RECORDING, name);
const count = (events: readonly string[], begin: string): number =>
  events.filter((event) => event.startsWith(begin)).length;

async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(UsageError);
  const text = String(error);
  expect(text).not.toContain('\n');
  return text;
}

describe('a recorded folder', () => {
  test('gives its rules, objects and addresses first, then its packets and conntrack in order', async () => {
    const { inputs, prelude, events } = await replay([RECORDING]);
    expect(prelude.map((text) => text.split(' ').slice(0, 4).join(' '))).toEqual([
      'rules  4 nft',
      'rules  6 nft',
      'cluster list node x2',
      'cluster list service x29',
      'cluster list endpointslice x30',
      'cluster list pod x26',
      expect.stringMatching(/^addresses {2}10\.244\.1\.1,127\.0\.0\.1,192\.168\.77\.11,.*fe80::/),
    ]);
    expect(inputs.hasEvidence).toBe(true);
    expect(inputs.firstTime && formatNanos(inputs.firstTime)).toBe(
      '2026-11-22T19:57:47.000000000Z',
    );
    expect(count(events, 'conntrack new')).toBeGreaterThan(20);
    expect(count(events, 'conntrack listed 1970')).toBe(16);
    expect(count(events, 'conntrack listed 2026-11-22T19:57:49.195')).toBe(5);
    expect(count(events, 'packet ')).toBeGreaterThan(500);
    expect(inputs.counts.packets).toBeGreaterThan(count(events, 'packet '));
    // Entries of a listing without a time hold from the beginning.
    expect(events.slice(0, 16).every((event) => event.startsWith('conntrack listed'))).toBe(true);
    const times = events.flatMap((event) => /^packet (\S+)/.exec(event)?.[1] ?? []);
    expect(times).toEqual([...times].sort());
    expect(count(events, 'loss')).toBe(0);
  });

  test('does not look into other folders, and names what it cannot use', async () => {
    const { inputs } = await replay([RECORDING]);
    expect(
      inputs.skipped.map(({ file, kind, named }) => [
        file.slice(RECORDING.length + 1),
        kind,
        named,
      ]),
    ).toEqual([
      ['meta.json', 'unknown', false],
      ['truth.jsonl', 'unknown', false],
      ['api/watch.jsonl', 'empty', false],
      ['snap/conntrack-1795377468.877.xml', 'empty', false],
    ]);
  });

  test('names the interfaces of a capture that has only their numbers', async () => {
    const { events } = await replay([RECORDING]);
    const named = events.flatMap((event) => /^packet \S+ \/(\S+)/.exec(event)?.[1] ?? []);
    expect(named).toContain('cni0');
    expect(named.filter((name) => /^if\d+$/.test(name))).toEqual([]);
    const alone = await replay([at('any.pcap')]);
    expect(alone.events[0]).toMatch(/^packet \S+ \/if\d+ /);
    const both = await replay([at('any.pcap'), at('net')]);
    expect(both.events[0]).toMatch(/^packet \S+ \/(veth|cni|eth)\w+ /);
    expect(both.prelude).toHaveLength(1);
  });

  test('carries the name of the node that was given', async () => {
    const { prelude, events } = await replay([{ node: 'node1', path: RECORDING }]);
    expect(prelude[0]).toMatch(/^rules node1 4 /);
    expect(prelude.at(-1)).toMatch(/^addresses node1 /);
    expect(events.some((event) => event.includes(' node1/cni0 '))).toBe(true);
  });

  test('tells its progress up to the end', async () => {
    let last: [number, number] = [0, 0];
    const { inputs } = await replay([RECORDING], {
      onProgress: (done, total) => {
        expect(done).toBeGreaterThan(last[0]);
        last = [done, total];
      },
    });
    expect(last).toEqual([inputs.totalBytes, inputs.totalBytes]);
  });
});

/** A mixture of what a recording has, small enough to be read many times. */
const MIXTURE = [
  'client.pcap',
  'eth0.pcap',
  'any.pcap',
  'conntrack-events.txt',
  'conntrack-events.xml',
  'conntrack.xml',
  'conntrack-ext.txt',
  'iptables-save.before.txt',
  'iptables-save.txt',
  'api',
  'net',
  'snap',
];

const said = ({ prelude, events }: Awaited<ReturnType<typeof replay>>): string[] => [
  ...prelude,
  ...events,
];

test('property: the order in which inputs are named does not matter', async () => {
  const expected = said(await replay(MIXTURE.map(at)));
  expect(expected.length).toBeGreaterThan(300);
  await fc.assert(
    fc.asyncProperty(fc.shuffledSubarray(MIXTURE, { minLength: MIXTURE.length }), async (order) => {
      expect(said(await replay(order.map(at)))).toEqual(expected);
    }),
    { numRuns: 12 },
  );
});

test('nothing depends on what the files are called', async () => {
  const files = [
    'client.pcap',
    'any.pcap',
    'conntrack-events.txt',
    'conntrack.xml',
    'iptables-save.txt',
  ];
  const renamed = files.map((file, i) => scratch.write(`f${9 - i}`, recordedBytes(file)));
  expect(said(await replay(renamed))).toEqual(said(await replay(files.map(at))));
});

test('a capture that is given twice gives each packet twice, and nothing else changes', async () => {
  const once = await replay([at('client.pcap'), at('conntrack-events.txt')]);
  for (const order of [
    ['client.pcap', 'client.pcap', 'conntrack-events.txt'],
    ['client.pcap', 'conntrack-events.txt', 'client.pcap'],
  ]) {
    const twice = await replay(order.map(at));
    const packets = once.events.filter((event) => event.startsWith('packet'));
    const doubled = [...once.events, ...packets].sort();
    expect([...twice.events].sort()).toEqual(doubled);
    expect(twice.inputs.counts.packets).toBe(2 * once.inputs.counts.packets);
  }
});

test.each([
  'client.pcap',
  'multi.pcapng',
  'conntrack-events.xml',
  'conntrack-ext.txt',
  'api/pods.json',
])('%s is the same from a file, compressed, and through standard input', async (name) => {
  const plain = recordedBytes(name);
  const expected = said(await replay([scratch.write('x', plain)]));
  expect(expected.length).toBeGreaterThan(0);
  expect(said(await replay([scratch.write('x', gzipSync(plain))]))).toEqual(expected);
  for (const bytes of [plain, gzipSync(plain)]) {
    expect(said(await replay(['-'], { stdin: pieces(bytes, 4_099) }))).toEqual(expected);
  }
});

describe('evidence', () => {
  test.each([
    ['a capture', ['client.pcap'], true],
    ['a listing', ['conntrack.xml'], true],
    ['events', ['conntrack-events.txt'], true],
    ['rules and objects', ['iptables-save.txt', 'api', 'net'], false],
    ['nothing that is known', ['meta.json', 'truth.jsonl'], false],
  ])('%s: %s', async (_name, files, expected) => {
    expect((await replay(files.map(at))).inputs.hasEvidence).toBe(expected);
  });

  test('an empty file that was named may be an empty listing', async () => {
    const path = scratch.write('conntrack.xml', '');
    const { inputs, events } = await replay([path]);
    expect(inputs.hasEvidence).toBe(true);
    expect(events).toEqual([]);
    expect(inputs.skipped).toMatchObject([{ file: path, kind: 'empty', named: true }]);
    expect((await replay([scratch.path])).inputs.hasEvidence).toBe(false);
    const packed = scratch.write('packed', gzipSync(Buffer.alloc(0)));
    expect((await replay([packed])).inputs.skipped).toMatchObject([{ kind: 'empty' }]);
  });

  test('a capture without packets is one', async () => {
    const { inputs, events } = await replay([scratch.write('a.pcap', pcap([]))]);
    expect(inputs.hasEvidence).toBe(true);
    expect(events).toEqual([]);
    expect(inputs.firstTime).toBeUndefined();
  });
});

test('a named file that nobody knows is told of, whatever was asked for', async () => {
  const path = scratch.write('rules', 'table ip kube-proxy {\n}\n');
  const skipped = async (input: string, named: boolean) => {
    const { skipped } = await openInputs([{ path: input }], {
      interfaces: new Interfaces(),
      offsetAt: UTC,
      onProblem: () => undefined,
      kinds: new Set(['iptables-save']),
    });
    expect(skipped.map((it) => [it.file, it.named])).toEqual(named ? [[path, true]] : []);
    return skipped[0]?.reason;
  };
  expect(await skipped(path, true)).toContain('take what nft -j list ruleset prints');
  await skipped(scratch.path, false);
});

test('an nft rule set is known and said to be of no use yet', async () => {
  const { inputs } = await replay([scratch.write('x', '{"nftables": []}')]);
  expect(inputs.skipped).toMatchObject([{ kind: 'unsupported' }]);
});

describe('damage', () => {
  const good = pcap([synAt(1, 0), synAt(2, 10), synAt(3, 20)]);
  const last = '2027-01-15T08:00:00.000010000Z';

  test('a cut capture gives its prefix, and a loss from the last packet on', async () => {
    const path = scratch.write('cut.pcap', good.subarray(0, good.length - 5));
    const { events, problems } = await replay([path]);
    expect(count(events, 'packet')).toBe(2);
    expect(events.at(-1)).toMatch(new RegExp(`^loss file 1 ${last}\\.\\.- ${path}: .*cut`));
    expect(problems.map(({ file }) => file)).toEqual([path]);
  });

  test('a compressed capture that is cut is one loss, not two', async () => {
    // Incompressible, so that cutting the file cuts the packets.
    const random = seeded(7);
    const noisy = (n: number): PcapRecord => ({
      ...synAt(n, n * 10),
      frame: concat(
        syn(n),
        Uint8Array.from({ length: 900 }, () => random() * 256),
      ),
    });
    const packed = gzipSync(pcap(Array.from({ length: 200 }, (_, n) => noisy(n))));
    const path = scratch.write('cut.pcap.gz', packed.subarray(0, packed.length >> 1));
    const { events } = await replay([path]);
    expect(count(events, 'packet')).toBeGreaterThan(50);
    expect(count(events, 'packet')).toBeLessThan(150);
    expect(count(events, 'loss')).toBeGreaterThan(0);
    expect(count(events, 'loss')).toBeLessThan(3);
  });

  test('packets that a capture could not decode are a loss over its whole span', async () => {
    const path = scratch.write(
      'x.pcapng',
      new PcapngBuilder()
        .section()
        .interface()
        .enhanced(syn(1), { time: 1_800_000_000_000_000n })
        .enhanced(syn(2), { time: 1_800_000_000_000_010n, interface: 9 })
        .enhanced(syn(3), { time: 1_800_000_000_000_020n })
        .bytes(),
    );
    const { events } = await replay([path]);
    expect(count(events, 'packet')).toBe(2);
    expect(events.at(-1)).toMatch(
      /^loss file 1 2027-01-15T08:00:00.000000000Z\.\.2027-01-15T08:00:00.000020000Z /,
    );
  });

  test('packets that the capturing program lost are a loss', async () => {
    const path = scratch.write(
      'x.pcapng',
      new PcapngBuilder()
        .section()
        .interface({ name: 'eth0' })
        .enhanced(syn(1), { time: 1_800_000_000_000_000n })
        .statistics(0, { 4: 100n, 5: 7n })
        .bytes(),
    );
    const { events } = await replay([path]);
    expect(events.at(-1)).toMatch(/^loss capture 7 .*lost packets/);
    expect(count(events, 'loss')).toBe(1);
  });

  const UNUSABLE: readonly { name: string; bytes: () => Uint8Array | string; says: RegExp }[] = [
    { name: 'a capture cut within its header', bytes: () => good.subarray(0, 20), says: /header/ },
    {
      name: 'a capture of an unknown version',
      bytes: () => pcap([], { version: [7, 9] }),
      says: /7\.9/,
    },
    {
      name: 'a pcapng whose first block has an impossible length',
      bytes: () => new PcapngBuilder().block(0x0a0d0d0a, new Uint8Array(16), { lie: 1 }).bytes(),
      says: /byte/,
    },
    {
      name: 'gzip without anything in it',
      bytes: () => gzipSync(good).subarray(0, 12),
      says: /compressed/,
    },
    {
      name: 'rules that end in their first line',
      bytes: () =>
        '# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 19:57:54 2026\n*nat',
      says: /rules/,
    },
    {
      name: 'objects that are no JSON',
      bytes: () => '{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"848"},',
      says: /JSON/,
    },
    {
      name: 'interfaces that are no JSON',
      bytes: () => '[{"ifindex":1,"ifname":"lo",',
      says: /damaged/,
    },
  ];

  test.each(UNUSABLE)('$name is a usage error that names the file', async ({ bytes, says }) => {
    const path = scratch.write('broken-file', bytes());
    const text = await failure(replay([path, at('client.pcap')]));
    expect(text).toContain(path);
    expect(text).toMatch(says);
  });

  test('rules that are cut are used as far as they go', async () => {
    const text = recordedText('iptables-save.txt');
    const cut = text.slice(0, text.lastIndexOf('KUBE-SEP'));
    const { prelude, problems } = await replay([scratch.write('rules', cut)]);
    expect(prelude[0]).toMatch(/^rules {2}4 nft .*nat/);
    expect(prelude.at(-1)).toMatch(/^loss file 1 /);
    expect(problems).toHaveLength(1);
  });

  test('a list of objects that is cut gives its objects one by one', async () => {
    const text = recordedText('api/pods.json');
    const { prelude } = await replay([scratch.write('pods', text.slice(0, text.length >> 1))]);
    expect(count(prelude, 'cluster set pod')).toBeGreaterThan(3);
    expect(count(prelude, 'cluster list')).toBe(0);
    expect(prelude.at(-1)).toMatch(/^loss file 1 /);
  });

  test('damaged conntrack lines are left out, and each is lost between the times around it', async () => {
    const lines = recordedText('conntrack-events.txt').split('\n');
    lines[10] = lines[10]?.replace('dport=', 'dxxxx=') ?? '';
    const { events, problems } = await replay([scratch.write('events', lines.join('\n'))]);
    expect(problems).toHaveLength(1);
    expect(events.filter((event) => event.startsWith('loss'))).toEqual([
      expect.stringMatching(/^loss file 1 \S*\.\.2026-\S+ /),
    ]);
  });

  test('a broken file in a folder’s net does not hinder the rest', async () => {
    scratch.write('a.pcap', good);
    scratch.write('net/addr.json', '[{"ifindex":1,"ifname":"lo",');
    scratch.write('net/junk', 'junk');
    const { events, inputs, problems } = await replay([scratch.path]);
    expect(count(events, 'packet')).toBe(3);
    expect(problems).toHaveLength(1);
    expect(inputs.skipped).toEqual([]);
  });
});

describe('rules', () => {
  const save = (date: string, body: string): string =>
    `${date === '' ? '' : `# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 22 ${date} 2026\n`}*nat\n:PREROUTING ACCEPT [0:0]\n${body}COMMIT\n`;
  const drop = '[0:0] -A PREROUTING -j DROP\n';
  const rules = (prelude: readonly string[]): string[] =>
    prelude.filter((event) => event.startsWith('rules'));

  test('the earliest dump holds from the beginning, a later one that differs from its time on', async () => {
    scratch.write('z', save('10:00:00', ''));
    scratch.write('a', save('10:00:05', drop));
    const { prelude, events } = await replay([scratch.path]);
    expect(rules(prelude)).toEqual(['rules  4 nft nat 0 -']);
    expect(rules(events)).toEqual(['rules  4 nft nat 0 2026-11-22T10:00:05.000000000Z']);
  });

  test('times without a zone are in the zone that was given', async () => {
    scratch.write('z', save('10:00:00', ''));
    scratch.write('a', save('10:00:05', drop));
    const { events } = await replay([scratch.path], { offsetAt: () => 3_600 });
    expect(rules(events)).toEqual(['rules  4 nft nat 0 2026-11-22T09:00:05.000000000Z']);
  });

  test('a dump that differs in its counters only is not told again', async () => {
    scratch.write('a', save('10:00:00', drop));
    scratch.write('b', save('10:00:05', drop.replace('0:0', '7:420')));
    const { prelude, events } = await replay([scratch.path]);
    expect([rules(prelude).length, rules(events).length]).toEqual([1, 0]);
  });

  test('the time in a name counts more than the one in the dump, @TIME more than that', async () => {
    const first = scratch.write('first', save('10:00:00', ''));
    const named = scratch.write('rules-1795377469.5.txt', save('11:00:00', drop));
    expect(rules((await replay([first, named])).events)).toEqual([
      'rules  4 nft nat 0 2026-11-22T19:57:49.500000000Z',
    ]);
    expect(rules((await replay([first, `${named}@2026-11-22T12:00:00Z`])).events)).toEqual([
      'rules  4 nft nat 0 2026-11-22T12:00:00.000000000Z',
    ]);
  });

  test('a dump of one table leaves what is known of the others', async () => {
    const filter = save('10:00:00', '').replace('*nat', '*filter').replace('PREROUTING', 'INPUT');
    scratch.write('a', save('10:00:00', '') + filter);
    scratch.write('b', save('10:00:05', drop));
    const { prelude, events } = await replay([scratch.path]);
    expect(rules(prelude)).toEqual(['rules  4 nft filter+nat 0 -']);
    expect(rules(events)).toEqual(['rules  4 nft filter+nat 0 2026-11-22T10:00:05.000000000Z']);
  });

  test('two dumps without a time that differ are an error that says what to do', async () => {
    const a = scratch.write('a', save('', ''));
    const b = scratch.write('b', save('', drop));
    const text = await failure(replay([a, b]));
    expect(text).toContain(a);
    expect(text).toContain(b);
    expect(text).toContain('FILE@TIME');
    const told = await replay([a, `${b}@1795377469`]);
    expect([rules(told.prelude).length, rules(told.events).length]).toEqual([1, 1]);
  });

  test('two equal dumps without a time are one', async () => {
    const a = scratch.write('a', save('', drop));
    const b = scratch.write('b', save('', drop.replace('0:0', '1:60')));
    expect(rules((await replay([a, b])).prelude)).toHaveLength(1);
  });

  test('dumps of two families, back ends or nodes are different things', async () => {
    const a = scratch.write('a', save('', ''));
    const b = scratch.write('b', save('', drop));
    const { prelude } = await replay([
      { node: 'n1', path: a },
      { node: 'n2', path: b },
    ]);
    expect(rules(prelude)).toEqual(['rules n1 4 unknown nat 0 -', 'rules n2 4 unknown nat 0 -']);
  });

  test('X.before holds where it and X have no time, and X is left out with a word', async () => {
    scratch.write('rules.txt', save('', drop));
    scratch.write('rules.before.txt', save('', ''));
    const { inputs, prelude, events } = await replay([scratch.path]);
    expect([rules(prelude).length, rules(events).length]).toEqual([1, 0]);
    expect(inputs.skipped).toMatchObject([
      { file: join(scratch.path, 'rules.txt'), kind: 'no-time' },
    ]);
  });
});

describe('cluster objects', () => {
  const pod = (name: string, version: string, uid = `uid-${name}`): object => ({
    metadata: { name, namespace: 'default', uid, resourceVersion: version },
    spec: { nodeName: 'n1' },
    status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] },
  });
  const list = (version: string, ...items: object[]): string =>
    JSON.stringify({
      kind: 'PodList',
      apiVersion: 'v1',
      metadata: { resourceVersion: version },
      items,
    });

  test('lists without a time are one list, with the later state of each object', async () => {
    const a = scratch.write('a', list('900', pod('x', '99'), pod('y', '100')));
    const b = scratch.write('b', list('1000', pod('x', '980'), pod('z', '7')));
    const expected = ['cluster list pod x3 @1000 -'];
    expect((await replay([a, b])).prelude).toEqual(expected);
    expect((await replay([b, a, b])).prelude).toEqual(expected);
  });

  test('single objects are set one by one', async () => {
    const one = { kind: 'Pod', apiVersion: 'v1', ...pod('x', '5') };
    const path = scratch.write('a', JSON.stringify(one));
    expect((await replay([path])).prelude).toEqual(['cluster set pod x @5 -']);
  });

  test('objects without a uid are told apart by their names', async () => {
    const path = scratch.write('a', list('9', pod('x', '5', ''), pod('y', '6', '')));
    expect((await replay([path])).prelude[0]).toMatch(/^cluster list pod x[12] /);
  });

  test('a list with a time holds from then on', async () => {
    const a = scratch.write('a', list('900', pod('x', '99')));
    const b = scratch.write('pods-1795377469.json', list('950'));
    const { prelude, events, inputs } = await replay([a, b]);
    expect(prelude).toEqual(['cluster list pod x1 @900 -']);
    expect(events).toEqual(['cluster list pod x0 @950 2026-11-22T19:57:49.000000000Z']);
    expect(inputs.firstTime && formatNanos(inputs.firstTime)).toBe(
      '2026-11-22T19:57:49.000000000Z',
    );
  });

  test('lists of one file are parts of one list, with a time or without', async () => {
    const lists = `${list('900', pod('x', '99'))}\n${list('901', pod('y', '100'))}\n`;
    const one = scratch.write('a', lists);
    expect((await replay([one])).prelude).toEqual(['cluster list pod x2 @901 -']);
    const two = scratch.write('pods-1795377469.json', lists);
    expect((await replay([two])).events).toEqual([
      'cluster list pod x2 @901 2026-11-22T19:57:49.000000000Z',
    ]);
  });

  test('watch events come at their times', async () => {
    const line = (t: number | undefined, type: string, name: string): string =>
      `${JSON.stringify({ ...(t === undefined ? {} : { t }), type, object: { kind: 'Pod', apiVersion: 'v1', ...pod(name, '5') } })}\n`;
    const path = scratch.write(
      'w',
      line(1_800_000_000.5, 'ADDED', 'x') + line(1_800_000_001, 'DELETED', 'x'),
    );
    const { events } = await replay([path, scratch.write('a.pcap', pcap([synAt(1, 700_000)]))]);
    expect(events.map((event) => event.split(' ').slice(0, 2).join(' '))).toEqual([
      'cluster set',
      expect.stringMatching(/^packet 2027-01-15T08:00:00.7/),
      'cluster delete',
    ]);
    const undated = scratch.write('u', line(undefined, 'ADDED', 'x'));
    expect((await replay([undated])).events).toEqual(['cluster set pod x @5 -']);
    expect((await replay([`${undated}@1800000000`])).events).toEqual([
      'cluster set pod x @5 2027-01-15T08:00:00.000000000Z',
    ]);
  });
});

describe('listings of conntrack', () => {
  test('one without a time goes before everything, one with a time when it was surely made', async () => {
    const capture = scratch.write('a.pcap', pcap([synAt(1, 0), synAt(2, 900_000)]));
    const undated = scratch.write('l', entry('10.244.1.4'));
    const dated = scratch.write('l-1800000000.250.txt', entry('10.244.1.5'));
    const { events } = await replay([capture, dated, undated]);
    expect(events.map((event) => event.split(' ').slice(0, 3).join(' '))).toEqual([
      'conntrack listed 1970-01-01T00:00:00.000000000Z',
      'packet 2027-01-15T08:00:00.000000000Z /-',
      'packet 2027-01-15T08:00:00.900000000Z /-',
      'conntrack listed 2027-01-15T08:00:00.250000000Z',
    ]);
  });

  test('snapshots come in the order of their times, each as uncertain as a listing is long', async () => {
    const a = scratch.write('a', entry('10.244.1.4'));
    const b = scratch.write('b', entry('10.244.1.5'));
    const { events } = await replay([`${a}@1800000002.5`, `${b}@1800000001`]);
    expect(
      events.map((event) => event.split(' ').slice(2, 4).join(' ').split(',').slice(0, 3).join()),
    ).toEqual([
      '2027-01-15T08:00:01.000000000Z 1800000001,0,1000000000',
      '2027-01-15T08:00:02.500000000Z 1800000002,500000000,1000000000',
    ]);
  });

  test('two without a time that contradict each other are an error that says what to do', async () => {
    const a = scratch.write('a', entry('10.244.1.4') + entry('10.244.1.4', 40_001));
    const b = scratch.write('b', entry('10.244.1.4') + entry('10.244.1.5', 40_001));
    const text = await failure(replay([a, b]));
    expect(text).toContain(a);
    expect(text).toContain(b);
    expect(text).toContain('FILE@TIME');
    expect((await replay([a, `${b}@1800000000`])).events).toHaveLength(4);
    expect(
      (
        await replay([
          { node: 'n1', path: a },
          { node: 'n2', path: b },
        ])
      ).events,
    ).toHaveLength(4);
  });

  test('the text and the XML of one listing do not contradict each other', async () => {
    const { events } = await replay([
      at('conntrack.xml'),
      at('conntrack-ext.txt'),
      at('conntrack.xml'),
    ]);
    expect(events.length).toBe(24);
  });
});

describe('the first time', () => {
  test('is that of the earliest thing in any input', async () => {
    const early = scratch.write('early', pcap([synAt(1, 5)]));
    const late = scratch.write('late', pcap([synAt(1, 9_000_000)]));
    for (const order of [
      [early, late],
      [late, early],
    ]) {
      const { inputs } = await replay(order);
      expect(inputs.firstTime && formatNanos(inputs.firstTime)).toBe(
        '2027-01-15T08:00:00.000005000Z',
      );
    }
  });

  test('is found in a capture that begins with much that is of no interest', async () => {
    const arp: PcapRecord = {
      ...synAt(0, 0),
      frame: ethernet(new Uint8Array(1_000), { type: 0x0806 }),
    };
    const path = scratch.write('x', pcap([...new Array<PcapRecord>(200).fill(arp), synAt(1, 7)]));
    const { inputs, events } = await replay([path]);
    expect(inputs.firstTime && formatNanos(inputs.firstTime)).toBe(
      '2027-01-15T08:00:00.000007000Z',
    );
    expect(events).toHaveLength(1);
  });
});

test('the addresses of several files of one node are one list', async () => {
  const a = scratch.write('a', ipAddr(2, 'eth0', '192.168.0.2'));
  const b = scratch.write('b', ipAddr(3, 'eth1', '10.0.0.1'));
  expect((await replay([a, b, a])).prelude).toEqual(['addresses  10.0.0.1,192.168.0.2 -']);
});

test('a long capture from a pipe is read in bounded memory', async () => {
  const RECORDS = 600;
  const CHUNKS = 700;
  const chunk = pcap(Array.from({ length: RECORDS }, (_, n) => synAt(n, n))).subarray(24);
  const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
  const recordBytes = chunk.length / RECORDS;
  let most = 0;
  async function* long(): AsyncGenerator<Uint8Array> {
    yield pcap([]);
    for (let i = 0; i < CHUNKS; i++) {
      for (let r = 0; r < RECORDS; r++) view.setUint32(r * recordBytes, 1_800_000_000 + i, true);
      yield chunk;
      most = Math.max(most, process.memoryUsage().arrayBuffers);
    }
  }
  const before = process.memoryUsage().arrayBuffers;
  const { openInputs } = await import('../../../src/sources/files/open.js');
  const { mergeByTime } = await import('../../../src/pipeline/merge.js');
  const { Interfaces } = await import('../../../src/model/interfaces.js');
  const interfaces = new Interfaces();
  const inputs = await openInputs([{ path: '-' }], {
    interfaces,
    offsetAt: UTC,
    stdin: long(),
    onProblem: () => {},
  });
  let rows = 0;
  for await (const batch of mergeByTime(inputs.streams, interfaces)) {
    for (const event of batch) {
      if (event.type === 'packets') rows += (event.to ?? 0) - (event.from ?? 0);
    }
  }
  expect(rows).toBe(RECORDS * CHUNKS);
  // The rows alone are 60 MB.
  expect(rows * 144).toBeGreaterThan(60_000_000);
  expect(most - before).toBeLessThan(20_000_000);
});

test('fuzz: whatever is done to an input, it is read or refused with a usage error', async () => {
  const random = seeded(20_261_122);
  const pick = (n: number): number => Math.floor(random() * n);
  const seeds = [
    ...readdirSync(RECORDING).filter((name) => name.includes('.')),
    'api/nodes.json',
    'net/addr.json',
    'snap/conntrack-1795377469.195.xml',
  ].map((name) => recordedBytes(name).slice(0, 20_000));
  for (let round = 0; round < 150; round++) {
    const seed = seeds[round % seeds.length] ?? new Uint8Array(0);
    let bytes: Uint8Array = seed.slice();
    for (let n = 1 + pick(6); n > 0; n--) {
      const where = pick(bytes.length + 1);
      switch (pick(5)) {
        case 0:
          bytes[where] = pick(256);
          break;
        case 1:
          bytes = bytes.slice(0, where);
          break;
        case 2:
          bytes = concat(bytes.subarray(0, where), bytes.subarray(where + pick(40)));
          break;
        case 3: {
          const other = seeds[pick(seeds.length)] ?? bytes;
          bytes = concat(bytes.subarray(0, where), other.subarray(pick(other.length)));
          break;
        }
        default:
          bytes.fill(pick(256), where, where + pick(8));
      }
    }
    const input = round % 3 === 0 ? gzipSync(bytes).subarray(0, 10 + pick(20_000)) : bytes;
    try {
      const { events } = await replay(['-'], { stdin: pieces(input, 1 + pick(9_000)) });
      expect(events.length).toBeLessThan(5_000);
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
    }
  }
});
