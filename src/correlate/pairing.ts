import { formatAddress, sameAddress } from '../model/address.js';
import {
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_IPID,
  P_PRINT,
  P_SEQ,
  P_SPORT,
  P_SRC,
  UDP,
} from '../model/packet.js';
import {
  CLOSED,
  type Connection,
  HAS_ANSWER_ISN,
  LONE,
  ORIGINAL,
  SERVICE,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
} from './connection.js';
import type { State } from './state.js';
import { MAX_CANDIDATES, PAIR_WINDOW_NS } from './windows.js';

/**
 * The connection of which this packet is another sight, found by what NAT leaves alone. With several
 * that fit equally well none is taken: a guess is worse than silence.
 */
export function findTwin(
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
  const sameDestination =
    w[from + T_DPORT] === row[at + P_DPORT] && sameAddress(w, from + T_DST, row, at + P_DST);
  const sameSource =
    w[from + T_SPORT] === row[at + P_SPORT] && sameAddress(w, from + T_SRC, row, at + P_SRC);
  if (sameDestination) return 0;
  const samePrint = print !== 0 && (print === c.print || print === c.oldPrint);
  const sameId = c.ipid !== 0 && c.ipid === row[at + P_IPID];
  if (protocol === UDP) {
    // Payloads repeat (a heartbeat, the same question): the client's address or the packet's number must fit too.
    if (!samePrint || !(sameSource || sameId)) return 0;
  } else if (!samePrint && !((sameSource || sameId) && (print === 0 || c.print === 0))) {
    return 0;
  }
  const closeness = 1 - distance / PAIR_WINDOW_NS;
  return 1 + (sameSource ? 4 : 0) + (sameId ? 2 : 0) + closeness;
}

/**
 * A lone connection with the same numbers in both directions: the other side of this one. Where the
 * Service's own opening packet was not seen (`unseen`), the number that the answer acknowledges may do
 * alone, if one lone opening packet has it, went to an endpoint of the Service, and has no answer of its own.
 */
export function answerTwin(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
  isn: number,
  unseen: boolean,
): Connection | undefined {
  let looked = 0;
  let unanswered: Connection | undefined;
  let several = false;
  for (
    let c = state.table.bySequence(isn, protocol);
    c !== undefined && looked < MAX_CANDIDATES;
    c = state.table.olderBySequence(c), looked++
  ) {
    if (c.kind !== LONE || Math.abs(time - c.lastSent) > PAIR_WINDOW_NS) continue;
    if ((c.bits & HAS_ANSWER_ISN) !== 0) {
      if (c.answerIsn === row[at + P_SEQ]) return c;
      continue;
    }
    // Its answer passed where nothing was captured.
    if (!unseen || c.family !== row[at + P_FAMILY]) continue;
    if (!isEndpointOf(state, c, row, at, protocol)) continue;
    if (unanswered === undefined) unanswered = c;
    else several = true;
  }
  return several ? undefined : unanswered;
}

/** Whether a lone connection went to an endpoint of the Service that answers, as far as anybody knows its endpoints. */
function isEndpointOf(
  state: State,
  lone: Connection,
  row: Uint32Array,
  at: number,
  protocol: number,
): boolean {
  const { byRules, byCluster } = state.at.destinations.find(
    row,
    at + P_SRC,
    row[at + P_SPORT] ?? 0,
    protocol,
  );
  const routes = (byRules ?? byCluster)?.routes ?? [];
  const w = state.table.words;
  const to = state.table.at(lone) + ORIGINAL;
  const ip = formatAddress(w, to + T_DST, lone.family);
  return routes.some((route) => route.ip === ip && route.port === w[to + T_DPORT]);
}

/** Whether an answer from an unknown address is this connection's, untranslated: same client, or the same number in it. */
export function answersTo(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  if ((c.bits & HAS_ANSWER_ISN) !== 0) return c.answerIsn === row[at + P_SEQ];
  const w = state.table.words;
  const from = state.table.at(c) + ORIGINAL;
  return w[from + T_SPORT] === row[at + P_DPORT] && sameAddress(w, from + T_SRC, row, at + P_DST);
}
