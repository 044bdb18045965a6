import { MAPPED } from '../../model/address.js';
import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_ID,
  C_LATENESS,
  C_MARK,
  C_NSEC,
  C_OBYTES,
  C_OPACKETS,
  C_OSRC,
  C_PROTOCOL,
  C_RBYTES,
  C_RESOLUTION,
  C_RPACKETS,
  C_RSRC,
  C_SEC,
  C_START_NSEC,
  C_START_SEC,
  C_STATE,
  C_STOP_NSEC,
  C_STOP_SEC,
  C_TIMEOUT,
  C_ZONE,
  C_ZONE_ORIGINAL,
  C_ZONE_REPLY,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
  EVENT_UPDATE,
  HAS_COUNTERS,
  HAS_ID,
  HAS_MARK,
  HAS_REPLY,
  HAS_START,
  HAS_STATE,
  HAS_STATUS,
  HAS_STOP,
  HAS_TIME,
  HAS_TIMEOUT,
  IS_ASSURED,
  IS_KERNEL_TIME,
  IS_UNREPLIED,
  IS_USERSPACE,
} from '../../model/conntrack.js';
import type { ConntrackRows } from '../../model/conntrack-rows.js';
import { SCTP, TCP, UDP } from '../../model/packet.js';
import type { Problem } from '../../model/problem.js';
import { NANOS_PER_SECOND } from '../../model/time.js';
import { EVENT_LATENESS_NS } from './lateness.js';

/** What a run of ctnetlink messages said besides its entries. */
export interface ConntrackMessages {
  /** NLMSG_DONE was seen: the dump is complete. */
  readonly done: boolean;
  /** errno (positive) of an NLMSG_ERROR or of a dump that ended badly; 0 for none or an acknowledgement. */
  readonly error: number;
  /** NLM_F_DUMP_INTR was seen: the table changed under the dump, which may lack or repeat entries. */
  readonly interrupted: boolean;
  /** At most one: the first damage, with the number of messages that it and its like cost. */
  readonly problems: readonly Problem[];
}

// include/uapi/linux/netlink.h
const NLMSG_HEADER = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_REQUEST = 0x001;
const NLM_F_DUMP_INTR = 0x010;
const NLM_F_DUMP = 0x300;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;
const NLA_HEADER = 4;
/** Without the bits NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff;

// include/uapi/linux/netfilter/nfnetlink.h: family, version, resource id.
const NFGENMSG = 4;
const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_NEW = (NFNL_SUBSYS_CTNETLINK << 8) | 0;
const IPCTNL_MSG_CT_GET = (NFNL_SUBSYS_CTNETLINK << 8) | 1;
const IPCTNL_MSG_CT_DELETE = (NFNL_SUBSYS_CTNETLINK << 8) | 2;

// include/uapi/linux/netfilter/nfnetlink_conntrack.h
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_STATUS = 3;
const CTA_PROTOINFO = 4;
const CTA_TIMEOUT = 7;
const CTA_MARK = 8;
const CTA_COUNTERS_ORIG = 9;
const CTA_COUNTERS_REPLY = 10;
const CTA_ID = 12;
const CTA_ZONE = 18;
const CTA_TIMESTAMP = 20;
/** Not in older headers; Linux 6.18 sends it while nf_conntrack_timestamp is on: a plain u64, when the event arose. */
const CTA_TIMESTAMP_EVENT = 27;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_TUPLE_ZONE = 3;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_SRC_PORT = 2;
const CTA_PROTO_DST_PORT = 3;
const CTA_PROTOINFO_TCP = 1;
const CTA_PROTOINFO_TCP_STATE = 1;
const CTA_COUNTERS_PACKETS = 1;
const CTA_COUNTERS_BYTES = 2;
const CTA_TIMESTAMP_START = 1;
const CTA_TIMESTAMP_STOP = 2;

// include/uapi/linux/netfilter/nf_conntrack_common.h
const IPS_SEEN_REPLY = 0x2;
const IPS_ASSURED = 0x4;

/** Headers of netlink are in the host's order; what stands inside CTA_ attributes is big endian. */
const HOST_LITTLE = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

// Fields of a tuple, counted from its source address; the same for both directions (see C_OSRC, C_RSRC).
const T_SRC = 0;
const T_DST = 4;
const T_SPORT = 8;
const T_DPORT = 9;

/** The message is damaged, or it is about a protocol that nobody here follows. */
const DAMAGED = -1;
const SKIPPED = 0;
const TAKEN = 1;

/** What nearly all datagrams say besides their entries. */
const NOTHING: ConntrackMessages = { done: false, error: 0, interrupted: false, problems: [] };

/**
 * Decodes the netlink messages in `view` from `at` to `end` and adds a row for each conntrack entry over TCP, UDP or
 * SCTP; other protocols and other subsystems are skipped. `receivedSec` and `receivedNsec` say when the
 * bytes were read. A message with a sequence number answers a dump and becomes EVENT_LISTED, true at the
 * time of reading; one without is an event, with the kernel's time where it gave one. Nothing is allocated for an event.
 */
export function decodeConntrackMessages(
  view: DataView,
  at: number,
  end: number,
  rows: ConntrackRows,
  receivedSec: number,
  receivedNsec: number,
): ConntrackMessages {
  const stop = Math.min(end, view.byteLength);
  let done = false;
  let error = 0;
  let interrupted = false;
  let lost = 0;
  let firstLost = 0;
  let next = at;
  for (let message = at; message < stop; message = next) {
    const length = message + NLMSG_HEADER <= stop ? view.getUint32(message, HOST_LITTLE) : 0;
    if (length < NLMSG_HEADER || length > stop - message) {
      // Without a length that can be trusted the next message cannot be found.
      if (lost++ === 0) firstLost = message;
      break;
    }
    next = message + align(length);
    const type = view.getUint16(message + 4, HOST_LITTLE);
    const sequence = view.getUint32(message + 8, HOST_LITTLE);
    const body = message + NLMSG_HEADER;
    const bodyEnd = message + length;
    if (sequence !== 0 && (view.getUint16(message + 6, HOST_LITTLE) & NLM_F_DUMP_INTR) !== 0) {
      interrupted = true;
    }
    if (type === NLMSG_DONE) {
      done = true;
      if (bodyEnd - body >= 4) error ||= errno(view.getInt32(body, HOST_LITTLE));
    } else if (type === NLMSG_ERROR) {
      if (bodyEnd - body >= 4) error ||= errno(view.getInt32(body, HOST_LITTLE));
      else if (lost++ === 0) firstLost = message;
    } else if (type === IPCTNL_MSG_CT_NEW || type === IPCTNL_MSG_CT_DELETE) {
      const row = rows.add();
      const taken = readEntry(view, body, bodyEnd, rows.words, row);
      if (taken === TAKEN) {
        finishRow(view, message, type, sequence, rows.words, row, receivedSec, receivedNsec);
      } else {
        rows.length--;
        if (taken === DAMAGED && lost++ === 0) firstLost = message;
      }
    }
  }
  if (!done && error === 0 && !interrupted && lost === 0) return NOTHING;
  return { done, error, interrupted, problems: lost === 0 ? [] : [damage(firstLost, lost)] };
}

/** The request for the whole table of one address family (2 AF_INET, 10 AF_INET6, 0 both). */
export function dumpRequest(family: number, seq: number): Uint8Array {
  const bytes = new Uint8Array(NLMSG_HEADER + NFGENMSG);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, HOST_LITTLE);
  view.setUint16(4, IPCTNL_MSG_CT_GET, HOST_LITTLE);
  view.setUint16(6, NLM_F_REQUEST | NLM_F_DUMP, HOST_LITTLE);
  view.setUint32(8, seq, HOST_LITTLE);
  view.setUint8(NLMSG_HEADER, family);
  return bytes;
}

/** The kernel sends errors negated; anything else (0 acknowledges) is none. */
const errno = (sent: number): number => (sent < 0 ? -sent : 0);

const align = (length: number): number => (length + 3) & ~3;

function damage(offset: number, lost: number): Problem {
  return {
    code: 'netlink-damaged',
    message: 'a conntrack message is cut short or its attributes do not fit',
    where: { offset },
    advice: 'conntrack messages were lost; if this repeats, use --conntrack events',
    fatal: false,
    lost,
  };
}

/** What follows from the header: which event it is and when it happened. */
function finishRow(
  view: DataView,
  message: number,
  type: number,
  sequence: number,
  words: Uint32Array,
  row: number,
  receivedSec: number,
  receivedNsec: number,
): void {
  let bits = (words[row + C_BITS] ?? 0) | HAS_TIME;
  if (sequence !== 0) {
    words[row + C_EVENT] = EVENT_LISTED;
  } else {
    const flags = view.getUint16(message + 6, HOST_LITTLE);
    if (type === IPCTNL_MSG_CT_DELETE) words[row + C_EVENT] = EVENT_DESTROY;
    else words[row + C_EVENT] = flags & (NLM_F_CREATE | NLM_F_EXCL) ? EVENT_NEW : EVENT_UPDATE;
    // An event carries the port id of the program that caused it, 0 for the kernel itself.
    if (view.getUint32(message + 12, HOST_LITTLE) !== 0) bits |= IS_USERSPACE;
  }
  words[row + C_RESOLUTION] = 1;
  if ((bits & IS_KERNEL_TIME) === 0 || sequence !== 0) {
    bits &= ~IS_KERNEL_TIME;
    words[row + C_SEC] = receivedSec;
    words[row + C_NSEC] = receivedNsec;
    words[row + C_LATENESS] = sequence === 0 ? EVENT_LATENESS_NS : 0;
  }
  words[row + C_BITS] = bits;
}

/** Reads the body of a message (nfgenmsg and attributes) into a row of zeros. */
function readEntry(
  view: DataView,
  body: number,
  end: number,
  words: Uint32Array,
  row: number,
): number {
  if (end - body < NFGENMSG) return DAMAGED;
  let bits = 0;
  let next = body + NFGENMSG;
  for (let at = next; at < end; at = next) {
    const length = attributeLength(view, at, end);
    if (length === 0) return DAMAGED;
    next = at + align(length);
    const data = at + NLA_HEADER;
    const dataEnd = at + length;
    const size = length - NLA_HEADER;
    switch (attributeType(view, at)) {
      case CTA_TUPLE_ORIG: {
        const taken = readTuple(view, data, dataEnd, words, row, C_OSRC, C_ZONE_ORIGINAL);
        if (taken !== TAKEN) return taken;
        break;
      }
      case CTA_TUPLE_REPLY: {
        const taken = readTuple(view, data, dataEnd, words, row, C_RSRC, C_ZONE_REPLY);
        if (taken !== TAKEN) return taken;
        bits |= HAS_REPLY;
        break;
      }
      case CTA_STATUS: {
        if (size < 4) return DAMAGED;
        const status = view.getUint32(data);
        bits |= HAS_STATUS;
        if (status & IPS_ASSURED) bits |= IS_ASSURED;
        if (!(status & IPS_SEEN_REPLY)) bits |= IS_UNREPLIED;
        break;
      }
      case CTA_PROTOINFO: {
        const state = readTcpState(view, data, dataEnd);
        if (state === DAMAGED) return DAMAGED;
        if (state !== NO_STATE) {
          bits |= HAS_STATE;
          words[row + C_STATE] = state;
        }
        break;
      }
      case CTA_TIMEOUT:
        if (size < 4) return DAMAGED;
        bits |= HAS_TIMEOUT;
        words[row + C_TIMEOUT] = view.getUint32(data);
        break;
      case CTA_MARK:
        if (size < 4) return DAMAGED;
        bits |= HAS_MARK;
        words[row + C_MARK] = view.getUint32(data);
        break;
      case CTA_ID:
        if (size < 4) return DAMAGED;
        bits |= HAS_ID;
        words[row + C_ID] = view.getUint32(data);
        break;
      case CTA_ZONE:
        if (size < 2) return DAMAGED;
        words[row + C_ZONE] = view.getUint16(data);
        break;
      case CTA_COUNTERS_ORIG:
        if (!readCounters(view, data, dataEnd, words, row + C_OPACKETS, row + C_OBYTES)) {
          return DAMAGED;
        }
        bits |= HAS_COUNTERS;
        break;
      case CTA_COUNTERS_REPLY:
        if (!readCounters(view, data, dataEnd, words, row + C_RPACKETS, row + C_RBYTES)) {
          return DAMAGED;
        }
        bits |= HAS_COUNTERS;
        break;
      case CTA_TIMESTAMP: {
        const told = readTimestamps(view, data, dataEnd, words, row);
        if (told === DAMAGED) return DAMAGED;
        bits |= told;
        break;
      }
      case CTA_TIMESTAMP_EVENT:
        if (size < 8) return DAMAGED;
        if (splitNanos(view, data, words, row + C_SEC, row + C_NSEC)) bits |= IS_KERNEL_TIME;
        break;
      default: // Later kernels may tell more; nothing else is needed.
    }
  }
  // The original tuple is what names a connection: an entry without it is of no use.
  if (words[row + C_FAMILY] === 0) return DAMAGED;
  words[row + C_BITS] = bits;
  return TAKEN;
}

/** Length of the attribute at `at` with its header; 0 if it does not fit before `end`. */
function attributeLength(view: DataView, at: number, end: number): number {
  if (end - at < NLA_HEADER) return 0;
  const length = view.getUint16(at, HOST_LITTLE);
  return length < NLA_HEADER || length > end - at ? 0 : length;
}

const attributeType = (view: DataView, at: number): number =>
  view.getUint16(at + 2, HOST_LITTLE) & NLA_TYPE_MASK;

function readTuple(
  view: DataView,
  start: number,
  end: number,
  words: Uint32Array,
  row: number,
  tuple: number,
  zone: number,
): number {
  const usual = readUsualTuple(view, start, end, words, row + tuple);
  if (usual !== 0) {
    words[row + C_FAMILY] = usual;
    words[row + C_PROTOCOL] = view.getUint8(usual === 4 ? start + 28 : start + 52);
    return TAKEN;
  }
  let family = 0;
  let protocol = DAMAGED;
  let next = start;
  for (let at = start; at < end; at = next) {
    const length = attributeLength(view, at, end);
    if (length === 0) return DAMAGED;
    next = at + align(length);
    switch (attributeType(view, at)) {
      case CTA_TUPLE_IP:
        family = readAddresses(view, at + NLA_HEADER, at + length, words, row + tuple);
        break;
      case CTA_TUPLE_PROTO:
        protocol = readPorts(view, at + NLA_HEADER, at + length, words, row + tuple);
        break;
      case CTA_TUPLE_ZONE:
        if (length < NLA_HEADER + 2) return DAMAGED;
        words[row + zone] = view.getUint16(at + NLA_HEADER);
        break;
      default:
    }
  }
  if (protocol === SKIPPED) return SKIPPED;
  if (family === 0 || protocol === DAMAGED) return DAMAGED;
  words[row + C_FAMILY] = family;
  words[row + C_PROTOCOL] = protocol;
  return TAKEN;
}

/** An attribute's header as one number, as a little-endian host has it. */
const header = (length: number, type: number): number => (type << 16) | length | 0;
const NLA_F_NESTED = 0x8000;
const V4_ADDRESSES = header(20, NLA_F_NESTED | CTA_TUPLE_IP);
const V4_SRC = header(8, CTA_IP_V4_SRC);
const V4_DST = header(8, CTA_IP_V4_DST);
const V6_ADDRESSES = header(44, NLA_F_NESTED | CTA_TUPLE_IP);
const V6_SRC = header(20, CTA_IP_V6_SRC);
const V6_DST = header(20, CTA_IP_V6_DST);
const PORTS = header(28, NLA_F_NESTED | CTA_TUPLE_PROTO);
const NUMBER = header(5, CTA_PROTO_NUM);
const SRC_PORT = header(6, CTA_PROTO_SRC_PORT);
const DST_PORT = header(6, CTA_PROTO_DST_PORT);

/**
 * A tuple in the form that kernels give it (ctnetlink_dump_tuples: both addresses, then number and ports,
 * padded to 4 bytes, and no zone): its family; 0 for any other form, and then nothing that counts was written.
 */
function readUsualTuple(
  view: DataView,
  start: number,
  end: number,
  words: Uint32Array,
  to: number,
): number {
  const length = end - start;
  if (length === 48) {
    if (
      view.getInt32(start, true) !== V4_ADDRESSES ||
      view.getInt32(start + 4, true) !== V4_SRC ||
      view.getInt32(start + 12, true) !== V4_DST ||
      !readUsualPorts(view, start + 20, words, to)
    ) {
      return 0;
    }
    writeV4(words, to + T_SRC, view.getInt32(start + 8));
    writeV4(words, to + T_DST, view.getInt32(start + 16));
    return 4;
  }
  if (
    length !== 72 ||
    view.getInt32(start, true) !== V6_ADDRESSES ||
    view.getInt32(start + 4, true) !== V6_SRC ||
    view.getInt32(start + 24, true) !== V6_DST ||
    !readUsualPorts(view, start + 44, words, to)
  ) {
    return 0;
  }
  for (let w = 0; w < 4; w++) {
    words[to + T_SRC + w] = view.getInt32(start + 8 + 4 * w);
    words[to + T_DST + w] = view.getInt32(start + 28 + 4 * w);
  }
  return 6;
}

/** All four words: there may be another address from an earlier tuple of a damaged message. */
function writeV4(words: Uint32Array, to: number, address: number): void {
  words[to] = 0;
  words[to + 1] = 0;
  words[to + 2] = MAPPED;
  words[to + 3] = address;
}

function readUsualPorts(view: DataView, at: number, words: Uint32Array, to: number): boolean {
  if (
    view.getInt32(at, true) !== PORTS ||
    view.getInt32(at + 4, true) !== NUMBER ||
    view.getInt32(at + 12, true) !== SRC_PORT ||
    view.getInt32(at + 20, true) !== DST_PORT
  ) {
    return false;
  }
  const protocol = view.getUint8(at + 8);
  if (protocol !== TCP && protocol !== UDP && protocol !== SCTP) return false;
  words[to + T_SPORT] = view.getUint16(at + 16);
  words[to + T_DPORT] = view.getUint16(at + 24);
  return true;
}

/** The family, 4 or 6; 0 unless both addresses of one family are there. */
function readAddresses(
  view: DataView,
  start: number,
  end: number,
  words: Uint32Array,
  tuple: number,
): number {
  let seen = 0;
  let next = start;
  for (let at = start; at < end; at = next) {
    const length = attributeLength(view, at, end);
    if (length === 0) return 0;
    next = at + align(length);
    const type = attributeType(view, at);
    const data = at + NLA_HEADER;
    const to = tuple + (type === CTA_IP_V4_SRC || type === CTA_IP_V6_SRC ? T_SRC : T_DST);
    if (type === CTA_IP_V4_SRC || type === CTA_IP_V4_DST) {
      if (length < NLA_HEADER + 4) return 0;
      writeV4(words, to, view.getInt32(data));
    } else if (type === CTA_IP_V6_SRC || type === CTA_IP_V6_DST) {
      if (length < NLA_HEADER + 16) return 0;
      for (let w = 0; w < 4; w++) words[to + w] = view.getUint32(data + 4 * w);
    } else {
      continue;
    }
    seen |= 1 << type;
  }
  if (seen === ((1 << CTA_IP_V4_SRC) | (1 << CTA_IP_V4_DST))) return 4;
  return seen === ((1 << CTA_IP_V6_SRC) | (1 << CTA_IP_V6_DST)) ? 6 : 0;
}

/** The protocol; SKIPPED if it is none that has ports here, DAMAGED without number or ports. */
function readPorts(
  view: DataView,
  start: number,
  end: number,
  words: Uint32Array,
  tuple: number,
): number {
  let protocol = DAMAGED;
  let seen = 0;
  let next = start;
  for (let at = start; at < end; at = next) {
    const length = attributeLength(view, at, end);
    if (length === 0) return DAMAGED;
    next = at + align(length);
    const type = attributeType(view, at);
    const data = at + NLA_HEADER;
    if (type === CTA_PROTO_NUM) {
      if (length < NLA_HEADER + 1) return DAMAGED;
      protocol = view.getUint8(data);
    } else if (type === CTA_PROTO_SRC_PORT || type === CTA_PROTO_DST_PORT) {
      if (length < NLA_HEADER + 2) return DAMAGED;
      words[tuple + (type === CTA_PROTO_SRC_PORT ? T_SPORT : T_DPORT)] = view.getUint16(data);
      seen |= 1 << type;
    }
  }
  if (protocol === DAMAGED) return DAMAGED;
  if (protocol !== TCP && protocol !== UDP && protocol !== SCTP) return SKIPPED;
  return seen === ((1 << CTA_PROTO_SRC_PORT) | (1 << CTA_PROTO_DST_PORT)) ? protocol : DAMAGED;
}

const NO_STATE = -2;

/** TCP's state number; NO_STATE for another protocol's information. */
function readTcpState(view: DataView, start: number, end: number): number {
  let next = start;
  for (let at = start; at < end; at = next) {
    const length = attributeLength(view, at, end);
    if (length === 0) return DAMAGED;
    next = at + align(length);
    if (attributeType(view, at) !== CTA_PROTOINFO_TCP) continue;
    let inner = at + NLA_HEADER;
    while (inner < at + length) {
      const innerLength = attributeLength(view, inner, at + length);
      if (innerLength === 0) return DAMAGED;
      if (attributeType(view, inner) === CTA_PROTOINFO_TCP_STATE) {
        return innerLength > NLA_HEADER ? view.getUint8(inner + NLA_HEADER) : DAMAGED;
      }
      inner += align(innerLength);
    }
  }
  return NO_STATE;
}

function readCounters(
  view: DataView,
  start: number,
  end: number,
  words: Uint32Array,
  packets: number,
  octets: number,
): boolean {
  let next = start;
  for (let at = start; at < end; at = next) {
    const length = attributeLength(view, at, end);
    if (length === 0) return false;
    next = at + align(length);
    const type = attributeType(view, at);
    if (type !== CTA_COUNTERS_PACKETS && type !== CTA_COUNTERS_BYTES) continue;
    if (length < NLA_HEADER + 8) return false;
    const to = type === CTA_COUNTERS_PACKETS ? packets : octets;
    words[to] = view.getUint32(at + NLA_HEADER + 4);
    words[to + 1] = view.getUint32(at + NLA_HEADER);
  }
  return true;
}

/** HAS_START and HAS_STOP as far as they were told, or DAMAGED. */
function readTimestamps(
  view: DataView,
  start: number,
  end: number,
  words: Uint32Array,
  row: number,
): number {
  let bits = 0;
  let next = start;
  for (let at = start; at < end; at = next) {
    const length = attributeLength(view, at, end);
    if (length === 0) return DAMAGED;
    next = at + align(length);
    const type = attributeType(view, at);
    if (type !== CTA_TIMESTAMP_START && type !== CTA_TIMESTAMP_STOP) continue;
    if (length < NLA_HEADER + 8) return DAMAGED;
    const data = at + NLA_HEADER;
    if (type === CTA_TIMESTAMP_START) {
      if (splitNanos(view, data, words, row + C_START_SEC, row + C_START_NSEC)) bits |= HAS_START;
    } else if (splitNanos(view, data, words, row + C_STOP_SEC, row + C_STOP_NSEC)) {
      bits |= HAS_STOP;
    }
  }
  return bits;
}

/**
 * Splits a big-endian u64 of nanoseconds into seconds and the rest, by long division in digits of 16
 * bits (each step stays below 2^53). false, and nothing written, for 0 or seconds beyond 32 bits.
 */
function splitNanos(
  view: DataView,
  at: number,
  words: Uint32Array,
  secondsAt: number,
  restAt: number,
): boolean {
  let seconds = 0;
  let rest = 0;
  for (let digit = 0; digit < 8; digit += 2) {
    const part = rest * 0x10000 + view.getUint16(at + digit);
    const quotient = Math.floor(part / NANOS_PER_SECOND);
    seconds = seconds * 0x10000 + quotient;
    rest = part - quotient * NANOS_PER_SECOND;
  }
  if (seconds === 0 || seconds > 0xffffffff) return false;
  words[secondsAt] = seconds;
  words[restAt] = rest;
  return true;
}
