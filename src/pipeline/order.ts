import { C_NSEC, C_RESOLUTION, C_SEC, CONNTRACK_WORDS } from '../model/conntrack.js';
import type { ConntrackRows } from '../model/conntrack-rows.js';
import type { InputEvent } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import {
  CLASS_ICMP_ERROR,
  P_CLASS,
  P_FLAGS,
  P_INTERFACE,
  P_NSEC,
  P_PROTOCOL,
  P_SEC,
  PACKET_WORDS,
  TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../model/packet.js';
import type { PacketRows } from '../model/packet-rows.js';
import { NANOS_PER_SECOND, secondsOf, subsecondOf } from '../model/time.js';

/**
 * The order in which inputs are fed to the machine. A moment is two numbers (seconds, nanoseconds):
 * a double cannot hold both exactly, and a bigint a row would cost more than reading the row.
 */

/** An event that carries rows. */
export type RowEvent = Extract<InputEvent, { type: 'packets' | 'conntrack' }>;
export type AnyRows = PacketRows | ConntrackRows;

export const isRowEvent = (event: InputEvent): event is RowEvent =>
  event.type === 'packets' || event.type === 'conntrack';

/**
 * A conntrack time cut to more than this is coarse: the entry is placed at the end of the span that
 * it may lie in, when it surely had happened. Finer ones (the microseconds of `conntrack -E -o
 * timestamp`) are placed where they stand.
 */
const COARSE_NS = 1_000_000;

/** Seconds of the moment at which a row takes its turn; 0 for a conntrack row without a time. */
export function rowSeconds(rows: AnyRows, row: number): number {
  const at = row * rows.stride;
  if (rows.stride === PACKET_WORDS) return rows.words[at + P_SEC] ?? 0;
  const seconds = rows.words[at + C_SEC] ?? 0;
  const resolution = rows.words[at + C_RESOLUTION] ?? 0;
  if (resolution <= COARSE_NS || seconds === 0) return seconds;
  const total = (rows.words[at + C_NSEC] ?? 0) + resolution;
  return seconds + Math.floor(total / NANOS_PER_SECOND);
}

/** Nanoseconds within the second of the moment at which a row takes its turn. */
export function rowNanoseconds(rows: AnyRows, row: number): number {
  const at = row * rows.stride;
  if (rows.stride === PACKET_WORDS) return rows.words[at + P_NSEC] ?? 0;
  const nanoseconds = rows.words[at + C_NSEC] ?? 0;
  const resolution = rows.words[at + C_RESOLUTION] ?? 0;
  if (resolution <= COARSE_NS || (rows.words[at + C_SEC] ?? 0) === 0) return nanoseconds;
  return (nanoseconds + resolution) % NANOS_PER_SECOND;
}

/** Rows up to this many are copied word by word: a call of `set` costs more than that. */
const SHORT_COPY_ROWS = 4;

/** Adds rows to others of the same kind. */
export function appendRows(source: AnyRows, from: number, to: number, target: AnyRows): void {
  const count = to - from;
  if (count <= 0) return;
  const { stride } = source;
  const at = target.length * stride;
  const needed = at + count * stride;
  if (needed > target.words.length) {
    const larger = new Uint32Array(Math.max(needed, target.words.length * 2));
    larger.set(target.words);
    target.words = larger;
  }
  const start = from * stride;
  if (count > SHORT_COPY_ROWS) {
    target.words.set(source.words.subarray(start, to * stride), at);
  } else {
    const words = source.words;
    const into = target.words;
    const end = start + count * stride;
    for (let from = start, to = at; from < end; from++, to++) into[to] = words[from] as number;
  }
  target.length += count;
}

/** Seconds since 1970 and nanoseconds within the second. */
export interface Moment {
  readonly sec: number;
  readonly nsec: number;
}

/** The moment of an event that has no rows; `undefined` if it has none. */
export function momentOf(event: InputEvent): Moment | undefined {
  let time: bigint | undefined;
  switch (event.type) {
    case 'packets':
    case 'conntrack':
      return undefined;
    case 'loss':
      time = event.loss.to ?? event.loss.from;
      break;
    case 'notice':
      time = event.notice.time;
      break;
    case 'rules':
    case 'cluster':
    case 'addresses':
    case 'readings':
    case 'tick':
      time = event.time;
      break;
  }
  return time === undefined ? undefined : { sec: secondsOf(time), nsec: subsecondOf(time) };
}

/**
 * What goes first at one and the same moment: what explains (rules, cluster, addresses) before what
 * is explained; packets before the conntrack event, which is printed after its packet; then what is
 * said about the stream itself.
 */
const KIND_RANK: Readonly<Record<InputEvent['type'], number>> = {
  rules: 0,
  cluster: 1,
  addresses: 2,
  readings: 3,
  packets: 4,
  conntrack: 5,
  loss: 6,
  notice: 7,
  tick: 8,
};

/** The natural order of a TCP connection's segments, for copies that bear the same time in two files. */
function phase(words: Uint32Array, at: number): number {
  if (words[at + P_CLASS] === CLASS_ICMP_ERROR) return 4;
  if (words[at + P_PROTOCOL] !== TCP) return 2;
  const flags = words[at + P_FLAGS] ?? 0;
  if ((flags & (TCP_FIN | TCP_RST)) !== 0) return 3;
  if ((flags & TCP_SYN) === 0) return 2;
  return (flags & TCP_ACK) === 0 ? 0 : 1;
}

/**
 * Which of two events of the same moment goes first: negative for `a`, 0 if nothing in their content
 * tells them apart. Interfaces are compared by name: their numbers depend on the order of reading.
 */
export function compareContent(
  a: InputEvent,
  aRow: number,
  b: InputEvent,
  bRow: number,
  interfaces: Interfaces,
): number {
  const rank = KIND_RANK[a.type] - KIND_RANK[b.type];
  if (rank !== 0) return rank;
  if (a.type === 'packets' && b.type === 'packets') {
    const x = a.rows.words;
    const y = b.rows.words;
    const i = aRow * PACKET_WORDS;
    const j = bRow * PACKET_WORDS;
    const step = phase(x, i) - phase(y, j);
    if (step !== 0) return step;
    for (let w = 0; w < PACKET_WORDS; w++) {
      if (w === P_INTERFACE) continue;
      const difference = (x[i + w] ?? 0) - (y[j + w] ?? 0);
      if (difference !== 0) return difference;
    }
    return compareInterfaces(x[i + P_INTERFACE] ?? 0, y[j + P_INTERFACE] ?? 0, interfaces);
  }
  if (a.type === 'conntrack' && b.type === 'conntrack') {
    const x = a.rows.words;
    const y = b.rows.words;
    const i = aRow * CONNTRACK_WORDS;
    const j = bRow * CONNTRACK_WORDS;
    for (let w = 0; w < CONNTRACK_WORDS; w++) {
      const difference = (x[i + w] ?? 0) - (y[j + w] ?? 0);
      if (difference !== 0) return difference;
    }
  }
  return 0;
}

function compareInterfaces(a: number, b: number, interfaces: Interfaces): number {
  if (a === b) return 0;
  return (
    compareText(interfaces.name(a), interfaces.name(b)) ||
    compareText(interfaces.get(a).node, interfaces.get(b).node)
  );
}

function compareText(a: string | undefined, b: string | undefined): number {
  const x = a ?? '';
  const y = b ?? '';
  return x < y ? -1 : x > y ? 1 : 0;
}
