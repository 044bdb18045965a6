import type { ClusterState } from '../correlate/cluster-state.js';
import type { Attribution } from '../model/attribution.js';
import type { Case, EarlierConnection, SeenChange, SeenEntry, SeenPacket } from '../model/case.js';
import {
  C_BITS,
  C_EVENT,
  C_NSEC,
  C_RESOLUTION,
  C_SEC,
  CONNTRACK_WORDS,
  EVENT_DESTROY,
  EVENT_NEW,
  HAS_REPLY,
  HAS_TIME,
} from '../model/conntrack.js';
import type { ConntrackRows } from '../model/conntrack-rows.js';
import type { InputEvent, Loss, Notice } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import {
  CLASS_ICMP_ERROR,
  P_CLASS,
  P_FLAGS,
  P_INTERFACE,
  P_IPID,
  P_NSEC,
  P_PRINT,
  P_PROTOCOL,
  P_SEC,
  P_SEQ,
  PACKET_WORDS,
  protocolNumber,
  TCP,
  TCP_ACK,
  TCP_SYN,
} from '../model/packet.js';
import type { PacketRows } from '../model/packet-rows.js';
import type { Route } from '../model/readings.js';
import type { ServiceEntry } from '../model/services.js';
import { NANOS_PER_SECOND, type Nanos, nanosOf } from '../model/time.js';
import { clusterThen, endpointChanges, serviceName } from './cluster-then.js';
import { ConnectionTuples } from './connection-tuples.js';
import { EndsKept } from './ends-kept.js';
import { interfaceOf, type NodeReadings, nodeFacts } from './node-facts.js';
import { ReadingsThen } from './readings-then.js';
import { entriesFor, RulesInForce } from './rules-in-force.js';
import { seenEntry } from './seen-entry.js';
import { seenPacket } from './seen-packet.js';
import { staleChains } from './stale-chains.js';
import { versionsThen } from './versions-then.js';

/** As clocks of one machine differ, and its packets and their translated copies. */
const BEFORE_NS = 1_000_000n;
/** Late copies and answers of a connection that has ended; an entry's end comes 120 s after a TCP connection's. */
const AFTER_NS = 135n * BigInt(NANOS_PER_SECOND);
/** A UDP flow ends with its last datagram; the next one may be another flow's. */
const DATAGRAM_AFTER_NS = 1_000_000n;
/** A SYN and its translated copy pass within this time. */
const PAIR_NS = BigInt(NANOS_PER_SECOND);
/** Later than any moment that 64 bits of nanoseconds can tell. */
const NO_END: Nanos = 1n << 64n;
/** Rules follow the cluster within seconds (kube-proxy's minSyncPeriod); a minute shows whether they did. */
const EARLIER_NS = 60n * BigInt(NANOS_PER_SECOND);
/** A time cut to more than this does not order what conntrack did. */
const COARSE_NS = 1_000_000;
/** More nobody reads: what began it and how it ended is kept. */
const PACKETS_AT_EACH_END = 1_000;
const ENTRIES_AT_EACH_END = 250;

export interface CaseOf {
  readonly attribution: Attribution;
  readonly closed: boolean;
}

/** What of a case does not come with the input's events. */
export interface CaseSetting {
  readonly notices: readonly Notice[];
  readonly losses: readonly Loss[];
  readonly earlier: readonly EarlierConnection[];
  readonly nodeName?: string;
  /** In place of those that readings tell. */
  readonly routes?: readonly Route[];
}

interface Kept<T> {
  readonly seen: T;
  readonly ipid: number;
}

/**
 * Keeps of a run's input what concerns one connection that is known by its last word: made for a second
 * look at the same input, or at what of it was kept. Memory is bounded whatever the input. `cluster` is
 * asked by time when all has been taken; whoever owns it feeds it.
 */
export class CaseGatherer {
  private readonly of: CaseOf;
  private readonly interfaces: Interfaces;
  private readonly cluster: ClusterState;
  private readonly tuples: ConnectionTuples;
  private readonly home: string;
  private readonly begin: Nanos | undefined;
  private readonly rules: RulesInForce;
  private readonly packets = new EndsKept<Kept<SeenPacket>>(PACKETS_AT_EACH_END);
  private readonly conntrack = new EndsKept<SeenEntry>(ENTRIES_AT_EACH_END);
  /** Of the entry that had its addresses before: what is printed of that to the second is not its own either. */
  private readonly before = new EndsKept<SeenEntry>(ENTRIES_AT_EACH_END);
  private readonly interfacesSeen = new Set<number>();
  private sawPackets = false;
  private sawConntrack = false;
  private sawCluster = false;
  private addresses: readonly string[] | undefined;
  private readonly readings: ReadingsThen;
  /** Numbers, fingerprints and moments of its SYNs. */
  private readonly openings: { readonly seq: number; readonly print: number; time: Nanos }[] = [];
  /** Another connection uses its addresses from here on. */
  private packetsOver = false;
  private entriesOver = false;
  private destroyed = false;

  constructor(of: CaseOf, interfaces: Interfaces, cluster: ClusterState, home = '') {
    const { attribution } = of;
    this.of = of;
    this.interfaces = interfaces;
    this.cluster = cluster;
    this.home = home;
    this.tuples = new ConnectionTuples(protocolNumber(attribution.protocol), attribution);
    this.begin = attribution.time;
    this.rules = new RulesInForce(attribution, this.begin);
    this.readings = new ReadingsThen(this.begin, attribution.endTime);
  }

  take(event: InputEvent): void {
    switch (event.type) {
      case 'packets':
        this.sawPackets = true;
        this.takePackets(event.rows, event.from ?? 0, event.to ?? event.rows.length, event.node);
        break;
      case 'conntrack':
        this.sawConntrack = true;
        if (this.isElsewhere(event.node)) break;
        this.takeEntries(event.rows, event.from ?? 0, event.to ?? event.rows.length);
        break;
      case 'rules':
        if (!this.isElsewhere(event.node)) this.rules.take(event);
        break;
      case 'addresses':
        if (!this.isElsewhere(event.node)) this.addresses = event.addresses;
        break;
      case 'cluster':
        this.sawCluster = true;
        break;
      case 'readings':
        if (!this.isElsewhere(event.node)) this.readings.take(event.time, event.readings);
        break;
      default:
        break;
    }
  }

  /** What was read of the node, in plain data. */
  get node(): NodeReadings {
    const { addresses } = this;
    return { ...(addresses !== undefined && { addresses }), ...this.readings.node };
  }

  /** Everything, when all input was taken. */
  result({ notices, losses, nodeName, earlier, ...given }: CaseSetting): Case {
    const { attribution, closed } = this.of;
    const { cluster, begin } = this;
    const read = { ...this.node, ...given };
    const node = nodeFacts(read);
    const packets = this.packetsSeen();
    const conntrack = this.entriesSeen();
    const end = endOf(attribution, closed, packets, conntrack);
    const entries = entriesFor(attribution, this.rules.entries, node.addresses);
    const name = serviceName(attribution, entries);
    const stale =
      name === undefined ? [] : this.rules.sets.flatMap((rules) => staleChains(rules, name));
    const then = clusterThen(cluster, attribution, entries, begin);
    const versions = { ...versionsThen(this.rules.sets, then.nodes), ...this.readings.versions };
    const leftOut = this.packets.leftOut + this.conntrack.leftOut;
    const interfaces = [...this.interfacesSeen].flatMap((id) => this.interfaces.name(id) ?? []);
    return {
      attribution,
      closed,
      packets,
      conntrack,
      changes: [
        ...this.rules.changes(begin, end ?? NO_END),
        ...endpointChanges(cluster, attribution, entries, begin, end ?? NO_END),
      ].sort(byTime),
      earlierChanges: this.earlierChanges(entries),
      earlier,
      ...podInterfaces(attribution, read.routes ?? []),
      ...this.readings.others,
      notices: [...notices, ...leftOutNotice(leftOut, attribution).map(({ notice }) => notice)],
      losses: losses.filter((loss) => touches(loss, begin, end)),
      rules: this.rules.sets,
      entries,
      ...(stale.length > 0 && { staleChains: stale }),
      cluster: then,
      ...(Object.keys(versions).length > 0 && { versions }),
      node: {
        ...node,
        isPods: (address) => cluster.podAt(address, begin) !== undefined,
        ...(nodeName !== undefined && { name: nodeName }),
      },
      looked: {
        packets: this.sawPackets,
        conntrack: this.sawConntrack,
        rules: this.rules.any,
        cluster: this.sawCluster,
        interfaces: [...new Set(interfaces)].sort(),
      },
    };
  }

  private earlierChanges(entries: readonly ServiceEntry[]): readonly SeenChange[] {
    const { begin, cluster } = this;
    if (begin === undefined) return [];
    const from = begin - EARLIER_NS;
    const { attribution } = this.of;
    return [
      ...this.rules.changes(from, begin),
      ...endpointChanges(cluster, attribution, entries, from, begin),
    ].sort(byTime);
  }

  /** Of another node than the one that translated it. */
  private isElsewhere(node: string | undefined): boolean {
    const its = this.of.attribution.node;
    return its !== undefined && (node ?? this.home) !== its && (node ?? '') !== '';
  }

  private takePackets(rows: PacketRows, from: number, to: number, node: string | undefined): void {
    const { words: w } = rows;
    let last = -1;
    for (let i = from; i < to; i++) {
      const at = i * PACKET_WORDS;
      const id = w[at + P_INTERFACE] ?? 0;
      if (id !== last) {
        this.interfacesSeen.add(id);
        last = id;
      }
      const of = this.tuples.of(w, at);
      if (of !== undefined) this.takePacket(w, at, of, node);
      else if (isSyn(w, at) && this.isCopyOfOpening(w, at)) {
        this.tuples.learnPacket(w, at);
        this.takePacket(w, at, { way: 'forward', view: 'translated' }, node);
      }
    }
  }

  private takePacket(
    w: Uint32Array,
    at: number,
    of: Pick<SeenPacket, 'way' | 'view'>,
    node: string | undefined,
  ): void {
    if (this.packetsOver) return;
    const time = nanosOf(w[at + P_SEC] ?? 0, w[at + P_NSEC] ?? 0);
    if (this.isBefore(time) || this.isAfter(time)) return;
    if (isSyn(w, at) && of.way === 'forward') {
      const seq = w[at + P_SEQ] ?? 0;
      const known = this.openings.find((opening) => opening.seq === seq);
      // Another number: its addresses are used again.
      if (known === undefined && this.openings.length > 0 && of.view === 'original') {
        this.packetsOver = true;
        return;
      }
      if (known === undefined) this.openings.push({ seq, print: w[at + P_PRINT] ?? 0, time });
      else known.time = time;
    }
    // Of an error the way is its own, and it quotes what went the other one.
    const isError = w[at + P_CLASS] === CLASS_ICMP_ERROR;
    const way = isError ? (of.way === 'forward' ? 'back' : 'forward') : of.way;
    this.packets.add({
      seen: seenPacket(w, at, { way, view: of.view }, this.interfaces, node),
      ipid: w[at + P_IPID] ?? 0,
    });
  }

  /** A SYN to an address that is not known yet: the translated copy of one of its own. */
  private isCopyOfOpening(w: Uint32Array, at: number): boolean {
    const seq = w[at + P_SEQ];
    const opening = this.openings.find((one) => one.seq === seq);
    if (opening === undefined || opening.print !== w[at + P_PRINT]) return false;
    const apart = nanosOf(w[at + P_SEC] ?? 0, w[at + P_NSEC] ?? 0) - opening.time;
    return apart < PAIR_NS && apart > -PAIR_NS;
  }

  private takeEntries({ words: w }: ConntrackRows, from: number, to: number): void {
    for (let i = from; i < to; i++) {
      const at = i * CONNTRACK_WORDS;
      if (this.tuples.isEntry(w, at)) this.takeEntry(w, at);
    }
  }

  private takeEntry(w: Uint32Array, at: number): void {
    if (this.entriesOver) return;
    const bits = w[at + C_BITS] ?? 0;
    if ((bits & HAS_TIME) !== 0) {
      const time = nanosOf(w[at + C_SEC] ?? 0, w[at + C_NSEC] ?? 0);
      if (this.isBefore(time + BigInt(w[at + C_RESOLUTION] ?? 0))) {
        this.before.add(seenEntry(w, at));
        return;
      }
      if (this.isAfter(time)) return;
      const { endTime } = this.of.attribution;
      // Its entry is gone, and this is the next use of its addresses.
      if (
        w[at + C_EVENT] === EVENT_NEW &&
        this.destroyed &&
        endTime !== undefined &&
        time > endTime
      ) {
        this.entriesOver = true;
        return;
      }
    }
    if (w[at + C_EVENT] === EVENT_DESTROY) this.destroyed = true;
    if ((bits & HAS_REPLY) !== 0) this.tuples.learnReply(w, at);
    this.conntrack.add(seenEntry(w, at));
  }

  private isBefore(time: Nanos): boolean {
    const { attribution } = this.of;
    if (this.begin === undefined) return false;
    const uncertainty =
      attribution.timeSource === 'packet'
        ? 0n
        : BigInt(attribution.timeUncertaintyNs ?? 0) + PAIR_NS;
    return time < this.begin - BEFORE_NS - uncertainty;
  }

  private isAfter(time: Nanos): boolean {
    const { attribution } = this.of;
    const { endTime, protocol } = attribution;
    if (endTime === undefined) return false;
    // A coarse end is that of its second.
    const coarse = BigInt(attribution.timeUncertaintyNs ?? 0);
    return time > endTime + (protocol === 'udp' ? DATAGRAM_AFTER_NS + coarse : AFTER_NS);
  }

  /** In order of time, each once where several captures of one interface have it. */
  private packetsSeen(): SeenPacket[] {
    const sorted = this.packets.all.sort((a, b) => byTime(a.seen, b.seen));
    const kept: Kept<SeenPacket>[] = [];
    for (const one of sorted) {
      let copy = -1;
      for (let i = kept.length - 1; i >= 0 && kept[i]?.seen.time === one.seen.time; i--) {
        const other = kept[i];
        if (other !== undefined && isCopy(other, one)) copy = i;
      }
      if (copy < 0) kept.push(one);
      else if (kept[copy]?.seen.interface === undefined) kept[copy] = one;
    }
    return kept.map(({ seen }) => seen);
  }

  /** In order of time, each once where it was printed in several forms: the finer time is kept. */
  private entriesSeen(): SeenEntry[] {
    const all = this.conntrack.all;
    const isFine = ({ resolutionNs }: SeenEntry): boolean => resolutionNs <= COARSE_NS;
    // Told to the second, the events of all uses of its addresses within that second cannot be told apart.
    const told = all.some((seen) => seen.event === 'new' && isFine(seen))
      ? all.filter((seen) => seen.event === 'listed' || isFine(seen))
      : all;
    const began = told.findIndex(({ event }) => event === 'new');
    // What comes before is of the entry that was there before; ids do not tell entries of one tuple apart.
    const own = told.filter((seen, i) => i >= began || seen.event === 'listed');
    const before = this.before.all;
    const gone = before.findLast(({ event }) => event === 'destroy')?.time;
    const isGone = ({ event, time }: SeenEntry): boolean =>
      event === 'listed' && gone !== undefined && time !== undefined && time < gone;
    const others = new Set(before);
    const byFineness = [...before, ...own.filter((seen) => !isGone(seen))].sort(
      (a, b) => a.resolutionNs - b.resolutionNs,
    );
    const kept: SeenEntry[] = [];
    const taken = new Set<SeenEntry>();
    for (const one of byFineness) {
      // Told finely, its own are told apart from those before by their times.
      const mayBe = (finer: SeenEntry): boolean => !others.has(finer) || !isFine(one);
      const same = kept.find(
        (finer) => !taken.has(finer) && mayBe(finer) && isSameEntry(finer, one),
      );
      if (same === undefined) kept.push(one);
      else taken.add(same);
    }
    return kept
      .filter((seen) => !others.has(seen))
      .sort((a, b) => byTime(a, b) || rank(a) - rank(b));
  }
}

function isSyn(w: Uint32Array, at: number): boolean {
  return (
    w[at + P_PROTOCOL] === TCP &&
    w[at + P_CLASS] !== CLASS_ICMP_ERROR &&
    ((w[at + P_FLAGS] ?? 0) & (TCP_SYN | TCP_ACK)) === TCP_SYN
  );
}

function isCopy(a: Kept<SeenPacket>, b: Kept<SeenPacket>): boolean {
  const [x, y] = [a.seen, b.seen];
  return (
    a.ipid === b.ipid &&
    x.kind === y.kind &&
    x.sequence === y.sequence &&
    x.acknowledgement === y.acknowledgement &&
    x.view === y.view &&
    x.way === y.way &&
    x.node === y.node &&
    (x.interface === undefined || y.interface === undefined || x.interface === y.interface) &&
    (x.direction === undefined || y.direction === undefined || x.direction === y.direction)
  );
}

/** Whether `coarse` is another print of the event that `fine` is. */
function isSameEntry(fine: SeenEntry, coarse: SeenEntry): boolean {
  if (fine.event !== coarse.event || fine.event === 'listed') return false;
  if (fine.reply?.source.ip !== coarse.reply?.source.ip) return false;
  if (fine.reply?.source.port !== coarse.reply?.source.port) return false;
  if (fine.state !== undefined && coarse.state !== undefined && fine.state !== coarse.state) {
    return false;
  }
  if (fine.time === undefined || coarse.time === undefined) return fine.time === coarse.time;
  // Printed by two programs, neither sooner than the event.
  const late = BigInt(Math.max(fine.latenessNs, coarse.latenessNs));
  return (
    fine.time >= coarse.time - late &&
    fine.time - late <= coarse.time + BigInt(Math.max(coarse.resolutionNs, 1))
  );
}

const RANK: Readonly<Record<SeenEntry['event'], number>> = {
  new: 0,
  update: 1,
  listed: 2,
  destroy: 3,
};

/** Of events within one coarse moment. */
function rank({ event }: SeenEntry): number {
  return RANK[event];
}

/** What has no time comes first: it holds from before. */
function byTime(a: { readonly time?: Nanos }, b: { readonly time?: Nanos }): number {
  const [x, y] = [a.time ?? -1n, b.time ?? -1n];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Until when what happened around it matters; `undefined`: it is still open. */
function endOf(
  { endTime }: Attribution,
  closed: boolean,
  packets: readonly SeenPacket[],
  conntrack: readonly SeenEntry[],
): Nanos | undefined {
  if (!closed) return undefined;
  const last = [endTime, packets.at(-1)?.time, conntrack.at(-1)?.time];
  return last.reduce((a, b) => (a === undefined || (b !== undefined && b > a) ? b : a), undefined);
}

function touches(loss: Loss, begin: Nanos | undefined, end: Nanos | undefined): boolean {
  if (begin !== undefined && loss.to !== undefined && loss.to < begin) return false;
  return end === undefined || loss.from === undefined || loss.from <= end;
}

function leftOutNotice(
  count: number,
  { connection }: Attribution,
): readonly { readonly notice: Notice }[] {
  if (count === 0) return [];
  const detail = `of this connection's packets and conntrack entries ${count} are not shown: the first and the last ${PACKETS_AT_EACH_END} and ${ENTRIES_AT_EACH_END} are`;
  return [{ notice: { code: 'evidence-left-out', connection, detail } }];
}

/** Where routes of their own tell them. */
function podInterfaces(
  { client, backend }: Attribution,
  routes: readonly Route[],
): Pick<Case, 'podInterfaces'> {
  const ofClient = interfaceOf(routes, client.ip);
  const ofBackend = backend === undefined ? undefined : interfaceOf(routes, backend.ip);
  if (ofClient === undefined && ofBackend === undefined) return {};
  return {
    podInterfaces: {
      ...(ofClient !== undefined && { client: ofClient }),
      ...(ofBackend !== undefined && { backend: ofBackend }),
    },
  };
}
