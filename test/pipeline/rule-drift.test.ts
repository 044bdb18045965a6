import { describe, expect, it } from 'vitest';
import { endpointChainHash, serviceChainHash } from '../../src/decode/rules/chain-names.js';
import { iptablesServices } from '../../src/decode/rules/iptables-services.js';
import type { ClusterRecord, EndpointRecord } from '../../src/model/cluster.js';
import type { Drift } from '../../src/model/rule-view.js';
import type { Nanos } from '../../src/model/time.js';
import { RuleBook } from '../../src/pipeline/rule-book.js';
import { findDrift } from '../../src/pipeline/rule-drift.js';
import { movesBetween, snapshot } from '../../src/pipeline/rule-moves.js';
import { viewRules } from '../../src/pipeline/rule-view.js';
import { dumpOf } from '../decode/rules/dumps.js';

const NAME = 'shop/web:http';
const SVC = `KUBE-SVC-${serviceChainHash(NAME, 'tcp')}`;
const SVL = SVC.replace('SVC', 'SVL');
const EXT = SVC.replace('SVC', 'EXT');
const IP = '10.96.0.10';
const SECOND = 1_000_000_000n;

const sep = (ip: string): string => `KUBE-SEP-${endpointChainHash(NAME, 'tcp', `${ip}:80`)}`;

interface Shape {
  /** Of the balancing rules, in place of 1/n, 1/(n-1) … */
  readonly chances?: readonly number[];
  readonly counts?: readonly number[];
  readonly more?: readonly string[];
  readonly comment?: string;
  readonly chain?: string;
}

function balance(chain: string, ips: readonly string[], shape: Shape = {}): string[] {
  return ips.map((ip, i) => {
    const chance = shape.chances?.[i] ?? 1 / (ips.length - i);
    const dice =
      chance === 1 ? '' : `-m statistic --mode random --probability ${chance.toFixed(11)} `;
    const packets = shape.counts?.[i] ?? 0;
    return `[${packets}:${60 * packets}] -A ${chain} ${dice}-j ${sep(ip)}`;
  });
}

/** The rules of one Service, as kube-proxy writes them. */
function rulesOf(ips: readonly string[], shape: Shape = {}): string[] {
  const comment = `-m comment --comment "${shape.comment ?? NAME} cluster IP"`;
  return [
    '[0:0] -A PREROUTING -j KUBE-SERVICES',
    '[0:0] -A OUTPUT -j KUBE-SERVICES',
    `[0:0] -A KUBE-SERVICES -d ${IP}/32 -p tcp ${comment} -m tcp --dport 80 -j ${shape.chain ?? SVC}`,
    ...(shape.chain === undefined ? balance(SVC, ips, shape) : []),
    ...(shape.more ?? []),
    ...ips.map((ip) => `[0:0] -A ${sep(ip)} -p tcp -m tcp -j DNAT --to-destination ${ip}:80`),
  ];
}

const A = '10.244.1.2';
const B = '10.244.1.3';
const C = '10.244.2.4';
const ALL = [A, B, C];
const NODES = new Map([
  [A, 'node1'],
  [B, 'node1'],
  [C, 'node2'],
]);

const endpoint = (ip: string, change: Partial<EndpointRecord> = {}): EndpointRecord => ({
  addresses: [ip],
  ready: true,
  serving: true,
  terminating: false,
  node: NODES.get(ip) ?? 'node1',
  ...change,
});

const ENDING = { ready: false, terminating: true };

const service = (change: object = {}): ClusterRecord => ({
  kind: 'service',
  uid: 's1',
  namespace: 'shop',
  name: 'web',
  type: 'ClusterIP',
  clusterIPs: [IP],
  externalIPs: [],
  loadBalancerIPs: [],
  loadBalancerSourceRanges: [],
  ports: [{ name: 'http', protocol: 'tcp', port: 80 }],
  ...change,
});

const slice = (...endpoints: EndpointRecord[]): ClusterRecord => ({
  kind: 'endpointslice',
  uid: 'e1',
  namespace: 'shop',
  name: 'web-1',
  service: 'web',
  ports: [{ name: 'http', protocol: 'tcp', port: 80 }],
  endpoints,
});

const node1: ClusterRecord = {
  kind: 'node',
  uid: 'n1',
  name: 'node1',
  namespace: '',
  addresses: ['192.168.1.1'],
  podCIDRs: [],
  zone: 'a',
};

interface Told {
  readonly time?: Nanos;
  readonly item: ClusterRecord;
  readonly op?: 'delete';
}

function bookOf(rules: readonly string[], objects: readonly Told[] = [], time?: Nanos): RuleBook {
  const book = new RuleBook();
  for (const { time: at, item, op = 'set' } of objects) {
    book.take({ type: 'cluster', ...(at !== undefined && { time: at }), change: { op, item } });
  }
  const dump = dumpOf(rules);
  const told = { rules: dump, services: iptablesServices(dump) };
  book.take({ type: 'rules', ...(time !== undefined && { time }), ...told });
  return book;
}

const found = (book: RuleBook, node: string | null = 'node1'): readonly Drift[] =>
  findDrift(viewRules(book.held, book.cluster), book.held, book.cluster, {
    settleNs: 5n * SECOND,
    ...(node !== null && { node }),
  });

const codes = (drifts: readonly Drift[]): string[] =>
  drifts.map(({ code, endpoint: at }) => (at === undefined ? code : `${code} ${at.ip}`));

const now = (...items: ClusterRecord[]): Told[] => items.map((item) => ({ item }));
const local = [`[0:0] -A ${EXT} -j ${SVL}`, ...balance(SVL, [A, B])];

describe('rules and cluster', () => {
  it.each<[string, string[], ClusterRecord[]]>([
    ['agree', rulesOf(ALL), [service(), slice(...ALL.map((ip) => endpoint(ip)))]],
    [
      'agree where one that ends is left out, since others are ready',
      rulesOf([A, B]),
      [service(), slice(endpoint(A), endpoint(B), endpoint(C, ENDING))],
    ],
    [
      'agree where those that end are all there is',
      rulesOf([A]),
      [service(), slice(endpoint(A, ENDING))],
    ],
    [
      'agree where hints keep to a zone',
      rulesOf([A, B]),
      [
        node1,
        service(),
        slice(
          ...[A, B].map((ip) => endpoint(ip, { hintZones: ['a'] })),
          endpoint(C, { hintZones: ['b'] }),
        ),
      ],
    ],
    [
      'agree where an older kube-proxy does not obey hints',
      rulesOf(ALL),
      [
        node1,
        service(),
        slice(...ALL.map((ip) => endpoint(ip, { hintZones: [ip === C ? 'b' : 'a'] }))),
      ],
    ],
    [
      'agree where a policy keeps to the node',
      rulesOf([A, B], { chain: SVL, more: balance(SVL, [A, B]) }),
      [service(), slice(...ALL.map((ip) => endpoint(ip)))],
    ],
    [
      'agree where an address is listed twice while it moves between slices',
      rulesOf([A, B]),
      [service(), slice(endpoint(A), endpoint(A, { ready: false }), endpoint(B))],
    ],
  ])('%s', (_, rules, objects) => {
    expect(found(bookOf(rules, now(...objects)))).toEqual([]);
  });

  it.each<[string, string[], ClusterRecord[], string[]]>([
    [
      'an endpoint is missing in the rules',
      rulesOf([A, B]),
      [service(), slice(...ALL.map((ip) => endpoint(ip)))],
      [`endpoint-missing ${C}`],
    ],
    [
      'an endpoint is gone from the slices',
      rulesOf(ALL),
      [service(), slice(endpoint(A), endpoint(B))],
      [`endpoint-extra ${C}`],
    ],
    [
      'an endpoint is not ready any more',
      rulesOf(ALL),
      [service(), slice(endpoint(A), endpoint(B), endpoint(C, { ready: false, serving: false }))],
      [`endpoint-extra ${C}`],
    ],
    [
      'one that ends is still used beside ready ones',
      rulesOf(ALL),
      [service(), slice(endpoint(A), endpoint(B), endpoint(C, ENDING))],
      [`endpoint-extra ${C}`],
    ],
    [
      'a policy for the node has an endpoint of another one',
      rulesOf(ALL, { chain: SVL, more: balance(SVL, ALL) }),
      [service(), slice(...ALL.map((ip) => endpoint(ip)))],
      [`endpoint-extra ${C}`],
    ],
    [
      'a Service is unknown',
      rulesOf([A]),
      [service({ name: 'other' }), slice()],
      ['service-unknown', 'service-missing'],
    ],
    [
      'a Service has no rules',
      rulesOf([A]),
      [
        service(),
        service({ uid: 's2', name: 'new', clusterIPs: ['10.96.0.11'] }),
        slice(endpoint(A)),
      ],
      ['service-missing'],
    ],
    [
      'chances were changed',
      rulesOf(ALL, { chances: [0.5, 0.5, 1] }),
      [service(), slice(...ALL.map((ip) => endpoint(ip)))],
      ['share-uneven'],
    ],
    [
      'a chain is led to by nothing',
      rulesOf(ALL, { more: [...local, `[0:0] -A ${SVC.replace(/.{4}$/, 'AAAA')} -j ${sep(A)}`] }),
      [service(), slice(...ALL.map((ip) => endpoint(ip)))],
      ['stale-chain', 'stale-chain', 'stale-chain'],
    ],
  ])('differ where %s', (_, rules, objects, expected) => {
    expect(codes(found(bookOf(rules, now(...objects)))).sort()).toEqual([...expected].sort());
  });

  it('differ where only a comment calls a Service so', () => {
    expect(codes(found(bookOf(rulesOf(ALL, { comment: 'shop/liar:http' }))))).toEqual([
      'name-mismatch',
    ]);
  });

  it('say nothing of local endpoints where nobody knows which node it is', () => {
    const rules = rulesOf([A, B], { chain: SVL, more: balance(SVL, [A, B]) });
    const objects = now(service(), slice(...ALL.map((ip) => endpoint(ip))));
    expect(found(bookOf(rules, objects), null)).toEqual([]);
  });

  it.each([
    [4n, []],
    [6n, [`endpoint-missing ${C}`]],
  ])('what changed %i s before may not be written yet', (seconds, expected) => {
    const read = 100n * SECOND;
    const objects: Told[] = [
      ...now(service(), slice(endpoint(A), endpoint(B))),
      { time: read - seconds * SECOND, item: slice(...ALL.map((ip) => endpoint(ip))) },
    ];
    const drifts = found(bookOf(rulesOf([A, B]), objects, read));
    expect(codes(drifts)).toEqual(expected);
    for (const { since } of drifts) expect(since).toBe(read - seconds * SECOND);
  });

  it('without a cluster only the rules themselves can be wrong', () => {
    expect(found(bookOf(rulesOf(ALL)))).toEqual([]);
    expect(codes(found(bookOf(rulesOf(ALL, { chances: [0.9, 0.5, 1] }))))).toEqual([
      'share-uneven',
    ]);
  });
});

describe('counters', () => {
  const look = (ips: readonly string[], counts: readonly number[], shape: Shape = {}) => {
    const book = bookOf(rulesOf(ips, { counts, ...shape }));
    const overview = viewRules(book.held, book.cluster);
    return { book, overview, shot: snapshot(overview, book.held) };
  };
  const moves = (a: ReturnType<typeof look>, b: ReturnType<typeof look>): unknown[] =>
    movesBetween(a.shot, b.shot, b.overview, b.book.held).map(
      ({ kind, endpoint: { ip }, before, after }) =>
        `${ip} ${kind} ${before.packets} ${before.bytes} -> ${after.packets} ${after.bytes}`,
    );

  it.each<[string, ReturnType<typeof look>, ReturnType<typeof look>, string[]]>([
    ['stand still', look(ALL, [1, 2, 3]), look(ALL, [1, 2, 3]), []],
    ['move', look(ALL, [0, 2, 3]), look(ALL, [1, 2, 3]), [`${A} moved 0 0 -> 1 60`]],
    [
      'are set to 0 and never go backwards',
      look(ALL, [5, 2, 0]),
      look(ALL, [1, 0, 0]),
      [`${A} reset 5 300 -> 1 60`, `${B} reset 2 120 -> 0 0`],
    ],
    [
      'begin anew where the rules were written anew, though they count more',
      look([A, B], [1, 1]),
      look(ALL, [4, 0, 2]),
      [`${A} reset 1 60 -> 4 240`, `${B} reset 1 60 -> 0 0`, `${C} moved 0 0 -> 2 120`],
    ],
  ])('%s', (_, before, after, expected) => {
    expect(moves(before, after)).toEqual(expected);
  });
});
