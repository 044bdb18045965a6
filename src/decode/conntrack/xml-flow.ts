import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_ID,
  C_LATENESS,
  C_MARK,
  C_OBYTES,
  C_ODPORT,
  C_ODST,
  C_OPACKETS,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RBYTES,
  C_RDPORT,
  C_RESOLUTION,
  C_RPACKETS,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  C_START_SEC,
  C_STATE,
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
  IS_UNREPLIED,
  IS_USERSPACE,
} from '../../model/conntrack.js';
import type { ConntrackRows } from '../../model/conntrack-rows.js';
import { SCTP, TCP, UDP } from '../../model/packet.js';
import { NANOS_PER_SECOND, type OffsetAt, utcSeconds } from '../../model/time.js';
import { EVENT_LATENESS_NS } from './lateness.js';
import {
  ascii,
  readAddress,
  readCounter,
  readNanos,
  readNumber,
  readTcpState,
  startsAt,
} from './scan.js';

/**
 * `<when>` is made by time(3), which reads the kernel's coarse clock: it may lag by one tick, 10 ms at
 * 100 Hz, so in the first moments of a second it still tells the second before (seen in the recordings).
 */
const WHEN_RESOLUTION_NS = NANOS_PER_SECOND + 10_000_000;

/** What became of a `<flow>`: a row; read and left out (another protocol); unreadable; its end is not here yet. */
export const FLOW_TAKEN = 1;
export const FLOW_OTHER_PROTOCOL = 2;
export const FLOW_DAMAGED = 3;
export const FLOW_INCOMPLETE = 4;

const LT = 0x3c;
const GT = 0x3e;
const SLASH = 0x2f;
const EQUALS = 0x3d;
const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const BANG = 0x21;
const QUESTION = 0x3f;
const BRACKET = 0x5b;
const LINE_FEED = 0x0a;
const SPACE = 0x20;

/** Forms of a tag. NONE: no tag could be read, `failure` says whether for want of bytes. */
const NONE = 0;
const OPEN = 1;
const EMPTY = 2;
const CLOSE = 3;

/**
 * Elements inside one that is not known are followed this deep. conntrack-tools nests two deep
 * (`<labels><label>`).
 */
const MAX_DEPTH = 16;
/** `[USERSPACE] portid=4294967295 progname=`, a process name (TASK_COMM_LEN, 16) and the line feed. */
const MAX_SUFFIX_BYTES = 56;

/** A `<when>` takes 128 bytes; longer ones are read, but not remembered. */
const MAX_WHEN_BYTES = 256;

const COMMENT_END = ascii('-->');
const COMMENT = ascii('<!--');
const USERSPACE = ascii('[USERSPACE]');

/**
 * Names are compared by a hash, a number to the base 33 in 32 bits: no two names of the format collide,
 * nor do other short names of small letters; who makes up a name that does could have written the real one.
 */
const hashStep = (hash: number, c: number): number => ((hash << 5) + hash + c) | 0;
const nameHash = (name: string): number => ascii(name).reduce(hashStep, 0);

const FLOW = nameHash('flow');
const META = nameHash('meta');
const LAYER3 = nameHash('layer3');
const LAYER4 = nameHash('layer4');
const SRC = nameHash('src');
const DST = nameHash('dst');
const SPORT = nameHash('sport');
const DPORT = nameHash('dport');
const COUNTERS = nameHash('counters');
const PACKETS = nameHash('packets');
const BYTES = nameHash('bytes');
const STATE = nameHash('state');
const TIMEOUT = nameHash('timeout');
const MARK = nameHash('mark');
const ZONE = nameHash('zone');
const ID = nameHash('id');
const ASSURED = nameHash('assured');
const UNREPLIED = nameHash('unreplied');
const TIMESTAMP = nameHash('timestamp');
const START = nameHash('start');
const STOP = nameHash('stop');
const WHEN = nameHash('when');
const HOUR = nameHash('hour');
const MIN = nameHash('min');
const SEC = nameHash('sec');
const DAY = nameHash('day');
const MONTH = nameHash('month');
const YEAR = nameHash('year');
const TYPE = nameHash('type');
const DIRECTION = nameHash('direction');
const PROTONUM = nameHash('protonum');
const NEW = nameHash('new');
const UPDATE = nameHash('update');
const DESTROY = nameHash('destroy');
const ORIGINAL = nameHash('original');
const REPLY = nameHash('reply');
const INDEPENDENT = nameHash('independent');

/** Parts of a tuple that were seen; those of the reply shifted by REPLY_SHIFT. */
const SEEN_SRC = 1;
const SEEN_DST = 2;
const SEEN_PORTS = 4 | 8;
const SEEN_SPORT = 4;
const SEEN_DPORT = 8;
const REPLY_SHIFT = 4;
const SEEN_REPLY = 1 << 8;

/** Parts of `<when>`. */
const WHEN_COMPLETE = 63;

/**
 * Reads one `<flow>` of conntrack's XML (conntrack-tools 1.4.7, libnetfilter_conntrack snprintf_xml.c)
 * from bytes into a row. Elements may come in any order and with blanks between them; what is not known
 * is skipped with all that it holds; nesting must be right.
 */
export class XmlFlowScanner {
  /** Why the last flow was damaged. */
  failure = '';
  /** Where the last flow that could be read ended, with what belongs to it. */
  end = 0;

  private readonly offsetAt: OffsetAt;
  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;
  private limit = 0;
  private final = false;
  /** Of the last tag: its name, and the value of its attribute of interest. */
  private name = 0;
  private nameFrom = 0;
  private nameTo = 0;
  private valueFrom = -1;
  private valueTo = -1;
  /** Of the last leaf: its text without blanks around it. */
  private textFrom = 0;
  private textTo = 0;
  /** Of the flow at hand. */
  private words: Uint32Array = new Uint32Array(0);
  private row = 0;
  private bits = 0;
  private seen = 0;
  private family = 0;
  private protocol = 0;
  private state = -1;
  private readonly depths = new Int32Array(MAX_DEPTH);
  /** The last `<when>` from behind its tag to its end, and its second: events come many a second. */
  private readonly lastWhen = new Uint8Array(MAX_WHEN_BYTES);
  private lastWhenLength = 0;
  private lastWhenSeconds = 0;

  /** `offsetAt`: what the clock of `<when>` was ahead of UTC. */
  constructor(offsetAt: OffsetAt) {
    this.offsetAt = offsetAt;
  }

  /**
   * Reads the flow whose `<flow` stands at `from`, within bytes[from, limit). `final`: nothing comes
   * after these bytes. One of the FLOW_ results; with FLOW_TAKEN the row is the last of `rows`.
   */
  read(
    bytes: Uint8Array,
    from: number,
    limit: number,
    final: boolean,
    rows: ConntrackRows,
  ): number {
    this.bytes = bytes;
    this.at = from;
    this.limit = limit;
    this.final = final;
    this.failure = '';
    this.bits = HAS_STATUS;
    this.seen = 0;
    this.family = 0;
    this.protocol = 0;
    this.state = -1;
    this.row = rows.add();
    this.words = rows.words;
    if (this.readFlow() && this.finish()) return FLOW_TAKEN;
    rows.length--;
    if (this.failure !== '') return FLOW_DAMAGED;
    return this.end > from ? FLOW_OTHER_PROTOCOL : FLOW_INCOMPLETE;
  }

  private readFlow(): boolean {
    this.end = 0;
    const form = this.tag();
    if (form === NONE) return false;
    if (form === EMPTY) return this.fail('it is empty');
    if (!this.readType()) return false;
    for (;;) {
      switch (this.tag()) {
        case NONE:
          return false;
        case CLOSE:
          return (this.name === FLOW || this.mismatch()) && this.suffix();
        case OPEN:
          if (this.name === META) {
            if (!this.readMeta()) return false;
          } else if (this.name === WHEN) {
            if (!this.readWhen()) return false;
          } else if (!this.skip()) {
            return false;
          }
          break;
        default:
      }
    }
  }

  private readType(): boolean {
    if (this.valueFrom < 0) {
      this.words[this.row + C_EVENT] = EVENT_LISTED;
      return true;
    }
    const type = this.valueHash();
    let event = 0;
    if (type === NEW) event = EVENT_NEW;
    else if (type === UPDATE) event = EVENT_UPDATE;
    else if (type === DESTROY) event = EVENT_DESTROY;
    else return this.fail('its type is not known');
    this.words[this.row + C_EVENT] = event;
    return true;
  }

  private readMeta(): boolean {
    const direction = this.valueFrom < 0 ? 0 : this.valueHash();
    if (direction === ORIGINAL) return this.readDirection(0, 0, C_ZONE_ORIGINAL);
    if (direction === REPLY) {
      this.seen |= SEEN_REPLY;
      return this.readDirection(C_RSRC - C_OSRC, REPLY_SHIFT, C_ZONE_REPLY);
    }
    if (direction === INDEPENDENT) return this.readIndependent();
    this.name = META;
    return this.skip();
  }

  /** `shift`: words from the original tuple's fields to those of this direction. */
  private readDirection(shift: number, seenShift: number, zone: number): boolean {
    for (;;) {
      switch (this.tag()) {
        case NONE:
          return false;
        case CLOSE:
          return this.name === META || this.mismatch();
        case OPEN:
          if (this.name === LAYER3) {
            if (!this.readLayer3(shift, seenShift)) return false;
          } else if (this.name === LAYER4) {
            if (!this.readLayer4(shift, seenShift)) return false;
          } else if (this.name === COUNTERS) {
            if (!this.readCounters(shift)) return false;
          } else if (this.name === ZONE) {
            if (!this.number(zone, 0xffff)) return false;
          } else if (!this.skip()) {
            return false;
          }
          break;
        default: // An empty layer4 (`<layer4 …/>`) still names its protocol.
          if (this.name === LAYER4 && shift === 0 && !this.readProtocol()) return false;
      }
    }
  }

  private readLayer3(shift: number, seenShift: number): boolean {
    for (;;) {
      switch (this.tag()) {
        case NONE:
          return false;
        case CLOSE:
          return this.name === LAYER3 || this.mismatch();
        case OPEN:
          if (this.name === SRC) {
            if (!this.address(C_OSRC + shift)) return false;
            this.seen |= SEEN_SRC << seenShift;
          } else if (this.name === DST) {
            if (!this.address(C_ODST + shift)) return false;
            this.seen |= SEEN_DST << seenShift;
          } else if (!this.skip()) {
            return false;
          }
          break;
        default:
      }
    }
  }

  private readLayer4(shift: number, seenShift: number): boolean {
    if (shift === 0 && !this.readProtocol()) return false;
    for (;;) {
      switch (this.tag()) {
        case NONE:
          return false;
        case CLOSE:
          return this.name === LAYER4 || this.mismatch();
        case OPEN:
          if (this.name === SPORT) {
            if (!this.number(C_OSPORT + (shift === 0 ? 0 : C_RSPORT - C_OSPORT), 0xffff))
              return false;
            this.seen |= SEEN_SPORT << seenShift;
          } else if (this.name === DPORT) {
            if (!this.number(C_ODPORT + (shift === 0 ? 0 : C_RDPORT - C_ODPORT), 0xffff))
              return false;
            this.seen |= SEEN_DPORT << seenShift;
          } else if (!this.skip()) {
            return false;
          }
          break;
        default:
      }
    }
  }

  private readProtocol(): boolean {
    const protocol = readNumber(this.bytes, this.valueFrom, this.valueTo, 255);
    if (protocol < 0) return this.fail('its layer4 names no protocol');
    this.protocol = protocol;
    return true;
  }

  private readCounters(shift: number): boolean {
    for (;;) {
      switch (this.tag()) {
        case NONE:
          return false;
        case CLOSE:
          return this.name === COUNTERS || this.mismatch();
        case OPEN:
          if (this.name === PACKETS) {
            if (!this.counter(shift === 0 ? C_OPACKETS : C_RPACKETS)) return false;
          } else if (this.name === BYTES) {
            if (!this.counter(shift === 0 ? C_OBYTES : C_RBYTES)) return false;
          } else if (!this.skip()) {
            return false;
          }
          break;
        default:
      }
    }
  }

  private readIndependent(): boolean {
    for (;;) {
      const form = this.tag();
      if (form === NONE) return false;
      if (form === CLOSE) return this.name === META || this.mismatch();
      if (this.name === ASSURED) this.bits |= IS_ASSURED;
      else if (this.name === UNREPLIED) this.bits |= IS_UNREPLIED;
      if (form === OPEN && !this.readIndependentField()) return false;
    }
  }

  private readIndependentField(): boolean {
    switch (this.name) {
      case STATE:
        if (!this.leaf()) return false;
        this.state = readTcpState(this.bytes, this.textFrom, this.textTo);
        return true;
      case TIMEOUT:
        this.bits |= HAS_TIMEOUT;
        return this.number(C_TIMEOUT, 0xffffffff);
      case MARK:
        this.bits |= HAS_MARK;
        return this.number(C_MARK, 0xffffffff);
      case ZONE:
        return this.number(C_ZONE, 0xffff);
      case ID:
        this.bits |= HAS_ID;
        return this.number(C_ID, 0xffffffff);
      case TIMESTAMP:
        return this.readTimestamp();
      default:
        return this.skip();
    }
  }

  private readTimestamp(): boolean {
    for (;;) {
      switch (this.tag()) {
        case NONE:
          return false;
        case CLOSE:
          return this.name === TIMESTAMP || this.mismatch();
        case OPEN:
          if (this.name === START) {
            if (!this.nanos(C_START_SEC)) return false;
            this.bits |= HAS_START;
          } else if (this.name === STOP) {
            if (!this.nanos(C_STOP_SEC)) return false;
            this.bits |= HAS_STOP;
          } else if (!this.skip()) {
            return false;
          }
          break;
        default:
      }
    }
  }

  /** The printing program's local time in whole seconds, without its zone. */
  private readWhen(): boolean {
    if (startsWith(this.bytes, this.at, this.limit, this.lastWhen, this.lastWhenLength)) {
      this.at += this.lastWhenLength;
      this.setTime(this.lastWhenSeconds);
      return true;
    }
    const from = this.at;
    let told = 0;
    let hour = 0;
    let minute = 0;
    let second = 0;
    let day = 0;
    let month = 0;
    let year = 0;
    for (;;) {
      const form = this.tag();
      if (form === NONE) return false;
      if (form === CLOSE) break;
      if (form === EMPTY) continue;
      const name = this.name;
      if (name === HOUR) hour = this.part(23);
      else if (name === MIN) minute = this.part(59);
      // 60 is a leap second.
      else if (name === SEC) second = this.part(60);
      else if (name === DAY) day = this.part(31);
      else if (name === MONTH) month = this.part(12);
      else if (name === YEAR) year = this.part(9999);
      else if (!this.skip()) return false;
      else continue;
      if (hour < 0 || minute < 0 || second < 0 || day < 0 || month < 0 || year < 0) return false;
      told |= partBit(name);
    }
    if (this.name !== WHEN) return this.mismatch();
    if (told !== WHEN_COMPLETE || day === 0 || month === 0) return this.fail('its time is no time');
    const local = utcSeconds(year, month, day, hour, minute, second);
    const seconds = local - this.offsetAt(local);
    if (seconds < 0 || seconds > 0xffffffff) return this.fail('its time is no time');
    this.setTime(seconds);
    if (this.at - from <= MAX_WHEN_BYTES) {
      this.lastWhen.set(this.bytes.subarray(from, this.at));
      this.lastWhenLength = this.at - from;
      this.lastWhenSeconds = seconds;
    }
    return true;
  }

  private setTime(seconds: number): void {
    this.words[this.row + C_SEC] = seconds;
    this.words[this.row + C_RESOLUTION] = WHEN_RESOLUTION_NS;
    this.words[this.row + C_LATENESS] = EVENT_LATENESS_NS;
    this.bits |= HAS_TIME;
  }

  /** A number of `<when>`; -1 if it is none. */
  private part(most: number): number {
    if (!this.leaf()) return -1;
    const value = readNumber(this.bytes, this.textFrom, this.textTo, most);
    if (value < 0) this.fail('its time is no time');
    return value;
  }

  /**
   * ` [USERSPACE] portid=1 progname=x` may follow on the line: raw text, in which the name may hold
   * anything, `<` too. The flow is only whole once the byte that decides it is here.
   */
  private suffix(): boolean {
    const { bytes, limit } = this;
    let at = this.at;
    while (at < limit && isBlank(bytes[at] ?? 0) && bytes[at] !== LINE_FEED) at++;
    if (at === limit && !this.final) return false;
    if (at < limit && bytes[at] === BRACKET) {
      const most = Math.min(limit, at + MAX_SUFFIX_BYTES);
      let stop = at;
      while (stop < most && bytes[stop] !== LINE_FEED) stop++;
      if (stop === limit && !this.final) return false;
      if (startsAt(bytes, at, stop, USERSPACE)) {
        this.bits |= IS_USERSPACE;
        // Without a line feed where there must be one, what follows may be the next element.
        if (stop < most) at = stop;
      }
    }
    this.end = at;
    return true;
  }

  /** What can only be judged once the whole flow was read. */
  private finish(): boolean {
    const { words, row, protocol } = this;
    if (protocol !== TCP && protocol !== UDP && protocol !== SCTP) {
      if (protocol === 0 && (this.seen & SEEN_SRC) === 0) return this.fail('it has no tuple');
      return false;
    }
    const tuple = SEEN_SRC | SEEN_DST | SEEN_PORTS;
    if ((this.seen & tuple) !== tuple) return this.fail('its original tuple is not complete');
    if ((this.seen & SEEN_REPLY) !== 0) {
      if (((this.seen >>> REPLY_SHIFT) & tuple) !== tuple) {
        return this.fail('its reply tuple is not complete');
      }
      this.bits |= HAS_REPLY;
    }
    // SCTP's and DCCP's states are printed with TCP's names, and are then wrong.
    if (protocol === TCP && this.state >= 0) {
      this.bits |= HAS_STATE;
      words[row + C_STATE] = this.state;
    }
    words[row + C_FAMILY] = this.family;
    words[row + C_PROTOCOL] = protocol;
    words[row + C_BITS] = this.bits;
    return true;
  }

  private number(field: number, most: number): boolean {
    if (!this.leaf()) return false;
    const value = readNumber(this.bytes, this.textFrom, this.textTo, most);
    if (value < 0) return this.fail('a number is none');
    this.words[this.row + field] = value;
    return true;
  }

  private counter(field: number): boolean {
    if (!this.leaf()) return false;
    this.bits |= HAS_COUNTERS;
    const { bytes, textFrom, textTo, words, row } = this;
    return (
      readCounter(bytes, textFrom, textTo, words, row + field) || this.fail('a counter is none')
    );
  }

  private nanos(field: number): boolean {
    if (!this.leaf()) return false;
    const { bytes, textFrom, textTo, words, row } = this;
    return readNanos(bytes, textFrom, textTo, words, row + field) || this.fail('a time is none');
  }

  private address(field: number): boolean {
    if (!this.leaf()) return false;
    const { bytes, textFrom, textTo, words, row } = this;
    const family = readAddress(bytes, textFrom, textTo, words, row + field);
    if (family === 0) return this.fail('an address is none');
    if (this.family !== 0 && this.family !== family) return this.fail('its addresses do not match');
    this.family = family;
    return true;
  }

  /** The text of the element just opened, up to its end; text only. */
  private leaf(): boolean {
    const { bytes, limit, name, nameFrom, nameTo } = this;
    let from = this.at;
    let to = from;
    while (to < limit && bytes[to] !== LT) to++;
    if (to === limit) return false;
    const textEnd = to;
    while (from < to && isBlank(bytes[from] ?? 0)) from++;
    while (from < to && isBlank(bytes[to - 1] ?? 0)) to--;
    this.textFrom = from;
    this.textTo = to;
    // The closing tag as it is always written, else whatever there is.
    let at = textEnd + 1;
    if (limit - at > nameTo - nameFrom + 1 && bytes[at] === SLASH) {
      let i = nameFrom;
      for (at++; i < nameTo && bytes[at] === bytes[i]; i++) at++;
      if (i === nameTo && bytes[at] === GT) {
        this.at = at + 1;
        return true;
      }
    }
    this.at = textEnd;
    const form = this.tag();
    if (form === NONE) return false;
    return (form === CLOSE && this.name === name) || this.mismatch();
  }

  /** Skips the rest of the element just opened. */
  private skip(): boolean {
    const { depths } = this;
    let depth = 0;
    depths[0] = this.name;
    for (;;) {
      const form = this.tag();
      if (form === NONE) return false;
      if (form === OPEN) {
        if (++depth === MAX_DEPTH) return this.fail('its elements are nested too deep');
        depths[depth] = this.name;
      } else if (form === CLOSE) {
        if (depths[depth] !== this.name) return this.mismatch();
        if (depth-- === 0) return true;
      }
    }
  }

  /** Reads the next tag, whatever text stands before it; its form, or NONE. */
  private tag(): number {
    const { bytes, limit } = this;
    let at = this.at;
    for (;;) {
      while (at < limit && bytes[at] !== LT) at++;
      if (limit - at < 2) return NONE;
      const c = bytes[at + 1];
      if (c === BANG || c === QUESTION) {
        at = this.afterRemark(at);
        if (at < 0) return NONE;
      } else {
        break;
      }
    }
    at++;
    const closing = bytes[at] === SLASH;
    if (closing) at++;
    const nameFrom = at;
    let hash = 0;
    let c = 0;
    for (; at < limit; at++) {
      c = bytes[at] ?? 0;
      if (!isNamePart(c)) break;
      hash = hashStep(hash, c);
    }
    if (at === limit) return NONE;
    if (at === nameFrom) return this.broken();
    this.name = hash;
    this.nameFrom = nameFrom;
    this.nameTo = at;
    this.valueFrom = -1;
    if (closing) {
      while (at < limit && isBlank(bytes[at] ?? 0)) at++;
      if (at === limit) return NONE;
      if (bytes[at] !== GT) return this.broken();
      this.at = at + 1;
      return CLOSE;
    }
    if (hash === FLOW && this.words[this.row + C_EVENT] !== 0) {
      this.fail('another begins before its end');
      return NONE;
    }
    if (c !== GT) return this.attributes(at);
    this.at = at + 1;
    return OPEN;
  }

  /** The attributes of a tag, from behind its name to its end. */
  private attributes(start: number): number {
    const { bytes, limit, name } = this;
    const wanted = name === FLOW ? TYPE : name === META ? DIRECTION : PROTONUM;
    let at = start;
    for (;;) {
      while (at < limit && isBlank(bytes[at] ?? 0)) at++;
      if (limit - at < 2) return at < limit && bytes[at] === GT ? this.opened(at) : NONE;
      if (bytes[at] === GT) return this.opened(at);
      if (bytes[at] === SLASH) {
        if (bytes[at + 1] !== GT) return this.broken();
        this.at = at + 2;
        return EMPTY;
      }
      let hash = 0;
      const nameFrom = at;
      for (; at < limit; at++) {
        const c = bytes[at] ?? 0;
        if (!isNamePart(c)) break;
        hash = hashStep(hash, c);
      }
      const nameTo = at;
      while (at < limit && isBlank(bytes[at] ?? 0)) at++;
      if (at === limit) return NONE;
      if (nameTo === nameFrom || bytes[at] !== EQUALS) return this.broken();
      at++;
      while (at < limit && isBlank(bytes[at] ?? 0)) at++;
      if (at === limit) return NONE;
      const quote = bytes[at];
      if (quote !== QUOTE && quote !== APOSTROPHE) return this.broken();
      const from = at + 1;
      at = from;
      while (at < limit && bytes[at] !== quote && bytes[at] !== LT) at++;
      if (at === limit) return NONE;
      if (bytes[at] === LT) return this.broken();
      if (hash === wanted) {
        this.valueFrom = from;
        this.valueTo = at;
      }
      at++;
    }
  }

  private opened(at: number): number {
    this.at = at + 1;
    return OPEN;
  }

  /** Behind a comment or processing instruction at `at`; -1 if it does not end here. */
  private afterRemark(at: number): number {
    const { bytes, limit } = this;
    if (bytes[at + 1] === QUESTION) {
      for (let i = at + 2; i + 1 < limit; i++) {
        if (bytes[i] === QUESTION && bytes[i + 1] === GT) return i + 2;
      }
      return -1;
    }
    if (limit - at < COMMENT.length) return -1;
    if (!startsAt(bytes, at, limit, COMMENT)) {
      this.broken();
      return -1;
    }
    for (let i = at + COMMENT.length; i + 2 < limit; i++) {
      if (startsAt(bytes, i, limit, COMMENT_END)) return i + COMMENT_END.length;
    }
    return -1;
  }

  private valueHash(): number {
    let hash = 0;
    for (let i = this.valueFrom; i < this.valueTo; i++) hash = hashStep(hash, this.bytes[i] ?? 0);
    return hash;
  }

  private fail(why: string): false {
    this.failure = why;
    return false;
  }

  private mismatch(): false {
    return this.fail('its elements do not close in order');
  }

  private broken(): typeof NONE {
    this.failure = 'a tag is broken';
    return NONE;
  }
}

/** Whether the first `count` bytes of `text`, at least one, stand at `at`. */
function startsWith(
  bytes: Uint8Array,
  at: number,
  limit: number,
  text: Uint8Array,
  count: number,
): boolean {
  if (count === 0 || limit - at < count) return false;
  for (let i = 0; i < count; i++) if (bytes[at + i] !== text[i]) return false;
  return true;
}

/** Letters, digits and `-.:_`, and whatever lies above ASCII; a name ends before all else. */
const isNamePart = (c: number): boolean => c > QUESTION || (c >= 0x2d && c <= 0x3a && c !== SLASH);

const isBlank = (c: number): boolean => c === SPACE || (c >= 9 && c <= 13);

function partBit(name: number): number {
  if (name === HOUR) return 1;
  if (name === MIN) return 2;
  if (name === SEC) return 4;
  if (name === DAY) return 8;
  return name === MONTH ? 16 : 32;
}
