import type { Attribution } from '../../model/attribution.js';
import type { CaseOnWire } from '../../pipeline/case-wire.js';
import type { Match } from '../../pipeline/choice.js';
import type { Selector } from '../../pipeline/selector.js';

/**
 * What passes over a live run's socket: one line of JSON each way, then the end. Both are of one version
 * of whichpod or say so.
 */
export const PROTOCOL = 'whichpod-memory/1';

/** A selector is a few addresses. */
export const MAX_REQUEST_BYTES = 4_096;
/** A case with the rules of 5,000 Services has 5 MB. */
export const MAX_REPLY_BYTES = 256 << 20;
/** Gathering takes milliseconds; reading routes, and a busy machine, the rest. */
export const REPLY_MS = 15_000;

export interface MemoryRequest {
  readonly protocol: typeof PROTOCOL;
  readonly selector: Selector;
}

export type MemoryReply =
  | {
      readonly protocol: typeof PROTOCOL;
      /** Absent: none matches. */
      readonly case?: CaseOnWire;
      readonly told: ToldOnWire;
      /** How many connections are remembered at most. */
      readonly remember: number;
    }
  | { readonly protocol: typeof PROTOCOL; readonly error: string };

interface ToldOnWire {
  readonly seen: number;
  readonly matched: number;
  readonly inOrder: readonly Match[];
  readonly nearest: readonly Attribution[];
  readonly direct: string | undefined;
}
