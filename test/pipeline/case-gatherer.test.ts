import { describe, expect, it } from 'vitest';
import { ClusterState } from '../../src/correlate/cluster-state.js';
import { parseAddress } from '../../src/model/address.js';
import type { Attribution } from '../../src/model/attribution.js';
import type { Case } from '../../src/model/case.js';
import type { EndpointSliceRecord } from '../../src/model/cluster.js';
import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_NSEC,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RDPORT,
  C_RDST,
  C_RESOLUTION,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
  HAS_REPLY,
  HAS_TIME,
} from '../../src/model/conntrack.js';
import { ConntrackRows } from '../../src/model/conntrack-rows.js';
import type { InputEvent } from '../../src/model/event.js';
import { Interfaces } from '../../src/model/interfaces.js';
import {
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_NSEC,
  P_PRINT,
  P_PROTOCOL,
  P_SEC,
  P_SEQ,
  P_SPORT,
  P_SRC,
  TCP,
  TCP_ACK,
  TCP_SYN,
} from '../../src/model/packet.js';
import { PacketRows } from '../../src/model/packet-rows.js';
import type { Readings } from '../../src/model/readings.js';
import type { ServiceEntry } from '../../src/model/services.js';
import { nanosOf } from '../../src/model/time.js';
import { CaseGatherer } from '../../src/pipeline/case-gatherer.js';
import { fromJson, fromWire, toJson, toWire } from '../../src/pipeline/case-wire.js';
import { EvidenceMemory } from '../../src/pipeline/evidence-memory.js';

const SECOND = 1_800_000_000;
const at = (ms: number): bigint => nanosOf(SECOND, 0) + BigInt(ms) * 1_000_000n;

const CLIENT = { ip: '10.244.1.9', port: 40_000 };
const SERVICE = { ip: '10.96.0.10', port: 80 };
const [FIRST, SECOND_POD, OTHER] = ['10.244.1.2', '10.244.1.3', '10.244.1.4'].map((ip) => ({
  ip,
  port: 8080,
})) as [End, End, End];

interface End {
  readonly ip: string;
  readonly port: number;
}

const IT: Attribution = {
  connection: '0123456789abcdef',
  time: at(0),
  timeSource: 'packet',
  protocol: 'tcp',
  client: CLIENT,
  destination: SERVICE,
  service: { namespace: 'shop', name: 'web', via: 'clusterIP' },
  backend: SECOND_POD,
  evidence: ['packets'],
  verdict: 'attributed',
  outcome: 'established',
  endTime: at(2_000),
};

/** One segment for each row: ms, from, to, flags, sequence number. */
function packets(...rows: [ms: number, from: End, to: End, flags: number, seq: number][]) {
  const all = new PacketRows(1);
  for (const [ms, from, to, flags, seq] of rows) {
    const row = all.add();
    const w = all.words;
    w[row + P_SEC] = SECOND + Math.floor(ms / 1_000);
    w[row + P_NSEC] = (ms % 1_000) * 1_000_000;
    w[row + P_FAMILY] = 4;
    w[row + P_PROTOCOL] = TCP;
    w[row + P_FLAGS] = flags;
    w[row + P_SEQ] = seq;
    w[row + P_PRINT] = 7;
    parseAddress(from.ip, w, row + P_SRC);
    parseAddress(to.ip, w, row + P_DST);
    w[row + P_SPORT] = from.port;
    w[row + P_DPORT] = to.port;
  }
  return { type: 'packets', rows: all } as const;
}

const [FINE, TO_THE_SECOND] = [1_000, 1_000_000_000];

/** One word of conntrack's for each row: ms, event, resolution in ns, endpoint. */
function entries(...rows: [ms: number, event: number, resolution: number, pod: End][]) {
  const all = new ConntrackRows(1);
  for (const [ms, event, resolution, pod] of rows) {
    const row = all.add();
    const w = all.words;
    w[row + C_SEC] = SECOND + Math.floor(ms / 1_000);
    w[row + C_NSEC] = (((ms % 1_000) + 1_000) % 1_000) * 1_000_000;
    w[row + C_RESOLUTION] = resolution;
    w[row + C_EVENT] = event;
    w[row + C_FAMILY] = 4;
    w[row + C_PROTOCOL] = TCP;
    w[row + C_BITS] = HAS_TIME | HAS_REPLY;
    parseAddress(CLIENT.ip, w, row + C_OSRC);
    parseAddress(SERVICE.ip, w, row + C_ODST);
    parseAddress(pod.ip, w, row + C_RSRC);
    parseAddress(CLIENT.ip, w, row + C_RDST);
    w[row + C_OSPORT] = CLIENT.port;
    w[row + C_ODPORT] = SERVICE.port;
    w[row + C_RSPORT] = pod.port;
    w[row + C_RDPORT] = CLIENT.port;
  }
  return { type: 'conntrack', rows: all } as const;
}

const SETTING = { notices: [], losses: [], earlier: [] } as const;

function gathered(events: readonly InputEvent[], attribution = IT): Case {
  const cluster = new ClusterState();
  const gatherer = new CaseGatherer({ attribution, closed: true }, new Interfaces(), cluster);
  for (const event of events) {
    if (event.type === 'cluster') cluster.apply(event.change, event.time);
    gatherer.take(event);
  }
  return gatherer.result(SETTING);
}

const kinds = ({ packets: all }: Case): string[] =>
  all.map(({ kind, way, view, to }) => `${kind} ${way} ${view} ${to.ip}`);

describe('packets', () => {
  it('of a SYN that was given another endpoint when it was sent again are of both', () => {
    const found = gathered([
      packets(
        [0, CLIENT, SERVICE, TCP_SYN, 5],
        [0, CLIENT, FIRST, TCP_SYN, 5],
        [1_000, CLIENT, SERVICE, TCP_SYN, 5],
        [1_000, CLIENT, SECOND_POD, TCP_SYN, 5],
        [1_001, SECOND_POD, CLIENT, TCP_SYN | TCP_ACK, 9],
        // Somebody else's, with the same number: scanners send a constant one.
        [1_900, CLIENT, OTHER, TCP_SYN, 6],
      ),
    ]);
    expect(kinds(found)).toEqual([
      'syn forward original 10.96.0.10',
      'syn forward translated 10.244.1.2',
      'syn forward original 10.96.0.10',
      'syn forward translated 10.244.1.3',
      'syn-ack back translated 10.244.1.9',
    ]);
  });

  it('before it and of the next use of its addresses are not of it', () => {
    const found = gathered([
      packets(
        [-10 + 10, CLIENT, SERVICE, TCP_SYN, 5],
        [50, SERVICE, CLIENT, TCP_SYN | TCP_ACK, 9],
        [2_100, CLIENT, SERVICE, TCP_SYN, 77],
        [2_101, SERVICE, CLIENT, TCP_SYN | TCP_ACK, 78],
      ),
    ]);
    expect(kinds(found)).toEqual([
      'syn forward original 10.96.0.10',
      'syn-ack back original 10.244.1.9',
    ]);
  });

  it('of a connection without end are kept at both ends, and the rest is counted', () => {
    const events: InputEvent[] = [];
    for (let i = 0; i < 50; i++) {
      const rows = Array.from(
        { length: 200 },
        (_, j) => [i * 200 + j, CLIENT, SERVICE, TCP_ACK, i * 200 + j] as const,
      );
      events.push(packets(...rows.map((row) => [...row] as [number, End, End, number, number])));
    }
    const { endTime: _, ...open } = IT;
    const found = gathered(events, open);
    expect(found.packets).toHaveLength(2_000);
    expect([found.packets[0]?.sequence, found.packets.at(-1)?.sequence]).toEqual([0, 9_999]);
    expect(found.notices).toMatchObject([
      { code: 'evidence-left-out', detail: expect.stringContaining(' 8000 are not shown') },
    ]);
  });
});

describe('entries', () => {
  const EARLIER = entries(
    [-1_000, EVENT_DESTROY, TO_THE_SECOND, FIRST],
    [-500, EVENT_LISTED, TO_THE_SECOND, FIRST],
    [-295, EVENT_DESTROY, FINE, FIRST],
  );

  it('that were gone before it are not its own, in whatever form they were printed', () => {
    expect(gathered([EARLIER]).conntrack).toEqual([]);
  });

  it('of its own are kept beside them', () => {
    const own = entries(
      [0, EVENT_NEW, TO_THE_SECOND, SECOND_POD],
      [5, EVENT_NEW, FINE, SECOND_POD],
      [900, EVENT_LISTED, TO_THE_SECOND, SECOND_POD],
    );
    const { conntrack } = gathered([EARLIER, own]);
    expect(conntrack.map(({ event, reply }) => `${event} ${reply?.source.ip}`)).toEqual([
      'new 10.244.1.3',
      'listed 10.244.1.3',
    ]);
  });
});

function entry(...pods: End[]): ServiceEntry {
  const rule = { mode: 'iptables', path: ['KUBE-SERVICES'], affinity: false } as const;
  return {
    protocol: TCP,
    address: SERVICE.ip,
    port: SERVICE.port,
    via: 'clusterIP',
    service: { namespace: 'shop', name: 'web' },
    action: 'dnat',
    routes: pods.map((pod) => ({ ...pod, rule })),
  };
}

function rules(ms: number | undefined, ...services: ServiceEntry[]): InputEvent {
  return {
    type: 'rules',
    ...(ms !== undefined && { time: at(ms) }),
    rules: { kind: 'iptables', family: 4, backend: 'nft', tables: new Map() },
    services,
  };
}

function slice(ms: number | undefined, ...ready: [End, boolean][]): InputEvent {
  const item: EndpointSliceRecord = {
    kind: 'endpointslice',
    uid: 's',
    namespace: 'shop',
    name: 'web-1',
    service: 'web',
    ports: [{ protocol: 'tcp', port: 8080 }],
    endpoints: ready.map(([{ ip }, isReady]) => ({
      addresses: [ip],
      ready: isReady,
      serving: isReady,
      terminating: false,
    })),
  };
  const time = ms === undefined ? {} : { time: at(ms) };
  return { type: 'cluster', ...time, change: { op: 'set', item } };
}

describe('what held', () => {
  it('is what was in force when it began; what changed later is told', () => {
    const found = gathered([
      rules(undefined, entry(FIRST, SECOND_POD)),
      slice(undefined, [FIRST, true], [SECOND_POD, true]),
      packets([0, CLIENT, SERVICE, TCP_SYN, 5]),
      slice(500, [FIRST, false], [SECOND_POD, true]),
      rules(600, entry(SECOND_POD)),
      // After its end.
      rules(200_000, entry(OTHER)),
    ]);
    expect(found.entries[0]?.routes.map(({ ip }) => ip)).toEqual([FIRST.ip, SECOND_POD.ip]);
    expect(found.cluster.endpoints.map(({ ready, port }) => [ready, port])).toEqual([
      [true, 8080],
      [true, 8080],
    ]);
    expect(found.changes).toMatchObject([
      {
        time: at(500),
        kind: 'endpoints',
        what: '10.244.1.2:8080 is not ready any more',
        endpoint: { ip: FIRST.ip, became: 'not-ready' },
      },
      { time: at(600), kind: 'rules', what: 'the rules do not lead to 10.244.1.2:8080 any more' },
    ]);
  });

  it('and what changed in the minute before', () => {
    const found = gathered([
      slice(-90_000, [FIRST, true]),
      slice(-50_000, [FIRST, true], [SECOND_POD, true]),
      packets([0, CLIENT, SERVICE, TCP_SYN, 5]),
    ]);
    expect(found.changes).toEqual([]);
    expect(found.earlierChanges?.map(({ what }) => what)).toEqual([
      '10.244.1.3:8080 is an endpoint now',
    ]);
  });
});

describe('the memory of a live run', () => {
  it('forgets the earliest connections and rows, and gathers what is left', () => {
    const cluster = new ClusterState();
    const memory = new EvidenceMemory({ interfaces: new Interfaces(), cluster, connections: 2 });
    for (let i = 0; i < 200; i++) {
      const client = { ip: CLIENT.ip, port: 41_000 + i };
      memory.take(packets([i, client, SERVICE, TCP_SYN, i]));
      const attribution = { ...IT, connection: `c${i}`, client, time: at(i) };
      memory.hear([
        { type: 'attribution', attribution },
        { type: 'close', attribution },
      ]);
    }
    const all = memory.ask({ text: 'all' });
    expect([all.seen, all.matched]).toEqual([2, 2]);
    expect(all.inOrder.map(({ attribution }) => attribution.connection)).toEqual(['c198', 'c199']);
    const [, last] = all.inOrder;
    if (last === undefined) throw new Error('nothing was remembered');
    expect(memory.gather(last).result(SETTING).packets).toHaveLength(1);
    // Of 200 rows 48 are left.
    const early = { attribution: { ...IT, client: { ip: CLIENT.ip, port: 41_100 } }, closed: true };
    expect(memory.gather(early).result(SETTING).packets).toEqual([]);
  });

  it('forgets the oldest readings, and never what was told of a thing last', () => {
    const memory = new EvidenceMemory({
      interfaces: new Interfaces(),
      cluster: new ClusterState(),
      connections: 1,
    });
    const read = (second: number, readings: Readings): void =>
      memory.take({ type: 'readings', time: at(second * 1_000), readings });
    const route = { network: FIRST.ip, prefix: 32, device: 'veth1', metric: 0 };
    // Some MB of lists that change all the time.
    const held = Array.from({ length: 40_000 }, (_, i): [string, number] => [`10.9.${i}`, 1]);
    read(-5_000, { table: { count: 1 }, routes: [route] });
    for (let i = 0; i < 20; i++) read(-4_000 + i, { table: { count: 2 }, recent: [['L', held]] });
    for (let i = 0; i < 400; i++) read(-3_990 + 10 * i, { table: { count: 3 + i } });
    const { node, conntrackTable } = memory
      .gather({ attribution: IT, closed: true })
      .result(SETTING);
    expect(node.interfaceTo?.(FIRST.ip)).toBe('veth1');
    expect(node.recent?.get('L')?.size).toBe(held.length);
    expect(conntrackTable).toEqual({ before: { time: at(0), count: 402 } });
    const early = { attribution: { ...IT, time: at(-3_989_000) }, closed: true };
    const first = memory.gather(early).result(SETTING).conntrackTable?.before;
    expect(first?.time).toBe(at(-3_570_000));
  });

  it('says the same over the wire', () => {
    const found = gathered([
      rules(undefined, entry(FIRST)),
      slice(undefined, [FIRST, true]),
      packets([0, CLIENT, SERVICE, TCP_SYN, 5]),
    ]);
    const readings = { addresses: ['192.168.77.11'] };
    const back = fromWire(fromJson(toJson(toWire(found, readings))) as ReturnType<typeof toWire>);
    const { rules: _, node, ...rest } = back;
    expect(found).toMatchObject(rest);
    expect([...(node.addresses ?? [])]).toEqual(readings.addresses);
  });
});
