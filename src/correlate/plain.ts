import { MAPPED } from '../model/address.js';
import {
  P_ACK,
  P_CLASS,
  P_DPORT,
  P_DST,
  P_FAMILY,
  P_FLAGS,
  P_IPID,
  P_LATENESS,
  P_PRINT,
  P_PROTOCOL,
  P_RESOLUTION,
  P_SEQ,
  P_SPORT,
  P_SRC,
  TCP,
  TCP_ACK,
  TCP_FIN,
  TCP_RST,
  TCP_SYN,
} from '../model/packet.js';
import {
  CLOSED,
  HAS_ANSWER_ISN,
  HAS_ISN,
  PK_CLAIM,
  RESET_PASSED,
  SAW_ANSWER,
  SAW_FIN_ORIGINAL,
  SAW_FIN_REPLY,
  SAW_POST,
  SAW_PRE,
  SAW_RESET,
  SERVICE,
  SETTLED,
} from './connection.js';
import { Deadlines } from './deadlines.js';
import type { Destination } from './destinations.js';
import { lookUp } from './lifecycle.js';
import {
  M_DUE,
  M_LAST,
  M_TIME,
  N_ANSWER_ISN,
  N_BITS,
  N_DST,
  N_ENDPOINT,
  N_ISN,
  N_PORT_AND_ID,
  N_PORTS,
  N_PRINT,
  N_RESOLUTION,
  N_SRC,
  PLAIN_MOMENTS,
  PLAIN_WORDS,
  PlainTable,
} from './plain-table.js';
import { sayingOf } from './saying.js';
import { LIMITS, type State } from './state.js';
import { outcomeOf } from './verdict.js';
import { CLOCK_SLACK_NS, COARSE_NS, PAIR_WINDOW_NS } from './windows.js';

/** The module's own, since V8 does not fold imported constants into its code. */
const WORDS = PLAIN_WORDS;
const MOMENTS = PLAIN_MOMENTS;
const IPV4_MAPPED = MAPPED;
const PROTOCOL_TCP = TCP;
const SYN = TCP_SYN;
const ACK = TCP_ACK;
const FIN = TCP_FIN;
const RST = TCP_RST;
const CLAIMED = PK_CLAIM;
const ANSWERED = SAW_ANSWER;
const WHOLE = PK_CLAIM | SAW_ANSWER;
const BOTH_FINS = SAW_FIN_ORIGINAL | SAW_FIN_REPLY;
const OPENED = SAW_PRE | HAS_ISN;
/** Beside a Connection's bits: its last word is said. */
const SHUT = 1 << 30;

const OVER_NS = LIMITS.OVER_NS;
const LINGER_NS = LIMITS.LINGER_NS;
const KEEP_NS = LIMITS.KEEP_NS;

/** Client, Service and endpoint as rows have addresses. */
const ADDRESSES = new Uint32Array(12);
for (const at of [2, 6, 10]) ADDRESSES[at] = IPV4_MAPPED;

/**
 * The plain ones among the connections, where they need only be counted, packets are all there is, and these come in the
 * order of their times: TCP over IPv4 from a client to a Service whose rules send it to one endpoint, each packet seen
 * before and after translation. Nearly all are so, and nothing that happens to them leaves a choice, so they are kept as
 * a line of numbers each (see plain-table.ts). Whatever is not as expected of one makes it a Connection as it would be
 * by now, and goes on with what all others get. A packet touches only connections that have its tuple or its initial
 * sequence number: those of these that have step aside before such a packet goes on. Counts are therefore the same with
 * and without this.
 */
export class PlainConnections {
  private readonly state: State;
  private readonly table = new PlainTable();
  /** Those that have not been translated and answered by then are no plain ones. */
  private readonly young = new Deadlines();
  /** What is to be closed, or forgotten, 2 ms after it was closed in order; 2 s, or 5 s, after it was reset. */
  private readonly over = new Deadlines();
  private readonly lingering = new Deadlines();
  private readonly kept = new Deadlines();
  /** The earliest moment at which something is due. */
  due = Number.POSITIVE_INFINITY;

  constructor(state: State) {
    this.state = state;
  }

  /** Takes a packet row at the machine's moment, if it is a plain connection's or begins one; false: it goes on. */
  take(row: Uint32Array, at: number, time: number): boolean {
    const isTcp = row[at + P_PROTOCOL] === PROTOCOL_TCP;
    if (!isTcp) return false;
    const flags = row[at + P_FLAGS] as number;
    const isSegment = row[at + P_CLASS] === 0;
    if (isSegment && (flags & (SYN | FIN | RST)) === 0) return true;
    if (row[at + P_FAMILY] !== 4) {
      if (isSegment && (flags & SYN) !== 0) this.stepAsideFor(row, at, flags);
      return false;
    }
    const found = this.table.find(
      row[at + P_SRC + 3] as number,
      row[at + P_SPORT] as number,
      row[at + P_DST + 3] as number,
      row[at + P_DPORT] as number,
    );
    if (isSegment && time === this.state.now && !this.state.hasUntimedPackets) {
      if ((flags & SYN) !== 0) {
        const took =
          (flags & ACK) === 0
            ? this.opening(row, at, time, found)
            : this.answer(row, at, time, found);
        if (took) return true;
      } else if (found < 0) {
        return false;
      } else if ((flags & RST) !== 0) {
        if (this.reset(time, found)) return true;
      } else if (this.finish(time, found)) {
        return true;
      }
    }
    if (found >= 0) this.promote(found >> 2);
    if (isSegment && (flags & SYN) !== 0) this.stepAsideFor(row, at, flags);
    return false;
  }

  /** To be called as the machine's time moves on, before anybody else acts on it. */
  advance(now: number): void {
    while (this.young.next <= now) {
      const time = this.young.next;
      const slot = this.young.take();
      const bits = this.bitsOf(slot);
      if (bits === 0 || (bits & WHOLE) === WHOLE) continue;
      if (this.moment(slot, M_TIME) + this.state.boundNs === time) this.promote(slot);
    }
    while (this.over.next <= now) this.ripe(this.over, now);
    while (this.lingering.next <= now) this.ripe(this.lingering, now);
    while (this.kept.next <= now) this.ripe(this.kept, now);
    this.lookForNext();
  }

  /** No more is to come: leaves only what is as it was said. */
  conclude(): void {
    this.table.each((slot) => {
      if ((this.bitsOf(slot) & WHOLE) !== WHOLE) this.promote(slot);
    });
  }

  /** Makes Connections of all. */
  dissolve(): void {
    this.table.each((slot) => this.promote(slot));
  }

  /** Gives memory back. */
  trim(): void {
    this.table.trim();
  }

  private opening(row: Uint32Array, at: number, time: number, found: number): boolean {
    const { table, state } = this;
    const isn = row[at + P_SEQ] as number;
    if (found >= 0) return this.copy(row, at, time, found, isn);
    const other = table.byIsn(isn);
    if (state.table.size > 0 && this.isKnownElsewhere(row, at, isn)) return false;
    const destination = state.at.destinations.find(
      row,
      at + P_DST,
      row[at + P_DPORT] as number,
      PROTOCOL_TCP,
    );
    if (other < 0) return this.begin(row, at, time, isn, destination);
    return !destination.isService && this.translate(row, at, time, other);
  }

  private isKnownElsewhere(row: Uint32Array, at: number, isn: number): boolean {
    const { table } = this.state;
    const sport = row[at + P_SPORT] as number;
    const dport = row[at + P_DPORT] as number;
    return (
      table.head(row, at + P_SRC, at + P_DST, sport, dport, PROTOCOL_TCP) >= 0 ||
      table.bySequence(isn, PROTOCOL_TCP) !== undefined
    );
  }

  /** The opening packet once more, on another interface of the same side. */
  private copy(
    row: Uint32Array,
    at: number,
    time: number,
    found: number,
    isn: number,
  ): boolean {
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * WORDS;
    const m = slot * MOMENTS;
    if ((found & 1) !== 0 || words[w + N_ISN] !== isn || moments[m + M_DUE] !== 0) return false;
    if (time - (moments[m + M_TIME] as number) >= CLOCK_SLACK_NS) return false;
    if (words[w + N_RESOLUTION] !== row[at + P_RESOLUTION]) return false;
    moments[m + M_LAST] = time;
    return true;
  }

  private begin(
    row: Uint32Array,
    at: number,
    time: number,
    isn: number,
    { isService, byRules, byAddress }: Destination,
  ): boolean {
    const { table, state } = this;
    if (!isService || byAddress !== undefined || table.isFull) return false;
    if (byRules !== undefined) {
      if (byRules.action !== 'dnat' || state.at.byRules.refusalOf(byRules) !== undefined) {
        return false;
      }
    }
    const print = row[at + P_PRINT] as number;
    const resolution = row[at + P_RESOLUTION] as number;
    if (print === 0 || resolution >= COARSE_NS || row[at + P_LATENESS] !== 0) return false;
    const slot = table.add(
      row[at + P_SRC + 3] as number,
      row[at + P_SPORT] as number,
      row[at + P_DST + 3] as number,
      row[at + P_DPORT] as number,
      isn,
    );
    const { words, moments } = table;
    const w = slot * WORDS;
    words[w + N_BITS] = OPENED;
    words[w + N_PORT_AND_ID] = row[at + P_IPID] as number;
    words[w + N_PRINT] = print;
    words[w + N_RESOLUTION] = resolution;
    const m = slot * MOMENTS;
    moments[m + M_DUE] = 0;
    moments[m + M_TIME] = time;
    moments[m + M_LAST] = time;
    const due = time + state.boundNs;
    this.young.add(due, slot);
    if (due < this.due) this.due = due;
    state.seen++;
    state.outcomes.open++;
    return true;
  }

  /** The translated copy of an opening packet: it names the endpoint. */
  private translate(row: Uint32Array, at: number, time: number, slot: number): boolean {
    const { table, state } = this;
    const { words, moments } = table;
    const w = slot * WORDS;
    const bits = words[w + N_BITS] as number;
    if ((bits & CLAIMED) !== 0 || words[w + N_PRINT] !== row[at + P_PRINT]) return false;
    if (words[w + N_SRC] !== row[at + P_SRC + 3]) return false;
    if ((words[w + N_PORTS] as number) >>> 16 !== row[at + P_SPORT]) return false;
    const m = slot * MOMENTS;
    if (time - (moments[m + M_TIME] as number) > PAIR_WINDOW_NS) return false;
    table.translate(slot, row[at + P_DST + 3] as number, row[at + P_DPORT] as number);
    words[w + N_BITS] = bits | CLAIMED | SAW_POST;
    moments[m + M_LAST] = time;
    state.at.seesBothSides = true;
    state.verdicts.attributed++;
    return true;
  }

  private answer(row: Uint32Array, at: number, time: number, found: number): boolean {
    if (found < 0 || (found & 1) === 0) return false;
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * WORDS;
    const m = slot * MOMENTS;
    const bits = words[w + N_BITS] as number;
    if ((bits & CLAIMED) === 0 || moments[m + M_DUE] !== 0) return false;
    if (words[w + N_ISN] !== ((row[at + P_ACK] as number) - 1) >>> 0) return false;
    moments[m + M_LAST] = time;
    if ((bits & ANSWERED) !== 0) return true;
    words[w + N_ANSWER_ISN] = row[at + P_SEQ] as number;
    words[w + N_BITS] = bits | ANSWERED | HAS_ANSWER_ISN;
    const { outcomes } = this.state;
    outcomes.open--;
    outcomes.established++;
    return true;
  }

  private finish(time: number, found: number): boolean {
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * WORDS;
    const m = slot * MOMENTS;
    const before = words[w + N_BITS] as number;
    if ((before & SHUT) !== 0) return true;
    if ((before & WHOLE) !== WHOLE || (before & SAW_RESET) !== 0) return false;
    const bits = before | ((found & 1) === 0 ? SAW_FIN_ORIGINAL : SAW_FIN_REPLY);
    words[w + N_BITS] = bits;
    if (moments[m + M_DUE] !== 0) return true;
    moments[m + M_LAST] = time;
    if ((bits & BOTH_FINS) === BOTH_FINS) this.end(slot, time + OVER_NS, this.over);
    return true;
  }

  private reset(time: number, found: number): boolean {
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * WORDS;
    const m = slot * MOMENTS;
    const bits = words[w + N_BITS] as number;
    if ((bits & SHUT) !== 0) return true;
    if ((bits & WHOLE) !== WHOLE) return false;
    words[w + N_BITS] = bits | SAW_RESET | RESET_PASSED;
    // Both sides had closed before.
    if (moments[m + M_DUE] !== 0) return true;
    moments[m + M_LAST] = time;
    this.end(slot, time + LINGER_NS, this.lingering);
    const { outcomes } = this.state;
    outcomes.established--;
    outcomes.reset++;
    return true;
  }

  private end(slot: number, due: number, line: Deadlines): void {
    this.table.moments[slot * MOMENTS + M_DUE] = due;
    line.add(due, slot);
    if (due < this.due) this.due = due;
  }

  /** The first of a line is due: it is closed or, if it was, forgotten. */
  private ripe(line: Deadlines, now: number): void {
    const time = line.next;
    const slot = line.take();
    const bits = this.bitsOf(slot);
    if (bits === 0 || this.moment(slot, M_DUE) !== time) return;
    if ((bits & SHUT) !== 0) {
      this.table.remove(slot, true);
      return;
    }
    this.table.words[slot * WORDS + N_BITS] = bits | SHUT;
    if ((bits & BOTH_FINS) === BOTH_FINS) this.end(slot, now + OVER_NS, this.over);
    else this.end(slot, now + KEEP_NS, this.kept);
  }

  private lookForNext(): void {
    this.due = Math.min(this.young.next, this.over.next, this.lingering.next, this.kept.next);
  }

  /** One whose number a packet has is what this may be a copy of, or an answer to. */
  private stepAsideFor(row: Uint32Array, at: number, flags: number): void {
    const answered = ((row[at + P_ACK] as number) - 1) >>> 0;
    const slot = this.table.byIsn((flags & ACK) === 0 ? (row[at + P_SEQ] as number) : answered);
    if (slot >= 0) this.promote(slot);
  }

  /** Makes it a Connection as it would be by now, had it been one from the beginning. */
  private promote(slot: number): void {
    const { state } = this;
    const { words, moments } = this.table;
    const w = slot * WORDS;
    const m = slot * MOMENTS;
    const bits = words[w + N_BITS] as number;
    const isClaimed = (bits & CLAIMED) !== 0;
    const ports = words[w + N_PORTS] as number;
    const portAndId = words[w + N_PORT_AND_ID] as number;
    const time = moments[m + M_TIME] as number;
    const last = moments[m + M_LAST] as number;
    const due = moments[m + M_DUE] as number;
    const isn = words[w + N_ISN] as number;
    ADDRESSES[3] = words[w + N_SRC] as number;
    ADDRESSES[7] = words[w + N_DST] as number;
    ADDRESSES[11] = words[w + N_ENDPOINT] as number;
    const c = state.table.open(ADDRESSES, 0, 4, ports >>> 16, ports & 0xffff, PROTOCOL_TCP, 4);
    c.time = time;
    c.resolution = words[w + N_RESOLUTION] as number;
    c.timeSource = 'packet';
    c.isn = isn;
    c.bits = bits & ~SHUT;
    c.print = words[w + N_PRINT] as number;
    c.oldPrint = c.print;
    c.ipid = portAndId & 0xffff;
    c.lastSent = time;
    c.firstSent = time;
    c.lastSeen = last;
    c.vantage = state.here;
    state.table.setSequence(c, isn);
    if ((bits & HAS_ANSWER_ISN) !== 0) c.answerIsn = words[w + N_ANSWER_ISN] as number;
    if (isClaimed) {
      state.table.setTranslated(c, 1, ADDRESSES, 0, 8, ports >>> 16, portAndId >>> 16);
      c.firstPost = time;
      c.lastPost = time;
    }
    c.kind = SERVICE;
    lookUp(state, c);
    const verdict = isClaimed ? 'attributed' : undefined;
    c.said = sayingOf({ verdict, outcome: outcomeOf(state, c) });
    // Of one that is not whole the moment of this may be at hand: then it is looked at next.
    const settledAt = time + state.boundNs;
    const isSettled = (bits & WHOLE) === WHOLE && state.now >= settledAt;
    if ((bits & SHUT) !== 0 || isSettled) c.bits |= SETTLED;
    this.table.remove(slot, isClaimed);
    if (due !== 0) c.endTime = last;
    if ((bits & SHUT) !== 0) {
      c.kind = CLOSED;
      state.wake(c, due);
    } else if (due !== 0) {
      c.closeAt = due;
      state.wake(c, (c.bits & SETTLED) === 0 ? Math.min(settledAt, due) : due);
    } else {
      state.wake(c, (c.bits & SETTLED) === 0 ? settledAt : last + LIMITS.ESTABLISHED_NS);
    }
  }

  private bitsOf(slot: number): number {
    return this.table.words[slot * WORDS + N_BITS] ?? 0;
  }

  private moment(slot: number, which: number): number {
    return this.table.moments[slot * MOMENTS + which] ?? 0;
  }
}
