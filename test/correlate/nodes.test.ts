import { describe, expect, it } from 'vitest';
import { EVENT_DESTROY, EVENT_LISTED, EVENT_NEW } from '../../src/model/conntrack.js';
import { TCP_ACK, TCP_SYN, UDP } from '../../src/model/packet.js';
import { Bench, pod, serviceEntry } from '../support/machine.js';

const CLIENT = '10.0.1.1:40000';
const VIP = '10.96.0.10:80';
const POD_B = '10.0.2.12:8080';
const SYN_ACK = TCP_SYN | TCP_ACK;

/** Two nodes whose rules know different endpoints of one Service. */
const bench = (): Bench =>
  new Bench({ severalNodes: true })
    .on('node1')
    .services([serviceEntry('web', VIP, [POD_B, '10.0.2.13:8080'])])
    .on('node2')
    .services([serviceEntry('web', VIP, [POD_B])])
    .pods([pod('client', '10.0.1.1'), pod('b', '10.0.2.12', 'node2')]);

/** From the client's node over the wire to the Pod's, whose clock is ahead by `skew` ns. */
function acrossNodes(b: Bench, skew = 0, from = CLIENT, isn = 500): Bench {
  const both = { seq: isn, print: isn };
  const answer = { flags: SYN_ACK, seq: 9, ack: isn + 1 };
  return b
    .on('node1')
    .packet({ at: 10_000, from, to: VIP, ...both, on: 'veth-c' })
    .packet({ at: 12_000, from, to: POD_B, ...both, on: 'eth0' })
    .on('node2')
    .packet({ at: 42_000 + skew, from, to: POD_B, ...both, on: 'eth0' })
    .packet({ at: 43_000 + skew, from, to: POD_B, ...both, on: 'veth-b' })
    .packet({ at: 50_000 + skew, from: POD_B, to: from, ...answer, on: 'veth-b' })
    .packet({ at: 51_000 + skew, from: POD_B, to: from, ...answer, on: 'eth0' })
    .on('node1')
    .packet({ at: 85_000, from: POD_B, to: from, ...answer, on: 'eth0' })
    .packet({ at: 86_000, from: VIP, to: from, ...answer, on: 'veth-c' });
}

/** One SYN of which each node has one sight, and no Service is known. */
function seenByBoth(): Bench {
  const syn = { from: CLIENT, seq: 5, print: 5 };
  return new Bench({ severalNodes: true })
    .on('node1')
    .packet({ at: 10_000, to: VIP, ...syn, on: 'veth-c' })
    .on('node2')
    .packet({ at: 60_000, to: POD_B, ...syn, on: 'eth0' });
}

describe('recordings of two nodes', () => {
  it('are one connection, with both ends and the time between them', () => {
    const b = acrossNodes(bench()).finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({
      node: 'node1',
      backend: { pod: { name: 'b' }, node: 'node2' },
      interfaces: { in: 'veth-c', out: 'eth0' },
      farEnd: { node: 'node2', interfaces: { in: 'eth0', out: 'veth-b' }, handshakeNs: 8_000 },
      latency: {
        natNs: 2_000,
        handshakeNs: 76_000,
        networkNs: 30_000,
        networkRoundTripNs: 68_000,
      },
    });
    expect(b.summary).toMatchObject({ connections: { seen: 1 }, direct: 0, other: 0 });
  });

  it('explain a connection by the rules of the node that translated it', () => {
    const b = acrossNodes(bench()).finish();
    expect(b.closed[0]?.rules?.probability).toBe(0.5);
    const back = bench()
      .on('node2')
      .packet({ at: 10, from: '10.0.2.9:7', to: VIP, seq: 1, print: 1 })
      .packet({ at: 20, from: '10.0.2.9:7', to: POD_B, seq: 1, print: 1 })
      .finish();
    expect(back.closed[0]).toMatchObject({ node: 'node2', rules: { probability: 1 } });
  });

  it.each([-35_000, 1_000_000, -1_000_000])('never compare clocks that are %d ns apart', (skew) => {
    const b = acrossNodes(bench(), skew).finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]?.latency).not.toHaveProperty('networkNs');
    expect(b.closed[0]?.latency?.networkRoundTripNs).toBe(68_000);
    expect(b.summary).toMatchObject({ connections: { seen: 1, attributed: 1 }, direct: 0 });
  });

  it('name the endpoint by the other node’s packets where one node saw one side only', () => {
    const b = bench()
      .on('node1')
      .packet({ at: 10_000, from: CLIENT, to: VIP, seq: 5, print: 5 })
      .on('node2')
      .packet({ at: 42_000, from: CLIENT, to: POD_B, seq: 5, print: 5 })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({ node: 'node1', backend: { pod: { name: 'b' } } });
  });

  it.each([
    ['after', 30_000, 60_000],
    ['before', 60_000, 30_000],
  ])(
    'conntrack of the far end, told %s the near one’s, is no connection of its own',
    (_, near, far) => {
      const entry = { event: EVENT_NEW, from: CLIENT } as const;
      const told = [
        { at: near, node: 'node1', spec: { ...entry, to: VIP, endpoint: POD_B } },
        { at: far, node: 'node2', spec: { ...entry, to: POD_B, endpoint: POD_B } },
      ].sort((a, b) => a.at - b.at);
      const b = bench();
      for (const { at, node, spec } of told) b.on(node).conntrack({ ...spec, at });
      b.on('node2')
        .conntrack({ ...entry, event: EVENT_DESTROY, at: 90_000, to: POD_B, endpoint: POD_B })
        .conntrack({ ...entry, event: EVENT_LISTED, to: POD_B, endpoint: POD_B })
        .finish();
      expect(b.closed).toHaveLength(1);
      expect(b.closed[0]).toMatchObject({
        evidence: ['conntrack', 'rules', 'cluster'],
        node: 'node1',
        farEnd: { node: 'node2' },
      });
      expect(b.summary).toMatchObject({ direct: 0, other: 0 });
    },
  );

  it('a listing without a time speaks for its own node, whichever was heard of last', () => {
    const b = bench()
      .on('node1')
      .conntrack({ event: EVENT_LISTED, from: CLIENT, to: VIP, endpoint: POD_B })
      .packet({ at: 10_000, from: CLIENT, to: VIP, seq: 5, print: 5, on: 'veth-c' })
      .packet({ at: 60_000, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 9, ack: 6, on: 'veth-c' })
      .on('node2')
      .packet({ at: 90_000, from: '10.0.2.9:7', to: '10.0.2.8:8', seq: 1, print: 1 })
      .finish();
    expect(b.closed).toMatchObject([
      {
        node: 'node1',
        rules: { probability: 0.5 },
        interfaces: { in: 'veth-c' },
        latency: { handshakeNs: 50_000 },
      },
    ]);
  });

  it('find the NodePort of another node where its packet arrives', () => {
    const nodePort = { ...serviceEntry('web', '0.0.0.0:30080', [POD_B]), address: 'local' };
    const b = new Bench({ severalNodes: true })
      .on('node1')
      .push({ type: 'addresses', addresses: ['192.168.0.1'] })
      .services([{ ...nodePort, via: 'nodePort' }])
      .on('node2')
      .push({ type: 'addresses', addresses: ['192.168.0.2'] })
      .services([{ ...nodePort, via: 'nodePort' }])
      .on('node2')
      .packet({ at: 10, from: CLIENT, to: '192.168.0.1:30080', seq: 5, print: 5, on: 'eth0' })
      .on('node1')
      .packet({ at: 90, from: CLIENT, to: '192.168.0.1:30080', seq: 5, print: 5, on: 'eth0' })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({ node: 'node1', service: { via: 'nodePort' } });
  });

  it.each([0, 4_000_000])('measure each node by its own clock, %d ns apart', (skew) => {
    const to = '192.168.0.2:30080';
    const nodePort = serviceEntry('web', '0.0.0.0:30080', [POD_B], { via: 'nodePort' });
    const syn = { from: CLIENT, seq: 5, print: 5 };
    const answer = { to: CLIENT, flags: SYN_ACK, seq: 9, ack: 6 };
    const b = new Bench({ severalNodes: true })
      .on('node2')
      .push({ type: 'addresses', addresses: ['192.168.0.2'] })
      .services([{ ...nodePort, address: 'local' }])
      .on('node1')
      .push({ type: 'addresses', addresses: ['192.168.0.1'] })
      .packet({ at: 10_000, to, ...syn, on: 'veth-c' });
    const answered = (): Bench =>
      b.on('node1').packet({ at: 280_000, from: to, ...answer, on: 'veth-c' });
    if (skew > 0) answered();
    b.on('node2')
      .packet({ at: 120_000 + skew, to, ...syn, on: 'eth0' })
      .packet({ at: 130_000 + skew, to: POD_B, ...syn, on: 'veth-b' })
      .packet({ at: 160_000 + skew, from: POD_B, ...answer, on: 'veth-b' })
      .packet({ at: 170_000 + skew, from: to, ...answer, on: 'eth0' });
    if (skew === 0) answered();
    const [c] = b.finish().closed;
    expect(b.closed).toHaveLength(1);
    expect(c).toMatchObject({ node: 'node2', interfaces: { in: 'eth0', out: 'veth-b' } });
    expect(c?.latency).toEqual({ natNs: 10_000, handshakeNs: 50_000 });
    expect(c?.farEnd).toBeUndefined();
  });

  it('UDP is answered where the client has its answer', () => {
    const datagram = { protocol: UDP, flags: 0 };
    const [question, answer] = [
      { ...datagram, print: 1 },
      { ...datagram, print: 2 },
    ];
    const b = new Bench({ severalNodes: true })
      .on('node1')
      .services([serviceEntry('dns', VIP, [POD_B], { protocol: UDP })])
      .packet({ at: 0, from: CLIENT, to: VIP, ...question })
      .packet({ at: 10_000, from: CLIENT, to: POD_B, ...question })
      .packet({ at: 90_000, from: POD_B, to: CLIENT, ...answer })
      .packet({ at: 95_000, from: VIP, to: CLIENT, ...answer })
      .on('node2')
      .packet({ at: 4_050_000, from: CLIENT, to: POD_B, ...question })
      .packet({ at: 4_060_000, from: POD_B, to: CLIENT, ...answer })
      .finish();
    expect(b.closed[0]?.latency).toEqual({
      natNs: 10_000,
      handshakeNs: 95_000,
      networkRoundTripNs: 85_000,
    });
  });

  it('are the first node’s where no Service is known', () => {
    const b = seenByBoth().finish();
    expect(b.closed).toMatchObject([
      {
        node: 'node1',
        interfaces: { in: 'veth-c' },
        farEnd: { node: 'node2', interfaces: { in: 'eth0' } },
      },
    ]);
    expect(b.closed[0]?.latency).toEqual({});
  });

  it('have no far end at the node that conntrack says translated it', () => {
    const b = seenByBoth()
      .conntrack({ at: 70_000, event: EVENT_NEW, from: CLIENT, to: VIP, endpoint: POD_B })
      .finish();
    expect(b.closed).toMatchObject([{ node: 'node2', backend: { ip: '10.0.2.12' } }]);
    expect(b.closed[0]?.farEnd).toBeUndefined();
  });

  it('UDP goes on as one flow where only the far end has the translated copies', () => {
    const b = new Bench({ severalNodes: true })
      .on('node1')
      .services([serviceEntry('dns', VIP, [POD_B], { protocol: UDP })]);
    for (let i = 0; i < 6; i++) {
      const at = i * 1_000_000_000;
      const query = { protocol: UDP, flags: 0, print: 10 + i };
      b.on('node1').packet({ at, from: CLIENT, to: VIP, ...query });
      b.on('node2').packet({ at: at + 30_000, from: CLIENT, to: POD_B, ...query });
    }
    b.finish();
    expect(b.closed).toHaveLength(1);
  });

  it('UDP that the far end shows at another endpoint is still the client’s node’s', () => {
    const b = new Bench({ severalNodes: true })
      .on('node1')
      .services([serviceEntry('dns', VIP, [POD_B, '10.0.2.13:8080'], { protocol: UDP })]);
    for (const [at, to, print] of [
      [0, POD_B, 1],
      [2_000_000_000, '10.0.2.13:8080', 2],
    ] as const) {
      const query = { from: CLIENT, protocol: UDP, flags: 0, print };
      b.on('node1').packet({ at, to: VIP, ...query, on: 'veth-c' });
      b.on('node2').packet({ at: at + 30_000, to, ...query, on: 'eth0' });
    }
    b.finish();
    expect(b.closed).toHaveLength(2);
    expect(b.closed[1]).toMatchObject({
      node: 'node1',
      verdict: 'attributed',
      service: { name: 'dns' },
      backend: { ip: '10.0.2.13' },
      interfaces: { in: 'veth-c' },
      farEnd: { node: 'node2' },
    });
  });

  describe('of a Pod that calls another node’s NodePort', () => {
    const NODE_PORT = '192.168.0.2:30080';
    const POD_A = '10.0.1.11:8080';
    const nodes = (): Bench => {
      const entry = serviceEntry('web', '0.0.0.0:30080', [POD_A, POD_B], { via: 'nodePort' });
      const b = new Bench({ severalNodes: true });
      for (const [node, address] of [
        ['node1', '192.168.0.1'],
        ['node2', '192.168.0.2'],
      ] as const) {
        b.on(node)
          .push({ type: 'addresses', addresses: [address] })
          .services([{ ...entry, address: 'local' }]);
      }
      return b.pods([pod('client', '10.0.1.1'), pod('a', '10.0.1.11'), pod('b', '10.0.2.12')]);
    };
    const syn = { from: CLIENT, seq: 5, print: 5 };
    type Step = readonly [at: number, tell: (b: Bench, at: number) => void];
    const inOrder = (steps: readonly Step[]): Bench => {
      const b = nodes();
      for (const [at, tell] of [...steps].sort((x, y) => x[0] - y[0])) tell(b, at);
      return b.finish();
    };
    const packet =
      (node: string, to: string, on: string) =>
      (b: Bench, at: number): void => {
        b.on(node).packet({ at, to, on, ...syn });
      };
    const entry =
      (node: string, endpoint: string) =>
      (b: Bench, at: number): void => {
        b.on(node).conntrack({ at, event: EVENT_NEW, from: CLIENT, to: NODE_PORT, endpoint });
      };

    it('is the other node’s where only conntrack tells of the first and nothing is translated', () => {
      const b = inOrder([
        [10_020_000, entry('node1', NODE_PORT)],
        [10_060_000, packet('node2', NODE_PORT, 'eth0')],
      ]);
      expect(b.closed).toMatchObject([
        { node: 'node2', service: { via: 'nodePort' }, interfaces: { in: 'eth0' } },
      ]);
      expect(b.summary).toMatchObject({ connections: { seen: 1 }, direct: 0, other: 0 });
    });

    it('by UDP is the other node’s where it is refused there', () => {
      const b = new Bench({ severalNodes: true })
        .on('node2')
        .push({ type: 'addresses', addresses: ['192.168.0.2'] })
        .services([
          {
            ...serviceEntry('dns', '0.0.0.0:30080', [POD_B], { via: 'nodePort', protocol: UDP }),
            address: 'local',
          },
        ]);
      const query = { from: CLIENT, to: NODE_PORT, protocol: UDP, flags: 0, print: 1 };
      b.on('node1').packet({ at: 10_000, ...query, on: 'veth-c' });
      b.on('node2')
        .packet({ at: 40_000, ...query, on: 'eth0' })
        .packet({ at: 50_000, ...query, icmp: [3, 3] })
        .finish();
      expect(b.closed).toMatchObject([
        { node: 'node2', outcome: 'rejected', interfaces: { in: 'eth0' } },
      ]);
      expect(b.summary).toMatchObject({ connections: { seen: 1 }, direct: 0, other: 0 });
    });

    it.each([0, 5_000_000, -5_000_000])(
      'are one connection, the other node’s, whose clock differs by %d ns',
      (skew) => {
        for (const endpoint of [POD_A, POD_B]) {
          const end: Step =
            endpoint === POD_A
              ? [10_090_000, packet('node1', endpoint, 'veth-a')]
              : [10_060_000 + skew, packet('node2', endpoint, 'veth-b')];
          const packets: Step[] = [[10_010_000, packet('node1', NODE_PORT, 'veth-c')], end];
          const conntrack: Step[] = [
            [10_020_000, entry('node1', NODE_PORT)],
            [10_070_000 + skew, entry('node2', endpoint)],
          ];
          for (const steps of [packets, conntrack, [...packets, ...conntrack]]) {
            const b = inOrder(steps);
            expect(b.closed).toMatchObject([
              {
                node: 'node2',
                verdict: 'attributed',
                destination: { ip: '192.168.0.2', port: 30_080 },
                service: { name: 'web', via: 'nodePort' },
                backend: { pod: { name: endpoint === POD_A ? 'a' : 'b' } },
              },
            ]);
            expect(b.closed[0]?.latency ?? {}).toEqual({});
            expect(b.summary).toMatchObject({ direct: 0, other: 0 });
          }
        }
      },
    );
  });

  it('a copy at the node that passes it on is not sent again, however far its clock is ahead', () => {
    const to = '192.168.0.2:30080';
    const entry = serviceEntry('web', '0.0.0.0:30080', [POD_B], { via: 'nodePort' });
    const syn = { from: CLIENT, seq: 5, print: 5 };
    const b = new Bench({ severalNodes: true })
      .on('node2')
      .push({ type: 'addresses', addresses: ['192.168.0.2'] })
      .services([{ ...entry, address: 'local' }])
      .packet({ at: 10_000, to, ...syn, on: 'eth0' })
      .packet({ at: 20_000, to: POD_B, ...syn, on: 'veth-b' })
      .on('node1')
      .packet({ at: 300_000_000, to, ...syn, on: 'veth-c' })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]?.retransmits).toBeUndefined();
  });

  it.each([3_000_000, -3_000_000])(
    'of which one has conntrack and the other packets are joined, %d ns apart',
    (skew) => {
      const near = { event: EVENT_NEW, from: CLIENT, to: VIP, endpoint: POD_B } as const;
      const far = { event: EVENT_NEW, from: CLIENT, to: POD_B, endpoint: POD_B } as const;
      const packet = { from: CLIENT, seq: 5, print: 5 };
      const orders: readonly (readonly [number, (b: Bench, at: number) => void])[][] = [
        [
          [10_010_000, (b, at) => b.on('node1').conntrack({ ...near, at, lateness: 1_000_000 })],
          [
            10_040_000 + skew,
            (b, at) => b.on('node2').packet({ ...packet, at, to: POD_B, on: 'eth0' }),
          ],
        ],
        [
          [10_010_000, (b, at) => b.on('node1').packet({ ...packet, at, to: VIP, on: 'veth-c' })],
          [10_012_000, (b, at) => b.on('node1').packet({ ...packet, at, to: POD_B, on: 'eth0' })],
          [
            10_040_000 + skew,
            (b, at) => b.on('node2').conntrack({ ...far, at, lateness: 1_000_000 }),
          ],
        ],
      ];
      for (const steps of orders) {
        const b = bench();
        for (const [at, tell] of steps.sort((x, y) => x[0] - y[0])) tell(b, at);
        b.finish();
        expect(b.closed).toMatchObject([
          { node: 'node1', backend: { pod: { name: 'b' } }, farEnd: { node: 'node2' } },
        ]);
        expect(b.notices).not.toContain('copy-missing');
        expect(b.summary).toMatchObject({ direct: 0, other: 0 });
      }
    },
  );

  it('of which one names no node are taken for one node: nothing that was seen is another’s', () => {
    const b = new Bench({ severalNodes: true })
      .pods([pod('b', '10.0.2.12', 'node2')])
      .packet({ at: 10_000, from: CLIENT, to: VIP, seq: 5, print: 5, on: 'veth-c' })
      .packet({ at: 12_000, from: CLIENT, to: POD_B, seq: 5, print: 5, on: 'eth0' })
      .on('node1')
      .services([serviceEntry('web', VIP, [POD_B])])
      .conntrack({ event: EVENT_NEW, at: 20_000, from: CLIENT, to: VIP, endpoint: POD_B })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({
      node: 'node1',
      interfaces: { in: 'veth-c', out: 'eth0' },
      latency: { natNs: 2_000 },
    });
    expect(b.closed[0]?.farEnd).toBeUndefined();
  });
});
