import { compare, ONE, total } from '../../model/share.js';
import type { WalkEnding } from '../../model/walk.js';
import { whichRule } from './words.js';

/** Ends of the walk under the same assumptions. */
export interface Alternative {
  readonly assuming: readonly string[];
  /** Ways to the same end together. */
  readonly ends: readonly (readonly WalkEnding[])[];
  /** Their shares add up to 1: it is not about a part of the connections only. */
  readonly isWhole: boolean;
}

/** What was assumed up to somewhere, and what ends there. */
interface Place {
  further: Map<string, Place>;
  assuming: readonly string[];
  endings: WalkEnding[];
  /** Of what was assumed, answers that do not matter. */
  leftOut: readonly string[];
  /** Whatever is assumed further on, the shares add up to 1. */
  isWhole: boolean;
  /** The same number for all places behind which all is the same. */
  like: number;
}

/**
 * The ends by what they assume; the answers to one question stand together. A question whose answers
 * all lead to the same ends does not matter and is left out.
 */
export function alternativesOf(endings: readonly WalkEnding[]): Alternative[] {
  const places = placesOf(endings);
  const numbers = new Map<string, number>();
  for (const place of places.toReversed()) {
    leaveOut(place);
    const next = [...place.further.values()];
    place.isWhole = next.length === 0 ? isWhole(place.endings) : next.every((it) => it.isWhole);
    const said = fingerprint(place);
    place.like = numbers.get(said) ?? numbers.size;
    numbers.set(said, place.like);
  }
  const found: Alternative[] = [];
  const open = places.slice(0, 1).map((place) => ({ place, leftOut: place.leftOut }));
  for (let at = open.pop(); at; at = open.pop()) {
    const { place, leftOut } = at;
    if (place.endings.length > 0) {
      const assuming = place.assuming.filter((answer) => !leftOut.includes(answer));
      found.push({ assuming, ends: endsOf(place.endings), isWhole: isWhole(place.endings) });
    }
    for (const next of [...place.further.values()].reverse()) {
      open.push({ place: next, leftOut: [...leftOut, ...next.leftOut] });
    }
  }
  return found;
}

/** Each behind the one that it follows. */
function placesOf(endings: readonly WalkEnding[]): Place[] {
  const begin = newPlace();
  const places = [begin];
  for (const ending of endings) {
    let at = begin;
    for (const answer of ending.assuming) {
      let next = at.further.get(answer);
      if (!next) {
        next = newPlace();
        at.further.set(answer, next);
        places.push(next);
      }
      at = next;
    }
    at.assuming = ending.assuming;
    at.endings.push(ending);
  }
  return places;
}

function newPlace(): Place {
  return {
    further: new Map(),
    assuming: [],
    endings: [],
    leftOut: [],
    isWhole: false,
    like: 0,
  };
}

/** Leaves out the question that is asked here, if all is the same whatever the answer. */
function leaveOut(place: Place): void {
  const [first, ...others] = place.further;
  if (!first || others.length === 0 || place.endings.length > 0) return;
  const [answer, next] = first;
  if (!next.isWhole || others.some(([, other]) => other.like !== next.like)) return;
  place.further = next.further;
  place.assuming = next.assuming;
  place.endings = next.endings;
  place.leftOut = [answer, ...next.leftOut];
}

function fingerprint({ endings, further }: Place): string {
  const ends = endings.map((it) => {
    const { parts, bits } = it.share;
    return `${endKey(it)} ${it.path.join()} ${parts}/${bits}`;
  });
  const behind = [...further].map(([answer, { like }]) => `${answer} ${like}`);
  return [...ends.sort(), '', ...behind.sort()].join('\n');
}

function isWhole(endings: readonly WalkEnding[]): boolean {
  return compare(total(endings), ONE) === 0;
}

function endsOf(endings: readonly WalkEnding[]): WalkEnding[][] {
  const ends = new Map<string, WalkEnding[]>();
  for (const ending of endings) {
    const key = endKey(ending);
    const same = ends.get(key);
    if (same) same.push(ending);
    else ends.set(key, [ending]);
  }
  return [...ends.values()];
}

function endKey({ kind, ip, port, masquerade, affinity, decidedBy }: WalkEnding): string {
  const by = decidedBy === undefined ? '' : whichRule(decidedBy);
  return [kind, ip, port, masquerade, affinity, by].join(' ');
}
