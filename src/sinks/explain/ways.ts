import type { ExplainedWalk } from '../../model/explanation.js';
import { NONE, plus, toNumber } from '../../model/share.js';
import type { Share, WalkEnding } from '../../model/walk.js';
import { exactShare, percent } from './share.js';
import { endingTarget, podName, whichRule } from './words.js';

/** One end of the walk, however many ways lead to it. */
export interface Way {
  readonly share: Share;
  readonly percent: string;
  /** '' where it is too long to be read. */
  readonly exact: string;
  /** `10.244.1.5:80`, `dropped`, `not translated`. */
  readonly to: string;
  readonly pod: string;
  readonly node: string;
  /** What else is to be said of it. */
  readonly notes: readonly string[];
  readonly kind: WalkEnding['kind'];
  readonly taken: boolean;
}

/** Ways that hold under the same assumptions: their shares add up to 1. */
export interface WaysAssuming {
  /** What is taken for granted, a line each: only what is new after the group before it. */
  readonly assuming: readonly string[];
  readonly ways: readonly Way[];
}

const KINDS: Readonly<Record<Exclude<WalkEnding['kind'], 'endpoint'>, string>> = {
  untranslated: 'not translated',
  dropped: 'dropped',
  rejected: 'rejected',
  undecided: 'not known',
};

/** Where a packet can end, the likeliest first, ways to the same end added up. */
export function waysOf({ possible, taken, pods }: ExplainedWalk): WaysAssuming[] {
  const groups = new Map<
    string,
    { assuming: readonly string[]; endings: Map<string, WalkEnding[]> }
  >();
  for (const ending of possible.endings) {
    const assumed = ending.assuming.join('\n');
    const group = groups.get(assumed) ?? { assuming: ending.assuming, endings: new Map() };
    groups.set(assumed, group);
    const end = [
      ending.kind,
      ending.ip,
      ending.port,
      ending.masquerade,
      ending.affinity,
      ending.decidedBy === undefined ? '' : whichRule(ending.decidedBy),
    ].join(' ');
    group.endings.set(end, [...(group.endings.get(end) ?? []), ending]);
  }
  const all = [...groups.values()];
  return all.map(({ assuming, endings }, i) => ({
    assuming: assumingAfter(assuming, all[i - 1]?.assuming ?? []),
    ways: [...endings.values()]
      .map((same) => way(same, taken, pods))
      .sort((a, b) => rank(b) - rank(a)),
  }));
}

/**
 * Where a group differs from the one before in the answer to that one's last question, all else is the
 * same: lists of affinity would repeat each other with every endpoint.
 */
function assumingAfter(assuming: readonly string[], before: readonly string[]): string[] {
  const common = before.length - 1;
  const alike =
    common >= 0 &&
    assuming.length > common &&
    before.slice(0, common).every((it, i) => it === assuming[i]) &&
    assuming[common] !== before[common];
  if (!alike) return assuming.map((it) => `Assuming that ${it}:`);
  const more = assuming.slice(common + 1);
  if (more.length === 0) return [`Otherwise, assuming that ${assuming[common] ?? ''}:`];
  return more.map((it, i) => `${i === 0 ? 'Otherwise, assuming' : 'and'} that ${it}:`);
}

/** Of what is printed alike the rules' own order is kept. */
function rank({ share }: Way): number {
  return Math.round(toNumber(share) * 1e6);
}

function way(
  same: readonly WalkEnding[],
  taken: WalkEnding | undefined,
  pods: ExplainedWalk['pods'],
): Way {
  const [ending] = same;
  if (ending === undefined) throw new Error('a group of endings has at least one');
  const share = same.reduce((sum, it) => plus(sum, it.share), NONE);
  const { kind, decidedBy } = ending;
  const pod = ending.ip === undefined ? undefined : pods?.get(ending.ip);
  const notes: string[] = [];
  if (kind !== 'endpoint' && ending.ip !== undefined)
    notes.push(`after translation to ${endingTarget(ending)}`);
  if (decidedBy !== undefined) notes.push(`by ${whichRule(decidedBy)}`);
  if (ending.affinity) notes.push('session affinity');
  if (ending.masquerade === 'yes') notes.push('masqueraded');
  if (ending.masquerade === 'unknown') notes.push('perhaps masqueraded');
  return {
    share,
    percent: percent(share),
    exact: exactShare(share),
    to: kind === 'endpoint' ? endingTarget(ending) : KINDS[kind],
    pod: podName(pod),
    node: pod?.node ?? '',
    notes,
    kind,
    taken: taken !== undefined && same.some((it) => sameEnd(it, taken)),
  };
}

/** The engine and the evidence may hold different objects for one and the same end. */
export function sameEnd(a: WalkEnding, b: WalkEnding): boolean {
  return (
    a === b ||
    (a.kind === b.kind && a.ip === b.ip && a.port === b.port && a.path.join() === b.path.join())
  );
}
