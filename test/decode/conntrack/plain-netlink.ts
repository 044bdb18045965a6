import * as C from '../../../src/model/conntrack.js';

/**
 * What the decoder of ctnetlink messages has to say, written for reading and not for speed: attributes come
 * out of a generator, numbers of nanoseconds are bigints, and damage is an exception.
 */
export interface PlainMessages {
  readonly rows: number[][];
  done: boolean;
  error: number;
  interrupted: boolean;
  /** Messages that were damaged, and where the first of them began. */
  lost: number;
  firstLost: number | undefined;
}

class Damaged extends Error {}
/** A protocol that nobody follows. */
class Skipped extends Error {}

/** Lengths and types are in the order of the host, which the recordings' is too. */
const LITTLE = true;

export function plainMessages(
  bytes: Uint8Array,
  receivedSec: number,
  receivedNsec: number,
): PlainMessages {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const said: PlainMessages = {
    rows: [],
    done: false,
    error: 0,
    interrupted: false,
    lost: 0,
    firstLost: undefined,
  };
  const lose = (at: number): void => {
    said.lost++;
    said.firstLost ??= at;
  };
  for (let at = 0; at < bytes.length; ) {
    const length = bytes.length - at < 16 ? 0 : view.getUint32(at, LITTLE);
    if (length < 16 || length > bytes.length - at) {
      lose(at);
      break;
    }
    const message = new DataView(bytes.buffer, bytes.byteOffset + at, length);
    const type = message.getUint16(4, LITTLE);
    const flags = message.getUint16(6, LITTLE);
    const sequence = message.getUint32(8, LITTLE);
    if (sequence !== 0 && (flags & 0x10) !== 0) said.interrupted = true;
    if (type === 2 || type === 3) {
      if (type === 3) said.done = true;
      if (length >= 20) said.error ||= Math.max(0, -message.getInt32(16, LITTLE));
      else if (type === 2) lose(at);
    }
    if (type === 0x100 || type === 0x102) {
      try {
        const words = readEntry(message);
        finish(words, message, receivedSec, receivedNsec);
        said.rows.push([...words]);
      } catch (error) {
        if (error instanceof Damaged) lose(at);
        else if (!(error instanceof Skipped)) throw error;
      }
    }
    at += Math.ceil(length / 4) * 4;
  }
  return said;
}

function finish(words: Uint32Array, message: DataView, sec: number, nsec: number): void {
  const flags = message.getUint16(6, LITTLE);
  const listed = message.getUint32(8, LITTLE) !== 0;
  const destroys = message.getUint16(4, LITTLE) === 0x102;
  const creates = (flags & 0x600) !== 0;
  const event = destroys ? C.EVENT_DESTROY : creates ? C.EVENT_NEW : C.EVENT_UPDATE;
  let bits = (words[C.C_BITS] ?? 0) | C.HAS_TIME;
  words[C.C_EVENT] = listed ? C.EVENT_LISTED : event;
  if (!listed && message.getUint32(12, LITTLE) !== 0) bits |= C.IS_USERSPACE;
  if (listed) bits &= ~C.IS_KERNEL_TIME;
  words[C.C_RESOLUTION] = 1;
  if ((bits & C.IS_KERNEL_TIME) === 0) {
    words[C.C_SEC] = sec;
    words[C.C_NSEC] = nsec;
    words[C.C_LATENESS] = listed ? 0 : 1_000_000_000;
  }
  words[C.C_BITS] = bits;
}

interface Attribute {
  readonly type: number;
  readonly data: DataView;
}

/** Throws Damaged at one whose length cannot be. */
function* attributes(view: DataView): Generator<Attribute> {
  for (let at = 0; at < view.byteLength; ) {
    const length = view.byteLength - at < 4 ? 0 : view.getUint16(at, LITTLE);
    if (length < 4 || length > view.byteLength - at) throw new Damaged();
    const type = view.getUint16(at + 2, LITTLE) & 0x3fff;
    yield { type, data: new DataView(view.buffer, view.byteOffset + at + 4, length - 4) };
    at += Math.ceil(length / 4) * 4;
  }
}

function number(data: DataView, size: 1 | 2 | 4): number {
  if (data.byteLength < size) throw new Damaged();
  return size === 4 ? data.getUint32(0) : size === 2 ? data.getUint16(0) : data.getUint8(0);
}

function long(data: DataView): bigint {
  if (data.byteLength < 8) throw new Damaged();
  return data.getBigUint64(0);
}

function readEntry(message: DataView): Uint32Array {
  const words = new Uint32Array(C.CONNTRACK_WORDS);
  let bits = 0;
  if (message.byteLength < 20) throw new Damaged();
  for (const { type, data } of attributes(
    new DataView(message.buffer, message.byteOffset + 20, message.byteLength - 20),
  )) {
    switch (type) {
      case 1:
        readTuple(data, words, C.C_OSRC, C.C_ZONE_ORIGINAL);
        break;
      case 2:
        readTuple(data, words, C.C_RSRC, C.C_ZONE_REPLY);
        bits |= C.HAS_REPLY;
        break;
      case 3: {
        const status = number(data, 4);
        bits |= C.HAS_STATUS;
        if ((status & 4) !== 0) bits |= C.IS_ASSURED;
        if ((status & 2) === 0) bits |= C.IS_UNREPLIED;
        break;
      }
      case 4: {
        const state = readState(data);
        if (state !== undefined) {
          bits |= C.HAS_STATE;
          words[C.C_STATE] = state;
        }
        break;
      }
      case 7:
        bits |= C.HAS_TIMEOUT;
        words[C.C_TIMEOUT] = number(data, 4);
        break;
      case 8:
        bits |= C.HAS_MARK;
        words[C.C_MARK] = number(data, 4);
        break;
      case 9:
        readCounters(data, words, C.C_OPACKETS, C.C_OBYTES);
        bits |= C.HAS_COUNTERS;
        break;
      case 10:
        readCounters(data, words, C.C_RPACKETS, C.C_RBYTES);
        bits |= C.HAS_COUNTERS;
        break;
      case 12:
        bits |= C.HAS_ID;
        words[C.C_ID] = number(data, 4);
        break;
      case 18:
        words[C.C_ZONE] = number(data, 2);
        break;
      case 20:
        for (const { type: which, data: time } of attributes(data)) {
          if (which === 1 && moment(long(time), words, C.C_START_SEC)) bits |= C.HAS_START;
          if (which === 2 && moment(long(time), words, C.C_STOP_SEC)) bits |= C.HAS_STOP;
        }
        break;
      case 27:
        if (moment(long(data), words, C.C_SEC)) bits |= C.IS_KERNEL_TIME;
        break;
      default:
    }
  }
  if (words[C.C_FAMILY] === 0) throw new Damaged();
  words[C.C_BITS] = bits;
  return words;
}

/** Seconds and nanoseconds; false, and nothing is written, if it is none that a row can hold. */
function moment(nanoseconds: bigint, words: Uint32Array, at: number): boolean {
  const seconds = nanoseconds / 1_000_000_000n;
  if (seconds === 0n || seconds > 0xffff_ffffn) return false;
  words[at] = Number(seconds);
  words[at + 1] = Number(nanoseconds % 1_000_000_000n);
  return true;
}

function readTuple(tuple: DataView, words: Uint32Array, to: number, zone: number): void {
  let family: 4 | 6 | undefined;
  let protocol: number | undefined;
  for (const { type, data } of attributes(tuple)) {
    if (type === 1) family = orNothing(() => readAddresses(data, words, to));
    if (type === 2) protocol = orNothing(() => readPorts(data, words, to));
    if (type === 3) words[zone] = number(data, 2);
  }
  if (protocol === 0) throw new Skipped();
  if (family === undefined || protocol === undefined) throw new Damaged();
  words[C.C_FAMILY] = family;
  words[C.C_PROTOCOL] = protocol;
}

function orNothing<T>(read: () => T | undefined): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof Damaged) return undefined;
    throw error;
  }
}

function readAddresses(all: DataView, words: Uint32Array, to: number): 4 | 6 | undefined {
  const seen = new Set<number>();
  for (const { type, data } of attributes(all)) {
    if (type < 1 || type > 4) continue;
    const at = to + (type % 2 === 1 ? 0 : 4);
    if (type <= 2) words.set([0, 0, 0xffff, number(data, 4)], at);
    else {
      long(data);
      if (data.byteLength < 16) throw new Damaged();
      words.set(
        [0, 4, 8, 12].map((word) => data.getUint32(word)),
        at,
      );
    }
    seen.add(type);
  }
  const told = [...seen].sort().join();
  return told === '1,2' ? 4 : told === '3,4' ? 6 : undefined;
}

/** The protocol's number, 0 for one that nobody follows, `undefined` if something is missing. */
function readPorts(all: DataView, words: Uint32Array, to: number): number | undefined {
  let protocol: number | undefined;
  const seen = new Set<number>();
  for (const { type, data } of attributes(all)) {
    if (type === 1) protocol = number(data, 1);
    if (type !== 2 && type !== 3) continue;
    words[to + (type === 2 ? 8 : 9)] = number(data, 2);
    seen.add(type);
  }
  if (protocol === undefined) return undefined;
  if (![6, 17, 132].includes(protocol)) return 0;
  return seen.size === 2 ? protocol : undefined;
}

/** TCP's, the first that is told. */
function readState(info: DataView): number | undefined {
  for (const { type, data } of attributes(info)) {
    if (type !== 1) continue;
    for (const inner of attributes(data)) if (inner.type === 1) return number(inner.data, 1);
  }
  return undefined;
}

function readCounters(all: DataView, words: Uint32Array, packets: number, bytes: number): void {
  for (const { type, data } of attributes(all)) {
    if (type !== 1 && type !== 2) continue;
    const value = long(data);
    const at = type === 1 ? packets : bytes;
    words[at] = Number(value & 0xffff_ffffn);
    words[at + 1] = Number(value >> 32n);
  }
}
