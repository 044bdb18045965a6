import {
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_INTERFACE,
  P_LATENESS,
  P_RESOLUTION,
  P_SEQ,
  P_SPORT,
  P_SRC,
} from '../model/packet.js';
import { absorb, sentElsewhere } from './claim.js';
import {
  BY_PACKETS,
  CLOSED,
  type Connection,
  CT_CLAIM,
  HAS_ANSWER_ISN,
  HAS_ISN,
  IN_LISTING,
  LONE,
  NEVER,
  PK_CLAIM,
  SAW_ANSWER,
  SAW_POST,
  SAW_PRE,
  SERVICE,
} from './connection.js';
import { farOf, isFar } from './far-end.js';
import { admit, isService, listingHas, say, saySoon } from './lifecycle.js';
import { adopt } from './on-opening.js';
import { answersTo, answerTwin } from './pairing.js';
import {
  byOriginalReversed,
  byTranslatedReversed,
  headOf,
  olderTranslationReversed,
} from './row-tuples.js';
import { LIMITS, type State } from './state.js';
import { endpointText } from './verdict.js';
import { CLOCK_SLACK_NS, MAX_CANDIDATES, PAIR_WINDOW_NS } from './windows.js';

/** A SYN-ACK or an INIT ACK. `isn` is the initial number of the packet that it answers. */
export function onAnswer(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  isn: number,
): void {
  const head = headOf(state, row, at, protocol);
  // Whose number it answers is certain; an entry of which no packet was seen yet may be its tuple's next use.
  if (head >= 0) {
    if (answersTuple(state, row, at, time, isn, head, true)) return;
    if (answersTuple(state, row, at, time, isn, head, false)) return;
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

/** Gives the answer to the connection of its tuple that it answers; false if there is none. */
function answersTuple(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  isn: number,
  head: number,
  certain: boolean,
): boolean {
  for (
    let c = byOriginalReversed(state, head, row, at);
    c !== undefined;
    c = state.table.older(c)
  ) {
    if (!isAnswered(c, isn, time, certain)) continue;
    if (!certain) adopt(state, c, isn);
    answered(state, c, row, at, time, true);
    return true;
  }
  for (
    let c = byTranslatedReversed(state, head, row, at);
    c !== undefined;
    c = olderTranslationReversed(state, c, row, at)
  ) {
    if (!isAnswered(c, isn, time, certain)) continue;
    answered(state, c, row, at, time, false);
    return true;
  }
  return false;
}

/** Whether an answer to `isn` is this connection's: by its number, or, where that is not known, by its time. */
function isAnswered(c: Connection, isn: number, time: number, certain: boolean): boolean {
  if ((c.bits & HAS_ISN) !== 0) return certain && c.isn === isn;
  return !certain && c.kind !== CLOSED && time >= c.time - Math.max(c.lateness, CLOCK_SLACK_NS);
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
  c.vantage = state.here;
  c.isn = isn;
  c.bits |= HAS_ISN | SAW_ANSWER | HAS_ANSWER_ISN;
  c.answerIsn = row[at + P_SEQ] ?? 0;
  c.lastSent = time;
  c.lastSeen = time;
  if (listingHas(state, c)) c.bits |= IN_LISTING;
  const twin = answerTwin(state, row, at, time, protocol, isn, true);
  state.table.setSequence(c, isn);
  if (isService(state, row, at + P_SRC, row[at + P_SPORT] ?? 0, protocol)) {
    admit(state, c);
    if (twin !== undefined) absorb(state, c, twin);
    else say(state, c);
  } else {
    state.wake(c, time + LIMITS.LONE_NS);
  }
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
  if (before && news) doubtClaim(state, c);
  c.bits |= SAW_ANSWER;
  if ((c.bits & HAS_ANSWER_ISN) === 0) {
    c.bits |= HAS_ANSWER_ISN;
    c.answerIsn = row[at + P_SEQ] ?? 0;
    if (before && c.kind === SERVICE && (c.bits & PK_CLAIM) === 0) {
      const unseen = (c.bits & SAW_PRE) === 0;
      const twin = answerTwin(state, row, at, time, c.protocol, c.isn, unseen);
      if (twin !== undefined) absorb(state, c, twin);
    }
  }
  if (isFar(state, c)) {
    // Untranslated again it passes the client's node, which is no far end.
    if (!before) {
      const far = farOf(state, c);
      if (far.answerTime === NEVER) far.answerTime = time;
    }
    if (time > c.lastSeen) c.lastSeen = time;
    if (news) saySoon(state, c);
    return;
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

/**
 * The opening packet was sent again, its last transmission was not seen translated, nor was its answer
 * seen where the first one went: who answered is not known.
 */
function doubtClaim(state: State, c: Connection): void {
  const { bits } = c;
  if (c.retransmits === 0 || (bits & PK_CLAIM) === 0 || (bits & CT_CLAIM) !== 0) return;
  if (c.lastPost >= c.lastSent) return;
  c.earlier ??= [];
  c.earlier.push(endpointText(state, c, BY_PACKETS));
  c.bits &= ~(PK_CLAIM | SAW_POST);
  state.table.clearTranslated(c, 1);
}

/** Where captures do not tell directions: an answer first enters by the interface that leads to the endpoint. */
export function answerCameBy(c: Connection, seenOn: number): void {
  if (c.leftSeen || seenOn === 0) return;
  c.interfaceOut = seenOn;
  c.leftSeen = true;
}
