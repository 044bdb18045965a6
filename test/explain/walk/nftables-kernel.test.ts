import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { NONE, ONE, plus } from '../../../src/explain/walk/share.js';
import { labUnavailable } from '../../../src/lab/available.js';
import type { NftablesRules, NftJson } from '../../../src/model/ruleset.js';
import type { FirstPacket, NodeFacts } from '../../../src/model/walk.js';
import { destinations, ruleSets } from './nftables-generated.js';
import { through, type Way } from './nftables-through.js';
import { type Arrival, CLIENT, FROM_CLIENT, NODE, TO_BACKENDS, Wire } from './nftables-wire.js';

const UNAVAILABLE = labUnavailable({ ruleBackend: 'nftables' });
const RULE_SETS = 20;
const PACKETS = 15;
const SEED = 20_261_123;
const ADDRESSES = new Set([NODE, '10.9.1.1', '127.0.0.1']);
/** Under another address than the client's: the node's own on the way to the backends. */
const MASQUERADED = '10.9.1.1';
const PLACES = { in: FROM_CLIENT, out: TO_BACKENDS };

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
        const facts: NodeFacts = knowing
          ? { addresses: ADDRESSES, recent: recentOf(before.rules) }
          : { addresses: ADDRESSES };
        const ways = through(before.rules, packet, facts, PLACES);
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
        if (ways.every(({ branch }) => branch.assuming.length === 0)) {
          expect(ways.reduce((sum, { branch }) => plus(sum, branch.share), NONE)).toEqual(ONE);
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
});

const bigints = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? String(value) : value;

function ending({ verdict, branch }: Way): unknown {
  return {
    verdict,
    to: branch.destination,
    port: branch.port,
    nat: branch.masquerade,
    assuming: branch.assuming,
  };
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
function differences({ steps }: Way, counted: Counted): unknown[] {
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

function endsAt(
  { verdict, branch }: Way,
  arrival: Arrival | undefined,
  packet: FirstPacket,
): boolean {
  if (!arrival) return verdict !== 'accept';
  if (verdict !== 'accept' || arrival.at !== `${branch.destination}:${branch.port}`) return false;
  return branch.masquerade === 'yes'
    ? arrival.from.startsWith(`${MASQUERADED}:`)
    : arrival.from === `${CLIENT}:${packet.sourcePort}`;
}
