import { sameAddress } from '../model/address.js';
import {
  DIRECTION_OUT,
  P_DIRECTION,
  P_DPORT,
  P_DST,
  P_INTERFACE,
  P_LATENESS,
  P_RESOLUTION,
  P_SPORT,
  P_SRC,
} from '../model/packet.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  HAS_ANSWER_ISN,
  NEVER,
  ORIGINAL,
  PK_CLAIM,
  RESET_PASSED,
  SAW_ANSWER,
  SAW_FIN_ORIGINAL,
  SAW_FIN_REPLY,
  SAW_POST,
  SAW_PRE,
  SAW_REFUSAL,
  SAW_RESET,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
} from './connection.js';
import { identify } from './describe.js';
import { farFrom, isFar, sawFar } from './far-end.js';
import { say } from './lifecycle.js';
import type { State } from './state.js';
import { endpointText } from './verdict.js';

/** A translated copy: it names the endpoint, and the peer that the endpoint sees. */
export function claim(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
): void {
  const known = (c.bits & PK_CLAIM) !== 0;
  let news = !known;
  if (!known || !(hasTuple(state, c, row, at) || isBetween(state, c, row, at))) {
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
    } else if (isChosenAnew(c)) {
      sentElsewhere(state, c, endpointText(state, c, BY_CONNTRACK), time);
    }
  }
  c.bits |= PK_CLAIM;
  if (isFar(state, c)) {
    sawFar(state, c, row, at, time);
    // Its clock may be behind: what matters is that a copy of the last transmission was seen.
    c.lastPost = Math.max(c.lastPost, c.lastSent, time);
    if (time > c.lastSeen) c.lastSeen = time;
    if (c.lastSent === NEVER) c.lastSent = time;
    if (news) say(state, c);
    return;
  }
  c.bits |= SAW_POST;
  if ((c.bits & SAW_PRE) !== 0) state.at.seesBothSides = true;
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

/** The opening packet was sent again after conntrack's entry of the first time had gone: the rules choose anew. */
function isChosenAnew(c: Connection): boolean {
  const ended = CT_CLAIM | CT_ENDED;
  return c.retransmits > 0 && (c.bits & ended) === ended && c.conntrackEnd <= c.lastSent;
}

/** The same opening packet at another endpoint than before: it was sent again, and the rules chose anew. */
export function sentElsewhere(
  state: State,
  c: Connection,
  before: string,
  time: number,
  claim = BY_PACKETS,
): void {
  const endpoint = endpointText(state, c, claim);
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
  return (
    sameAddress(w, from + T_SRC, row, at + P_SRC) && sameAddress(w, from + T_DST, row, at + P_DST)
  );
}

/**
 * Whether a row is a sight between destination NAT and source NAT of a packet that was seen after both: a bridge's
 * copy may be read late, and source NAT, which comes last, is not taken back by it.
 */
function isBetween(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  const w = state.table.words;
  const own = state.table.at(c) + ORIGINAL;
  const known = state.table.at(c) + BY_PACKETS;
  if (w[own + T_SPORT] !== row[at + P_SPORT] || w[known + T_DPORT] !== row[at + P_DPORT]) {
    return false;
  }
  if (!sameAddress(w, own + T_SRC, row, at + P_SRC)) return false;
  if (!sameAddress(w, known + T_DST, row, at + P_DST)) return false;
  return w[own + T_SPORT] !== w[known + T_SPORT] || !sameAddress(w, own + T_SRC, w, known + T_SRC);
}

/** A packet that had been taken for a connection of its own turns out to be this one's translated copy. */
export function absorb(state: State, c: Connection, twin: Connection): void {
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
  c.bits |= PK_CLAIM;
  if (twin.vantage === c.vantage) {
    c.bits |= SAW_POST;
    c.firstPost = twin.time;
    c.lastPost = twin.lastSeen;
    c.interfaceOut = twin.interfaceIn;
    if ((c.bits & SAW_PRE) !== 0 && twin.time >= c.time) c.natNs = twin.time - c.time;
  } else {
    c.far ??= farFrom(twin);
  }
  if ((twin.bits & SAW_ANSWER) !== 0) {
    c.bits |= SAW_ANSWER;
    if ((twin.bits & HAS_ANSWER_ISN) !== 0) {
      c.answerIsn = twin.answerIsn;
      c.bits |= HAS_ANSWER_ISN;
    }
  }
  c.bits |= twin.bits & (SAW_REFUSAL | SAW_RESET | RESET_PASSED | SAW_FIN_ORIGINAL | SAW_FIN_REPLY);
  table.release(twin);
  say(state, c);
}

/** Takes a packet's time for the connection's, unless a time was already told. */
export function betterTime(
  c: Connection,
  time: number,
  resolution: number,
  lateness: number,
): void {
  if (c.id !== undefined) return;
  if (c.firstSent !== NEVER && time - c.firstSent < c.resolution) c.firstSent = time;
  if (c.timeSource === 'packet' && c.resolution <= resolution && c.time <= time) return;
  c.time = time;
  c.resolution = resolution;
  c.lateness = lateness;
  c.timeSource = 'packet';
  if (c.lastSent === NEVER || time > c.lastSent) c.lastSent = time;
}
