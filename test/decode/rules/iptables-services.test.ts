import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { endpointChainHash, serviceChainHash } from '../../../src/decode/rules/chain-names.js';
import { rulesFingerprint } from '../../../src/decode/rules/fingerprint.js';
import { iptablesServices } from '../../../src/decode/rules/iptables-services.js';
import { protocolName } from '../../../src/model/packet.js';
import type { Problem } from '../../../src/model/problem.js';
import type { IptablesRules } from '../../../src/model/ruleset.js';
import { type Cluster, expected, found } from './cluster.js';
import { dumpOf, first, onlyDump, read, recorded, services, told } from './dumps.js';

const CLUSTERS = [
  '1.25-iptables-nft',
  '1.30-iptables-nft',
  '1.30-iptables-legacy',
  '1.36-iptables-nft',
];

describe('recorded clusters', () => {
  const cases = CLUSTERS.flatMap((name) => [
    { name, family: 4 as const, file: `${name}.iptables-save.txt.gz` },
    { name, family: 6 as const, file: `${name}.ip6tables-save.txt.gz` },
  ]);

  test.each(cases)(
    '$file reaches what the Services and EndpointSlices say',
    ({ name, family, file }) => {
      const cluster = JSON.parse(recorded(`${name}.cluster.json.gz`).toString()) as Cluster;
      // Up to 1.26 hints count only with an annotation, which these Services do not have.
      const want = expected(cluster, family, !name.startsWith('1.25'));
      expect(want.size).toBeGreaterThan(family === 4 ? 40 : 3);
      expect(found(first(iptablesServices(onlyDump(recorded(file)))))).toEqual(want);
    },
  );

  test.each(cases)('$file: the routes of each entry share out one connection', ({ file }) => {
    for (const entry of iptablesServices(onlyDump(recorded(file)))) {
      const balancers = new Map<string, number>();
      for (const { rule } of entry.routes) {
        const before = rule.path.slice(0, -1).join(' ');
        expect(rule.affinity).toBe(rule.probability === undefined);
        balancers.set(before, (balancers.get(before) ?? 0) + (rule.probability ?? 0));
      }
      for (const sum of balancers.values()) {
        if (!entry.routes[0]?.rule.affinity) expect(sum).toBeCloseTo(1, 9);
      }
    }
  });

  test.each(cases)('$file: affinity is where the Service asks for it', ({ name, file }) => {
    const cluster = JSON.parse(recorded(`${name}.cluster.json.gz`).toString()) as Cluster;
    for (const entry of iptablesServices(onlyDump(recorded(file)))) {
      const service = cluster.services.find(
        (s) => s.ns === entry.service?.namespace && s.name === entry.service.name,
      );
      for (const { rule } of entry.routes) expect(rule.affinity).toBe(service?.affinity);
    }
  });

  test('every KUBE-SEP on a path is the hash of its Service and endpoint', () => {
    for (const entry of iptablesServices(
      onlyDump(recorded('1.36-iptables-nft.iptables-save.txt.gz')),
    )) {
      const { service } = entry;
      const name = `${service?.namespace}/${service?.name}${service?.portName ? `:${service.portName}` : ''}`;
      for (const { ip, port, rule } of entry.routes) {
        const hash = endpointChainHash(name, protocolName(entry.protocol), `${ip}:${port}`);
        expect(rule.path.at(-1)).toBe(`KUBE-SEP-${hash}`);
      }
    }
  });

  test('the path is that of the walk, from KUBE-SERVICES to the DNAT', () => {
    const all = told(
      iptablesServices(onlyDump(recorded('1.36-iptables-nft.iptables-save.txt.gz'))),
    );
    const part = (head: string): string[] => {
      const at = all.findIndex((line) => line.startsWith(head));
      const end = all.findIndex((line, i) => i > at && !line.startsWith('  '));
      return all.slice(at, end < 0 ? undefined : end);
    };
    expect(part('6 10.96.81.51 80 ')).toEqual([
      '6 10.96.81.51 80 clusterIP default/nginx: dnat',
      '  10.244.1.4 80 <- KUBE-SERVICES > KUBE-SVC-2CMXP7HKUVJN7L6M > KUBE-SEP-P33L4LSPB7KVLSK6 (0.25)',
      '  10.244.1.5 80 <- KUBE-SERVICES > KUBE-SVC-2CMXP7HKUVJN7L6M > KUBE-SEP-IZW656N5ZXYN5BEC (0.25000000012)',
      '  10.244.2.3 80 <- KUBE-SERVICES > KUBE-SVC-2CMXP7HKUVJN7L6M > KUBE-SEP-OI7NWIH7RAT2AOGF (0.24999999994)',
      expect.stringMatching(
        /^ {2}10\.244\.2\.4 80 <- KUBE-SERVICES > KUBE-SVC-2CMXP7HKUVJN7L6M > .* \(0\.24999999994\)$/,
      ),
    ]);
    expect(part('6 local 30081 ')).toEqual([
      '6 local 30081 nodePort default/np-local: dnat',
      ...['10.244.1.4', '10.244.1.5', '10.244.2.3', '10.244.2.4'].map((ip) =>
        expect.stringContaining(
          `${ip} 8080 <- KUBE-SERVICES > KUBE-NODEPORTS > KUBE-EXT-QGYUT55GIPJCVDI3 > KUBE-SVC-QGYUT55GIPJCVDI3 > `,
        ),
      ),
      ...['10.244.1.4', '10.244.1.5'].map((ip) =>
        expect.stringContaining(
          `${ip} 8080 <- KUBE-SERVICES > KUBE-NODEPORTS > KUBE-EXT-QGYUT55GIPJCVDI3 > KUBE-SVL-QGYUT55GIPJCVDI3 > `,
        ),
      ),
    ]);
    expect(part('6 192.168.77.200 80 ')[1]).toContain(
      'KUBE-SERVICES > KUBE-FW-32JSL5SCJBKBRVFW > KUBE-EXT-32JSL5SCJBKBRVFW > KUBE-SVC-32JSL5SCJBKBRVFW > ',
    );
  });

  test('the back end stands in each path, and the balancing chain in each entry', () => {
    const backends = ['1.30-iptables-nft', '1.30-iptables-legacy'].map((name) => {
      const entries = iptablesServices(onlyDump(recorded(`${name}.iptables-save.txt.gz`)));
      expect(entries.find((entry) => entry.service?.name === 'itp-local')?.chain).toMatch(
        /^KUBE-SVL-/,
      );
      return new Set(entries.flatMap(({ routes }) => routes.map(({ rule }) => rule.backend)));
    });
    expect(backends).toEqual([new Set(['nft']), new Set(['legacy'])]);
  });

  test('host ports of the portmap plug-in belong to no Service', () => {
    const host = (file: string): string[] =>
      told(iptablesServices(onlyDump(recorded(file))).filter((entry) => entry.via === 'hostPort'));
    expect(host('1.36-hostport.iptables-save.txt.gz')).toEqual([
      '6 local 8000 hostPort - dnat',
      '  10.244.1.16 8080 <- CNI-HOSTPORT-DNAT > CNI-DN-2936730de17c800d765ca (1)',
      '17 local 5300 hostPort - dnat',
      '  10.244.1.16 53 <- CNI-HOSTPORT-DNAT > CNI-DN-2936730de17c800d765ca (1)',
    ]);
    expect(host('1.36-hostport.ip6tables-save.txt.gz')).toEqual([
      '6 local 8000 hostPort - dnat',
      '  fd00:10:244:1::10 8080 <- CNI-HOSTPORT-DNAT > CNI-DN-2936730de17c800d765ca (1)',
      '17 local 5300 hostPort - dnat',
      '  fd00:10:244:1::10 53 <- CNI-HOSTPORT-DNAT > CNI-DN-2936730de17c800d765ca (1)',
    ]);
    expect(host('1.36-hostport.after-del.iptables-save.txt.gz')).toEqual([]);
  });

  test.each(['1.30-nft-seed', '1.30-legacy-seed', '1.30-nft-ptp-seed'])(
    '%s: each endpoint chain counted the requests that its Pod answered',
    (name) => {
      const before = onlyDump(recorded(`${name}.before.txt.gz`));
      const after = onlyDump(recorded(`${name}.after.txt.gz`));
      const dnat = (rules: IptablesRules, chain: string): number =>
        rules.tables
          .get('nat')
          ?.chains.get(chain)
          ?.rules.find((rule) => rule.target?.name === 'DNAT')?.packets ?? Number.NaN;
      const counted: Record<string, number> = {};
      for (const { service, routes, via } of iptablesServices(after)) {
        if (via !== 'clusterIP') continue;
        for (const { ip, port, rule } of routes) {
          const chain = rule.path.at(-1) ?? '';
          const key = `${service?.namespace}/${service?.name}:${service?.portName ?? ''} ${ip}:${port}`;
          const moved = dnat(after, chain) - dnat(before, chain);
          if (moved !== 0) counted[key] = moved;
        }
      }
      expect(counted).toEqual(JSON.parse(recorded(`${name}.truth.json`).toString()));
    },
  );
});

const JUMPS = ['-A PREROUTING -j KUBE-SERVICES', '-A OUTPUT -j KUBE-SERVICES'];
const h = serviceChainHash('a/b:c', 'tcp');
const old = serviceChainHash('a/b:', 'tcp');
const now = serviceChainHash('a/b', 'tcp');
const balanced = (chain: string, count: number): string[] =>
  Array.from({ length: count }, (_, i) => {
    const left = count - i;
    const dice =
      left > 1 ? `-m statistic --mode random --probability ${(1 / left).toFixed(11)} ` : '';
    return [
      `-A ${chain} ${dice}-j KUBE-SEP-${i}`,
      `-A KUBE-SEP-${i} -s 10.0.0.${i}/32 -j KUBE-MARK-MASQ`,
      `-A KUBE-SEP-${i} -p tcp -m tcp -j DNAT --to-destination 10.0.0.${i}:8080`,
    ];
  })
    .flat()
    .concat('-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000');
const vip = (name: string, chain: string): string =>
  `-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "${name} cluster IP" -m tcp --dport 80 -j ${chain}`;

describe('names', () => {
  test.each([
    ['a named port', vip('a/b:c', `KUBE-SVC-${h}`), 'a/b:c'],
    ['the unnamed port up to 1.19', vip('a/b:', `KUBE-SVC-${old}`), 'a/b:'],
    ['the unnamed port since 1.20', vip('a/b', `KUBE-SVC-${now}`), 'a/b:'],
    ['a comment that the hash denies', vip('x/y', `KUBE-SVC-${now}`), 'x/y:?'],
    ['a chain that is no hash', vip('a/b', 'KUBE-SVC-HAND-MADE'), 'a/b:?'],
    [
      'no comment at all',
      vip('', `KUBE-SVC-${h}`).replace(/-m comment --comment "[^"]*" /, ''),
      '-',
    ],
    ['a comment that is no name', vip('hello world', `KUBE-SVC-${h}`), '-'],
  ])('%s', (_, rule, name) => {
    const chain = rule.split(' ').at(-1) ?? '';
    expect(services([...JUMPS, rule, ...balanced(chain, 1)])).toEqual([
      `6 10.96.0.9 80 clusterIP ${name} dnat`,
      `  10.0.0.0 8080 <- KUBE-SERVICES > ${chain} > KUBE-SEP-0 (1)`,
    ]);
  });

  test('a comment inside the chain names the Service where the rule to it does not', () => {
    const chain = `KUBE-SVC-${h}`;
    const sep = [
      `-A ${chain} -m comment --comment "a/b:c -> 10.0.0.1:8080" -j KUBE-SEP-X`,
      '-A KUBE-SEP-X -p tcp -m tcp -j DNAT --to-destination 10.0.0.1:8080',
    ];
    const bare = vip('', chain).replace(/-m comment --comment "[^"]*" /, '');
    expect(services([...JUMPS, bare, ...sep])[0]).toBe('6 10.96.0.9 80 clusterIP a/b:c dnat');
  });
});

test.each([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])(
  'with %i endpoints each has the probability that the kernel gives it',
  (count) => {
    const chain = `KUBE-SVC-${h}`;
    const [entry] = iptablesServices(
      dumpOf([...JUMPS, vip('a/b:c', chain), ...balanced(chain, count)]),
    );
    // Exactly, in units of 2^-31 to the power of the number of rules before.
    let left = 1n;
    let sum = 0n;
    const one = 1n << 31n;
    entry?.routes.forEach(({ rule }, i) => {
      const dice = count - i;
      const stored = dice > 1 ? BigInt(Math.round(Number((1 / dice).toFixed(11)) * 2 ** 31)) : one;
      const numerator = left * stored;
      const denominator = one ** BigInt(i + 1);
      expect(rule.probability).toBeCloseTo(
        Number((numerator * 10n ** 15n) / denominator) / 1e15,
        10,
      );
      sum += numerator * one ** BigInt(count - i - 1);
      left *= one - stored;
    });
    expect(entry?.routes.length).toBe(count);
    expect(sum).toBe(one ** BigInt(count));
  },
);

describe('shapes of older kube-proxies', () => {
  const sep = (n: number): string[] => [
    `-A KUBE-SEP-${n} -s 10.0.0.${n}/32 -j KUBE-MARK-MASQ`,
    `-A KUBE-SEP-${n} -p tcp -m tcp -j DNAT --to-destination 10.0.0.${n}:8080`,
  ];
  const MASQ = '-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000';
  const DROP = '-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000';
  const NODEPORTS =
    '-A KUBE-SERVICES -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS';

  test('1.16: masquerade before the jump, five digits, no comments on the endpoints', () => {
    const to = '-d 10.96.0.9/32 -p tcp -m comment --comment "a/b: cluster IP" -m tcp --dport 80';
    expect(
      services([
        ...JUMPS,
        `-A KUBE-SERVICES ! -s 10.244.0.0/16 ${to} -j KUBE-MARK-MASQ`,
        `-A KUBE-SERVICES ${to} -j KUBE-SVC-${old}`,
        NODEPORTS,
        '-A KUBE-NODEPORTS -p tcp -m comment --comment "a/b:" -m tcp --dport 30080 -j KUBE-MARK-MASQ',
        `-A KUBE-NODEPORTS -p tcp -m comment --comment "a/b:" -m tcp --dport 30080 -j KUBE-SVC-${old}`,
        `-A KUBE-SVC-${old} -m statistic --mode random --probability 0.33332999982 -j KUBE-SEP-1`,
        `-A KUBE-SVC-${old} -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-2`,
        `-A KUBE-SVC-${old} -j KUBE-SEP-3`,
        ...sep(1),
        ...sep(2),
        ...sep(3),
        MASQ,
      ]),
    ).toEqual([
      '6 10.96.0.9 80 clusterIP a/b: dnat',
      `  10.0.0.1 8080 <- KUBE-SERVICES > KUBE-SVC-${old} > KUBE-SEP-1 (0.33332999982)`,
      `  10.0.0.2 8080 <- KUBE-SERVICES > KUBE-SVC-${old} > KUBE-SEP-2 (0.33333500009)`,
      `  10.0.0.3 8080 <- KUBE-SERVICES > KUBE-SVC-${old} > KUBE-SEP-3 (0.33333500009)`,
      '6 local 30080 nodePort a/b: dnat',
      `  10.0.0.1 8080 <- KUBE-SERVICES > KUBE-NODEPORTS > KUBE-SVC-${old} > KUBE-SEP-1 (0.33332999982)`,
      `  10.0.0.2 8080 <- KUBE-SERVICES > KUBE-NODEPORTS > KUBE-SVC-${old} > KUBE-SEP-2 (0.33333500009)`,
      `  10.0.0.3 8080 <- KUBE-SERVICES > KUBE-NODEPORTS > KUBE-SVC-${old} > KUBE-SEP-3 (0.33333500009)`,
    ]);
  });

  test('1.19: an external IP is two rules to one chain, and gives one route', () => {
    const to = '-d 192.0.2.7/32 -p tcp -m comment --comment "a/b: external IP" -m tcp --dport 80';
    expect(
      services([
        ...JUMPS,
        `-A KUBE-SERVICES ${to} -j KUBE-MARK-MASQ`,
        `-A KUBE-SERVICES ${to} -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j KUBE-SVC-${old}`,
        `-A KUBE-SERVICES ${to} -m addrtype --dst-type LOCAL -j KUBE-SVC-${old}`,
        `-A KUBE-SVC-${old} -j KUBE-SEP-1`,
        ...sep(1),
        MASQ,
      ]),
    ).toEqual([
      '6 192.0.2.7 80 externalIP a/b: dnat',
      `  10.0.0.1 8080 <- KUBE-SERVICES > KUBE-SVC-${old} > KUBE-SEP-1 (1)`,
    ]);
  });

  test('1.23: KUBE-XLB, KUBE-FW and KUBE-MARK-DROP', () => {
    const nat = [
      ...JUMPS,
      vip('a/b', `KUBE-SVC-${now}`),
      `-A KUBE-SERVICES -d 192.0.2.8/32 -p tcp -m comment --comment "a/b loadbalancer IP" -m tcp --dport 80 -j KUBE-FW-${now}`,
      NODEPORTS,
      '-A KUBE-NODEPORTS -s 127.0.0.0/8 -p tcp -m comment --comment a/b -m tcp --dport 30080 -j KUBE-MARK-MASQ',
      `-A KUBE-NODEPORTS -p tcp -m comment --comment "a/b" -m tcp --dport 30080 -j KUBE-XLB-${now}`,
      `-A KUBE-FW-${now} -s 198.51.100.0/24 -m comment --comment "a/b loadbalancer IP" -j KUBE-XLB-${now}`,
      `-A KUBE-FW-${now} -m comment --comment "a/b loadbalancer IP" -j KUBE-MARK-DROP`,
      `-A KUBE-XLB-${now} -s 10.244.0.0/16 -m comment --comment "Redirect pods trying to reach external loadbalancer VIP to clusterIP" -j KUBE-SVC-${now}`,
      `-A KUBE-XLB-${now} -m comment --comment "masquerade LOCAL traffic for a/b LB IP" -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`,
      `-A KUBE-XLB-${now} -m comment --comment "route LOCAL traffic for a/b LB IP to service chain" -m addrtype --src-type LOCAL -j KUBE-SVC-${now}`,
      `-A KUBE-SVC-${now} -d 10.96.0.9/32 ! -s 10.244.0.0/16 -p tcp -m comment --comment "a/b cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ`,
      `-A KUBE-SVC-${now} -p tcp -m comment --comment "a/b" -m tcp --dport 30080 -j KUBE-MARK-MASQ`,
      `-A KUBE-SVC-${now} -m comment --comment "a/b" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-1`,
      `-A KUBE-SVC-${now} -m comment --comment "a/b" -j KUBE-SEP-2`,
      ...sep(1),
      ...sep(2),
      MASQ,
      DROP,
    ];
    const way = (...path: string[]): string[] => [
      `  10.0.0.1 8080 <- KUBE-SERVICES > ${path.join(' > ')} > KUBE-SEP-1 (0.5)`,
      `  10.0.0.2 8080 <- KUBE-SERVICES > ${path.join(' > ')} > KUBE-SEP-2 (0.5)`,
    ];
    const [svc, xlb, fw] = [`KUBE-SVC-${now}`, `KUBE-XLB-${now}`, `KUBE-FW-${now}`];
    expect(
      services([...nat, `-A ${xlb} -m comment --comment "Balancing rule 0 for a/b" -j KUBE-SEP-2`]),
    ).toEqual([
      '6 10.96.0.9 80 clusterIP a/b: dnat',
      ...way(svc),
      '6 192.0.2.8 80 loadBalancerIP a/b: dnat',
      ...way(fw, xlb, svc),
      `  10.0.0.2 8080 <- KUBE-SERVICES > ${fw} > ${xlb} > KUBE-SEP-2 (1)`,
      '6 192.0.2.8 80 loadBalancerIP a/b: drop',
      '6 local 30080 nodePort a/b: dnat',
      ...way('KUBE-NODEPORTS', xlb, svc),
      `  10.0.0.2 8080 <- KUBE-SERVICES > KUBE-NODEPORTS > ${xlb} > KUBE-SEP-2 (1)`,
    ]);
    expect(
      services([
        ...nat,
        `-A ${xlb} -m comment --comment "a/b has no local endpoints" -j KUBE-MARK-DROP`,
      ]),
    ).toEqual([
      '6 10.96.0.9 80 clusterIP a/b: dnat',
      ...way(svc),
      '6 192.0.2.8 80 loadBalancerIP a/b: dnat',
      ...way(fw, xlb, svc),
      '6 192.0.2.8 80 loadBalancerIP a/b: drop',
      '6 local 30080 nodePort a/b: dnat',
      ...way('KUBE-NODEPORTS', xlb, svc),
      '6 local 30080 nodePort a/b: drop',
    ]);
  });

  test('large clusters: no comments on the endpoints', () => {
    const chain = `KUBE-SVC-${h}`;
    expect(services([...JUMPS, vip('a/b:c', chain), ...balanced(chain, 2)])[0]).toBe(
      '6 10.96.0.9 80 clusterIP a/b:c dnat',
    );
  });

  test('node ports on chosen addresses of the node', () => {
    expect(
      services([
        ...JUMPS,
        '-A KUBE-SERVICES -d 192.0.2.1/32 -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -j KUBE-NODEPORTS',
        '-A KUBE-SERVICES -d 192.0.2.2/32 -m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -j KUBE-NODEPORTS',
        `-A KUBE-NODEPORTS -p udp -m comment --comment "a/b" -m udp --dport 30080 -j KUBE-EXT-${serviceChainHash('a/b', 'udp')}`,
        `-A KUBE-EXT-${serviceChainHash('a/b', 'udp')} -j KUBE-SEP-9`,
        '-A KUBE-SEP-9 -p udp -m udp -j DNAT --to-destination 10.0.0.9:53',
      ]).filter((line) => !line.startsWith(' ')),
    ).toEqual(['17 192.0.2.1 30080 nodePort a/b: dnat', '17 192.0.2.2 30080 nodePort a/b: dnat']);
  });
});

describe('the walk', () => {
  const chain = `KUBE-SVC-${h}`;
  const head = '6 10.96.0.9 80 clusterIP a/b:c dnat';

  test('chains that nothing leads to are not reported', () => {
    expect(services([vip('a/b:c', chain), ...balanced(chain, 2)])).toEqual([]);
    expect(services([...JUMPS, ...balanced(chain, 2)])).toEqual([]);
    expect(
      services(['-A POSTROUTING -j KUBE-SERVICES', vip('a/b:c', chain), ...balanced(chain, 1)]),
    ).toEqual([]);
  });

  test.each([
    ['only from OUTPUT', ['-A OUTPUT -j KUBE-SERVICES'], 2],
    ['after a condition', ['-A PREROUTING -i eth0 -j KUBE-SERVICES'], 2],
    ['with goto', ['-A PREROUTING -g KUBE-SERVICES'], 2],
    ['behind an ACCEPT for all', ['-A PREROUTING -j ACCEPT', JUMPS[0] ?? ''], 0],
    [
      'behind a chain that accepts all',
      ['-A PREROUTING -j STOP', '-A STOP -j ACCEPT', JUMPS[0] ?? ''],
      0,
    ],
    ['behind an ACCEPT for some', ['-A PREROUTING -s 10.0.0.0/8 -j ACCEPT', JUMPS[0] ?? ''], 2],
    ['behind a RETURN', ['-A PREROUTING -j RETURN', JUMPS[0] ?? ''], 0],
    [
      'behind a goto that comes back to the end',
      ['-A PREROUTING -g OTHER', JUMPS[0] ?? '', '-A OTHER -j LOG'],
      2,
    ],
    [
      'behind an ACCEPT for this address',
      ['-A PREROUTING -d 10.96.0.9/32 -p tcp -m tcp --dport 80 -j ACCEPT', JUMPS[0] ?? ''],
      0,
    ],
    [
      'behind an ACCEPT for another',
      ['-A PREROUTING -d 10.96.0.8/32 -p tcp -m tcp --dport 80 -j ACCEPT', JUMPS[0] ?? ''],
      2,
    ],
  ])('KUBE-SERVICES reached %s', (_, jumps, count) => {
    const all = services([...jumps, vip('a/b:c', chain), ...balanced(chain, 1)]);
    expect(all.length).toBe(count);
    if (count > 0) expect(all[0]).toBe(head);
  });

  test('the first of two rules for one address takes every connection', () => {
    const second = serviceChainHash('x/y', 'tcp');
    const rules = [vip('a/b:c', chain), vip('x/y', `KUBE-SVC-${second}`), ...balanced(chain, 1)];
    const other = [
      `-A KUBE-SVC-${second} -j KUBE-SEP-7`,
      '-A KUBE-SEP-7 -p tcp -j DNAT --to-destination 10.0.0.7:1',
    ];
    expect(services([...JUMPS, ...rules, ...other])).toEqual([
      head,
      `  10.0.0.0 8080 <- KUBE-SERVICES > ${chain} > KUBE-SEP-0 (1)`,
    ]);
  });

  test('hooks that differ are both walked, and say nothing twice', () => {
    const rules = [vip('a/b:c', chain), ...balanced(chain, 2)];
    const once = services([...JUMPS, ...rules]);
    expect(once.length).toBe(3);
    expect(
      services(['-A PREROUTING -j KUBE-SERVICES', '-A OUTPUT -o lo -j KUBE-SERVICES', ...rules]),
    ).toEqual(once);
  });

  test('a DNAT in the Service chain itself needs no endpoint chain', () => {
    expect(
      services([
        ...JUMPS,
        vip('a/b:c', chain),
        `-A ${chain} -p tcp -m statistic --mode random --probability 0.25 -j DNAT --to-destination 10.0.0.1:1`,
        `-A ${chain} -p tcp -j DNAT --to-destination 10.0.0.2`,
      ]),
    ).toEqual([
      head,
      `  10.0.0.1 1 <- KUBE-SERVICES > ${chain} (0.25)`,
      `  10.0.0.2 80 <- KUBE-SERVICES > ${chain} (0.75)`,
    ]);
  });

  test.each([
    ['--to-destination 10.0.0.1-10.0.0.9:80', []],
    ['--to-destination 10.0.0.1:80-90', []],
    ['--to-destination 10.0.0.1:99999', []],
    ['--to-destination [fd00::1]x80', []],
    ['--random', []],
    ['--to-destination [fd00:0::1]:80', [`  fd00::1 80 <- KUBE-SERVICES > ${chain} (1)`]],
    ['--to-destination fd00::1', [`  fd00::1 80 <- KUBE-SERVICES > ${chain} (1)`]],
    [
      '--to-destination 10.0.0.1:80 --persistent',
      [`  10.0.0.1 80 <- KUBE-SERVICES > ${chain} (1)`],
    ],
  ])('DNAT %s names no endpoint or one', (options, routes) => {
    const all = services([...JUMPS, vip('a/b:c', chain), `-A ${chain} -p tcp -j DNAT ${options}`]);
    expect(all.slice(1)).toEqual(routes);
  });

  test('nth has no known probability', () => {
    expect(
      services([
        ...JUMPS,
        vip('a/b:c', chain),
        `-A ${chain} -p tcp -m statistic --mode nth --every 2 --packet 0 -j DNAT --to-destination 10.0.0.1:1`,
        `-A ${chain} -p tcp -j DNAT --to-destination 10.0.0.2:1`,
      ]).slice(1),
    ).toEqual([
      `  10.0.0.1 1 <- KUBE-SERVICES > ${chain} (undefined)`,
      `  10.0.0.2 1 <- KUBE-SERVICES > ${chain} (undefined)`,
    ]);
  });

  test('ports that are not one number', () => {
    const ports = (match: string): string[] =>
      services([
        ...JUMPS,
        `-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp ${match} -j KUBE-SEP-1`,
        '-A KUBE-SEP-1 -p tcp -j DNAT --to-destination 10.0.0.1:1',
      ])
        .filter((line) => !line.startsWith(' '))
        .map((line) => line.split(' ')[2] ?? '');
    expect(ports('-m multiport --dports 80,443:445')).toEqual(['80', '443', '444', '445']);
    expect(ports('-m tcp --dport 30000:32767')).toEqual([]);
    expect(ports('-m tcp ! --dport 80')).toEqual([]);
    expect(ports('-m tcp --dport 90:80')).toEqual([]);
  });

  test('DNAT of other programs is no Service', () => {
    expect(
      services([
        '-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER',
        '-A DOCKER ! -i docker0 -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80',
      ]),
    ).toEqual([]);
  });

  test('other protocols and rules without a target lead nowhere', () => {
    expect(
      services([
        ...JUMPS,
        '-A KUBE-SERVICES -d 10.96.0.9/32 -p icmp -j KUBE-SEP-1',
        '-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m tcp --dport 80',
        '-A KUBE-SEP-1 -j DNAT --to-destination 10.0.0.1:1',
      ]),
    ).toEqual([]);
  });

  test('refusals stand behind the routes that they leave', () => {
    const filter = [
      '-A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES',
      '-A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES',
      '-A KUBE-SERVICES -d 10.96.0.7/32 -p tcp -m comment --comment "a/none has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable',
      '-A KUBE-SERVICES -d 10.96.0.9/32 -p tcp -m comment --comment "a/b:c has no local endpoints" -m tcp --dport 80 -j DROP',
      '-A KUBE-EXTERNAL-SERVICES -p sctp -m comment --comment "a/none has no endpoints" -m addrtype --dst-type LOCAL -m sctp --dport 30090 -j REJECT --reject-with icmp-port-unreachable',
      '-A KUBE-EXTERNAL-SERVICES -d 192.0.2.7/32 -p udp -m comment --comment "a/none has no endpoints" -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable',
      '-A KUBE-NODEPORTS -p tcp -m comment --comment "a/b health check node port" -m tcp --dport 31391 -j ACCEPT',
      '-A NOWHERE -d 10.96.0.6/32 -p tcp -m comment --comment "a/gone has no endpoints" -m tcp --dport 80 -j REJECT',
    ];
    expect(services([...JUMPS, vip('a/b:c', chain), ...balanced(chain, 1)], filter)).toEqual([
      head,
      `  10.0.0.0 8080 <- KUBE-SERVICES > ${chain} > KUBE-SEP-0 (1)`,
      '6 10.96.0.9 80 clusterIP a/b:c drop',
      '132 local 30090 nodePort a/none: reject',
      '17 192.0.2.7 53 externalIP a/none: reject',
      '6 10.96.0.7 80 clusterIP a/none: reject',
    ]);
  });

  test('ipvs and other data paths give nothing', () => {
    expect(
      services([
        ...JUMPS,
        '-A KUBE-SERVICES -m comment --comment "Kubernetes service cluster ip + port for masquerade purpose" -m set --match-set KUBE-CLUSTER-IP src,dst -j KUBE-MARK-MASQ',
        '-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT',
      ]),
    ).toEqual([]);
    expect(iptablesServices(onlyDump('*mangle\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n'))).toEqual([]);
  });

  test('loops and endless branching, which no kernel takes, come to an end', () => {
    const loop = ['-A KUBE-SERVICES -j KUBE-A', '-A KUBE-A -j KUBE-B', '-A KUBE-B -j KUBE-A'];
    expect(services([...JUMPS, ...loop, vip('a/b:c', chain), ...balanced(chain, 1)])[0]).toBe(head);
    const deep = Array.from({ length: 2_000 }, (_, i) => `-A C${i} -j C${i + 1}`);
    expect(
      services([
        '-A PREROUTING -j C0',
        ...deep,
        '-A C2000 -j KUBE-SERVICES',
        vip('a/b:c', chain),
        ...balanced(chain, 1),
      ]),
    ).toEqual([]);
    const wide = Array.from({ length: 25 }, (_, i) =>
      ['-s 10.0.0.0/8', '-i x', '-o y'].map(
        (condition) => `-A KUBE-W${i} ${condition} -j KUBE-W${i + 1}`,
      ),
    ).flat();
    const problems: Problem[] = [];
    const rules = dumpOf([
      '-A PREROUTING -j KUBE-W0',
      ...wide,
      '-A KUBE-W25 -d 10.96.0.9/32 -p tcp -m tcp --dport 1 -j DNAT --to-destination 10.0.0.1:1',
    ]);
    expect(iptablesServices(rules, problems).length).toBeLessThanOrEqual(1);
    expect(problems).toMatchObject([{ code: 'rules-too-many-paths' }]);
  });

  test('mutated rules give entries, never anything else', () => {
    const text = recorded('1.36-iptables-nft.ip6tables-save.txt.gz').toString();
    const lines = text.split('\n');
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(lines.length - 1), fc.nat(lines.length - 1), fc.nat(200)), {
          maxLength: 30,
        }),
        (changes) => {
          const mutated = lines.slice();
          // A part of one line in the place of a part of another: words stay words.
          for (const [at, from, cut] of changes) {
            const words = (mutated[at] ?? '').split(' ');
            const other = (mutated[from] ?? '').split(' ');
            mutated[at] = [
              ...words.slice(0, cut % (words.length + 1)),
              ...other.slice(-(cut % 7)),
            ].join(' ');
          }
          for (const dump of read(mutated.join('\n')).dumps) {
            for (const entry of iptablesServices(dump)) {
              expect([6, 17, 132]).toContain(entry.protocol);
              expect(entry.port).toBeLessThanOrEqual(65_535);
              for (const { rule } of entry.routes) {
                expect(rule.probability ?? 0).toBeGreaterThanOrEqual(0);
                expect(rule.probability ?? 0).toBeLessThanOrEqual(1);
              }
            }
          }
        },
      ),
      { numRuns: 150, seed: 22_112_026 },
    );
  });
});

test('the fingerprint is of the rules, not of the counters', () => {
  const before = recorded('1.30-nft-seed.before.txt.gz').toString();
  const after = recorded('1.30-nft-seed.after.txt.gz').toString();
  const print = rulesFingerprint(onlyDump(before));
  expect(rulesFingerprint(onlyDump(before.replace(/^\[\d+:\d+\]/gm, '[7:8]')))).toBe(print);
  const changed = [
    before.replace('10.244.1.4:80', '10.244.1.4:81'),
    before.replace(/^.*-j REJECT.*\n/m, ''),
    before.replace(':KUBE-PROXY-CANARY - [0:0]\n', ''),
    before.replace(':FORWARD ACCEPT', ':FORWARD DROP'),
  ].map((text) => rulesFingerprint(onlyDump(text)));
  expect(new Set([print, ...changed]).size).toBe(5);
  expect(after).not.toBe(before);
});
