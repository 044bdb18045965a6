import type { Case, Versions } from '../model/case.js';
import type { ConntrackTable, Readings } from '../model/readings.js';
import { NANOS_PER_SECOND, type Nanos } from '../model/time.js';
import type { NodeReadings } from './node-facts.js';

/** Of these the last word counts. */
const FACTS = ['routes', 'recent', 'recentCapacity', 'kubeProxy', 'apiServer'] as const;
type Facts = Omit<Readings, 'table'>;

/**
 * What was read of a node around a connection, out of readings in order of time: what it is as of the first reading
 * after the connection's end, or the last there is; conntrack's table before and after, or the nearest.
 */
export class ReadingsThen {
  private readonly begin: Nanos | undefined;
  private readonly end: Nanos | undefined;
  private facts: Facts = {};
  private readonly told = new Map<keyof Facts, Nanos>();
  private asOf: Nanos | undefined;
  private isOver = false;
  private before: ConntrackTable | undefined;
  private after: ConntrackTable | undefined;

  /** Without an end everything is as of the last reading. */
  constructor(begin?: Nanos, end?: Nanos) {
    this.begin = begin;
    this.end = end;
  }

  take(time: Nanos, { table, ...facts }: Readings): void {
    const { begin, end } = this;
    for (const name of FACTS) {
      if (facts[name] === undefined || (this.isOver && this.told.has(name))) continue;
      this.facts = { ...this.facts, [name]: facts[name] };
      this.told.set(name, time);
    }
    if (table !== undefined) {
      const reading = { time, ...table };
      if (this.before === undefined || begin === undefined || time <= begin) this.before = reading;
      if (!this.isOver) this.after = reading;
    }
    if (this.isOver) return;
    this.asOf = time;
    this.isOver = end !== undefined && time >= end;
  }

  /** What rules ask of the node. */
  get node(): Omit<NodeReadings, 'addresses'> {
    const { routes, recent } = this.facts;
    const passed = Number((this.asOf ?? 0n) - (this.told.get('recent') ?? 0n)) / NANOS_PER_SECOND;
    return {
      ...(routes !== undefined && { routes }),
      ...(recent !== undefined && {
        recent: recent.map(([list, held]) => [
          list,
          held.map(([address, seconds]) => [address, Math.max(0, seconds + passed)]),
        ]),
      }),
    };
  }

  /** What servers said of themselves. */
  get versions(): Pick<Versions, 'kubeProxy' | 'api'> {
    const { kubeProxy, apiServer } = this.facts;
    return {
      ...(kubeProxy !== undefined && { kubeProxy }),
      ...(apiServer !== undefined && { api: apiServer }),
    };
  }

  get others(): Pick<Case, 'conntrackTable' | 'recentCapacity'> {
    const { before, after, facts } = this;
    const { recentCapacity } = facts;
    return {
      ...(recentCapacity !== undefined && { recentCapacity }),
      ...(before !== undefined &&
        after !== undefined && {
          conntrackTable: before.time === after.time ? { before } : { before, after },
        }),
    };
  }
}
