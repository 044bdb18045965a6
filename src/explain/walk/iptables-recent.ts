import type { Match } from '../../model/ruleset.js';
import type { Answer, Asked, Condition } from './condition.js';
import { unknown } from './iptables-unknown.js';
import { addressWords, masked, maskOf } from './network.js';

/** What `recent` calls its list where the rule does not. */
const DEFAULT_LIST = 'DEFAULT';

/** What a `recent` match is, beside what it asks. */
export interface Recent {
  readonly list: string;
  /** `set`: writes the address into the list, whatever was in it. */
  readonly does: 'set' | 'check' | 'update' | 'remove';
  readonly negated: boolean;
  readonly side: 'source' | 'destination';
  readonly mask: string;
  readonly seconds: number | undefined;
  readonly hits: number;
  readonly asksTtl: boolean;
}

const VERBS = new Map<string, Recent['does']>([
  ['--set', 'set'],
  ['--rcheck', 'check'],
  ['--update', 'update'],
  ['--remove', 'remove'],
]);

export function recentOf(match: Match): Recent | undefined {
  const value = (name: string): string | undefined =>
    match.options.find((option) => option.name === name)?.values[0];
  const verb = match.options.find((option) => VERBS.has(option.name));
  const does = VERBS.get(verb?.name ?? '');
  const seconds = value('--seconds');
  const hits = value('--hitcount');
  if (!verb || !does || !isNumber(seconds) || !isNumber(hits)) return undefined;
  return {
    list: value('--name') ?? DEFAULT_LIST,
    does,
    negated: verb.negated,
    side: match.options.some(({ name }) => name === '--rdest') ? 'destination' : 'source',
    mask: value('--mask') ?? '',
    seconds: seconds === undefined ? undefined : Number(seconds),
    hits: Number(hits ?? 1),
    asksTtl: match.options.some(({ name }) => name === '--rttl'),
  };
}

function isNumber(text: string | undefined): boolean {
  return text === undefined || /^\d{1,10}$/.test(text);
}

/** recent_mt of net/netfilter/xt_recent.c. */
export function recentConditions(match: Match): readonly Condition[] {
  const recent = recentOf(match);
  if (!recent) return [unknown(match)];
  const { list, negated, side } = recent;
  return [
    {
      negated,
      ask: (of) => answer(of, recent),
      say: (of, is) =>
        `the recent list ${list} ${is ? 'holds' : 'does not hold'} ${of.branch[side]}`,
    },
  ];
}

function answer(of: Asked, recent: Recent): Answer {
  const { list, does, side, seconds, hits, asksTtl } = recent;
  if (does === 'set') return true;
  const { branch, at } = of;
  if (hits <= 1 && !asksTtl && side === 'source' && branch.remembered?.includes(list)) return true;
  const address = branch[side];
  // `seconds` of 0 is no limit.
  const limit = seconds && does !== 'remove' ? `, seen within ${seconds} s` : '';
  const often = hits > 1 && does !== 'remove' ? ` ${hits} times` : '';
  const holds = `${address}${often}${limit}${asksTtl ? ', with this TTL' : ''}`;
  const question = {
    yes: `the recent list ${list} holds ${holds}`,
    no: `the recent list ${list} does not hold ${holds}`,
  };
  const known = at.facts.recent?.get(list);
  const words = of[side];
  if (!known || !words) return question;
  const ages = agesOf(known, words, recent.mask);
  if (ages.length === 0) return false;
  const isRecent = limit === '' || ages.some((age) => age <= (seconds ?? 0));
  if (!isRecent) return false;
  return often !== '' || asksTtl ? question : true;
}

function agesOf(
  known: ReadonlyMap<string, number>,
  address: Uint32Array,
  maskText: string,
): readonly number[] {
  const mask = maskOf(maskText, maskText.includes(':') ? 6 : 4) ?? maskOf('128', 6);
  if (!mask) return [];
  const wanted = masked(address, mask);
  return [...known]
    .filter(([text]) => {
      const words = addressWords(text);
      return words !== undefined && masked(words, mask) === wanted;
    })
    .map(([, age]) => age);
}
