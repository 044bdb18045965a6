import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { rulesFingerprint } from '../../../src/decode/rules/fingerprint.js';
import { readNftJson } from '../../../src/decode/rules/nft-json.js';
import { parseNftChainName } from '../../../src/decode/rules/nft-names.js';
import { nftServices } from '../../../src/decode/rules/nft-services.js';
import type { Problem } from '../../../src/model/problem.js';
import type { NftablesRules } from '../../../src/model/ruleset.js';
import { type Cluster, expected, found } from './cluster.js';
import { first, recorded, told } from './dumps.js';

/** The rules of one family in a listing without problems. */
function rulesOf(listing: string | Uint8Array, family: 4 | 6 = 4): NftablesRules {
  const bytes = typeof listing === 'string' ? Buffer.from(listing) : listing;
  const { rules, problems } = readNftJson(bytes);
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  const one = rules.find((it) => it.family === family);
  if (!one) throw new Error(`no rules of IPv${family}`);
  return one;
}

const SCENARIOS = [
  '1.30-nftables-00-rules',
  '1.30-nftables-03-session-affinity',
  '1.36-nftables-00-rules',
  '1.36-nftables-03-session-affinity',
  '1.36-nftables-05-no-endpoints',
  '1.36-nftables-07-dual-stack',
];
const NODES: Readonly<Record<string, readonly [string, string]>> = {
  node1: ['192.168.77.11', 'fd00:77::11'],
  node2: ['192.168.77.12', 'fd00:77::12'],
};

describe('recorded clusters', () => {
  const cases = SCENARIOS.flatMap((name) =>
    ([4, 6] as const).flatMap((family) => [
      { name, family, node: 'node1', file: `${name}.nft.json.gz` },
      ...(name.endsWith('00-rules')
        ? [{ name, family, node: 'node2', file: `${name}.node2.nft.json.gz` }]
        : []),
    ]),
  );
  const clusterOf = (name: string): Cluster =>
    JSON.parse(recorded(`${name}.cluster.json.gz`).toString()) as Cluster;

  test.each(cases)(
    '$file, IPv$family: what the Services and EndpointSlices say is reached',
    ({ name, family, node, file }) => {
      const own = NODES[node]?.[family === 4 ? 0 : 1] ?? '';
      // kube-proxy was told to take NodePorts at the node's primary address, and an address with
      // source ranges is known to be a load balancer's.
      const want = new Map(
        [...expected(clusterOf(name), family, true, node)].map(([head, endpoints]) => [
          head.replace(/^(\d+) local /, `$1 ${own} `),
          endpoints,
        ]),
      );
      expect(want.size).toBe(family === 4 ? 43 : 4);
      expect(found(first(nftServices(rulesOf(recorded(file), family))))).toEqual(want);
    },
  );

  test.each(cases)('$file, IPv$family: every name is verified', ({ family, file }) => {
    for (const entry of nftServices(rulesOf(recorded(file), family))) {
      expect(entry.service).toBeDefined();
      expect(entry.nameUnverified).toBeUndefined();
      for (const { rule } of entry.routes) {
        for (const chain of rule.path.filter((it) => it.includes('/'))) {
          expect(parseNftChainName(chain)).toMatchObject({
            verified: true,
            service: entry.service,
          });
        }
      }
    }
  });

  test.each(cases)(
    '$file, IPv$family: the routes of each balancer share out one connection',
    ({ name, family, file }) => {
      const sticky = clusterOf(name).services.filter(({ affinity }) => affinity);
      for (const entry of nftServices(rulesOf(recorded(file), family))) {
        const { service } = entry;
        const affinity = sticky.some(
          (it) => it.ns === service?.namespace && it.name === service.name,
        );
        const balancers = new Map<string, number>();
        for (const { rule } of entry.routes) {
          expect(rule.mode).toBe('nftables');
          expect(rule.affinity).toBe(affinity);
          expect(rule.probability === undefined).toBe(affinity);
          const chain = rule.path.findLast((it) => /^(service|local)-/.test(it)) ?? '';
          balancers.set(chain, (balancers.get(chain) ?? 0) + (rule.probability ?? 0));
        }
        if (affinity) continue;
        for (const sum of balancers.values()) expect(sum).toBeCloseTo(1, 9);
      }
    },
  );

  test('both layouts of kube-proxy give the same but for the last chain', () => {
    const [old, young] = ['1.30', '1.36'].map((version) =>
      told(nftServices(rulesOf(recorded(`${version}-nftables-00-rules.nft.json.gz`)))).filter(
        // Pods of a Deployment have other addresses in another life of the cluster.
        (line) => !line.startsWith(' ') || /default\/(nginx|sticky|np-local|lb-local)\//.test(line),
      ),
    );
    const shape = (lines: readonly string[] | undefined): string[] =>
      (lines ?? []).map((line) => line.replace(/ > endpoint-\S+/, ''));
    expect(shape(old).filter((line) => line.startsWith(' ')).length).toBeGreaterThan(20);
    expect(shape(young)).toEqual(shape(old));
    expect(old).toContain(
      '  10.244.1.4 80 <- map service-ips > service-ECO34HEO-default/nginx/tcp/ > endpoint-ZXN4J2CP-default/nginx/tcp/__10.244.1.4/80 (0.25)',
    );
    expect(young).toContain(
      '  10.244.1.4 80 <- map service-ips > service-ECO34HEO-default/nginx/tcp/ (0.25)',
    );
  });

  test('source ranges refuse some clients of an address that others reach', () => {
    const entries = nftServices(rulesOf(recorded('1.36-nftables-00-rules.nft.json.gz')));
    const both = entries.filter((it) => it.address === '192.168.77.200' && it.port === 80);
    expect(both).toMatchObject([
      { via: 'loadBalancerIP', action: 'dnat', service: { name: 'lb-cluster' } },
      {
        via: 'loadBalancerIP',
        action: 'drop',
        routes: [],
        chain: 'firewall-G5U4SWSJ-default/lb-cluster/tcp/http',
      },
    ]);
  });

  test('with externalTrafficPolicy Local the ways of local and of foreign clients are listed', () => {
    const entries = nftServices(rulesOf(recorded('1.36-nftables-00-rules.nft.json.gz')));
    const [entry] = entries.filter(({ port }) => port === 30081);
    const ways = new Set(entry?.routes.map(({ rule }) => rule.path.join(' > ')));
    const id = 'K4CWHINZ-default/np-local/tcp/';
    expect([...ways]).toEqual([
      `map service-nodeports > external-${id} > service-${id}`,
      `map service-nodeports > external-${id} > local-${id}`,
    ]);
    expect(entry?.routes.map(({ rule }) => rule.probability)).toEqual([
      0.25, 0.25, 0.25, 0.25, 0.5, 0.5,
    ]);
  });
});

describe('names of chains', () => {
  test.each([
    ['service-ULMVA6XW-ns1/svc1/tcp/p80', 'ns1', 'svc1', 'p80'],
    ['service-ECO34HEO-default/nginx/tcp/', 'default', 'nginx', undefined],
    ['local-2QRHZV4L-default/kubernetes/tcp/https', 'default', 'kubernetes', 'https'],
    ['external-FY5PMXPG-kube-system/kube-dns/udp/dns', 'kube-system', 'kube-dns', 'dns'],
    ['firewall-P4ZYZVCF-testing/service/tcp/http', 'testing', 'service', 'http'],
    ['endpoint-JO2XBXZR-testing/service/tcp/http__10.180.0.1/80', 'testing', 'service', 'http'],
    [
      'endpoint-U7E2ET36-testing/service/tcp/http__fd80.abcd.12..a1b2.c3d4.e5f6.9999/80',
      'testing',
      'service',
      'http',
    ],
    ['endpoint-GTK6MW7G-ns5/svc5/tcp/p80__10.180.0.3/80', 'ns5', 'svc5', 'p80'],
  ])('%s is verified by its hash', (chain, namespace, name, portName) => {
    expect(parseNftChainName(chain)).toEqual({
      prefix: chain.slice(0, chain.indexOf('-')),
      service: portName === undefined ? { namespace, name } : { namespace, name, portName },
      verified: true,
    });
  });

  test.each([
    ['another hash', 'service-ULMVA6XX-ns1/svc1/tcp/p80', false],
    ['the hash of another port', 'service-ULMVA6XW-ns1/svc1/tcp/p81', false],
    ['a name that was cut', `endpoint-ULMVA6XW-ns1/svc1/tcp/p80__${'a'.repeat(150)}...`, false],
  ])('%s is read, but not verified', (_, chain, verified) => {
    expect(parseNftChainName(chain)).toMatchObject({ service: { name: 'svc1' }, verified });
  });

  test.each([
    'services',
    'reject-chain',
    'nat-prerouting',
    'service-',
    'service-ULMVA6XW-',
    'service-ULMVA6XW-ns1/svc1/icmp/p80',
    'service-ULMVA6XW-ns1/svc1/tcp',
    'service-ulmva6xw-ns1/svc1/tcp/p80',
    'affinity-ULMVA6XW-ns1/svc1/tcp/p80',
    'service-ULMVA6XW-n s/svc1/tcp/p80',
    '',
  ])("'%s' is no chain of a Service", (chain) => {
    expect(parseNftChainName(chain)).toBeUndefined();
  });
});

type Part = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** A listing of IPv4 tables made by hand; each item as nft's JSON, without family and table. */
function listing(...parts: Part[]): string {
  const own = { family: 'ip', table: 'kube-proxy' };
  const whole = parts.map((part) =>
    Object.fromEntries(Object.entries(part).map(([kind, value]) => [kind, { ...own, ...value }])),
  );
  const head = [
    { metainfo: { version: '1.1.3' } },
    { table: { family: 'ip', name: 'kube-proxy' } },
  ];
  return JSON.stringify({ nftables: [...head, ...whole] });
}

const WEB = 'service-KHN6ECMT-shop/web/tcp/http';
const SERVICE_IPS = {
  map: {
    name: 'service-ips',
    type: ['ipv4_addr', 'inet_proto', 'inet_service'],
    map: 'verdict',
    elem: [[{ concat: ['10.96.0.9', 'tcp', 80] }, { goto: { target: WEB } }]],
  },
};
const numgen = { numgen: { mode: 'random', mod: 2, offset: 0 } };
const rule = (chain: string, ...expr: readonly unknown[]) => ({ rule: { chain, expr } });
const toTwo = (set: unknown) =>
  rule(WEB, { dnat: { family: 'ip', addr: { map: { key: numgen, data: { set } } } } });
const pair = (index: number, ip: string) => [index, { concat: [ip, 8080] }];

function servicesOf(...parts: Part[]): string[] {
  return told(nftServices(rulesOf(listing(...parts))));
}

describe('shapes', () => {
  const head = '6 10.96.0.9 80 clusterIP shop/web:http dnat';
  const way = (ip: string, share: string, port = 8080): string =>
    `  ${ip} ${port} <- map service-ips > ${WEB} (${share})`;

  test('an inline map shares out', () => {
    expect(servicesOf(SERVICE_IPS, toTwo([pair(0, '10.1.0.1'), pair(1, '10.1.0.2')]))).toEqual([
      head,
      way('10.1.0.1', '0.5'),
      way('10.1.0.2', '0.5'),
    ]);
  });

  test('a set of one may come without a list', () => {
    expect(servicesOf(SERVICE_IPS, toTwo(pair(0, '10.1.0.1')))).toEqual([
      head,
      way('10.1.0.1', '0.5'),
    ]);
  });

  test('what a numgen leaves goes on to the next rule', () => {
    expect(
      servicesOf(
        SERVICE_IPS,
        rule(WEB, {
          vmap: { key: numgen, data: { set: [[0, { goto: { target: 'one' } }]] } },
        }),
        rule(WEB, { dnat: { addr: '10.1.0.2' } }),
        rule('one', { dnat: { addr: '10.1.0.1', port: 8080 } }),
      ),
    ).toEqual([
      head,
      `  10.1.0.1 8080 <- map service-ips > ${WEB} > one (0.5)`,
      way('10.1.0.2', '1', 80),
    ]);
  });

  test('what stands behind a goto is not reached, behind a jump it is', () => {
    const behind = (kind: string): string[] =>
      servicesOf(
        SERVICE_IPS,
        rule(WEB, { [kind]: { target: 'other' } }),
        rule(WEB, { dnat: { addr: '10.1.0.2', port: 1 } }),
        rule('other', { counter: { packets: 0, bytes: 0 } }),
      );
    expect(behind('goto')).toEqual([head]);
    expect(behind('jump')).toEqual([head, way('10.1.0.2', '1', 1)]);
  });

  test.each([['drop'], ['accept'], ['return'], ['reject']])('nothing follows a %s', (verdict) => {
    const after = rule(WEB, { dnat: { addr: '10.1.0.2', port: 1 } });
    expect(servicesOf(SERVICE_IPS, rule(WEB, { [verdict]: null }), after)).toEqual([head]);
    const some = { match: { op: '==', left: { payload: {} }, right: '10.0.0.1' } };
    expect(servicesOf(SERVICE_IPS, rule(WEB, some, { [verdict]: null }), after)).toEqual([
      head,
      way('10.1.0.2', '1', 1),
    ]);
  });

  test('chains that lead into each other end', () => {
    expect(
      servicesOf(
        SERVICE_IPS,
        rule(WEB, { jump: { target: 'a' } }),
        rule('a', { jump: { target: 'b' } }),
        rule('b', { jump: { target: 'a' } }),
      ),
    ).toEqual([head]);
  });

  test('rules made to be followed for ever are followed for a bounded time', () => {
    const wide = Array.from({ length: 40 }, (_, depth) =>
      Array.from({ length: 8 }, () => rule(`c${depth}`, { jump: { target: `c${depth + 1}` } })),
    ).flat();
    const problems: Problem[] = [];
    const rules = rulesOf(listing(SERVICE_IPS, rule(WEB, { jump: { target: 'c0' } }), ...wide));
    expect(nftServices(rules, problems).length).toBe(1);
    expect(problems).toMatchObject([{ code: 'rules-too-many-paths', fatal: false }]);
  });

  test('an empty chain is an address without a way', () => {
    expect(servicesOf(SERVICE_IPS, { chain: { name: WEB } })).toEqual([head]);
  });

  test('numbers stand for protocols without a name; elements may be wrapped', () => {
    const elem = [
      [
        { elem: { val: { concat: ['10.96.0.9', 132, 80] }, comment: 'x', counter: {} } },
        { goto: { target: WEB } },
      ],
    ];
    expect(servicesOf({ map: { ...SERVICE_IPS.map, elem } })).toEqual([
      '132 10.96.0.9 80 clusterIP shop/web:http dnat',
    ]);
  });

  test('elements of another form are told, with their number', () => {
    const elem = [
      ...SERVICE_IPS.map.elem,
      [{ concat: [{ prefix: { addr: '10.0.0.0', len: 8 } }, 'tcp', 80] }, { drop: null }],
      [{ concat: ['10.96.0.9', 'icmp', 80] }, { drop: null }],
      [{ concat: ['10.96.0.9', 'tcp', 65_536] }, { drop: null }],
      ['10.96.0.9', { drop: null }],
    ];
    const problems: Problem[] = [];
    const rules = rulesOf(listing({ map: { ...SERVICE_IPS.map, elem } }));
    expect(told(nftServices(rules, problems))).toEqual([head]);
    expect(problems).toMatchObject([{ code: 'nft-unknown-element', lost: 4 }]);
  });

  test('an address without endpoints is refused as the map says', () => {
    const map = (name: string, elem: unknown) => ({ map: { name, map: 'verdict', elem } });
    const wrapped = (concat: unknown, comment: string) => ({ elem: { val: { concat }, comment } });
    expect(
      servicesOf(
        { set: { name: 'cluster-ips', elem: ['10.96.0.9'] } },
        { set: { name: 'nodeport-ips', elem: ['192.0.2.1', '192.0.2.2'] } },
        map('no-endpoint-services', [
          [
            wrapped(['10.96.0.9', 'tcp', 80], 'shop/web:http'),
            { goto: { target: 'reject-chain' } },
          ],
          [wrapped(['192.0.2.9', 'udp', 53], 'shop/dns'), { drop: null }],
        ]),
        map('no-endpoint-nodeports', [
          [wrapped(['tcp', 30_000], 'shop/web:http'), { goto: { target: 'reject-chain' } }],
        ]),
        rule('reject-chain', { reject: { type: 'icmp', expr: 'port-unreachable' } }),
      ),
    ).toEqual([
      '6 10.96.0.9 80 clusterIP shop/web:http reject',
      '17 192.0.2.9 53 externalIP shop/dns: drop',
      '6 192.0.2.1 30000 nodePort shop/web:http reject',
      '6 192.0.2.2 30000 nodePort shop/web:http reject',
    ]);
  });

  test('without the set nodeport-ips a NodePort is taken at every address of the node', () => {
    const elem = [[{ concat: ['tcp', 30_000] }, { goto: { target: WEB } }]];
    expect(servicesOf({ map: { name: 'service-nodeports', map: 'verdict', elem } })).toEqual([
      '6 local 30000 nodePort shop/web:http dnat',
    ]);
  });

  test('a name that its hash does not confirm is marked', () => {
    const elem = [
      [
        { concat: ['10.96.0.9', 'tcp', 80] },
        { goto: { target: 'service-AAAAAAAA-shop/web/tcp/http' } },
      ],
    ];
    expect(servicesOf({ map: { ...SERVICE_IPS.map, elem } })).toEqual([
      '6 10.96.0.9 80 clusterIP shop/web:http? dnat',
    ]);
  });

  test('a rule set without maps has no Services', () => {
    expect(servicesOf()).toEqual([]);
  });

  test('no rule set makes it fail', () => {
    const json = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom('10.0.0.1', 'tcp', '@service-ips', WEB, 80, -1, null, 1e300, 'x'),
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(
          fc.constantFrom(
            ...['concat', 'goto', 'jump', 'target', 'vmap', 'dnat', 'addr', 'map', 'key', 'data'],
            ...['set', 'numgen', 'mod', 'port', 'match', 'left', 'right', 'elem', 'val', 'drop'],
          ),
          tie('value'),
          { maxKeys: 3 },
        ),
      ),
    })).value;
    const chain = fc.constantFrom(WEB, 'services', 'x');
    const part = fc.oneof(
      fc.record({ rule: fc.record({ chain, expr: fc.array(json, { maxLength: 3 }) }) }),
      fc.record({
        map: fc.record({
          name: fc.constantFrom('service-ips', 'service-nodeports', 'no-endpoint-services'),
          map: fc.constant('verdict'),
          elem: fc.array(fc.tuple(json, json), { maxLength: 3 }),
        }),
      }),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), (parts) => {
        const text = listing(SERVICE_IPS, ...parts);
        for (const rules of readNftJson(Buffer.from(text)).rules) {
          for (const entry of nftServices(rules)) {
            expect(entry.port).toBeGreaterThan(0);
            expect(entry.port).toBeLessThan(65_536);
            for (const { port, rule: by } of entry.routes) {
              expect(port).toBeGreaterThan(0);
              if (by.probability !== undefined) expect(by.probability).toBeLessThanOrEqual(1);
            }
          }
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe('fingerprint', () => {
  const base = listing(SERVICE_IPS, toTwo([pair(0, '10.1.0.1'), pair(1, '10.1.0.2')]));
  const of = (text: string): string => rulesFingerprint(rulesOf(text));
  const affinity = (expires: number): string =>
    listing(SERVICE_IPS, {
      set: { name: 'affinity-x', timeout: 10, elem: [{ elem: { val: '10.0.0.1', expires } }] },
    });

  test.each([
    ['an endpoint', base.replace('10.1.0.2', '10.1.0.3')],
    ['an address', base.replace('10.96.0.9', '10.96.0.8')],
    ['a verdict', base.replace('"goto"', '"jump"')],
    ['a share', base.replace('"mod":2', '"mod":3')],
    ['a chain', base.replaceAll(WEB, `${WEB}s`)],
    ['a rule', listing(SERVICE_IPS)],
  ])('%s changes it', (_, other) => {
    expect(of(other)).not.toBe(of(base));
  });

  test('counters, handles, the order of a set and the clients of an affinity set do not', () => {
    const counted = (packets: number, handle: number): string =>
      listing({
        rule: { chain: 'c', handle, expr: [{ counter: { packets, bytes: 1 } }, { drop: null }] },
      });
    expect(of(counted(1, 7))).toBe(of(counted(2, 8)));
    const ips = (...elem: string[]): string => listing({ set: { name: 'cluster-ips', elem } });
    expect(of(ips('10.0.0.1', '10.0.0.2'))).toBe(of(ips('10.0.0.2', '10.0.0.1')));
    expect(of(affinity(5))).toBe(of(affinity(9)));
  });
});
