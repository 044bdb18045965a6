import type { Match, MatchOption } from '../../model/ruleset.js';
import type { Condition } from './condition.js';

/** Asks of counters that other packets move, so that two rules never share an answer. */
const COUNTERS = new Set(['limit', 'hashlimit', 'connlimit', 'quota', 'rateest', 'dstlimit']);

/** A match that nobody can answer. Its text is the question, so the same one is answered alike on one way. */
export function unknown(match: Match): Condition {
  return {
    negated: false,
    ask: (of) => {
      const text = textOf(match);
      const where = COUNTERS.has(match.name) ? ` (${of.where})` : '';
      return {
        yes: `${text} holds${where}`,
        no: `${text} does not hold${where}`,
        remark: `whether ${text} holds cannot be told from rules and addresses`,
      };
    },
    say: (_, is) => `${textOf(match)} ${is ? 'holds' : 'does not hold'}`,
  };
}

function textOf({ name, options }: Match): string {
  const words = options.map((option) =>
    [option.negated ? '!' : '', option.name === name ? '' : option.name, ...option.values]
      .filter((word) => word !== '')
      .join(' '),
  );
  const begin = name.startsWith('-') ? name : `-m ${name}`;
  return [begin, ...words].join(' ').trimEnd();
}

/** One option of a match that is else understood; its own negation is asked for by whoever asks. */
export function unknownOption(match: Match, { name, values, negated }: MatchOption): Condition {
  return { ...unknown({ name: match.name, options: [{ name, values, negated: false }] }), negated };
}
