import { describe, expect, it } from 'vitest';
import type { CounterMove } from '../../src/model/rule-view.js';
import { MovesPicture, moveLine } from '../../src/sinks/rules-watch.js';

const TIME = 1_795_377_425_652_089_600n;

const move = (packets: number, to: number, change: Partial<CounterMove> = {}): CounterMove => ({
  read: 0,
  service: { namespace: 'shop', name: 'web', portName: 'http' },
  protocol: 6,
  chain: 'KUBE-SVC-A',
  endpoint: {
    ip: '10.244.1.5',
    port: 80,
    chain: 'KUBE-SEP-A',
    pod: { namespace: 'shop', name: 'web-1' },
  },
  kind: 'moved',
  before: { packets, bytes: 60 * packets },
  after: { packets: to, bytes: 60 * to },
  ...change,
});

describe('a line', () => {
  it('says what it was and what it is, packets and bytes', () => {
    expect(moveLine(move(0, 1), TIME)).toBe(
      '19:57:05.652  shop/web:http tcp  web-1  10.244.1.5:80  KUBE-SVC-A > KUBE-SEP-A  0 0 -> 1 60\n',
    );
  });

  it('says that a counter was set to 0, and what it counted since', () => {
    expect(moveLine(move(9, 2, { kind: 'reset' }), undefined)).toContain(
      'set to 0 (had 9 540), since then 2 120\n',
    );
  });

  it('lets no name act on the terminal', () => {
    const pod = { namespace: 'shop', name: 'web\u001b[2J' };
    const line = moveLine(move(0, 1, { endpoint: { ip: '10.0.0.1', port: 1, pod } }), TIME);
    expect(line).toContain('web\\u{1b}[2J');
  });
});

describe('the picture on a terminal', () => {
  it('is drawn over the one before, as many lines up as that had', () => {
    const picture = new MovesPicture(false);
    const first = picture.draw([], TIME, 80);
    expect(first).toMatch(/^19:57:05 UTC, look 1: .*\nnothing has moved yet\n$/);
    const second = picture.draw([move(0, 1)], TIME, 120);
    expect(second.startsWith('\x1b[2A\x1b[0J')).toBe(true);
    expect(second).toMatch(/SERVICE +POD +BEFORE +NOW +SINCE START +CHAIN/);
    expect(second).toMatch(/shop\/web:http tcp +web-1 +0 0 +1 60 +\+1 +KUBE-SEP-A/);
    expect(picture.draw([], TIME, 120).startsWith('\x1b[3A\x1b[0J')).toBe(true);
  });

  it('adds up over looks, and a reset takes nothing away', () => {
    const picture = new MovesPicture(false);
    picture.draw([move(5, 8)], TIME, 120);
    const text = picture.draw([move(8, 2, { kind: 'reset' })], TIME, 120);
    expect(text).toMatch(/set to 0 +2 120 +\+5 /);
    expect(text).toContain('1 set to 0 by kube-proxy');
  });

  it('is never wider nor much longer than a screen', () => {
    const picture = new MovesPicture(false);
    const many = Array.from({ length: 200 }, (_, i) =>
      move(0, i + 1, { endpoint: { ip: '10.0.0.1', port: i, chain: `KUBE-SEP-${i}` } }),
    );
    const lines = picture.draw(many, TIME, 60).split('\n');
    expect(lines.length).toBeLessThanOrEqual(22);
    for (const line of lines) expect(line.length).toBeLessThan(60);
  });
});
