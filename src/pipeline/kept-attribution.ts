import type { Attribution, Latency, Peer } from '../model/attribution.js';

/** With all its fields, which can be set. */
type Open<T> = { -readonly [Name in keyof Required<T>]: T[Name] };

/**
 * A place for what was said of a connection, used again for the next one. Kept as they are, attributions live
 * just long enough to be moved by the garbage collector, which stops everything meanwhile; a copy costs less.
 */
export class KeptAttribution {
  private readonly client: Open<Peer> = { ip: '', port: 0, pod: undefined, node: undefined };
  private readonly latency: Open<Latency> = {
    natNs: undefined,
    handshakeNs: undefined,
    networkNs: undefined,
    networkRoundTripNs: undefined,
  };
  private hasLatency = false;
  private readonly rest: Open<Omit<Attribution, 'client' | 'latency'>> = {
    connection: '',
    time: undefined,
    timeSource: 'packet',
    timeUncertaintyNs: undefined,
    protocol: 'tcp',
    zone: undefined,
    destination: { ip: '', port: 0 },
    service: undefined,
    backend: undefined,
    source: undefined,
    rules: undefined,
    interfaces: undefined,
    evidence: [],
    verdict: 'unattributed',
    reason: undefined,
    outcome: 'open',
    claims: undefined,
    node: undefined,
    farEnd: undefined,
    retransmits: undefined,
    endTime: undefined,
    original: undefined,
    reply: undefined,
  };

  get connection(): string {
    return this.rest.connection;
  }

  /** Field by field: copying whole objects costs several times as much. A test knows whether one is missing. */
  set(it: Attribution): void {
    const { client, latency, rest } = this;
    client.ip = it.client.ip;
    client.port = it.client.port;
    client.pod = it.client.pod;
    client.node = it.client.node;
    this.hasLatency = it.latency !== undefined;
    latency.natNs = it.latency?.natNs;
    latency.handshakeNs = it.latency?.handshakeNs;
    latency.networkNs = it.latency?.networkNs;
    latency.networkRoundTripNs = it.latency?.networkRoundTripNs;
    rest.connection = it.connection;
    rest.time = it.time;
    rest.timeSource = it.timeSource;
    rest.timeUncertaintyNs = it.timeUncertaintyNs;
    rest.protocol = it.protocol;
    rest.zone = it.zone;
    rest.destination = it.destination;
    rest.service = it.service;
    rest.backend = it.backend;
    rest.source = it.source;
    rest.rules = it.rules;
    rest.interfaces = it.interfaces;
    rest.evidence = it.evidence;
    rest.verdict = it.verdict;
    rest.reason = it.reason;
    rest.outcome = it.outcome;
    rest.claims = it.claims;
    rest.node = it.node;
    rest.farEnd = it.farEnd;
    rest.retransmits = it.retransmits;
    rest.endTime = it.endTime;
    rest.original = it.original;
    rest.reply = it.reply;
  }

  /** What was set last, which later ones do not change. */
  get(): Attribution {
    const { client, latency, rest } = this;
    return {
      ...rest,
      client: { ...client },
      latency: this.hasLatency ? { ...latency } : undefined,
    };
  }
}
