import { expect, test } from 'vitest';
import type { Attribution, Latency, Peer } from '../../src/model/attribution.js';
import { KeptAttribution } from '../../src/pipeline/kept-attribution.js';

/** All that can be said, everything different from what a place begins with. */
const EVERYTHING: Required<Attribution> & {
  client: Required<Peer>;
  latency: Required<Latency>;
} = {
  connection: '00112233aabbccdd',
  time: 1n,
  timeSource: 'listing',
  timeUncertaintyNs: 2,
  protocol: 'udp',
  zone: 3,
  client: { ip: '10.0.0.1', port: 4, pod: { namespace: 'a', name: 'b' }, node: 'n' },
  destination: { ip: '10.96.0.1', port: 5 },
  service: { namespace: 's', name: 't', via: 'clusterIP' },
  backend: { ip: '10.0.0.2', port: 6 },
  source: { ip: '10.0.0.3', port: 7 },
  rules: { mode: 'iptables', path: ['KUBE-SERVICES'], affinity: false },
  interfaces: { in: 'veth0', out: 'veth1' },
  evidence: ['packets'],
  verdict: 'conflict',
  reason: 'packets-disagree',
  outcome: 'reset',
  claims: [{ evidence: 'packets', backend: { ip: '10.0.0.2', port: 6 } }],
  latency: { natNs: 8, handshakeNs: 9, networkNs: 10, networkRoundTripNs: 11 },
  node: 'm',
  farEnd: { node: 'far' },
  retransmits: 12,
  endTime: 13n,
  original: { packets: 14, bytes: 15 },
  reply: { packets: 16, bytes: 17 },
};

const LITTLE: Attribution = {
  connection: 'ffeeddccbbaa9988',
  timeSource: 'packet',
  protocol: 'tcp',
  client: { ip: '10.0.0.9', port: 1 },
  destination: { ip: '10.96.0.9', port: 2 },
  evidence: [],
  verdict: 'unattributed',
  outcome: 'open',
};

test('what is kept of an attribution is all that was said', () => {
  const kept = new KeptAttribution();
  kept.set(EVERYTHING);
  expect(kept.get()).toEqual(EVERYTHING);
});

test('nothing of the connection that had the place before is left', () => {
  const kept = new KeptAttribution();
  kept.set(EVERYTHING);
  kept.set(LITTLE);
  expect(kept.get()).toEqual(LITTLE);
});

test('what was taken from a place stays as it is when the place is used again', () => {
  const kept = new KeptAttribution();
  kept.set(EVERYTHING);
  const taken = kept.get();
  kept.set(LITTLE);
  expect(taken).toEqual(EVERYTHING);
});
