import type { NftablesRules, NftChain, NftRule } from '../../model/ruleset.js';
import type {
  BaseChain,
  Branch,
  Effect,
  Followed,
  Hook,
  HookFacts,
  ReadBaseChains,
  Trail,
  WalkedRule,
} from '../../model/walk.js';
import type { Scene, Settled } from './nftables-evaluate.js';
import { lacksText, Sets } from './nftables-match.js';
import { type Passage, RuleWalk, type Verdict } from './nftables-rule.js';
import { ruleText } from './nftables-text.js';

/** The kernel's stack of jumps holds 16 (NFT_JUMP_STACK_SIZE); kube-proxy's gotos add two or three. */
const MAX_DEPTH = 32;
/** Rules met on all ways through one base chain: two or three for each of 10,000 endpoints. */
const MAX_MET = 65_536;
/** Ways through one base chain; a Service with 10,000 endpoints has so many. */
const MAX_WAYS = 16_384;
/** More than this taken for granted says nothing any more. */
const MAX_ASSUMED = 64;
/** Where conntrack hangs (NF_IP_PRI_CONNTRACK, linux/netfilter_ipv4.h). */
const CONNTRACK_PRIORITY = -200;

const HOOKS: ReadonlySet<string> = new Set<Hook>([
  'prerouting',
  'input',
  'forward',
  'output',
  'postrouting',
]);

/**
 * The base chains of kube-proxy's table. What nft_do_chain does with a packet
 * (linux/net/netfilter/nf_tables_core.c), for all values that random numbers and what nobody knows can
 * have.
 */
export const nftablesBaseChains: ReadBaseChains = (rules) => {
  if (rules.kind !== 'nftables') return [];
  const sets = new Sets(rules);
  const texts = new Map<NftRule, string>();
  const settled = new WeakMap<WalkedRule, Settled>();
  const found: BaseChain[] = [];
  for (const chain of rules.chains.values()) {
    const { name, hook, priority = 0, type } = chain;
    if (hook === undefined || !isHook(hook)) continue;
    const base: Base = {
      chain,
      hook,
      priority,
      isNat: type === 'nat',
      rules,
      sets,
      texts,
      settled,
    };
    found.push({
      hook,
      priority,
      backend: 'nftables',
      table: tableOf(rules),
      name,
      isNat: base.isNat,
      follow: (branch, at) => new Following(base, at).from(branch),
    });
  }
  return found;
};

interface Base {
  readonly chain: NftChain;
  readonly hook: Hook;
  readonly priority: number;
  readonly isNat: boolean;
  readonly rules: NftablesRules;
  readonly sets: Sets;
  /** Of rules that were met before. */
  readonly texts: Map<NftRule, string>;
  /** What was settled when a rule was left, for the base chains that come after: a set that this packet changed. */
  readonly settled: WeakMap<WalkedRule, Settled>;
}

/** Where a packet stands. */
interface Frame {
  readonly chain: NftChain;
  /** The rule that comes next. */
  readonly at: number;
  readonly depth: number;
  /** As the path of a rule names it: the map that decided, and the chains from there on. */
  readonly path: readonly string[];
  readonly returnsTo?: Frame;
  /** How many dynamic sets were taken not to hold the client in this chain. */
  readonly lacking?: { readonly key: string; readonly sets: number; readonly text: string };
}

interface Standing {
  readonly scene: Scene;
  readonly frame: Frame;
}

class Following {
  private readonly base: Base;
  private readonly at: HookFacts;
  private readonly open: Standing[] = [];
  private readonly ended: Followed[] = [];
  private met = 0;

  constructor(base: Base, at: HookFacts) {
    this.base = base;
    this.at = at;
  }

  from(branch: Branch): readonly Followed[] {
    const { rules, chain, priority, hook } = this.base;
    const family = this.at.packet.destination.includes(':') ? 6 : 4;
    if (family !== rules.family || (branch.untracked && this.base.isNat)) {
      return [{ branch, verdict: 'accept' }];
    }
    const early = priority < CONNTRACK_PRIORITY && (hook === 'prerouting' || hook === 'output');
    const tracked = branch.untracked ? 'never' : early ? 'not yet' : 'yes';
    const settled = this.settledBefore(branch.last);
    const scene: Scene = {
      family,
      hook,
      tracked,
      at: this.at,
      branch,
      ...(settled && { settled }),
    };
    this.open.push({ scene, frame: { chain, at: 0, depth: 0, path: [] } });
    // The first way is followed to its end first: ways come out in the order of the rules.
    for (let next = this.open.pop(); next; next = this.open.pop()) this.step(next);
    return this.ended;
  }

  private settledBefore(last: Trail | undefined): Settled | undefined {
    for (let trail = last; trail; trail = trail.before) {
      const settled = this.base.settled.get(trail.rule);
      if (settled) return settled;
    }
    return undefined;
  }

  private step({ scene, frame }: Standing): void {
    const rule = frame.chain.rules[frame.at];
    if (rule === undefined) {
      this.leave(scene, frame);
      return;
    }
    const isSpent = this.at.spend?.(1) === false;
    if (isSpent || this.met >= MAX_MET || this.ended.length + this.open.length >= MAX_WAYS) {
      this.giveUp(scene, frame, 'there are too many ways through these rules');
      return;
    }
    if (scene.branch.assuming.length > MAX_ASSUMED) {
      this.giveUp(scene, frame, 'too much is not known');
      return;
    }
    this.met++;
    const passages = new RuleWalk(rule, this.base.sets, this.base.isNat).take(scene);
    const next: Standing[] = [];
    for (const passage of passages) {
      const branch = this.seen(passage, frame, rule);
      const after = { ...passage.scene, branch };
      this.go(after, frame, passage, next);
    }
    for (const one of next.reverse()) this.open.push(one);
  }

  private go(scene: Scene, frame: Frame, passage: Passage, next: Standing[]): void {
    const { verdict } = passage;
    const on = { ...frame, at: frame.at + 1 };
    if (!verdict) {
      next.push(lacking({ scene, frame: on }, passage));
      return;
    }
    switch (verdict.kind) {
      case 'jump':
      case 'goto': {
        const chain = this.base.rules.chains.get(verdict.chain);
        if (!chain || frame.depth >= MAX_DEPTH) {
          const why = chain ? 'chains lead to one another without an end' : 'is not in the listing';
          this.giveUp(scene, frame, `chain ${verdict.chain}: ${why}`);
          return;
        }
        const back = verdict.kind === 'jump' ? on : frame.returnsTo;
        const path = [...pathTo(frame.path, verdict), chain.name];
        const depth = frame.depth + 1;
        next.push({
          scene,
          frame: { chain, at: 0, depth, path, ...(back && { returnsTo: back }) },
        });
        return;
      }
      case 'return':
        if (frame.returnsTo) next.push({ scene, frame: frame.returnsTo });
        else this.policy(scene);
        return;
      default: {
        const { branch } = scene;
        const ends = verdict.kind !== 'accept' && branch.path.length === 0;
        const path =
          ends || passage.effects.some(isDnat) ? pathTo(frame.path, verdict) : branch.path;
        this.ended.push({ branch: { ...branch, path }, verdict: verdict.kind });
      }
    }
  }

  private leave(scene: Scene, { returnsTo }: Frame): void {
    if (returnsTo) this.open.push({ scene, frame: returnsTo });
    else this.policy(scene);
  }

  private policy(scene: Scene): void {
    const { chain } = this.base;
    const verdict = chain.policy === 'drop' ? 'drop' : 'accept';
    const rule = this.walked(chain, 0, 0, {
      text: `policy ${verdict}`,
      met: 'matched',
      effects: [{ does: verdict }],
    });
    this.ended.push({ branch: onward(scene.branch, rule), verdict });
  }

  private giveUp(scene: Scene, { chain, at, depth }: Frame, what: string): void {
    this.at.remark?.(`${what}: what comes behind is not known`);
    const rule = this.walked(chain, depth, at + 1, {
      text: '…',
      met: 'unknown',
      because: what,
      effects: [{ does: 'unknown', what }],
    });
    this.ended.push({ branch: onward(scene.branch, rule), verdict: 'unknown' });
  }

  private seen(passage: Passage, { chain, at, depth }: Frame, rule: NftRule): Branch {
    const { met, because, chance, effects, counted, affinity } = passage;
    let text = this.base.texts.get(rule);
    if (text === undefined) {
      text = ruleText(rule);
      this.base.texts.set(rule, text);
    }
    const { branch, settled } = passage.scene;
    const walked = this.walked(chain, depth, at + 1, {
      text,
      met,
      effects,
      ...(rule.handle !== undefined && { handle: rule.handle }),
      ...counted,
      ...(because !== undefined && { because }),
      ...(chance && { chance }),
    });
    if (settled) this.base.settled.set(walked, settled);
    const isSticky = affinity && met !== 'passed' && passage.verdict !== undefined;
    return onward(isSticky ? { ...branch, affinity } : branch, walked);
  }

  private walked(
    chain: NftChain,
    depth: number,
    position: number,
    rest: Pick<WalkedRule, 'text' | 'met' | 'effects'> & Partial<WalkedRule>,
  ): WalkedRule {
    const { hook, rules } = this.base;
    const table = tableOf(rules);
    return { backend: 'nftables', hook, table, chain: chain.name, depth, position, ...rest };
  }
}

/** The table as nft names it. */
function tableOf({ family }: NftablesRules): string {
  return `${family === 4 ? 'ip' : 'ip6'} kube-proxy`;
}

function isHook(hook: string): hook is Hook {
  return HOOKS.has(hook);
}

function onward(branch: Branch, rule: WalkedRule): Branch {
  const { last } = branch;
  return { ...branch, last: { rule, ...(last && { before: last }) } };
}

/** What led to a map has no part in a Service's path. */
function pathTo(path: readonly string[], { map }: Verdict): readonly string[] {
  if (map === undefined) return path;
  const inMap = path.some((name) => name.startsWith('map '));
  return [...(inMap ? path : []), `map ${map}`];
}

function isDnat({ does }: Effect): boolean {
  return does === 'dnat';
}

/**
 * Of many sets that are asked one after the other and all taken not to hold the client (one for each
 * endpoint under affinity) the ending rests on one sentence.
 */
function lacking({ scene, frame }: Standing, { lacking: set }: Passage): Standing {
  if (!set) return { scene, frame };
  const { branch } = scene;
  const { chain } = frame;
  const told = frame.lacking?.key === set.key ? frame.lacking : undefined;
  const sets = (told?.sets ?? 0) + 1;
  const text =
    sets === 1
      ? lacksText(set.name, set.key)
      : `none of the first ${sets} sets that ${chain.name} asks holds ${set.key}`;
  const assuming = [...branch.assuming.filter((one) => one !== told?.text), text];
  return {
    scene: { ...scene, branch: { ...branch, assuming } },
    frame: { ...frame, lacking: { key: set.key, sets, text } },
  };
}
