import fc from 'fast-check';
import type { Attribution, OutputEvent, Summary } from '../../src/model/attribution.js';
import type { SinkOptions } from '../../src/sinks/sink.js';
import { Collector } from './collector.js';

/** 2026-11-22T19:55:00.200100123Z. */
export const START = 1_795_377_300_200_100_123n;

/** The tutorial's connection: the client Pod to Service nginx, answered by nginx-86c57db685-vskrb. */
export const NGINX: Attribution = {
  connection: 'tcp-0001',
  time: START,
  timeSource: 'packet',
  protocol: 'tcp',
  client: {
    ip: '10.44.0.9',
    port: 36033,
    pod: { namespace: 'default', name: 'client', uid: 'c1', node: 'node01' },
    node: 'node01',
  },
  destination: { ip: '10.111.248.8', port: 80 },
  service: { namespace: 'default', name: 'nginx', portName: 'http', via: 'clusterIP' },
  backend: {
    ip: '10.44.0.1',
    port: 80,
    pod: { namespace: 'default', name: 'nginx-86c57db685-vskrb', uid: 'p1', node: 'node01' },
    node: 'node01',
    hostNetwork: false,
  },
  source: { ip: '192.168.77.11', port: 61371 },
  rules: {
    mode: 'iptables',
    backend: 'nft',
    path: ['KUBE-SERVICES', 'KUBE-SVC-4N57TFCL4MD7ZTDA', 'KUBE-SEP-RNUA2WF32F4IZIFK'],
    probability: 0.25,
    affinity: false,
  },
  interfaces: { in: 'vethc1', out: 'vethp1' },
  evidence: ['conntrack', 'packets', 'rules', 'cluster'],
  verdict: 'attributed',
  outcome: 'established',
  latency: { natNs: 21_000, handshakeNs: 310_000 },
};

export const attribution = (change: Partial<Attribution> = {}): OutputEvent => ({
  type: 'attribution',
  attribution: { ...NGINX, ...change },
});

export const close = (change: Partial<Attribution> = {}): OutputEvent => ({
  type: 'close',
  attribution: { ...NGINX, endTime: START + 1_000_000_000n, ...change },
});

/** Without what nobody knows: neither names nor a backend. */
export const UNKNOWN: Attribution = {
  connection: 'udp-0002',
  timeSource: 'listing',
  protocol: 'udp',
  client: { ip: 'fd00:10:244:1::2', port: 5353 },
  destination: { ip: 'fd00:10:96::a', port: 53 },
  evidence: [],
  verdict: 'unattributed',
  reason: 'no-evidence',
  outcome: 'open',
  latency: {},
};

export const SUMMARY: Summary = {
  connections: {
    seen: 2000,
    attributed: 1990,
    unattributed: 8,
    conflict: 2,
    pending: 0,
    reasons: { 'no-endpoints': 6, 'no-evidence': 2, 'packets-disagree': 2 },
    outcomes: { established: 1980, refused: 12, unanswered: 8 },
  },
  packets: { seen: 12_345, dropped: 0 },
  losses: 1,
  durationNs: 30_200_000_000,
  direct: 12,
  other: 3,
  existing: 4,
};

export const summary = (change: Partial<Summary> = {}): OutputEvent => ({
  type: 'summary',
  summary: { ...SUMMARY, ...change },
});

/** Text as nobody should ever be able to send it to a terminal. */
export const HOSTILE: readonly string[] = [
  '\u001b[2J\u001b[31mred\u0007',
  'a\u009b31mb\u0085c',
  'line\r\nbreak\ttab\u0000',
  '\u202eevil\u2066\u2069\u200b\u200d\ufeff',
  '\ud800lone\udc00',
  '\u007f\u2028\u2029\u00ad',
  '"quoted\\" \u3000wide space\u00a0',
  '\u0301combining first',
];

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.constantFrom(...HOSTILE),
  fc.constantFrom('nginx', 'default', '東京-pod', 'web-🚀-1', ''),
);
const machineText = fc.constantFrom('10.0.0.1', 'fd00::1', '10.244.1.250');
const port = fc.nat({ max: 65_535 });
const time = fc.bigInt({ min: -1n, max: 4_102_444_800_000_000_000n });
const amount = fc.oneof(fc.nat(), fc.constantFrom(0, Number.NaN, Number.MAX_SAFE_INTEGER));

const record = <T>(
  model: { [K in keyof T]: fc.Arbitrary<T[K]> },
  requiredKeys: (keyof T)[],
): fc.Arbitrary<Partial<T>> => fc.record(model, { requiredKeys });

const pod = record({ namespace: text, name: text, uid: text, node: text }, ['namespace', 'name']);
const peer = record({ ip: machineText, port, pod, node: text }, ['ip', 'port']);
const backend = record({ ip: machineText, port, pod, node: text, hostNetwork: fc.boolean() }, [
  'ip',
  'port',
]);
const address = fc.record({ ip: machineText, port });
const traffic = fc.record({ packets: amount, bytes: amount });
const evidence = fc.subarray(['conntrack', 'packets', 'rules', 'cluster']);

const anyAttribution = record(
  {
    connection: fc.stringMatching(/^[a-z0-9-]{1,8}$/),
    time,
    timeSource: fc.constantFrom('packet', 'conntrack', 'listing'),
    timeUncertaintyNs: amount,
    protocol: fc.constantFrom('tcp', 'udp', 'sctp'),
    zone: amount,
    client: peer,
    destination: address,
    service: record({ namespace: text, name: text, portName: text, via: fc.constant('nodePort') }, [
      'via',
    ]),
    backend,
    source: address,
    rules: record(
      {
        mode: fc.constantFrom('iptables', 'nftables'),
        backend: text,
        path: fc.array(text, { maxLength: 4 }),
        probability: fc.double({ min: 0, max: 1 }),
        affinity: fc.boolean(),
      },
      ['mode', 'path', 'affinity'],
    ),
    interfaces: record({ in: text, out: text }, []),
    evidence,
    verdict: fc.constantFrom('attributed', 'unattributed', 'conflict'),
    reason: fc.constantFrom('no-endpoints', 'lost', 'rules-disagree', 'unknown-service-address'),
    outcome: fc.constantFrom('established', 'refused', 'reset', 'unanswered', 'rejected', 'open'),
    claims: fc.array(fc.record({ evidence: fc.constant('packets'), backend }), {
      maxLength: 2,
    }),
    latency: record({ natNs: amount, handshakeNs: amount }, []),
    retransmits: amount,
    endTime: time,
    original: traffic,
    reply: traffic,
  },
  [
    'connection',
    'timeSource',
    'protocol',
    'client',
    'destination',
    'evidence',
    'verdict',
    'outcome',
  ],
);

/** Any event that the machine could ever say, and many that it should not. */
export const anyEvent = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ type: fc.constant('attribution'), attribution: anyAttribution }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('close'), attribution: anyAttribution }) },
  fc.record({
    type: fc.constant('loss'),
    loss: record(
      { source: fc.constant('ring'), count: fc.nat(), from: time, to: time, detail: text },
      ['source', 'count', 'detail'],
    ),
  }),
  fc.record({
    type: fc.constant('notice'),
    notice: record({ code: text, time, connection: text, detail: text }, ['code', 'detail']),
  }),
  fc.record({ type: fc.constant('summary'), summary: fc.constant(SUMMARY) }),
) as fc.Arbitrary<OutputEvent>;

export interface TestStreams extends SinkOptions {
  readonly stdout: Collector;
  readonly stderr: Collector;
}

export function streams(change: Partial<TestStreams> = {}): TestStreams {
  return {
    stdout: new Collector(),
    stderr: new Collector(),
    terminal: false,
    columns: () => undefined,
    colors: { stdout: false, stderr: false },
    verbose: false,
    overflow: 'wait',
    ...change,
  };
}
