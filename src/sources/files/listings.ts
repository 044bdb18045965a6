import {
  C_BITS,
  C_EVENT,
  C_ODPORT,
  C_PROTOCOL,
  C_RDPORT,
  C_RSRC,
  C_ZONE,
  CONNTRACK_WORDS,
  EVENT_LISTED,
  HAS_REPLY,
} from '../../model/conntrack.js';
import type { ConntrackRows } from '../../model/conntrack-rows.js';
import { UsageError } from '../../model/problem.js';
import type { InputFile } from './expand.js';

/** Two thirds of a tuple's hash; a double holds 53 bits exactly. */
const HIGH_BITS = 2 ** 21;
const WORD = 2 ** 32;

/**
 * Whether listings without a time can be of one moment: text and XML of one listing, or of both
 * families, can; the same original tuple with two reply tuples cannot. Entries are kept as hashes
 * (some 60 bytes each): of a million in two listings, two differ unseen or agree wrongly once in 10,000 runs.
 */
export class ListingCheck {
  private readonly files: InputFile[] = [];
  /** By hash of zone and original tuple: number of the file, and hash of the reply tuple. */
  private readonly seen = new Map<number, number>();

  /** Adds entries of a file. Throws UsageError if another file told of one of them otherwise. */
  add(file: InputFile, rows: ConntrackRows): void {
    if (this.files.at(-1) !== file) this.files.push(file);
    const number = this.files.length - 1;
    const { words } = rows;
    for (let at = 0; at < rows.length * CONNTRACK_WORDS; at += CONNTRACK_WORDS) {
      if (words[at + C_EVENT] !== EVENT_LISTED) continue;
      if (((words[at + C_BITS] ?? 0) & HAS_REPLY) === 0) continue;
      const protocol = words[at + C_PROTOCOL] ?? 0;
      // Zone, directional zones and the original tuple lie side by side; then the reply tuple.
      const high = hash(words, at + C_ZONE, at + C_ODPORT, protocol) % HIGH_BITS;
      const low = hash(words, at + C_ZONE, at + C_ODPORT, ~protocol);
      const key = high * WORD + low;
      const reply = hash(words, at + C_RSRC, at + C_RDPORT, protocol);
      const known = this.seen.get(key);
      if (known === undefined) {
        this.seen.set(key, number * WORD + reply);
      } else if (known % WORD !== reply && Math.floor(known / WORD) !== number) {
        this.refuse(this.files[Math.floor(known / WORD)], file);
      }
    }
  }

  private refuse(a: InputFile | undefined, b: InputFile): never {
    throw new UsageError(
      `two listings of conntrack without a time contradict each other: ${a?.name ?? ''} and ${b.name}; say when each was taken, FILE@TIME (seconds since 1970 or RFC 3339), or leave one out`,
    );
  }
}

/** FNV-1a over whole words, mixed at the end; unsigned. */
function hash(words: Uint32Array, from: number, last: number, seed: number): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = from; i <= last; i++) {
    h = Math.imul(h ^ (words[i] ?? 0), 0x01000193);
    h ^= h >>> 15;
  }
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}
