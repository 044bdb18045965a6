import fc from 'fast-check';
import {
  BACKENDS,
  CLIENT,
  END_PORT,
  FROM_CLIENT,
  NODE,
  PORTS,
  SERVICES,
  TO_BACKENDS,
} from './nftables-wire.js';

/*
 * Rule sets as people and kube-proxy could write them, in nft's language. Every rule counts first how
 * often it is met, and, where it has conditions, a second time how often they hold.
 */

const HOSTS = [CLIENT, NODE, ...BACKENDS, ...SERVICES];
const NETWORKS = [
  '10.9.0.0/24',
  '10.9.1.0/24',
  '10.96.0.0/16',
  '10.9.1.12/31',
  '10.9.0.2-10.9.1.11',
];

const host = fc.constantFrom(...HOSTS);
const port = fc.constantFrom(...PORTS);
const hosts = fc.uniqueArray(host, { minLength: 1, maxLength: 5 });
const ports = fc.uniqueArray(port, { minLength: 1, maxLength: 3 });
const not = fc.constantFrom('', '!= ');
const braces = (items: readonly unknown[]): string => `{ ${items.join(', ')} }`;

const address: fc.Arbitrary<string> = fc.oneof(
  host,
  fc.constantFrom(...NETWORKS),
  hosts.map(braces),
  fc.constantFrom('@hosts', '@nets'),
);

const match: fc.Arbitrary<string> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom('saddr', 'daddr'), not, address)
      .map(([way, op, what]) => `ip ${way} ${op}${what}`),
  },
  fc
    .tuple(
      fc.constantFrom('th', 'udp'),
      not,
      fc.oneof(port.map(String), ports.map(braces), fc.constant('80-81')),
    )
    .map(([head, op, what]) => `${head} dport ${op}${what}`),
  fc.tuple(fc.constantFrom('<', '>', '<=', '>='), port).map(([op, p]) => `udp dport ${op} ${p}`),
  fc.constantFrom(
    'th sport < 20100',
    'udp sport 20000-20050',
    'tcp dport 80',
    'meta l4proto udp',
    'meta l4proto != tcp',
    'meta l4proto { tcp, udp }',
  ),
  fc.constantFrom('meta nfproto ipv4', 'meta protocol ip', 'ip protocol udp', '@th,16,16 80'),
  fc
    .tuple(
      fc.constantFrom('iifname', 'oifname'),
      not,
      fc.constantFrom(`"${FROM_CLIENT}"`, `"${TO_BACKENDS}"`, '"p*"', '"lo"'),
    )
    .map((words) => `${words[0]} ${words[1]}${words[2]}`),
  fc.constantFrom(`iif "${FROM_CLIENT}"`, `oif != "${TO_BACKENDS}"`),
  fc.constantFrom(
    'meta mark & 0x4000 == 0x4000',
    'meta mark & 0x4000 != 0',
    'meta mark 0',
    'meta mark != 0',
    'meta mark < 5',
    'meta mark { 1, 2, 0x4000 }',
    'meta mark & 0x3 ^ 0x1 == 0x1',
  ),
  fc.constantFrom(
    'ct state new',
    'ct state established,related',
    'ct state != new',
    'ct state { new, untracked }',
    'ct state invalid',
    'ct status dnat',
    'ct status snat,dnat',
    'ct direction original',
  ),
  fc.constantFrom(
    `ct original ip daddr ${SERVICES[0]}`,
    'ct original proto-dst 80',
    `ct original ip saddr ${CLIENT}`,
  ),
  fc.constantFrom(
    'fib daddr type local',
    'fib daddr type != local',
    'fib saddr type local',
    'fib daddr type { local, multicast }',
  ),
  fc
    .tuple(
      not,
      fc.constantFrom('@triples', `{ ${SERVICES[0]} . udp . 80, ${BACKENDS[0]} . udp . 81 }`),
    )
    .map(([op, set]) => `ip daddr . meta l4proto . th dport ${op}${set}`),
  fc.constantFrom('ip saddr @seen', 'ip saddr != @seen'),
  fc.constantFrom(
    'numgen random mod 3 < 2',
    'numgen random mod 4 { 0, 3 }',
    'numgen random mod 5 != 0',
    'numgen random mod 2 offset 7 7',
  ),
);

const mark: fc.Arbitrary<string> = fc.constantFrom(
  'meta mark set 0x4000',
  'meta mark set 1',
  'meta mark set meta mark | 0x4000',
  'meta mark set meta mark ^ 0x4000',
  'meta mark set meta mark & 0xffffbfff',
  'meta mark set meta mark & 0xff00 | 0x3',
  'meta mark set numgen random mod 3 map { 0 : 0x1, 1 : 0x2, 2 : 0x4000 }',
  'meta mark set udp dport map @marks',
);

/** What changes something and lets the packet go on. */
const change = fc.oneof(
  mark,
  fc.constantFrom(
    'update @seen { ip saddr }',
    'add @seen { ip daddr }',
    'delete @seen { ip saddr }',
    'continue',
  ),
);

const verdictOf = (chains: readonly string[]): fc.Arbitrary<string> =>
  chains.length === 0
    ? fc.constantFrom('accept', 'return', 'continue')
    : fc.oneof(
        {
          weight: 3,
          arbitrary: fc
            .tuple(fc.constantFrom('jump', 'goto'), fc.constantFrom(...chains))
            .map((words) => words.join(' ')),
        },
        fc.constantFrom('accept', 'return', 'drop', 'continue'),
      );

const vmapOf = (chains: readonly string[], map: string): fc.Arbitrary<string> => {
  const v = verdictOf(chains);
  return fc.oneof(
    fc.constant(`ip daddr . meta l4proto . th dport vmap @${map}`),
    fc.tuple(v, v).map(([a, b]) => `numgen random mod 2 vmap { 0 : ${a}, 1 : ${b} }`),
    fc.tuple(v, v).map(([a, b]) => `numgen random mod 5 vmap { 0-2 : ${a}, 3 : ${b} }`),
    fc.tuple(v, v, v).map(([a, b, c]) => `numgen inc mod 3 vmap { 0 : ${a}, 1 : ${b}, 2 : ${c} }`),
    fc.tuple(v, v).map(([a, b]) => `udp dport vmap { 80 : ${a}, 81-8080 : ${b} }`),
    fc.tuple(v, v).map(([a, b]) => `ip daddr vmap { 10.96.0.0/24 : ${a}, 10.9.0.0/16 : ${b} }`),
    v.map((a) => `ct state vmap { established : accept, new : ${a} }`),
    v.map((a) => `meta mark & 0x4000 vmap { 0x4000 : ${a} }`),
  );
};

const target = fc.constantFrom(NODE, ...BACKENDS);
const dnat: fc.Arbitrary<string> = fc.oneof(
  target.map((to) => `dnat to ${to}`),
  fc.tuple(target, port).map(([to, p]) => `meta l4proto udp dnat to ${to}:${p}`),
  port.map((p) => `meta l4proto udp dnat to :${p}`),
  fc.constant('dnat to numgen random mod 3 map { 0 : 10.9.1.10, 1 : 10.9.1.11, 2 : 10.9.1.12 }'),
  fc.constant(
    'meta l4proto udp dnat ip to numgen random mod 2 map { 0 : 10.9.1.10 . 80, 1 : 10.9.1.13 . 8080 }',
  ),
  fc.constant('meta l4proto udp dnat ip to ip daddr . udp dport map @backends'),
  fc.constant(`dnat to ip daddr map { ${SERVICES[0]} : 10.9.1.10, ${SERVICES[1]} : 10.9.1.11 }`),
);
const sourceNat = fc.constantFrom(
  'masquerade',
  'masquerade fully-random',
  'snat to 10.9.1.1',
  'masquerade random',
);

const rule = (conditions: number, statement: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc
    .tuple(
      fc.array(match, { maxLength: conditions }),
      fc.array(change, { maxLength: 1 }),
      statement,
    )
    .map(([matches, changes, done]) =>
      matches.length === 0
        ? ['counter', ...changes, done].join(' ')
        : ['counter', ...matches, 'counter', ...changes, done].join(' '),
    );

const filterRule = (chains: readonly string[]): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 4, arbitrary: rule(2, verdictOf(chains)) },
    { weight: 2, arbitrary: rule(1, vmapOf(chains, 'filters')) },
    rule(2, fc.constantFrom('reject', 'drop')),
    rule(1, change),
  );

const natRule = (
  chains: readonly string[],
  nat: fc.Arbitrary<string>,
  map: string,
): fc.Arbitrary<string> =>
  fc.oneof(
    { weight: 3, arbitrary: rule(2, verdictOf(chains)) },
    { weight: 2, arbitrary: rule(1, vmapOf(chains, map)) },
    { weight: 4, arbitrary: rule(2, nat) },
    rule(1, change),
  );

interface Family {
  readonly prefix: string;
  readonly rules: (chains: readonly string[]) => fc.Arbitrary<string>;
}

/** Chains that lead to later ones only, as the kernel wants it. */
function chainsOf({ prefix, rules }: Family): fc.Arbitrary<string> {
  const names = [1, 2, 3].map((n) => `${prefix}${n}`);
  return fc
    .tuple(
      ...names.map((_, i) => fc.array(rules(names.slice(i + 1)), { minLength: 0, maxLength: 4 })),
    )
    .map((all) => all.map((lines, i) => `chain ${names[i]} {\n${lines.join('\n')}\n}`).join('\n'));
}

function baseChain(
  name: string,
  header: string,
  lines: fc.Arbitrary<readonly string[]>,
  policy: fc.Arbitrary<string>,
): fc.Arbitrary<string> {
  const pass = `udp dport ${END_PORT} accept`;
  return fc
    .tuple(lines, policy)
    .map(
      ([rules, last]) =>
        `chain ${name} {\n${header} policy ${last};\n${[pass, ...rules].join('\n')}\n}`,
    );
}

const lines = (one: fc.Arbitrary<string>, maxLength = 5): fc.Arbitrary<readonly string[]> =>
  fc.array(one, { minLength: 1, maxLength });
const mostly = fc.oneof({ weight: 9, arbitrary: fc.constant('accept') }, fc.constant('drop'));
const always = fc.constant('accept');

const FILTERS = ['f1', 'f2', 'f3'];
const NATS = ['n1', 'n2', 'n3'];
const SOURCES = ['m1', 'm2', 'm3'];

const verdictMap = (name: string, chains: readonly string[]): fc.Arbitrary<string> =>
  fc
    .array(fc.tuple(fc.constantFrom(...SERVICES, NODE, ...BACKENDS), port, verdictOf(chains)), {
      maxLength: 12,
    })
    .map((entries) => {
      const unique = new Map(entries.map(([a, p, v]) => [`${a} . udp . ${p}`, v]));
      const elements = [...unique].map(([key, v]) => `${key} : ${v}`);
      const list = elements.length === 0 ? '' : `elements = ${braces(elements)}`;
      return `map ${name} {\ntype ipv4_addr . inet_proto . inet_service : verdict\n${list}\n}`;
    });

const SETS = `
set hosts { type ipv4_addr; elements = { ${CLIENT}, ${BACKENDS[1]}, ${SERVICES[0]} } }
set nets { type ipv4_addr; flags interval; elements = { 10.9.1.12-10.9.1.13, 10.96.0.0/28 } }
set triples { type ipv4_addr . inet_proto . inet_service; elements = { ${SERVICES[0]} . udp . 80, ${BACKENDS[2]} . udp . 8080, ${NODE} . udp . 81 } }
set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
map marks { type inet_service : mark; elements = { 80 : 0x1, 81 : 0x4000 } }
map backends { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { ${SERVICES[0]} . 80 : 10.9.1.11 . 8080, ${SERVICES[1]} . 81 : 10.9.1.12 . 80 } }
`;

export const ruleSets: fc.Arbitrary<string> = fc
  .tuple(
    verdictMap('filters', FILTERS),
    verdictMap('nats', NATS),
    verdictMap('sources', SOURCES),
    chainsOf({ prefix: 'f', rules: filterRule }),
    chainsOf({ prefix: 'n', rules: (chains) => natRule(chains, dnat, 'nats') }),
    chainsOf({ prefix: 'm', rules: (chains) => natRule(chains, sourceNat, 'sources') }),
    baseChain(
      'raw',
      'type filter hook prerouting priority raw;',
      fc.array(
        fc.constantFrom(
          'counter udp dport 8080 counter notrack',
          'counter ct state invalid counter',
          'counter ct state untracked counter drop',
        ),
        { maxLength: 2 },
      ),
      always,
    ),
    baseChain(
      'before',
      'type filter hook prerouting priority -110;',
      lines(filterRule(FILTERS), 3),
      mostly,
    ),
    baseChain(
      'translate',
      'type nat hook prerouting priority dstnat;',
      lines(natRule(NATS, dnat, 'nats')),
      always,
    ),
    baseChain(
      'here',
      'type filter hook input priority filter;',
      lines(filterRule(FILTERS), 3),
      mostly,
    ),
    baseChain(
      'onward',
      'type filter hook forward priority filter;',
      lines(filterRule(FILTERS), 4),
      mostly,
    ),
    baseChain(
      'leave',
      'type nat hook postrouting priority srcnat;',
      lines(natRule(SOURCES, sourceNat, 'sources')),
      always,
    ),
  )
  .map((parts) => `table ip kube-proxy {\n${SETS}\n${parts.join('\n')}\n}\n`);

export const destinations = fc.record({
  to: fc.constantFrom(...SERVICES, ...SERVICES, NODE, ...BACKENDS),
  toPort: port,
});
