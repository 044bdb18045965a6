import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Clock } from '../../src/correlate/clock.js';
import { ClusterState } from '../../src/correlate/cluster-state.js';
import { PlainConnections } from '../../src/correlate/plain.js';
import { ServiceIndex } from '../../src/correlate/service-index.js';
import { State } from '../../src/correlate/state.js';
import { ConntrackRows } from '../../src/model/conntrack-rows.js';
import {
  PACKET_WORDS,
  TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  UDP,
} from '../../src/model/packet.js';
import { BASE_SECONDS, Bench, type PacketSpec, pod, serviceEntry } from '../support/machine.js';

const MS = 1_000_000;
const SECOND = 1_000 * MS;

type Packet = Omit<PacketSpec, 'at'>;
type Step =
  | { readonly gap: number; readonly packet: Packet }
  | { readonly gap: number; readonly back: number; readonly packet: Packet }
  | { readonly gap: number; readonly what: 'tick' | 'loss' | 'rules' | 'cluster' };

/** Few clients, Services and endpoints, so that everything collides with everything. */
const IPV4 = {
  clients: ['10.0.0.1:1000', '10.0.0.1:1001', '10.0.0.2:1000'],
  services: ['10.96.0.10:80', '10.96.0.11:53', '10.96.0.12:80'],
  endpoints: ['10.0.0.11:80', '10.0.0.12:8080', '10.0.0.1:80'],
};
// The lower halves of these are those of the others.
const IPV6 = {
  clients: ['[fd00::a00:1]:1000', '[fd00::a00:1]:1001', '[fd01::a00:1]:1000'],
  services: ['[fd00::a60:a]:80', '[fd00::a60:b]:53', '[fd00::a60:c]:80'],
  endpoints: ['[fd00::a00:b]:80', '[fd00::a00:c]:8080', '[fd00::a00:1]:80'],
};
/** No connection's, and of the other family within one. */
const ODD = {
  clients: ['0.0.0.1:1000', '[::ffff:10.0.0.1]:1000', '[::1]:1000'],
  services: ['0.0.0.2:80', '[::ffff:10.96.0.10]:80', '10.96.0.10:80', '[fd00::a60:a]:80'],
  endpoints: ['0.0.0.3:80', '[::ffff:10.0.0.11]:80', '10.0.0.11:80'],
};
const FAMILIES = [IPV4, IPV4, IPV4, IPV6, IPV6, IPV6, ODD];
/** One of any of both, of one family. */
const ends = fc.constantFrom(...FAMILIES).chain(({ clients, services, endpoints }) =>
  fc.record({
    client: fc.constantFrom(...clients),
    service: fc.constantFrom(...services),
    endpoint: fc.constantFrom(...endpoints),
    from: fc.constantFrom(...clients, ...services, ...endpoints),
    to: fc.constantFrom(...clients, ...services, ...endpoints),
  }),
);
const FLAGS = [
  TCP_SYN,
  TCP_SYN | TCP_ACK,
  TCP_FIN | TCP_ACK,
  TCP_RST,
  TCP_RST | TCP_ACK,
  TCP_ACK,
  TCP_SYN | TCP_FIN,
];

/** The moments at which the machine looks again, and those beside them. */
const LIMITS = [MS, 2 * MS, SECOND, 2 * SECOND, 5 * SECOND, 130 * SECOND, 5 * 86_400 * SECOND];
const gap = fc.oneof(
  { weight: 8, arbitrary: fc.integer({ min: 0, max: 2_000 }) },
  { weight: 6, arbitrary: fc.constant(0) },
  {
    weight: 3,
    arbitrary: fc.constantFrom(...LIMITS).chain((at) => fc.constantFrom(at - 1, at, at + 1)),
  },
  { weight: 3, arbitrary: fc.integer({ min: 0, max: 4 * MS }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 2 * SECOND }) },
  { weight: 2, arbitrary: fc.integer({ min: SECOND, max: 8 * SECOND }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 200 * SECOND }) },
);
const number = fc.constantFrom(1, 0x8000_0000, 0xffff_ffff);

const anything: fc.Arbitrary<Packet> = fc
  .record(
    {
      ends,
      protocol: fc.constantFrom(TCP, TCP, TCP, UDP),
      flags: fc.constantFrom(...FLAGS),
      seq: number,
      ack: number,
      print: fc.integer({ min: 0, max: 2 }),
      ipid: fc.integer({ min: 0, max: 2 }),
      resolution: fc.constantFrom(1, 1, 1_000, SECOND),
      lateness: fc.constantFrom(0, 0, MS),
      icmp: fc.constantFrom<readonly [number, number]>([3, 3], [3, 1], [11, 0]),
    },
    { requiredKeys: ['ends', 'protocol', 'flags', 'seq', 'ack', 'print', 'ipid'] },
  )
  .map(({ ends: { from, to }, ...rest }) => ({ from, to, ...rest }));

/** What an ordinary connection is seen as, of which some is left out, said twice or comes in another order. */
const conversation: fc.Arbitrary<Step[]> = fc
  .record({
    ends,
    isn: number,
    answer: number,
    ipid: fc.integer({ min: 0, max: 2 }),
    end: fc.constantFrom('fin', 'fin', 'rst', 'rst and fin', 'none'),
    resolution: fc.constantFrom(1, 1_000, 1_000, 10_000_000),
    gaps: fc.array(gap, { minLength: 12, maxLength: 12 }),
    odd: fc.array(
      fc.record({
        which: fc.nat({ max: 11 }),
        how: fc.constantFrom('drop', 'twice', 'swap', 'later', 'back', 'finer', 'late'),
      }),
      { maxLength: 4 },
    ),
  })
  .map(({ ends: { client, service, endpoint }, isn, answer, ipid, end, resolution, gaps, odd }) => {
    const out = { seq: isn, print: 7, ipid, resolution };
    const back = { seq: answer, ack: (isn + 1) >>> 0, flags: TCP_SYN | TCP_ACK };
    const fin = { flags: TCP_FIN | TCP_ACK };
    const rst = { flags: TCP_RST };
    const packets: Packet[] = [
      { from: client, to: service, ...out },
      { from: client, to: endpoint, ...out },
      { from: endpoint, to: client, ...back },
      { from: service, to: client, ...back },
      { from: client, to: service, flags: TCP_ACK },
    ];
    if (end.startsWith('rst')) {
      packets.push({ from: client, to: service, ...rst }, { from: client, to: endpoint, ...rst });
    }
    if (end.endsWith('fin')) {
      packets.push({ from: client, to: service, ...fin }, { from: client, to: endpoint, ...fin });
      packets.push({ from: endpoint, to: client, ...fin }, { from: service, to: client, ...fin });
    }
    const steps: Step[] = packets.map((packet, i) => ({ gap: gaps[i] ?? 0, packet }));
    for (const { which, how } of odd) {
      const step = steps[which];
      if (step === undefined) continue;
      if (how === 'drop') steps.splice(which, 1);
      else if (how === 'twice') steps.splice(which, 0, step);
      else if (how === 'later') steps.push(step);
      else if (how === 'back' && 'packet' in step) {
        const { from, to } = step.packet;
        steps.splice(which, 0, { ...step, packet: { ...step.packet, from: to, to: from } });
      } else if (how === 'finer' && 'packet' in step) {
        steps.splice(which, 1, { ...step, packet: { ...step.packet, resolution: 1 } });
      } else if (how === 'late' && 'packet' in step) {
        steps.splice(which, 1, { ...step, packet: { ...step.packet, lateness: MS } });
      } else if (how === 'swap') steps.splice(which, 2, ...steps.slice(which, which + 2).reverse());
    }
    return steps;
  });

const story: fc.Arbitrary<Step[]> = fc
  .array(
    fc.oneof(
      { weight: 6, arbitrary: conversation },
      { weight: 3, arbitrary: fc.record({ gap, packet: anything }).map((s) => [s]) },
      {
        weight: 2,
        arbitrary: fc
          .record({ gap, back: fc.integer({ min: 0, max: SECOND }), packet: anything })
          .map((s) => [s]),
      },
      {
        weight: 1,
        arbitrary: fc
          .record({ gap, what: fc.constantFrom('tick', 'loss', 'rules', 'cluster') })
          .map((s) => [s as Step]),
      },
    ),
    { maxLength: 30 },
  )
  // Conversations run into each other: each next packet is of any of those that go on.
  .chain((all) =>
    fc
      .array(fc.nat({ max: 3 }), { minLength: 40, maxLength: 40 })
      .map((turns) => interleaved(all, turns)),
  );

function interleaved(all: readonly Step[][], turns: readonly number[]): Step[] {
  const waiting = all.map((steps) => [...steps]);
  const steps: Step[] = [];
  for (let i = 0; waiting.length > 0; i++) {
    const which = (turns[i % turns.length] ?? 0) % Math.min(4, waiting.length);
    const from = waiting[which] ?? [];
    const next = from.shift();
    if (next === undefined) waiting.splice(which, 1);
    else steps.push(next);
  }
  return steps;
}

const ENTRIES = [
  serviceEntry('web', '10.96.0.10:80', ['10.0.0.11:80', '10.0.0.12:8080']),
  serviceEntry('dns', '10.96.0.11:53', ['10.0.0.11:80']),
  serviceEntry('six', '[fd00::a60:a]:80', ['[fd00::a00:b]:80', '[fd00::a00:c]:8080']),
  serviceEntry('dns6', '[fd00::a60:b]:53', ['[fd00::a00:b]:80']),
];
const REFUSALS = [
  serviceEntry('none', '10.96.0.12:80', [], { action: 'reject' }),
  serviceEntry('none6', '[fd00::a60:c]:80', [], { action: 'reject' }),
];

const textOf = (notice: object): string =>
  JSON.stringify(notice, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));

/** Counts of a run; `plainly`: as they are made where connections need only be counted. */
function counted(steps: readonly Step[], plainly: boolean) {
  const b = new Bench({ packetsOnly: true, describes: false })
    .services([...ENTRIES, ...REFUSALS])
    .pods([pod('a', '10.0.0.11'), pod('b', '10.0.0.12')]);
  // What conntrack has to say, nothing here, is what ends the shorter way.
  if (!plainly) b.push({ type: 'conntrack', rows: new ConntrackRows(1) });
  let at = SECOND;
  for (const step of steps) {
    at += step.gap;
    if ('packet' in step) {
      b.packet({ ...step.packet, at: 'back' in step ? Math.max(0, at - step.back) : at });
    } else if (step.what === 'tick') b.tick(at);
    else if (step.what === 'loss') {
      b.push({ type: 'loss', loss: { source: 'ring', count: 1, detail: 'some' } });
    } else if (step.what === 'cluster') b.pods([pod('a', '10.0.0.11')], at);
    else b.services(ENTRIES, at);
  }
  b.finish();
  const notices = b.events.flatMap((e) => (e.type === 'notice' ? [e.notice] : []));
  return { summary: b.summary, notices: notices.map((it) => textOf(it)).sort() };
}

describe('connections that need only be counted', () => {
  it('are counted as those that are described, whatever happens in whatever order', () => {
    fc.assert(
      fc.property(story, (steps) => {
        expect(counted(steps, true)).toEqual(counted(steps, false));
      }),
      { numRuns: 3_000 },
    );
  });

  const client = '10.0.0.1:1000';
  const service = '10.96.0.10:80';
  const endpoint = '10.0.0.11:80';
  const syn = { seq: 5, print: 7, ipid: 1 };
  const answer = { seq: 9, ack: 6, flags: TCP_SYN | TCP_ACK };
  const step = (from: string, to: string, rest: Partial<Packet>, gap = 1_000): Step => ({
    gap,
    packet: { from, to, ...rest },
  });
  const opened: Step[] = [
    step(client, service, syn),
    step(client, endpoint, syn),
    step(endpoint, client, answer),
    step(service, client, answer),
  ];
  const rst = { flags: TCP_RST };
  const fin = { flags: TCP_FIN | TCP_ACK };
  const tick = (gap: number): Step => ({ gap, what: 'tick' });
  const answeredAgain = (gap: number): Step => step(service, client, answer, gap);
  const closing: Step[] = [step(client, service, fin), step(service, client, fin)];

  it.each<[string, Step[], Record<string, number>]>([
    ['answered', opened, { established: 1 }],
    ['not answered', [...opened.slice(0, 2), tick(SECOND)], { unanswered: 1 }],
    [
      'not answered for long',
      [...opened.slice(0, 2), answeredAgain(2 * SECOND)],
      { established: 1 },
    ],
    ['given up', [...opened.slice(0, 2), answeredAgain(140 * SECOND)], { unanswered: 1 }],
    ['reset', [...opened, step(client, service, rst)], { reset: 1 }],
    [
      'reset, its answer seen again',
      [...opened, step(client, service, rst), answeredAgain(1)],
      { reset: 1 },
    ],
    [
      'reset and closed, its answer seen again',
      [...opened, step(client, service, rst), tick(3 * SECOND), answeredAgain(4 * SECOND)],
      { reset: 1 },
    ],
    [
      'reset and forgotten, its answer seen again',
      [...opened, step(client, service, rst), tick(3 * SECOND), tick(6 * SECOND), answeredAgain(1)],
      { reset: 1, established: 1 },
    ],
    [
      'reset between its ends',
      [...opened, step(client, service, rst), ...closing],
      { established: 1 },
    ],
    [
      'closed, its answer seen again',
      [...opened, ...closing, tick(3 * MS), answeredAgain(MS)],
      { established: 1 },
    ],
    [
      'closed and forgotten, its answer seen again',
      [...opened, ...closing, tick(3 * MS), tick(3 * MS), answeredAgain(1)],
      { established: 2 },
    ],
    [
      'opened again',
      [...opened, ...closing, step(client, service, { ...syn, seq: 6 })],
      { established: 1, open: 1 },
    ],
    [
      'opened again when it was forgotten, to the same endpoint',
      [
        ...opened,
        ...closing,
        tick(3 * MS),
        tick(3 * MS),
        step(client, service, { ...syn, seq: 6 }),
        step(client, endpoint, { ...syn, seq: 6 }),
      ],
      { established: 1, open: 1 },
    ],
    [
      'made something else where another begins at the same moment',
      [
        step(client, service, syn),
        step(client, service, { icmp: [3, 1] }, 0),
        step('10.0.0.2:1000', service, { ...syn, seq: 6 }, 0),
        step('10.0.0.2:1000', endpoint, { ...syn, seq: 6 }, 0),
        tick(2 * SECOND),
      ],
      { unanswered: 2 },
    ],
    [
      'reset and closed, its answer seen again behind the next on its tuple',
      [
        ...opened,
        step(client, service, rst),
        tick(2 * SECOND + 100 * MS),
        step(client, service, { ...syn, seq: 60 }, SECOND),
        answeredAgain(10_000),
      ],
      { reset: 1, established: 1, open: 1 },
    ],
    [
      'sent again as its translated copy came, late',
      [
        step(client, service, syn),
        step(client, endpoint, syn, 2 * MS),
        step(client, service, { ...syn, ipid: 2 }, 0),
        answeredAgain(MS),
        tick(3 * SECOND),
      ],
      { established: 1 },
    ],
    [
      'silent for six days and then reset',
      [...opened, step(client, service, rst, 6 * 86_400 * SECOND)],
      { established: 1 },
    ],
    [
      'silent for days while time passes, its answer seen again',
      [...opened, tick(5.5 * 86_400 * SECOND), answeredAgain(0.5 * 86_400 * SECOND)],
      { established: 2 },
    ],
    [
      'answered over IPv6 with its numbers',
      [...opened, step('[fd00::a60:a]:80', '[fd00::a00:1]:1000', answer)],
      { established: 1 },
    ],
  ])('one that was %s', (_, steps, outcomes) => {
    const one = counted(steps, true);
    expect(one).toEqual(counted(steps, false));
    expect(one.summary.connections.outcomes).toEqual(outcomes);
  });

  it('are counted over IPv6 from more clients than are remembered', () => {
    const web = '[fd00::a60:a]:80';
    const behind = '[fd00::a00:b]:80';
    const lasting = '[fd00::1]:999';
    const two = (from: string, seq: number, flags = TCP_SYN): Step[] => [
      step(from, web, { ...syn, seq, flags }),
      step(from, behind, { ...syn, seq, flags }),
    ];
    const heard = (to: string, ack: number, flags: number): Step[] => [
      step(behind, to, { ...answer, ack, flags }),
      step(web, to, { ...answer, ack, flags }),
    ];
    const clients = Array.from({ length: 9_000 }, (_, i) => `[fd02::${(i + 1).toString(16)}]:1000`);
    const steps = [
      ...two(lasting, 5),
      ...clients.flatMap((from, i) => [
        ...two(from, 100 + i),
        ...heard(from, 101 + i, TCP_SYN | TCP_ACK),
        ...two(from, 101 + i, TCP_FIN | TCP_ACK),
        // Some stay open.
        ...(i % 100 === 0 ? [] : heard(from, 102 + i, TCP_FIN | TCP_ACK)),
      ]),
      // It is found by both of its tuples: answered, and then reset.
      ...heard(lasting, 6, TCP_SYN | TCP_ACK),
      ...clients.filter((_, i) => i % 100 === 0).flatMap((from) => heard(from, 1, TCP_RST)),
    ];
    const one = counted(steps, true);
    expect(one).toEqual(counted(steps, false));
    expect(one.summary.connections.outcomes).toEqual({ established: 8_911, reset: 90 });
  });

  it.each<[string, Step[]]>([
    ['FINs', [...opened, ...closing, step(client, endpoint, rst, 1)]],
    ['a reset', [...opened, step(client, service, rst), step(client, endpoint, rst)]],
    [
      'FINs over IPv6',
      [
        step('[fd00::a00:1]:1000', '[fd00::a60:a]:80', syn),
        step('[fd00::a00:1]:1000', '[fd00::a00:b]:80', syn),
        step('[fd00::a00:b]:80', '[fd00::a00:1]:1000', answer),
        step('[fd00::a00:b]:80', '[fd00::a00:1]:1000', fin),
        step('[fd00::a00:1]:1000', '[fd00::a60:a]:80', fin),
      ],
    ],
  ])('are not made Connections while they end by %s', (_, story) => {
    const bench = new Bench();
    const state = new State(
      { interfaces: bench.interfaces, baseSeconds: BASE_SECONDS, describes: false },
      new Clock(BASE_SECONDS),
      new ClusterState(),
    );
    state.at.byRules = new ServiceIndex([{ entries: ENTRIES }], []);
    const plain = new PlainConnections(state);
    let at = SECOND;
    const specs = story.flatMap((one) => {
      at += one.gap;
      return 'packet' in one ? [{ ...one.packet, at }] : [];
    });
    const { words } = bench.packetRows(specs);
    for (const [i, spec] of specs.entries()) {
      state.now = spec.at;
      plain.advance(spec.at);
      expect(plain.take(words, i * PACKET_WORDS, true)).toBe(true);
    }
    expect(state.table.size).toBe(0);
  });
});
