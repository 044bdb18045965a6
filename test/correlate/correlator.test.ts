import { describe, expect, it } from 'vitest';
import { EVENT_DESTROY, EVENT_LISTED, EVENT_NEW, EVENT_UPDATE } from '../../src/model/conntrack.js';
import {
  DIRECTION_IN,
  DIRECTION_OUT,
  SCTP,
  SCTP_INIT,
  SCTP_INIT_ACK,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  UDP,
} from '../../src/model/packet.js';
import { BASE_SECONDS, Bench, pod, serviceEntry } from '../support/machine.js';

const CLIENT = '10.0.0.1:40000';
const VIP = '10.96.0.10:80';
const POD_A = '10.0.0.11:8080';
const POD_B = '10.0.0.12:8080';
const SYN_ACK = TCP_SYN | TCP_ACK;
const SECOND = 1_000_000_000;
const XML_SECOND = 1_010_000_000;

const bench = (options = {}): Bench =>
  new Bench(options)
    .services([serviceEntry('web', VIP, [POD_A, POD_B])])
    .pods([pod('client', '10.0.0.1'), pod('a', '10.0.0.11'), pod('b', '10.0.0.12', 'node2')]);

/** One connection seen on both sides of the translation. */
const seenWhole = (b: Bench, at: number, isn: number, endpoint = POD_A, client = CLIENT): Bench =>
  b
    .packet({ at, from: client, to: VIP, seq: isn, print: isn, on: 'veth-c' })
    .packet({ at: at + 20, from: client, to: endpoint, seq: isn, print: isn, on: 'veth-p' })
    .packet({ at: at + 40, from: endpoint, to: client, flags: SYN_ACK, seq: 9, ack: isn + 1 })
    .packet({ at: at + 60, from: VIP, to: client, flags: SYN_ACK, seq: 9, ack: isn + 1 });

describe('a connection seen before and after translation', () => {
  it('in a capture that cuts TCP options off is joined by number and IP identification, masqueraded too', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 7, print: 0, ipid: 13_941 })
      .packet({ at: 20, from: CLIENT, to: POD_A, seq: 7, print: 0, ipid: 13_941 })
      .packet({ at: 30, from: '10.0.0.1:61371', to: POD_A, seq: 7, print: 0, ipid: 13_941 })
      .finish();
    expect(b.closed).toMatchObject([{ source: { ip: '10.0.0.1', port: 61_371 } }]);
  });

  it.each([
    ['the one at the endpoint', 25],
    ['the answer', 70],
  ])('a copy from between the two translations that is read after %s leaves the peer', (_, at) => {
    const copy = { from: CLIENT, to: POD_A, seq: 7, print: 7, on: 'cni0' };
    const packets = [
      { at: 0, from: CLIENT, to: VIP, seq: 7, print: 7, on: 'veth-c' },
      { at: 20, from: '10.0.0.1:61371', to: POD_A, seq: 7, print: 7, on: 'veth-p' },
      { at: 40, from: POD_A, to: '10.0.0.1:61371', flags: SYN_ACK, seq: 9, ack: 8 },
      { at: 60, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 9, ack: 8 },
      { ...copy, at },
    ].sort((a, b) => a.at - b.at);
    const b = bench();
    for (const packet of packets) b.packet(packet);
    expect(b.finish().closed[0]).toMatchObject({
      backend: { pod: { name: 'a' } },
      source: { ip: '10.0.0.1', port: 61_371 },
      outcome: 'established',
    });
  });

  it.each([
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
  ])('copies with one and the same time are one, in the order %d %d %d', (...order) => {
    const copies = [
      { from: CLIENT, to: VIP },
      { from: CLIENT, to: POD_A },
      { from: '10.0.0.1:61371', to: POD_A },
    ];
    const b = bench();
    for (const i of order) {
      const { from, to } = copies[i] ?? { from: '', to: '' };
      b.packet({ at: 1_000, from, to, seq: 7, print: 7 });
    }
    expect(b.finish().closed).toMatchObject([
      { backend: { pod: { name: 'a' } }, source: { ip: '10.0.0.1', port: 61_371 } },
    ]);
    expect(b.summary).toMatchObject({ direct: 0, other: 0 });
  });

  it('is attributed when its translated copy comes, and established when it is answered', () => {
    const b = seenWhole(bench(), 1_000, 500).tick(10_000_000);
    expect(b.said.map((a) => [a.verdict, a.outcome, a.backend?.pod?.name])).toEqual([
      ['attributed', 'open', 'a'],
      ['attributed', 'established', 'a'],
    ]);
    const last = b.finish().closed[0];
    expect(last).toMatchObject({
      client: { ip: '10.0.0.1', port: 40_000, pod: { name: 'client' } },
      destination: { ip: '10.96.0.10', port: 80 },
      service: { namespace: 'default', name: 'web', via: 'clusterIP' },
      backend: { ip: '10.0.0.11', port: 8080, node: 'node1' },
      rules: { path: ['KUBE-SERVICES', 'KUBE-SVC-X', 'KUBE-SEP-10.0.0.11'], probability: 0.5 },
      interfaces: { in: 'veth-c', out: 'veth-p' },
      evidence: ['packets', 'rules', 'cluster'],
      latency: { natNs: 20, handshakeNs: 60 },
    });
    expect(last?.source).toBeUndefined();
  });

  it('is the same whichever copy comes first', () => {
    const b = bench()
      .packet({ at: 1_020, from: CLIENT, to: POD_A, seq: 5, print: 5, on: 'veth-p' })
      .packet({ at: 1_000, from: CLIENT, to: VIP, seq: 5, print: 5, on: 'veth-c' })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({
      verdict: 'attributed',
      backend: { ip: '10.0.0.11' },
      interfaces: { in: 'veth-c', out: 'veth-p' },
      latency: { natNs: 20 },
    });
    expect(b.summary).toMatchObject({ direct: 0, other: 0 });
  });

  it('names the peer that the Pod sees when the source was translated too', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 5, print: 8 })
      .packet({ at: 20, from: '192.168.0.1:1234', to: POD_B, seq: 5, print: 8 })
      .finish();
    expect(b.closed[0]?.source).toEqual({ ip: '192.168.0.1', port: 1234 });
    expect(b.closed[0]?.backend?.pod?.name).toBe('b');
  });

  it('is counted once however many copies of its packets there are', () => {
    const b = bench();
    for (let copy = 0; copy < 3; copy++) {
      b.packet({ at: 1_000, from: CLIENT, to: VIP, seq: 5, print: 5, on: `in${copy}` });
    }
    for (let copy = 0; copy < 3; copy++) {
      b.packet({ at: 1_020 + copy, from: CLIENT, to: POD_A, seq: 5, print: 5, on: `out${copy}` });
    }
    b.finish();
    expect(b.summary.connections).toMatchObject({ seen: 1, attributed: 1, pending: 0 });
    expect(b.closed[0]?.retransmits).toBeUndefined();
  });

  it('leaves by the interface that leads to the Pod, not by the bridge on the way', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 5, on: 'veth-c', direction: DIRECTION_IN })
      .packet({ at: 9, from: CLIENT, to: POD_A, seq: 5, on: 'cni0', direction: DIRECTION_IN })
      .packet({ at: 12, from: CLIENT, to: POD_A, seq: 5, on: 'veth-p', direction: DIRECTION_OUT })
      .finish();
    expect(b.closed[0]?.interfaces).toEqual({ in: 'veth-c', out: 'veth-p' });
  });

  it('takes the finer of two clocks for its time', () => {
    const b = bench()
      .packet({ at: 1_000, from: CLIENT, to: VIP, seq: 5, resolution: 1_000 })
      .packet({ at: 1_345, from: CLIENT, to: VIP, seq: 5 })
      .packet({ at: 1_400, from: CLIENT, to: POD_A, seq: 5 })
      .finish();
    expect(Number((b.closed[0]?.time ?? 0n) % 1_000_000n)).toBe(1_345);
  });

  it('is attributed by its answer when the copy of its SYN was not captured', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 5 })
      .packet({ at: 40, from: POD_B, to: CLIENT, flags: SYN_ACK, seq: 77, ack: 6 })
      .finish();
    expect(b.closed[0]).toMatchObject({
      verdict: 'attributed',
      backend: { pod: { name: 'b' } },
      outcome: 'established',
    });
  });

  it('is opened by the answer of a Service when its SYN was not captured', () => {
    const b = bench()
      .packet({ at: 40, from: POD_B, to: CLIENT, flags: SYN_ACK, seq: 77, ack: 6 })
      .packet({ at: 50, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 77, ack: 6 })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({ verdict: 'attributed', backend: { pod: { name: 'b' } } });
  });

  it('is not paired when two packets fit equally well', () => {
    const b = bench()
      .packet({ at: 0, from: '10.0.0.1:1000', to: VIP, seq: 5, print: 9, ipid: 0 })
      .packet({ at: 0, from: '10.0.0.1:1001', to: VIP, seq: 5, print: 9, ipid: 0 })
      .packet({ at: 20, from: '192.168.0.1:7', to: POD_A, seq: 5, print: 9, ipid: 0 })
      .finish();
    expect(b.summary.connections).toMatchObject({ seen: 2, attributed: 0, unattributed: 2 });
  });

  it('SCTP is paired by its initiate tag', () => {
    const b = new Bench()
      .services([serviceEntry('s', VIP, [POD_A], { protocol: SCTP })])
      .pods([pod('a', '10.0.0.11')])
      .packet({ at: 0, from: CLIENT, to: VIP, protocol: SCTP, flags: SCTP_INIT, seq: 42 })
      .packet({ at: 20, from: CLIENT, to: POD_A, protocol: SCTP, flags: SCTP_INIT, seq: 42 })
      .packet({
        at: 50,
        from: VIP,
        to: CLIENT,
        protocol: SCTP,
        flags: SCTP_INIT_ACK,
        seq: 7,
        ack: 42,
      })
      .finish();
    expect(b.closed[0]).toMatchObject({ protocol: 'sctp', outcome: 'established' });
  });
});

describe('conntrack', () => {
  const opened = { event: EVENT_NEW, from: CLIENT, to: VIP, endpoint: POD_A, id: 1 } as const;

  it('attributes by itself, and the packets that come later belong to the same connection', () => {
    const b = bench().conntrack({ ...opened, at: 30_000, unreplied: true });
    expect(b.said[0]).toMatchObject({
      verdict: 'attributed',
      timeSource: 'conntrack',
      evidence: ['conntrack', 'rules', 'cluster'],
    });
    seenWhole(b, 10_000, 500).finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]?.evidence).toEqual(['conntrack', 'packets', 'rules', 'cluster']);
  });

  it('says that connections count twice where packets have no times', () => {
    const untimed = bench()
      .packet({ at: -BASE_SECONDS * SECOND, from: CLIENT, to: VIP, seq: 7 })
      .packet({ at: -BASE_SECONDS * SECOND, from: CLIENT, to: POD_A, seq: 7 })
      .conntrack({ ...opened, at: 10_000 })
      .finish();
    expect(untimed.closed).toHaveLength(2);
    expect(untimed.notices).toContain('packets-without-times');
    const timed = seenWhole(bench(), 0, 500).conntrack({ ...opened, at: 10_000 });
    expect(timed.finish().notices).not.toContain('packets-without-times');
  });

  it('joins the connection that its packets opened', () => {
    const b = seenWhole(bench(), 10_000, 500)
      .conntrack({ ...opened, at: 3_000_000 })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({ timeSource: 'packet' });
    expect(b.closed[0]?.evidence).toContain('conntrack');
  });

  it('and packets that name different endpoints are a conflict, and both are shown', () => {
    const b = seenWhole(bench(), 10_000, 500, POD_B)
      .conntrack({ ...opened, at: 30_000 })
      .finish();
    const [last] = b.closed;
    expect(last).toMatchObject({ verdict: 'conflict', reason: 'conntrack-disagrees' });
    expect(last?.claims?.map((c) => [c.evidence, c.backend.pod?.name])).toEqual([
      ['conntrack', 'a'],
      ['packets', 'b'],
    ]);
    expect(last?.backend).toBeUndefined();
    expect(b.summary.connections).toMatchObject({ seen: 1, conflict: 1, attributed: 0 });
  });

  it('tells reused tuples apart by NEW and DESTROY, although the id is the same', () => {
    const b = bench()
      .conntrack({ ...opened, at: 1_000_000 })
      .conntrack({ ...opened, at: 5_000_000, event: EVENT_DESTROY, state: 'TIME_WAIT' })
      .conntrack({ ...opened, at: 5_010_000, endpoint: POD_B })
      .finish();
    expect(b.closed.map((c) => c.backend?.pod?.name)).toEqual(['a', 'b']);
    expect(new Set(b.closed.map((c) => c.connection)).size).toBe(2);
  });

  it('joins each of several reused tuples to its own SYN, though it is printed late', () => {
    const b = bench();
    for (let i = 0; i < 4; i++) seenWhole(b, i * 2_000_000, 100 + i, i % 2 === 0 ? POD_A : POD_B);
    for (let i = 0; i < 4; i++) {
      const endpoint = i % 2 === 0 ? POD_A : POD_B;
      if (i > 0) {
        const before = i % 2 === 0 ? POD_B : POD_A;
        b.conntrack({ ...opened, at: 9_000_000 + i, event: EVENT_DESTROY, endpoint: before });
      }
      b.conntrack({ ...opened, at: 9_000_000 + i, endpoint });
    }
    b.finish();
    expect(b.closed.map((c) => [c.backend?.pod?.name, c.evidence.length])).toEqual([
      ['a', 4],
      ['b', 4],
      ['a', 4],
      ['b', 4],
    ]);
  });

  it('of whole seconds is not joined to one of several connections that fit, and says so', () => {
    const b = bench()
      .packet({ at: 100, from: CLIENT, to: VIP, seq: 1, print: 1 })
      .packet({ at: 200, from: CLIENT, to: VIP, seq: 2, print: 2 })
      .conntrack({ ...opened, at: 0, resolution: XML_SECOND })
      .finish();
    expect(b.notices).toContain('conntrack-time-too-coarse');
    expect(b.summary.connections).toMatchObject({ seen: 2, attributed: 0 });
  });

  it('of whole seconds that tells a tuple twice in one second says that their order is unknown', () => {
    const coarse = { resolution: XML_SECOND } as const;
    const b = bench()
      .conntrack({ ...opened, ...coarse, at: 0 })
      .conntrack({ ...opened, ...coarse, at: 0, event: EVENT_DESTROY })
      .conntrack({ ...opened, ...coarse, at: 0, endpoint: POD_B })
      .finish();
    expect(b.notices).toContain('reused-within-time-resolution');
    expect(
      b.closed.map((c) => [c.verdict, c.reason, c.claims?.[0]?.backend.pod?.name, c.backend]),
    ).toEqual([
      ['unattributed', 'time-too-coarse', 'a', undefined],
      ['unattributed', 'time-too-coarse', 'b', undefined],
    ]);
    expect(b.closed.map((c) => c.timeUncertaintyNs)).toEqual([XML_SECOND, XML_SECOND]);
  });

  it('a listing made within the second of an end that XML told shows no further connection', () => {
    const coarse = { at: 0, resolution: SECOND, lateness: XML_SECOND } as const;
    const b = bench()
      .conntrack({ ...opened, ...coarse })
      .conntrack({ ...opened, ...coarse, event: EVENT_DESTROY })
      .conntrack({ ...opened, ...coarse, endpoint: POD_B })
      .conntrack({
        ...opened,
        event: EVENT_LISTED,
        at: SECOND / 2,
        resolution: SECOND,
        lateness: 0,
      })
      .finish();
    expect(b.closed.map((c) => [c.verdict, c.reason])).toEqual([
      ['unattributed', 'time-too-coarse'],
      ['unattributed', 'time-too-coarse'],
    ]);
  });

  it('told in two forms is one connection', () => {
    const b = bench()
      .conntrack({ ...opened, at: 200_000_000 })
      .conntrack({ ...opened, at: 0, resolution: XML_SECOND })
      .finish();
    expect(b.summary.connections.seen).toBe(1);
  });

  it('told twice by the same file named twice is one connection', () => {
    const b = bench()
      .conntrack({ ...opened, at: 200_000 })
      .conntrack({ ...opened, at: 200_000 })
      .finish();
    expect(b.summary.connections.seen).toBe(1);
  });

  it('states say what came of a connection', () => {
    const rows: readonly [state: string, assured: boolean, outcome: string][] = [
      ['SYN_RECV', false, 'established'],
      ['ESTABLISHED', true, 'established'],
      ['TIME_WAIT', true, 'established'],
      ['CLOSE', false, 'refused'],
    ];
    for (const [state, assured, outcome] of rows) {
      const b = bench()
        .conntrack({ ...opened, at: 0, unreplied: true, state: 'SYN_SENT' })
        .conntrack({ ...opened, at: 50, event: EVENT_UPDATE, state, assured })
        .finish();
      expect([state, b.closed[0]?.outcome]).toEqual([state, outcome]);
    }
  });

  it('an entry that ends without an answer was not answered', () => {
    const b = bench()
      .conntrack({ ...opened, at: 0, unreplied: true, state: 'SYN_SENT' })
      .conntrack({ ...opened, at: 9, event: EVENT_DESTROY, unreplied: true, state: 'SYN_SENT' })
      .finish();
    expect(b.closed[0]?.outcome).toBe('unanswered');
  });

  it('a translation that no known Service owns keeps its backend and says so', () => {
    const b = bench()
      .conntrack({ ...opened, at: 0, to: '10.96.0.99:80' })
      .finish();
    expect(b.closed[0]).toMatchObject({
      verdict: 'unattributed',
      reason: 'unknown-service-address',
      backend: { pod: { name: 'a' } },
    });
  });

  it('with nothing that could name a Service a translation is attributed all the same', () => {
    const b = new Bench().conntrack({ ...opened, at: 0 }).finish();
    expect(b.closed[0]).toMatchObject({ verdict: 'attributed', backend: { ip: '10.0.0.11' } });
    expect(b.notices).toContain('no-pods-known');
  });

  it('zones keep equal tuples apart', () => {
    const b = bench()
      .conntrack({ ...opened, at: 0, zone: 1 })
      .conntrack({ ...opened, at: 5, zone: 2, endpoint: POD_B, id: 2 })
      .finish();
    expect(b.closed.map((c) => [c.zone, c.backend?.pod?.name])).toEqual([
      [1, 'a'],
      [2, 'b'],
    ]);
  });

  it('a listing attributes a SYN that has waited for it', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 1 })
      .conntrack({ ...opened, event: EVENT_LISTED, at: 300_000_000, state: 'ESTABLISHED' })
      .finish();
    expect(b.closed[0]).toMatchObject({
      verdict: 'attributed',
      evidence: ['conntrack', 'rules', 'cluster'],
      outcome: 'established',
    });
  });

  it('an undated listing speaks for the newest connection of a tuple, at the end', () => {
    const b = bench()
      .conntrack({ ...opened, event: EVENT_LISTED, endpoint: POD_B })
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 1, print: 1 })
      .packet({ at: 3 * SECOND, from: CLIENT, to: VIP, seq: 2, print: 2 })
      .finish();
    expect(b.closed.map((c) => [c.verdict, c.backend?.pod?.name])).toEqual([
      ['unattributed', undefined],
      ['attributed', 'b'],
    ]);
  });

  it('an undated listing adds nothing to what its events told', () => {
    const b = bench()
      .conntrack({ ...opened, event: EVENT_LISTED })
      .conntrack({ ...opened, at: 0 })
      .finish();
    expect(b.summary.connections.seen).toBe(1);
  });

  it('entries of the first listing of a live run were there before and are not counted as seen', () => {
    const b = bench({ firstListingIsOld: true })
      .conntrack({ ...opened, event: EVENT_LISTED, at: 100 })
      .conntrack({ ...opened, event: EVENT_DESTROY, at: 2 * SECOND })
      .conntrack({ ...opened, at: 2 * SECOND + 20_000, endpoint: POD_B })
      .finish();
    expect(b.summary).toMatchObject({ existing: 1, connections: { seen: 1, attributed: 1 } });
    expect(b.closed[0]?.backend?.pod?.name).toBe('b');
  });

  it('of which the first is still read after a loss has what was open before', () => {
    const first = { ...opened, event: EVENT_LISTED, at: 300_000_000, lateness: 200_000_000 };
    const b = bench({ firstListingIsOld: true })
      .conntrack(first)
      .push({ type: 'loss', loss: { source: 'netlink', count: 1, detail: 'overrun' } })
      .conntrack({ ...first, from: '10.0.0.1:50000', at: 350_000_000, lateness: 250_000_000 })
      .finish();
    expect([b.summary.existing, b.summary.connections.seen]).toEqual([2, 0]);
  });

  it('after the first one has what began since, although nothing else told of it', () => {
    const b = bench({ firstListingIsOld: true })
      .conntrack({ ...opened, event: EVENT_LISTED, at: 300_000_000, lateness: 9_000_000 })
      .conntrack({
        ...opened,
        from: '10.0.0.1:50000',
        event: EVENT_LISTED,
        at: 600_000_000,
        lateness: 9_000_000,
      })
      .finish();
    expect(b.closed.map((c) => [c.client.port, c.timeSource])).toEqual([[50_000, 'listing']]);
  });

  it('after a loss the table is listed again, and what began in the gap is found there', () => {
    const b = bench({ firstListingIsOld: true })
      .conntrack({ ...opened, event: EVENT_LISTED, at: 100 })
      .push({ type: 'loss', loss: { source: 'netlink', count: 1, detail: 'overrun' } })
      .conntrack({ ...opened, event: EVENT_LISTED, at: SECOND })
      .conntrack({
        ...opened,
        from: '10.0.0.1:50000',
        event: EVENT_LISTED,
        at: SECOND,
        endpoint: POD_B,
      })
      .finish();
    expect(b.closed.map((c) => [c.client.port, c.timeSource])).toEqual([[50_000, 'listing']]);
    expect(b.summary.losses).toBe(1);
  });

  it('that overtakes the event of the same entry is about the same connection', () => {
    const b = seenWhole(bench(), 1_000, 500)
      .conntrack({ ...opened, event: EVENT_LISTED, at: 200_000_000, id: 7 })
      .conntrack({ ...opened, event: EVENT_NEW, at: 250_000_000, id: 7 });
    expect(b.finish().closed).toHaveLength(1);
    expect(b.summary.connections).toMatchObject({ seen: 1, attributed: 1 });
  });

  it('may still have the entry of the last use of its addresses, whose place another one took', () => {
    const b = seenWhole(bench(), 1_000, 500)
      .conntrack({ ...opened, event: EVENT_LISTED, at: 200_000_000, id: 7 })
      .conntrack({ ...opened, event: EVENT_DESTROY, at: 210_000_000, id: 7 })
      .conntrack({ ...opened, event: EVENT_NEW, at: 210_000_000, id: 8 });
    expect(b.finish().closed).toHaveLength(1);
    expect(b.closed[0]?.evidence).toContain('conntrack');
  });

  it('that had the last use of the addresses is corrected by the next one', () => {
    const b = bench()
      .packet({ at: 1_000, from: CLIENT, to: VIP, seq: 500, print: 500 })
      .conntrack({ ...opened, event: EVENT_LISTED, at: 2_000_000, id: 7, endpoint: POD_B });
    seenWhole(b, 1_000, 500)
      .conntrack({ ...opened, event: EVENT_LISTED, at: 200_000_000, id: 8 })
      .finish();
    expect(b.closed.map((c) => [c.verdict, c.backend?.pod?.name])).toEqual([['attributed', 'a']]);
  });

  it('opens nothing when it may have been read before what is known of its addresses', () => {
    const b = seenWhole(bench(), 200_000_000, 500)
      .conntrack({ ...opened, event: EVENT_NEW, at: 200_100_000, id: 8 })
      .push({ type: 'loss', loss: { source: 'netlink', count: 1, detail: 'overrun' } })
      .conntrack({
        ...opened,
        event: EVENT_LISTED,
        at: 300_000_000,
        lateness: 150_000_000,
        id: 7,
        endpoint: POD_B,
      });
    expect(b.finish().closed).toHaveLength(1);
  });

  it('opens nothing for an entry that outlives its connection, of which only packets told', () => {
    const b = seenWhole(bench(), 1_000, 500)
      .packet({ at: 2_000, from: CLIENT, to: VIP, flags: TCP_RST })
      .tick(5 * SECOND)
      .push({ type: 'loss', loss: { source: 'netlink', count: 1, detail: 'overrun' } })
      .conntrack({ ...opened, event: EVENT_LISTED, at: 6 * SECOND, lateness: 1_000_000, id: 7 });
    expect(b.finish().closed).toHaveLength(1);
  });

  it('is told from a later entry of the same addresses by the end of the one that it listed', () => {
    const b = bench()
      .conntrack({ ...opened, event: EVENT_LISTED, at: 200_000_000, id: 7 })
      .conntrack({ ...opened, event: EVENT_DESTROY, at: 210_000_000, id: 7 })
      .conntrack({ ...opened, event: EVENT_NEW, at: 250_000_000, id: 7 });
    expect(b.finish().closed).toHaveLength(2);
  });
});

describe('events that are read late, several in one go', () => {
  const told = { from: CLIENT, to: VIP, endpoint: POD_A, id: 1 };
  const outcomes = (b: Bench): unknown[] =>
    b.closed.map((c) => [c.verdict, c.outcome, c.backend?.pod?.name]).sort();

  it('find their packets in order when these come after them', () => {
    const b = bench()
      .conntrack({ ...told, event: EVENT_NEW, at: 1_100_000 })
      .conntrack({ ...told, event: EVENT_NEW, at: 20_100_000, endpoint: POD_B });
    seenWhole(seenWhole(b, 1_000_000, 500), 20_000_000, 900, POD_B).finish();
    expect(outcomes(b)).toEqual([
      ['attributed', 'established', 'a'],
      ['attributed', 'established', 'b'],
    ]);
  });

  it('are two connections, not one told twice, when the first one ended between them', () => {
    const at = 90_000_000;
    const b = bench()
      .conntrack({ ...told, event: EVENT_NEW, at })
      .conntrack({ ...told, event: EVENT_DESTROY, at })
      .conntrack({ ...told, event: EVENT_NEW, at });
    expect(b.finish().closed).toHaveLength(2);
  });

  it('do not take the end of an earlier use of their tuple for theirs', () => {
    const b = seenWhole(bench(), 1_000_000, 500)
      .conntrack({ ...told, event: EVENT_NEW, at: 90_000_000 })
      .conntrack({ ...told, event: EVENT_NEW, at: 90_000_000, id: 2, endpoint: POD_B })
      .packet({ at: 2_000_000, from: CLIENT, to: VIP, flags: TCP_RST })
      .packet({ at: 80_000_000, from: CLIENT, to: VIP, seq: 900, print: 900, on: 'veth-c' })
      .packet({ at: 80_000_020, from: POD_B, to: CLIENT, flags: TCP_RST | TCP_ACK, ack: 901 })
      .finish();
    expect(outcomes(b)).toEqual([
      ['attributed', 'refused', 'b'],
      ['attributed', 'reset', 'a'],
    ]);
  });
});

describe('what cannot be known is said with its reason', () => {
  it('no evidence within the bound', () => {
    const b = bench().packet({ at: 0, from: CLIENT, to: VIP, seq: 1 });
    expect(b.said).toHaveLength(0);
    b.tick(SECOND + 1);
    expect(b.said[0]).toMatchObject({
      verdict: 'unattributed',
      reason: 'no-evidence',
      outcome: 'unanswered',
      evidence: [],
    });
  });

  it('evidence that comes after the bound still counts', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 1 })
      .tick(SECOND + 1)
      .packet({ at: 900_000, from: CLIENT, to: POD_A, seq: 1 })
      .finish();
    expect(b.said.map((a) => a.verdict)).toEqual(['unattributed', 'attributed']);
    expect(b.summary.connections).toMatchObject({ seen: 1, attributed: 1, reasons: {} });
  });

  it('a counted loss that covers the moment', () => {
    const b = bench().packet({ at: 500, from: CLIENT, to: VIP, seq: 1 });
    const second = 1_800_000_000n * 1_000_000_000n;
    b.push({
      type: 'loss',
      loss: { source: 'ring', count: 3, from: second, to: second + 1_000n, detail: '3 packets' },
    }).finish();
    expect(b.closed[0]).toMatchObject({ verdict: 'unattributed', reason: 'lost' });
    expect(b.summary).toMatchObject({ losses: 1, packets: { dropped: 3 } });
  });

  it('a refused connection to a Service of which the cluster knows no endpoint, where no rules say so', () => {
    const web = { uid: 'u', namespace: 'default', name: 'web' } as const;
    const refused = (ready: boolean): Bench =>
      new Bench()
        .push({
          type: 'cluster',
          change: {
            op: 'list',
            kind: 'service',
            items: [
              {
                ...web,
                kind: 'service',
                type: 'ClusterIP',
                clusterIPs: ['10.96.0.10'],
                externalIPs: [],
                loadBalancerIPs: [],
                loadBalancerSourceRanges: [],
                ports: [{ protocol: 'tcp', port: 80 }],
              },
            ],
          },
        })
        .push({
          type: 'cluster',
          change: {
            op: 'list',
            kind: 'endpointslice',
            items: [
              {
                ...web,
                kind: 'endpointslice',
                service: 'web',
                ports: [{ protocol: 'tcp', port: 8080 }],
                endpoints: [
                  { addresses: ['10.0.0.11'], ready, serving: ready, terminating: false },
                ],
              },
            ],
          },
        })
        .packet({ at: 0, from: CLIENT, to: VIP, seq: 1 })
        .packet({ at: 90, from: CLIENT, to: VIP, seq: 1, icmp: [3, 3] })
        .finish();
    const said = [false, true].map((ready) => refused(ready).closed[0]);
    expect(said.map((c) => [c?.reason, c?.outcome])).toEqual([
      ['no-endpoints', 'rejected'],
      ['no-evidence', 'rejected'],
    ]);
  });

  it('a Service without endpoints, as soon as the kernel rejects', () => {
    const b = new Bench()
      .services([serviceEntry('none', VIP, [], { action: 'reject' })])
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 1 })
      .packet({ at: 90, from: CLIENT, to: VIP, seq: 1, icmp: [3, 3] });
    expect(b.said[0]).toMatchObject({
      verdict: 'unattributed',
      reason: 'no-endpoints',
      outcome: 'rejected',
      service: { name: 'none' },
    });
  });

  it('a rule that drops', () => {
    const b = new Bench()
      .services([serviceEntry('local', VIP, [], { action: 'drop' })])
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 1 })
      .tick(2 * SECOND)
      .finish();
    expect(b.closed[0]).toMatchObject({ reason: 'filtered', outcome: 'unanswered' });
  });
});

describe('outcomes', () => {
  const translated = (): Bench =>
    bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 1 })
      .packet({ at: 20, from: CLIENT, to: POD_A, seq: 1 });

  it('refused: the Pod resets the SYN', () => {
    const b = translated()
      .packet({ at: 40, from: VIP, to: CLIENT, flags: TCP_RST | TCP_ACK, ack: 2 })
      .finish();
    expect(b.closed[0]).toMatchObject({ verdict: 'attributed', outcome: 'refused' });
  });

  it('reset: after it was established, before both sides had finished', () => {
    const b = seenWhole(bench(), 0, 1)
      .packet({ at: 900, from: CLIENT, to: VIP, flags: TCP_RST })
      .finish();
    expect(b.closed[0]?.outcome).toBe('reset');
  });

  it('established: a RST after both sides had finished changes nothing', () => {
    const b = seenWhole(bench(), 0, 1)
      .packet({ at: 800, from: CLIENT, to: VIP, flags: TCP_FIN | TCP_ACK })
      .packet({ at: 850, from: VIP, to: CLIENT, flags: TCP_FIN | TCP_ACK })
      .packet({ at: 900, from: CLIENT, to: VIP, flags: TCP_RST })
      .finish();
    expect(b.closed[0]?.outcome).toBe('established');
  });

  it('unanswered: attributed, and nobody answered within the bound', () => {
    const b = translated().tick(SECOND + 100);
    expect(b.said.at(-1)).toMatchObject({ verdict: 'attributed', outcome: 'unanswered' });
  });

  it('open: the input ends before anything could be said', () => {
    expect(translated().finish().closed[0]?.outcome).toBe('open');
  });

  it('a SYN sent again is one connection, and counted', () => {
    const b = translated()
      .packet({ at: SECOND, from: CLIENT, to: VIP, seq: 1, print: 99, ipid: 6 })
      .packet({ at: SECOND + 20, from: CLIENT, to: POD_A, seq: 1, print: 99, ipid: 6 })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]?.retransmits).toBe(1);
  });

  it('a SYN sent again to another Pod is attributed to the one that answered, with a notice', () => {
    const b = translated()
      .packet({ at: SECOND, from: CLIENT, to: VIP, seq: 1, print: 99, ipid: 6 })
      .packet({ at: SECOND + 20, from: CLIENT, to: POD_B, seq: 1, print: 99, ipid: 6 })
      .packet({ at: SECOND + 40, from: POD_B, to: CLIENT, flags: SYN_ACK, seq: 4, ack: 2 })
      .finish();
    expect(b.closed[0]).toMatchObject({
      verdict: 'attributed',
      backend: { pod: { name: 'b' } },
      outcome: 'established',
      retransmits: 1,
    });
    expect(b.notices).toContain('retransmit-to-other-endpoint');
  });
});

describe('UDP', () => {
  const udp = (): Bench =>
    new Bench()
      .services([serviceEntry('dns', VIP, [POD_A, POD_B], { protocol: UDP })])
      .pods([pod('a', '10.0.0.11'), pod('b', '10.0.0.12')]);
  const query = (b: Bench, at: number, print: number, endpoint?: string): Bench => {
    b.packet({ at, from: CLIENT, to: VIP, protocol: UDP, flags: 0, print });
    if (endpoint !== undefined) {
      b.packet({ at: at + 10, from: CLIENT, to: endpoint, protocol: UDP, flags: 0, print });
    }
    return b;
  };
  const answer = (b: Bench, at: number, endpoint: string): Bench =>
    b
      .packet({ at, from: endpoint, to: CLIENT, protocol: UDP, flags: 0, print: 1 })
      .packet({ at: at + 5, from: VIP, to: CLIENT, protocol: UDP, flags: 0, print: 1 });

  it('many datagrams from one port are one flow', () => {
    const b = udp();
    for (let i = 0; i < 50; i++) {
      query(b, i * SECOND, 100 + i, POD_A);
      answer(b, i * SECOND + 50, POD_A);
    }
    b.finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({ outcome: 'established', backend: { pod: { name: 'a' } } });
  });

  it('after an idle gap a new flow begins, with the endpoint that it was given', () => {
    const b = query(udp(), 0, 1, POD_A);
    query(b, 31 * SECOND, 2, POD_B).finish();
    expect(b.closed.map((c) => c.backend?.pod?.name)).toEqual(['a', 'b']);
  });

  it('a flow ends early when its datagrams appear at another endpoint', () => {
    const b = query(udp(), 0, 1, POD_A);
    answer(b, 50, POD_A);
    query(b, 5 * SECOND, 2, POD_B);
    answer(b, 5 * SECOND + 50, POD_B).finish();
    expect(b.closed.map((c) => [c.backend?.pod?.name, c.outcome])).toEqual([
      ['a', 'established'],
      ['b', 'established'],
    ]);
  });

  it('a flow lasts as its conntrack entry does', () => {
    const flow = { from: CLIENT, to: VIP, endpoint: POD_A, protocol: UDP, id: 3 } as const;
    const b = query(udp(), 0, 1, POD_A).conntrack({ ...flow, at: 30_000, event: EVENT_NEW });
    query(b, 100 * SECOND, 2, POD_A);
    b.conntrack({ ...flow, at: 200 * SECOND, event: EVENT_DESTROY });
    query(b, 201 * SECOND, 3, POD_B).finish();
    expect(b.closed.map((c) => c.backend?.pod?.name)).toEqual(['a', 'b']);
  });

  it('the same payload from two clients is not mixed up', () => {
    const b = udp();
    const other = '10.0.0.2:40000';
    b.packet({ at: 0, from: CLIENT, to: VIP, protocol: UDP, flags: 0, print: 9 });
    b.packet({ at: 1, from: other, to: VIP, protocol: UDP, flags: 0, print: 9 });
    b.packet({ at: 10, from: CLIENT, to: POD_A, protocol: UDP, flags: 0, print: 9 });
    b.packet({ at: 11, from: other, to: POD_B, protocol: UDP, flags: 0, print: 9 });
    b.finish();
    expect(b.closed.map((c) => [c.client.ip, c.backend?.pod?.name])).toEqual([
      ['10.0.0.1', 'a'],
      ['10.0.0.2', 'b'],
    ]);
  });

  it('an ICMP error from the Pod is a refusal', () => {
    const b = query(udp(), 0, 1, POD_A)
      .packet({ at: 50, from: CLIENT, to: VIP, protocol: UDP, icmp: [3, 3] })
      .finish();
    expect(b.closed[0]).toMatchObject({ verdict: 'attributed', outcome: 'refused' });
  });
});

describe('a UDP flow that was under way when the capture began', () => {
  it.each([
    ['an answer', true],
    ['nothing', false],
  ])('with %s of it seen first is attributed all the same', (_, answerFirst) => {
    const udp = serviceEntry('dns', VIP, [POD_A], { protocol: UDP });
    const b = new Bench().services([udp]).pods([pod('a', '10.0.0.11')]);
    const datagram = { protocol: UDP, flags: 0 } as const;
    if (answerFirst) b.packet({ ...datagram, at: 0, from: POD_A, to: CLIENT, print: 99 });
    for (let i = 1; i < 4; i++) {
      const at = i * SECOND;
      b.packet({ ...datagram, at, from: CLIENT, to: VIP, print: i });
      b.packet({ ...datagram, at: at + 20, from: CLIENT, to: POD_A, print: i });
      b.packet({ ...datagram, at: at + 50, from: POD_A, to: CLIENT, print: 50 + i });
      b.packet({ ...datagram, at: at + 60, from: VIP, to: CLIENT, print: 50 + i });
    }
    b.finish();
    expect(b.closed.map((c) => [c.backend?.pod?.name, c.outcome])).toEqual([['a', 'established']]);
    expect(b.summary).toMatchObject({ direct: 0, other: 0 });
  });
});

describe('a UDP flow whose endpoint goes', () => {
  const udp = (): Bench =>
    new Bench()
      .services([serviceEntry('dns', VIP, [POD_A, POD_B], { protocol: UDP })])
      .pods([pod('a', '10.0.0.11'), pod('b', '10.0.0.12')]);
  const datagram = { protocol: UDP, flags: 0 } as const;
  const entry = { from: CLIENT, to: VIP, protocol: UDP } as const;
  const query = (b: Bench, at: number, endpoint?: string): Bench => {
    b.packet({ ...datagram, at, from: CLIENT, to: VIP, print: at + 1 });
    if (endpoint !== undefined) {
      b.packet({ ...datagram, at: at + 10, from: CLIENT, to: endpoint, print: at + 1 });
    }
    return b;
  };
  const refuse = (b: Bench, at: number): Bench =>
    b.packet({ at, from: CLIENT, to: VIP, protocol: UDP, icmp: [3, 3] });
  const answer = (b: Bench, at: number): Bench =>
    b.packet({ ...datagram, at, from: VIP, to: CLIENT, print: 1 });

  it('is rejected, and the entry that comes after the next datagram is another flow', () => {
    const b = refuse(query(udp(), 0), 30);
    refuse(query(b, SECOND), SECOND + 30);
    query(b, 2 * SECOND)
      .conntrack({
        ...entry,
        event: EVENT_NEW,
        endpoint: POD_B,
        at: 2 * SECOND + 40,
        unreplied: true,
      })
      .finish();
    expect(b.closed.map((c) => [c.verdict, c.outcome, c.backend?.pod?.name])).toEqual([
      ['unattributed', 'rejected', undefined],
      ['attributed', 'open', 'b'],
    ]);
    expect(Number((b.closed[1]?.time ?? 0n) % BigInt(60 * SECOND))).toBe(2 * SECOND);
  });

  it('is rejected, and an answer to the next datagram is another flow’s', () => {
    const b = refuse(query(udp(), 0), 30);
    answer(query(b, SECOND), SECOND + 50).finish();
    expect(b.closed.map((c) => c.outcome)).toEqual(['rejected', 'established']);
  });

  it('straight to a Pod is no Service’s, nor is the one that is answered after it was refused', () => {
    const b = udp()
      .packet({ ...datagram, at: 0, from: CLIENT, to: POD_A, print: 1 })
      .packet({ at: 30, from: CLIENT, to: POD_A, protocol: UDP, icmp: [3, 3] })
      .packet({ ...datagram, at: SECOND, from: CLIENT, to: POD_A, print: 2 })
      .packet({ ...datagram, at: SECOND + 50, from: POD_A, to: CLIENT, print: 3 })
      .finish();
    expect(b.closed).toEqual([]);
    expect(b.summary).toMatchObject({ connections: { seen: 0 }, direct: 2 });
  });

  it('is followed where conntrack told of it without a time', () => {
    const b = udp()
      .tick(SECOND)
      .conntrack({ ...entry, event: EVENT_NEW, endpoint: POD_A });
    query(query(b, 1.1 * SECOND), 1.3 * SECOND).finish();
    expect(b.closed.map((c) => c.backend?.pod?.name)).toEqual(['a']);
  });

  it('ends when the next datagram is refused without having been translated', () => {
    const b = answer(query(udp(), 0, POD_A), 50);
    refuse(query(b, SECOND), SECOND + 30).finish();
    expect(b.closed.map((c) => [c.outcome, c.backend?.pod?.name])).toEqual([
      ['established', 'a'],
      ['rejected', undefined],
    ]);
  });

  it('ends when two datagrams in a row are not seen translated: where they went is not known', () => {
    const b = answer(query(udp(), 0, POD_A), 50);
    for (const s of [1, 2, 3]) answer(query(b, s * SECOND), s * SECOND + 50);
    b.finish();
    expect(b.closed.map((c) => [c.verdict, c.reason, c.outcome])).toEqual([
      ['attributed', undefined, 'established'],
      ['unattributed', 'no-evidence', 'established'],
    ]);
  });

  it('goes on when one copy is missing, and when conntrack holds its entry', () => {
    const one = query(query(query(udp(), 0, POD_A), SECOND), 2 * SECOND, POD_A).finish();
    expect(one.closed).toHaveLength(1);
    const held = query(udp(), 0, POD_A).conntrack({
      ...entry,
      event: EVENT_NEW,
      endpoint: POD_A,
      at: 30,
    });
    for (const s of [1, 2, 3]) query(held, s * SECOND);
    expect(held.finish().closed).toHaveLength(1);
  });

  it('is stale: its datagrams still go where the Pod was, with a notice, once', () => {
    const b = answer(query(udp(), 0, POD_A), 50);
    b.conntrack({ ...entry, event: EVENT_NEW, endpoint: POD_A, at: 60 });
    b.pods([pod('b', '10.0.0.12')], 10 * SECOND);
    for (const s of [11, 12, 13, 14]) query(b, s * SECOND, POD_A);
    b.finish();
    expect(b.closed[0]?.backend).toMatchObject({ ip: '10.0.0.11', pod: { name: 'a' } });
    expect(b.notices.filter((code) => code === 'stale-conntrack-entry')).toHaveLength(1);
  });

  it('is stale when the rules do not lead there any more, but not while it is answered', () => {
    const b = answer(query(udp(), 0, POD_A), 50);
    b.conntrack({ ...entry, event: EVENT_NEW, endpoint: POD_A, at: 60 });
    b.services([serviceEntry('dns', VIP, [POD_B], { protocol: UDP })], SECOND);
    for (const s of [2, 3]) answer(query(b, s * SECOND, POD_A), s * SECOND + 50);
    expect(b.notices).not.toContain('stale-conntrack-entry');
    for (const s of [4, 5, 6]) query(b, s * SECOND, POD_A);
    expect(b.notices).toContain('stale-conntrack-entry');
  });
});

describe('conntrack that begins to follow a connection in mid-stream', () => {
  it.each([
    ['ESTABLISHED', true],
    ['SYN_SENT', false],
  ])('in state %s: notice %s', (state, told) => {
    const b = bench()
      .conntrack({ event: EVENT_NEW, at: 5, from: CLIENT, to: VIP, endpoint: POD_A, state })
      .finish();
    expect(b.notices.includes('picked-up-mid-stream')).toBe(told);
  });
});

describe('a SYN sent again after its conntrack entry was deleted', () => {
  it.each([
    ['with packets after translation', true],
    ['without', false],
  ])('is one connection, to the endpoint that was chosen anew, %s', (_, seenAfter) => {
    const entry = { from: CLIENT, to: VIP, id: 1, unreplied: true } as const;
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 5, print: 5 })
      .conntrack({ ...entry, event: EVENT_NEW, endpoint: POD_A, at: 9_000 })
      .conntrack({ ...entry, event: EVENT_DESTROY, endpoint: POD_A, at: SECOND / 2 })
      .packet({ at: SECOND, from: CLIENT, to: VIP, seq: 5, print: 6 });
    if (seenAfter) b.packet({ at: SECOND + 20, from: CLIENT, to: POD_B, seq: 5, print: 6 });
    b.packet({ at: SECOND + 90, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 7, ack: 6 })
      .conntrack({ ...entry, id: 2, event: EVENT_NEW, endpoint: POD_B, at: SECOND + 16_000_000 })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({
      verdict: 'attributed',
      outcome: 'established',
      retransmits: 1,
      backend: { pod: { name: 'b' } },
    });
    expect(b.said.map((a) => a.verdict)).not.toContain('conflict');
    expect(b.notices.filter((code) => code === 'retransmit-to-other-endpoint')).toHaveLength(1);
  });
});

describe('a SYN sent again after its entry was closed by a reset', () => {
  it('is one connection although conntrack tells of it in two forms, and ends after it began', () => {
    const entry = { from: CLIENT, to: VIP, id: 1 } as const;
    const first = { ...entry, endpoint: POD_A } as const;
    const second = { ...entry, endpoint: POD_B } as const;
    const opened = { event: EVENT_NEW, unreplied: true, state: 'SYN_SENT' } as const;
    const xml = { at: 9 * SECOND, resolution: SECOND, lateness: XML_SECOND } as const;
    const t = 9 * SECOND + 704_000_000;
    const again = t + 12_000_000;
    const b = bench()
      .packet({ at: t, from: CLIENT, to: VIP, seq: 5, print: 5 })
      .packet({ at: t + 14_000, from: CLIENT, to: POD_A, seq: 5, print: 5 })
      .packet({ at: t + 37_000, from: CLIENT, to: VIP, flags: TCP_RST, seq: 99, print: 0 })
      .conntrack({ ...first, ...opened, at: t + 60_000 })
      .conntrack({ ...first, event: EVENT_UPDATE, at: t + 80_000, state: 'CLOSE' })
      .packet({ at: again, from: CLIENT, to: VIP, seq: 5, print: 5, ipid: 6 })
      .packet({ at: again + 18_000, from: CLIENT, to: POD_B, seq: 5, print: 5, ipid: 6 })
      .packet({ at: again + 33_000, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 7, ack: 6 })
      .conntrack({ ...first, event: EVENT_DESTROY, at: again + 1_000_000, state: 'CLOSE' })
      .conntrack({ ...second, ...opened, at: again + 1_010_000 })
      .conntrack({ ...first, ...opened, ...xml })
      .conntrack({ ...first, event: EVENT_UPDATE, ...xml, state: 'CLOSE' })
      .conntrack({ ...first, event: EVENT_DESTROY, ...xml, state: 'CLOSE' })
      .conntrack({ ...second, ...opened, ...xml })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({
      backend: { pod: { name: 'b' } },
      outcome: 'established',
      retransmits: 1,
    });
    const { time = 0n, endTime = time } = b.closed[0] ?? {};
    expect(endTime).toBeGreaterThanOrEqual(time);
  });
});

describe('a SYN sent again whose second entry is told before the packet is read', () => {
  const entry = { from: CLIENT, to: VIP, id: 1 } as const;
  const opened = { event: EVENT_NEW, unreplied: true, state: 'SYN_SENT' } as const;
  const t = 9 * SECOND;
  const again = t + 8_000_000;
  const ended = (): Bench =>
    bench()
      .packet({ at: t, from: CLIENT, to: VIP, seq: 5, print: 5 })
      .packet({ at: t + 14_000, from: CLIENT, to: POD_A, seq: 5, print: 5 })
      .packet({ at: t + 37_000, from: CLIENT, to: VIP, flags: TCP_RST, seq: 99, print: 0 })
      .conntrack({ ...entry, ...opened, endpoint: POD_A, at: t + 60_000 })
      .conntrack({ ...entry, event: EVENT_DESTROY, endpoint: POD_A, at: again + 10_000 })
      .conntrack({ ...entry, ...opened, id: 2, endpoint: POD_B, at: again + 20_000 });

  it('is one connection', () => {
    const b = ended()
      .packet({ at: again, from: CLIENT, to: VIP, seq: 5, print: 5, ipid: 6 })
      .packet({ at: again + 18_000, from: CLIENT, to: POD_B, seq: 5, print: 5, ipid: 6 })
      .packet({ at: again + 33_000, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 7, ack: 6 })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({
      backend: { pod: { name: 'b' } },
      outcome: 'established',
      retransmits: 1,
    });
  });

  it.each([
    ['another SYN', true],
    ['no packet at all', false],
  ])('is another connection where %s comes', (_, isSeen) => {
    const b = ended();
    if (isSeen) b.packet({ at: again, from: CLIENT, to: VIP, seq: 700, print: 8, ipid: 6 });
    b.finish();
    expect(b.closed.map((it) => it.backend?.pod?.name)).toEqual(['a', 'b']);
    expect(b.closed.map((it) => it.retransmits)).toEqual([undefined, undefined]);
  });
});

describe('a SYN sent again of whose two entries conntrack tells late and at once', () => {
  const entry = { from: CLIENT, to: VIP } as const;
  const opened = { event: EVENT_NEW, unreplied: true, state: 'SYN_SENT' } as const;
  const t = 9 * SECOND;
  const again = t + 8_000_000;
  const reset = again + 9_000_000;
  const late = { at: reset + 10_000, lateness: SECOND } as const;
  const seen = (first: string, second: string): Bench =>
    bench()
      .packet({ at: t, from: CLIENT, to: VIP, seq: 5, print: 5 })
      .packet({ at: t + 14_000, from: CLIENT, to: first, seq: 5, print: 5 })
      .packet({ at: t + 37_000, from: CLIENT, to: VIP, flags: TCP_RST, seq: 99, print: 0 })
      .packet({ at: again, from: CLIENT, to: VIP, seq: 5, print: 5, ipid: 6 })
      .packet({ at: again + 18_000, from: CLIENT, to: second, seq: 5, print: 5, ipid: 6 })
      .packet({ at: again + 33_000, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 7, ack: 6 })
      .packet({ at: reset, from: CLIENT, to: VIP, flags: TCP_RST, seq: 6, print: 0 })
      .conntrack({ ...entry, ...opened, id: 1, endpoint: first, ...late })
      .conntrack({ ...entry, event: EVENT_DESTROY, id: 1, endpoint: first, ...late })
      .conntrack({ ...entry, ...opened, id: 2, endpoint: second, ...late });

  it.each([
    ['the same endpoint', POD_A, POD_A],
    ['another endpoint', POD_A, POD_B],
  ])('is one connection, which ended when it was reset, at %s', (_, first, second) => {
    const b = seen(first, second)
      .conntrack({
        ...entry,
        event: EVENT_DESTROY,
        id: 2,
        endpoint: second,
        at: reset + 10 * SECOND,
      })
      .finish();
    expect(b.closed).toHaveLength(1);
    expect(b.closed[0]).toMatchObject({
      verdict: 'attributed',
      backend: { pod: { name: second === POD_A ? 'a' : 'b' } },
      outcome: 'reset',
      retransmits: 1,
    });
    expect(b.closed[0]?.evidence).toContain('conntrack');
    const { time = 0n, endTime = 0n } = b.closed[0] ?? {};
    expect(endTime - time).toBe(BigInt(reset - t));
  });

  it('has no third entry: one more is the next connection’s', () => {
    const b = seen(POD_A, POD_A)
      .conntrack({ ...entry, event: EVENT_DESTROY, id: 2, endpoint: POD_A, ...late })
      .conntrack({ ...entry, ...opened, id: 3, endpoint: POD_A, ...late })
      .finish();
    expect(b.closed).toHaveLength(2);
  });

  it('leaves the second entry to another connection whose SYN comes', () => {
    const b = seen(POD_A, POD_A)
      .packet({ at: reset + 20_000, from: CLIENT, to: VIP, seq: 900, print: 9, ipid: 8 })
      .finish();
    expect(b.closed).toHaveLength(2);
    expect(b.closed[1]?.evidence).toContain('conntrack');
  });
});

describe('a connection to an endpoint that the rules of its time do not have', () => {
  it('is explained by the first dump after it that does, not by the last', () => {
    const b = bench()
      .services([serviceEntry('web', VIP, [POD_A])])
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 5 })
      .packet({ at: 20_000, from: CLIENT, to: POD_B, seq: 5 })
      .services([serviceEntry('web', VIP, [POD_A])], 1_000_000)
      .services([serviceEntry('web', VIP, [POD_A, POD_B])], 2_000_000)
      .services([serviceEntry('web', VIP, [POD_A, POD_B, '10.0.0.13:8080'])], 3_000_000)
      .finish();
    expect(b.closed[0]?.rules?.probability).toBe(0.5);
  });
});

describe('an undated listing of a UDP flow', () => {
  it('says nothing of a flow that began before the Pod that it names', () => {
    const udp = serviceEntry('dns', VIP, [POD_A], { protocol: UDP });
    const b = new Bench()
      .services([udp])
      .pods([pod('a', '10.0.0.11')])
      .conntrack({ event: EVENT_LISTED, from: CLIENT, to: VIP, endpoint: POD_B, protocol: UDP })
      .packet({ at: 0, from: CLIENT, to: VIP, protocol: UDP, flags: 0 })
      .pods([pod('a', '10.0.0.11'), pod('b', '10.0.0.12')], SECOND)
      .packet({ at: 2 * SECOND, from: CLIENT, to: VIP, protocol: UDP, flags: 0 })
      .finish();
    expect(b.closed[0]).toMatchObject({ verdict: 'unattributed', reason: 'no-evidence' });
    expect(b.notices).toContain('listing-of-another-time');
  });
});

describe('a SYN sent again of which the last transmission was not seen translated', () => {
  it('is not attributed to where the first one went, when only the client’s side saw the answer', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 5, print: 5 })
      .packet({ at: 20, from: CLIENT, to: POD_A, seq: 5, print: 5 })
      .packet({ at: SECOND, from: CLIENT, to: VIP, seq: 5, print: 6 })
      .packet({ at: SECOND + 90, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 7, ack: 6 })
      .finish();
    expect(b.closed[0]).toMatchObject({ verdict: 'unattributed', reason: 'no-evidence' });
  });
});

describe('an address that passes to another Pod within the second that XML tells', () => {
  it.each([
    ['is nobody’s in that second', XML_SECOND, 'unattributed', 'time-too-coarse'],
    ['is the one’s who had it, where times are fine', 1_000, 'attributed', undefined],
  ])('%s', (_, resolution, verdict, reason) => {
    const b = bench();
    b.pods([pod('b', '10.0.0.12'), pod('heir', '10.0.0.11')], SECOND + SECOND / 2);
    b.conntrack({
      event: EVENT_NEW,
      at: SECOND,
      from: CLIENT,
      to: VIP,
      endpoint: POD_A,
      resolution,
    }).finish();
    expect(b.closed[0]).toMatchObject({ verdict });
    expect(b.closed[0]?.reason).toBe(reason);
  });
});

describe('the cluster and the rules over time', () => {
  it('a Pod that takes over an address is not named for what came before', () => {
    const b = new Bench()
      .services([serviceEntry('web', VIP, [POD_A])])
      .pods([pod('old', '10.0.0.11')]);
    seenWhole(b, 0, 1);
    b.push({
      type: 'cluster',
      time: 1_800_000_005n * 1_000_000_000n,
      change: { op: 'delete', item: pod('old', '10.0.0.11') },
    });
    b.push({
      type: 'cluster',
      time: 1_800_000_006n * 1_000_000_000n,
      change: { op: 'set', item: pod('new', '10.0.0.11') },
    });
    seenWhole(b, 7 * SECOND, 2).finish();
    expect(b.closed.map((c) => c.backend?.pod?.name)).toEqual(['old', 'new']);
  });

  it('each connection is explained by the rules in force at its start', () => {
    const b = bench();
    seenWhole(b, 0, 1);
    b.services([serviceEntry('renamed', VIP, [POD_A])], SECOND);
    seenWhole(b, 2 * SECOND, 2).finish();
    expect(b.closed.map((c) => c.service?.name)).toEqual(['web', 'renamed']);
    expect(b.notices).toContain('rules-changed');
  });
});

describe('what is no Service connection', () => {
  it('is counted as direct or other, once, and not said', () => {
    const b = bench();
    for (const copy of [0, 10]) {
      b.packet({ at: 100 + copy, from: CLIENT, to: POD_A, seq: 1 });
      b.packet({ at: 300 + copy, from: CLIENT, to: '93.184.216.34:443', seq: 2 });
    }
    b.tick(100 * SECOND).finish();
    expect(b.summary).toMatchObject({ direct: 1, other: 1, connections: { seen: 0 } });
    expect(b.closed).toHaveLength(0);
  });
});

describe('--direct', () => {
  it('says connections straight to a Pod, with the Services that list it, and does not count them as seen', () => {
    const b = bench({ saysDirect: true });
    b.push({
      type: 'cluster',
      change: {
        op: 'list',
        kind: 'endpointslice',
        items: [
          {
            kind: 'endpointslice',
            uid: 'u',
            namespace: 'default',
            name: 'web-1',
            service: 'web',
            ports: [{ protocol: 'tcp', port: 8080 }],
            endpoints: [
              { addresses: ['10.0.0.11'], ready: true, serving: true, terminating: false },
            ],
          },
        ],
      },
    });
    b.packet({ at: 0, from: CLIENT, to: POD_A, seq: 1 }).tick(100 * SECOND);
    b.finish();
    const direct = b.events.flatMap((e) => (e.type === 'direct' ? [e.direct] : []));
    expect(direct).toMatchObject([
      {
        client: { pod: { name: 'client' } },
        backend: { pod: { name: 'a' } },
        outcome: 'open',
        candidates: [{ namespace: 'default', name: 'web' }],
      },
    ]);
    expect(b.summary).toMatchObject({ direct: 1, connections: { seen: 0 } });
  });
});

describe('a copy that is missing', () => {
  it('is said of the connection that lacks it, where others are seen on both sides', () => {
    const b = seenWhole(bench(), 0, 1)
      .packet({ at: 10_000, from: '10.0.0.1:41000', to: VIP, seq: 7, print: 7 })
      .packet({ at: 10_050, from: VIP, to: '10.0.0.1:41000', flags: SYN_ACK, seq: 3, ack: 8 })
      .finish();
    const said = b.events.flatMap((e) => (e.type === 'notice' ? [e.notice] : []));
    const lacking = b.closed.find((c) => c.client.port === 41_000);
    expect(said.filter((n) => n.code === 'copy-missing').map((n) => n.connection)).toEqual([
      lacking?.connection,
    ]);
  });

  it('is not said where only one side is captured at all', () => {
    const b = bench()
      .packet({ at: 0, from: CLIENT, to: VIP, seq: 7, print: 7 })
      .packet({ at: 50, from: VIP, to: CLIENT, flags: SYN_ACK, seq: 3, ack: 8 })
      .finish();
    expect(b.notices).not.toContain('copy-missing');
  });
});
