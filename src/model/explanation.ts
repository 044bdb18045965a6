import type { Attribution, PodRef } from './attribution.js';
import type { Finding } from './finding.js';
import type { Story } from './story.js';
import type { Distribution, WalkEnding } from './walk.js';

/** What `explain` says: of a connection that happened, or of one that could. */
export interface Explanation {
  /** Of a connection that happened; absent for one that could. */
  readonly attribution?: Attribution;
  /** Absent where no rules are known. */
  readonly walk?: ExplainedWalk;
  /** Of a connection that happened. */
  readonly story?: Story;
  /** The gravest first. */
  readonly findings: readonly Finding[];
  /** What limits this answer, in words: evidence that was not looked for, losses, rules that nobody can read. */
  readonly remarks: readonly string[];
}

export interface ExplainedWalk {
  /** Every way that the packet could have gone. */
  readonly possible: Distribution;
  /** The one that it took, of `possible.endings`; absent where the evidence does not tell, or for what could be. */
  readonly taken?: WalkEnding;
  /** How that is known: "conntrack's reply tuple names 10.244.1.5:80". */
  readonly knownBy: readonly string[];
  /** Who has the endpoints' addresses, as far as that is known. */
  readonly pods?: ReadonlyMap<string, PodRef>;
}
