import { formatAddress, formatEndpoint } from '../model/address.js';
import { P_DPORT, P_DST, P_SPORT, P_SRC } from '../model/packet.js';
import type { Connection } from './connection.js';
import type { State } from './state.js';
import { CLOCK_SLACK_NS } from './windows.js';

/** The newest node of a packet's pair of endpoints, whoever sent it: what all look-ups below start from. */
export function headOf(state: State, row: Uint32Array, at: number, protocol: number): number {
  return state.table.head(
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
    protocol,
  );
}

export function byOriginal(state: State, head: number, row: Uint32Array, at: number) {
  return state.table.original(head, row, at + P_SRC, row[at + P_SPORT] ?? 0);
}

export function byOriginalReversed(state: State, head: number, row: Uint32Array, at: number) {
  return state.table.original(head, row, at + P_DST, row[at + P_DPORT] ?? 0);
}

export function byTranslated(state: State, head: number, row: Uint32Array, at: number) {
  return state.table.translation(head, row, at + P_SRC, row[at + P_SPORT] ?? 0);
}

export function byTranslatedReversed(state: State, head: number, row: Uint32Array, at: number) {
  return state.table.translation(head, row, at + P_DST, row[at + P_DPORT] ?? 0);
}

export function olderTranslation(state: State, c: Connection, row: Uint32Array, at: number) {
  return state.table.olderTranslation(
    c,
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
  );
}

export function olderTranslationReversed(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
) {
  return state.table.olderTranslation(
    c,
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
  );
}

/** What `belongsTo` found out about its last connection. */
export const belonging = { fromClient: false };

/**
 * The connection in force of any of the four tuples that a later packet may carry; `belonging` says
 * whether the client sent it.
 */
export function belongsTo(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): Connection | undefined {
  const { table } = state;
  const head = headOf(state, row, at, protocol);
  if (head < 0) return undefined;
  const only = table.only(head);
  if (only !== undefined) {
    belonging.fromClient = table.isSent(head, row, at + P_SRC, row[at + P_SPORT] ?? 0);
    return only;
  }
  let newest = byOriginal(state, head, row, at);
  belonging.fromClient = true;
  for (let c = newest; c !== undefined; c = table.older(c)) if (isOpenBy(c, time)) return c;
  if (newest !== undefined) return newest;
  newest = byTranslated(state, head, row, at);
  for (let c = newest; c !== undefined; c = olderTranslation(state, c, row, at)) {
    if (isOpenBy(c, time)) return c;
  }
  if (newest !== undefined) return newest;
  belonging.fromClient = false;
  newest = byOriginalReversed(state, head, row, at);
  for (let c = newest; c !== undefined; c = table.older(c)) if (isOpenBy(c, time)) return c;
  if (newest !== undefined) return newest;
  newest = byTranslatedReversed(state, head, row, at);
  for (let c = newest; c !== undefined; c = olderTranslationReversed(state, c, row, at)) {
    if (isOpenBy(c, time)) return c;
  }
  return newest;
}

/** Whether it had begun by then: conntrack may have told already of a tuple's next use. */
function isOpenBy(c: Connection, time: number): boolean {
  return c.time <= time + CLOCK_SLACK_NS;
}

export function formatEndpointOf(row: Uint32Array, at: number, family: number): string {
  return formatEndpoint(formatAddress(row, at + P_DST, family), row[at + P_DPORT] ?? 0);
}
