import type { Attribution, Outcome, OutputEvent, PodRef, Verdict } from '../model/attribution.js';
import type { ProtocolName } from '../model/packet.js';
import { type Cidr, inAny } from './cidr.js';

/** `NAMESPACE/NAME` of a Service or a Pod. */
export interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}

/** Which connections are shown. Within a list: or; between lists: and; an empty list asks for nothing. */
export interface Filter {
  readonly services: readonly ObjectName[];
  /** The client or the backend. */
  readonly pods: readonly ObjectName[];
  /** Of the Service, the client or the backend. */
  readonly namespaces: readonly string[];
  readonly clients: readonly Cidr[];
  /** As the client addressed it. */
  readonly ports: readonly number[];
  readonly protocols: readonly ProtocolName[];
  readonly verdicts: readonly Verdict[];
  readonly outcomes: readonly Outcome[];
  /** Of the client or the backend. */
  readonly nodes: readonly string[];
}

type Test = (a: Attribution) => boolean;

/**
 * Makes the filter of one run: events in, those to be shown out. What has been shown once stays shown
 * until it closes, whatever it turns into. Losses, notices and the summary always pass.
 */
export function createFilter(
  filter: Filter,
): (events: readonly OutputEvent[]) => readonly OutputEvent[] {
  const tests = testsOf(filter);
  if (tests.length === 0) return (events) => events;
  const shown = new Set<string>();
  return (events) =>
    events.filter((event) => {
      if (event.type !== 'attribution' && event.type !== 'close') return true;
      const { attribution } = event;
      const pass = shown.has(attribution.connection) || tests.every((test) => test(attribution));
      if (event.type === 'close') shown.delete(attribution.connection);
      else if (pass) shown.add(attribution.connection);
      return pass;
    });
}

function testsOf(filter: Filter): Test[] {
  const tests: Test[] = [];
  const add = <T>(wanted: readonly T[], test: Test): void => {
    if (wanted.length > 0) tests.push(test);
  };
  add(filter.services, ({ service }) => filter.services.some((name) => names(name, service)));
  add(filter.pods, (a) => filter.pods.some((name) => podsOf(a).some((pod) => names(name, pod))));
  add(filter.namespaces, (a) =>
    [a.service, ...podsOf(a)].some(
      (it) => it?.namespace !== undefined && filter.namespaces.includes(it.namespace),
    ),
  );
  add(filter.clients, (a) => inAny(filter.clients, a.client.ip));
  add(filter.ports, (a) => filter.ports.includes(a.destination.port));
  add(filter.protocols, (a) => filter.protocols.includes(a.protocol));
  add(filter.verdicts, (a) => filter.verdicts.includes(a.verdict));
  add(filter.outcomes, (a) => filter.outcomes.includes(a.outcome));
  add(filter.nodes, (a) =>
    [a.client, a.backend].some((peer) =>
      [peer?.node, peer?.pod?.node].some(
        (node) => node !== undefined && filter.nodes.includes(node),
      ),
    ),
  );
  return tests;
}

function podsOf({ client, backend, claims = [] }: Attribution): PodRef[] {
  const peers = [client, backend, ...claims.map((claim) => claim.backend)];
  return peers.flatMap((peer) => peer?.pod ?? []);
}

function names(
  wanted: ObjectName,
  it: { readonly namespace?: string; readonly name?: string } | undefined,
): boolean {
  return it?.namespace === wanted.namespace && it.name === wanted.name;
}
