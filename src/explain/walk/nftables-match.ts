import type { NftablesRules, NftElement, NftJson, NftSet } from '../../model/ruleset.js';
import { ONE, times } from '../../model/share.js';
import type { Share } from '../../model/walk.js';
import { Elements } from './nftables-elements.js';
import {
  evaluate,
  type Got,
  gotText,
  type Scene,
  type Settled,
  type Spread,
  valuesText,
} from './nftables-evaluate.js';
import { field, isList, membersOf, pairsOf, setName, textOf, unwrapped } from './nftables-json.js';
import { expressionText, matchText } from './nftables-text.js';
import {
  fits,
  type Kind,
  NUMBER,
  type Pattern,
  patternOf,
  type Scalar,
} from './nftables-values.js';
import { isLocal, passesBy } from './question.js';

/** Whether a match holds. */
export type Answer =
  | { readonly is: 'yes' }
  | { readonly is: 'no'; readonly because: string }
  /** How likely it is to hold. */
  | { readonly is: 'chance'; readonly share: Share }
  | Unknown;

/** What is assumed if it is taken to hold, and if not. */
export interface Unknown {
  readonly is: 'unknown';
  readonly holds: string;
  readonly fails: string;
  /** What the listing said, where it said something. */
  readonly hint?: string;
  /** The set that was asked whether it holds what, where that is not known. */
  readonly set?: { readonly name: string; readonly key: string };
}

/** One way in which a look-up can end. */
export interface Choice {
  /** Absent: nothing in the map is meant. */
  readonly element?: NftElement;
  /** Where a random number chooses. */
  readonly share?: Share;
  /** Where something chooses that nobody knows. */
  readonly assuming?: string;
}

/** What happens to a packet in the two tables of a look-up. */
export type Choices =
  | { readonly is: 'choices'; readonly choices: readonly Choice[]; readonly kinds: readonly Kind[] }
  | { readonly is: 'missing'; readonly because: string }
  | { readonly is: 'unknown'; readonly what: string };

/** So many elements are tried where nobody knows which is meant. */
const MAX_GUESSES = 64;
/**
 * A listing is some time old when a packet meets the rules. An element that had longer to live than this
 * is taken to be there still; of one that had less nobody knows.
 */
const SURELY_ALIVE_SECONDS = 600;
/** So far back a walk knows what it took for granted; a Service with affinity asks a set for each endpoint. */
const MAX_REMEMBERED = 4096;
const RANDOM_ONE = 1n << 32n;
const RANDOM_BITS = 32;

/** The sets and maps of one table, indexed when first asked for. */
export class Sets {
  private readonly rules: NftablesRules;
  private readonly named = new Map<NftSet, Elements>();
  private readonly anonymous = new Map<NftJson, Elements>();

  constructor(rules: NftablesRules) {
    this.rules = rules;
  }

  set(name: string): NftSet | undefined {
    return this.rules.sets.get(name);
  }

  map(name: string): NftSet | undefined {
    return this.rules.maps.get(name);
  }

  of(set: NftSet, kinds: readonly Kind[]): Elements {
    let elements = this.named.get(set);
    if (!elements) {
      elements = new Elements(kinds, set.elements);
      this.named.set(set, elements);
    }
    return elements;
  }

  /** The members of a set, or the pairs of a map, that stands in a rule. */
  inline(json: NftJson, kinds: readonly Kind[], isMap: boolean): Elements {
    let elements = this.anonymous.get(json);
    if (!elements) {
      elements = new Elements(kinds, isMap ? pairElements(json) : memberElements(json));
      this.anonymous.set(json, elements);
    }
    return elements;
  }
}

function* pairElements(json: NftJson): Generator<NftElement> {
  for (const [key, value] of pairsOf(json)) yield { key: unwrapped(key), value };
}

function* memberElements(json: NftJson): Generator<NftElement> {
  const members = membersOf(json) ?? (isList(json) ? json : []);
  for (const member of members) yield { key: unwrapped(member) };
}

export function answer(match: NftJson, scene: Scene, sets: Sets): Answer {
  const left = field(match, 'left') ?? null;
  const right = field(match, 'right') ?? null;
  const op = textOf(field(match, 'op')) ?? '==';
  const got = evaluate(left, scene);
  if (got.is === 'missing') return { is: 'no', because: got.because };
  const name = setName(right);
  const set = name === undefined ? undefined : sets.set(name);
  if (set && isDynamic(set) && got.is === 'known')
    return member(set, got, op === '!=', scene, sets);
  const no: Answer = { is: 'no', because: gotText(left, got) };
  // What a set that comes and goes holds of a packet that is not known, nobody knows.
  const compared = set && isDynamic(set) ? undefined : compare(got, op, right, set, sets);
  if (compared === true) return { is: 'yes' };
  if (compared === false) return no;
  if (compared !== undefined) {
    remarkTurn(got, scene);
    return { is: 'chance', share: compared };
  }
  const { before, ...words } = assumptions(match, left, right, op, scene);
  const settled = before ?? isSettled(scene, words.holds, words.fails);
  if (settled !== undefined) {
    return settled ? { is: 'yes' } : { is: 'no', because: `assumed: ${words.fails}` };
  }
  return { is: 'unknown', ...words };
}

/** What a map, named or in the rule, has for a key. */
export function choose(map: NftJson, scene: Scene, sets: Sets): Choices {
  const key = field(map, 'key') ?? null;
  const data = field(map, 'data') ?? null;
  const got = evaluate(key, scene);
  if (got.is === 'missing') return got;
  const { kinds } = got;
  const name = setName(data);
  const named = name === undefined ? undefined : sets.map(name);
  if (name !== undefined && !named) return { is: 'unknown', what: `there is no map ${name}` };
  const elements = named ? sets.of(named, kinds) : sets.inline(data, kinds, true);
  const text = expressionText(key);
  if (got.is === 'known') {
    const element = elements.find(got.values);
    if (element) return { is: 'choices', choices: [{ element }], kinds };
    if (elements.unread === 0) return { is: 'choices', choices: [{}], kinds };
    const assuming = `none of ${elements.unread} elements of the map that cannot be read is for ${valuesText(got)}`;
    return { is: 'choices', choices: [{ assuming }], kinds };
  }
  if (got.is === 'spread') {
    remarkTurn(got, scene);
    return { is: 'choices', choices: dealt(got, elements, text), kinds };
  }
  const possible = elements.entries.filter(({ patterns }) => mayFit(got, patterns));
  if (possible.length > MAX_GUESSES) return { is: 'unknown', what: `${text} is not known` };
  const choices: Choice[] = possible.map(({ element }) => ({
    element,
    assuming: `${text} is ${expressionText(element.key)}`,
  }));
  // Whether it is something else: taken by a catch-all, or by nothing.
  const other = elements.other;
  const rest = possible.length === 0 ? {} : { assuming: `${text} is nothing that the map has` };
  return {
    is: 'choices',
    choices: [...choices, { ...(other && { element: other }), ...rest }],
    kinds,
  };
}

/** Of one connection it is not known whose turn it is; a share is of many. */
export function remarkTurn(got: Got, { at }: Scene): void {
  if (got.is !== 'spread' || got.drawn !== 'in turn' || got.count < 2) return;
  at.remark?.(
    `a rule takes ${got.count} numbers in turn by a counter that nobody tells: their shares are those of many connections`,
  );
}

/** Whether a set's elements come and go with packets: what a listing has of them is a moment's. */
function isDynamic({ flags, timeoutSeconds }: NftSet): boolean {
  return timeoutSeconds !== undefined || flags.includes('timeout') || flags.includes('dynamic');
}

function member(
  set: NftSet,
  got: Extract<Got, { is: 'known' }>,
  isNegated: boolean,
  scene: Scene,
  sets: Sets,
): Answer {
  const key = valuesText(got);
  const present = holdsText(set.name, key);
  const absent = lacksText(set.name, key);
  const decide = (isThere: boolean, words: string): Answer =>
    isThere === isNegated ? { is: 'no', because: words } : { is: 'yes' };
  const settled = isSettled(scene, present, absent);
  if (settled !== undefined) return decide(settled, settled ? present : absent);
  const recent = scene.at.facts.recent?.get(set.name);
  if (recent) {
    const age = recent.get(key);
    const isThere = age !== undefined && age < (set.timeoutSeconds ?? Number.POSITIVE_INFINITY);
    return decide(isThere, isThere ? present : absent);
  }
  const listed = sets.of(set, got.kinds).find(got.values);
  const left = listed?.expiresSeconds ?? Number.POSITIVE_INFINITY;
  if (listed && left > SURELY_ALIVE_SECONDS) return decide(true, present);
  const hint = listed
    ? `when the rules were listed it was there for ${left} s more`
    : 'it was not there when the rules were listed';
  // What a set lacks is told in one sentence for all that a chain asks, so it is named.
  return isNegated
    ? { is: 'unknown', holds: absent, fails: present, hint }
    : { is: 'unknown', holds: present, fails: absent, hint, set: { name: set.name, key } };
}

export function holdsText(set: string, key: string): string {
  return `the set ${set} holds ${key}`;
}

export function lacksText(set: string, key: string): string {
  return `the set ${set} does not hold ${key}`;
}

/** Whether the one or the other was taken for granted before. */
function isSettled(scene: Scene, holds: string, fails: string): boolean | undefined {
  let one: Settled | undefined = scene.settled;
  for (let i = 0; one && i < MAX_REMEMBERED; i++) {
    if (one.text === holds) return true;
    if (one.text === fails) return false;
    one = one.before;
  }
  if (scene.branch.assuming.includes(holds)) return true;
  return scene.branch.assuming.includes(fails) ? false : undefined;
}

/** A share where chance decides, `undefined` where nobody knows. */
function compare(
  got: Exclude<Got, { is: 'missing' }>,
  op: string,
  right: NftJson,
  set: NftSet | undefined,
  sets: Sets,
): boolean | Share | undefined {
  const { kinds } = got;
  const kind = kinds[0] ?? NUMBER;
  const negated = op === '!=';
  if (set || membersOf(right) !== undefined || (isList(right) && !kind.isBitmask)) {
    if (op !== '==' && op !== 'in' && !negated) return undefined;
    const elements = set ? sets.of(set, kinds) : sets.inline(right, kinds, false);
    return amongst(got, elements, negated);
  }
  // A name that stands for no set of this table.
  if (setName(right) !== undefined) return undefined;
  if (kinds.length !== 1) {
    return amongst(got, sets.inline({ set: [right] }, kinds, false), negated);
  }
  if (kind.isBitmask) return bits(got, op, right, kind);
  const pattern = boundsOf(op, right, kind);
  if (!pattern) return undefined;
  if (got.is === 'known') return fits(got.values[0] ?? '', pattern) !== negated;
  if (got.is === 'spread') {
    if (got.drawn === 'unknown') return undefined;
    const parts = overlap(got, pattern)?.share;
    return shareOf(negated ? RANDOM_ONE - (parts ?? 0n) : (parts ?? 0n));
  }
  return mayFit(got, [pattern]) ? undefined : negated;
}

function amongst(
  got: Exclude<Got, { is: 'missing' }>,
  elements: Elements,
  negated: boolean,
): boolean | Share | undefined {
  if (got.is === 'known') {
    if (elements.find(got.values)) return !negated;
    return elements.unread > 0 ? undefined : negated;
  }
  if (got.is === 'unknown') {
    const isPossible = elements.entries.some(({ patterns }) => mayFit(got, patterns));
    return isPossible || elements.unread > 0 || elements.other ? undefined : negated;
  }
  if (got.drawn === 'unknown' || elements.unread > 0) return undefined;
  let parts = 0n;
  for (const { patterns } of elements.entries) {
    const [pattern] = patterns;
    if (pattern) parts += overlap(got, pattern)?.share ?? 0n;
  }
  return shareOf(negated ? RANDOM_ONE - parts : parts);
}

/** `ct state new,established`: any of the bits; with `==` and `!=` all of them and no other. */
function bits(
  got: Exclude<Got, { is: 'missing' }>,
  op: string,
  right: NftJson,
  kind: Kind,
): boolean | undefined {
  const wanted = kind.read(right);
  const value = got.is === 'known' ? got.values[0] : undefined;
  if (typeof wanted !== 'bigint' || typeof value !== 'bigint') return undefined;
  switch (op) {
    case 'in':
      return (value & wanted) !== 0n;
    case '!':
      return (value & wanted) === 0n;
    case '==':
      return value === wanted;
    case '!=':
      return value !== wanted;
    default:
      return undefined;
  }
}

/** What an operator asks for, as what the value has to lie in; `!=` is left to the caller. */
function boundsOf(op: string, right: NftJson, kind: Kind): Pattern | undefined {
  const pattern = patternOf(kind, right);
  if (!pattern || op === '==' || op === '!=' || op === 'in') return pattern;
  if ('name' in pattern) return undefined;
  const most = (1n << BigInt(kind.bits)) - 1n;
  switch (op) {
    case '<':
      return { from: 0n, to: pattern.from - 1n };
    case '<=':
      return { from: 0n, to: pattern.to };
    case '>':
      return { from: pattern.to + 1n, to: most };
    case '>=':
      return { from: pattern.from, to: most };
    default:
      return undefined;
  }
}

function mayFit(got: Extract<Got, { is: 'unknown' }>, patterns: readonly Pattern[]): boolean {
  return patterns.every((pattern, i) => {
    const value: Scalar | undefined = got.values[i];
    if (value !== undefined) return fits(value, pattern);
    return got.except === undefined || !('name' in pattern) || pattern.name !== got.except;
  });
}

/** The numbers that fall to a pattern, and how many of 2^32 random numbers lead to them. */
function overlap(
  { first, count }: Spread,
  pattern: Pattern,
): { readonly from: number; readonly to: number; readonly share: bigint } | undefined {
  if ('name' in pattern) return undefined;
  const last = BigInt(first + count - 1);
  const from = pattern.from > BigInt(first) ? pattern.from : BigInt(first);
  const to = pattern.to < last ? pattern.to : last;
  if (from > to) return undefined;
  const offset = BigInt(first);
  return {
    from: Number(from),
    to: Number(to),
    share: beginOf(to - offset + 1n, count) - beginOf(from - offset, count),
  };
}

/** reciprocal_scale (linux/kernel.h): (random * count) >> 32, so number n begins at ceil(n * 2^32 / count). */
function beginOf(n: bigint, count: number): bigint {
  return (n * RANDOM_ONE + BigInt(count) - 1n) / BigInt(count);
}

function shareOf(parts: bigint): Share {
  return times({ parts, bits: RANDOM_BITS }, ONE);
}

function dealt(got: Spread, elements: Elements, text: string): Choice[] {
  const choices: Choice[] = [];
  const isDealt = got.drawn !== 'unknown';
  let left = RANDOM_ONE;
  for (const { element, patterns } of elements.entries) {
    const [pattern] = patterns;
    const part = pattern && overlap(got, pattern);
    if (!part) continue;
    left -= part.share;
    const number = part.from === part.to ? `${part.from}` : `${part.from}-${part.to}`;
    choices.push(
      isDealt
        ? { element, share: shareOf(part.share) }
        : { element, assuming: `${text} gives ${number}` },
    );
  }
  if (left <= 0n) return choices;
  const other = elements.other && { element: elements.other };
  choices.push(
    isDealt
      ? { ...other, share: shareOf(left) }
      : {
          ...other,
          ...(choices.length > 0 && { assuming: `${text} gives nothing that the map has` }),
        },
  );
  return choices;
}

/** Keys of `meta` that are interfaces' names. */
const SIDES: ReadonlyMap<string, 'in' | 'out'> = new Map([
  ['iif', 'in'],
  ['iifname', 'in'],
  ['oif', 'out'],
  ['oifname', 'out'],
]);

/** What is assumed if a match is taken to hold, and if not; `before`: which of them was, for another match. */
interface Assumptions {
  readonly holds: string;
  readonly fails: string;
  readonly before?: boolean | undefined;
}

function assumptions(
  match: NftJson,
  left: NftJson,
  right: NftJson,
  op: string,
  { branch, at }: Scene,
): Assumptions {
  const flags = field(field(left, 'fib'), 'flags');
  const flag = isList(flags) && flags.length === 1 ? flags[0] : flags;
  if (right === 'local' && (flag === 'saddr' || flag === 'daddr')) {
    const question = isLocal(flag === 'saddr' ? branch.source : branch.destination, at.facts);
    if (typeof question !== 'boolean') {
      const { yes, no } = question;
      return op === '!=' ? { holds: no, fails: yes } : { holds: yes, fails: no };
    }
  }
  const side = SIDES.get(textOf(field(field(left, 'meta'), 'key')) ?? '');
  if (side !== undefined && typeof right === 'string' && setName(right) === undefined) {
    const { question, is } = passesBy(side, right.replace(/(?<!\\)\*$/, '+'), branch);
    const { yes, no } = question;
    if (op !== '!=') return { holds: yes, fails: no, before: is };
    return { holds: no, fails: yes, before: is === undefined ? undefined : !is };
  }
  // One text for a condition and for its negation; where it goes is another matter with each destination.
  const text = matchText(op === '!=' ? { left, right, op: '==' } : match);
  const where = side === 'out' && branch.destination !== '' ? ` for ${branch.destination}` : '';
  const holds = `"${text}" holds${where}`;
  const fails = `"${text}" does not hold${where}`;
  return op === '!=' ? { holds: fails, fails: holds } : { holds, fails };
}
