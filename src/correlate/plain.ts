import { isMapped, MAPPED } from '../model/address.js';
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
import { NANOS_PER_SECOND } from '../model/time.js';
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
import { PlainTable } from './plain-table.js';
import {
  ADDRESS_WORDS,
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
  NOWHERE,
  PLAIN_MOMENTS,
  PLAIN_WORDS,
  SHUT,
} from './plain-words.js';
import { sayingOf } from './saying.js';
import { LIMITS, type State } from './state.js';
import { outcomeOf } from './verdict.js';
import { isWide, WideAddresses } from './wide-addresses.js';
import { CLOCK_SLACK_NS, COARSE_NS } from './windows.js';

const WHOLE = PK_CLAIM | SAW_ANSWER;
const BOTH_FINS = SAW_FIN_ORIGINAL | SAW_FIN_REPLY;

const OVER_NS = LIMITS.OVER_NS;
const LINGER_NS = LIMITS.LINGER_NS;
const KEEP_NS = LIMITS.KEEP_NS;
const UNANSWERED_NS = LIMITS.UNANSWERED_NS;
const SWEEP_EVERY_NS = 86_400 * NANOS_PER_SECOND;

/** Client, Service and endpoint as rows have addresses. */
const ADDRESSES = new Uint32Array(3 * ADDRESS_WORDS);
/** The fewest IPv6 addresses for which it is looked which are still used. */
const FEW_ADDRESSES = 4_096;

/** A row's word, signed: V8 keeps no others as they are. */
function int(row: Uint32Array, at: number): number {
  return (row[at] as number) | 0;
}

/** An IPv6 packet may have IPv4 addresses in it: what is found by them steps aside. */
function isAllWide(row: Uint32Array, at: number): boolean {
  return !isMapped(row, at + P_SRC) && !isMapped(row, at + P_DST);
}

/**
 * The plain ones among the connections, where they need only be counted, packets are all there is, and these come in the
 * order of their times: TCP from a client to a Service whose rules send it to one endpoint, each packet seen
 * before and after translation. Nearly all are so, and nothing that happens to them leaves a choice, so they are kept as
 * a line of numbers each (see plain-table.ts). Whatever is not as expected of one makes it a Connection as it would be
 * by now, and goes on with what all others get. A packet touches only connections that have its tuple or its initial
 * sequence number: those of these that have step aside before such a packet goes on. Counts are therefore the same with
 * and without this.
 */
export class PlainConnections {
  private readonly state: State;
  private readonly table = new PlainTable();
  private wide = new WideAddresses();
  /** When there are so many it is looked which are still used. */
  private mostAddresses = FEW_ADDRESSES;
  /** What has not been translated at the bound of waiting, or not been answered after 130 s, is made a Connection. */
  private readonly young = new Deadlines();
  private readonly unanswered = new Deadlines();
  /** What has ended: with both FINs it is closed 2 ms later and forgotten after 2 ms more; reset, after 2 s and 5 s. */
  private readonly over = new Deadlines();
  private readonly lingering = new Deadlines();
  private readonly kept = new Deadlines();
  /** When to look for those that have been silent for days. */
  private sweepAt = Number.POSITIVE_INFINITY;
  /** The earliest moment at which something is due. */
  due = Number.POSITIVE_INFINITY;

  constructor(state: State) {
    this.state = state;
  }

  /**
   * Takes a packet row if it is a plain connection's or begins one; false: it goes on. `inOrder`: its time is the
   * machine's.
   */
  take(row: Uint32Array, at: number, inOrder: boolean): boolean {
    const isTcp = row[at + P_PROTOCOL] === TCP;
    if (!isTcp) return false;
    const flags = int(row, at + P_FLAGS);
    const isSegment = row[at + P_CLASS] === 0;
    if (isSegment && (flags & (TCP_SYN | TCP_FIN | TCP_RST)) === 0) return true;
    const src = this.address(row, at + P_SRC);
    const dst = this.address(row, at + P_DST);
    const found = this.table.find(src, int(row, at + P_SPORT), dst, int(row, at + P_DPORT));
    if (isSegment && inOrder && (row[at + P_FAMILY] === 4 || isAllWide(row, at))) {
      if ((flags & TCP_SYN) !== 0) {
        const took =
          (flags & TCP_ACK) === 0
            ? this.opening(row, at, found, src, dst)
            : this.answer(row, at, found);
        if (took) return true;
      } else if (found < 0) {
        return false;
      } else if ((flags & TCP_RST) !== 0) {
        if (this.reset(found)) return true;
      } else if (this.finish(found)) {
        return true;
      }
    }
    if (found >= 0) this.promote(found >> 2);
    if (isSegment && (flags & TCP_SYN) !== 0) this.stepAsideFor(row, at, flags);
    return false;
  }

  /** To be called as the machine's time moves on, before anybody else acts on it. */
  advance(now: number): void {
    while (this.young.next <= now) this.settle();
    while (this.unanswered.next <= now) {
      const time = this.unanswered.next;
      const slot = this.unanswered.take();
      if (this.isAnswered(slot) || this.moment(slot, M_TIME) + UNANSWERED_NS !== time) continue;
      this.promote(slot);
    }
    while (this.over.next <= now) this.ripe(this.over, now);
    while (this.lingering.next <= now) this.ripe(this.lingering, now);
    while (this.kept.next <= now) this.ripe(this.kept, now);
    if (this.sweepAt <= now) this.sweep(now);
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
    if (this.wide.size >= FEW_ADDRESSES) this.renumber();
  }

  /** An address as the table has it; NOWHERE if no plain connection does. */
  private address(row: Uint32Array, at: number): number {
    if (!isMapped(row, at)) return this.wide.find(row, at);
    const address = int(row, at + 3);
    return isWide(address) ? NOWHERE : address;
  }

  private opening(row: Uint32Array, at: number, found: number, src: number, dst: number): boolean {
    const { table, state } = this;
    const isn = int(row, at + P_SEQ);
    if (found >= 0) return this.copy(row, at, found, isn);
    const other = table.byIsn(isn);
    if (state.table.size > 0 && this.isKnownElsewhere(row, at, isn)) return false;
    const destination = state.at.destinations.find(row, at + P_DST, int(row, at + P_DPORT), TCP);
    if (other < 0) return this.begin(row, at, isn, src, dst, destination);
    return !destination.isService && this.translate(row, at, src, dst, other);
  }

  private isKnownElsewhere(row: Uint32Array, at: number, isn: number): boolean {
    const { table } = this.state;
    const sport = int(row, at + P_SPORT);
    const dport = int(row, at + P_DPORT);
    return (
      table.head(row, at + P_SRC, at + P_DST, sport, dport, TCP) >= 0 ||
      table.bySequence(isn >>> 0, TCP) !== undefined
    );
  }

  /** The opening packet once more, on another interface of the same side. */
  private copy(row: Uint32Array, at: number, found: number, isn: number): boolean {
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * PLAIN_WORDS;
    const m = slot * PLAIN_MOMENTS;
    if ((found & 1) !== 0 || words[w + N_ISN] !== isn || moments[m + M_DUE] !== 0) return false;
    const time = this.state.now;
    if (time - (moments[m + M_TIME] as number) >= CLOCK_SLACK_NS) return false;
    if (words[w + N_RESOLUTION] !== row[at + P_RESOLUTION]) return false;
    moments[m + M_LAST] = time;
    return true;
  }

  private begin(
    row: Uint32Array,
    at: number,
    isn: number,
    src: number,
    dst: number,
    { isService, byRules, byAddress }: Destination,
  ): boolean {
    const { table, state } = this;
    if (!isService || byAddress !== undefined || table.isFull) return false;
    if (byRules !== undefined) {
      if (byRules.action !== 'dnat' || state.at.byRules.refusalOf(byRules) !== undefined) {
        return false;
      }
    }
    const print = int(row, at + P_PRINT);
    const resolution = int(row, at + P_RESOLUTION);
    if (print === 0 || resolution >= COARSE_NS || row[at + P_LATENESS] !== 0) return false;
    const client = this.numbered(row, at + P_SRC, src);
    const service = this.numbered(row, at + P_DST, dst);
    if (client === NOWHERE || service === NOWHERE) return false;
    const slot = table.add(client, int(row, at + P_SPORT), service, int(row, at + P_DPORT), isn);
    const { words, moments } = table;
    const w = slot * PLAIN_WORDS;
    words[w + N_BITS] = SAW_PRE | HAS_ISN;
    words[w + N_PORT_AND_ID] = int(row, at + P_IPID);
    words[w + N_PRINT] = print;
    words[w + N_RESOLUTION] = resolution;
    const m = slot * PLAIN_MOMENTS;
    const time = state.now;
    moments[m + M_DUE] = 0;
    moments[m + M_TIME] = time;
    moments[m + M_LAST] = time;
    const due = time + state.boundNs;
    this.young.add(due, slot);
    if (due < this.due) this.due = due;
    if (this.sweepAt === Number.POSITIVE_INFINITY) this.sweepAt = time + SWEEP_EVERY_NS;
    state.seen++;
    state.outcomes.open++;
    if (this.wide.size >= this.mostAddresses) this.renumber();
    return true;
  }

  /** The same address; one over IPv6 that has no number gets one. */
  private numbered(row: Uint32Array, at: number, address: number): number {
    return address === NOWHERE && !isMapped(row, at) ? this.wide.put(row, at) : address;
  }

  /** Forgets the IPv6 addresses that are used no more: the others get new numbers. */
  private renumber(): void {
    const before = this.wide;
    const wide = new WideAddresses();
    this.table.renumber((address) => (isWide(address) ? before.among(wide, address) : address));
    this.wide = wide;
    this.mostAddresses = Math.max(FEW_ADDRESSES, wide.size * 2);
  }

  /** The translated copy of an opening packet: it names the endpoint. */
  private translate(row: Uint32Array, at: number, src: number, dst: number, slot: number): boolean {
    const { table, state } = this;
    const { words, moments } = table;
    const w = slot * PLAIN_WORDS;
    const bits = words[w + N_BITS] as number;
    if ((bits & PK_CLAIM) !== 0 || words[w + N_PRINT] !== int(row, at + P_PRINT)) return false;
    if (words[w + N_SRC] !== src) return false;
    if ((words[w + N_PORTS] as number) >>> 16 !== row[at + P_SPORT]) return false;
    const m = slot * PLAIN_MOMENTS;
    const time = state.now;
    // So what was seen of the opening packet lies within the time of copies: one that was sent again comes later.
    if (time - (moments[m + M_TIME] as number) >= CLOCK_SLACK_NS) return false;
    const endpoint = this.numbered(row, at + P_DST, dst);
    if (endpoint === NOWHERE) return false;
    table.translate(slot, endpoint, int(row, at + P_DPORT));
    words[w + N_BITS] = bits | PK_CLAIM | SAW_POST;
    moments[m + M_LAST] = time;
    state.at.seesBothSides = true;
    state.verdicts.attributed++;
    return true;
  }

  private answer(row: Uint32Array, at: number, found: number): boolean {
    if (found < 0 || (found & 1) === 0) return false;
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * PLAIN_WORDS;
    const m = slot * PLAIN_MOMENTS;
    const bits = words[w + N_BITS] as number;
    if ((bits & PK_CLAIM) === 0 || moments[m + M_DUE] !== 0) return false;
    if (words[w + N_ISN] !== ((int(row, at + P_ACK) - 1) | 0)) return false;
    moments[m + M_LAST] = this.state.now;
    if ((bits & SAW_ANSWER) !== 0) return true;
    words[w + N_ANSWER_ISN] = int(row, at + P_SEQ);
    words[w + N_BITS] = bits | SAW_ANSWER | HAS_ANSWER_ISN;
    const { outcomes } = this.state;
    if ((bits & SETTLED) === 0) outcomes.open--;
    else outcomes.unanswered--;
    outcomes.established++;
    return true;
  }

  private finish(found: number): boolean {
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * PLAIN_WORDS;
    const m = slot * PLAIN_MOMENTS;
    const before = words[w + N_BITS] as number;
    if ((before & SHUT) !== 0) return true;
    if ((before & WHOLE) !== WHOLE || (before & SAW_RESET) !== 0) return false;
    const bits = before | ((found & 1) === 0 ? SAW_FIN_ORIGINAL : SAW_FIN_REPLY);
    words[w + N_BITS] = bits;
    if (moments[m + M_DUE] !== 0) return true;
    const time = this.state.now;
    moments[m + M_LAST] = time;
    if ((bits & BOTH_FINS) === BOTH_FINS) this.end(slot, time + OVER_NS, this.over);
    return true;
  }

  private reset(found: number): boolean {
    const slot = found >> 2;
    const { words, moments } = this.table;
    const w = slot * PLAIN_WORDS;
    const m = slot * PLAIN_MOMENTS;
    const bits = words[w + N_BITS] as number;
    if ((bits & SHUT) !== 0) return true;
    if ((bits & WHOLE) !== WHOLE) return false;
    words[w + N_BITS] = bits | SAW_RESET | RESET_PASSED;
    // Both sides had closed before.
    if (moments[m + M_DUE] !== 0) return true;
    const time = this.state.now;
    moments[m + M_LAST] = time;
    this.end(slot, time + LINGER_NS, this.lingering);
    const { outcomes } = this.state;
    outcomes.established--;
    outcomes.reset++;
    return true;
  }

  private end(slot: number, due: number, line: Deadlines): void {
    this.table.moments[slot * PLAIN_MOMENTS + M_DUE] = due;
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
      this.table.remove(slot);
      return;
    }
    this.table.words[slot * PLAIN_WORDS + N_BITS] = bits | SHUT;
    if ((bits & BOTH_FINS) === BOTH_FINS) this.end(slot, now + OVER_NS, this.over);
    else this.end(slot, now + KEEP_NS, this.kept);
  }

  /** What may count as ended for its silence before this is asked again is made a Connection. */
  private sweep(now: number): void {
    this.sweepAt = now + SWEEP_EVERY_NS;
    const since = this.sweepAt - LIMITS.ESTABLISHED_NS;
    this.table.each((slot) => {
      const isOpen = this.moment(slot, M_DUE) === 0 && this.isAnswered(slot);
      if (isOpen && this.moment(slot, M_LAST) <= since) this.promote(slot);
    });
  }

  /** The first of the young has been waited for. */
  private settle(): void {
    const { state } = this;
    const time = this.young.next;
    const slot = this.young.take();
    if (this.isAnswered(slot)) return;
    const began = this.moment(slot, M_TIME);
    if (began + state.boundNs !== time) return;
    const bits = this.bitsOf(slot);
    // Its place had another at the same moment.
    if ((bits & SETTLED) !== 0) return;
    if ((bits & PK_CLAIM) === 0) {
      this.promote(slot);
      return;
    }
    this.table.words[slot * PLAIN_WORDS + N_BITS] = bits | SETTLED;
    state.outcomes.open--;
    state.outcomes.unanswered++;
    this.unanswered.add(began + UNANSWERED_NS, slot);
  }

  /** Whether it was answered, or is gone. */
  private isAnswered(slot: number): boolean {
    const bits = this.bitsOf(slot);
    return bits === 0 || (bits & SAW_ANSWER) !== 0;
  }

  private lookForNext(): void {
    this.due = Math.min(
      this.young.next,
      this.unanswered.next,
      this.over.next,
      this.lingering.next,
      this.kept.next,
      this.sweepAt,
    );
  }

  /** One whose number a packet has is what this may be a copy of, or an answer to. */
  private stepAsideFor(row: Uint32Array, at: number, flags: number): void {
    const isn = (flags & TCP_ACK) === 0 ? int(row, at + P_SEQ) : (int(row, at + P_ACK) - 1) | 0;
    const slot = this.table.byIsn(isn);
    if (slot >= 0) this.promote(slot);
  }

  /** Makes it a Connection as it would be by now, had it been one from the beginning. */
  private promote(slot: number): void {
    const { state } = this;
    const { words, moments } = this.table;
    const w = slot * PLAIN_WORDS;
    const m = slot * PLAIN_MOMENTS;
    const bits = words[w + N_BITS] as number;
    const isClaimed = (bits & PK_CLAIM) !== 0;
    const ports = words[w + N_PORTS] as number;
    const portAndId = words[w + N_PORT_AND_ID] as number;
    const time = moments[m + M_TIME] as number;
    const last = moments[m + M_LAST] as number;
    const due = moments[m + M_DUE] as number;
    const isn = (words[w + N_ISN] as number) >>> 0;
    const family = isWide(words[w + N_SRC] as number) ? 6 : 4;
    this.writeAddress(words[w + N_SRC] as number, 0);
    this.writeAddress(words[w + N_DST] as number, ADDRESS_WORDS);
    if (isClaimed) this.writeAddress(words[w + N_ENDPOINT] as number, 2 * ADDRESS_WORDS);
    const c = state.table.open(ADDRESSES, 0, 4, ports >>> 16, ports & 0xffff, TCP, family);
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
    // One that is not whole may be made a Connection at this very moment, before the agenda runs: that settles it.
    const settledAt = time + state.boundNs;
    const isSettled = (bits & WHOLE) === WHOLE && state.now >= settledAt;
    if ((bits & SHUT) !== 0 || isSettled) c.bits |= SETTLED;
    this.table.remove(slot);
    if (due !== 0) c.endTime = last;
    if ((bits & SHUT) !== 0) {
      c.kind = CLOSED;
      c.closeAt = last;
      state.wake(c, due);
    } else if (due !== 0) {
      c.closeAt = due;
      state.wake(c, (c.bits & SETTLED) === 0 ? Math.min(settledAt, due) : due);
    } else if ((c.bits & SETTLED) === 0) {
      state.wake(c, settledAt);
    } else {
      const silence = (bits & SAW_ANSWER) === 0 ? UNANSWERED_NS : LIMITS.ESTABLISHED_NS;
      state.wake(c, last + silence);
    }
  }

  private writeAddress(address: number, at: number): void {
    if (isWide(address)) {
      this.wide.write(address, ADDRESSES, at);
      return;
    }
    ADDRESSES[at] = 0;
    ADDRESSES[at + 1] = 0;
    ADDRESSES[at + 2] = MAPPED;
    ADDRESSES[at + 3] = address;
  }

  private bitsOf(slot: number): number {
    return this.table.words[slot * PLAIN_WORDS + N_BITS] ?? 0;
  }

  private moment(slot: number, which: number): number {
    return this.table.moments[slot * PLAIN_MOMENTS + which] ?? 0;
  }
}
