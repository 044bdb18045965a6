import {
  C_EVENT,
  C_ID,
  C_NSEC,
  C_RESOLUTION,
  C_SEC,
  EVENT_NEW,
} from '../../src/model/conntrack.js';
import { ConntrackRows } from '../../src/model/conntrack-rows.js';
import type { InputEvent } from '../../src/model/event.js';
import {
  P_FAMILY,
  P_FLAGS,
  P_INTERFACE,
  P_NSEC,
  P_PROTOCOL,
  P_SEC,
  P_SEQ,
  TCP,
  TCP_ACK,
} from '../../src/model/packet.js';
import { PacketRows } from '../../src/model/packet-rows.js';

/** A packet as these tests need it: `t` in ns after second 1,000, `n` to know it again. */
export interface Tap {
  readonly t: number;
  readonly n: number;
  readonly flags?: number;
  readonly interface?: number;
}

const BASE = 1_000;
const SECOND = 1_000_000_000;

export function packetsInto(rows: PacketRows, taps: readonly Tap[]): PacketRows {
  for (const tap of taps) {
    const at = rows.add();
    rows.words[at + P_SEC] = BASE + Math.floor(tap.t / SECOND);
    rows.words[at + P_NSEC] = tap.t % SECOND;
    rows.words[at + P_SEQ] = tap.n;
    rows.words[at + P_FAMILY] = 4;
    rows.words[at + P_PROTOCOL] = TCP;
    rows.words[at + P_FLAGS] = tap.flags ?? TCP_ACK;
    rows.words[at + P_INTERFACE] = tap.interface ?? 0;
  }
  return rows;
}

export interface Flow {
  /** ns after second 1,000; -1 for none. */
  readonly t: number;
  readonly n: number;
  readonly resolution?: number;
}

function flowsInto(rows: ConntrackRows, flows: readonly Flow[]): ConntrackRows {
  for (const flow of flows) {
    const at = rows.add();
    if (flow.t >= 0) {
      rows.words[at + C_SEC] = BASE + Math.floor(flow.t / SECOND);
      rows.words[at + C_NSEC] = flow.t % SECOND;
    }
    rows.words[at + C_RESOLUTION] = flow.resolution ?? 1_000;
    rows.words[at + C_EVENT] = EVENT_NEW;
    rows.words[at + C_ID] = flow.n;
  }
  return rows;
}

/** A stream that fills the same rows again and again, as a reader of a file does. */
export async function* packetStream(
  batches: readonly (readonly Tap[])[],
): AsyncGenerator<InputEvent> {
  const rows = new PacketRows(1);
  for (const batch of batches) {
    rows.clear();
    yield { type: 'packets', rows: packetsInto(rows, batch) };
  }
  rows.words.fill(0xdead);
}

export async function* flowStream(
  batches: readonly (readonly Flow[])[],
): AsyncGenerator<InputEvent> {
  const rows = new ConntrackRows(1);
  for (const batch of batches) {
    rows.clear();
    yield { type: 'conntrack', rows: flowsInto(rows, batch) };
  }
  rows.words.fill(0xdead);
}

export async function* eventStream(events: readonly InputEvent[]): AsyncGenerator<InputEvent> {
  for (const event of events) yield event;
}

/** What came out, one short text an item: `p<t>#<n>`, `c<t>#<n>` or the event's type. */
export function describe(event: InputEvent, into: string[]): void {
  switch (event.type) {
    case 'packets':
      for (let r = event.from ?? 0; r < (event.to ?? event.rows.length); r++) {
        const at = r * event.rows.stride;
        const w = event.rows.words;
        const t = ((w[at + P_SEC] ?? 0) - BASE) * SECOND + (w[at + P_NSEC] ?? 0);
        into.push(`p${t}#${w[at + P_SEQ]}`);
      }
      return;
    case 'conntrack':
      for (let r = event.from ?? 0; r < (event.to ?? event.rows.length); r++) {
        const at = r * event.rows.stride;
        const w = event.rows.words;
        const sec = w[at + C_SEC] ?? 0;
        const t = sec === 0 ? -1 : (sec - BASE) * SECOND + (w[at + C_NSEC] ?? 0);
        into.push(`c${t}#${w[at + C_ID]}`);
      }
      return;
    case 'loss':
      into.push(`loss ${event.loss.detail}`);
      return;
    case 'notice':
      into.push(`notice ${event.notice.detail}`);
      return;
    case 'addresses':
      into.push(`addresses ${event.addresses.join()}`);
      return;
    case 'rules':
    case 'cluster':
    case 'readings':
    case 'tick':
      into.push(event.type);
      return;
  }
}
