import type { ClusterChange } from './cluster.js';
import type { ConntrackRows } from './conntrack-rows.js';
import type { PacketRows } from './packet-rows.js';
import type { Readings } from './readings.js';
import type { RuleSet } from './ruleset.js';
import type { ServiceEntry } from './services.js';
import type { Nanos } from './time.js';

/** Where a loss happened. */
type LossSource =
  | 'ring' // the kernel dropped packets before we read them
  | 'capture' // another capture backend or program lost packets (cap's child died, pcapng statistics)
  | 'netlink' // conntrack events overran the socket's buffer
  | 'conntrack' // the conntrack program died, complained or printed what could not be read
  | 'queue' // our own bounded queue was full
  | 'file' // an input was cut short or damaged
  | 'watch' // a gap in the watch of the cluster
  | 'rules'; // the rules could not be read for a while

/** Something that should have been seen and was not. `count` is at least 1; where the number is unknown, 1 a gap. */
export interface Loss {
  readonly source: LossSource;
  readonly count: number;
  readonly from?: Nanos;
  readonly to?: Nanos;
  readonly detail: string;
}

/** Something a user should know; `code` is stable (docs/schema.md lists them). */
export interface Notice {
  readonly code: string;
  readonly time?: Nanos;
  readonly connection?: string;
  readonly detail: string;
}

/**
 * What sources tell the machine. Times absent from low-rate events mean "holds from the beginning".
 * Packets and conntrack rows carry their times themselves; `from` and `to` (row numbers, `to` excluded)
 * narrow an event to a part of its rows, so that sources can be merged by time without copying.
 * The receiver may read the rows only until it returns: the owner fills them again.
 */
export type InputEvent =
  | {
      readonly type: 'packets';
      /** Where they were recorded, in a run over several nodes. */
      readonly node?: string;
      readonly rows: PacketRows;
      readonly from?: number;
      readonly to?: number;
    }
  | {
      readonly type: 'conntrack';
      readonly node?: string;
      readonly rows: ConntrackRows;
      readonly from?: number;
      readonly to?: number;
    }
  | {
      readonly type: 'rules';
      readonly time?: Nanos;
      readonly node?: string;
      readonly rules: RuleSet;
      /** What the rules make reachable, whatever back end they were written for. */
      readonly services: readonly ServiceEntry[];
      /** The same rules as before: names of Services have been learnt since. */
      readonly again?: true;
    }
  | {
      readonly type: 'cluster';
      readonly time?: Nanos;
      readonly change: ClusterChange;
    }
  /** The node's own addresses (canonical text); replaces what was known. */
  | {
      readonly type: 'addresses';
      readonly time?: Nanos;
      readonly node?: string;
      readonly addresses: readonly string[];
    }
  /** What the node itself says of what is no traffic: `explain` asks for it, the machine passes it over. */
  | {
      readonly type: 'readings';
      readonly time: Nanos;
      readonly node?: string;
      readonly readings: Readings;
    }
  | { readonly type: 'loss'; readonly loss: Loss }
  | { readonly type: 'notice'; readonly notice: Notice }
  | { readonly type: 'tick'; readonly time: Nanos };
