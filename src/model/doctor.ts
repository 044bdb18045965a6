import type { IptablesBackend } from './ruleset.js';

/** What `whichpod doctor` knows of a node: facts as they were found (NodeFacts), and what follows from them (Diagnosis). */

/** How a fact was found, for `-v`: a command, a file, a request. */
type How = string;

/** Something that was tried. */
export type Attempt =
  | { readonly ok: true; readonly detail?: string }
  | { readonly ok: false; readonly reason: string; readonly denied?: boolean };

export interface ProcessFacts {
  /** As Node names it: `linux`, `darwin` … */
  readonly platform: string;
  readonly arch: string;
  /** Of Node, `20.20.2`. */
  readonly version: string;
  readonly uid?: number;
  /** Names of the effective and ambient capabilities, without `CAP_`; absent where the kernel does not tell. */
  readonly effective?: readonly string[];
  readonly ambient?: readonly string[];
  /** Whether this is the machine's first user namespace: capabilities of another count in what it owns only. */
  readonly firstUserNamespace?: boolean;
  readonly addon: Attempt;
  readonly cap: Attempt;
  /** A ring was opened and closed again; absent without the addon. */
  readonly ring?: Attempt;
  /** A socket that hears of new and deleted conntrack entries was opened and closed again; absent without the addon. */
  readonly netlink?: Attempt;
  /** Bytes of receive buffer that the kernel granted, and how many were asked for. */
  readonly buffer?: { readonly asked: number; readonly granted: number };
}

export interface NamespaceFacts {
  /** Network namespaces as the kernel names them: `net:[4026531840]`. */
  readonly own?: string;
  /** Of process 1, where it may be seen. */
  readonly first?: string;
  /** The machine's first network namespace: only there the kernel has certain settings. */
  readonly initial: boolean;
  /** Process 1 is the machine's, not the first of a container. */
  readonly firstProcessIsTheMachines?: boolean;
  /** Runs in a Pod of Kubernetes. */
  readonly inPod: boolean;
}

/** A program that live may run. */
export interface ProgramFacts {
  readonly name: string;
  /** Absent: not there. */
  readonly found?: {
    readonly path: string;
    /** `1.8.9`; absent if it did not tell. */
    readonly version?: string;
    /** Of iptables: which kernel back end it speaks to. */
    readonly backend?: 'nft' | 'legacy';
    /** Why it did not run. */
    readonly fault?: string;
  };
}

/** The rules of one family in one back end. */
export interface RuleSetFacts {
  readonly kind: 'iptables' | 'nftables';
  readonly family: 4 | 6;
  readonly backend: IptablesBackend;
  /** What printed it. */
  readonly program: string;
  readonly version?: string;
  /** Who directs Services' connections by what these rules show. */
  readonly datapath?: string;
  /** Service addresses that lead to endpoints or are refused. */
  readonly addresses: number;
  /** Versions of kube-proxy that write such rules. */
  readonly from?: string;
  readonly to?: string;
  /** Components beside kube-proxy whose chains are there. */
  readonly owners: readonly string[];
  /** Rules that exempt packets from conntrack. */
  readonly untracked: number;
  /** A rule of kube-proxy's has lost its `--mark`: the program that printed it cannot read it whole. */
  readonly losesMarks?: boolean;
}

export interface RulesFacts {
  readonly sets: readonly RuleSetFacts[];
  /** What could not be read: the program and why. */
  readonly faults: readonly {
    readonly program: string;
    readonly reason: string;
    readonly denied?: boolean;
    readonly late?: boolean;
  }[];
  /** Signs of ipvs in the kernel. */
  readonly ipvs?: string;
  /** What kube-proxy says of itself on this node. */
  readonly proxyMode?: string;
  readonly proxyVersion?: string;
}

export interface ConntrackFacts {
  /** `net.netfilter.nf_conntrack_…` without that prefix, as far as they are there. */
  readonly settings: Readonly<Record<string, number>>;
  /** Sums over processors since the kernel started. */
  readonly counters: Readonly<Record<string, number>>;
  /** `net.bridge.bridge-nf-call-iptables`. */
  readonly bridgeCalls?: number;
  /** `net.core.rmem_max` and `rmem_default`, in bytes. */
  readonly rmemMax?: number;
  readonly rmemDefault?: number;
}

export interface InterfaceFacts {
  readonly list: readonly {
    readonly name: string;
    /** `veth`, `bridge`, `vxlan` …; absent for a device, or where the kernel was not asked. */
    readonly kind?: string;
    readonly master?: string;
    /** Its other end is in another network namespace. */
    readonly leadsAway?: boolean;
    readonly up: boolean;
  }[];
  /** Names below /sys/fs/bpf that tell of a datapath. */
  readonly bpf: readonly string[];
  readonly how: How;
}

export type ClusterVerb = 'list' | 'watch';

export interface ClusterFacts {
  /** The configuration that was used, or was looked for. */
  readonly config: string;
  readonly server?: string;
  /** Why nothing could be asked. */
  readonly fault?: { readonly reason: string; readonly kind: 'config' | 'refused' | 'unreachable' };
  /** `list pods` …: allowed or not, and what the server says about it. */
  readonly rights: readonly {
    readonly resource: string;
    readonly verb: ClusterVerb;
    readonly allowed: boolean;
    readonly reason?: string;
  }[];
  /** How rights were found. */
  readonly rightsHow: How;
  /** Server's clock less ours, and the most by which that may be wrong: HTTP tells whole seconds. */
  readonly skew?: { readonly ms: number; readonly uncertaintyMs: number };
  /** The name that this node is looked for by. */
  readonly nodeName?: string;
  readonly nodeFound?: boolean;
  /** The Node that has an address of this machine's. */
  readonly nodeByAddress?: string;
  readonly kubelet?: string;
}

export interface ClockFacts {
  readonly source?: string;
  /** absent: nobody tells. */
  readonly synchronised?: boolean;
  readonly synchronisedHow?: How;
  /** By how much the time of day moved against the steady clock while this was looked at. */
  readonly jumpMs: number;
}

export interface NodeFacts {
  readonly process: ProcessFacts;
  readonly namespace: NamespaceFacts;
  readonly programs: readonly ProgramFacts[];
  readonly rules: RulesFacts;
  readonly conntrack: ConntrackFacts;
  readonly interfaces: InterfaceFacts;
  /** Absent if no cluster is to be asked. */
  readonly cluster?: ClusterFacts;
  readonly clock: ClockFacts;
}

export type CheckGroup =
  | 'process'
  | 'node'
  | 'programs'
  | 'rules'
  | 'conntrack'
  | 'interfaces'
  | 'cluster';

/** ok: as it should be. warn: live works, and misses something. fail: live cannot work. */
export type CheckLevel = 'ok' | 'warn' | 'fail';

export interface Check {
  readonly group: CheckGroup;
  /** Stable, kebab-case. */
  readonly check: string;
  readonly level: CheckLevel;
  /** What is so, in one sentence. */
  readonly fact: string;
  /** What to do about it; always with warn and fail. */
  readonly remedy?: string;
  /** What live misses because of it. */
  readonly misses?: string;
  readonly how: How;
}

/** How live would read, and what it would miss. */
export interface Diagnosis {
  readonly works: boolean;
  readonly packets: 'ring' | 'cap' | 'none';
  readonly conntrack: 'netlink' | 'conntrack -E' | 'none';
  /** Where the rules would come from: `iptables (nft)`, `nftables` …; empty: from nowhere. */
  readonly rules: readonly string[];
  readonly cluster: 'api' | 'partly' | 'none';
  readonly misses: readonly string[];
  readonly checks: readonly Check[];
}
