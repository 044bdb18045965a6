import type { Match, MatchOption } from '../../model/ruleset.js';
import type { Answer, Asked, Condition } from './condition.js';
import { unknownOption } from './iptables-unknown.js';
import { addressWords, Network, portsOf } from './network.js';
import { protocolNumber, protocolText } from './protocol.js';

/**
 * The states of a connection's first packet (conntrack_mt of net/netfilter/xt_conntrack.c). In `raw`
 * conntrack has not seen it yet, which counts as INVALID.
 */
function statesOf(of: Asked): readonly string[] {
  const { branch, at } = of;
  if (branch.untracked) return ['UNTRACKED'];
  if (!of.isTracked) return ['INVALID'];
  const states = ['NEW'];
  // A translation to what it was already sets no bit (nf_nat_setup_info).
  const { dnat } = branch;
  if (dnat && (dnat.ip !== at.packet.destination || dnat.port !== at.packet.port))
    states.push('DNAT');
  if (branch.masquerade === 'yes') states.push('SNAT');
  return states;
}

export function stateConditions(match: Match): readonly Condition[] {
  return match.options.map((option) =>
    option.name === '--state' ? stateCondition(option) : unknownOption(match, option),
  );
}

function stateCondition(option: MatchOption): Condition {
  const wanted = (option.values[0] ?? '').split(',');
  return {
    negated: option.negated,
    ask: (of) => statesOf(of).some((state) => wanted.includes(state)),
    say: (of) => `its state is ${statesOf(of).join(' and ')}`,
  };
}

export function conntrackConditions(match: Match): readonly Condition[] {
  const hasState = match.options.some(({ name }) => name === '--ctstate');
  return match.options.map((option): Condition => {
    if (option.name === '--ctstate') return stateCondition(option);
    const inner = entryCondition(match, option);
    const { negated } = option;
    return {
      negated,
      // Without an entry the rest is not asked: it holds beside a state that does, and not alone.
      ask: (of) => (of.hasEntry ? inner.ask(of) : hasState !== negated),
      say: (of, is) => (of.hasEntry ? inner.say(of, is) : 'conntrack has no entry for it'),
    };
  });
}

function entryCondition(match: Match, option: MatchOption): Condition {
  const { name, negated, values } = option;
  const [text = ''] = values;
  const make = (ask: (of: Asked) => Answer, say: (of: Asked) => string): Condition => ({
    negated,
    ask,
    say,
  });
  switch (name) {
    case '--ctproto': {
      const number = protocolNumber(text);
      return make(
        (of) => of.at.packet.protocol === number,
        (of) => `it is ${protocolText(of.at.packet.protocol)}`,
      );
    }
    case '--ctdir':
      return make(
        () => text.toUpperCase() === 'ORIGINAL',
        () => 'it goes in the original direction',
      );
    case '--ctstatus': {
      const wanted = text.split(',');
      return make(
        (of) => statesOf(of).some((state) => wanted.includes(`${state}_NAT`)),
        () => 'a first packet has none of these statuses',
      );
    }
    case '--ctorigsrc':
      return addressOf(match, option, (of) => of.at.packet.source);
    case '--ctorigdst':
      return addressOf(match, option, (of) => of.at.packet.destination);
    case '--ctreplsrc':
      return addressOf(match, option, (of) => of.branch.destination);
    case '--ctrepldst':
      return addressOf(match, option, (of) => of.branch.source);
    case '--ctorigsrcport':
      return portOf(match, option, (of) => of.at.packet.sourcePort);
    case '--ctorigdstport':
      return portOf(match, option, (of) => of.at.packet.port);
    case '--ctreplsrcport':
      return portOf(match, option, (of) => (of.branch.port === 0 ? undefined : of.branch.port));
    case '--ctrepldstport':
      return portOf(match, option, (of) => of.at.packet.sourcePort);
    default:
      return unknownOption(match, option);
  }
}

function addressOf(match: Match, option: MatchOption, of: (asked: Asked) => string): Condition {
  const [text = ''] = option.values;
  const network = Network.parse(text);
  const what = option.name.slice(2);
  if (!network) return unknownOption(match, option);
  return {
    negated: option.negated,
    ask: (asked) => {
      const words = addressWords(of(asked));
      return words
        ? network.has(words)
        : { yes: `${what} is in ${text}`, no: `${what} is not in ${text}` };
    },
    say: (asked, is) => `${what} ${of(asked)} is ${is ? '' : 'not '}in ${text}`,
  };
}

function portOf(
  match: Match,
  option: MatchOption,
  of: (asked: Asked) => number | undefined,
): Condition {
  const [text = ''] = option.values;
  const ports = portsOf(text);
  const what = option.name.slice(2);
  if (!ports) return unknownOption(match, option);
  return {
    negated: option.negated,
    ask: (asked) => {
      const port = of(asked);
      if (port === undefined) return { yes: `${what} is ${text}`, no: `${what} is not ${text}` };
      return port >= ports.from && port <= ports.to;
    },
    say: (asked) => `${what} is ${of(asked)}`,
  };
}
