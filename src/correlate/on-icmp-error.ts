import { P_FAMILY, P_FLAGS, TCP } from '../model/packet.js';
import { CLOSED, ICMP_REFUSAL, SAW_ANSWER, SAW_REFUSAL, SAW_UNREACHABLE } from './connection.js';
import { end, say } from './lifecycle.js';
import { belongsTo } from './row-tuples.js';
import type { State } from './state.js';

/** An ICMP error quotes the packet that it is about: the outcome of that packet's connection. */
export function onIcmpError(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): void {
  const found = belongsTo(state, row, at, time, protocol);
  if (found === undefined || found.c.kind === CLOSED || !found.fromClient) return;
  const { c } = found;
  const flags = row[at + P_FLAGS] ?? 0;
  const meaning = icmpMeaning(row[at + P_FAMILY] ?? 4, flags >> 8, flags & 255);
  if (meaning === undefined || (c.bits & SAW_ANSWER) !== 0) return;
  if (time > c.lastSeen) c.lastSeen = time;
  c.bits |= meaning;
  if (protocol === TCP && (meaning & SAW_REFUSAL) !== 0) end(state, c, time);
  say(state, c);
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
