import type { Traffic } from '../model/attribution.js';
import {
  C_FAMILY,
  C_ID,
  C_OBYTES,
  C_ODPORT,
  C_ODST,
  C_OPACKETS,
  C_OSPORT,
  C_OSRC,
  C_RBYTES,
  C_RDPORT,
  C_RDST,
  C_RPACKETS,
  C_RSPORT,
  C_RSRC,
  C_STATE,
  HAS_COUNTERS,
  HAS_ID,
  HAS_STATE,
  HAS_STATUS,
  IS_ASSURED,
  IS_UNREPLIED,
} from '../model/conntrack.js';
import { TCP } from '../model/packet.js';
import {
  type Connection,
  CT_CLAIM,
  CT_UNREPLIED,
  HAS_ISN,
  IN_LISTING,
  LONE,
  NEVER,
  PK_CLAIM,
  RESET_PASSED,
  SAW_ANSWER,
  SAW_POST,
  SAW_REFUSAL,
  SAW_RESET,
  SERVICE,
} from './connection.js';
import { FIRST_DATAGRAM_NS, KERNEL_NS, zoneOf } from './entries.js';
import { farFrom } from './far-end.js';
import { end, listingHas, translatedHere } from './lifecycle.js';
import type { State } from './state.js';
import { PAIR_WINDOW_NS } from './windows.js';

/** TCP states in which the endpoint has answered (nf_conntrack_tcp.h: SYN_RECV to TIME_WAIT). */
const FIRST_ANSWERED_STATE = 2;

const LAST_ANSWERED_STATE = 7;

const STATE_CLOSE = 8;

export function openEntry(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  time: number,
  resolution: number,
  lateness: number,
  timeSource: 'conntrack' | 'listing',
): Connection {
  const c = state.table.open(
    row,
    at + C_OSRC,
    at + C_ODST,
    row[at + C_OSPORT] ?? 0,
    row[at + C_ODPORT] ?? 0,
    protocol,
    row[at + C_FAMILY] ?? 4,
  );
  c.time = time;
  c.vantage = state.here;
  c.resolution = resolution;
  c.lateness = lateness;
  c.timeSource = timeSource;
  c.lastSeen = time;
  if (listingHas(state, c)) c.bits |= IN_LISTING;
  return c;
}

/** Takes an entry's reply tuple as conntrack's word on where the connection was sent. */
export function take(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  resolution: number,
  bits: number,
): void {
  const { table } = state;
  table.setTranslated(
    c,
    0,
    row,
    at + C_RDST,
    at + C_RSRC,
    row[at + C_RDPORT] ?? 0,
    row[at + C_RSPORT] ?? 0,
  );
  c.bits |= CT_CLAIM;
  translatedHere(state, c);
  c.zone = zoneOf(row, at);
  if ((bits & HAS_ID) !== 0) c.conntrackId = row[at + C_ID] ?? 0;
  if (c.conntrackTime === NEVER) {
    c.conntrackTime = time;
    c.conntrackResolution = resolution;
  }
  if (time > c.lastSeen) c.lastSeen = time;
  absorbTranslated(state, c, row, at);
}

/** The translated copy may have been seen before conntrack told of it: then it stood as a connection of its own. */
function absorbTranslated(state: State, c: Connection, row: Uint32Array, at: number): void {
  const { table } = state;
  const found = table.byOriginal(
    row,
    at + C_RDST,
    at + C_RSRC,
    row[at + C_RDPORT] ?? 0,
    row[at + C_RSPORT] ?? 0,
    c.protocol,
  );
  if (found === undefined || found === c || found.kind !== LONE) return;
  if (found.lastSent === NEVER) {
    if (Math.abs(found.time - c.conntrackTime) <= PAIR_WINDOW_NS) absorbFarEntry(state, c, found);
    return;
  }
  const slack = found.vantage === c.vantage ? KERNEL_NS : PAIR_WINDOW_NS;
  const fits =
    (c.bits & HAS_ISN) !== 0 && (found.bits & HAS_ISN) !== 0
      ? c.isn === found.isn
      : found.time <= c.conntrackTime + c.conntrackResolution + slack &&
        found.lastSent >= c.conntrackTime - Math.max(c.lateness, slack) - FIRST_DATAGRAM_NS;
  if (!fits) return;
  table.setTranslated(
    c,
    1,
    row,
    at + C_RDST,
    at + C_RSRC,
    row[at + C_RDPORT] ?? 0,
    row[at + C_RSPORT] ?? 0,
  );
  c.bits |=
    PK_CLAIM | SAW_POST | (found.bits & (SAW_ANSWER | SAW_REFUSAL | SAW_RESET | RESET_PASSED));
  if ((c.bits & HAS_ISN) === 0 && (found.bits & HAS_ISN) !== 0) {
    c.bits |= HAS_ISN;
    c.isn = found.isn;
    table.setSequence(c, found.isn);
  }
  if (found.vantage === c.vantage) {
    c.firstPost = found.time;
    c.lastPost = found.lastSeen;
    c.interfaceOut = found.interfaceIn;
  } else {
    c.bits &= ~SAW_POST;
    c.far ??= farFrom(found);
  }
  if (found.vantage === c.vantage && c.timeSource !== 'packet' && c.id === undefined) {
    c.time = found.time;
    c.resolution = found.resolution;
    c.lateness = found.lateness;
    c.timeSource = 'packet';
  }
  if (c.lastSent === NEVER) c.lastSent = found.lastSent;
  if (c.firstSent === NEVER) c.firstSent = found.firstSent;
  if (c.answerTime === NEVER) c.answerTime = found.answerTime;
  const ended = found.endTime;
  table.release(found);
  if (ended !== NEVER) end(state, c, ended);
}

/** Only another node's conntrack told of what is the far end of this connection: that is no packet's word. */
export function absorbFarEntry(state: State, c: Connection, found: Connection): void {
  if (found.vantage === c.vantage) return;
  c.far ??= farFrom(found);
  c.bits |= found.bits & SAW_ANSWER;
  state.table.release(found);
}

/** What an entry's state, flags and counters add. */
export function learn(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  bits: number,
): void {
  if ((bits & HAS_STATUS) !== 0) {
    if ((bits & IS_UNREPLIED) !== 0) {
      c.bits |= CT_UNREPLIED;
    } else {
      c.bits &= ~CT_UNREPLIED;
      if (c.protocol !== TCP) c.bits |= SAW_ANSWER;
    }
    if ((bits & IS_ASSURED) !== 0) c.bits |= SAW_ANSWER;
  }
  if (c.protocol === TCP && (bits & HAS_STATE) !== 0) {
    const tcp = row[at + C_STATE] ?? 0;
    if (tcp >= FIRST_ANSWERED_STATE && tcp <= LAST_ANSWERED_STATE) {
      c.bits |= SAW_ANSWER;
    } else if (tcp === STATE_CLOSE) {
      c.bits |= (c.bits & SAW_ANSWER) !== 0 ? SAW_RESET : SAW_REFUSAL;
    }
  }
  if ((bits & HAS_COUNTERS) !== 0) {
    c.original = traffic(row, at + C_OPACKETS, at + C_OBYTES);
    c.reply = traffic(row, at + C_RPACKETS, at + C_RBYTES);
  }
  if ((c.bits & SAW_ANSWER) !== 0) c.bits &= ~SAW_REFUSAL;
  if (c.kind === SERVICE && c.endTime === NEVER) state.wake(c, state.now + state.boundNs);
}

function traffic(row: Uint32Array, packets: number, bytes: number): Traffic {
  return { packets: wide(row, packets), bytes: wide(row, bytes) };
}

function wide(row: Uint32Array, at: number): number {
  return (row[at] ?? 0) + (row[at + 1] ?? 0) * 0x1_0000_0000;
}
