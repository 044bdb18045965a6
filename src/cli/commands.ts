import type { OffsetAt } from '../model/time.js';
import type { Format } from '../sinks/sink.js';
import type { FailOn } from './fail-on.js';
import type { Filter } from './filter.js';
import type { Io } from './io.js';

/** What every command that streams attributions is asked for. */
export interface OutputRequest {
  readonly format: Format;
  /** Whether colours are allowed at all; a stream that is no terminal never gets them. */
  readonly colors: boolean;
  readonly verbose: boolean;
  readonly filter: Filter;
  /** Show connections straight to a Pod's address too. */
  readonly direct: boolean;
  readonly failOn: readonly FailOn[];
}

export const BACKENDS = ['auto', 'ring', 'cap'] as const;
export const CONNTRACK = ['auto', 'netlink', 'events', 'list', 'none'] as const;
export const RULES = ['auto', 'iptables', 'nftables', 'none'] as const;

export interface LiveRequest {
  readonly output: OutputRequest;
  readonly backend: (typeof BACKENDS)[number];
  readonly conntrack: (typeof CONNTRACK)[number];
  readonly rules: (typeof RULES)[number];
  /** Absent: do not ask any cluster. */
  readonly cluster?: ClusterRequest;
  /** Files or folders of Kubernetes objects, in place of a cluster. */
  readonly objects?: readonly string[];
  /** How the cluster calls this node, if the user says so. */
  readonly nodeName?: string;
  readonly durationNs?: number;
  /** End after this many connections. */
  readonly count?: number;
  /** Idle time of an unanswered UDP flow; without it the machine's own. */
  readonly udpIdleNs?: number;
  /** Write the run down. */
  readonly record?: RecordRequest;
  /** Changes of conntrack's entries too. */
  readonly conntrackUpdates?: boolean;
  /** So many connections are remembered for `explain`; 0 or absent: none. */
  readonly remember?: number;
}

export interface RecordRequest {
  /** `-` for standard output. */
  readonly path: string;
  /** Every packet, not only what the machine needs. */
  readonly everything: boolean;
  /** Pseudonyms in the place of names and addresses. */
  readonly redact: boolean;
  /** Bytes to keep of each packet; absent: its headers. */
  readonly snaplen?: number;
  /** A file is ended when it is this large, or this old; the last `maxFiles` are kept. */
  readonly maxBytes?: number;
  readonly maxNs?: number;
  readonly maxFiles?: number;
}

/** Where neither is given: the default kubeconfig, else the cluster that we run in, else none. */
interface ClusterRequest {
  readonly kubeconfig?: string;
  readonly context?: string;
}

/** `[NAME=]PATH[@TIME]` as given; what the name and the time mean, the reader of inputs decides. */
export interface ReplayRequest {
  readonly output: OutputRequest;
  /** At least one, in the order given. */
  readonly inputs: readonly ReplayInput[];
  /** The node of the inputs that name none. */
  readonly nodeName?: string;
  /** Times without a zone: UTC unless the user says otherwise. */
  readonly offsetAt?: OffsetAt;
  readonly udpIdleNs?: number;
  /** Wait for what is added to a recording that is still being written. */
  readonly follows?: boolean;
  /** So many times as fast as it was recorded; absent: as fast as it goes. */
  readonly speed?: number;
  /** Write the captures with names and comments into this file; `-`: to standard output, and nothing else there. */
  readonly annotated?: string;
}

export interface ReplayInput {
  /** The part before `=`: the node that this recording is from. */
  readonly node?: string;
  /** A path that may still end in `@TIME`: only the file system tells whether it is part of the name. */
  readonly path: string;
}

export interface DemoRequest {
  readonly output: OutputRequest;
  /** Requests to send; without it the demo's own number. */
  readonly count?: number;
}

/**
 * The running code of the commands. Each resolves with its exit code when everything is written and cleaned
 * up, rejects with UsageError or PermissionError for what the user can mend, and ends early when `io.signal`
 * aborts (an exit code of 0 then becomes 130).
 */
export interface Commands {
  live(request: LiveRequest, io: Io): Promise<number>;
  replay(request: ReplayRequest, io: Io): Promise<number>;
  demo(request: DemoRequest, io: Io): Promise<number>;
}
