import type { Case, ConntrackTable } from '../../model/case.js';
import type { Nanos } from '../../model/time.js';
import { readConntrackTable } from './node-readings.js';

const EVERY_MS = 10_000;
/** An hour, as long as the cluster's past is kept. */
const MAX_READINGS = 360;

/** Reads from time to time what the kernel says of its conntrack table: what happened to it shows in two readings. */
export class TableReadings {
  private readonly all: ConntrackTable[] = [];
  private readonly timer: NodeJS.Timeout;
  private readonly now: () => Nanos;

  constructor(now: () => Nanos) {
    this.now = now;
    void this.read();
    this.timer = setInterval(() => void this.read(), EVERY_MS).unref();
  }

  async read(): Promise<void> {
    this.all.push(await readConntrackTable(this.now()));
    if (this.all.length > MAX_READINGS) this.all.shift();
  }

  /** The last before a connection's beginning, and the first after its end, or the nearest there are. */
  around(begin: Nanos | undefined, end: Nanos | undefined): Pick<Case, 'conntrackTable'> {
    const { all } = this;
    const before = all.findLast(({ time = 0n }) => begin === undefined || time <= begin) ?? all[0];
    const after = all.find(({ time = 0n }) => end !== undefined && time >= end) ?? all.at(-1);
    if (before === undefined || after === undefined) return {};
    return { conntrackTable: before === after ? { before } : { before, after } };
  }

  stop(): void {
    clearInterval(this.timer);
  }
}
