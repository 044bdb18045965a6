import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exploreWalk } from '../../../src/explain/walk/explore.js';
import { labUnavailable } from '../../../src/lab/available.js';
import type { NftablesRules, NftJson } from '../../../src/model/ruleset.js';
import { NONE, ONE, plus, toNumber } from '../../../src/model/share.js';
import type { FirstPacket, NodeFacts, Share, WalkEnding } from '../../../src/model/walk.js';
import { destinations, ruleSets } from './nftables-generated.js';
import {
  type Arrival,
  BACKENDS,
  CLIENT,
  END_PORT,
  FROM_CLIENT,
  NODE,
  SERVICES,
  TO_BACKENDS,
  Wire,
} from './nftables-wire.js';

const UNAVAILABLE = labUnavailable({ ruleBackend: 'nftables' });
const RULE_SETS = 20;
const PACKETS = 15;
const SEED = 20_261_123;
const ADDRESSES = new Set([NODE, '10.9.1.1', '127.0.0.1']);
/** Under another address than the client's: the node's own on the way to the backends. */
const MASQUERADED = '10.9.1.1';
const FACTS: NodeFacts = {
  addresses: ADDRESSES,
  interfaceTo: (address) => (address === CLIENT ? FROM_CLIENT : TO_BACKENDS),
};

const FLOWS = 10_000;
const FLOWS_FROM = 19_000;
/** Both layouts: endpoint chains (up to 1.35), one of which chooses once more as 1.36 does. */
const BALANCED = `table ip kube-proxy {
${[0, 1, 2, 3, 4, 5].map((i) => `chain e${i} { counter dnat to ${BACKENDS[i % 3]}; }`).join('\n')}
chain e6 { counter dnat to numgen random mod 3 map { 0 : ${BACKENDS[3]}, 1 : ${BACKENDS[0]}, 2 : ${BACKENDS[3]} }; }
chain translate {
type nat hook prerouting priority dstnat; policy accept;
ip daddr ${SERVICES[0]} numgen random mod 7 vmap { ${[0, 1, 2, 3, 4, 5, 6].map((i) => `${i} : goto e${i}`).join(', ')} }
}
chain onward {
type filter hook forward priority filter; policy accept;
udp sport ${END_PORT} accept
${BACKENDS.map((backend) => `ip daddr ${backend} counter`).join('\n')}
}
}`;

/** How often each rule was met, and how often its conditions held, by handle. */
type Counted = ReadonlyMap<number, readonly number[]>;

describe('the walk through nftables rules', () => {
  let wire: Wire | undefined;
  beforeAll(async () => {
    if (UNAVAILABLE === undefined) wire = await Wire.open();
  });
  afterAll(() => wire?.close());

  it('is the one that the kernel takes, rule by rule, and ends where the datagram arrives', async (context) => {
    if (!wire) return context.skip(UNAVAILABLE);
    const cases = fc.sample(
      fc.tuple(
        ruleSets,
        fc.array(destinations, { minLength: PACKETS, maxLength: PACKETS }),
        fc.boolean(),
      ),
      {
        numRuns: RULE_SETS,
        seed: SEED,
      },
    );
    let port = 20_000;
    let arrivals = 0;
    for (const [text, packets, knowing] of cases) {
      wire.load(text);
      let before = wire.list();
      const printed = wire.printed();
      for (const { to, toPort } of packets) {
        port++;
        const arrival = await wire.send({ port, to, toPort });
        if (arrival) arrivals++;
        const after = wire.list();
        const packet: FirstPacket = {
          protocol: 17,
          source: CLIENT,
          sourcePort: port,
          destination: to,
          port: toPort,
          from: { kind: 'interface', name: FROM_CLIENT },
        };
        const facts: NodeFacts = knowing ? { ...FACTS, recent: recentOf(before.rules) } : FACTS;
        const ways: readonly WalkEnding[] = exploreWalk([before.rules], packet, facts).endings;
        const counted = difference(countersOf(before.rules), countersOf(after.rules));
        const right = ways.filter(
          (way) => differences(way, counted).length === 0 && endsAt(way, arrival, packet),
        );
        if (right.length === 0) {
          const said = ways.map((way) => ({
            differ: differences(way, counted),
            ends: ending(way),
          }));
          expect.fail(
            `${JSON.stringify({ packet, arrival, counted: [...counted].filter(([, n]) => n.some(Boolean)), said }, bigints, 1)}\n${text}`,
          );
        }
        if (ways.every(({ assuming }) => assuming.length === 0)) {
          expect(ways.reduce((sum, { share }) => plus(sum, share), NONE)).toEqual(ONE);
        }
        for (const { handle, text: told } of ways.flatMap(({ steps }) => steps)) {
          if (handle === undefined || /\{ (set|map) of/.test(told)) continue;
          expect(told).toBe(printed.get(handle));
        }
        before = after;
      }
    }
    // Rule sets that let nothing through would prove little.
    expect(arrivals).toBeGreaterThan((RULE_SETS * PACKETS) / 5);
  }, 120_000);

  it('deals out 10,000 flows as the shares have it', async (context) => {
    if (!wire) return context.skip(UNAVAILABLE);
    wire.load(BALANCED);
    const before = wire.list().rules;
    await wire.sendMany(FLOWS_FROM, SERVICES[0], 1, FLOWS);
    const after = wire.list().rules;
    const counts = difference(countersOf(before), countersOf(after));
    const packet: FirstPacket = {
      protocol: 17,
      source: CLIENT,
      sourcePort: FLOWS_FROM,
      destination: SERVICES[0],
      port: 1,
      from: { kind: 'interface', name: FROM_CLIENT },
    };
    const ways: readonly WalkEnding[] = exploreWalk([before], packet, FACTS).endings;
    // Once by the rule that chose, once by where the flows went.
    for (const hook of ['prerouting', 'forward']) {
      const shares = new Map<number, Share>();
      for (const { steps, share } of ways) {
        const last = steps.findLast(
          (step) =>
            step.hook === hook &&
            step.met === 'matched' &&
            /^(ip daddr )?\S* ?counter/.test(step.text),
        );
        if (last?.handle === undefined) throw new Error('a way without a counter');
        shares.set(last.handle, plus(shares.get(last.handle) ?? NONE, share));
      }
      const observed = [...shares].map(([handle, share]) => ({
        count: counts.get(handle)?.[0] ?? 0,
        expected: toNumber(share) * FLOWS,
      }));
      expect(observed.reduce((sum, { count }) => sum + count, 0)).toBe(FLOWS);
      const chi = observed.reduce(
        (sum, { count, expected }) => sum + (count - expected) ** 2 / expected,
        0,
      );
      expect(observed.length).toBeGreaterThan(3);
      expect(tail(chi, observed.length - 1)).toBeGreaterThan(1e-6);
    }
  }, 60_000);
});

const bigints = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value;

function ending({ kind, ip, port, masquerade, assuming }: WalkEnding): unknown {
  return { kind, ip, port, masquerade, assuming };
}

/** How likely chi-squared is to be at least this, by the series of the regularised incomplete gamma function. */
function tail(chi: number, freedom: number): number {
  const [a, x] = [freedom / 2, chi / 2];
  let term = 1 / a;
  let sum = term;
  for (let n = 1; n < 500; n++) {
    term *= x / (a + n);
    sum += term;
  }
  return 1 - sum * Math.exp(-x + a * Math.log(x) - lnGamma(a));
}

/** Of halves of whole numbers, by recursion. */
function lnGamma(a: number): number {
  if (a === 1) return 0;
  return a === 0.5 ? Math.log(Math.PI) / 2 : Math.log(a - 1) + lnGamma(a - 1);
}

function recentOf(rules: NftablesRules): ReadonlyMap<string, ReadonlyMap<string, number>> {
  const elements = rules.sets.get('seen')?.elements ?? [];
  return new Map([['seen', new Map(elements.map(({ key }) => [String(key), 0]))]]);
}

function countersOf(rules: NftablesRules): Counted {
  const counted = new Map<number, number[]>();
  for (const chain of rules.chains.values()) {
    for (const { handle, expressions } of chain.rules) {
      const counters = expressions.flatMap((one) => packetsOf(one) ?? []);
      if (handle !== undefined && counters.length > 0) counted.set(handle, counters);
    }
  }
  return counted;
}

function packetsOf(expression: NftJson): number | undefined {
  const { counter } = expression as { counter?: { packets?: number } };
  return counter?.packets;
}

function difference(before: Counted, after: Counted): Counted {
  return new Map(
    [...after].map(([handle, counts]) => [
      handle,
      counts.map((count, i) => count - (before.get(handle)?.[i] ?? 0)),
    ]),
  );
}

/** Handles of rules that the kernel met, or found to hold, another number of times. */
function differences({ steps }: WalkEnding, counted: Counted): unknown[] {
  const wrong: unknown[] = [];
  for (const [handle, [met = 0, held]] of counted) {
    const own = steps.filter((step) => step.handle === handle);
    if (own.length !== met) wrong.push({ handle, met, own: own.length });
    else if (held !== undefined && own.every(({ met: how }) => how !== 'unknown')) {
      // What a look-up misses is passed over although the conditions before it held.
      const most = own.filter(
        ({ met: how, because }) => how === 'matched' || /has nothing/.test(because ?? ''),
      ).length;
      if (held !== most) wrong.push({ handle, held, most });
    }
  }
  return wrong;
}

function endsAt(way: WalkEnding, arrival: Arrival | undefined, packet: FirstPacket): boolean {
  const isAccepted = way.kind === 'endpoint' || way.kind === 'untranslated';
  if (!arrival) return !isAccepted;
  const { ip = packet.destination, port = packet.port } = way;
  if (!isAccepted || arrival.at !== `${ip}:${port}`) return false;
  return way.masquerade === 'yes'
    ? arrival.from.startsWith(`${MASQUERADED}:`)
    : arrival.from === `${CLIENT}:${packet.sourcePort}`;
}
