import { sameAddress } from '../model/address.js';
import { P_DPORT, P_DST, P_FAMILY, P_FLAGS, TCP, UDP } from '../model/packet.js';
import {
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  ICMP_REFUSAL,
  ORIGINAL,
  PK_CLAIM,
  SAW_ANSWER,
  SAW_REFUSAL,
  SAW_UNREACHABLE,
  T_DPORT,
  T_DST,
} from './connection.js';
import { end, say } from './lifecycle.js';
import { openAgain } from './on-datagram.js';
import { belonging, belongsTo } from './row-tuples.js';
import type { State } from './state.js';

/** An ICMP error quotes the packet that it is about: the outcome of that packet's connection. */
export function onIcmpError(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): void {
  let c = belongsTo(state, row, at, time, protocol);
  if (c === undefined || c.kind === CLOSED || !belonging.fromClient) return;
  const flags = row[at + P_FLAGS] ?? 0;
  const meaning = icmpMeaning(row[at + P_FAMILY] ?? 4, flags >> 8, flags & 255);
  if (meaning === undefined) return;
  if (protocol === UDP && (meaning & SAW_REFUSAL) !== 0) {
    // Sent before, and not seen translated: refused by rules, so the entry of the datagrams before it is gone.
    const untranslated =
      (c.bits & PK_CLAIM) !== 0 &&
      (c.bits & (CT_CLAIM | CT_ENDED)) !== CT_CLAIM &&
      c.lastPost < c.lastSent &&
      quotesOriginal(state, c, row, at) &&
      !state.lost(c.lastSent, time);
    if (untranslated) c = openAgain(state, c, c.lastSent, time);
    c.refusedAt = time;
  }
  if ((c.bits & SAW_ANSWER) !== 0) return;
  if (time > c.lastSeen) c.lastSeen = time;
  c.bits |= meaning;
  if (protocol === TCP && (meaning & SAW_REFUSAL) !== 0) end(state, c, time);
  say(state, c);
}

/** Whether the quoted packet is addressed as the client sent it. */
function quotesOriginal(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  const w = state.table.words;
  const from = state.table.at(c) + ORIGINAL;
  return w[from + T_DPORT] === row[at + P_DPORT] && sameAddress(w, from + T_DST, row, at + P_DST);
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
