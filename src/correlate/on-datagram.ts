import {
  P_DPORT,
  P_DST,
  P_INTERFACE,
  P_IPID,
  P_LATENESS,
  P_PRINT,
  P_RESOLUTION,
  P_SPORT,
  P_SRC,
  UDP,
} from '../model/packet.js';
import { betterTime, claim } from './claim.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  IN_LISTING,
  LONE,
  NEVER,
  ORIGINAL,
  PK_CLAIM,
  SAW_ANSWER,
  SAW_PRE,
  SERVICE,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
} from './connection.js';
import { farOf, isFar } from './far-end.js';
import { admit, isService, listingHas, saySoon, supersede } from './lifecycle.js';
import { answerCameBy } from './on-answer.js';
import { pairOrOpen } from './on-opening.js';
import { findTwin } from './pairing.js';
import {
  byOriginal,
  byOriginalReversed,
  byTranslated,
  byTranslatedReversed,
  formatEndpointOf,
  headOf,
} from './row-tuples.js';
import { watchForStale } from './stale.js';
import { LIMITS, type State } from './state.js';
import { endpointText } from './verdict.js';
import { CLOCK_SLACK_NS } from './windows.js';

/** A UDP datagram in either direction, on either side. */
export function onDatagram(state: State, row: Uint32Array, at: number, time: number): void {
  const head = headOf(state, row, at, UDP);
  const newest = byOriginal(state, head, row, at);
  if (newest !== undefined && flows(state, newest, time)) {
    // What is no Service's address at the node that it left may be one where it arrives: another node's NodePort.
    if (newest.kind === LONE && isFar(state, newest) && toService(state, row, at)) {
      admit(state, newest);
    }
    watchForStale(state, newest, time);
    datagramSent(state, vanished(state, newest, time) ?? newest, row, at, time);
    return;
  }
  const after = byTranslated(state, head, row, at);
  if (after !== undefined && flows(state, after, time)) {
    if ((after.bits & PK_CLAIM) === 0 || time >= after.lastPost) claim(state, after, row, at, time);
    return;
  }
  let c = byOriginalReversed(state, head, row, at);
  let before = true;
  if (c === undefined || !flows(state, c, time)) {
    c = byTranslatedReversed(state, head, row, at);
    before = false;
  }
  if (c !== undefined && flows(state, c, time) && isReplySide(state, c, row, at, time)) {
    // What had been taken for its question was an answer: the question is this datagram's flow's.
    const answered = c.lastSent;
    state.table.release(c);
    pairOrOpenDatagram(state, row, at, time, newest);
    const flow = byTranslated(state, headOf(state, row, at, UDP), row, at);
    if (flow !== undefined) {
      flow.bits |= SAW_ANSWER;
      if (answered > flow.lastAnswer) flow.lastAnswer = answered;
      saySoon(state, flow);
    }
    return;
  }
  if (c !== undefined && flows(state, c, time)) {
    if (wasRefused(c)) c = openAgain(state, c, c.lastSent, time);
    const news = (c.bits & SAW_ANSWER) === 0;
    c.bits |= SAW_ANSWER;
    if (time > c.lastAnswer) c.lastAnswer = time;
    if (isFar(state, c)) {
      if (!before) {
        const far = farOf(state, c);
        if (far.answerTime === NEVER) far.answerTime = time;
      }
      if (news) saySoon(state, c);
      return;
    }
    if (!before) answerCameBy(c, row[at + P_INTERFACE] ?? 0);
    // The client's side of the same answer is where its wait ends.
    const isCopy = before && !c.answeredBefore && time - c.answerTime < CLOCK_SLACK_NS;
    if ((c.answerTime === NEVER || isCopy) && c.firstSent !== NEVER && time >= c.firstSent) {
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

/**
 * Whether a lone flow in the other direction is the reply side of a Service's flow that was under way when
 * the capture began: this datagram is known from before its translation.
 */
function isReplySide(
  state: State,
  lone: Connection,
  row: Uint32Array,
  at: number,
  time: number,
): boolean {
  if (lone.kind !== LONE) return false;
  const twin = findTwin(state, row, at, time, UDP, row[at + P_PRINT] ?? 0, false);
  return twin !== undefined && twin !== lone && twin.kind === SERVICE;
}

/** An answer from a Service's address whose question was not seen opens nothing. */
function fromService(state: State, row: Uint32Array, at: number): boolean {
  return (
    isService(state, row, at + P_SRC, row[at + P_SPORT] ?? 0, UDP) && !toService(state, row, at)
  );
}

function toService(state: State, row: Uint32Array, at: number): boolean {
  return isService(state, row, at + P_DST, row[at + P_DPORT] ?? 0, UDP);
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
  const twin = findTwin(state, row, at, time, UDP, print, toService(state, row, at));
  if (twin !== undefined && twin.kind === SERVICE && movedOn(state, twin, row, at)) {
    // The flow's datagrams appear at another endpoint: a new flow began with this datagram.
    const began = openAgain(state, twin, twin.lastSent === NEVER ? time : twin.lastSent, time);
    claim(state, began, row, at, time);
    return;
  }
  pairOrOpen(state, row, at, time, UDP, print, newest);
}

/** Whether a flow that was seen at one endpoint is now seen at another. */
function movedOn(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  if (wasRefused(c)) return true;
  if ((c.bits & PK_CLAIM) === 0) {
    return (
      (c.bits & CT_ENDED) !== 0 &&
      endpointText(state, c, BY_CONNTRACK) !== formatEndpointOf(row, at, c.family)
    );
  }
  return endpointText(state, c, BY_PACKETS) !== formatEndpointOf(row, at, c.family);
}

/**
 * Whether a flow without an endpoint was refused and asked again since: rules that refuse leave no
 * conntrack entry, so what is told after that datagram is a new flow's.
 */
export function wasRefused(c: Connection): boolean {
  return (
    c.refusedAt !== NEVER &&
    c.lastSent > c.refusedAt &&
    (c.bits & (CT_CLAIM | PK_CLAIM | SAW_ANSWER)) === 0
  );
}

/** Datagrams in a row of which no translated copy was seen, before they count as a flow of their own. */
const MISSING_COPIES = 2;

/**
 * The new flow that began with the first of several datagrams that were not seen translated, where
 * earlier ones were: the entry that these followed is gone, and where the new one leads nobody saw.
 */
function vanished(state: State, c: Connection, time: number): Connection | undefined {
  if ((c.bits & PK_CLAIM) === 0 || (c.bits & (CT_CLAIM | CT_ENDED)) === CT_CLAIM) return undefined;
  if ((c.bits & SAW_PRE) === 0 || time - c.lastSent < CLOCK_SLACK_NS) return undefined;
  if (c.lastPost >= c.lastSent) {
    c.missing = 0;
    return undefined;
  }
  if (state.lost(c.lastSent, time)) return undefined;
  if (c.missing++ === 0) c.missingSince = c.lastSent;
  return c.missing < MISSING_COPIES ? undefined : openAgain(state, c, c.missingSince, time);
}

/** Ends a flow just before one of its datagrams, sent at `from`, and opens the next one with it. */
export function openAgain(state: State, c: Connection, from: number, time: number): Connection {
  const { table } = state;
  const w = table.words;
  const tuple = table.at(c) + ORIGINAL;
  const next = table.open(
    w,
    tuple + T_SRC,
    tuple + T_DST,
    w[tuple + T_SPORT] ?? 0,
    w[tuple + T_DPORT] ?? 0,
    UDP,
    c.family,
  );
  next.time = from;
  next.resolution = c.resolution;
  next.lateness = c.lateness;
  next.lastSent = Math.max(from, c.lastSent);
  next.firstSent = from;
  next.lastSeen = time;
  next.print = c.print;
  next.oldPrint = c.print;
  next.ipid = c.ipid;
  next.vantage = c.vantage;
  next.interfaceIn = c.interfaceIn;
  next.bits |= SAW_PRE;
  if (c.lastAnswer >= from) {
    next.bits |= SAW_ANSWER;
    next.lastAnswer = c.lastAnswer;
  }
  // Later copies of these datagrams are the new flow's.
  c.print = 0;
  c.oldPrint = 0;
  table.setSequence(next, next.print);
  if (listingHas(state, next)) next.bits |= IN_LISTING;
  if (c.kind === SERVICE) admit(state, next, c.vantage);
  else state.wake(next, time + LIMITS.LONE_NS);
  supersede(state, c, from - 1);
  return next;
}
