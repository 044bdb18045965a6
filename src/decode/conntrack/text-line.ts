import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_ID,
  C_LATENESS,
  C_MARK,
  C_NSEC,
  C_OBYTES,
  C_ODST,
  C_OPACKETS,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RBYTES,
  C_RESOLUTION,
  C_RPACKETS,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  C_STATE,
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
  HAS_STATE,
  HAS_STATUS,
  HAS_TIME,
  HAS_TIMEOUT,
  IS_ASSURED,
  IS_UNREPLIED,
  IS_USERSPACE,
} from '../../model/conntrack.js';
import type { ConntrackRows } from '../../model/conntrack-rows.js';
import { SCTP, TCP, UDP } from '../../model/packet.js';
import { EVENT_LATENESS_NS } from './lateness.js';
import { ascii, readAddress, readCounter, readNumber, readTcpState, startsAt } from './scan.js';

/** What became of a line: a row; read and left out (another protocol); unreadable. */
export const LINE_TAKEN = 1;
export const LINE_OTHER_PROTOCOL = 2;
export const LINE_DAMAGED = 3;

const BRACKET_OPEN = 0x5b;
const BRACKET_CLOSE = 0x5d;
const EQUALS = 0x3d;
const DOT = 0x2e;
/** The text form prints microseconds. */
const MICROSECOND = 1_000;

const NEW = ascii('[NEW]');
const UPDATE = ascii('[UPDATE]');
const DESTROY = ascii('[DESTROY]');
const UNREPLIED = ascii('[UNREPLIED]');
const ASSURED = ascii('[ASSURED]');
const OFFLOAD = ascii('[OFFLOAD]');
const HW_OFFLOAD = ascii('[HW_OFFLOAD]');
const USERSPACE = ascii('[USERSPACE]');
const IPV4 = ascii('ipv4');
const IPV6 = ascii('ipv6');

const SRC = ascii('src');
const DST = ascii('dst');
const SPORT = ascii('sport');
const DPORT = ascii('dport');
const PACKETS = ascii('packets');
const BYTES = ascii('bytes');
const MARK = ascii('mark');
const ZONE = ascii('zone');
const ZONE_ORIGINAL = ascii('zone-orig');
const ZONE_REPLY = ascii('zone-reply');
const ID = ascii('id');

const SEEN_SRC = 1;
const SEEN_DST = 2;
const SEEN_SPORT = 4;
const SEEN_DPORT = 8;
const TUPLE = SEEN_SRC | SEEN_DST | SEEN_SPORT | SEEN_DPORT;

/**
 * Reads one line of conntrack's text (libnetfilter_conntrack snprintf_default.c, conntrack-tools
 * conntrack.c; Linux nf_conntrack_standalone.c prints /proc/net/nf_conntrack alike):
 *
 *     [1795377319.548954]  [NEW] ipv4 2 udp 17 30 src=… dst=… sport=… dport=… [UNREPLIED] src=… id=…
 *     time                 event family protocol timeout/state    original tuple            reply tuple
 *
 * Time, event, family, timeout and state may each be absent. Words that are not known are skipped.
 */
export class TextLineScanner {
  /** Why the last line was damaged. */
  failure = '';

  private bytes: Uint8Array = new Uint8Array(0);
  private at = 0;
  private limit = 0;
  /** The word at hand. */
  private from = 0;
  private to = 0;
  private words: Uint32Array = new Uint32Array(0);
  private row = 0;
  private bits = 0;
  private protocol = -1;
  private family = 0;
  /** Number of tuples begun, and the parts seen of each. */
  private tuples = 0;
  private seenOriginal = 0;
  private seenReply = 0;

  /** One of the LINE_ results; with LINE_TAKEN the row is the last of `rows`. */
  read(bytes: Uint8Array, from: number, to: number, rows: ConntrackRows): number {
    this.bytes = bytes;
    this.at = from;
    this.limit = to;
    this.failure = '';
    this.bits = HAS_STATUS;
    this.protocol = -1;
    this.family = 0;
    this.tuples = 0;
    this.seenOriginal = 0;
    this.seenReply = 0;
    this.row = rows.add();
    this.words = rows.words;
    const event = this.readHead();
    if (event !== 0 && this.readFields() && this.finish(event)) return LINE_TAKEN;
    rows.length--;
    return this.failure === '' ? LINE_OTHER_PROTOCOL : LINE_DAMAGED;
  }

  /** Everything before the first tuple; the event, 0 if this is no line of conntrack. */
  private readHead(): number {
    let event = EVENT_LISTED;
    let more = this.next();
    if (more && this.is(BRACKET_OPEN) && this.readTime()) more = this.next();
    if (more && this.is(BRACKET_OPEN)) {
      if (this.equals(NEW)) event = EVENT_NEW;
      else if (this.equals(UPDATE)) event = EVENT_UPDATE;
      else if (this.equals(DESTROY)) event = EVENT_DESTROY;
      else return this.failed('its event is not known');
      more = this.next();
    }
    if (more && (this.equals(IPV4) || this.equals(IPV6))) {
      // The number of the address family, and then the protocol's name.
      more = this.next() && this.value(255) >= 0 && this.next();
    }
    if (!more || !this.next()) return this.failed('it has no protocol');
    this.protocol = this.value(255);
    return this.protocol < 0 ? this.failed('it has no protocol') : event;
  }

  /** `[seconds.microseconds]`, blanks allowed before the bracket; false if the word is no time. */
  private readTime(): boolean {
    const { bytes, words, row } = this;
    let to = this.to - 1;
    while (to > this.from && (bytes[to - 1] ?? 0) <= 0x20) to--;
    let dot = this.from + 1;
    while (dot < to && bytes[dot] !== DOT) dot++;
    const seconds = readNumber(bytes, this.from + 1, dot, 0xffffffff);
    const micros = to - dot === 7 ? readNumber(bytes, dot + 1, to, 999_999) : -1;
    if (seconds < 0 || micros < 0) return false;
    words[row + C_SEC] = seconds;
    words[row + C_NSEC] = micros * MICROSECOND;
    words[row + C_RESOLUTION] = MICROSECOND;
    words[row + C_LATENESS] = EVENT_LATENESS_NS;
    this.bits |= HAS_TIME;
    return true;
  }

  private readFields(): boolean {
    while (this.next()) {
      if (this.is(BRACKET_OPEN)) {
        if (this.equals(UNREPLIED)) this.bits |= IS_UNREPLIED;
        // An offloaded flow's flag stands in the place of [ASSURED]; only flows that were answered are offloaded.
        else if (this.equals(ASSURED) || this.equals(OFFLOAD) || this.equals(HW_OFFLOAD)) {
          this.bits |= IS_ASSURED;
        } else if (this.equals(USERSPACE)) {
          // The rest of the line names a process, in any characters.
          this.bits |= IS_USERSPACE;
          return true;
        }
        continue;
      }
      const equals = this.keyEnd();
      if (equals === this.to) {
        if (this.tuples === 0) this.readUnnamed();
      } else if (!this.readField(equals)) {
        return false;
      }
    }
    return true;
  }

  /** Between protocol and tuples: the seconds left, and TCP's state. */
  private readUnnamed(): void {
    const { bytes, from, to, words, row } = this;
    const timeout = readNumber(bytes, from, to, 0xffffffff);
    if (timeout >= 0) {
      this.bits |= HAS_TIMEOUT;
      words[row + C_TIMEOUT] = timeout;
    } else if (this.protocol === TCP) {
      const state = readTcpState(bytes, from, to);
      if (state < 0) return;
      this.bits |= HAS_STATE;
      words[row + C_STATE] = state;
    }
  }

  /** A word `key=value` whose `=` stands at `equals`. */
  private readField(equals: number): boolean {
    const reply = this.tuples > 1;
    if (this.key(SRC, equals)) {
      if (++this.tuples > 2) return this.fail('it has more than two tuples');
      return this.address(this.tuples === 1 ? C_OSRC : C_RSRC, equals, SEEN_SRC);
    }
    if (this.key(DST, equals)) {
      return this.address(reply ? C_ODST + C_RSRC - C_OSRC : C_ODST, equals, SEEN_DST);
    }
    if (this.key(SPORT, equals)) return this.port(reply ? C_RSPORT : C_OSPORT, equals, SEEN_SPORT);
    if (this.key(DPORT, equals)) {
      return this.port(reply ? C_RSPORT + 1 : C_OSPORT + 1, equals, SEEN_DPORT);
    }
    if (this.key(PACKETS, equals)) return this.counter(reply ? C_RPACKETS : C_OPACKETS, equals);
    if (this.key(BYTES, equals)) return this.counter(reply ? C_RBYTES : C_OBYTES, equals);
    if (this.key(ID, equals)) return this.number(C_ID, equals, 0xffffffff, HAS_ID);
    if (this.key(MARK, equals)) return this.number(C_MARK, equals, 0xffffffff, HAS_MARK);
    if (this.key(ZONE, equals)) return this.number(C_ZONE, equals, 0xffff, 0);
    if (this.key(ZONE_ORIGINAL, equals)) return this.number(C_ZONE_ORIGINAL, equals, 0xffff, 0);
    if (this.key(ZONE_REPLY, equals)) return this.number(C_ZONE_REPLY, equals, 0xffff, 0);
    return true;
  }

  private finish(event: number): boolean {
    const { words, row, protocol } = this;
    if (protocol !== TCP && protocol !== UDP && protocol !== SCTP) {
      return this.tuples > 0 ? false : this.fail('it has no tuple');
    }
    if (this.seenOriginal !== TUPLE) return this.fail('its original tuple is not complete');
    if (this.tuples > 1) {
      if (this.seenReply !== TUPLE) return this.fail('its reply tuple is not complete');
      this.bits |= HAS_REPLY;
    }
    words[row + C_EVENT] = event;
    words[row + C_FAMILY] = this.family;
    words[row + C_PROTOCOL] = protocol;
    words[row + C_BITS] = this.bits;
    return true;
  }

  private address(field: number, equals: number, part: number): boolean {
    const { bytes, to, words, row } = this;
    const family = readAddress(bytes, equals + 1, to, words, row + field);
    if (family === 0) return this.fail('an address is none');
    if (this.family !== 0 && this.family !== family) return this.fail('its addresses do not match');
    this.family = family;
    this.see(part);
    return true;
  }

  private port(field: number, equals: number, part: number): boolean {
    this.see(part);
    return this.number(field, equals, 0xffff, 0);
  }

  private see(part: number): void {
    if (this.tuples > 1) this.seenReply |= part;
    else if (this.tuples === 1) this.seenOriginal |= part;
  }

  private number(field: number, equals: number, most: number, bit: number): boolean {
    const value = readNumber(this.bytes, equals + 1, this.to, most);
    if (value < 0) return this.fail('a number is none');
    this.words[this.row + field] = value;
    this.bits |= bit;
    return true;
  }

  private counter(field: number, equals: number): boolean {
    this.bits |= HAS_COUNTERS;
    const { bytes, to, words, row } = this;
    return readCounter(bytes, equals + 1, to, words, row + field) || this.fail('a counter is none');
  }

  /** The next word; one in brackets ends with its bracket, and may hold blanks. */
  private next(): boolean {
    const { bytes, limit } = this;
    let at = this.at;
    while (at < limit && (bytes[at] ?? 0) <= 0x20) at++;
    this.from = at;
    if (at === limit) return false;
    if (bytes[at] === BRACKET_OPEN) {
      while (at < limit && bytes[at] !== BRACKET_CLOSE) at++;
      if (at < limit) at++;
    } else {
      while (at < limit && (bytes[at] ?? 0) > 0x20) at++;
    }
    this.to = at;
    this.at = at;
    return true;
  }

  private is(first: number): boolean {
    return this.bytes[this.from] === first;
  }

  private equals(text: Uint8Array): boolean {
    return this.to - this.from === text.length && startsAt(this.bytes, this.from, this.to, text);
  }

  /** Where the word's `=` stands; its end if it has none. */
  private keyEnd(): number {
    let at = this.from;
    while (at < this.to && this.bytes[at] !== EQUALS) at++;
    return at;
  }

  private key(name: Uint8Array, equals: number): boolean {
    return equals - this.from === name.length && startsAt(this.bytes, this.from, this.to, name);
  }

  private value(most: number): number {
    return readNumber(this.bytes, this.from, this.to, most);
  }

  private fail(why: string): false {
    this.failure = why;
    return false;
  }

  private failed(why: string): 0 {
    this.failure = why;
    return 0;
  }
}
