import { formatAddress, formatEndpoint } from '../model/address.js';
import type {
  Attribution,
  Backend,
  Claim,
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
import { type Client, otherPeer, peerFrom, type Way } from './phrases.js';
import type { State } from './state.js';
import { mix } from './tuple-map.js';
import type { Judgement } from './verdict.js';
import { COARSE_NS } from './windows.js';

/** A time that is off by less than this is not worth a remark. */
const WORTH_SAYING_NS = 1_000_000;

/**
 * Puts into words what is known of a connection. The only place where its numbers become text. All fields are
 * given at once: added one by one they cost as much as all the rest.
 */
export function describe(state: State, c: Connection, j: Judgement): Attribution {
  const w = state.table.words;
  const at = state.table.at(c);
  const connection = identify(state, c);
  const time = c.startTime;
  const { phrases, cluster } = state;
  const kept = phrases.holds(cluster.changes, cluster.latestChange, time);
  const way =
    j.claim >= 0 && j.verdict !== 'conflict' ? wayOf(state, c, j.claim, time, kept) : undefined;
  // What conntrack says is shown; of which of several connections it says it is not known.
  const sent = j.reason === 'time-too-coarse' ? undefined : way;
  const rules = sent === undefined ? refusalOf(c, j) : rulesOf(state, c, sent);
  const uncertainty = Math.max(c.lateness, c.resolution);
  return {
    connection,
    time,
    timeSource: c.timeSource,
    timeUncertaintyNs:
      time !== undefined && uncertainty > WORTH_SAYING_NS ? uncertainty : undefined,
    protocol: protocolName(c.protocol) as ProtocolName,
    zone: c.zone > 0 ? c.zone : undefined,
    client: peerFrom(clientOf(state, c, time, kept), w[at + ORIGINAL + T_SPORT] ?? 0),
    destination: way?.destination ?? destinationOf(state, c),
    service: way === undefined ? serviceOf(c) : way.service,
    backend: sent?.backend,
    source:
      sent === undefined
        ? undefined
        : otherPeer(
            w,
            at + ORIGINAL + T_SRC,
            w[at + ORIGINAL + T_SPORT] ?? 0,
            at + j.claim + T_SRC,
            w[at + j.claim + T_SPORT] ?? 0,
            c.family,
          ),
    rules,
    interfaces: interfacesOf(state, c),
    evidence: sent === undefined ? NO_EVIDENCE : evidenceOf(c, j.claim, rules, sent.known),
    verdict: j.verdict ?? 'unattributed',
    reason: j.reason,
    outcome: j.outcome,
    claims: sent === undefined && j.claim >= 0 ? claimsOf(state, c, time, way) : undefined,
    latency: latencyOf(c),
    node: state.severalNodes ? state.vantageOf(c).name || undefined : undefined,
    farEnd: c.far === undefined ? undefined : farEndOf(state, c.far),
    retransmits: c.retransmits > 0 ? c.retransmits : undefined,
    // Told to the second, an end may seem to lie before its beginning.
    endTime: c.endTime === NEVER ? undefined : state.clock.absolute(Math.max(c.endTime, c.time)),
    original: c.original,
    reply: c.reply,
  };
}

/** The rule that refused a connection which was sent nowhere. */
function refusalOf(c: Connection, j: Judgement): RulePath | undefined {
  const refused = j.claim < 0 && (j.reason === 'no-endpoints' || j.reason === 'filtered');
  return refused ? c.byRules?.refusedBy : undefined;
}

function rulesOf(state: State, c: Connection, { perClient, backend, rule }: Way) {
  return perClient ? routeOf(state, c, backend)?.rule : rule;
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

/**
 * The moment to ask of whose an endpoint's address was: where times are of whole seconds and nobody had it at
 * the second's beginning, its end (two owners within it are `time-too-coarse`).
 */
function whenOwned(
  state: State,
  c: Connection,
  claim: number,
  time: Nanos | undefined,
): Nanos | undefined {
  if (time === undefined || c.resolution < COARSE_NS) return time;
  const ip = formatAddress(state.table.words, state.table.at(c) + claim + T_DST, c.family);
  return state.cluster.podAt(ip, time) === undefined ? time + BigInt(c.resolution) : time;
}

const NO_EVIDENCE: readonly Evidence[] = [];
/** More pairs of interfaces are not remembered; a node has fewer interfaces than that. */
const MAX_PAIRS = 65_536;

function destinationOf(state: State, c: Connection): { ip: string; port: number } {
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  return { ip: formatAddress(w, at + T_DST, c.family), port: w[at + T_DPORT] ?? 0 };
}

/** `kept`: what was found out for another connection of the client may be used, and what is found be kept. */
function clientOf(state: State, c: Connection, time: Nanos | undefined, kept: boolean): Client {
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL + T_SRC;
  const known = kept ? state.phrases.client(w, at) : undefined;
  if (known !== undefined) return known;
  const ip = formatAddress(w, at, c.family);
  const { pod, node } = peerOf(state, ip, 0, time);
  const client = { ip, pod, node };
  if (kept) state.phrases.keepClient(w, at, client);
  return client;
}

/** Where a connection was sent, by the tuple at `claim`. */
function wayOf(
  state: State,
  c: Connection,
  claim: number,
  time: Nanos | undefined,
  kept: boolean,
): Way {
  const w = state.table.words;
  const at = state.table.at(c);
  const service = at + ORIGINAL + T_DST;
  const endpoint = at + claim + T_DST;
  const port = w[at + ORIGINAL + T_DPORT] ?? 0;
  const endpointPort = w[at + claim + T_DPORT] ?? 0;
  const kind = c.protocol | (c.vantage << 8);
  const index = state.vantageOf(c).byRules;
  if (kept) {
    const known = state.phrases.way(w, service, endpoint, port, endpointPort, kind);
    if (
      known !== undefined &&
      known.byRules === c.byRules &&
      known.byCluster === c.byCluster &&
      known.byAddress === c.byAddress &&
      known.index === index
    ) {
      return known;
    }
  }
  const { backend, known } = backendOf(state, c, claim, whenOwned(state, c, claim, time));
  const way: Way = {
    byRules: c.byRules,
    byCluster: c.byCluster,
    byAddress: c.byAddress,
    index,
    destination: destinationOf(state, c),
    service: serviceOf(c),
    backend,
    known,
    rule: routeOf(state, c, backend)?.rule,
    perClient: c.byRules?.routes.some(({ clients }) => clients !== undefined) === true,
  };
  if (kept) state.phrases.keepWay(w, service, endpoint, port, endpointPort, kind, way);
  return way;
}

/** What each source says, where they do not agree; or the one, where which connection it speaks of is not known. */
function claimsOf(
  state: State,
  c: Connection,
  time: Nanos | undefined,
  way: Way | undefined,
): readonly Claim[] {
  if (way !== undefined) return [{ evidence: 'conntrack', backend: way.backend }];
  return [
    { evidence: 'conntrack', backend: backendOf(state, c, BY_CONNTRACK, time).backend },
    { evidence: 'packets', backend: backendOf(state, c, BY_PACKETS, time).backend },
  ];
}

/** Low and high word of a start. */
const START = new Uint32Array(2);
/** Character codes of hexadecimal digits. */
const DIGITS = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0));

const digit = (n: number, shift: number): number => DIGITS[(n >>> shift) & 15] ?? 0;

/** In one call: put together from pieces it takes twice as long, and leaves the pieces to be collected. */
function hex(a: number, b: number): string {
  return String.fromCharCode(
    digit(a, 28),
    digit(a, 24),
    digit(a, 20),
    digit(a, 16),
    digit(a, 12),
    digit(a, 8),
    digit(a, 4),
    digit(a, 0),
    digit(b, 28),
    digit(b, 24),
    digit(b, 20),
    digit(b, 16),
    digit(b, 12),
    digit(b, 8),
    digit(b, 4),
    digit(b, 0),
  );
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
  c.startTime = c.time === NEVER ? undefined : state.clock.absolute(c.time);
  state.clock.split(c.time === NEVER ? undefined : c.time, START);
  a = mix(a ^ (START[0] ?? 0));
  b = mix(b ^ (START[1] ?? 0) ^ a);
  c.id = hex(a, b);
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

/** In the order in which it is told. What all connections share costs the garbage collector nothing. */
const KINDS: readonly Evidence[] = ['conntrack', 'packets', 'rules', 'cluster'];
/** By bits, one a kind. */
const EVIDENCE: readonly (readonly Evidence[])[] = Array.from(
  { length: 1 << KINDS.length },
  (_, n) => KINDS.filter((_kind, i) => (n & (1 << i)) !== 0),
);

function evidenceOf(
  c: Connection,
  claim: number,
  rules: RulePath | undefined,
  known: boolean,
): readonly Evidence[] {
  if (claim < 0) return NO_EVIDENCE;
  const byConntrack =
    (c.bits & CT_CLAIM) !== 0 && (claim === BY_CONNTRACK || c.earlier === undefined);
  const bits =
    (byConntrack ? 1 : 0) |
    ((c.bits & PK_CLAIM) !== 0 ? 2 : 0) |
    (rules !== undefined ? 4 : 0) |
    (known ? 8 : 0);
  return EVIDENCE[bits] ?? NO_EVIDENCE;
}

function interfacesOf(state: State, c: Connection): Attribution['interfaces'] {
  return namesOf(state, c.interfaceIn, c.interfaceOut);
}

/** An interface's name stays what it is: each pair is put into words once. */
function namesOf(state: State, first: number, last: number): Attribution['interfaces'] {
  const { pairs } = state;
  const pair = first * MAX_PAIRS + last;
  const known = pairs.get(pair);
  if (known !== undefined) return known;
  const names = makeNames(state, first, last);
  if (names === undefined) return undefined;
  if (pairs.size >= MAX_PAIRS) pairs.clear();
  pairs.set(pair, names);
  return names;
}

function makeNames(state: State, first: number, last: number): Attribution['interfaces'] {
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
