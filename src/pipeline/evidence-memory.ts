import type { ClusterState } from '../correlate/cluster-state.js';
import type { Attribution, OutputEvent } from '../model/attribution.js';
import type { EarlierConnection } from '../model/case.js';
import { CONNTRACK_WORDS } from '../model/conntrack.js';
import { ConntrackRows } from '../model/conntrack-rows.js';
import type { InputEvent, Loss, Notice } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import { PACKET_WORDS } from '../model/packet.js';
import { PacketRows } from '../model/packet-rows.js';
import { CaseGatherer } from './case-gatherer.js';
import { Choice, type Match } from './choice.js';
import { Earlier } from './earlier.js';
import { KeptAttribution } from './kept-attribution.js';
import { OpenOnes } from './open-ones.js';
import { Ring } from './ring.js';
import { RowRing } from './row-ring.js';
import type { Selector } from './selector.js';

/** A connection has eight to twenty packets of interest, counting each interface that shows it. */
const PACKETS_EACH = 24;
/** NEW, DESTROY, and with updates up to six more. */
const ENTRIES_EACH = 8;
const MAX_NOTICES = 500;
const MAX_LOSSES = 200;
/** An hour at one reading every ten seconds, as long as the cluster's past is kept. */
const MAX_READINGS = 360;
/** Routes and addresses in lists, in all readings together: some 10 MB. */
const MAX_READ_ENTRIES = 100_000;
/** Rule sets that were in force before the present ones, a kind; and Service addresses in all of them together. */
const MAX_OLD_RULES = 4;
const MAX_OLD_ENTRIES = 50_000;

type RulesEvent = Extract<InputEvent, { type: 'rules' }>;
type ReadingsEvent = Extract<InputEvent, { type: 'readings' }>;

export interface MemoryOptions {
  readonly interfaces: Interfaces;
  /** The machine's own. */
  readonly cluster: ClusterState;
  /** The node of events that name none. */
  readonly home?: string;
  /** So many that are over are remembered, and so many that are not; in proportion the packets and conntrack entries. */
  readonly connections: number;
}

/** What of one node. */
interface Rings {
  readonly packets: RowRing;
  readonly entries: RowRing;
}

/**
 * Remembers the last stretch of a run: raw rows in rings of fixed size, the last connections, the rules
 * that were in force. What is asked of it later is gathered then, so remembering costs a copy.
 */
export class EvidenceMemory {
  private readonly earlier = new Earlier();
  private readonly options: MemoryOptions;
  private readonly rings = new Map<string, Rings>();
  private readonly open: OpenOnes;
  private readonly closed: Ring<KeptAttribution>;
  private rules: RulesEvent[] = [];
  private addresses: Extract<InputEvent, { type: 'addresses' }> | undefined;
  private cluster: InputEvent | undefined;
  private readonly readings: ReadingsEvent[] = [];
  private readonly notices: Notice[] = [];
  private readonly losses: Loss[] = [];
  private sawPackets = false;
  private sawEntries = false;

  constructor(options: MemoryOptions) {
    this.options = options;
    this.open = new OpenOnes(options.connections);
    this.closed = new Ring(options.connections, () => new KeptAttribution());
  }

  /** Takes an event of the input, of which nothing is kept but copies. */
  take(event: InputEvent): void {
    switch (event.type) {
      case 'packets':
        this.sawPackets = true;
        this.of(event.node).packets.add(event.rows, event.from ?? 0, event.to ?? event.rows.length);
        break;
      case 'conntrack':
        this.sawEntries = true;
        this.of(event.node).entries.add(event.rows, event.from ?? 0, event.to ?? event.rows.length);
        break;
      case 'rules':
        this.takeRules(event);
        break;
      case 'addresses':
        this.addresses = event;
        break;
      case 'readings':
        this.readings.push(event);
        this.forgetReadings();
        break;
      case 'cluster':
        this.cluster ??= { type: 'cluster', change: { op: 'list', kind: 'node', items: [] } };
        break;
      default:
        break;
    }
  }

  /** Takes what the machine said about it. */
  hear(events: readonly OutputEvent[]): void {
    this.earlier.hear(events);
    for (const event of events) {
      switch (event.type) {
        case 'attribution':
          this.open.set(event.attribution);
          break;
        case 'close':
          this.open.delete(event.attribution.connection);
          this.closed.next().set(event.attribution);
          break;
        case 'notice':
          keep(this.notices, event.notice, MAX_NOTICES);
          break;
        case 'loss':
          keep(this.losses, event.loss, MAX_LOSSES);
          break;
        default:
          break;
      }
    }
  }

  /** Those of the remembered connections that are meant, with what was said about them. */
  ask(selector: Selector): Choice {
    const choice = new Choice(selector);
    const said: OutputEvent[] = [];
    for (const kept of this.closed.all) {
      const attribution = kept.get();
      // Known from its first word on, whatever its last one is.
      said.push({ type: 'attribution', attribution }, { type: 'close', attribution });
    }
    for (const attribution of this.open.all) said.push({ type: 'attribution', attribution });
    for (const notice of this.notices) said.push({ type: 'notice', notice });
    for (const loss of this.losses) said.push({ type: 'loss', loss });
    choice.hear(said);
    return choice;
  }

  /** What its client asked of the same Service before. */
  before(attribution: Attribution): readonly EarlierConnection[] {
    return this.earlier.before(attribution, this.open.all);
  }

  /** A gatherer that was given everything that is remembered. */
  gather(match: Match): CaseGatherer {
    const { interfaces, cluster, home } = this.options;
    const gatherer = new CaseGatherer(match, interfaces, cluster, home);
    if (this.cluster !== undefined) gatherer.take(this.cluster);
    if (this.addresses !== undefined) gatherer.take(this.addresses);
    for (const event of this.readings) gatherer.take(event);
    for (const event of this.rules) gatherer.take(event);
    for (const [name, { packets, entries }] of this.rings) {
      const node = name === '' ? {} : { node: name };
      // Conntrack first: it names endpoints that packets are then known by.
      if (this.sawEntries) {
        const rows = new ConntrackRows(1);
        entries.copyTo(rows);
        gatherer.take({ type: 'conntrack', rows, ...node });
      }
      if (this.sawPackets) {
        const rows = new PacketRows(1);
        packets.copyTo(rows);
        gatherer.take({ type: 'packets', rows, ...node });
      }
    }
    return gatherer;
  }

  private of(node = ''): Rings {
    let rings = this.rings.get(node);
    if (rings === undefined) {
      const { connections } = this.options;
      rings = {
        packets: new RowRing(PACKET_WORDS, PACKETS_EACH * connections),
        entries: new RowRing(CONNTRACK_WORDS, ENTRIES_EACH * connections),
      };
      this.rings.set(node, rings);
    }
    return rings;
  }

  /** What was told last of anything is kept, however long ago that was. */
  private forgetReadings(): void {
    const { readings } = this;
    let entries = readings.reduce((sum, one) => sum + entriesIn(one), 0);
    while (readings.length > MAX_READINGS || entries > MAX_READ_ENTRIES) {
      const at = readings.findIndex((one, i) => isToldAgain(one, readings.slice(i + 1)));
      const [gone] = at < 0 ? [] : readings.splice(at, 1);
      if (gone === undefined) break;
      entries -= entriesIn(gone);
      // What conntrack's table bore before what is forgotten is no reading around any connection.
      for (const [i, one] of readings.slice(0, at).entries()) {
        const { table: _, ...facts } = one.readings;
        readings[i] = { ...one, readings: facts };
      }
    }
  }

  private takeRules(event: RulesEvent): void {
    const key = keyOf(event);
    const before = this.rules.findLast((other) => keyOf(other) === key);
    // The same rules with better names.
    if (event.again === true && before?.rules === event.rules) {
      this.rules = this.rules.filter((other) => other !== before);
      const { time } = before;
      this.rules.push({ ...event, ...(time !== undefined && { time }) });
      return;
    }
    this.rules.push(event);
    const ofKey = this.rules.filter((other) => keyOf(other) === key);
    const old = ofKey.slice(0, -1);
    let entries = old.reduce((sum, { services }) => sum + services.length, 0);
    const gone = new Set<RulesEvent>();
    for (const one of old) {
      if (old.length - gone.size <= MAX_OLD_RULES && entries <= MAX_OLD_ENTRIES) break;
      gone.add(one);
      entries -= one.services.length;
    }
    if (gone.size > 0) this.rules = this.rules.filter((other) => !gone.has(other));
  }
}

function isToldAgain({ readings }: ReadingsEvent, later: readonly ReadingsEvent[]): boolean {
  return Object.keys(readings).every((member) =>
    later.some((one) => Object.hasOwn(one.readings, member)),
  );
}

function entriesIn({ readings: { routes = [], recent = [] } }: ReadingsEvent): number {
  return recent.reduce((sum, [, held]) => sum + 1 + held.length, routes.length);
}

function keyOf({ node = '', rules: { kind, family, backend } }: RulesEvent): string {
  return `${node} ${kind} ${family} ${backend}`;
}

function keep<T>(list: T[], one: T, atMost: number): void {
  list.push(one);
  if (list.length > atMost) list.shift();
}
