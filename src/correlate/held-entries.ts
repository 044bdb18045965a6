import { C_ODPORT, C_OSPORT, CONNTRACK_WORDS } from '../model/conntrack.js';

/** A packet and conntrack's report of it come by different ways, and either may wait to be read. */
const HOLD_NS = 20_000_000;

interface Held {
  readonly row: Uint32Array;
  /** Place of the node among the state's vantages. */
  readonly here: number;
  readonly due: number;
}

/**
 * New entries that wait a moment for their packet: only it tells whether they are a connection's own or the
 * second entry of the one before, whose opening packet was sent again. Few at a time, and mostly none.
 */
export class HeldEntries {
  /** When the first of them has waited long enough. */
  due = Number.POSITIVE_INFINITY;
  private held: Held[] = [];

  add(row: Uint32Array, at: number, here: number, now: number): void {
    const due = now + HOLD_NS;
    this.held.push({ row: row.slice(at, at + CONNTRACK_WORDS), here, due });
    this.due = Math.min(this.due, due);
  }

  /** Whether one of them may be the entry that this row tells more of. */
  concerns(row: Uint32Array, at: number): boolean {
    return this.held.some(
      ({ row: own }) =>
        own[C_OSPORT] === row[at + C_OSPORT] && own[C_ODPORT] === row[at + C_ODPORT],
    );
  }

  /** All of them, in the order in which they came; they are not held any more. */
  release(): readonly Held[] {
    const { held } = this;
    this.held = [];
    this.due = Number.POSITIVE_INFINITY;
    return held;
  }
}
