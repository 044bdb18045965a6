import { expect, it } from 'vitest';
import type { Attribution } from '../../src/model/attribution.js';
import type { InputEvent } from '../../src/model/event.js';
import type { EndpointRoute } from '../../src/model/services.js';
import { ConnectionAudit } from '../../src/pipeline/connection-audit.js';

const SECOND = 1_000_000_000n;
const CHAIN = 'KUBE-SVC-AAAAAAAAAAAAAAAA';
const path = (ip: string): string[] => ['KUBE-SERVICES', CHAIN, `KUBE-SEP-${ip}`];

/** Rules that give each of these endpoints the same, from a second on. */
function rulesAt(second: bigint | undefined, ips: readonly string[], affinity = false): InputEvent {
  const routes = ips.map(
    (ip): EndpointRoute => ({
      ip,
      port: 80,
      rule: {
        mode: 'iptables',
        path: path(ip),
        affinity,
        ...(!affinity && { probability: 1 / ips.length }),
      },
    }),
  );
  return {
    type: 'rules',
    ...(second !== undefined && { time: second * SECOND }),
    rules: { kind: 'iptables', family: 4, backend: 'nft', tables: new Map() },
    services: [
      {
        protocol: 6,
        address: '10.96.0.1',
        port: 80,
        via: 'clusterIP',
        action: 'dnat',
        routes,
        chain: CHAIN,
      },
    ],
  };
}

interface Made {
  readonly at?: bigint;
  readonly end?: bigint;
  readonly client?: string;
  readonly bytes?: number;
}

function connection(
  ip: string,
  { at = 1n, end, client = '10.0.0.9', bytes }: Made = {},
): Attribution {
  return {
    connection: '',
    time: at * SECOND,
    timeSource: 'packet',
    protocol: 'tcp',
    client: { ip: client, port: 1_000 },
    destination: { ip: '10.96.0.1', port: 80 },
    service: { namespace: 'shop', name: 'web', via: 'clusterIP' },
    backend: { ip, port: 80 },
    rules: { mode: 'iptables', path: path(ip), affinity: false },
    evidence: ['conntrack'],
    verdict: 'attributed',
    outcome: 'established',
    ...(end !== undefined && { endTime: end * SECOND }),
    ...(bytes !== undefined && { reply: { packets: 1, bytes } }),
  };
}

function audit(events: readonly InputEvent[], connections: readonly Attribution[]) {
  const it = new ConnectionAudit(undefined, () => undefined);
  for (const event of events) it.learn(event);
  it.take(connections.map((attribution) => ({ type: 'close', attribution })));
  const [first] = it.audits();
  if (first === undefined) throw new Error('nothing was audited');
  return first;
}

const many = (ip: string, count: number, made?: Made): Attribution[] =>
  Array.from({ length: count }, () => connection(ip, made));

const [A, B, C] = ['10.0.0.1', '10.0.0.2', '10.0.0.3'] as const;

it('judges connections by the rules in force when they began', () => {
  const found = audit(
    [rulesAt(undefined, [A]), rulesAt(10n, [A, B])],
    [...many(A, 200), ...many(A, 50, { at: 11n }), ...many(B, 50, { at: 11n })],
  );
  expect(found).toMatchObject({ verdict: 'even', total: 300, over: 'connections' });
  expect(found.endpoints.map(({ observed, expected }) => [observed, expected])).toEqual([
    [250, 250],
    [50, 50],
  ]);
});

it('calls skewed what the rules do not explain', () => {
  expect(audit([rulesAt(undefined, [A, B])], [...many(A, 200), ...many(B, 50)]).verdict).toBe(
    'skewed',
  );
});

it('says that connections from before an endpoint came stay where they are', () => {
  const found = audit(
    [rulesAt(undefined, [A, B]), rulesAt(10n, [A, B, C])],
    [...many(A, 3, { end: 20n }), ...many(B, 3, { end: 5n }), ...many(C, 1, { at: 12n })],
  );
  expect(found.remarks).toContainEqual(
    expect.stringMatching(/^3 connections were open before 10\.0\.0\.3:80 came \(00:00:10\)/),
  );
});

it('says where bytes are skewed though connections are not, and only there', () => {
  const rules = [rulesAt(undefined, [A, B])];
  const heavy = audit(rules, [
    ...many(A, 50, { bytes: 100 }),
    ...many(B, 49, { bytes: 100 }),
    connection(B, { bytes: 1_000_000 }),
  ]);
  expect(heavy.verdict).toBe('even');
  expect(heavy.remarks).toContainEqual(
    expect.stringMatching(/^10\.0\.0\.2:80 carried 100 % of the bytes in 50 % of the connections/),
  );
  const light = audit(rules, [...many(A, 50, { bytes: 100 }), ...many(B, 50, { bytes: 100 })]);
  expect(light.remarks).toEqual([]);
});

it('leaves out whom session affinity sent where he was before', () => {
  const found = audit(
    [rulesAt(undefined, [A, B], true)],
    [...many(A, 40, { client: '10.0.1.1' }), connection(B, { client: '10.0.1.2' })],
  );
  expect(found).toMatchObject({ verdict: 'too few', total: 2 });
  expect(found.remarks).toContainEqual(expect.stringMatching(/39 connections .* left out/));
});

it('leaves out, and says so, what the rules did not lead to', () => {
  const found = audit(
    [rulesAt(undefined, [A, B])],
    [...many(A, 10), ...many(B, 10), connection(C)],
  );
  expect(found.total).toBe(20);
  expect(found.remarks).toContainEqual(expect.stringMatching(/^1 connections are left out/));
});
