import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exploreWalk } from '../../../src/explain/walk/explore.js';
import { labUnavailable } from '../../../src/lab/available.js';
import type { IptablesRules, RuleSet } from '../../../src/model/ruleset.js';
import { toNumber } from '../../../src/model/share.js';
import type { FirstPacket, NodeFacts, WalkEnding } from '../../../src/model/walk.js';
import { CHAINS, destinations, GUARD_RULES, ruleSets } from './iptables-generated.js';
import {
  type Arrival,
  BACKENDS,
  CLIENT,
  FROM_CLIENT,
  NODE,
  SERVICES,
  TO_BACKENDS,
  Wire,
} from './nftables-wire.js';
import { rulesOf } from './recordings.js';

const UNAVAILABLE =
  labUnavailable({ ruleBackend: 'iptables-nft' }) ??
  labUnavailable({ ruleBackend: 'iptables-legacy' }) ??
  labUnavailable({ ruleBackend: 'nftables' });
const RULE_SETS = 10;
const PACKETS = 12;
const SEED = 20_261_123;
const MASQUERADED = '10.9.1.1';
const FACTS: NodeFacts = {
  addresses: new Set([NODE, MASQUERADED, '127.0.0.1']),
  interfaceTo: (address) => (address.startsWith('10.9.0.') ? FROM_CLIENT : TO_BACKENDS),
};
const EMPTY = ['raw', 'mangle', 'nat', 'filter'].map((table) => `*${table}\nCOMMIT\n`).join('');

type Backend = 'nft' | 'legacy';
const LIVE: readonly (readonly [string, readonly Backend[], number])[] = [
  ['iptables-nft', ['nft'], 20_000],
  ['iptables-legacy', ['legacy'], 20_300],
  ['both', ['legacy', 'nft'], 20_600],
];

const FLOWS = 10_000;
const SHARES = [0.142_857_142_7, 0.166_666_666_7, 0.2, 0.25, 0.333_333_333_3, 0.5];

describe('the walk through iptables rules', () => {
  let wire: Wire | undefined;
  beforeAll(async () => {
    if (UNAVAILABLE === undefined) wire = await Wire.open();
    else if (process.env['CI'] !== undefined) throw new Error(UNAVAILABLE);
  });
  afterAll(() => wire?.close());

  it.for(LIVE)(
    'of %s is the one that the kernel takes, by its counters and by where the datagram arrives',
    { timeout: 240_000 },
    async ([, backends, firstPort], context) => {
      if (!wire) return context.skip(UNAVAILABLE);
      const cases = fc.sample(
        fc.tuple(
          ruleSets,
          ruleSets,
          fc.array(destinations, { minLength: PACKETS, maxLength: PACKETS }),
        ),
        { numRuns: RULE_SETS, seed: SEED + firstPort },
      );
      // Each its own: a second datagram of a flow is not the first packet.
      let port = firstPort;
      let arrivals = 0;
      let matched = 0;
      for (const [first, second, packets] of cases) {
        clear(wire);
        for (const [index, backend] of backends.entries()) {
          // Which of two tables of one priority is asked first is not known: of NAT alone both ways are walked.
          wire.exec([`iptables-${backend}-restore`], index === 0 ? first : natOf(second));
        }
        let before = saved(wire, backends);
        for (const { to, toPort } of packets) {
          port++;
          const arrival = await wire.send({ port, to, toPort });
          if (arrival) arrivals++;
          const after = saved(wire, backends);
          const packet: FirstPacket = {
            protocol: 17,
            source: CLIENT,
            sourcePort: port,
            destination: to,
            port: toPort,
            from: { kind: 'interface', name: FROM_CLIENT },
          };
          const { endings } = exploreWalk(before, packet, FACTS);
          const counted = difference(countersOf(before), countersOf(after));
          matched += counted.size;
          const faults: string[][] = endings.map((ending) =>
            faultsOf(ending, counted, arrival, packet),
          );
          if (!faults.some((some) => some.length === 0)) {
            expect.fail(
              `${JSON.stringify({ packet, arrival, counted: [...counted], faults: faults.slice(0, 8) }, null, 1)}\n${first}${backends.length > 1 ? second : ''}`,
            );
          }
          before = after;
        }
      }
      // Rule sets that let nothing through, or of which nothing matches, would prove little.
      expect(arrivals).toBeGreaterThan((RULE_SETS * PACKETS) / 5);
      expect(matched).toBeGreaterThan(RULE_SETS * PACKETS);
    },
  );

  it.for(['nft', 'legacy'] as const)(
    'of %s deals out 10,000 connections as the shares have it',
    { timeout: 120_000 },
    async (backend, context) => {
      if (!wire) return context.skip(UNAVAILABLE);
      clear(wire);
      wire.exec([`iptables-${backend}-restore`], BALANCED);
      const [before] = saved(wire, [backend]);
      await wire.sendMany(backend === 'nft' ? 18_001 : 18_002, SERVICES[1], 10_001, 10_000 + FLOWS);
      const [after] = saved(wire, [backend]);
      if (!before || !after) throw new Error('no rules');
      const packet: FirstPacket = {
        protocol: 17,
        source: CLIENT,
        destination: SERVICES[1],
        port: 10_001,
        from: { kind: 'interface', name: FROM_CLIENT },
      };
      const { endings } = exploreWalk([before], packet, FACTS);
      const counted = difference(countersOf([before]), countersOf([after]));
      const observed = endings.map(
        ({ path }) => counted.get(`${backend} nat ${path.at(-1)} 1`) ?? 0,
      );
      expect(endings).toHaveLength(SHARES.length + 1);
      expect(observed.reduce((a, b) => a + b, 0)).toBe(FLOWS);
      const chi = endings.reduce((sum, { share }, i) => {
        const expected = FLOWS * toNumber(share);
        return sum + ((observed[i] ?? 0) - expected) ** 2 / expected;
      }, 0);
      expect(survivalOfSix(chi)).toBeGreaterThan(1e-6);
    },
  );
});

const BALANCED = `*nat
:PREROUTING ACCEPT [0:0]
:BALANCE - [0:0]
${[...SHARES, 1].map((__, i) => `:END-${i} - [0:0]`).join('\n')}
-A PREROUTING -d ${SERVICES[1]}/32 -p udp -j BALANCE
${SHARES.map((share, i) => `-A BALANCE -m statistic --mode random --probability ${share} -j END-${i}`).join('\n')}
-A BALANCE -j END-${SHARES.length}
${[...SHARES, 1].map((__, i) => `-A END-${i} -p udp -j DNAT --to-destination ${BACKENDS[i % BACKENDS.length]}:80`).join('\n')}
COMMIT
`;

/** How likely chi-squared with six degrees of freedom is at least so large. */
function survivalOfSix(chi: number): number {
  const half = chi / 2;
  return Math.exp(-half) * (1 + half + half ** 2 / 2);
}

function clear(wire: Wire): void {
  wire.exec(['nft', 'flush', 'ruleset']);
  wire.exec(['iptables-legacy-restore'], EMPTY);
}

function saved(wire: Wire, backends: readonly Backend[]): RuleSet[] {
  return backends.flatMap((backend) => [
    ...rulesOf(Buffer.from(wire.exec([`iptables-${backend}-save`, '-c']))),
  ]);
}

/** Packets that each rule counted, by `backend table chain position`. */
type Counts = ReadonlyMap<string, number>;

function countersOf(sets: readonly RuleSet[]): Counts {
  const counts = new Map<string, number>();
  const tables = sets.flatMap((rules) =>
    rules.kind === 'iptables'
      ? [...rules.tables.values()].map((table) => [rules, table] as const)
      : [],
  );
  for (const [rules, table] of tables) {
    for (const { name, rules: all } of table.chains.values()) {
      for (const [index, { packets = 0 }] of all.entries()) {
        counts.set(keyOf(rules, table.name, name, index + 1), packets);
      }
    }
  }
  return counts;
}

function keyOf(
  { backend }: Pick<IptablesRules, 'backend'>,
  table: string,
  chain: string,
  position: number,
): string {
  return `${backend} ${table} ${chain} ${position}`;
}

function difference(before: Counts, after: Counts): Counts {
  const changed = [...after].map(([key, count]) => [key, count - (before.get(key) ?? 0)] as const);
  return new Map(changed.filter(([key, count]) => count !== 0 && !isGuard(key)));
}

function natOf(rules: string): string {
  return /[*]nat\n[\s\S]*?COMMIT\n/.exec(rules)?.[0] ?? '';
}

/** NAT chains that another back end's translation may have kept from being asked. */
function unaskedOf({ steps }: WalkEnding): string[] {
  const translating = steps.filter(
    ({ table, effects }) =>
      table === 'nat' && effects.some(({ does }) => /^(?:dnat|snat|masquerade)$/.test(does)),
  );
  return translating.flatMap(({ hook, backend }) => {
    const base = hook.toUpperCase();
    const other = backend === 'nft' ? 'legacy' : 'nft';
    return [base, `${base}-1`, `${base}-2`, `${base}-3`].map((name) => `${other} nat ${name}`);
  });
}

/** The base chains' first rules, which the test's own datagrams meet. */
function isGuard(key: string): boolean {
  const [, , chain = '', position] = key.split(' ');
  return /^[A-Z]+$/.test(chain) && Number(position) <= GUARD_RULES;
}

/** What an ending says otherwise than the kernel. */
function faultsOf(
  ending: WalkEnding,
  counted: Counts,
  arrival: Arrival | undefined,
  packet: FirstPacket,
): string[] {
  const expected = new Map<string, number>();
  const open = new Set(unaskedOf(ending));
  for (const step of ending.steps) {
    const { backend, table, chain, position, met, because, effects, text } = step;
    const key = `${backend} ${table} ${chain} ${position}`;
    if (effects.length > 0 && position > 0) expected.set(key, (expected.get(key) ?? 0) + 1);
    if (met !== 'unknown' || effects.length > 0 || because?.startsWith('assumed') === true)
      continue;
    // Whether it matches is all the same, so nobody followed where it leads.
    open.add(key);
    const [, to, depth] = /-j (\S+)-(\d)$/.exec(text) ?? [];
    for (let d = Number(depth); d <= CHAINS; d++) open.add(`${backend} ${table} ${to}-${d}`);
  }
  const isOpen = (key: string): boolean => open.has(key) || open.has(key.replace(/ \d+$/, ''));
  const faults = [...new Set([...expected.keys(), ...counted.keys()])].flatMap((key) => {
    const [said = 0, was = 0] = [expected.get(key), counted.get(key)];
    return said === was || isOpen(key) ? [] : [`${key} counted ${was}, walked ${said}`];
  });
  const end = endOf(ending, packet);
  const came = arrival && `${arrival.at} from ${arrival.from.replace(/:\d+$/, '')}`;
  if (came !== end) faults.push(`came out ${came}, walked to ${end}`);
  return faults;
}

/** Where it arrives, and under whose address. */
function endOf(ending: WalkEnding, packet: FirstPacket): string | undefined {
  const { kind, masquerade, steps } = ending;
  if (kind !== 'endpoint' && kind !== 'untranslated') return undefined;
  // A REDIRECT's address is the interface's.
  const to = kind === 'endpoint' ? (ending.ip ?? NODE) : packet.destination;
  const port = kind === 'endpoint' ? ending.port : packet.port;
  expect(steps.length).toBeGreaterThan(0);
  return `${to}:${port} from ${masquerade === 'yes' ? MASQUERADED : CLIENT}`;
}
