import { formatAddress, formatEndpoint } from '../model/address.js';
import {
  CLASS_ICMP_ERROR,
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
  P_ACK,
  P_CLASS,
  P_DIRECTION,
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_INTERFACE,
  P_IPID,
  P_LATENESS,
  P_NSEC,
  P_PRINT,
  P_PROTOCOL,
  P_RESOLUTION,
  P_SEC,
  P_SEQ,
  P_SPORT,
  P_SRC,
  SCTP,
  SCTP_ABORT,
  SCTP_INIT,
  SCTP_INIT_ACK,
  SCTP_SHUTDOWN,
  SCTP_SHUTDOWN_COMPLETE,
  TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  UDP,
} from '../model/packet.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  HAS_ANSWER_ISN,
  HAS_ISN,
  ICMP_REFUSAL,
  IN_LISTING,
  LONE,
  NEVER,
  ORIGINAL,
  PK_CLAIM,
  SAW_ANSWER,
  SAW_FIN_ORIGINAL,
  SAW_FIN_REPLY,
  SAW_POST,
  SAW_PRE,
  SAW_REFUSAL,
  SAW_RESET,
  SAW_UNREACHABLE,
  SERVICE,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
} from './connection.js';
import { identify } from './describe.js';
import { admit, end, isService, listingHas, say, saySoon, supersede } from './lifecycle.js';
import { LIMITS, type State } from './state.js';
import { endpointText } from './verdict.js';

/** A packet and its translated copy pass within microseconds; between hosts, within clock error. */
const PAIR_WINDOW_NS = 1_000_000_000;
/** A packet precedes conntrack's report of it; clocks of one machine differ by less. */
const CLOCK_SLACK_NS = 1_000_000;
/** The same segment twice within this time is a copy; later, without any other mark, it was sent again. */
const RESEND_NS = 150_000_000;
/** How many connections with one sequence number are looked at: scanners send a constant one. */
const MAX_CANDIDATES = 32;

/** Takes one packet row. `at` is the offset of its first word. */
export function onPacket(state: State, row: Uint32Array, at: number): void {
  const time = state.clock.at(row[at + P_SEC] ?? 0, row[at + P_NSEC] ?? 0);
  const protocol = row[at + P_PROTOCOL] ?? 0;
  if (row[at + P_CLASS] === CLASS_ICMP_ERROR) {
    onIcmpError(state, row, at, time, protocol);
    return;
  }
  const flags = row[at + P_FLAGS] ?? 0;
  if (protocol === TCP) {
    if ((flags & TCP_SYN) !== 0) {
      if ((flags & TCP_ACK) === 0) onOpening(state, row, at, time, protocol);
      else onAnswer(state, row, at, time, protocol, ((row[at + P_ACK] ?? 0) - 1) >>> 0);
    } else if ((flags & TCP_RST) !== 0) {
      onReset(state, row, at, time, protocol);
    } else if ((flags & TCP_FIN) !== 0) {
      onFinish(state, row, at, time, protocol);
    }
  } else if (protocol === UDP) {
    onDatagram(state, row, at, time);
  } else if (protocol === SCTP) {
    if (flags === SCTP_INIT) onOpening(state, row, at, time, protocol);
    else if (flags === SCTP_INIT_ACK)
      onAnswer(state, row, at, time, protocol, row[at + P_ACK] ?? 0);
    else if (flags === SCTP_ABORT) onReset(state, row, at, time, protocol);
    else if (flags === SCTP_SHUTDOWN || flags === SCTP_SHUTDOWN_COMPLETE)
      onFinish(state, row, at, time, protocol);
  }
}

function byOriginal(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byOriginal(
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
    protocol,
  );
}

function byOriginalReversed(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byOriginal(
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
    protocol,
  );
}

function byTranslated(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byTranslated(
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
    protocol,
  );
}

function byTranslatedReversed(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byTranslated(
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
    protocol,
  );
}

/** A SYN or an INIT, before or after translation. */
function onOpening(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): void {
  const isn = row[at + P_SEQ] ?? 0;
  const newest = byOriginal(state, row, at, protocol);
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    if ((c.bits & HAS_ISN) !== 0 && c.isn === isn && plausible(c, time)) {
      sawBefore(c, row, at, time);
      return;
    }
  }
  for (
    let c = byTranslated(state, row, at, protocol);
    c !== undefined;
    c = olderTranslation(state, c, row, at)
  ) {
    if ((c.bits & HAS_ISN) !== 0 && c.isn === isn && plausible(c, time)) {
      claim(state, c, row, at, time);
      return;
    }
  }
  // Conntrack may have told of it before the packet came, and of the tuple's next use too: both keep their order.
  let told: Connection | undefined;
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    if (opensEntry(c, row, at, time)) told = c;
  }
  if (told !== undefined) {
    adopt(state, told, isn);
    sawBefore(told, row, at, time);
    return;
  }
  for (
    let c = byTranslated(state, row, at, protocol);
    c !== undefined;
    c = olderTranslation(state, c, row, at)
  ) {
    if (opensEntry(c, row, at, time)) told = c;
  }
  if (told !== undefined) {
    adopt(state, told, isn);
    claim(state, told, row, at, time);
    return;
  }
  pairOrOpen(state, row, at, time, protocol, isn, newest);
}

/** A packet with no known tuple: the other side of one that was seen, or a new connection. */
function pairOrOpen(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  sequence: number,
  newest: Connection | undefined,
): void {
  const toService = isService(state, row, at + P_DST, row[at + P_DPORT] ?? 0, protocol);
  const twin = findTwin(state, row, at, time, protocol, sequence, toService);
  if (twin !== undefined && twin.kind !== LONE) {
    claim(state, twin, row, at, time);
    return;
  }
  if (twin !== undefined && !toService && !isBefore(row, at, time, twin)) {
    // Two addresses for one packet and no Service that we know: the earlier sight is the client's.
    admit(state, twin);
    claim(state, twin, row, at, time);
    return;
  }
  const c = open(state, row, at, time, protocol, sequence);
  if (newest !== undefined) supersede(state, newest, time);
  if (toService || twin !== undefined) admit(state, c);
  if (twin !== undefined) absorb(state, c, twin);
  else if (c.kind === LONE) state.wake(c, time + LIMITS.LONE_NS);
}

/** Whether this sight of a packet is the one before translation, when only order and direction can tell. */
function isBefore(row: Uint32Array, at: number, time: number, twin: Connection): boolean {
  if (time !== twin.time) return time < twin.time;
  const direction = row[at + P_DIRECTION] ?? 0;
  return direction === DIRECTION_IN || direction === DIRECTION_OTHER_HOST;
}

function open(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  sequence: number,
): Connection {
  const c = state.table.open(
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
    protocol,
    row[at + P_FAMILY] ?? 4,
  );
  c.time = time;
  c.resolution = row[at + P_RESOLUTION] ?? 1;
  c.lateness = row[at + P_LATENESS] ?? 0;
  c.timeSource = 'packet';
  c.isn = sequence;
  c.bits |= SAW_PRE | (protocol === UDP ? 0 : HAS_ISN);
  c.print = row[at + P_PRINT] ?? 0;
  c.oldPrint = c.print;
  c.ipid = row[at + P_IPID] ?? 0;
  c.lastSent = time;
  c.firstSent = time;
  c.lastSeen = time;
  c.interfaceIn = row[at + P_INTERFACE] ?? 0;
  state.table.setSequence(c, sequence);
  if (listingHas(state, c)) c.bits |= IN_LISTING;
  return c;
}

/** Whether a packet can belong to a connection at all: not to one that had ended for good before. */
function plausible(c: Connection, time: number): boolean {
  return c.endTime === NEVER || time <= c.endTime + LIMITS.LINGER_NS || c.kind !== CLOSED;
}

/** Whether a connection that conntrack told of, and whose opening packet was not seen, began with this packet. */
function opensEntry(c: Connection, row: Uint32Array, at: number, time: number): boolean {
  if ((c.bits & HAS_ISN) !== 0 || c.kind === CLOSED || c.conntrackTime === NEVER) return false;
  // The packet comes first; its report is late by no more than the report's lateness.
  const earliest = c.conntrackTime - Math.max(c.lateness, CLOCK_SLACK_NS);
  const latest = c.conntrackTime + c.conntrackResolution + CLOCK_SLACK_NS;
  return (
    time <= latest + (row[at + P_LATENESS] ?? 0) && time + (row[at + P_RESOLUTION] ?? 0) >= earliest
  );
}

function adopt(state: State, c: Connection, isn: number): void {
  c.isn = isn;
  c.bits |= HAS_ISN;
  state.table.setSequence(c, isn);
}

/** A sight of the opening packet with the client's own tuple. */
function sawBefore(c: Connection, row: Uint32Array, at: number, time: number): void {
  const print = row[at + P_PRINT] ?? 0;
  const ipid = row[at + P_IPID] ?? 0;
  const resolution = row[at + P_RESOLUTION] ?? 1;
  if ((c.bits & SAW_PRE) === 0) {
    c.bits |= SAW_PRE;
    c.print = print;
    c.oldPrint = print;
    c.ipid = ipid;
    c.interfaceIn = row[at + P_INTERFACE] ?? 0;
    if (c.lastSent === NEVER || time < c.lastSent) c.lastSent = time;
    c.firstSent = time;
    betterTime(c, time, resolution, row[at + P_LATENESS] ?? 0);
    if (c.firstPost !== NEVER && c.natNs < 0 && c.firstPost >= time) c.natNs = c.firstPost - time;
  } else if (wasSentAgain(c, print, ipid, time)) {
    c.retransmits++;
    c.oldPrint = c.print;
    c.print = print;
    c.ipid = ipid;
    c.lastSent = time;
  } else if (time <= c.time + c.resolution && resolution < c.resolution) {
    // Another capture of the same packet with a finer clock.
    betterTime(c, time, resolution, row[at + P_LATENESS] ?? 0);
  }
  if (time > c.lastSeen) c.lastSeen = time;
}

function wasSentAgain(c: Connection, print: number, ipid: number, time: number): boolean {
  if (time - c.lastSent < CLOCK_SLACK_NS) return false;
  if (print === c.oldPrint && print !== c.print) return false;
  return print !== c.print || ipid !== c.ipid || time - c.lastSent > RESEND_NS;
}

/** Takes a packet's time for the connection's, unless a time was already told. */
function betterTime(c: Connection, time: number, resolution: number, lateness: number): void {
  if (c.id !== undefined) return;
  if (c.firstSent !== NEVER && time - c.firstSent < c.resolution) c.firstSent = time;
  if (c.timeSource === 'packet' && c.resolution <= resolution && c.time <= time) return;
  c.time = time;
  c.resolution = resolution;
  c.lateness = lateness;
  c.timeSource = 'packet';
  if (c.lastSent === NEVER || time > c.lastSent) c.lastSent = time;
}

/** A translated copy: it names the endpoint, and the peer that the endpoint sees. */
function claim(state: State, c: Connection, row: Uint32Array, at: number, time: number): void {
  const known = (c.bits & PK_CLAIM) !== 0;
  let news = !known;
  if (!known || !hasTuple(state, c, row, at)) {
    const before = known ? endpointText(state, c, BY_PACKETS) : undefined;
    state.table.setTranslated(
      c,
      1,
      row,
      at + P_SRC,
      at + P_DST,
      row[at + P_SPORT] ?? 0,
      row[at + P_DPORT] ?? 0,
    );
    if (before !== undefined) {
      news = true;
      sentElsewhere(state, c, before, time);
    }
  }
  c.bits |= PK_CLAIM | SAW_POST;
  if ((c.bits & SAW_PRE) !== 0) state.seesBothSides = true;
  if (c.firstPost === NEVER) {
    c.firstPost = time;
    if ((c.bits & SAW_PRE) === 0) {
      betterTime(c, time, row[at + P_RESOLUTION] ?? 1, row[at + P_LATENESS] ?? 0);
    } else if (time >= c.lastSent) {
      c.natNs = time - c.lastSent;
    }
  }
  if (c.lastSent === NEVER) c.lastSent = time;
  if (c.firstSent === NEVER) c.firstSent = time;
  if (time > c.lastPost) c.lastPost = time;
  const seenOn = row[at + P_INTERFACE] ?? 0;
  // On its way a translated packet may pass a bridge: the interface that it leaves by leads to the endpoint.
  const leaves = row[at + P_DIRECTION] === DIRECTION_OUT;
  if (seenOn !== 0 && (c.interfaceOut === 0 || (leaves && !c.leftSeen))) c.interfaceOut = seenOn;
  if (leaves) c.leftSeen = true;
  if (time > c.lastSeen) c.lastSeen = time;
  if (news) say(state, c);
}

/** The same opening packet at another endpoint than before: it was sent again, and the rules chose anew. */
function sentElsewhere(state: State, c: Connection, before: string, time: number): void {
  const endpoint = endpointText(state, c, BY_PACKETS);
  if (endpoint === before) return;
  c.earlier = (c.earlier ?? []).filter((e) => e !== endpoint);
  if (!c.earlier.includes(before)) c.earlier.push(before);
  state.notice({
    code: 'retransmit-to-other-endpoint',
    time: state.clock.absolute(time),
    connection: identify(state, c),
    detail: `the opening packet went to ${before} and, sent again, to ${endpoint}`,
  });
}

/** Whether a row carries exactly the tuple that packets already gave the connection. */
function hasTuple(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  const w = state.table.words;
  const from = state.table.at(c) + BY_PACKETS;
  if (w[from + T_SPORT] !== row[at + P_SPORT] || w[from + T_DPORT] !== row[at + P_DPORT]) {
    return false;
  }
  for (let i = 0; i < 4; i++) {
    if (
      w[from + T_SRC + i] !== row[at + P_SRC + i] ||
      w[from + T_DST + i] !== row[at + P_DST + i]
    ) {
      return false;
    }
  }
  return true;
}

function formatEndpointOf(row: Uint32Array, at: number, family: number): string {
  return formatEndpoint(formatAddress(row, at + P_DST, family), row[at + P_DPORT] ?? 0);
}

/** A packet that had been taken for a connection of its own turns out to be this one's translated copy. */
function absorb(state: State, c: Connection, twin: Connection): void {
  const { table } = state;
  const w = table.words;
  const from = table.at(twin) + ORIGINAL;
  table.setTranslated(
    c,
    1,
    w,
    from + T_SRC,
    from + T_DST,
    w[from + T_SPORT] ?? 0,
    w[from + T_DPORT] ?? 0,
  );
  c.bits |= PK_CLAIM | SAW_POST;
  c.firstPost = twin.time;
  c.lastPost = twin.lastSeen;
  c.interfaceOut = twin.interfaceIn;
  if ((twin.bits & SAW_ANSWER) !== 0) {
    c.bits |= SAW_ANSWER;
    if ((twin.bits & HAS_ANSWER_ISN) !== 0) {
      c.answerIsn = twin.answerIsn;
      c.bits |= HAS_ANSWER_ISN;
    }
  }
  c.bits |= twin.bits & (SAW_REFUSAL | SAW_RESET | SAW_FIN_ORIGINAL | SAW_FIN_REPLY);
  if (twin.time >= c.time) c.natNs = twin.time - c.time;
  table.release(twin);
  say(state, c);
}

/**
 * The connection of which this packet is another sight, found by what NAT leaves alone. With several
 * that fit equally well none is taken: a guess is worse than silence.
 */
function findTwin(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  sequence: number,
  toService: boolean,
): Connection | undefined {
  const print = row[at + P_PRINT] ?? 0;
  let best: Connection | undefined;
  let bestScore = 0;
  let tie = false;
  let looked = 0;
  for (
    let c = state.table.bySequence(sequence, protocol);
    c !== undefined && looked < MAX_CANDIDATES;
    c = state.table.olderBySequence(c), looked++
  ) {
    // Before translation there is one packet with a Service's address: two such are two connections.
    if (c.kind === CLOSED || (toService && c.kind === SERVICE)) continue;
    if (c.family !== row[at + P_FAMILY]) continue;
    const score = likeness(state, c, row, at, time, print, protocol);
    if (score === 0) continue;
    if (score > bestScore) {
      best = c;
      bestScore = score;
      tie = false;
    } else if (score === bestScore) {
      tie = true;
    }
  }
  return tie ? undefined : best;
}

function likeness(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  print: number,
  protocol: number,
): number {
  const distance = Math.abs(time - c.lastSent);
  if (distance > PAIR_WINDOW_NS) return 0;
  const w = state.table.words;
  const from = state.table.at(c) + ORIGINAL;
  // The destination must differ, else it is the same side (or source NAT alone, which is no Service's doing).
  let sameDestination = w[from + T_DPORT] === row[at + P_DPORT];
  let sameSource = w[from + T_SPORT] === row[at + P_SPORT];
  for (let i = 0; i < 4; i++) {
    if (w[from + T_DST + i] !== row[at + P_DST + i]) sameDestination = false;
    if (w[from + T_SRC + i] !== row[at + P_SRC + i]) sameSource = false;
  }
  if (sameDestination) return 0;
  const samePrint = print !== 0 && (print === c.print || print === c.oldPrint);
  const sameId = c.ipid !== 0 && c.ipid === row[at + P_IPID];
  if (protocol === UDP) {
    // Payloads repeat (a heartbeat, the same question): the client's address or the packet's number must fit too.
    if (!samePrint || !(sameSource || sameId)) return 0;
  } else if (!samePrint && !(sameSource && (print === 0 || c.print === 0))) {
    return 0;
  }
  const closeness = 1 - distance / PAIR_WINDOW_NS;
  return 1 + (sameSource ? 4 : 0) + (sameId ? 2 : 0) + closeness;
}

/** A SYN-ACK or an INIT ACK. `isn` is the initial number of the packet that it answers. */
function onAnswer(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  isn: number,
): void {
  // Whose number it answers is certain; an entry of which no packet was seen yet may be its tuple's next use.
  for (const certain of [true, false]) {
    for (
      let c = byOriginalReversed(state, row, at, protocol);
      c !== undefined;
      c = state.table.older(c)
    ) {
      if (!isAnswered(c, isn, time, certain)) continue;
      if (!certain) adopt(state, c, isn);
      answered(state, c, row, at, time, true);
      return;
    }
    for (
      let c = byTranslatedReversed(state, row, at, protocol);
      c !== undefined;
      c = olderTranslationReversed(state, c, row, at)
    ) {
      if (!isAnswered(c, isn, time, certain)) continue;
      answered(state, c, row, at, time, false);
      return;
    }
  }
  // No tuple fits. The opening packet's copy may be missing on one side: its number tells.
  let looked = 0;
  for (
    let c = state.table.bySequence(isn, protocol);
    c !== undefined && looked < MAX_CANDIDATES;
    c = state.table.olderBySequence(c), looked++
  ) {
    if (c.kind === CLOSED || Math.abs(time - c.lastSent) > PAIR_WINDOW_NS) continue;
    if (!answersTo(state, c, row, at)) continue;
    if (c.kind === LONE) break;
    claimByAnswer(state, c, row, at, time);
    return;
  }
  openByAnswer(state, row, at, time, protocol, isn);
}

/** Whether an answer to `isn` is this connection's: by its number, or, where that is not known, by its time. */
function isAnswered(c: Connection, isn: number, time: number, certain: boolean): boolean {
  if ((c.bits & HAS_ISN) !== 0) return certain && c.isn === isn;
  return !certain && c.kind !== CLOSED && time >= c.time - Math.max(c.lateness, CLOCK_SLACK_NS);
}

/** Whether an answer from an unknown address is this connection's, untranslated: same client, or the same number in it. */
function answersTo(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  if ((c.bits & HAS_ANSWER_ISN) !== 0) return c.answerIsn === row[at + P_SEQ];
  const w = state.table.words;
  const from = state.table.at(c) + ORIGINAL;
  if (w[from + T_SPORT] !== row[at + P_DPORT]) return false;
  for (let i = 0; i < 4; i++) if (w[from + T_SRC + i] !== row[at + P_DST + i]) return false;
  return true;
}

function claimByAnswer(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
): void {
  const before = (c.bits & PK_CLAIM) !== 0 ? endpointText(state, c, BY_PACKETS) : undefined;
  state.table.setTranslated(
    c,
    1,
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
  );
  if (before !== undefined) sentElsewhere(state, c, before, time);
  c.bits |= PK_CLAIM;
  answered(state, c, row, at, time, false);
  say(state, c);
}

/** An answer whose opening packet was not seen: from a Service's address it makes a connection of its own. */
function openByAnswer(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  isn: number,
): void {
  const c = state.table.open(
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
    protocol,
    row[at + P_FAMILY] ?? 4,
  );
  c.time = time;
  c.resolution = row[at + P_RESOLUTION] ?? 1;
  c.lateness = row[at + P_LATENESS] ?? 0;
  c.isn = isn;
  c.bits |= HAS_ISN | SAW_ANSWER | HAS_ANSWER_ISN;
  c.answerIsn = row[at + P_SEQ] ?? 0;
  c.lastSent = time;
  c.lastSeen = time;
  if (listingHas(state, c)) c.bits |= IN_LISTING;
  const twin = answerTwin(state, row, at, time, protocol, isn);
  state.table.setSequence(c, isn);
  if (isService(state, row, at + P_SRC, row[at + P_SPORT] ?? 0, protocol)) {
    admit(state, c);
    if (twin !== undefined) absorb(state, c, twin);
    else say(state, c);
  } else {
    state.wake(c, time + LIMITS.LONE_NS);
  }
}

/** A lone connection with the same numbers in both directions: the other side of this one. */
function answerTwin(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  isn: number,
): Connection | undefined {
  let looked = 0;
  for (
    let c = state.table.bySequence(isn, protocol);
    c !== undefined && looked < MAX_CANDIDATES;
    c = state.table.olderBySequence(c), looked++
  ) {
    if (c.kind !== LONE || Math.abs(time - c.lastSent) > PAIR_WINDOW_NS) continue;
    if ((c.bits & HAS_ANSWER_ISN) !== 0 && c.answerIsn === row[at + P_SEQ]) return c;
  }
  return undefined;
}

function answered(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  before: boolean,
): void {
  const news = (c.bits & SAW_ANSWER) === 0;
  c.bits |= SAW_ANSWER;
  if ((c.bits & HAS_ANSWER_ISN) === 0) {
    c.bits |= HAS_ANSWER_ISN;
    c.answerIsn = row[at + P_SEQ] ?? 0;
    if (before && c.kind === SERVICE && (c.bits & PK_CLAIM) === 0) {
      const twin = answerTwin(state, row, at, time, c.protocol, c.isn);
      if (twin !== undefined) absorb(state, c, twin);
    }
  }
  if (!before) answerCameBy(c, row[at + P_INTERFACE] ?? 0);
  // The client's side is where its handshake ends; the endpoint's side must do where that is not seen.
  const opened = c.firstSent !== NEVER && time >= c.firstSent;
  if (opened && (c.answerTime === NEVER || (before && !c.answeredBefore))) {
    c.answerTime = time;
    c.answeredBefore = before;
  }
  if (time > c.lastSeen) c.lastSeen = time;
  if (news) saySoon(state, c);
}

/** Where captures do not tell directions: an answer first enters by the interface that leads to the endpoint. */
function answerCameBy(c: Connection, seenOn: number): void {
  if (c.leftSeen || seenOn === 0) return;
  c.interfaceOut = seenOn;
  c.leftSeen = true;
}

function olderTranslation(state: State, c: Connection, row: Uint32Array, at: number) {
  return state.table.olderTranslation(
    c,
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
  );
}

function olderTranslationReversed(state: State, c: Connection, row: Uint32Array, at: number) {
  return state.table.olderTranslation(
    c,
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
  );
}

/** The connection in force of any of the four tuples that a later packet may carry, and whether the client sent it. */
function belongsTo(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): { c: Connection; fromClient: boolean } | undefined {
  const older = (c: Connection): Connection | undefined => state.table.older(c);
  let c =
    inForce(byOriginal(state, row, at, protocol), time, older) ??
    inForce(byTranslated(state, row, at, protocol), time, (it) =>
      olderTranslation(state, it, row, at),
    );
  if (c !== undefined) return { c, fromClient: true };
  c =
    inForce(byOriginalReversed(state, row, at, protocol), time, older) ??
    inForce(byTranslatedReversed(state, row, at, protocol), time, (it) =>
      olderTranslationReversed(state, it, row, at),
    );
  return c === undefined ? undefined : { c, fromClient: false };
}

/** The newest that had begun by then: conntrack may have told already of a tuple's next use. */
function inForce(
  newest: Connection | undefined,
  time: number,
  older: (c: Connection) => Connection | undefined,
): Connection | undefined {
  for (let c = newest; c !== undefined; c = older(c)) {
    if (c.time <= time + CLOCK_SLACK_NS) return c;
  }
  return newest;
}

function onReset(state: State, row: Uint32Array, at: number, time: number, protocol: number): void {
  const found = belongsTo(state, row, at, time, protocol);
  if (found === undefined || found.c.kind === CLOSED) return;
  const { c, fromClient } = found;
  if (time > c.lastSeen) c.lastSeen = time;
  if ((c.bits & SAW_ANSWER) !== 0) c.bits |= SAW_RESET;
  else if (fromClient) c.bits |= SAW_RESET;
  else c.bits |= SAW_REFUSAL;
  end(state, c, time);
  say(state, c);
}

function onFinish(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): void {
  const found = belongsTo(state, row, at, time, protocol);
  if (found === undefined || found.c.kind === CLOSED) return;
  const { c, fromClient } = found;
  if (time > c.lastSeen) c.lastSeen = time;
  const had = c.bits & SAW_ANSWER;
  // Whoever closes in order had been answered, even if the answer itself was not seen.
  c.bits |= SAW_ANSWER | (fromClient ? SAW_FIN_ORIGINAL : SAW_FIN_REPLY);
  const both = SAW_FIN_ORIGINAL | SAW_FIN_REPLY;
  if ((c.bits & both) === both) end(state, c, time);
  if (had === 0) saySoon(state, c);
}

/** A UDP datagram in either direction, on either side. */
function onDatagram(state: State, row: Uint32Array, at: number, time: number): void {
  const newest = byOriginal(state, row, at, UDP);
  if (newest !== undefined && flows(state, newest, time)) {
    datagramSent(state, newest, row, at, time);
    return;
  }
  const after = byTranslated(state, row, at, UDP);
  if (after !== undefined && flows(state, after, time)) {
    if ((after.bits & PK_CLAIM) === 0 || time >= after.lastPost) claim(state, after, row, at, time);
    return;
  }
  let c = byOriginalReversed(state, row, at, UDP);
  let before = true;
  if (c === undefined || !flows(state, c, time)) {
    c = byTranslatedReversed(state, row, at, UDP);
    before = false;
  }
  if (c !== undefined && flows(state, c, time)) {
    const news = (c.bits & SAW_ANSWER) === 0;
    c.bits |= SAW_ANSWER;
    if (!before) answerCameBy(c, row[at + P_INTERFACE] ?? 0);
    if (c.answerTime === NEVER && c.firstSent !== NEVER && time >= c.firstSent) {
      c.answerTime = time;
      c.answeredBefore = before;
    }
    if (time > c.lastSeen) c.lastSeen = time;
    if (news) saySoon(state, c);
    return;
  }
  if (fromService(state, row, at)) return;
  pairOrOpenDatagram(state, row, at, time, newest);
}

/** An answer from a Service's address whose question was not seen opens nothing. */
function fromService(state: State, row: Uint32Array, at: number): boolean {
  return (
    isService(state, row, at + P_SRC, row[at + P_SPORT] ?? 0, UDP) &&
    !isService(state, row, at + P_DST, row[at + P_DPORT] ?? 0, UDP)
  );
}

/** Whether a flow goes on at a moment. */
function flows(state: State, c: Connection, time: number): boolean {
  if (c.kind === CLOSED) return false;
  if (c.endTime !== NEVER) return time <= c.endTime;
  if ((c.bits & (CT_CLAIM | CT_ENDED)) === CT_CLAIM) return true;
  const idle = (c.bits & SAW_ANSWER) !== 0 ? state.udpAnsweredIdleNs : state.udpIdleNs;
  return time <= c.lastSeen + idle;
}

function datagramSent(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
): void {
  const print = row[at + P_PRINT] ?? 0;
  const resolution = row[at + P_RESOLUTION] ?? 1;
  if ((c.bits & SAW_PRE) === 0) {
    c.bits |= SAW_PRE;
    c.interfaceIn = row[at + P_INTERFACE] ?? 0;
    if (c.conntrackTime !== NEVER && time <= c.conntrackTime + CLOCK_SLACK_NS) {
      betterTime(c, time, resolution, row[at + P_LATENESS] ?? 0);
    }
  } else if (time <= c.time + c.resolution && resolution < c.resolution) {
    betterTime(c, time, resolution, row[at + P_LATENESS] ?? 0);
  }
  if (print !== c.print) {
    c.oldPrint = c.print;
    c.print = print;
    state.table.setSequence(c, print);
  }
  c.ipid = row[at + P_IPID] ?? 0;
  if (time > c.lastSent) c.lastSent = time;
  if (time > c.lastSeen) c.lastSeen = time;
}

function pairOrOpenDatagram(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  newest: Connection | undefined,
): void {
  const print = row[at + P_PRINT] ?? 0;
  const toService = isService(state, row, at + P_DST, row[at + P_DPORT] ?? 0, UDP);
  const twin = findTwin(state, row, at, time, UDP, print, toService);
  if (twin !== undefined && twin.kind === SERVICE && movedOn(state, twin, row, at)) {
    // The flow's datagrams appear at another endpoint: a new flow began with this datagram.
    const began = openAgain(state, twin, time);
    claim(state, began, row, at, time);
    return;
  }
  pairOrOpen(state, row, at, time, UDP, print, newest);
}

/** Whether a flow that was seen at one endpoint is now seen at another. */
function movedOn(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  if ((c.bits & PK_CLAIM) === 0) {
    return (
      (c.bits & CT_ENDED) !== 0 &&
      endpointText(state, c, BY_CONNTRACK) !== formatEndpointOf(row, at, c.family)
    );
  }
  return endpointText(state, c, BY_PACKETS) !== formatEndpointOf(row, at, c.family);
}

/** Ends a flow just before its last datagram and opens the next one with it. */
function openAgain(state: State, c: Connection, time: number): Connection {
  const { table } = state;
  const w = table.words;
  const from = table.at(c) + ORIGINAL;
  const next = table.open(
    w,
    from + T_SRC,
    from + T_DST,
    w[from + T_SPORT] ?? 0,
    w[from + T_DPORT] ?? 0,
    UDP,
    c.family,
  );
  next.time = c.lastSent === NEVER ? time : c.lastSent;
  next.resolution = c.resolution;
  next.lateness = c.lateness;
  next.lastSent = next.time;
  next.firstSent = next.time;
  next.lastSeen = time;
  next.print = c.print;
  next.oldPrint = c.print;
  next.ipid = c.ipid;
  next.interfaceIn = c.interfaceIn;
  next.bits |= SAW_PRE;
  table.setSequence(next, c.print);
  if (listingHas(state, next)) next.bits |= IN_LISTING;
  admit(state, next);
  supersede(state, c, next.time - 1);
  return next;
}

/** An ICMP error quotes the packet that it is about: the outcome of that packet's connection. */
function onIcmpError(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): void {
  const found = belongsTo(state, row, at, time, protocol);
  if (found === undefined || found.c.kind === CLOSED || !found.fromClient) return;
  const { c } = found;
  const flags = row[at + P_FLAGS] ?? 0;
  const meaning = icmpMeaning(row[at + P_FAMILY] ?? 4, flags >> 8, flags & 255);
  if (meaning === undefined || (c.bits & SAW_ANSWER) !== 0) return;
  if (time > c.lastSeen) c.lastSeen = time;
  c.bits |= meaning;
  if (protocol === TCP && (meaning & SAW_REFUSAL) !== 0) end(state, c, time);
  say(state, c);
}

/** RFC 792 and RFC 4443, with the "administratively prohibited" codes that REJECT can be told to send. */
function icmpMeaning(family: number, type: number, code: number): number | undefined {
  if (family === 4) {
    if (type !== 3) return undefined;
    if (code === 2 || code === 3 || code === 9 || code === 10 || code === 13) {
      return SAW_REFUSAL | ICMP_REFUSAL;
    }
    return code === 0 || code === 1 ? SAW_UNREACHABLE : undefined;
  }
  if (type !== 1) return undefined;
  if (code === 1 || code === 4) return SAW_REFUSAL | ICMP_REFUSAL;
  return code === 0 || code === 3 ? SAW_UNREACHABLE : undefined;
}
