import fc from 'fast-check';
import { BACKENDS, CLIENT, END_PORT, NODE, PORTS, SERVICES } from './nftables-wire.js';

/*
 * Rule sets that iptables takes, as iptables-restore reads them. Chains lead only to later ones; each base
 * chain has its own, so that no target stands where the kernel refuses it. Before all others stand rules
 * that let the test's own datagrams and errors of ICMP pass.
 */

/** Chains behind each base chain. */
export const CHAINS = 3;
const GUARDS = [
  `-d ${BACKENDS[0]}/32 -p udp -m udp --dport ${END_PORT} -j ACCEPT`,
  '-p icmp -j ACCEPT',
];

/** Rules of a base chain that are not generated. */
export const GUARD_RULES = GUARDS.length;

interface Hooked {
  readonly table: string;
  readonly hook: string;
  readonly matches: readonly string[];
  readonly targets: readonly string[];
}

const MATCHES = [
  '',
  `-s ${CLIENT}/32`,
  '! -s 10.9.0.0/24',
  '-s 10.0.0.2/255.0.0.255',
  `-d ${SERVICES[0]}/32`,
  `! -d ${SERVICES[1]}/32`,
  '-d 10.9.1.0/255.255.255.0',
  '! -d 0.9.0.0/0.255.0.0',
  '-p udp',
  '! -p tcp',
  '-p tcp',
  '-p udp -m udp --dport 80:81',
  '-p udp -m udp ! --dport 80',
  '-p udp -m udp --sport 20050:20650',
  '-p udp -m udp ! --sport :20400 --dport 81:',
  '-p udp -m multiport --dports 80,8000:8080',
  '-p udp -m multiport ! --dports 81',
  '-p udp -m multiport --ports 80,20100:20380',
  '-p udp -m multiport ! --sports 20300:20660',
  '-m mark --mark 0x1/0x3',
  '-m mark ! --mark 0x2/0x2',
  '-m mark --mark 0x5',
  '-m connmark --mark 0x4/0x4',
  '-m connmark ! --mark 0x4/0x4',
  '-m addrtype --dst-type LOCAL',
  '-m addrtype ! --dst-type LOCAL',
  '-m addrtype ! --src-type LOCAL',
  '-m addrtype --src-type UNICAST --dst-type UNICAST',
  '-m addrtype --dst-type UNICAST,LOCAL',
  '-m addrtype --dst-type MULTICAST,BROADCAST',
  '-m conntrack --ctstate NEW',
  '-m conntrack ! --ctstate DNAT',
  '-m conntrack --ctstate DNAT',
  '-m conntrack --ctstate INVALID,ESTABLISHED',
  '-m conntrack --ctstate UNTRACKED,RELATED',
  '-m state --state NEW,RELATED',
  `-m conntrack --ctorigdst ${SERVICES[0]}`,
  '-m conntrack --ctstate NEW --ctorigdstport 80:81',
  `-m conntrack ! --ctreplsrc ${SERVICES[0]}`,
  '-m statistic --mode random --probability 0.5',
  '-m statistic --mode random ! --probability 0.25',
  '-m statistic --mode nth --every 2 --packet 0',
  '-m limit --limit 1/min --limit-burst 3',
  '-m recent --set --name one --rsource',
  '-m recent --rcheck --name one --rsource',
  '-m recent --rcheck --seconds 60 --name two --rsource',
  '-m recent ! --rcheck --name two --rsource',
  '-m recent --set --name two --rsource',
  '-m iprange --dst-range 10.96.0.0-10.96.0.10',
  '-m iprange ! --src-range 10.9.0.3-10.9.0.9',
  '-m comment --comment "a \\"quoted\\" -j word"',
  '-m length --length 0:100',
];

const MARKS = [
  'MARK --set-xmark 0x1/0x1',
  'MARK --set-xmark 0x2/0x0',
  'MARK --set-xmark 0x0/0x1',
  'MARK --set-mark 5',
  'CONNMARK --set-xmark 0x4/0x4',
  'CONNMARK --save-mark --nfmask 0xf --ctmask 0xf',
  'CONNMARK --restore-mark --nfmask 0xf --ctmask 0xf',
];

const IN = ['-i p0', '-i p+', '! -i s0', '-i +', '! -i p0'];
const OUT = ['-o s0', '-o s+', '! -o p0', '! -o s0'];

const HOOKED: readonly Hooked[] = [
  { table: 'raw', hook: 'PREROUTING', matches: IN, targets: ['CT --notrack', 'ACCEPT'] },
  { table: 'mangle', hook: 'PREROUTING', matches: IN, targets: MARKS },
  { table: 'mangle', hook: 'FORWARD', matches: [...IN, ...OUT], targets: MARKS },
  { table: 'mangle', hook: 'POSTROUTING', matches: OUT, targets: MARKS },
  {
    table: 'nat',
    hook: 'PREROUTING',
    matches: IN,
    targets: [
      'ACCEPT',
      'MARK --set-xmark 0x1/0x1',
      ...BACKENDS.map((to) => `DNAT --to-destination ${to}:${PORTS[0]}`),
      `DNAT --to-destination ${BACKENDS[1]}`,
      `DNAT --to-destination ${BACKENDS[0]}-${BACKENDS[3]}`,
      `DNAT --to-destination :${PORTS[2]}`,
      `DNAT --to-destination ${NODE}:${PORTS[1]}`,
      `REDIRECT --to-ports ${PORTS[1]}`,
    ],
  },
  {
    table: 'nat',
    hook: 'POSTROUTING',
    matches: OUT,
    targets: ['ACCEPT', 'MASQUERADE', 'MASQUERADE --random-fully', 'SNAT --to-source 10.9.1.1'],
  },
  {
    table: 'filter',
    hook: 'FORWARD',
    matches: [...IN, ...OUT],
    targets: ['ACCEPT', 'ACCEPT', 'DROP', 'REJECT', ...MARKS],
  },
  { table: 'filter', hook: 'INPUT', matches: IN, targets: ['ACCEPT', 'DROP', 'REJECT'] },
];

/** The chain behind a base chain that lies so deep; 0: the base chain itself. */
function chainName({ hook }: Hooked, depth: number): string {
  return depth === 0 ? hook : `${hook}-${depth}`;
}

/** A match of either list, or two: built-in ones come first, and -p but once. */
function matchesOf(hooked: Hooked): fc.Arbitrary<string> {
  return fc
    .tuple(
      fc.option(fc.constantFrom(...hooked.matches), { freq: 3, nil: '' }),
      fc.constantFrom(...MATCHES),
      fc.constantFrom(...MATCHES),
    )
    .map(([own, one, two]) => {
      const isAlike =
        builtIn(one) === builtIn(two) ||
        one === two ||
        (builtIn(one) !== '' && builtIn(two) !== '');
      return [builtIn(one) === '' && !isAlike ? two : '', own, one]
        .filter((text) => text !== '')
        .join(' ');
    });
}

function builtIn(match: string): string {
  return /^(?:! )?-([sdp])/.exec(match)?.[1] ?? '';
}

function ruleOf(hooked: Hooked, depth: number): fc.Arbitrary<string> {
  const later = Array.from({ length: CHAINS - depth }, (_, i) => chainName(hooked, depth + 1 + i));
  const jumps = later.flatMap((to) => [`-j ${to}`, `-j ${to}`, `-g ${to}`]);
  const targets = hooked.targets.map((target) => `-j ${target}`);
  const target = fc.constantFrom(...jumps, ...targets, '-j RETURN', '');
  // DNAT and REDIRECT to a port ask for a protocol that has ports.
  return fc.tuple(matchesOf(hooked), target).map(([match, to]) => {
    const words =
      hooked.table === 'nat' && !/-p (?:udp|tcp)/.test(match)
        ? [match.replace('! -p tcp', '').trim(), '-p udp']
        : [match];
    return [...words, to].filter((text) => text !== '').join(' ');
  });
}

function tableText(
  table: string,
  parts: readonly (readonly [Hooked, readonly (readonly string[])[]])[],
): string {
  const lines = [`*${table}`];
  for (const [hooked] of parts) {
    lines.push(`:${hooked.hook} ACCEPT [0:0]`);
    for (let depth = 1; depth <= CHAINS; depth++)
      lines.push(`:${chainName(hooked, depth)} - [0:0]`);
  }
  for (const [hooked, chains] of parts) {
    for (const [depth, rules] of chains.entries()) {
      const name = chainName(hooked, depth);
      const all = depth === 0 ? [...GUARDS, ...rules] : rules;
      for (const rule of all) lines.push(`-A ${name}${rule === '' ? '' : ' '}${rule}`);
    }
  }
  return `${[...lines, 'COMMIT'].join('\n')}\n`;
}

/** What iptables-restore is given. */
export const ruleSets: fc.Arbitrary<string> = fc
  .tuple(
    ...HOOKED.map((hooked) =>
      fc
        .tuple(
          ...Array.from({ length: CHAINS + 1 }, (_, depth) =>
            fc.array(ruleOf(hooked, depth), {
              minLength: depth === 0 && hooked.table === 'nat' ? 3 : 0,
              maxLength: 4,
            }),
          ),
        )
        .map((chains) => [hooked, chains] as const),
    ),
  )
  .map((parts) =>
    ['raw', 'mangle', 'nat', 'filter']
      .map((table) =>
        tableText(
          table,
          parts.filter(([hooked]) => hooked.table === table),
        ),
      )
      .join(''),
  );

/** Where a datagram goes. */
export const destinations = fc.record({
  to: fc.constantFrom(...SERVICES, ...SERVICES, BACKENDS[2], NODE),
  toPort: fc.constantFrom(...PORTS),
});
