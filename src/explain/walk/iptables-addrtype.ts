import { MAPPED } from '../../model/address.js';
import type { Match, MatchOption } from '../../model/ruleset.js';
import type { Answer, Asked, Condition } from './condition.js';
import { isLocal, type Question } from './question.js';

/**
 * `addrtype`: what kind of address it is by the node's table of local addresses. IPv4: exactly one kind
 * (inet_addr_type of net/ipv4/fib_frontend.c); IPv6: MULTICAST and UNICAST by the address itself, and
 * LOCAL beside them (match_type6 of net/netfilter/xt_addrtype.c).
 */
export function addressTypeConditions(match: Match): readonly Condition[] {
  const isLimited = match.options.some(({ name }) => name.startsWith('--limit-iface-'));
  return match.options
    .filter(({ name }) => name === '--src-type' || name === '--dst-type')
    .map((option) => typeCondition(option, isLimited));
}

function typeCondition(option: MatchOption, isLimited: boolean): Condition {
  const side = option.name === '--src-type' ? 'source' : 'destination';
  const wanted = (option.values[0] ?? '').split(',');
  const kinds = wanted.join(' or ');
  return {
    negated: option.negated,
    ask: (of) => answer(of, side, wanted, isLimited),
    say: (of, is) => `${side} ${of.branch[side]} is ${is ? '' : 'not '}${kinds}`,
  };
}

function answer(
  of: Asked,
  side: 'source' | 'destination',
  wanted: readonly string[],
  isLimited: boolean,
): Answer {
  const address = of.branch[side];
  const words = of[side];
  const ask = (kind: string): Question => ({
    yes: `${address} is ${kind}`,
    no: `${address} is not ${kind}`,
  });
  const local = localAnswer(of, side);
  if (words && words[2] !== MAPPED) {
    const first = (words[0] ?? 0) >>> 24;
    if (wanted.includes('MULTICAST') && first !== 0xff) return false;
    if (wanted.includes('UNICAST') && first === 0xff) return false;
    if (wanted.includes('UNSPEC') && words.some((word) => word !== 0)) return false;
    const looked = wanted.filter((kind) => ['LOCAL', 'ANYCAST', 'UNREACHABLE'].includes(kind));
    if (looked.length === 0) return true;
    if (looked.length > 1 || looked[0] !== 'LOCAL') return ask(looked.join(' or '));
    return isLimited && local === true ? ask('an address of the interface') : local;
  }
  if (words) {
    const value = words[3] ?? 0;
    const fixed = kindOf(value);
    if (fixed !== undefined) return wanted.includes(fixed);
  }
  const asks = { local: wanted.includes('LOCAL'), unicast: wanted.includes('UNICAST') };
  // With an interface an address of another one counts as UNICAST.
  if (isLimited && local === true && asks.local !== asks.unicast) {
    const question = ask('an address of the interface');
    return asks.local ? question : { yes: question.no, no: question.yes };
  }
  if (local === true) return asks.local || (isLimited && asks.unicast);
  const isBroadcast = wanted.includes('BROADCAST') && words && ((words[3] ?? 0) & 0xff) === 0xff;
  // A network's own broadcast address stands in the same table, which nobody has listed.
  if (local === false)
    return isBroadcast && !asks.unicast ? ask('a broadcast address') : asks.unicast;
  if (asks.local === asks.unicast) return asks.local;
  return asks.local ? local : { yes: local.no, no: local.yes };
}

/** The kind that an IPv4 address has anywhere. */
function kindOf(value: number): string | undefined {
  if (value >>> 28 === 0xe) return 'MULTICAST';
  // 0.0.0.0/8 and 255.255.255.255.
  return value >>> 24 === 0 || value === 0xffff_ffff ? 'BROADCAST' : undefined;
}

function localAnswer(of: Asked, side: 'source' | 'destination'): boolean | Question {
  const { at, branch } = of;
  if (side === 'source') {
    if (branch.source === '') return true;
    if (at.packet.from.kind === 'node') return true;
    // From outside the kernel takes no packet that bears an address of its own (a martian).
    if (at.facts.addresses === undefined) return false;
  }
  return isLocal(branch[side], at.facts);
}
