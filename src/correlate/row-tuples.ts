import { formatAddress, formatEndpoint } from '../model/address.js';
import { P_DPORT, P_DST, P_SPORT, P_SRC } from '../model/packet.js';
import type { Connection } from './connection.js';
import type { State } from './state.js';
import { CLOCK_SLACK_NS } from './windows.js';

export function byOriginal(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byOriginal(
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
    protocol,
  );
}

export function byOriginalReversed(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byOriginal(
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
    protocol,
  );
}

export function byTranslated(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byTranslated(
    row,
    at + P_SRC,
    at + P_DST,
    row[at + P_SPORT] ?? 0,
    row[at + P_DPORT] ?? 0,
    protocol,
  );
}

export function byTranslatedReversed(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byTranslated(
    row,
    at + P_DST,
    at + P_SRC,
    row[at + P_DPORT] ?? 0,
    row[at + P_SPORT] ?? 0,
    protocol,
  );
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

/** The connection in force of any of the four tuples that a later packet may carry, and whether the client sent it. */
export function belongsTo(
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

export function formatEndpointOf(row: Uint32Array, at: number, family: number): string {
  return formatEndpoint(formatAddress(row, at + P_DST, family), row[at + P_DPORT] ?? 0);
}
