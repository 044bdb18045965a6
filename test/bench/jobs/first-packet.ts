import type { Correlator } from '../../../src/correlate/correlator.js';
import { MAPPED } from '../../../src/model/address.js';
import {
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_PROTOCOL,
  P_SEC,
  P_SRC,
  TCP,
  TCP_SYN,
} from '../../../src/model/packet.js';
import { PacketRows } from '../../../src/model/packet-rows.js';

/** A destination that no Service has. */
export const ELSEWHERE = new Uint32Array([0, 0, MAPPED, 1]);
/** A SYN to it. */
const OPENING = opening();

/** What finds a Service by its address is made when the first packet asks, which comes in a later turn of the event loop. */
export async function askWithPacket(machine: Correlator): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  machine.push({ type: 'packets', rows: OPENING });
}

function opening(): PacketRows {
  const rows = new PacketRows(1);
  const at = rows.add();
  const { words } = rows;
  words[at + P_SEC] = 1;
  words[at + P_FAMILY] = 4;
  words[at + P_PROTOCOL] = TCP;
  words[at + P_FLAGS] = TCP_SYN;
  words.set(ELSEWHERE, at + P_SRC);
  words.set(ELSEWHERE, at + P_DST);
  words[at + P_DPORT] = 1;
  return rows;
}
