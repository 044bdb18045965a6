import type { Branch, Hook, HookFacts, Share } from '../../model/walk.js';
import { addressWords } from './network.js';
import type { Question } from './question.js';

/** The packet as it comes to a rule, and what is known around it. */
export class Asked {
  readonly branch: Branch;
  readonly at: HookFacts;
  readonly hook: Hook;
  /** Whether conntrack has looked at the packet, or was told not to. */
  readonly isTracked: boolean;
  /** Of a rule whose answer holds for no other one: where it stands. */
  where = '';
  #source: Uint32Array | undefined;
  #destination: Uint32Array | undefined;

  constructor(branch: Branch, at: HookFacts, hook: Hook, isTracked: boolean) {
    this.branch = branch;
    this.at = at;
    this.hook = hook;
    this.isTracked = isTracked;
  }

  get hasEntry(): boolean {
    return this.isTracked && this.branch.untracked !== true;
  }

  /** `undefined`: nobody knows it. */
  get source(): Uint32Array | undefined {
    this.#source ??= addressWords(this.branch.source);
    return this.#source;
  }

  get destination(): Uint32Array | undefined {
    this.#destination ??= addressWords(this.branch.destination);
    return this.#destination;
  }
}

/** How likely something drawn anew each time is. */
export interface Chance {
  readonly chance: Share;
  /** For `Distribution.remarks`, where the way parts at it. */
  readonly remark?: string;
}

/** Whether something is so, what the answer would be called, or how likely it is. */
export type Answer = boolean | Question | Chance;

/** One thing that a rule asks. */
export interface Condition {
  /** Whether it must not be so. */
  readonly negated: boolean;
  /** Whether it is so, whatever `negated` says. */
  ask(of: Asked): Answer;
  /** How it is: `source 10.0.0.1 is not in 10.244.0.0/16`; `is`: what `ask` answered. */
  say(of: Asked, is: boolean): string;
}
