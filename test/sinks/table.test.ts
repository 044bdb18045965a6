import { stripVTControlCharacters } from 'node:util';
import fc from 'fast-check';
import stringWidth from 'string-width';
import { describe, expect, it } from 'vitest';
import type { Attribution, OutputEvent } from '../../src/model/attribution.js';
import { createSink } from '../../src/sinks/create-sink.js';
import {
  anyEvent,
  attribution,
  close,
  HOSTILE,
  NGINX,
  START,
  streams,
  summary,
  UNKNOWN,
} from './events.js';
import { expectGolden } from './golden.js';

const MS = 1_000_000n;
const pod = (name: string, namespace = 'default') => ({ namespace, name, node: 'node02' });
const to = (name: string, namespace?: string) => ({
  ip: '10.44.0.3',
  port: 8080,
  pod: pod(name, namespace),
});

let ids = 0;
const connection = (after: bigint, change: Partial<Attribution>): OutputEvent => {
  ids++;
  return attribution({ connection: `c${ids}`, time: START + after * MS, ...change });
};

/** A little of everything that can stand in a row. */
const STORY: readonly OutputEvent[] = [
  attribution(),
  connection(1n, { outcome: 'refused', backend: to('nginx-86c57db685-4fxkd') }),
  connection(2n, {
    client: { ip: '10.244.1.20', port: 51234 },
    outcome: 'unanswered',
    latency: {},
  }),
  connection(3n, {
    client: { ip: 'fd00:10:244:1::2', port: 40000 },
    destination: { ip: 'fd00:10:96::a', port: 443 },
    service: { namespace: 'shop', name: 'checkout-frontend', portName: 'https', via: 'clusterIP' },
    backend: {
      ip: 'fd00:10:244:2::7',
      port: 8443,
      pod: pod('checkout-frontend-7d9c8b6f5d-x2x8v', 'shop'),
    },
    latency: { natNs: 950, handshakeNs: 1_240_000_000 },
  }),
  connection(4n, {
    service: { namespace: 'shop', name: 'cart', via: 'nodePort' },
    destination: { ip: '192.168.77.11', port: 30080 },
    verdict: 'conflict',
    reason: 'packets-disagree',
    evidence: ['conntrack', 'packets'],
    claims: [],
  }),
  {
    type: 'attribution',
    attribution: { ...UNKNOWN, time: START + 5n * MS, reason: 'unknown-service-address' },
  },
  connection(6n, {
    verdict: 'unattributed',
    reason: 'no-endpoints',
    outcome: 'rejected',
    evidence: ['rules'],
    ...without('backend', 'latency', 'source'),
  }),
  {
    type: 'notice',
    notice: { code: 'rules-changed', time: START + 7n * MS, detail: '2 chains more' },
  },
  connection(8n, { backend: to('東京-ウェブ-86c57db685-é') }),
  connection(9n, { backend: to('web-🚀-rocket-5c9f4') }),
  connection(10n, {
    backend: to(HOSTILE[0] ?? ''),
    client: { ...NGINX.client, pod: pod(HOSTILE[3] ?? '') },
  }),
  connection(11n, {
    service: { via: 'hostPort' },
    rules: { ...required('rules'), affinity: true },
  }),
  {
    type: 'loss',
    loss: {
      source: 'ring',
      count: 1234,
      from: START,
      to: START + 12n * MS,
      detail: 'the kernel dropped packets',
    },
  },
  attribution({ outcome: 'reset' }),
  close({ outcome: 'reset' }),
  summary(),
];

function without(...keys: (keyof Attribution)[]): Partial<Attribution> {
  return Object.fromEntries(keys.map((key) => [key, undefined])) as Partial<Attribution>;
}

function required<K extends keyof Attribution>(key: K): NonNullable<Attribution[K]> {
  const value = NGINX[key];
  if (value === undefined) throw new Error(`the example has no ${key}`);
  return value as NonNullable<Attribution[K]>;
}

async function shown(
  events: readonly OutputEvent[],
  format: 'table' | 'wide' = 'table',
  options: Parameters<typeof streams>[0] = {},
) {
  const to = streams(options);
  const sink = await createSink(format, to);
  sink.write(events);
  await sink.end();
  return { stdout: to.stdout.text, stderr: to.stderr.text };
}

/** The RESULT column of each row, without headers. */
function results(stdout: string): string[] {
  const lines = stdout.split('\n').filter((line) => line !== '');
  const at = lines[0]?.indexOf('RESULT') ?? -1;
  expect(at).toBeGreaterThan(0);
  return lines
    .filter((line) => !line.includes('RESULT'))
    .map((line) => /^\S+/.exec(line.slice(at))?.[0] ?? '');
}

describe('the table', () => {
  const widths = [40, 60, 80, 100, 120, 160, 200, undefined];
  const cases = [
    ...widths.map((width) => ['table', width] as const),
    ...[80, 120, 200, undefined].map((width) => ['wide', width] as const),
  ];
  it.each(cases)('of format %s in %s columns is as recorded', async (format, width) => {
    const { stdout, stderr } = await shown(STORY, format, {
      terminal: width !== undefined,
      columns: () => width,
    });
    const file = `data/${format}-${width ?? 'pipe'}.txt`;
    expectGolden(new URL(file, import.meta.url), `${stdout}--- stderr ---\n${stderr}`);
  });

  it('is never wider than the terminal, at any width', async () => {
    for (let width = 24; width <= 220; width += width < 90 ? 1 : 9) {
      for (const format of ['table', 'wide'] as const) {
        const { stdout } = await shown(STORY, format, { terminal: true, columns: () => width });
        for (const line of stdout.split('\n')) expect(stringWidth(line)).toBeLessThanOrEqual(width);
      }
    }
  });

  it('starts each column below its header, whatever the cells hold', async () => {
    for (const width of [60, 80, 100, 136, 200]) {
      const { stdout } = await shown(STORY.slice(0, -1), 'table', { columns: () => width });
      const [header = '', ...rows] = stdout.trimEnd().split('\n');
      const at = header.indexOf('RESULT');
      for (const row of rows) {
        const before = [...new Intl.Segmenter().segment(row)].map((s) => s.segment);
        let used = 0;
        let i = 0;
        while (used < at) used += stringWidth(before[i++] ?? ' ');
        expect(used).toBe(at);
        expect(before.slice(i - 2, i)).toEqual([' ', ' ']);
        expect(before[i]).toMatch(/[~a-z]/);
      }
    }
  });

  it('is the same text with and without colours, and none are there unless asked for', async () => {
    const colors = { stdout: true, stderr: true };
    const colored = await shown(STORY, 'table', { colors, columns: () => 100 });
    const plain = await shown(STORY, 'table', { columns: () => 100 });
    expect(stripVTControlCharacters(colored.stdout)).toBe(plain.stdout);
    expect(stripVTControlCharacters(colored.stderr)).toBe(plain.stderr);
    expect(colored.stdout).toContain('\u001b[32mestablished\u001b[39m');
    expect(plain.stdout + plain.stderr).not.toContain('\u001b');
  });

  it('takes any event without failing, line by line, and lets nothing through that a terminal obeys', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(anyEvent, { maxLength: 12 }),
        fc.constantFrom('table' as const, 'wide' as const),
        fc.integer({ min: 24, max: 200 }),
        async (events, format, width) => {
          const { stdout, stderr } = await shown(events, format, { columns: () => width });
          expect(stdout.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
          expect(stderr.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u);
          for (const line of stdout.split('\n'))
            expect(stringWidth(line)).toBeLessThanOrEqual(width);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe('rows of the table', () => {
  const open = (id: string, after = 0n) =>
    attribution({ connection: id, outcome: 'open', time: START + after * MS });
  const established = (id: string, after = 0n) =>
    attribution({ connection: id, time: START + after * MS });

  it('are one a connection that is opened, established and closed', async () => {
    const { stdout } = await shown([open('a'), established('a'), close({ connection: 'a' })]);
    expect(results(stdout)).toEqual(['established']);
  });

  it('wait while the outcome is open and then say the outcome', async () => {
    const to = streams();
    const sink = await createSink('table', to);
    sink.write([open('a')]);
    expect(to.stdout.text).toBe('');
    sink.write([established('a')]);
    expect(results(to.stdout.text)).toEqual(['established']);
  });

  it('come out as open after 200 ms of event time', async () => {
    const to = streams();
    const sink = await createSink('table', to);
    sink.write([
      open('a'),
      { type: 'notice', notice: { code: 'x', detail: 'y', time: START + 199n * MS } },
    ]);
    expect(to.stdout.text).toBe('');
    sink.write([{ type: 'notice', notice: { code: 'x', detail: 'y', time: START + 200n * MS } }]);
    expect(results(to.stdout.text)).toEqual(['open']);
  });

  it('come out as open when the caller says that 200 ms have passed', async () => {
    const to = streams();
    const sink = await createSink('table', to);
    sink.write([open('a')]);
    sink.tick(START + 199n * MS);
    expect(to.stdout.text).toBe('');
    sink.tick(START + 200n * MS);
    expect(results(to.stdout.text)).toEqual(['open']);
  });

  it('come out at the end, before the summary', async () => {
    const { stdout } = await shown([open('a'), summary()]);
    expect(stdout.indexOf('open')).toBeLessThan(stdout.indexOf('Connections'));
    expect(results((await shown([open('a')])).stdout)).toEqual(['open']);
  });

  it('keep the order in which the connections were first seen', async () => {
    const refused = attribution({ connection: 'b', outcome: 'refused', time: START + MS });
    const { stdout } = await shown([open('a'), refused, established('a')]);
    expect(results(stdout)).toEqual(['established', 'refused']);
  });

  it('do not wait without a time to wait by', async () => {
    const to = streams();
    (await createSink('table', to)).write([{ type: 'attribution', attribution: UNKNOWN }]);
    expect(results(to.stdout.text)).toEqual(['no-evidence']);
  });

  it.each<[string, Partial<Attribution>, string[]]>([
    ['a reset', { outcome: 'reset' }, ['established', '~reset']],
    [
      'a conflict',
      { verdict: 'conflict', reason: 'packets-disagree' },
      ['established', '~conflict'],
    ],
    ['another backend', { backend: to('other') }, ['established', '~established']],
    [
      'another service',
      { service: { via: 'clusterIP', namespace: 'a', name: 'b' } },
      ['established', '~established'],
    ],
    ['a better latency', { latency: { natNs: 1 } }, ['established']],
    ['more evidence', { evidence: ['packets'] }, ['established']],
  ])('come again after %s', async (_, change, expected) => {
    expect(results((await shown([attribution(), attribution(change)])).stdout)).toEqual(expected);
    expect(results((await shown([attribution(), close(change)])).stdout)).toEqual(expected);
  });

  it('say a change once', async () => {
    const reset = attribution({ outcome: 'reset' });
    const { stdout } = await shown([attribution(), reset, reset, close({ outcome: 'reset' })]);
    expect(results(stdout)).toEqual(['established', '~reset']);
  });

  it('do not pile up when nothing ever answers', async () => {
    const to = streams();
    const sink = await createSink('table', to);
    sink.write(Array.from({ length: 5000 }, (_, i) => open(`c${i}`)));
    expect(results(to.stdout.text)).toHaveLength(5000 - 4096);
  });

  it('have their header again on a terminal, and in a pipe only when the layout changes', async () => {
    const many = Array.from({ length: 100 }, (_, i) => established(`c${i}`));
    const headers = (text: string) =>
      text.split('\n').filter((line) => line.includes('RESULT')).length;
    expect(
      headers((await shown(many, 'table', { terminal: true, columns: () => 80 })).stdout),
    ).toBe(3);
    expect(headers((await shown(many)).stdout)).toBe(1);

    const to2 = streams();
    const sink = await createSink('table', to2);
    sink.write([attribution()]);
    sink.write([
      attribution({ connection: 'b', backend: to('a-much-longer-name-than-usual-7d9c8b6f5d') }),
    ]);
    sink.write([attribution({ connection: 'c' })]);
    expect(headers(to2.stdout.text)).toBe(2);
  });

  it('follow the terminal when its width changes', async () => {
    let width = 80;
    const to3 = streams({ terminal: true, columns: () => width });
    const sink = await createSink('table', to3);
    sink.write([established('a')]);
    width = 50;
    sink.write([established('b')]);
    const lines = to3.stdout.lines.map((line) => stringWidth(line));
    expect(Math.max(...lines.slice(2))).toBeLessThanOrEqual(50);
    expect(lines).toHaveLength(4);
  });
});

describe('remarks beside the table', () => {
  const notice = (detail: string): OutputEvent => ({
    type: 'notice',
    notice: { code: 'pod-gone', detail },
  });

  it('show the first notices of a kind and count the rest', async () => {
    const many = Array.from({ length: 12 }, (_, i) => notice(`number ${i}`));
    const { stderr } = await shown(many);
    expect(stderr.split('\n').slice(0, -1)).toEqual([
      ...[0, 1, 2, 3, 4].map((i) => `notice pod-gone: number ${i}`),
      'notice pod-gone: 7 more (-v shows them)',
    ]);
    expect((await shown(many, 'table', { verbose: true })).stderr.split('\n')).toHaveLength(13);
  });

  it('never reach the results', async () => {
    const { stdout } = await shown([
      notice('x'),
      { type: 'loss', loss: { source: 'ring', count: 1, detail: 'y' } },
    ]);
    expect(stdout).toBe('');
  });

  it('are whole lines even if their text has line ends', async () => {
    expect((await shown([notice('a\nb\u001b[31m')])).stderr).toBe(
      'notice pod-gone: a\\u{a}b\\u{1b}[31m\n',
    );
  });
});
