import { describe, expect, test } from 'vitest';
import type { CountedRules } from '../../src/decode/rules/endpoint-counters.js';
import type { Attribution } from '../../src/model/attribution.js';
import { RuleCounters } from '../../src/pipeline/rule-counters.js';

const SECOND = 1_000_000_000n;
const at = (seconds: number): bigint => 1_795_377_300n * SECOND + BigInt(seconds) * SECOND;

function dump(seconds: number, counts: Record<string, number>, more?: object): CountedRules {
  const counters = Object.entries(counts).map(
    ([chain, packets]) =>
      [`KUBE-SEP-${chain}`, { address: `10.244.1.1:${chain}`, packets }] as const,
  );
  return { family: 4, backend: 'nft', time: at(seconds), counters: new Map(counters), ...more };
}

/** A connection to the endpoint of a chain, on the way of which the Pod `default/CHAIN` answers. */
function connection(chain: string, seconds: number | undefined, more: object = {}): Attribution {
  return {
    connection: 'x',
    ...(seconds !== undefined && { time: at(seconds) }),
    timeSource: 'packet',
    protocol: 'tcp',
    client: { ip: '10.244.1.9', port: 1 },
    destination: { ip: '10.96.0.1', port: 80 },
    backend: { ip: '10.244.1.1', port: 80, pod: { namespace: 'default', name: chain } },
    rules: {
      mode: 'iptables',
      backend: 'nft',
      path: ['KUBE-SERVICES', 'KUBE-SVC-X', `KUBE-SEP-${chain}`],
      affinity: false,
    },
    evidence: [],
    verdict: 'attributed',
    outcome: 'established',
    ...more,
  };
}

function said(dumps: readonly CountedRules[], closed: readonly Attribution[]): string[] {
  const counters = new RuleCounters(dumps);
  counters.tell(closed.map((attribution) => ({ type: 'close', attribution })));
  return counters
    .statements()
    .map((event) => (event.type === 'notice' ? event.notice.detail : event.type));
}

const SINCE = 'the rules (iptables-nft, IPv4) counted';
const FROM = 'connections to endpoints since 2026-11-22T19:55:00.000000000Z';
const OFTEN = (chain: string, times: number, seconds = 10): Attribution[] =>
  Array.from({ length: times }, () => connection(chain, seconds));

describe('rule counters beside what was told', () => {
  test.each<[string, readonly CountedRules[], readonly Attribution[], string]>([
    [
      'are equal, whatever they had counted before',
      [dump(0, { A: 7, B: 1 }), dump(20, { A: 9, B: 4 })],
      [...OFTEN('A', 2), ...OFTEN('B', 3)],
      `${SINCE} 5 ${FROM}, as many as were told, Pod by Pod: default/A 2, default/B 3`,
    ],
    [
      'are taken over all dumps, in order of their times',
      [dump(20, { A: 9 }), dump(0, { A: 1 }), dump(10, { A: 4 })],
      OFTEN('A', 8),
      `${SINCE} 8 ${FROM}, as many as were told, Pod by Pod: default/A 8`,
    ],
    [
      'differ where something was not seen',
      [dump(0, {}), dump(20, { A: 5, B: 3 })],
      [...OFTEN('A', 4), ...OFTEN('B', 3)],
      `${SINCE} 8 ${FROM}, 7 were told; 1 of 2 endpoints differ: default/A (KUBE-SEP-A) counted 5, told 4; counted but not told: nothing shows them, or their opening was sent again`,
    ],
    [
      'name an endpoint of which nothing was told by its address',
      [dump(0, {}), dump(20, { A: 1 })],
      [],
      `${SINCE} 1 ${FROM}, 0 were told; 1 of 1 endpoints differ: 10.244.1.1:A (KUBE-SEP-A) counted 1, told 0; counted but not told: nothing shows them, or their opening was sent again`,
    ],
    [
      'differ where something else translated',
      [dump(0, {}), dump(20, { A: 1 })],
      [...OFTEN('A', 1), ...OFTEN('B', 1)],
      `${SINCE} 1 ${FROM}, 2 were told; 1 of 2 endpoints differ: default/B (KUBE-SEP-B) counted 0, told 1; told but not counted: something else translated them`,
    ],
    [
      'that went backwards were set to 0, and count from there',
      [dump(0, { A: 7 }), dump(10, { A: 9 }), dump(20, { A: 3 })],
      OFTEN('A', 6),
      `${SINCE} 5 ${FROM}, 6 were told; 1 of 1 endpoints differ: default/A (KUBE-SEP-A) counted 5, told 6; 1 counters were set to 0 in between (kube-proxy does so when it starts, and when a Service changes), so there were more connections than counted`,
    ],
    [
      'that went with their chain are no negative number',
      [dump(0, { A: 7 }), dump(10, { A: 9, B: 2 }), dump(20, { B: 2 })],
      [...OFTEN('A', 4), ...OFTEN('B', 2)],
      `${SINCE} 4 ${FROM}, 6 were told; 1 of 2 endpoints differ: default/A (KUBE-SEP-A) counted 2, told 4; 1 counters were set to 0 in between (kube-proxy does so when it starts, and when a Service changes), so there were more connections than counted`,
    ],
    [
      'leave open what began while they were read',
      [dump(0, {}), dump(20, { A: 1 })],
      [...OFTEN('A', 1, 1), ...OFTEN('A', 1), ...OFTEN('A', 1, 21)],
      `${SINCE} 1 ${FROM}, 3 were told; 1 of 1 endpoints differ: default/A (KUBE-SEP-A) counted 1, told 3; 2 connections began while rules were being read`,
    ],
    [
      'leave open when a connection without a time began',
      [dump(0, {}), dump(20, { A: 1 })],
      [...OFTEN('A', 1), connection('A', undefined)],
      `${SINCE} 1 ${FROM}, 2 were told; 1 of 1 endpoints differ: default/A (KUBE-SEP-A) counted 1, told 2; 1 connections began while rules were being read`,
    ],
    [
      'are not asked for connections before the first dump and after the last',
      [dump(0, {}), dump(20, { A: 1 })],
      [...OFTEN('A', 5, -1), ...OFTEN('A', 1), ...OFTEN('A', 5, 23)],
      `${SINCE} 1 ${FROM}, as many as were told, Pod by Pod: default/A 1`,
    ],
    [
      'are not asked for what no verdict or no endpoint rule tells',
      [dump(0, {}), dump(20, { A: 1 })],
      [
        ...OFTEN('A', 1),
        connection('A', 10, { verdict: 'conflict' }),
        connection('A', 10, { rules: undefined }),
        connection('A', 10, { backend: undefined }),
        connection('A', 10, { rules: { path: ['KUBE-SERVICES', 'CNI-DN-A'], backend: 'nft' } }),
        connection('A', 10, { rules: { path: ['KUBE-SEP-A'], backend: 'legacy' } }),
      ],
      `${SINCE} 1 ${FROM}, as many as were told, Pod by Pod: default/A 1`,
    ],
  ])('%s', (_, dumps, closed, detail) => {
    expect(said(dumps, closed)).toEqual([detail]);
  });

  test.each<[string, readonly CountedRules[]]>([
    ['there is no dump', []],
    ['there is one dump', [dump(0, { A: 3 })]],
    ['the same dump was given twice', [dump(0, { A: 3 }), dump(0, { A: 3 })]],
    ['dumps are of different back ends', [dump(0, {}), dump(9, { A: 3 }, { backend: 'legacy' })]],
    ['dumps are of different families', [dump(0, {}), dump(9, { A: 3 }, { family: 6 })]],
    ['dumps are of different nodes', [dump(0, {}), dump(9, { A: 3 }, { node: 'node2' })]],
    ['nothing moved and nothing was told', [dump(0, { A: 3 }), dump(20, { A: 3 })]],
  ])('say nothing if %s', (_, dumps) => {
    expect(said(dumps, [])).toEqual([]);
  });

  test('of one second are in the order of what they counted', () => {
    const dumps = [dump(0, { A: 4 }), dump(0, { A: 1 })];
    expect(said(dumps, OFTEN('A', 3, 1))).toEqual([
      `${SINCE} 3 ${FROM}, as many as were told, Pod by Pod: default/A 3`,
    ]);
  });

  test('of two nodes are held against what each node translated', () => {
    const dumps = ['node1', 'node2'].flatMap((node) => [
      dump(0, {}, { node }),
      dump(20, { A: node === 'node1' ? 1 : 2 }, { node }),
    ]);
    const closed = ['node1', 'node2', 'node2'].map((node) => connection('A', 10, { node }));
    expect(said(dumps, closed).map((detail) => detail.split(' connections')[0])).toEqual([
      'the rules (node1, iptables-nft, IPv4) counted 1',
      'the rules (node2, iptables-nft, IPv4) counted 2',
    ]);
    expect(said(dumps, closed).every((detail) => detail.includes('as many as were told'))).toBe(
      true,
    );
  });

  test('name the node whose dumps they are, also where a run does not say it of connections', () => {
    const dumps = [dump(0, {}, { node: 'n' }), dump(20, { A: 1 }, { node: 'n' })];
    const [detail] = said(dumps, OFTEN('A', 1));
    expect(detail).toContain('(n, iptables-nft, IPv4)');
    expect(detail).toContain('as many as were told');
  });

  test('name ten Pods at most', () => {
    const pods = Array.from({ length: 12 }, (_, i) => String.fromCharCode(65 + i));
    const counts = Object.fromEntries(pods.map((pod) => [pod, 1]));
    const [detail] = said(
      [dump(0, {}), dump(20, counts)],
      pods.map((pod) => connection(pod, 10)),
    );
    expect(detail).toMatch(/default\/J 1, and 2 more$/);
  });
});
