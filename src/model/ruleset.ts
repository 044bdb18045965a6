import type { Nanos } from './time.js';

/** iptables' two kernel back ends; `unknown` where the dump does not say. */
export type IptablesBackend = 'legacy' | 'nft' | 'unknown';

/** One match of a rule as iptables-save prints it: `-m comment --comment x`, `! -s 10.0.0.0/8` … */
export interface Match {
  /** `-s`, `-d`, `-i`, `-o`, `-p`, `-f` for the built-in ones, else the name after `-m`. */
  readonly name: string;
  /** Options in order, each with its negation and its arguments, unquoted. Built-in matches have one option of their own name. */
  readonly options: readonly MatchOption[];
}

export interface MatchOption {
  readonly name: string;
  readonly negated: boolean;
  readonly values: readonly string[];
}

export interface Target {
  /** A chain or an extension: KUBE-SVC-…, DNAT, MASQUERADE, MARK … */
  readonly name: string;
  /** `-g` rather than `-j`. */
  readonly goto: boolean;
  /** `--to-destination 10.0.0.1:80` … as names with values, unquoted. */
  readonly options: readonly MatchOption[];
}

/** A rule; matches and target are read from its text when first asked for (a node may hold 400,000 rules). */
export interface Rule {
  /** Line in the dump, from 1. */
  readonly line: number;
  /** As printed, without counters and `-A CHAIN`. */
  readonly text: string;
  readonly packets?: number;
  readonly bytes?: number;
  readonly matches: readonly Match[];
  /** Absent for a rule that only counts. */
  readonly target?: Target | undefined;
}

export interface Chain {
  readonly name: string;
  /** ACCEPT or DROP for built-in chains, absent for user chains. */
  readonly policy?: string;
  readonly packets?: number;
  readonly bytes?: number;
  readonly rules: readonly Rule[];
}

export interface Table {
  readonly name: string;
  readonly chains: ReadonlyMap<string, Chain>;
}

/** One dump of iptables-save or ip6tables-save. */
export interface IptablesRules {
  readonly kind: 'iptables';
  readonly family: 4 | 6;
  readonly backend: IptablesBackend;
  /** Version of the tool that printed it, `1.8.9`. */
  readonly version?: string;
  /** When it was printed, to the second, if the dump says so. */
  readonly time?: Nanos;
  readonly tables: ReadonlyMap<string, Table>;
}

/** JSON as nft printed it: what is not understood is kept. */
export type NftJson =
  | null
  | boolean
  | number
  | string
  | readonly NftJson[]
  | { readonly [key: string]: NftJson };

export interface NftRule {
  readonly handle?: number;
  readonly comment?: string;
  /** Each expression as printed, in order (libnftables-json(5)). */
  readonly expressions: readonly NftJson[];
}

export interface NftChain {
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
  /** `nat`, `filter`; with `hook`, `priority` and `policy` only in base chains. */
  readonly type?: string;
  /** `prerouting`, `output` … */
  readonly hook?: string;
  readonly priority?: number;
  readonly policy?: string;
  readonly rules: readonly NftRule[];
}

/** One element of a set or map. */
export interface NftElement {
  /** As printed, without what is wrapped around it. */
  readonly key: NftJson;
  /** Of a map: a verdict (`{ goto: { target } }`, `{ drop: null }`) or a value. */
  readonly value?: NftJson;
  readonly comment?: string;
  /** Seconds until it goes, where it has a timeout. */
  readonly expiresSeconds?: number;
}

export interface NftSet {
  readonly name: string;
  readonly handle?: number;
  readonly comment?: string;
  /** The parts of its key: `ipv4_addr`, `inet_proto`, `inet_service`. */
  readonly keyTypes: readonly string[];
  /** What a map leads to, `verdict` …; absent for a set. */
  readonly valueType?: string;
  readonly flags: readonly string[];
  /** How long its elements stay: for kube-proxy's affinity sets, the affinity's. */
  readonly timeoutSeconds?: number;
  readonly elements: readonly NftElement[];
}

/** kube-proxy's table of one family, as `nft -j` lists it (kube-proxy's mode nftables). */
export interface NftablesRules {
  readonly kind: 'nftables';
  readonly family: 4 | 6;
  readonly backend: 'nft';
  /** Version of the tool that printed it, `1.0.6`. */
  readonly version?: string;
  /** nft prints none. */
  readonly time?: Nanos;
  readonly chains: ReadonlyMap<string, NftChain>;
  readonly sets: ReadonlyMap<string, NftSet>;
  readonly maps: ReadonlyMap<string, NftSet>;
}

export type RuleSet = IptablesRules | NftablesRules;
