import type { RuleSet } from '../../model/ruleset.js';
import { ONE } from '../../model/share.js';
import type {
  BaseChain,
  Branch,
  Distribution,
  FirstPacket,
  Followed,
  Hook,
  HookFacts,
  NodeFacts,
  Trail,
  WalkEnding,
  WalkedRule,
} from '../../model/walk.js';
import { iptablesBaseChains } from './iptables.js';
import { nftablesBaseChains } from './nftables.js';
import { assumed, isLocal, type Question } from './question.js';

/** All back ends' readers; each takes the rule sets that are its own. */
const READERS = [iptablesBaseChains, nftablesBaseChains];

/**
 * Where NAT is asked, whatever its chains' own priorities, which order them among themselves
 * (nf_nat_ipv4_ops of net/netfilter/nf_nat_proto.c).
 */
const NAT_DESTINATION = -100;
const NAT_SOURCE = 100;

/**
 * Rules that one exploration meets. A packet to a Service with 1,000 endpoints meets 1,000 rules on each
 * of 1,000 ways; beyond two million, some hundred MB, nobody looks through what comes out.
 */
const MAX_RULES = 2_000_000;

/** Ways under way at a time, over all chains: those of the largest Service (see iptables.ts), and twice for a guess. */
const MAX_WAYS = 16_384;

/** Where every packet to loopback addresses leaves and comes in. */
const LOOPBACK = 'lo';

const known = new WeakMap<RuleSet, readonly BaseChain[]>();

/**
 * All ways that a connection's first packet can take through a node's rules. Rule sets of the other
 * family are left out. Bounded in time and memory whatever the rules: what a bound cut off is `undecided`.
 */
export function exploreWalk(
  ruleSets: readonly RuleSet[],
  packet: FirstPacket,
  facts: NodeFacts,
): Distribution {
  const family = packet.destination.includes(':') ? 6 : 4;
  const own = ruleSets.filter((rules) => rules.family === family);
  const walk = new Walk(own.flatMap(baseChainsOf), packet, facts);
  walk.go();
  return { packet, endings: walk.endings, remarks: [...walk.remarks] };
}

function baseChainsOf(rules: RuleSet): readonly BaseChain[] {
  let chains = known.get(rules);
  if (!chains) {
    chains = READERS.flatMap((read) => read(rules));
    known.set(rules, chains);
  }
  return chains;
}

/** A packet within one hook. */
interface Passing {
  readonly branch: Branch;
  /** A NAT chain of this hook has translated it: the others are not asked. */
  readonly isTranslated: boolean;
}

class Walk {
  readonly endings: WalkEnding[] = [];
  readonly remarks = new Set<string>();
  private readonly chains: readonly BaseChain[];
  private readonly packet: FirstPacket;
  private readonly facts: NodeFacts;
  private met = 0;

  constructor(chains: readonly BaseChain[], packet: FirstPacket, facts: NodeFacts) {
    this.chains = chains;
    this.packet = packet;
    this.facts = facts;
    if (new Set(chains.filter(({ isNat }) => isNat).map(({ backend }) => backend)).size > 1) {
      this.remarks.add(
        'NAT chains of several back ends are live; which of one priority is asked first is the order in which they were registered, which nobody tells',
      );
    }
  }

  go(): void {
    const { source, destination, port } = this.packet;
    const start: Branch = {
      source,
      destination,
      port,
      mark: 0,
      masquerade: 'no',
      share: ONE,
      path: [],
      affinity: false,
      assuming: [],
    };
    if (this.packet.from.kind === 'node') this.fromNode(start);
    else this.fromOutside(start, this.packet.from.name);
  }

  private fromOutside(start: Branch, name: string | undefined): void {
    const of = name === undefined ? {} : { in: name };
    for (const branch of this.hook('prerouting', [start], { ...of, out: null })) {
      for (const [one, isOwn] of this.route(branch)) {
        if (isOwn) {
          this.arrive(this.hook('input', [one], { ...of, out: null }));
          continue;
        }
        const out = this.outTo(one.destination);
        const forwarded = this.hook('forward', [one], { ...of, ...out });
        // Since Linux 5.9 POSTROUTING knows by what a packet came in, too.
        this.arrive(this.hook('postrouting', forwarded, { ...of, ...out }));
      }
    }
  }

  private fromNode(start: Branch): void {
    for (const [first, wasOwn] of this.route(start)) {
      // Behind a DNAT in OUTPUT the old route's interface is what the hook's later chains see.
      const out = wasOwn ? { out: LOOPBACK } : this.outTo(first.destination);
      for (const branch of this.hook('output', [first], { in: null, ...out })) {
        for (const [one, isOwn] of this.route(branch)) {
          const to = isOwn ? { out: LOOPBACK } : this.outTo(one.destination);
          const sent = this.hook('postrouting', [one], { in: null, ...to });
          if (!isOwn) {
            this.arrive(sent);
            continue;
          }
          const lo = { in: LOOPBACK, out: null };
          this.arrive(this.hook('input', this.hook('prerouting', sent, lo, false), lo, false));
        }
      }
    }
  }

  /** By what it leaves, if that is known. */
  private outTo(address: string): Pick<HookFacts, 'out'> {
    const name = address === '' ? undefined : this.facts.interfaceTo?.(address);
    return name === undefined ? {} : { out: name };
  }

  /** Whether the packet is for the node itself; both where nobody knows. */
  private route(branch: Branch): readonly (readonly [Branch, boolean])[] {
    const { destination, assuming } = branch;
    if (isMulticast(destination)) {
      this.remarks.add(
        `${destination} is taken to be received by the node: it is a group's address`,
      );
      return [[branch, true]];
    }
    const answer = isLocal(destination, this.facts);
    if (typeof answer === 'boolean') return [[branch, answer]];
    const before = assumed(answer, assuming);
    if (before !== undefined) return [[branch, before]];
    return [
      [assume(branch, answer, false), false],
      [assume(branch, answer, true), true],
    ];
  }

  /** Takes packets through a hook; those that go on. `asksNat`: false for a connection that has been asked. */
  private hook(
    hook: Hook,
    branches: readonly Branch[],
    names: Pick<HookFacts, 'in' | 'out'>,
    asksNat = true,
  ): readonly Branch[] {
    const at: HookFacts = {
      packet: this.packet,
      facts: this.facts,
      ...names,
      remark: (words) => this.remarks.add(words),
      spend: (rules) => {
        this.met += rules;
        return this.met <= MAX_RULES;
      },
    };
    let passing: readonly Passing[] = branches.map((branch) => ({ branch, isTranslated: false }));
    for (const stage of stagesOf(this.chains, hook)) {
      if (stage.isNat && !asksNat) continue;
      const next: Passing[] = [];
      for (const one of passing) {
        if (next.length + this.endings.length > MAX_WAYS) {
          this.cutOff(one.branch);
          continue;
        }
        if (stage.isNat && (one.isTranslated || one.branch.untracked)) next.push(one);
        else next.push(...this.stage(stage, one, at));
      }
      passing = next;
    }
    return passing.map(({ branch }) => branch);
  }

  /** Through chains that are asked one after the other; those of one priority in each order that matters. */
  private stage(stage: Stage, passing: Passing, at: HookFacts): Passing[] {
    const { chains, isNat } = stage;
    const [only, ...others] = chains;
    if (!only) return [passing];
    if (others.length === 0) return this.inOrder(chains, passing, at, isNat);
    const first = isNat ? this.rivals(chains, passing, at) : [];
    if (first.length < 2) return this.inOrder(chains, passing, at, isNat);
    return first.flatMap((chain) => {
      const words = `${nameOf(chain)} is asked before those of other back ends`;
      const { branch } = passing;
      const assuming = [...branch.assuming, words];
      const order = [chain, ...chains.filter((other) => other !== chain)];
      return this.inOrder(order, { ...passing, branch: { ...branch, assuming } }, at, isNat);
    });
  }

  /** The chains of which it matters which comes first: one translates, so that others are not asked that do something too. */
  private rivals(
    chains: readonly BaseChain[],
    { branch }: Passing,
    at: HookFacts,
  ): readonly BaseChain[] {
    const ends = chains.map((chain) => chain.follow(branch, at));
    if (!ends.some((all) => all.some((followed) => hasTranslated(branch, followed)))) return [];
    return chains.filter((_, i) =>
      ends[i]?.some((followed) => hasTranslated(branch, followed) || hasChanged(branch, followed)),
    );
  }

  private inOrder(
    chains: readonly BaseChain[],
    start: Passing,
    at: HookFacts,
    isNat: boolean,
  ): Passing[] {
    let passing = [start];
    for (const chain of chains) {
      passing = passing.flatMap((one) => {
        if (isNat && one.isTranslated) return [one];
        return chain.follow(one.branch, at).flatMap((followed): Passing[] => {
          const { branch, verdict } = followed;
          if (verdict === 'accept') {
            return [{ branch, isTranslated: isNat && hasTranslated(one.branch, followed) }];
          }
          // Where it goes is decided by then; only whose address it bears is not.
          if (verdict === 'unknown' && isNat && chain.hook === 'postrouting') {
            return [{ branch: { ...branch, masquerade: 'unknown' }, isTranslated: true }];
          }
          this.end(branch, verdict);
          return [];
        });
      });
    }
    return passing;
  }

  private cutOff(branch: Branch): void {
    this.remarks.add(`more than ${MAX_WAYS} ways are open: what comes behind is not known`);
    this.end(branch, 'unknown');
  }

  private arrive(branches: readonly Branch[]): void {
    for (const branch of branches) this.end(branch, 'accept');
  }

  private end(branch: Branch, verdict: Followed['verdict']): void {
    this.endings.push(new Ending(branch, verdict));
  }
}

/** Chains of one hook and priority, in the order in which rule sets were given. */
interface Stage {
  readonly isNat: boolean;
  readonly chains: readonly BaseChain[];
}

function stagesOf(all: readonly BaseChain[], hook: Hook): readonly Stage[] {
  const isDestination = hook === 'prerouting' || hook === 'output';
  const place = ({ isNat, priority }: BaseChain): number => {
    if (!isNat) return priority;
    return isDestination ? NAT_DESTINATION : NAT_SOURCE;
  };
  const chains = all
    .filter((chain) => chain.hook === hook)
    .sort(
      (a, b) => place(a) - place(b) || Number(a.isNat) - Number(b.isNat) || a.priority - b.priority,
    );
  const stages: { isNat: boolean; priority: number; chains: BaseChain[] }[] = [];
  for (const chain of chains) {
    const { isNat, priority } = chain;
    const last = stages.at(-1);
    if (last && last.isNat === isNat && last.priority === priority) last.chains.push(chain);
    else stages.push({ isNat, priority, chains: [chain] });
  }
  return stages;
}

function nameOf({ table, name, backend }: BaseChain): string {
  return `${table} ${name} of ${backend}`;
}

/** A rule that translates ends its chain, so it was the last one met. */
function hasTranslated(before: Branch, { branch, verdict }: Followed): boolean {
  if (verdict !== 'accept') return false;
  if (branch.dnat !== before.dnat || branch.masquerade !== before.masquerade) return true;
  if (branch.last === before.last) return false;
  return (
    branch.last?.rule.effects.some(
      ({ does }) => does === 'dnat' || does === 'snat' || does === 'masquerade',
    ) ?? false
  );
}

function hasChanged(before: Branch, { branch, verdict }: Followed): boolean {
  return (
    verdict !== 'accept' ||
    branch.mark !== before.mark ||
    branch.connmark !== before.connmark ||
    branch.remembered !== before.remembered
  );
}

function assume(branch: Branch, { yes, no }: Question, is: boolean): Branch {
  return { ...branch, assuming: [...branch.assuming, is ? yes : no] };
}

/** 224.0.0.0/4, 255.255.255.255 and ff00::/8. */
function isMulticast(address: string): boolean {
  if (address.includes(':')) return /^ff[0-9a-f]{2}:/i.test(address);
  return /^(?:22[4-9]|23\d)\./.test(address) || address === '255.255.255.255';
}

const KINDS = { drop: 'dropped', reject: 'rejected', unknown: 'undecided' } as const;

/** Endings of large rule sets share nearly all steps, which are put in a row when they are asked for. */
class Ending implements WalkEnding {
  readonly kind: WalkEnding['kind'];
  declare readonly ip?: string;
  declare readonly port?: number;
  readonly share: Branch['share'];
  readonly masquerade: Branch['masquerade'];
  readonly mark: number;
  readonly path: readonly string[];
  readonly affinity: boolean;
  declare readonly decidedBy?: WalkedRule;
  readonly assuming: readonly string[];
  declare readonly steps: readonly WalkedRule[];
  readonly #last: Trail | undefined;
  #steps: readonly WalkedRule[] | undefined;

  constructor(branch: Branch, verdict: Followed['verdict']) {
    const { dnat, last } = branch;
    if (verdict === 'accept') this.kind = dnat ? 'endpoint' : 'untranslated';
    else this.kind = KINDS[verdict];
    if (dnat && dnat.ip !== '') this.ip = dnat.ip;
    if (dnat && dnat.port !== 0) this.port = dnat.port;
    this.share = branch.share;
    this.masquerade = branch.masquerade;
    this.mark = branch.mark;
    this.path = branch.path;
    this.affinity = branch.affinity;
    if (verdict !== 'accept' && last) this.decidedBy = last.rule;
    this.assuming = branch.assuming;
    this.#last = last;
    Object.defineProperty(this, 'steps', STEPS);
  }

  static stepsOf(ending: Ending): readonly WalkedRule[] {
    if (!ending.#steps) {
      const steps: WalkedRule[] = [];
      for (let trail = ending.#last; trail; trail = trail.before) steps.push(trail.rule);
      ending.#steps = steps.reverse();
    }
    return ending.#steps;
  }
}

/** One for all, so that V8 takes all endings for objects of one shape. */
const STEPS = {
  get(this: Ending): readonly WalkedRule[] {
    return Ending.stepsOf(this);
  },
  enumerable: true,
};
