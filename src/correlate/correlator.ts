import type { OutputEvent, Summary } from '../model/attribution.js';
import type { ClusterChange, ClusterKind } from '../model/cluster.js';
import { C_BITS, C_NSEC, C_SEC, CONNTRACK_WORDS, HAS_TIME } from '../model/conntrack.js';
import type { ConntrackRows } from '../model/conntrack-rows.js';
import type { InputEvent } from '../model/event.js';
import { P_NSEC, P_SEC, PACKET_WORDS } from '../model/packet.js';
import type { PacketRows } from '../model/packet-rows.js';
import { NANOS_PER_SECOND } from '../model/time.js';
import { Clock } from './clock.js';
import { ClusterState } from './cluster-state.js';
import { CLOSED, type Connection, LONE } from './connection.js';
import { classifyLone, close, explainLate, runAgenda } from './lifecycle.js';
import { onConntrack, releaseHeld } from './on-conntrack.js';
import { finishListings } from './on-listing.js';
import { onPacket } from './on-packet.js';
import { PlainConnections } from './plain.js';
import { type EntrySet, ServiceIndex } from './service-index.js';
import { type CorrelatorOptions, State } from './state.js';
import { Vantage } from './vantage.js';

const PRUNE_EVERY_NS = 60 * NANOS_PER_SECOND;
/** Longer than any connection waits for its last word. */
const HISTORY_NS = 3_600 * NANOS_PER_SECOND;

/**
 * The machine: takes events in the order of their times, gives attributions. It owns its state, reads
 * no clock and does no I/O, so the same events give the same answers, live or from a file.
 */
export class Correlator {
  private readonly state: State;
  /** Where connections need only be counted. */
  private plain: PlainConnections | undefined;
  private packetRows = 0;
  private pruned = Number.NEGATIVE_INFINITY;
  /** Of the cluster's Services as last known: events come in the order of their times. */
  private readonly clusterServices: EntrySet;
  /** Which of their versions is in the indexes. */
  private serviceVersion = 0;
  private clusterNodes = '';
  private readonly home: string;

  constructor(options: CorrelatorOptions) {
    this.home = options.node ?? '';
    const cluster = new ClusterState();
    this.state = new State(options, new Clock(options.baseSeconds), cluster);
    this.clusterServices = {
      // Read where an index is first asked: of a burst of changes only the last one's are made.
      get entries() {
        return cluster.services(undefined);
      },
    };
    const countsOnly = options.describes === false && options.severalNodes !== true;
    if (countsOnly && options.packetsOnly === true) this.plain = new PlainConnections(this.state);
  }

  /** Takes one event. What there is to say afterwards is got with `take`. */
  push(event: InputEvent): void {
    const { state } = this;
    switch (event.type) {
      case 'packets':
        this.look(event.node);
        this.packets(event.rows, event.from ?? 0, event.to ?? event.rows.length);
        break;
      case 'conntrack':
        this.endPlain();
        this.look(event.node);
        this.conntrack(event.rows, event.from ?? 0, event.to ?? event.rows.length);
        break;
      case 'rules': {
        const { rules } = event;
        this.look(event.node);
        const vantage = state.at;
        const key = `${rules.kind} ${rules.family} ${rules.backend}`;
        const replaced = vantage.rules.has(key);
        if (event.time !== undefined) this.advance(state.clock.relative(event.time));
        vantage.rules.set(key, { family: rules.family, entries: event.services });
        this.indexRules();
        if (event.time !== undefined) explainLate(state);
        if (replaced && event.again !== true) {
          state.notice({
            code: 'rules-changed',
            ...(event.time !== undefined && { time: event.time }),
            detail: `another rule set is in force: ${rules.kind} (${rules.backend}), IPv${rules.family}, ${event.services.length} Service addresses`,
          });
        }
        break;
      }
      case 'cluster':
        if (event.time !== undefined) this.advance(state.clock.relative(event.time));
        state.cluster.apply(event.change, event.time);
        if (kindOf(event.change) === 'pod') state.knowsPods = true;
        this.indexCluster(kindOf(event.change) === 'node');
        break;
      case 'addresses':
        this.look(event.node);
        state.at.addresses = event.addresses;
        this.indexRules();
        this.indexCluster(true);
        break;
      case 'readings':
        break;
      case 'loss':
        state.loss(event.loss);
        break;
      case 'notice':
        state.notice(event.notice);
        break;
      case 'tick':
        this.advance(state.clock.relative(event.time));
        this.forget();
        break;
    }
  }

  /** What has become worth saying since the last call. */
  take(): OutputEvent[] {
    const { out } = this.state;
    if (out.length === 0) return out;
    this.state.out = [];
    return out;
  }

  /**
   * Ends the run: every connection gets its last word, and the summary follows. `packetsSeen` is the
   * number of packets that the sources read, where they know better than by what the machine got.
   */
  finish(packetsSeen = this.packetRows): OutputEvent[] {
    const { state } = this;
    this.plain?.conclude();
    state.finished = true;
    releaseHeld(state);
    finishListings(state);
    const left: Connection[] = [];
    state.table.each((c) => {
      if (c.kind === LONE) classifyLone(state, c);
      else if (c.kind !== CLOSED) left.push(c);
    });
    left.sort((a, b) => a.time - b.time || a.serial - b.serial);
    for (const c of left) close(state, c);
    state.out.push({ type: 'summary', summary: this.summary(packetsSeen) });
    return this.take();
  }

  /** Connections that were seen and of which nothing could be said yet. */
  get pending(): number {
    const { attributed, unattributed, conflict } = this.state.verdicts;
    return this.state.seen - attributed - unattributed - conflict;
  }

  /** What is known of the cluster, by time; it goes on to change. */
  get cluster(): ClusterState {
    return this.state.cluster;
  }

  /** The counts as they stand. */
  private summary(packetsSeen: number): Summary {
    const { state } = this;
    const { attributed, unattributed, conflict } = state.verdicts;
    const sorted = (all: Iterable<[string, number]>): Record<string, number> =>
      Object.fromEntries([...all].filter(([, n]) => n > 0).sort(([a], [b]) => compare(a, b)));
    return {
      connections: {
        seen: state.seen,
        attributed,
        unattributed,
        conflict,
        pending: this.pending,
        reasons: sorted(state.reasons),
        outcomes: sorted(Object.entries(state.outcomes)),
      },
      packets: { seen: packetsSeen, dropped: state.dropped },
      losses: state.losses,
      durationNs: state.now > state.first ? Math.round(state.now - state.first) : 0,
      direct: state.direct,
      other: state.other,
      existing: state.existing,
    };
  }

  private packets(rows: PacketRows, from: number, to: number): void {
    const { state, plain } = this;
    const { words } = rows;
    this.packetRows += to - from;
    for (let at = from * PACKET_WORDS; at < to * PACKET_WORDS; at += PACKET_WORDS) {
      const seconds = words[at + P_SEC] as number;
      const time = state.clock.at(seconds, words[at + P_NSEC] as number);
      if (seconds === 0) state.hasUntimedPackets = true;
      this.advance(time);
      if (plain !== undefined) {
        if (plain.take(words, at, time === state.now && !state.hasUntimedPackets)) continue;
      }
      onPacket(state, words, at, time);
    }
  }

  private conntrack(rows: ConntrackRows, from: number, to: number): void {
    const { state } = this;
    const { words } = rows;
    for (let i = from; i < to; i++) {
      const at = i * CONNTRACK_WORDS;
      if (((words[at + C_BITS] ?? 0) & HAS_TIME) !== 0) {
        this.advance(state.clock.at(words[at + C_SEC] ?? 0, words[at + C_NSEC] ?? 0));
      }
      onConntrack(state, words, at);
    }
  }

  /** Moves the machine's time on; it never goes back. */
  private advance(to: number): void {
    const { state } = this;
    if (to < state.first) state.first = to;
    if (to <= state.now) return;
    state.now = to;
    const { plain } = this;
    if (plain !== undefined && plain.due <= to) plain.advance(to);
    if (state.held.due <= to) releaseHeld(state);
    if (state.agenda.next() <= to) runAgenda(state, to);
  }

  /** Only a run that ticks may last for weeks: what the cluster looked like an hour ago explains nothing any more. */
  private forget(): void {
    const { state } = this;
    if (state.now < this.pruned + PRUNE_EVERY_NS) return;
    this.pruned = state.now;
    state.table.trim();
    this.plain?.trim();
    state.cluster.prune(state.clock.absolute(Math.floor(state.now - HISTORY_NS)));
  }

  /** Turns to the node that an event is from. */
  private look(node: string | undefined): void {
    const { state } = this;
    const name = node ?? this.home;
    if (name === state.at.name) return;
    let place = state.vantages.findIndex((vantage) => vantage.name === name);
    if (place < 0) {
      this.endPlain();
      place = state.vantages.push(new Vantage(name)) - 1;
      this.indexVantage(place);
    }
    state.turnTo(place);
  }

  /** More than the packets of one node is to be heard: no connection is plain from now on. */
  private endPlain(): void {
    this.plain?.dissolve();
    this.plain = undefined;
  }

  private indexVantage(place: number): void {
    const vantage = this.state.vantages[place];
    if (vantage === undefined) return;
    vantage.byRules = new ServiceIndex(this.rulesAt(vantage), this.localAddresses(vantage));
    vantage.byCluster = new ServiceIndex([this.clusterServices], this.localAddresses(vantage));
  }

  /** Service entries of the rules in force at a node. */
  private rulesAt(vantage: Vantage): readonly EntrySet[] {
    const nameless = this.state.vantages.find(({ name }) => name === '');
    const sources =
      nameless === undefined || nameless === vantage ? [vantage] : [vantage, nameless];
    // In an order of their own, whichever were read first.
    return sources.flatMap(({ rules }) =>
      [...rules].sort(([a], [b]) => compare(a, b)).map(([, set]) => set),
    );
  }

  private indexRules(): void {
    const { state } = this;
    // Those that there are were explained by what was known when they began.
    this.plain?.dissolve();
    for (const vantage of state.vantages) {
      const all = this.rulesAt(vantage);
      vantage.byRules = new ServiceIndex(all, this.localAddresses(vantage));
      if (all.some(({ entries }) => entries.length > 0)) state.knowsServices = true;
    }
  }

  private indexCluster(force: boolean): void {
    const { state } = this;
    const { cluster } = state;
    if (!force && cluster.serviceVersion === this.serviceVersion) return;
    this.serviceVersion = cluster.serviceVersion;
    this.plain?.dissolve();
    for (const vantage of state.vantages) {
      vantage.byCluster = new ServiceIndex([this.clusterServices], this.localAddresses(vantage));
    }
    state.knowsServices ||= cluster.hasServices;
    const nodes = cluster.nodeAddresses().join();
    if (nodes !== this.clusterNodes) {
      this.clusterNodes = nodes;
      this.indexRules();
    }
  }

  /** A node's own addresses if they were given, else its Node object's, else those of every node. */
  private localAddresses({ name, addresses }: Vantage): readonly string[] {
    if (addresses.length > 0) return addresses;
    const { cluster, vantages } = this.state;
    const nameless = vantages.find((vantage) => vantage.name === '');
    if (nameless !== undefined && nameless.addresses.length > 0) return nameless.addresses;
    const own = name === '' ? [] : cluster.nodeAddresses(name);
    return own.length > 0 ? own : cluster.nodeAddresses();
  }
}

function kindOf(change: ClusterChange): ClusterKind {
  return change.op === 'list' ? change.kind : change.item.kind;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
