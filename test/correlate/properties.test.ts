import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EVENT_DESTROY, EVENT_LISTED, EVENT_NEW, EVENT_UPDATE } from '../../src/model/conntrack.js';
import { TCP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, UDP } from '../../src/model/packet.js';
import { Bench, type PacketSpec, pod, serviceEntry } from '../support/machine.js';

/** Few addresses, ports and numbers, so that everything collides with everything. */
const endpoint = fc.constantFrom(
  '10.0.0.1:1000',
  '10.0.0.1:1001',
  '10.0.0.2:1000',
  '10.96.0.10:80',
  '10.96.0.11:53',
  '10.0.0.11:80',
  '10.0.0.12:80',
  '192.168.0.1:1000',
);
const flags = fc.constantFrom(
  TCP_SYN,
  TCP_SYN | TCP_ACK,
  TCP_FIN | TCP_ACK,
  TCP_RST,
  TCP_RST | TCP_ACK,
);
const number = fc.integer({ min: 0, max: 4 });

type Step =
  | { readonly kind: 'packet'; readonly gap: number; readonly spec: Omit<PacketSpec, 'at'> }
  | {
      readonly kind: 'conntrack';
      readonly gap: number;
      readonly event: number;
      readonly from: string;
      readonly to: string;
      readonly endpoint: string;
      readonly dated: boolean;
      readonly coarse: boolean;
      readonly id: number;
    }
  | { readonly kind: 'loss'; readonly gap: number };

const gap = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 1_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 2_000_000_000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 200_000_000_000 }) },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('packet' as const),
      gap,
      spec: fc.record(
        {
          from: endpoint,
          to: endpoint,
          protocol: fc.constantFrom(TCP, TCP, UDP),
          flags,
          seq: number,
          ack: number,
          print: number,
          ipid: number,
          icmp: fc.constantFrom<readonly [number, number]>([3, 3], [3, 1], [11, 0]),
        },
        { requiredKeys: ['from', 'to', 'protocol', 'flags', 'seq', 'ack', 'print', 'ipid'] },
      ),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('conntrack' as const),
      gap,
      event: fc.constantFrom(EVENT_NEW, EVENT_NEW, EVENT_UPDATE, EVENT_DESTROY, EVENT_LISTED),
      from: endpoint,
      to: endpoint,
      endpoint,
      dated: fc.boolean(),
      coarse: fc.boolean(),
      id: number,
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('loss' as const), gap }) },
);

const steps = fc.array(step, { maxLength: 120 });

function run(all: readonly Step[], options: { twice?: boolean; live?: boolean } = {}): Bench {
  const b = new Bench({ firstListingIsOld: options.live === true })
    .services([
      serviceEntry('web', '10.96.0.10:80', ['10.0.0.11:80', '10.0.0.12:80']),
      serviceEntry('dns', '10.96.0.11:53', ['10.0.0.11:80'], { protocol: UDP }),
      serviceEntry('none', '10.96.0.11:53', [], { action: 'reject' }),
    ])
    .pods([pod('a', '10.0.0.11'), pod('b', '10.0.0.12')]);
  let at = 0;
  for (const s of all) {
    at += s.gap;
    if (s.kind === 'packet') {
      b.packet({ ...s.spec, at });
      if (options.twice === true) b.packet({ ...s.spec, at });
    } else if (s.kind === 'loss') {
      b.push({ type: 'loss', loss: { source: 'ring', count: 1, detail: 'some' } });
    } else {
      const { from, to, id } = s;
      const dated = s.dated || s.event !== EVENT_LISTED;
      b.conntrack({
        ...(dated && { at: s.coarse ? Math.floor(at / 1e9) * 1e9 : at }),
        event: s.event,
        from,
        to,
        endpoint: s.endpoint,
        id,
        ...(s.coarse && { resolution: 1_010_000_000 }),
      });
    }
  }
  return b.finish();
}

const text = (b: Bench): string[] =>
  b.events.map((e) =>
    JSON.stringify(e, (_, v: unknown) => (typeof v === 'bigint' ? String(v) : v)),
  );

describe('whatever happens in whatever order', () => {
  it('every connection seen is counted in exactly one outcome, and closed exactly once', () => {
    fc.assert(
      fc.property(steps, fc.boolean(), (all, live) => {
        const b = run(all, { live });
        const { connections } = b.summary;
        const sum = connections.attributed + connections.unattributed + connections.conflict;
        expect(connections.seen).toBe(sum + connections.pending);
        expect(connections.pending).toBe(0);
        const ids = b.closed.map((c) => c.connection);
        expect(ids).toHaveLength(connections.seen);
        expect(new Set(ids).size).toBe(ids.length);
        const outcomes = Object.values(connections.outcomes).reduce((a, n) => a + n, 0);
        expect(outcomes).toBe(connections.seen);
        const reasons = Object.values(connections.reasons).reduce((a, n) => a + n, 0);
        expect(reasons).toBe(connections.unattributed + connections.conflict);
        for (const verdict of ['attributed', 'unattributed', 'conflict'] as const) {
          expect(b.closed.filter((c) => c.verdict === verdict)).toHaveLength(connections[verdict]);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('what is attributed names conntrack or packets as evidence, and what is not gives a reason', () => {
    fc.assert(
      fc.property(steps, (all) => {
        for (const a of run(all).closed) {
          const seen = a.evidence.includes('conntrack') || a.evidence.includes('packets');
          if (a.verdict === 'attributed') expect(seen && a.backend !== undefined).toBe(true);
          else expect(a.reason).toBeDefined();
        }
      }),
      { numRuns: 200 },
    );
  });

  it('a connection is said again only when something changed, and nothing follows its close', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const closed = new Set<string>();
        const last = new Map<string, string>();
        for (const e of run(all).events) {
          if (e.type !== 'attribution' && e.type !== 'close') continue;
          const { connection, verdict, reason, outcome, backend, service, source, time } =
            e.attribution;
          expect(closed.has(connection)).toBe(false);
          if (e.type === 'close') closed.add(connection);
          const key = JSON.stringify(
            [verdict, reason, outcome, backend, service, source],
            (_, v) => (typeof v === 'bigint' ? String(v) : v),
          );
          if (e.type === 'attribution') expect(key).not.toBe(last.get(connection));
          last.set(connection, key);
          const began = `${connection} ${time}`;
          expect(last.get(`${connection} time`) ?? began).toBe(began);
          last.set(`${connection} time`, began);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('the same events give the same answers to the byte', () => {
    fc.assert(
      fc.property(steps, (all) => {
        expect(text(run(all))).toEqual(text(run(all)));
      }),
      { numRuns: 60 },
    );
  });

  it('every packet twice changes nothing but the packet counts', () => {
    fc.assert(
      fc.property(steps, (all) => {
        const once = run(all);
        const twice = run(all, { twice: true });
        const bare = (b: Bench): string[] =>
          text(b).map((l) => l.replace(/"packets":\{[^}]*\}/, ''));
        expect(bare(twice)).toEqual(bare(once));
      }),
      { numRuns: 300 },
    );
  });
});
