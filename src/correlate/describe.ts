import { formatAddress, formatEndpoint } from '../model/address.js';
import type {
  Attribution,
  Backend,
  Direct,
  Evidence,
  FarEnd,
  Latency,
  Outcome,
  Peer,
  PodRef,
  ServiceRef,
} from '../model/attribution.js';
import { type ClientPlace, isOpenTo } from '../model/clients.js';
import type { PodRecord } from '../model/cluster.js';
import { type ProtocolName, protocolName } from '../model/packet.js';
import type { EndpointRoute, RulePath, ServiceEntry } from '../model/services.js';
import type { Nanos } from '../model/time.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  type Connection,
  CT_CLAIM,
  type FarSight,
  NEVER,
  ORIGINAL,
  PK_CLAIM,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
} from './connection.js';
import type { State } from './state.js';
import { mix } from './tuple-map.js';
import type { Judgement } from './verdict.js';

/** A time that is off by less than this is not worth a remark. */
const WORTH_SAYING_NS = 1_000_000;

/** An attribution while it is put together: fields are added one by one, since a spread costs as much as all the rest. */
type Draft = { -readonly [K in keyof Attribution]: Attribution[K] };

/** Puts into words what is known of a connection. The only place where its numbers become text. */
export function describe(state: State, c: Connection, j: Judgement): Attribution {
  const w = state.table.words;
  const at = state.table.at(c);
  const time = c.time === NEVER ? undefined : state.clock.absolute(c.time);
  const clientIp = formatAddress(w, at + ORIGINAL + T_SRC, c.family);
  const a: Draft = {
    connection: identify(state, c),
    time,
    timeSource: c.timeSource,
    protocol: protocolName(c.protocol) as ProtocolName,
    client: peerOf(state, clientIp, w[at + ORIGINAL + T_SPORT] ?? 0, time),
    destination: {
      ip: formatAddress(w, at + ORIGINAL + T_DST, c.family),
      port: w[at + ORIGINAL + T_DPORT] ?? 0,
    },
    evidence: [],
    verdict: j.verdict ?? 'unattributed',
    outcome: j.outcome,
  };
  const uncertainty = Math.max(c.lateness, c.resolution);
  if (time !== undefined && uncertainty > WORTH_SAYING_NS) a.timeUncertaintyNs = uncertainty;
  if (c.zone > 0) a.zone = c.zone;
  a.service = serviceOf(c);
  if (j.claim >= 0) describeClaim(state, c, j, time, a);
  else if (j.reason === 'no-endpoints' || j.reason === 'filtered') a.rules = c.byRules?.refusedBy;
  a.interfaces = interfacesOf(state, c);
  a.reason = j.reason;
  if (state.severalNodes) a.node = state.vantageOf(c).name || undefined;
  if (c.far !== undefined) a.farEnd = farEndOf(state, c.far);
  a.latency = latencyOf(c);
  if (c.retransmits > 0) a.retransmits = c.retransmits;
  if (c.endTime !== NEVER) a.endTime = state.clock.absolute(c.endTime);
  a.original = c.original;
  a.reply = c.reply;
  return a;
}

/** A connection that went straight to a Pod's address. */
export function describeDirect(state: State, c: Connection, outcome: Outcome): Direct {
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  const time = c.time === NEVER ? undefined : state.clock.absolute(c.time);
  const ip = formatAddress(w, at + T_DST, c.family);
  const port = w[at + T_DPORT] ?? 0;
  const protocol = protocolName(c.protocol) as ProtocolName;
  const clientIp = formatAddress(w, at + T_SRC, c.family);
  return {
    connection: identify(state, c),
    time,
    protocol,
    client: peerOf(state, clientIp, w[at + T_SPORT] ?? 0, time),
    backend: peerOf(state, ip, port, time),
    outcome,
    candidates: state.cluster.servicesListing(protocol, ip, port, time),
  };
}

/** Where the connection was sent, as far as its sources agree. */
function describeClaim(
  state: State,
  c: Connection,
  j: Judgement,
  time: Nanos | undefined,
  a: Draft,
): void {
  if (j.verdict === 'conflict') {
    a.claims = [
      { evidence: 'conntrack', backend: backendOf(state, c, BY_CONNTRACK, time).backend },
      { evidence: 'packets', backend: backendOf(state, c, BY_PACKETS, time).backend },
    ];
    return;
  }
  const { backend, known } = backendOf(state, c, j.claim, time);
  if (j.reason === 'time-too-coarse') {
    // What conntrack says is shown; of which of several connections it says it is not known.
    a.claims = [{ evidence: 'conntrack', backend }];
    return;
  }
  a.backend = backend;
  a.source = sourceOf(state, c, j.claim);
  a.rules = routeOf(state, c, backend)?.rule;
  a.evidence = evidenceOf(c, j.claim, a.rules, known);
}

/** Sixteen hexadecimal digits over protocol, original tuple, zone and start: equal across runs of the same input. */
export function identify(state: State, c: Connection): string {
  if (c.id !== undefined) return c.id;
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  // Connections of one tuple told with one time (whole seconds, or a damaged input) differ by their order.
  let ordinal = 0;
  for (let o = state.table.older(c); o !== undefined; o = state.table.older(o)) {
    if (o.time === c.time) ordinal++;
  }
  let a = 0x811c9dc5 ^ c.protocol ^ (ordinal << 8);
  let b = 0x9e3779b9 ^ Math.max(0, c.zone);
  for (let i = 0; i < T_DPORT + 1; i++) {
    a = Math.imul(a ^ (w[at + i] ?? 0), 0x01000193);
    b = Math.imul(b + (w[at + i] ?? 0), 0x85ebca6b) ^ (b >>> 13);
  }
  const start = c.time === NEVER ? 0n : state.clock.absolute(c.time);
  a = mix(a ^ Number(BigInt.asUintN(32, start)));
  b = mix(b ^ Number(BigInt.asUintN(32, start >> 32n)) ^ a);
  c.id = `${a.toString(16).padStart(8, '0')}${b.toString(16).padStart(8, '0')}`;
  return c.id;
}

/** Pods and Services are few and connections many: each is put into words once and shared. */
const podRefs = new WeakMap<PodRecord, PodRef>();
const serviceRefs = new WeakMap<ServiceEntry, ServiceRef>();

function serviceOf(c: Connection): ServiceRef | undefined {
  const entry = c.byRules ?? c.byCluster ?? c.byAddress;
  if (entry === undefined) return undefined;
  // Only an entry that names its Service itself is the same for every connection.
  if (entry.service === undefined || entry === c.byAddress || entry.via === 'externalIP') {
    return makeService(c, entry);
  }
  let ref = serviceRefs.get(entry);
  if (ref === undefined) {
    ref = makeService(c, entry);
    serviceRefs.set(entry, ref);
  }
  return ref;
}

function makeService(c: Connection, entry: ServiceEntry): ServiceRef {
  const name = c.byRules?.service ?? c.byCluster?.service ?? c.byAddress?.service;
  // Rules do not always tell a load balancer's address from an external one; the Service does.
  const via = entry.via === 'externalIP' ? (c.byCluster?.via ?? entry.via) : entry.via;
  const portName = c.byAddress === undefined ? name?.portName : undefined;
  return {
    ...(name !== undefined && { namespace: name.namespace, name: name.name }),
    ...(portName !== undefined && { portName }),
    via,
  };
}

function podRef(pod: PodRecord): PodRef {
  let ref = podRefs.get(pod);
  if (ref === undefined) {
    ref = {
      namespace: pod.namespace,
      name: pod.name,
      ...(pod.uid !== '' && { uid: pod.uid }),
      ...(pod.node !== undefined && { node: pod.node }),
    };
    podRefs.set(pod, ref);
  }
  return ref;
}

function peerOf(state: State, ip: string, port: number, time: Nanos | undefined): Peer {
  const pod = state.cluster.podAt(ip, time);
  if (pod !== undefined) return { ip, port, pod: podRef(pod) };
  const node = state.cluster.nodeOfAddress(ip);
  return node === undefined ? { ip, port } : { ip, port, node };
}

/** The endpoint of a claim, and whether the cluster knew it: a Pod had the address, and the Service listed it. */
function backendOf(
  state: State,
  c: Connection,
  claim: number,
  time: Nanos | undefined,
): { backend: Backend; known: boolean } {
  const w = state.table.words;
  const at = state.table.at(c) + claim;
  const ip = formatAddress(w, at + T_DST, c.family);
  const port = w[at + T_DPORT] ?? 0;
  const name = (c.byRules?.service ?? c.byCluster?.service) as ServiceEntry['service'];
  const listed =
    name === undefined
      ? undefined
      : state.cluster.endpointOf(name, name.portName, protocolName(c.protocol), ip, port, time);
  const owner = state.cluster.podAt(ip, time);
  if (owner !== undefined) {
    const slices = name !== undefined && state.cluster.hasSlices(name);
    return {
      backend: { ip, port, pod: podRef(owner), node: owner.node },
      known: listed !== undefined || !slices,
    };
  }
  // A host-network Pod has the node's address, which says nothing: the EndpointSlice names the Pod.
  const node = listed?.node ?? state.cluster.nodeOfAddress(ip);
  if (listed?.pod !== undefined) {
    const { namespace, name: podName, uid } = listed.pod;
    return {
      backend: {
        ip,
        port,
        pod: {
          namespace,
          name: podName,
          ...(uid !== undefined && { uid }),
          ...(node !== undefined && { node }),
        },
        ...(node !== undefined && { node }),
        ...(state.cluster.nodeOfAddress(ip) !== undefined && { hostNetwork: true }),
      },
      known: true,
    };
  }
  return {
    backend: { ip, port, ...(node !== undefined && { node }) },
    known: listed !== undefined,
  };
}

/**
 * The way through the rules to an endpoint, of those that are open to the client: of the rule set in force
 * at the start, else of the one in force now.
 */
function routeOf(state: State, c: Connection, backend: Backend): EndpointRoute | undefined {
  const then = wayTo(state, c, c.byRules, backend);
  if (then !== undefined) return then;
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  const now = state.vantageOf(c).byRules.find(w, at + T_DST, w[at + T_DPORT] ?? 0, c.protocol);
  return wayTo(state, c, now, backend);
}

function wayTo(
  state: State,
  c: Connection,
  entry: ServiceEntry | undefined,
  backend: Backend,
): EndpointRoute | undefined {
  let perhaps: EndpointRoute | undefined;
  for (const route of entry?.routes ?? []) {
    if (route.port !== backend.port || route.ip !== backend.ip) continue;
    if (route.clients === undefined) return route;
    const open = isOpenTo(route.clients, clientPlace(state, c));
    if (open === true) return route;
    if (open === undefined) perhaps ??= route;
  }
  return perhaps;
}

/** Where the client is, as rules ask for it. */
export function clientPlace(state: State, c: Connection): ClientPlace {
  const { words } = state.table;
  const at = state.table.at(c) + ORIGINAL + T_SRC;
  const local = state.vantageOf(c).byRules.isOwn(words, at);
  return { words, at, local, interface: state.interfaces.name(c.interfaceIn) };
}

function evidenceOf(
  c: Connection,
  claim: number,
  rules: RulePath | undefined,
  known: boolean,
): Evidence[] {
  const evidence: Evidence[] = [];
  if (claim < 0) return evidence;
  if ((c.bits & CT_CLAIM) !== 0 && (claim === BY_CONNTRACK || c.earlier === undefined)) {
    evidence.push('conntrack');
  }
  if ((c.bits & PK_CLAIM) !== 0) evidence.push('packets');
  if (rules !== undefined) evidence.push('rules');
  if (known) evidence.push('cluster');
  return evidence;
}

/** The peer that the endpoint sees, where it is not the client itself. */
function sourceOf(
  state: State,
  c: Connection,
  claim: number,
): { ip: string; port: number } | undefined {
  const w = state.table.words;
  const at = state.table.at(c);
  const ip = formatAddress(w, at + claim + T_SRC, c.family);
  const port = w[at + claim + T_SPORT] ?? 0;
  const clientIp = formatAddress(w, at + ORIGINAL + T_SRC, c.family);
  return ip === clientIp && port === w[at + ORIGINAL + T_SPORT] ? undefined : { ip, port };
}

function interfacesOf(state: State, c: Connection): { in?: string; out?: string } | undefined {
  return namesOf(state, c.interfaceIn, c.interfaceOut);
}

function namesOf(
  state: State,
  first: number,
  last: number,
): { in?: string; out?: string } | undefined {
  const before = state.interfaces.name(first);
  const after = state.interfaces.name(last);
  if (after === undefined) return before === undefined ? undefined : { in: before };
  return before === undefined ? { out: after } : { in: before, out: after };
}

function latencyOf(c: Connection): Latency | undefined {
  const handshake =
    c.answerTime === NEVER || c.firstSent === NEVER ? -1 : c.answerTime - c.firstSent;
  if (c.far !== undefined) return acrossNodes(c, c.far, handshake);
  if (handshake < 0) return c.natNs < 0 ? undefined : { natNs: c.natNs };
  return c.natNs < 0 ? { handshakeNs: handshake } : { natNs: c.natNs, handshakeNs: handshake };
}

/** With the time on the wire between two nodes: by both clocks, where they agree well enough, and by each for itself. */
function acrossNodes(c: Connection, far: FarSight, handshake: number): Latency {
  const network =
    c.firstPost === NEVER || far.firstSent === NEVER ? -1 : far.firstSent - c.firstPost;
  const there = handshakeAt(far);
  const roundTrip = handshake >= 0 && there >= 0 && c.answeredBefore ? handshake - there : -1;
  const trusted = network >= 0 && (roundTrip < 0 || network <= roundTrip);
  return {
    ...(c.natNs >= 0 && { natNs: c.natNs }),
    ...(handshake >= 0 && { handshakeNs: handshake }),
    ...(trusted && { networkNs: network }),
    ...(roundTrip >= 0 && { networkRoundTripNs: roundTrip }),
  };
}

function handshakeAt(far: FarSight): number {
  return far.answerTime === NEVER || far.firstSent === NEVER ? -1 : far.answerTime - far.firstSent;
}

function farEndOf(state: State, far: FarSight): FarEnd {
  const handshake = handshakeAt(far);
  return {
    node: state.vantages[far.vantage]?.name ?? '',
    ...(far.firstSent !== NEVER && { time: state.clock.absolute(far.firstSent) }),
    interfaces: namesOf(state, far.interfaceIn, far.interfaceOut),
    ...(handshake >= 0 && { handshakeNs: handshake }),
  };
}

/** `ip:port` of a connection's client, for notices. */
export function clientText(state: State, c: Connection): string {
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  return formatEndpoint(formatAddress(w, at + T_SRC, c.family), w[at + T_SPORT] ?? 0);
}
