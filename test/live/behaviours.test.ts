import { describe, expect, it } from 'vitest';
import { inNodeLab, type NodeLab } from './node-lab.js';
import { type Said, Whichpod } from './program.js';

const SHAPE = { layout: 'routed', ruleBackend: 'iptables-nft', chainNames: 'current' } as const;

let node: NodeLab;

inNodeLab(SHAPE, (made) => {
  node = made;
});

function live(args: readonly string[], ...asWhom: string[]): Whichpod {
  return new Whichpod(
    ['live', '--objects', node.objects, '-o', 'ndjson', ...args],
    [...node.lab.enter('node'), ...asWhom],
  );
}

const request = (count: number, onRow: () => void = () => undefined): Promise<unknown> =>
  node.lab.churn({ from: 'client', to: 'shop/web', connections: count, perSecond: 100, onRow });

const isAttribution = (line: Said): boolean => line.type === 'attribution';

/** How many connections the lines speak of. */
function connections(lines: readonly Said[]): number {
  return new Set(lines.filter(isAttribution).map((line) => line['connection'])).size;
}

describe('live ends', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('with the summary after %s', async (signal) => {
    const run = live([]);
    await run.watching();
    await request(3);
    run.signal(signal);
    expect(await run.ended).toEqual({ code: 130, signal: null });
    expect(run.said.all.at(-1)).toMatchObject({ type: 'summary', connections: { seen: 3 } });
  });

  it('by itself after --duration', async () => {
    const run = live(['--duration', '1s']);
    await run.watching();
    await request(3);
    expect(await run.ended).toEqual({ code: 0, signal: null });
    expect(run.said.all.at(-1)?.type).toBe('summary');
  });

  it('by itself after --count, each of them with its outcome', async () => {
    const run = live(['--count', '5']);
    await run.watching();
    const traffic = request(100);
    expect(await run.ended).toEqual({ code: 0, signal: null });
    await traffic;
    const outcomes = new Map<unknown, unknown>();
    for (const line of run.said.all.filter(isAttribution).slice(0, -1)) {
      outcomes.set(line['connection'], line['outcome']);
    }
    expect([...outcomes.values()].slice(0, 5)).toEqual(Array(5).fill('established'));
    expect(run.said.all.at(-1)?.type).toBe('summary');
  });

  it('without a word when its reader leaves', async () => {
    const run = live([]);
    await run.watching();
    const traffic = request(200);
    await run.said.until(isAttribution);
    run.closeStdout();
    expect(await run.ended).toEqual({ code: 0, signal: null });
    expect(run.stderr.split('\n').filter((line) => !line.startsWith('watching '))).toEqual(['']);
    await traffic;
  });
});

describe('live speaks', () => {
  it('while the requests go on, not at their end', async () => {
    const run = live([]);
    await run.watching();
    let rows = 0;
    let rowsBefore: number | undefined;
    void run.said.until(isAttribution).then(() => {
      rowsBefore = rows;
    });
    await node.lab.request({
      from: 'client',
      to: 'shop/web',
      count: 40,
      perSecond: 40,
      onRow: () => {
        rows++;
      },
    });
    expect(rowsBefore).toBeLessThan(40);
    run.signal('SIGINT');
    await run.ended;
    expect(connections(run.said.all)).toBe(40);
  });
});

describe('live waits for nobody', () => {
  it('a reader that stops for a while costs the capture nothing', async () => {
    const run = live([]);
    await run.watching();
    run.stopReading();
    // Some four lines of 700 bytes each: ten times what the pipe holds.
    await request(250);
    expect(connections(run.said.all)).toBeLessThan(250);
    run.readOn();
    run.signal('SIGINT');
    expect(await run.ended).toEqual({ code: 130, signal: null });
    expect(connections(run.said.all)).toBe(250);
    expect(run.said.all.at(-1)).toMatchObject({
      type: 'summary',
      connections: { seen: 250, attributed: 250 },
      packets: { dropped: 0 },
      losses: 0,
    });
  });
});

describe('live refuses', () => {
  it.each([
    ['an ordinary user', ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', '--']],
    [
      'root without the capability, as in a container',
      ['setpriv', '--bounding-set=-net_raw', '--inh-caps=-net_raw', '--'],
    ],
  ])('to start for %s, in one line that names the capability', async (_who, asWhom) => {
    const run = live([], ...asWhom);
    expect(await run.ended).toEqual({ code: 3, signal: null });
    expect(run.stderr).toMatch(/^whichpod: [^\n]*CAP_NET_RAW[^\n]*\n$/);
  });

  it('objects that are not there, in one line', async () => {
    const run = new Whichpod(['live', '--objects', '/nowhere/pods.json'], node.lab.enter('node'));
    expect(await run.ended).toEqual({ code: 2, signal: null });
    expect(run.stderr).toMatch(/^whichpod: [^\n]*\/nowhere\/pods\.json[^\n]*\n$/);
  });
});
