import type { Loss, Notice } from './event.js';
import type { ProtocolName } from './packet.js';
import type { RulePath, Via } from './services.js';
import type { Nanos } from './time.js';

/** What the machine says. Sinks give it its outer form (docs/schema.md). */
export type OutputEvent =
  | { readonly type: 'attribution'; readonly attribution: Attribution }
  | { readonly type: 'close'; readonly attribution: Attribution }
  | { readonly type: 'direct'; readonly direct: Direct }
  | { readonly type: 'loss'; readonly loss: Loss }
  | { readonly type: 'notice'; readonly notice: Notice }
  | { readonly type: 'summary'; readonly summary: Summary };

export interface PodRef {
  readonly namespace: string;
  readonly name: string;
  readonly uid?: string;
  readonly node?: string;
}

export interface Peer {
  readonly ip: string;
  readonly port: number;
  readonly pod?: PodRef | undefined;
  /** The node whose own address this is, or the Pod's. */
  readonly node?: string | undefined;
}

export interface Backend extends Peer {
  readonly hostNetwork?: boolean;
}

export interface ServiceRef {
  readonly namespace?: string;
  readonly name?: string;
  readonly portName?: string;
  readonly via: Via;
}

/** The order in which evidence is listed. */
export const EVIDENCE = ['conntrack', 'packets', 'rules', 'cluster'] as const;
export type Evidence = (typeof EVIDENCE)[number];

export const VERDICTS = ['attributed', 'unattributed', 'conflict'] as const;
export type Verdict = (typeof VERDICTS)[number];
export const OUTCOMES = [
  'established',
  'refused',
  'reset',
  'unanswered',
  'rejected',
  'open',
] as const;
export type Outcome = (typeof OUTCOMES)[number];

export type Reason =
  | 'no-endpoints'
  | 'no-evidence'
  | 'unknown-service-address'
  | 'filtered'
  | 'lost'
  /** Its addresses were used again within the resolution of the only times there are: which use this is cannot be said. */
  | 'time-too-coarse'
  | 'conntrack-disagrees'
  | 'packets-disagree'
  | 'rules-disagree';

export interface Claim {
  readonly evidence: Evidence;
  readonly backend: Backend;
}

export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}

/** What another node's recording has of a connection: the server's end of the wire. */
export interface FarEnd {
  readonly node: string;
  /** When its opening packet was first seen there, by that node's clock. */
  readonly time?: Nanos | undefined;
  readonly interfaces?: { readonly in?: string; readonly out?: string } | undefined;
  readonly handshakeNs?: number | undefined;
}

export interface Latency {
  readonly natNs?: number | undefined;
  readonly handshakeNs?: number | undefined;
  /** From leaving the client's node to the first sight on the server's, by the clocks of both. */
  readonly networkNs?: number | undefined;
  /** What of the handshake passed between the client's interface and the server's node: one clock at a time. */
  readonly networkRoundTripNs?: number | undefined;
}

/** Optional fields may be there as `undefined`: an object of one shape is quicker made than one of many. */
export interface Attribution {
  readonly connection: string;
  /** Absent only for an entry of a listing whose time nobody told. */
  readonly time?: Nanos | undefined;
  readonly timeSource: 'packet' | 'conntrack' | 'listing';
  /** How far `time` may be off, where it is more than 1 ms. */
  readonly timeUncertaintyNs?: number | undefined;
  readonly protocol: ProtocolName;
  readonly zone?: number | undefined;
  readonly client: Peer;
  readonly destination: { readonly ip: string; readonly port: number };
  readonly service?: ServiceRef | undefined;
  readonly backend?: Backend | undefined;
  readonly source?: { readonly ip: string; readonly port: number } | undefined;
  readonly rules?: RulePath | undefined;
  readonly interfaces?: { readonly in?: string; readonly out?: string } | undefined;
  readonly evidence: readonly Evidence[];
  readonly verdict: Verdict;
  readonly reason?: Reason | undefined;
  readonly outcome: Outcome;
  readonly claims?: readonly Claim[] | undefined;
  readonly latency?: Latency | undefined;
  /** The node that translated it, in a run over several nodes. */
  readonly node?: string | undefined;
  readonly farEnd?: FarEnd | undefined;
  readonly retransmits?: number | undefined;
  /** `close` only. */
  readonly endTime?: Nanos | undefined;
  readonly original?: Traffic | undefined;
  readonly reply?: Traffic | undefined;
}

/**
 * A connection straight to a Pod's address: no translation was seen here, so whether a Service was
 * meant is not known (another node may have translated it). Only said where it is asked for.
 */
export interface Direct {
  readonly connection: string;
  readonly time?: Nanos | undefined;
  readonly protocol: ProtocolName;
  readonly client: Peer;
  readonly backend: Backend;
  readonly outcome: Outcome;
  /** Services that list this endpoint. */
  readonly candidates: readonly { readonly namespace: string; readonly name: string }[];
}

export interface Summary {
  readonly connections: {
    readonly seen: number;
    readonly attributed: number;
    readonly unattributed: number;
    readonly conflict: number;
    readonly pending: number;
    readonly reasons: Readonly<Record<string, number>>;
    readonly outcomes: Readonly<Record<string, number>>;
  };
  readonly packets: { readonly seen: number; readonly dropped: number };
  /** Number of `loss` events. */
  readonly losses: number;
  /** From the first to the last event with a time. */
  readonly durationNs: number;
  /** Connections straight to a Pod's address, and those that have nothing to do with a Service. */
  readonly direct: number;
  readonly other: number;
  /** Connections that were open before `live` began; not in `seen`. */
  readonly existing: number;
  /** Events that the output lacks because it was read too slowly; absent if it lacks none. */
  readonly leftOut?: number;
}
