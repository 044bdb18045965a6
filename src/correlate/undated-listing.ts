import { sameAddress } from '../model/address.js';
import {
  C_BITS,
  C_FAMILY,
  C_ID,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RDPORT,
  C_RDST,
  C_RSPORT,
  C_RSRC,
  CONNTRACK_WORDS,
  HAS_ID,
} from '../model/conntrack.js';
import { ConntrackRows } from '../model/conntrack-rows.js';
import { TupleMap } from './tuple-map.js';

/**
 * A listing of conntrack whose time nobody told: it was made at some moment of the run. Its entries
 * are kept apart; events that tell of the same entry tick them off, and what is left speaks at the
 * end, for the newest connection of each tuple (the table holds no other).
 */
export class UndatedListing {
  readonly rows = new ConntrackRows(64);
  private readonly byTuple = new TupleMap(64);
  private readonly older: number[] = [];
  private readonly told: boolean[] = [];
  private readonly nodes: number[] = [];

  get size(): number {
    return this.rows.length;
  }

  /**
   * Keeps a copy of an entry that `node` has; a second telling of the same entry (text and XML of one listing) is
   * dropped.
   */
  add(words: Uint32Array, at: number, node: number): void {
    const protocol = words[at + C_PROTOCOL] ?? 0;
    const sport = words[at + C_OSPORT] ?? 0;
    const dport = words[at + C_ODPORT] ?? 0;
    const head = this.byTuple.find(words, at + C_OSRC, at + C_ODST, sport, dport, protocol);
    for (let i = head; i >= 0; i = this.older[i] ?? -1) {
      if (sameEntry(this.rows.words, i * CONNTRACK_WORDS, words, at)) return;
    }
    const number = this.rows.length;
    const to = this.rows.add();
    this.rows.words.set(words.subarray(at, at + CONNTRACK_WORDS), to);
    this.older.push(head);
    this.told.push(false);
    this.nodes.push(node);
    this.byTuple.set(words, at + C_OSRC, at + C_ODST, sport, dport, protocol, number);
  }

  has(
    words: Uint32Array,
    src: number,
    dst: number,
    sport: number,
    dport: number,
    protocol: number,
  ): boolean {
    return this.byTuple.find(words, src, dst, sport, dport, protocol) >= 0;
  }

  /** Ticks off the entry that an event tells of. */
  tick(words: Uint32Array, at: number): void {
    if (this.rows.length === 0) return;
    const found = this.byTuple.find(
      words,
      at + C_OSRC,
      at + C_ODST,
      words[at + C_OSPORT] ?? 0,
      words[at + C_ODPORT] ?? 0,
      words[at + C_PROTOCOL] ?? 0,
    );
    for (let i = found; i >= 0; i = this.older[i] ?? -1) {
      if (sameEntry(this.rows.words, i * CONNTRACK_WORDS, words, at)) this.told[i] = true;
    }
  }

  /** Place among the state's vantages of the node that has the entry at an offset in `rows`. */
  nodeOf(at: number): number {
    return this.nodes[at / CONNTRACK_WORDS] ?? 0;
  }

  /** Offsets in `rows` of the entries of which no event told. */
  *left(): Generator<number> {
    for (let i = 0; i < this.rows.length; i++) if (!this.told[i]) yield i * CONNTRACK_WORDS;
  }

  /** Offsets in `rows` of the entries of which events told. */
  *ticked(): Generator<number> {
    for (let i = 0; i < this.rows.length; i++) if (this.told[i]) yield i * CONNTRACK_WORDS;
  }
}

/** Same reply tuple, and same id where both have one. The original tuple is known to be equal. */
function sameEntry(a: Uint32Array, at: number, b: Uint32Array, bt: number): boolean {
  if (a[at + C_FAMILY] !== b[bt + C_FAMILY]) return false;
  if (a[at + C_RSPORT] !== b[bt + C_RSPORT] || a[at + C_RDPORT] !== b[bt + C_RDPORT]) return false;
  if (!sameAddress(a, at + C_RSRC, b, bt + C_RSRC)) return false;
  if (!sameAddress(a, at + C_RDST, b, bt + C_RDST)) return false;
  const ids = (a[at + C_BITS] ?? 0) & (b[bt + C_BITS] ?? 0) & HAS_ID;
  return ids === 0 || a[at + C_ID] === b[bt + C_ID];
}
