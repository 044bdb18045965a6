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

export type RuleSet = IptablesRules;
