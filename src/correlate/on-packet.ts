import {
  CLASS_ICMP_ERROR,
  P_ACK,
  P_CLASS,
  P_FLAGS,
  P_PROTOCOL,
  SCTP,
  SCTP_ABORT,
  SCTP_INIT,
  SCTP_INIT_ACK,
  SCTP_SHUTDOWN,
  SCTP_SHUTDOWN_COMPLETE,
  TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
  UDP,
} from '../model/packet.js';
import {
  CLOSED,
  RESET_PASSED,
  SAW_ANSWER,
  SAW_FIN_ORIGINAL,
  SAW_FIN_REPLY,
  SAW_REFUSAL,
  SAW_RESET,
} from './connection.js';
import { end, say, saySoon } from './lifecycle.js';
import { onAnswer } from './on-answer.js';
import { onDatagram } from './on-datagram.js';
import { onIcmpError } from './on-icmp-error.js';
import { onOpening } from './on-opening.js';
import { belonging, belongsTo } from './row-tuples.js';
import type { State } from './state.js';

/** Takes one packet row. `at` is the offset of its first word, `time` is its moment. */
export function onPacket(state: State, row: Uint32Array, at: number, time: number): void {
  const protocol = row[at + P_PROTOCOL] ?? 0;
  if (row[at + P_CLASS] === CLASS_ICMP_ERROR) {
    onIcmpError(state, row, at, time, protocol);
    return;
  }
  const flags = row[at + P_FLAGS] ?? 0;
  if (protocol === TCP) {
    if ((flags & TCP_SYN) !== 0) {
      if ((flags & TCP_ACK) === 0) onOpening(state, row, at, time, protocol);
      else onAnswer(state, row, at, time, protocol, ((row[at + P_ACK] ?? 0) - 1) >>> 0);
    } else if ((flags & TCP_RST) !== 0) {
      onReset(state, row, at, time, protocol);
    } else if ((flags & TCP_FIN) !== 0) {
      onFinish(state, row, at, time, protocol);
    }
  } else if (protocol === UDP) {
    onDatagram(state, row, at, time);
  } else if (protocol === SCTP) {
    if (flags === SCTP_INIT) onOpening(state, row, at, time, protocol);
    else if (flags === SCTP_INIT_ACK)
      onAnswer(state, row, at, time, protocol, row[at + P_ACK] ?? 0);
    else if (flags === SCTP_ABORT) onReset(state, row, at, time, protocol);
    else if (flags === SCTP_SHUTDOWN || flags === SCTP_SHUTDOWN_COMPLETE)
      onFinish(state, row, at, time, protocol);
  }
}

function onReset(state: State, row: Uint32Array, at: number, time: number, protocol: number): void {
  const c = belongsTo(state, row, at, time, protocol);
  if (c === undefined || c.kind === CLOSED) return;
  const { fromClient } = belonging;
  if (time > c.lastSeen) c.lastSeen = time;
  if ((c.bits & SAW_ANSWER) !== 0) c.bits |= SAW_RESET;
  else if (fromClient) c.bits |= SAW_RESET;
  else c.bits |= SAW_REFUSAL;
  c.bits |= RESET_PASSED;
  end(state, c, time);
  say(state, c);
}

function onFinish(
  state: State,
  row: Uint32Array,
  at: number,
  time: number,
  protocol: number,
): void {
  const c = belongsTo(state, row, at, time, protocol);
  if (c === undefined || c.kind === CLOSED) return;
  const { fromClient } = belonging;
  if (time > c.lastSeen) c.lastSeen = time;
  const had = c.bits & SAW_ANSWER;
  // Whoever closes in order had been answered, even if the answer itself was not seen.
  c.bits |= SAW_ANSWER | (fromClient ? SAW_FIN_ORIGINAL : SAW_FIN_REPLY);
  const both = SAW_FIN_ORIGINAL | SAW_FIN_REPLY;
  if ((c.bits & both) === both) end(state, c, time);
  if (had === 0) saySoon(state, c);
}
