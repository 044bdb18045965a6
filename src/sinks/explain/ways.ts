import type { ExplainedWalk } from '../../model/explanation.js';
import { toNumber, total } from '../../model/share.js';
import type { Share, WalkEnding } from '../../model/walk.js';
import { type Alternative, alternativesOf } from './alternatives.js';
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

/** Ways that hold under the same assumptions: their shares add up to 1, or each says what else it assumes. */
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
  const all = tablesOf(alternativesOf(possible.endings));
  return all.map(({ assuming, alternatives }, i) => ({
    assuming: assumingAfter(assuming, all[i - 1]?.assuming ?? []),
    ways: alternatives
      .flatMap((one) => {
        const more = one.assuming.slice(assuming.length);
        const only = more.length === 0 ? [] : [`if ${more.join(' and ')}`];
        return one.ends.map((same) => way(same, taken, pods, only));
      })
      .sort((a, b) => rank(b) - rank(a)),
  }));
}

/** Alternatives that are shown in one table, and what all of them assume. */
interface Table {
  readonly assuming: readonly string[];
  readonly alternatives: readonly Alternative[];
}

/**
 * A table for each alternative. Those that are about a part of the connections only (chance chose an
 * endpoint before the question was asked) exclude nobody else: they share one, each with its own "if".
 */
function tablesOf(alternatives: readonly Alternative[]): Table[] {
  const tables: Table[] = [];
  let before: Alternative | undefined;
  for (const one of alternatives) {
    const last = tables.at(-1);
    if (last && before?.isWhole === false && !one.isWhole) {
      tables[tables.length - 1] = {
        assuming: commonOf(last.assuming, one.assuming),
        alternatives: [...last.alternatives, one],
      };
    } else tables.push({ assuming: one.assuming, alternatives: [one] });
    before = one;
  }
  return tables;
}

function commonOf(a: readonly string[], b: readonly string[]): readonly string[] {
  const end = a.findIndex((it, i) => it !== b[i]);
  return end < 0 ? a : a.slice(0, end);
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
  only: readonly string[],
): Way {
  const [ending] = same;
  if (ending === undefined) throw new Error('a group of endings has at least one');
  const share = total(same);
  const { kind, decidedBy } = ending;
  const pod = ending.ip === undefined ? undefined : pods?.get(ending.ip);
  const notes: string[] = [];
  if (kind !== 'endpoint' && ending.ip !== undefined)
    notes.push(`after translation to ${endingTarget(ending)}`);
  if (decidedBy !== undefined) notes.push(`by ${whichRule(decidedBy)}`);
  if (ending.affinity) notes.push('session affinity');
  if (ending.masquerade === 'yes') notes.push('masqueraded');
  if (ending.masquerade === 'unknown') notes.push('perhaps masqueraded');
  notes.push(...only);
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
