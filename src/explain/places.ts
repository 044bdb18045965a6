import type { Peer } from '../model/attribution.js';
import type { Case, End, SeenPacket } from '../model/case.js';

/** Opens a connection: TCP, SCTP, or the datagrams of a UDP flow. */
const OPENING: ReadonlySet<SeenPacket['kind']> = new Set(['syn', 'init', 'datagram']);
/** Answers it. */
const ANSWER: ReadonlySet<SeenPacket['kind']> = new Set(['syn-ack', 'init-ack', 'datagram']);

/** Where a connection's packets pass on the node: names of interfaces; absent where nothing tells. */
export interface Places {
  /** By which the client's packets come in: its Pod's veth, or the uplink. None for a client of the node itself. */
  readonly near?: string;
  /** By which they leave towards the endpoint: its Pod's veth, or the uplink. */
  readonly far?: string;
  /** Whether each end is on this node; absent where the nodes' names are not known. */
  readonly clientHere?: boolean;
  readonly backendHere?: boolean;
  /** The client is the node: its packets are translated before any interface shows them. */
  readonly clientIsNode: boolean;
}

export function sameEnd(a: End, b: End): boolean {
  return a.ip === b.ip && a.port === b.port;
}

export function isOpening({ kind, way }: SeenPacket): boolean {
  return way === 'forward' && OPENING.has(kind);
}

export function isAnswer({ kind, way }: SeenPacket): boolean {
  return way === 'back' && ANSWER.has(kind);
}

/** The first retransmission is due after 1 s (RFC 6298), some stacks' after 200 ms; what comes sooner is a copy. */
const COPY_NS = 10_000_000n;

/** How often what opens a connection passed one place: a bridge and several captures show it more than once. */
export function sendings(sights: readonly SeenPacket[]): number {
  let count = 0;
  let last: SeenPacket | undefined;
  for (const sight of sights) {
    const isCopy =
      last !== undefined &&
      sight.kind !== 'datagram' &&
      sight.sequence === last.sequence &&
      sight.time - last.time < COPY_NS;
    if (!isCopy) count++;
    last = sight;
  }
  return count;
}

export function placesOf(it: Case): Places {
  const { attribution, podInterfaces } = it;
  const { client, backend } = attribution;
  const clientIsNode = it.node.addresses?.has(client.ip) === true;
  const near = clientIsNode
    ? undefined
    : (podInterfaces?.client ?? firstIn(it, 'forward', 'original') ?? attribution.interfaces?.in);
  const far =
    podInterfaces?.backend ??
    firstIn(it, 'back', 'translated', near) ??
    lastOut(it, backend) ??
    attribution.interfaces?.out ??
    (backend === undefined ? undefined : ownInterface(it, backend.ip));
  const clientHere = clientIsNode || isHere(client, it, near, podInterfaces?.client);
  const backendHere =
    backend === undefined ? undefined : isHere(backend, it, far, podInterfaces?.backend);
  return {
    ...(near !== undefined && { near }),
    ...(far !== undefined && { far }),
    ...(clientHere !== undefined && { clientHere }),
    ...(backendHere !== undefined && { backendHere }),
    clientIsNode,
  };
}

/** Whether the packets of an interface were looked at: only then does what it did not show say anything. */
export function wasCaptured(it: Case, name: string | undefined): boolean {
  return it.looked.packets && name !== undefined && it.looked.interfaces.includes(name);
}

/** `by`: the interface towards it; `own`: the node's end of its veth, where that is known. */
function isHere(
  peer: Peer,
  it: Case,
  by: string | undefined,
  own: string | undefined,
): boolean | undefined {
  const { name, addresses } = it.node;
  if (addresses?.has(peer.ip) === true) return true;
  const node = peer.pod?.node ?? peer.node;
  if (node !== undefined && name !== undefined) return node === name;
  const its = it.cluster.nodes.find((one) => one.name === node);
  if (its !== undefined && addresses !== undefined) {
    return its.addresses.some((address) => addresses.has(address));
  }
  if (own !== undefined) return true;
  return by !== undefined && isUplink(it, by) ? false : undefined;
}

/** It leads to the nodes of the cluster, so to no Pod of this one. */
function isUplink(it: Case, name: string): boolean {
  return it.cluster.nodes.some(({ addresses }) =>
    addresses.some((address) => it.node.interfaceTo?.(address) === name),
  );
}

/**
 * The interface on which such a packet first came in. `near` shows an answer that the translation back
 * missed: it does not come in there, unless the endpoint is the client itself.
 */
function firstIn(
  it: Case,
  way: SeenPacket['way'],
  view: SeenPacket['view'],
  near?: string,
): string | undefined {
  const { client, backend } = it.attribution;
  return it.packets.find(
    (packet) =>
      packet.way === way &&
      packet.view === view &&
      packet.direction !== 'out' &&
      packet.kind !== 'icmp-error' &&
      packet.encapsulation === undefined &&
      (packet.interface !== near || client.ip === backend?.ip),
  )?.interface;
}

/** Where the opening packet was last seen on its way to the endpoint: the bridge shows it before the Pod's veth does. */
function lastOut(it: Case, backend: End | undefined): string | undefined {
  if (backend === undefined) return undefined;
  const first = it.packets.find(
    (packet) => isOpening(packet) && packet.view === 'translated' && sameEnd(packet.to, backend),
  );
  let last: SeenPacket | undefined;
  for (const packet of it.packets) {
    if (!isOpening(packet) || packet.view !== 'translated' || packet.direction === 'in') continue;
    if (!sameEnd(packet.to, backend) || packet.encapsulation !== undefined) continue;
    if (first === undefined || packet.time - first.time > SAME_PACKET_NS) continue;
    last = packet;
  }
  return last?.interface;
}

/** One packet's copies on the interfaces of a node follow each other much faster. */
const SAME_PACKET_NS = 50_000_000n;

/** The interface to an address, if it leads to nobody else that is known: a bridge or an uplink is no Pod's own. */
function ownInterface(it: Case, ip: string): string | undefined {
  const name = it.node.interfaceTo?.(ip);
  if (name === undefined) return undefined;
  const others = [
    it.attribution.client.ip,
    ...it.cluster.endpoints.flatMap(({ addresses }) => addresses),
    ...it.cluster.nodes.flatMap(({ addresses }) => addresses),
  ];
  const shared = others.some((other) => other !== ip && it.node.interfaceTo?.(other) === name);
  return shared ? undefined : name;
}
