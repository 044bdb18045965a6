import { sameAddress } from '../model/address.js';
import {
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  P_DIRECTION,
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_INTERFACE,
  P_IPID,
  P_LATENESS,
  P_PRINT,
  P_RESOLUTION,
  P_SEQ,
  P_SPORT,
  P_SRC,
  UDP,
} from '../model/packet.js';
import { absorb, betterTime, claim } from './claim.js';
import {
  BY_PACKETS,
  CLOSED,
  type Connection,
  HAS_ISN,
  IN_LISTING,
  LONE,
  NEVER,
  ORIGINAL,
  SAW_ANSWER,
  SAW_POST,
  SAW_PRE,
  SUPERSEDED,
  T_DPORT,
  T_DST,
} from './connection.js';
import { absorbFarEntry } from './entry-facts.js';
import { isElsewhere, isFar } from './far-end.js';
import { admit, isService, listingHas, revive, serviceNode, supersede } from './lifecycle.js';
import { findTwin } from './pairing.js';
import { byOriginal, byTranslated, headOf, olderTranslation } from './row-tuples.js';
import { LIMITS, type State } from './state.js';
import { CLOCK_SLACK_NS, PAIR_WINDOW_NS, RESEND_NS } from './windows.js';

/** A SYN or an INIT, before or after translation. */
export function onOpening(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): void {
  const isn = row[at + P_SEQ] ?? 0;
  const head = headOf(state, row, at, protocol);
  const newest = byOriginal(state, head, row, at);
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    if ((c.bits & HAS_ISN) !== 0 && c.isn === isn && plausible(c, time)) {
      if (c.kind === LONE && state.vantages.length > 1) seenElsewhere(state, c, row, at, protocol);
      sawBefore(state, c, row, at, time);
      return;
    }
  }
  for (
    let c = byTranslated(state, head, row, at);
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
    if (opensEntry(state, c, row, at, time)) told = c;
  }
  if (told !== undefined) {
    if (told.kind === LONE && isFar(state, told)) {
      const near = findTwin(state, row, at, time, protocol, isn, false);
      if (near !== undefined && near.kind !== LONE) {
        claim(state, near, row, at, time);
        absorbFarEntry(state, near, told);
        return;
      }
      if (isService(state, row, at + P_DST, row[at + P_DPORT] ?? 0, protocol)) admit(state, told);
    }
    adopt(state, told, isn);
    sawBefore(state, told, row, at, time);
    return;
  }
  for (
    let c = byTranslated(state, head, row, at);
    c !== undefined;
    c = olderTranslation(state, c, row, at)
  ) {
    if (opensEntry(state, c, row, at, time)) told = c;
  }
  if (told !== undefined) {
    adopt(state, told, isn);
    claim(state, told, row, at, time);
    return;
  }
  pairOrOpen(state, row, at, time, protocol, isn, newest);
}

/** What is no Service's address at the node that it left may be one where it arrives: another node's NodePort. */
function seenElsewhere(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  protocol: number,
): void {
  const seenOn = row[at + P_INTERFACE] ?? 0;
  if (seenOn !== 0 && seenOn !== c.interfaceIn) c.interfaceOut = seenOn;
  if (c.vantage === state.here) return;
  if (isService(state, row, at + P_DST, row[at + P_DPORT] ?? 0, protocol)) admit(state, c);
}

/** A packet with no known tuple: the other side of one that was seen, or a new connection. */
export function pairOrOpen(
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
  // Two addresses for one packet, and neither is a Service's here. It may be at another node: its NodePort.
  const elsewhere =
    twin === undefined || toService
      ? undefined
      : serviceNode(state, row, at + P_DST, row[at + P_DPORT] ?? 0, protocol);
  if (twin !== undefined && !toService && elsewhere === undefined) {
    const twinsNode = nodeAddressed(state, twin);
    // Where no Service is known at all, the earlier sight is the client's.
    if (twinsNode !== undefined || !isBefore(row, at, time, twin)) {
      admit(state, twin, twinsNode ?? twin.vantage);
      claim(state, twin, row, at, time);
      return;
    }
  }
  const c = open(state, row, at, time, protocol, sequence);
  if (newest !== undefined) supersede(state, newest, time);
  if (toService || twin !== undefined) admit(state, c, elsewhere);
  if (twin === undefined) {
    if (c.kind === LONE) state.wake(c, time + LIMITS.LONE_NS);
    return;
  }
  absorb(state, c, twin);
  // Stamped alike, copies of both kinds may have come first. The one between destination NAT and source NAT is the
  // more alike, so what is left is what the endpoint sees.
  const last = findTwin(state, row, at, time, protocol, sequence, toService);
  if (last?.kind === LONE && wentToSame(state, c, last)) absorb(state, c, last);
}

/** Whether a lone connection went to the endpoint that packets gave this one. */
function wentToSame(state: State, c: Connection, lone: Connection): boolean {
  const w = state.table.words;
  const known = state.table.at(c) + BY_PACKETS;
  const own = state.table.at(lone) + ORIGINAL;
  return w[known + T_DPORT] === w[own + T_DPORT] && sameAddress(w, known + T_DST, w, own + T_DST);
}

/** The node by whose rules and addresses the destination of a lone connection is a Service's. */
function nodeAddressed(state: State, lone: Connection): number | undefined {
  const w = state.table.words;
  const to = state.table.at(lone) + ORIGINAL;
  return serviceNode(state, w, to + T_DST, w[to + T_DPORT] ?? 0, lone.protocol);
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
  c.vantage = state.here;
  state.table.setSequence(c, sequence);
  if (listingHas(state, c)) c.bits |= IN_LISTING;
  return c;
}

/** Whether a packet can belong to a connection at all: not to one that had ended for good before. */
function plausible(c: Connection, time: number): boolean {
  return c.endTime === NEVER || time <= c.endTime + LIMITS.LINGER_NS || c.kind !== CLOSED;
}

/** Whether a connection that conntrack told of, and whose opening packet was not seen, began with this packet. */
function opensEntry(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
): boolean {
  if ((c.bits & HAS_ISN) !== 0 || c.kind === CLOSED || c.conntrackTime === NEVER) return false;
  // The packet comes first; its report is late by no more than the report's lateness. At another node it
  // comes before or after, by that node's clock.
  const slack = isFar(state, c) ? PAIR_WINDOW_NS : CLOCK_SLACK_NS;
  const earliest = c.conntrackTime - Math.max(c.lateness, slack);
  const latest = c.conntrackTime + c.conntrackResolution + slack;
  return (
    time <= latest + (row[at + P_LATENESS] ?? 0) && time + (row[at + P_RESOLUTION] ?? 0) >= earliest
  );
}

export function adopt(state: State, c: Connection, isn: number): void {
  c.isn = isn;
  c.bits |= HAS_ISN;
  state.table.setSequence(c, isn);
}

/** A sight of the opening packet with the client's own tuple. */
function sawBefore(state: State, c: Connection, row: Uint32Array, at: number, time: number): void {
  const print = row[at + P_PRINT] ?? 0;
  const ipid = row[at + P_IPID] ?? 0;
  const resolution = row[at + P_RESOLUTION] ?? 1;
  const far = isElsewhere(state, c);
  if ((c.bits & SAW_PRE) === 0 && !(far && c.print !== 0)) {
    c.print = print;
    c.oldPrint = print;
    c.ipid = ipid;
    // What was known before may be another node's time; a copy behind the translation is not taken for older than this.
    if (c.lastSent === NEVER || time < c.lastSent || (c.bits & SAW_POST) === 0) c.lastSent = time;
    if (time > c.lastSeen) c.lastSeen = time;
    // A node that passes it on has another clock, and other interfaces.
    if (far) return;
    c.bits |= SAW_PRE;
    c.interfaceIn = row[at + P_INTERFACE] ?? 0;
    c.firstSent = time;
    betterTime(c, time, resolution, row[at + P_LATENESS] ?? 0);
    if (c.firstPost !== NEVER && c.natNs < 0 && c.firstPost >= time) c.natNs = c.firstPost - time;
  } else if (wasSentAgain(c, print, ipid, time, far ? PAIR_WINDOW_NS : RESEND_NS)) {
    c.retransmits++;
    if (c.endTime !== NEVER && (c.bits & (SAW_ANSWER | SUPERSEDED)) === 0) revive(c);
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

/** `copiesWithin`: what comes later than this is no copy, whatever it looks like. */
function wasSentAgain(
  c: Connection,
  print: number,
  ipid: number,
  time: number,
  copiesWithin: number,
): boolean {
  if (time - c.lastSent < CLOCK_SLACK_NS) return false;
  if (print === c.oldPrint && print !== c.print) return false;
  return print !== c.print || ipid !== c.ipid || time - c.lastSent > copiesWithin;
}
