import type { RuleSet } from './ruleset.js';

/**
 * How a connection's first packet goes through a node's rules: which it met, which matched, where that
 * could end, and with what probability.
 */

/** An exact probability: parts / 2^bits. iptables' `statistic` counts in 2^-31, nftables' numgen in 2^-32. */
export interface Share {
  readonly parts: bigint;
  readonly bits: number;
}

/** The first packet of a connection as it comes into the node's rules. Addresses are canonical text. */
export interface FirstPacket {
  /** 6, 17 or 132. */
  readonly protocol: number;
  readonly source: string;
  /** Absent: not known, or any. */
  readonly sourcePort?: number;
  readonly destination: string;
  readonly port: number;
  /** From outside the node's own network stack (a Pod, another host), or from a process of the node. */
  readonly from: { readonly kind: 'interface'; readonly name?: string } | { readonly kind: 'node' };
}

/** What rules ask about beside the packet. What is absent is not known. */
export interface NodeFacts {
  /** The node's own addresses. */
  readonly addresses?: ReadonlySet<string>;
  /** Whether a Pod is known to have this address for itself: then it is not the node's. */
  isPods?(address: string): boolean;
  /** The interface by which a packet to this address leaves, where a route is known. */
  interfaceTo?(address: string): string | undefined;
  /** What the kernel's `recent` lists hold: list, address, seconds since it was last seen. */
  readonly recent?: ReadonlyMap<string, ReadonlyMap<string, number>>;
}

export type Hook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';

/** What a rule that matched does to the packet. */
export type Effect =
  | { readonly does: 'jump' | 'goto'; readonly chain: string }
  | { readonly does: 'dnat'; readonly ip?: string; readonly port?: number }
  | { readonly does: 'snat'; readonly ip?: string }
  | { readonly does: 'masquerade'; readonly randomFully: boolean }
  /** The packet's mark after it. */
  | { readonly does: 'mark'; readonly mark: number }
  /** The client's address is put into a list (`recent --set`, nftables' `update @set`). */
  | { readonly does: 'remember'; readonly list: string }
  | { readonly does: 'accept' | 'drop' | 'reject' | 'return' }
  /** Counts, logs, or something that has no part in where the packet goes. */
  | { readonly does: 'nothing' }
  /** Something whose consequence is not known. */
  | { readonly does: 'unknown'; readonly what: string };

/** One rule that the packet met, or the policy of a base chain. */
export interface WalkedRule {
  readonly backend: 'legacy' | 'nft' | 'unknown' | 'nftables';
  readonly hook: Hook;
  readonly table: string;
  readonly chain: string;
  /** 0 in a base chain, one more for each jump or goto. */
  readonly depth: number;
  /** Of the rule in its chain, from 1; 0 for the chain's policy. */
  readonly position: number;
  /** Line of the dump, where there is one. */
  readonly line?: number;
  readonly handle?: number;
  /** As iptables-save prints it without counters and `-A CHAIN`; nftables' as nft would list it. */
  readonly text: string;
  readonly packets?: number;
  readonly bytes?: number;
  readonly met: 'matched' | 'passed' | 'unknown';
  /** Of `passed`: the first condition that does not hold; of `unknown`: what cannot be decided, and was assumed to hold or not. In words. */
  readonly because?: string;
  /** Of a rule that chooses at random: how likely it is to be taken when the packet comes to it. */
  readonly chance?: Share;
  /** Of `matched`; several where nftables does more than one thing in a rule. */
  readonly effects: readonly Effect[];
}

/** One way in which a walk can end. */
export interface WalkEnding {
  /**
   * endpoint: translated to it; untranslated: goes on to the address that it was sent to;
   * dropped, rejected: by a rule, `decidedBy`; undecided: a rule that nobody can follow decides.
   */
  readonly kind: 'endpoint' | 'untranslated' | 'dropped' | 'rejected' | 'undecided';
  /** Where it was translated to; also of what is dropped or rejected after its translation. */
  readonly ip?: string;
  readonly port?: number;
  /** How likely, given what is assumed. Endings with the same assumptions add up to 1. */
  readonly share: Share;
  /** Whether the endpoint sees an address of the node in the client's place. */
  readonly masquerade: 'no' | 'yes' | 'unknown';
  readonly mark: number;
  /** Chains from KUBE-SERVICES (nftables: the map) to the translation, as `RulePath.path` has them. */
  readonly path: readonly string[];
  /** Came by session affinity rather than by chance. */
  readonly affinity: boolean;
  readonly decidedBy?: WalkedRule;
  /** What was taken for granted because nobody knows: "the recent list KUBE-SEP-X holds 10.244.1.2". */
  readonly assuming: readonly string[];
  /** Everything met on the way, hook by hook in the kernel's order. */
  readonly steps: readonly WalkedRule[];
}

export interface Distribution {
  readonly packet: FirstPacket;
  readonly endings: readonly WalkEnding[];
  /** Unknown matches, unreadable rules, bounds that were hit: what limits the answer, in words. */
  readonly remarks: readonly string[];
}

/**
 * What one way through a base chain leaves behind: the packet as it now is, and what was met. Whoever
 * makes one from another keeps the members that he does not know. An address that nobody knows
 * (a masquerade's, a REDIRECT's) is '', a port 0.
 */
export interface Branch {
  readonly source: string;
  readonly destination: string;
  readonly port: number;
  readonly mark: number;
  /** Set by a DNAT; the NAT chains of the hook are over then. */
  readonly dnat?: { readonly ip: string; readonly port: number };
  readonly masquerade: 'no' | 'yes' | 'unknown';
  /** conntrack does not see it (NOTRACK): no NAT chain is asked. */
  readonly untracked?: true;
  /** conntrack's mark, where a rule set it; else it is 0. */
  readonly connmark?: number;
  /** Lists into which this way has put the client's address (`recent --set`). */
  readonly remembered?: readonly string[];
  readonly share: Share;
  readonly path: readonly string[];
  readonly affinity: boolean;
  readonly assuming: readonly string[];
  /** Met so far, newest first: branches share what they have in common. */
  readonly last?: Trail;
}

export interface Trail {
  readonly rule: WalkedRule;
  readonly before?: Trail;
}

/** A chain that hangs in a hook, of whatever back end. */
export interface BaseChain {
  readonly hook: Hook;
  /** Lower runs first (linux/netfilter_ipv4.h). */
  readonly priority: number;
  readonly backend: WalkedRule['backend'];
  readonly table: string;
  readonly name: string;
  /** Only the first packet of a connection is shown to it; over for a hook once something translated. */
  readonly isNat: boolean;
  /** All ways that the packet can take through it, with how each ends: `accept` goes on to the next base chain. */
  follow(branch: Branch, at: HookFacts): readonly Followed[];
}

export interface HookFacts {
  readonly packet: FirstPacket;
  readonly facts: NodeFacts;
  /** By what it came in and will leave; absent where not known, `null` where there is none in this hook. */
  readonly in?: string | null;
  readonly out?: string | null;
  /** Takes what limits the answer, in words, for `Distribution.remarks`. */
  remark?(words: string): void;
  /** Told how many rules were met since it was last told; false: the walk has met as many as it may, and ends as `unknown`. */
  spend?(rules: number): boolean;
}

export interface Followed {
  readonly branch: Branch;
  readonly verdict: 'accept' | 'drop' | 'reject' | 'unknown';
}

/** The base chains of one back end's rules. Rules of which nobody can say what they do are told in `remarks` when met. */
export type ReadBaseChains = (rules: RuleSet) => readonly BaseChain[];
