import type { NftablesRules, NftJson, NftRule } from '../../model/ruleset.js';
import type { ClientCondition } from '../../model/services.js';
import { field, isList, networkOf } from './nft-values.js';
import type { Clients } from './ways.js';

/** What a match asks about where the client is; `undefined` if it asks something else. */
export function clientCondition(expression: NftJson): ClientCondition | undefined {
  const match = field(expression, 'match');
  const op = field(match, 'op');
  if (match === undefined || (op !== '==' && op !== '!=' && op !== 'in')) return undefined;
  const negated = op === '!=';
  const [left, right] = [field(match, 'left'), field(match, 'right')];
  if (field(field(left, 'payload'), 'field') === 'saddr') {
    const network = networkOf(right);
    return network === undefined ? undefined : { is: 'network', network, negated };
  }
  const fib = field(left, 'fib');
  if (fib !== undefined) {
    const flags = field(fib, 'flags');
    const source = flags === 'saddr' || (isList(flags) && flags.join() === 'saddr');
    return source && field(fib, 'result') === 'type' && right === 'local'
      ? { is: 'local', negated }
      : undefined;
  }
  if (field(field(left, 'meta'), 'key') === 'iifname' && typeof right === 'string') {
    return { is: 'interface', name: right.replace(/\*$/, '+'), negated };
  }
  return undefined;
}

/** Whom a firewall chain lets pass: `ip saddr != { 10.0.0.0/8, 192.0.2.1 } drop`. */
export function allowedBy(rules: readonly NftRule[]): Clients | undefined {
  const [only, ...more] = rules;
  if (only === undefined || more.length > 0) return undefined;
  if (!only.expressions.some((expression) => field(expression, 'drop') !== undefined))
    return undefined;
  const matches = only.expressions.flatMap((expression) => field(expression, 'match') ?? []);
  const [match] = matches;
  if (matches.length !== 1 || field(match, 'op') !== '!=') return undefined;
  if (field(field(field(match, 'left'), 'payload'), 'field') !== 'saddr') return undefined;
  const right = field(match, 'right');
  const set = field(right, 'set') ?? right;
  const clients: ClientCondition[][] = [];
  for (const one of isList(set) ? set : [set]) {
    const network = networkOf(one);
    if (network === undefined) return undefined;
    clients.push([{ is: 'network', network, negated: false }]);
  }
  return clients;
}

/** Whether NodePorts are taken at every address but 127.0.0.0/8 or ::1. */
export function sparesLoopback(rules: NftablesRules): boolean {
  const dispatch = (rules.chains.get('services')?.rules ?? []).filter(({ expressions }) =>
    expressions.some(
      (expression) => field(field(expression, 'vmap'), 'data') === '@service-nodeports',
    ),
  );
  return dispatch.some(({ expressions }) =>
    expressions.some((expression) => {
      const match = field(expression, 'match');
      const network = networkOf(field(match, 'right'));
      return (
        field(match, 'op') === '!=' && (network === '127.0.0.0/8' || network?.startsWith('::1'))
      );
    }),
  );
}
