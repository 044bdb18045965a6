import { sameAddress } from '../model/address.js';
import {
  C_EVENT,
  C_ID,
  C_LATENESS,
  C_NSEC,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_RDPORT,
  C_RDST,
  C_RESOLUTION,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  C_START_NSEC,
  C_START_SEC,
  C_STOP_NSEC,
  C_STOP_SEC,
  C_ZONE,
  C_ZONE_ORIGINAL,
  EVENT_DESTROY,
  HAS_ID,
  HAS_START,
  HAS_STOP,
  HAS_TIME,
} from '../model/conntrack.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  CT_LISTED,
  CT_UNTRANSLATED,
  NEVER,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
} from './connection.js';
import type { State } from './state.js';
import { mix } from './tuple-map.js';
import { COARSE_NS } from './windows.js';

/** The kernel reports an entry this soon after its packet, its own time stamps being exact. */
export const KERNEL_NS = 1_000_000;

/** A flow's first datagram is at most this much older than conntrack's report of it. */
export const FIRST_DATAGRAM_NS = 50_000_000;

interface Moment {
  /** The true moment lies in [time - lateness, time + resolution). */
  time: number;
  resolution: number;
  lateness: number;
}

const moment: Moment = { time: 0, resolution: 1, lateness: 0 };

export function momentOf(state: State, row: Uint32Array, at: number, bits: number): Moment {
  if ((bits & HAS_START) !== 0 && row[at + C_EVENT] !== EVENT_DESTROY) {
    moment.time = state.clock.at(row[at + C_START_SEC] ?? 0, row[at + C_START_NSEC] ?? 0);
    moment.resolution = 1;
    moment.lateness = KERNEL_NS;
    return moment;
  }
  if ((bits & HAS_STOP) !== 0 && row[at + C_EVENT] === EVENT_DESTROY) {
    moment.time = state.clock.at(row[at + C_STOP_SEC] ?? 0, row[at + C_STOP_NSEC] ?? 0);
    moment.resolution = 1;
    moment.lateness = 0;
    return moment;
  }
  moment.time =
    (bits & HAS_TIME) === 0 ? NEVER : state.clock.at(row[at + C_SEC] ?? 0, row[at + C_NSEC] ?? 0);
  moment.resolution = row[at + C_RESOLUTION] ?? 1;
  moment.lateness = row[at + C_LATENESS] ?? 0;
  return moment;
}

export function newestOf(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byOriginal(
    row,
    at + C_OSRC,
    at + C_ODST,
    row[at + C_OSPORT] ?? 0,
    row[at + C_ODPORT] ?? 0,
    protocol,
  );
}

export function zoneOf(row: Uint32Array, at: number): number {
  return row[at + C_ZONE] || row[at + C_ZONE_ORIGINAL] || 0;
}

/** Destination NAT: the answer comes from elsewhere than where the client sent to. */
export function isTranslated(row: Uint32Array, at: number): boolean {
  if (row[at + C_RSPORT] !== row[at + C_ODPORT]) return true;
  return !sameAddress(row, at + C_RSRC, row, at + C_ODST);
}

/** Whether a connection's conntrack tuple is this entry's: endpoint and peer. */
export function sameReply(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  const w = state.table.words;
  const from = state.table.at(c) + BY_CONNTRACK;
  if (w[from + T_SPORT] !== row[at + C_RDPORT] || w[from + T_DPORT] !== row[at + C_RSPORT]) {
    return false;
  }
  return (
    sameAddress(w, from + T_SRC, row, at + C_RDST) && sameAddress(w, from + T_DST, row, at + C_RSRC)
  );
}

/** Whether packets showed the endpoint that the entry names. */
export function agrees(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  const w = state.table.words;
  const from = state.table.at(c) + BY_PACKETS;
  if (w[from + T_DPORT] !== row[at + C_RSPORT]) return false;
  return sameAddress(w, from + T_DST, row, at + C_RSRC);
}

export function sameId(c: Connection, row: Uint32Array, at: number, bits: number): boolean {
  return c.conntrackId < 0 || (bits & HAS_ID) === 0 || c.conntrackId === row[at + C_ID];
}

export function sameZone(c: Connection, row: Uint32Array, at: number): boolean {
  return c.zone < 0 || c.zone === zoneOf(row, at);
}

/** An event cut to whole seconds about an entry of which finer events tell: they know better. */
export function coarserThan(c: Connection, resolution: number): boolean {
  return resolution >= COARSE_NS && c.conntrackResolution < COARSE_NS && c.conntrackTime !== NEVER;
}

/** The connection that holds this entry, if any: with its reply tuple, and not yet ended. */
export function holder(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
): Connection | undefined {
  for (let c = newestOf(state, row, at, protocol); c !== undefined; c = state.table.older(c)) {
    if ((c.bits & (CT_CLAIM | CT_UNTRANSLATED)) === 0 || (c.bits & CT_ENDED) !== 0) continue;
    if (!sameZone(c, row, at) || !sameId(c, row, at, bits)) continue;
    if ((c.bits & CT_UNTRANSLATED) !== 0 ? !isTranslated(row, at) : sameReply(state, c, row, at)) {
      return c;
    }
  }
  return undefined;
}

/** Where an entry's connection was sent, as a number that differs for other endpoints. */
export function whereTo(words: Uint32Array, address: number, port: number): number {
  let h = mix((words[address + 3] ?? 0) ^ Math.imul(port, 0x9e3779b1));
  h = mix(h ^ (words[address] ?? 0) ^ (words[address + 1] ?? 0) ^ (words[address + 2] ?? 0));
  return h >>> 1;
}

/**
 * Whether conntrack told, about this span, that this very entry ended. An end that was told to the whole second
 * may have come at any moment of it.
 */
export function wasEnded(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
  from: number,
  to: number,
): boolean {
  for (let c = newestOf(state, row, at, protocol); c !== undefined; c = state.table.older(c)) {
    const end = c.conntrackEnd;
    if (end === NEVER || end >= to + FIRST_DATAGRAM_NS) continue;
    const isCoarse = (c.bits & CT_LISTED) === 0 && c.conntrackResolution >= COARSE_NS;
    const latest = isCoarse ? end + c.conntrackResolution : end;
    if (latest < from - FIRST_DATAGRAM_NS) continue;
    if (sameZone(c, row, at) && sameId(c, row, at, bits) && sameReply(state, c, row, at))
      return true;
  }
  return false;
}
