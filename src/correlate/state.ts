import type { Attribution, Outcome, OutputEvent, Reason, Verdict } from '../model/attribution.js';
import type { Loss, Notice } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import { NANOS_PER_SECOND, type Nanos } from '../model/time.js';
import { Agenda } from './agenda.js';
import type { Clock } from './clock.js';
import type { ClusterState } from './cluster-state.js';
import type { Connection } from './connection.js';
import { ConnectionTable } from './connection-table.js';
import { GoneEntries } from './gone-entries.js';
import { HeldEntries } from './held-entries.js';
import { Phrases } from './phrases.js';
import { TupleMap } from './tuple-map.js';
import { UndatedListing } from './undated-listing.js';
import { Vantage } from './vantage.js';

const SECOND = NANOS_PER_SECOND;

/** Settings of the machine; durations in ns of event time. */
export interface CorrelatorOptions {
  readonly interfaces: Interfaces;
  /** The node of events that name none. */
  readonly node?: string;
  /** The events are of several nodes: say of each connection which one translated it. */
  readonly severalNodes?: boolean;
  /** Conntrack will say nothing, and packets come in the order of their times by one clock. */
  readonly packetsOnly?: boolean;
  /** The second from which moments are counted: near the first event. */
  readonly baseSeconds: number;
  /** The last rule set of this run is told at this time: connections that no rules explain wait for it. */
  readonly lastRules?: Nanos;
  /** How long a connection may wait for evidence before it is said with what is known. */
  readonly boundNs?: number;
  /** A UDP flow without conntrack ends after this silence, unanswered and answered. */
  readonly udpIdleNs?: number;
  readonly udpAnsweredIdleNs?: number;
  /** Entries of the first listing were open before we looked: not connections that we saw begin. */
  readonly firstListingIsOld?: boolean;
  /** false: count only, say nothing of single connections (what they are put into words for is most of the work). */
  readonly describes?: boolean;
  /** Say connections straight to a Pod's address too. */
  readonly saysDirect?: boolean;
}

/** Late copies and events of a connection that has ended may still come for this long. */
const LINGER_NS = 2 * SECOND;
/** The same where both sides have closed, conntrack is silent and packets come in the order of their times. */
const OVER_NS = 2_000_000;
/** Copies of one packet on one machine, and conntrack's event about it, come within this time. */
const SAY_NS = 2_000_000;
/** An entry stays in conntrack this long after a TCP connection's end (TIME_WAIT, 120 s), so its listing must find us. */
const KEEP_WITH_CONNTRACK_NS = 130 * SECOND;
const KEEP_NS = 5 * SECOND;
/** A SYN is sent again for up to 127 s (tcp_syn_retries 6); after that nobody waits for an answer. */
const UNANSWERED_NS = 130 * SECOND;
/** An established connection without a sign of life: nf_conntrack_tcp_timeout_established is 5 days. */
const ESTABLISHED_NS = 5 * 86_400 * SECOND;
/** A packet that no Service owns: long enough for its other half and for SYNs sent again. */
const LONE_NS = 3 * SECOND;
const LONE_UNANSWERED_NS = 35 * SECOND;
/** A UDP flow that conntrack knows of and whose end it never told. */
const UDP_STALE_NS = 600 * SECOND;

const DEFAULT_BOUND_NS = SECOND;
const DEFAULT_UDP_IDLE_NS = 30 * SECOND;
const DEFAULT_UDP_ANSWERED_IDLE_NS = 120 * SECOND;

export const LIMITS = {
  LINGER_NS,
  OVER_NS,
  SAY_NS,
  KEEP_WITH_CONNTRACK_NS,
  KEEP_NS,
  UNANSWERED_NS,
  ESTABLISHED_NS,
  LONE_NS,
  LONE_UNANSWERED_NS,
  UDP_STALE_NS,
} as const;

export interface Span {
  readonly from: number;
  readonly to: number;
}

/** What the machine owns. Functions of this folder work on it; nobody else sees it. */
export class State {
  readonly table = new ConnectionTable();
  readonly agenda = new Agenda((slot, time) => this.table.get(slot)?.wakeAt === time);
  readonly phrases = new Phrases();
  readonly interfaces: Interfaces;
  readonly clock: Clock;
  readonly cluster: ClusterState;
  readonly boundNs: number;
  readonly udpIdleNs: number;
  readonly udpAnsweredIdleNs: number;
  readonly firstListingIsOld: boolean;
  readonly describes: boolean;
  readonly saysDirect: boolean;

  readonly severalNodes: boolean;
  readonly packetsOnly: boolean;
  readonly lastRules: number;

  /** The nodes whose events were taken; the first is that of events that name none. */
  readonly vantages: Vantage[];
  /** Where the event at hand was recorded: its place among the vantages, and the vantage. */
  here = 0;
  at: Vantage;
  /** Whether any Pod is known, so that not knowing one is worth a word. */
  knowsPods = false;
  /** Told once: events without times, endpoints without any Pod to name. */
  readonly told = new Set<string>();
  /** Names of pairs of interfaces, in words (see describe.ts). */
  readonly pairs = new Map<number, NonNullable<Attribution['interfaces']>>();
  /** Whether anything was given that could name Services. */
  knowsServices = false;
  /** Whether conntrack speaks in this run. */
  hasConntrack = false;
  /** Packets came of which nobody knows when they were captured. */
  hasUntimedPackets = false;

  /** The latest moment of any event. */
  now = Number.NEGATIVE_INFINITY;
  first = Number.POSITIVE_INFINITY;
  out: OutputEvent[] = [];
  /** The input has ended. */
  finished = false;

  seen = 0;
  readonly verdicts: Record<Verdict, number> = { attributed: 0, unattributed: 0, conflict: 0 };
  readonly reasons = new Map<Reason, number>();
  readonly outcomes: Record<Outcome, number> = {
    established: 0,
    refused: 0,
    reset: 0,
    unanswered: 0,
    rejected: 0,
    open: 0,
  };
  /** A conntrack listing without a time. */
  readonly listing = new UndatedListing();
  /** Entries that were open before we looked: tuple -> 1. */
  readonly old = new TupleMap();
  /** Entries of connections that are not kept any more. */
  readonly gone = new GoneEntries(KEEP_WITH_CONNTRACK_NS);
  /** Entries that wait for their packet. */
  readonly held = new HeldEntries();
  /** When the first listing by a program began. */
  firstListing = Number.NEGATIVE_INFINITY;
  direct = 0;
  other = 0;
  existing = 0;
  losses = 0;
  dropped = 0;
  readonly lossSpans: Span[] = [];

  constructor(options: CorrelatorOptions, clock: Clock, cluster: ClusterState) {
    this.interfaces = options.interfaces;
    this.clock = clock;
    this.cluster = cluster;
    this.boundNs = options.boundNs ?? DEFAULT_BOUND_NS;
    this.udpIdleNs = options.udpIdleNs ?? DEFAULT_UDP_IDLE_NS;
    this.udpAnsweredIdleNs = options.udpAnsweredIdleNs ?? DEFAULT_UDP_ANSWERED_IDLE_NS;
    this.firstListingIsOld = options.firstListingIsOld ?? false;
    this.describes = options.describes ?? true;
    this.saysDirect = options.saysDirect ?? false;
    this.severalNodes = options.severalNodes ?? false;
    this.lastRules =
      options.lastRules === undefined
        ? Number.NEGATIVE_INFINITY
        : clock.relative(options.lastRules);
    this.packetsOnly = options.packetsOnly ?? false;
    this.at = new Vantage(options.node ?? '');
    this.vantages = [this.at];
  }

  /** Asks to look at a connection again at a moment; an earlier request stays. */
  wake(c: Connection, at: number): void {
    if (at >= c.wakeAt) return;
    c.wakeAt = at;
    this.agenda.add(at, c.slot);
  }

  /** To the node, by its place among the vantages, where what comes next was recorded. */
  turnTo(place: number): void {
    this.here = place;
    this.at = this.vantages[place] ?? this.at;
  }

  /** Where a connection was translated, as far as is known. */
  vantageOf(c: Connection): Vantage {
    return this.vantages[c.vantage] ?? this.at;
  }

  /** A notice that is the same whenever it would be said again. */
  noticeOnce(notice: Notice): void {
    if (this.told.has(notice.code)) return;
    this.told.add(notice.code);
    this.notice(notice);
  }

  notice(notice: Notice): void {
    this.out.push({ type: 'notice', notice });
  }

  loss(loss: Loss): void {
    this.losses++;
    if (loss.source === 'ring' || loss.source === 'capture' || loss.source === 'queue') {
      this.dropped += loss.count;
    }
    if (loss.from !== undefined || loss.to !== undefined) {
      const to = loss.to === undefined ? Number.POSITIVE_INFINITY : this.clock.relative(loss.to);
      const from =
        loss.from === undefined ? Number.NEGATIVE_INFINITY : this.clock.relative(loss.from);
      this.lossSpans.push({ from, to });
    }
    this.out.push({ type: 'loss', loss });
  }

  /** Whether a counted loss covers any moment of a span. */
  lost(from: number, to: number): boolean {
    return this.lossSpans.some((span) => span.from <= to && from <= span.to);
  }
}

/** Adds to a tally. */
export function count<K>(tally: Map<K, number>, key: K, by: number): void {
  const n = (tally.get(key) ?? 0) + by;
  if (n === 0) tally.delete(key);
  else tally.set(key, n);
}
