import type { Match, MatchOption } from '../../model/ruleset.js';
import { ofPart, ofStatistic } from '../../model/share.js';
import type { Asked, Condition } from './condition.js';
import { addressTypeConditions } from './iptables-addrtype.js';
import { conntrackConditions, stateConditions } from './iptables-conntrack.js';
import { recentConditions } from './iptables-recent.js';
import { unknown, unknownOption } from './iptables-unknown.js';
import { hex, markOf } from './mark.js';
import { addressWords, isOrdered, Network, type Ports, portsOf } from './network.js';
import { protocolNumber, protocolText } from './protocol.js';
import { passesBy } from './question.js';

/** 2^31: what `statistic` holds a probability of 1 as. */
const STATISTIC_ONE = 0x8000_0000;

/** Flags of TCP's header by their names (RFC 9293, RFC 3168). A connection begins with SYN alone. */
const TCP_FLAGS: ReadonlyMap<string, number> = new Map([
  ['FIN', 1],
  ['SYN', 2],
  ['RST', 4],
  ['PSH', 8],
  ['ACK', 16],
  ['URG', 32],
  ['ALL', 63],
  ['NONE', 0],
]);
const SYN = 2;

/** Protocols' own matches that no packet of TCP, UDP or SCTP is asked by (they need `-p`). */
const OTHER_PROTOCOLS = new Set([
  'icmp',
  'icmp6',
  'icmpv6',
  'esp',
  'ah',
  'dccp',
  'udplite',
  'igmp',
]);

/** What a match asks, all of which must hold. */
export function conditionsOf(match: Match): readonly Condition[] {
  const make = MAKERS.get(match.name);
  if (make) return make(match);
  return OTHER_PROTOCOLS.has(match.name)
    ? [never(`it is no packet of ${match.name}`)]
    : [unknown(match)];
}

type Maker = (match: Match) => readonly Condition[];

const MAKERS: ReadonlyMap<string, Maker> = new Map<string, Maker>([
  ['comment', () => []],
  // Counts what it is asked for, and holds always (net/netfilter/xt_nfacct.c).
  ['nfacct', () => []],
  ['-s', (match) => [address(match, 'source')]],
  ['-d', (match) => [address(match, 'destination')]],
  ['-i', (match) => [interfaceName(match, 'in')]],
  ['-o', (match) => [interfaceName(match, 'out')]],
  ['-p', (match) => [protocol(match)]],
  // The first packet of a connection that is sent in fragments is put together before (defrag).
  ['-f', (match) => [fixed(optionOf(match).negated, false, 'it is no fragment')]],
  ['tcp', (match) => transport(match, 6)],
  ['udp', (match) => transport(match, 17)],
  ['sctp', (match) => transport(match, 132)],
  ['multiport', multiport],
  ['mark', (match) => match.options.map((option) => markCondition(match, option))],
  ['connmark', (match) => match.options.map((option) => connmark(match, option))],
  ['addrtype', addressTypeConditions],
  ['conntrack', conntrackConditions],
  ['state', stateConditions],
  ['statistic', statistic],
  ['recent', recentConditions],
  ['set', (match) => match.options.filter(isSet).map(ipset)],
  ['iprange', (match) => match.options.map((option) => addressRange(match, option))],
  ['physdev', (match) => match.options.map((option) => physdev(match, option))],
  ['owner', (match) => match.options.map((option) => owner(match, option))],
]);

/** Something that is so or not whatever the packet. */
function fixed(negated: boolean, is: boolean, words: string): Condition {
  return { negated, ask: () => is, say: () => words };
}

function never(words: string): Condition {
  return fixed(false, false, words);
}

const NO_OPTION: MatchOption = { name: '', negated: false, values: [] };

function optionOf(match: Match): MatchOption {
  return match.options[0] ?? NO_OPTION;
}

function address(match: Match, side: 'source' | 'destination'): Condition {
  const { negated, values } = optionOf(match);
  const text = values[0] ?? '';
  const network = Network.parse(text);
  if (!network || values.length !== 1) return unknown(match);
  return {
    negated,
    ask: (of) => {
      const words = of[side];
      if (words) return network.has(words);
      return { yes: `the ${side} is in ${text}`, no: `the ${side} is not in ${text}` };
    },
    say: (of, is) => `${side} ${of.branch[side]} is ${is ? '' : 'not '}in ${text}`,
  };
}

function interfaceName(match: Match, side: 'in' | 'out'): Condition {
  const { negated, values } = optionOf(match);
  const [name] = values;
  if (name === undefined) return unknown(match);
  const verb = side === 'in' ? 'comes in by' : 'leaves by';
  const asked = ({ branch }: Asked): ReturnType<typeof passesBy> => passesBy(side, name, branch);
  return {
    negated,
    ask: (of) => {
      const real = of.at[side];
      if (real !== undefined) return isNamed(real ?? '', name);
      if (name === '+') return true;
      const { question, is } = asked(of);
      return is ?? question;
    },
    say: (of, is) => {
      const real = of.at[side];
      if (real === undefined) return is ? asked(of).question.yes : asked(of).question.no;
      if (real === null) return `it ${verb} no interface here, not ${name}`;
      return `it ${verb} ${real}`;
    },
  };
}

/** `cali+` is every name that begins so (ifname_compare over the mask that iptables makes of it). */
function isNamed(real: string, name: string): boolean {
  return name.endsWith('+') ? real.startsWith(name.slice(0, -1)) : real === name;
}

function protocol(match: Match): Condition {
  const { negated, values } = optionOf(match);
  const text = values[0] ?? '';
  const number = protocolNumber(text);
  const isAny = number === 0 || text === 'all';
  if (text === '') return unknown(match);
  return {
    negated,
    // Another name is another protocol than those that have ports here.
    ask: (of) => isAny || number === of.at.packet.protocol,
    say: (of) => `it is ${protocolText(of.at.packet.protocol)}`,
  };
}

function transport(match: Match, number: number): readonly Condition[] {
  const isOwn: Condition = {
    negated: false,
    ask: (of) => of.at.packet.protocol === number,
    say: (of) => `it is ${protocolText(of.at.packet.protocol)}`,
  };
  return [isOwn, ...match.options.map((option) => transportOption(match, option, number))];
}

function transportOption(match: Match, option: MatchOption, number: number): Condition {
  const { name, negated, values } = option;
  if (
    name === '--dport' ||
    name === '--destination-port' ||
    name === '--sport' ||
    name === '--source-port'
  ) {
    const ports = portsOf(values[0] ?? '');
    if (!ports || values.length !== 1) return unknown(match);
    const side = name.startsWith('--d') ? 'destination' : 'source';
    return portCondition(negated, [ports], values[0] ?? '', side);
  }
  if (number === 6 && name === '--syn') return fixed(negated, true, 'it is a SYN');
  if (number === 6 && name === '--tcp-flags') {
    const mask = flagsOf(values[0]);
    const set = flagsOf(values[1]);
    if (mask === undefined || set === undefined) return unknown(match);
    return fixed(negated, (SYN & mask) === set, 'of its flags SYN alone is set');
  }
  return unknownOption(match, option);
}

function flagsOf(text: string | undefined): number | undefined {
  let flags = 0;
  for (const name of text?.split(',') ?? ['']) {
    const flag = TCP_FLAGS.get(name);
    if (flag === undefined) return undefined;
    flags |= flag;
  }
  return flags;
}

function multiport(match: Match): readonly Condition[] {
  const carries: Condition = {
    negated: false,
    // xt_multiport asks only where iptables has checked that the protocol has ports.
    ask: () => true,
    say: () => 'it has ports',
  };
  return [
    carries,
    ...match.options.map((option) => {
      const { name, negated, values } = option;
      const text = values[0] ?? '';
      const ports = text.split(',').map((one) => portsOf(one));
      const known = ports.filter((one) => one !== undefined);
      if (known.length !== ports.length) return unknown(match);
      if (/^--d(?:estination-)?ports$/.test(name))
        return portCondition(negated, known, text, 'destination');
      if (/^--s(?:ource-)?ports$/.test(name)) return portCondition(negated, known, text, 'source');
      return name === '--ports' ? eitherPort(negated, known, text) : unknownOption(match, option);
    }),
  ];
}

function portCondition(
  negated: boolean,
  ports: readonly Ports[],
  text: string,
  side: 'source' | 'destination',
): Condition {
  return {
    negated,
    ask: (of) => {
      const port = portAt(of, side);
      if (port !== undefined) return isAmong(port, ports);
      // All ports there are.
      if (ports.some(({ from, to }) => from === 0 && to === 0xffff)) return true;
      return {
        yes: `the ${side} port is among ${text}`,
        no: `the ${side} port is not among ${text}`,
      };
    },
    say: (of, is) =>
      `${side} port ${portAt(of, side)} is ${is ? '' : 'not '}${/[:,]/.test(text) ? 'among ' : ''}${text}`,
  };
}

function eitherPort(negated: boolean, ports: readonly Ports[], text: string): Condition {
  const source = portCondition(false, ports, text, 'source');
  const destination = portCondition(false, ports, text, 'destination');
  return {
    negated,
    ask: (of) => {
      const [first, second] = [source.ask(of), destination.ask(of)];
      if (first === true || second === true) return true;
      return first === false ? second : first;
    },
    say: (_, is) => `${is ? 'one of its ports is' : 'none of its ports is'} among ${text}`,
  };
}

function portAt(of: Asked, side: 'source' | 'destination'): number | undefined {
  if (side === 'source') return of.at.packet.sourcePort;
  return of.branch.port === 0 ? undefined : of.branch.port;
}

function isAmong(port: number, ports: readonly Ports[]): boolean {
  return ports.some(({ from, to }) => port >= from && port <= to);
}

function markCondition(match: Match, option: MatchOption): Condition {
  const wanted = option.name === '--mark' ? markOf(option.values[0]) : undefined;
  if (!wanted) return unknownOption(match, option);
  return {
    negated: option.negated,
    ask: (of) => (of.branch.mark & wanted.mask) >>> 0 === wanted.value,
    say: (of) => `the mark is ${hex(of.branch.mark)}`,
  };
}

function connmark(match: Match, option: MatchOption): Condition {
  const { negated } = option;
  const wanted = option.name === '--mark' ? markOf(option.values[0]) : undefined;
  if (!wanted) return unknownOption(match, option);
  return {
    negated,
    // Without an entry it holds neither way (net/netfilter/xt_connmark.c).
    ask: (of) =>
      of.hasEntry ? ((of.branch.connmark ?? 0) & wanted.mask) >>> 0 === wanted.value : negated,
    say: (of) =>
      of.hasEntry
        ? `conntrack's mark is ${hex(of.branch.connmark ?? 0)}`
        : 'conntrack has no entry for it',
  };
}

function statistic(match: Match): readonly Condition[] {
  const value = (name: string): string | undefined =>
    match.options.find((option) => option.name === name)?.values[0];
  const negated = match.options.some((option) => option.negated);
  const mode = value('--mode');
  const say = (_: Asked, is: boolean): string => (is ? 'chosen at random' : 'not chosen at random');
  const probability = Number(value('--probability') ?? Number.NaN);
  if (mode === 'random' && probability >= 0 && probability <= 1) {
    // Printed with more digits than 31 bits have (five up to Kubernetes 1.16): rounding finds what is stored.
    const chance = ofStatistic(Math.round(probability * STATISTIC_ONE));
    return [{ negated, ask: () => ({ chance }), say }];
  }
  const every = Number(value('--every') ?? Number.NaN);
  if (mode === 'nth' && Number.isInteger(every) && every >= 1 && every <= 0xffff_ffff) {
    const chance = ofPart(0, every);
    const remark = `a rule takes one packet in ${every} by a counter that nobody tells: its share is that of many connections`;
    return [{ negated, ask: () => ({ chance, remark }), say }];
  }
  return [unknown(match)];
}

function isSet({ name }: MatchOption): boolean {
  return name === '--match-set';
}

/** Which addresses an ipset holds stands in no dump of rules. */
function ipset(option: MatchOption): Condition {
  const [name = '', directions = ''] = option.values;
  const parts = directions.split(',');
  return {
    negated: option.negated,
    ask: ({ branch, at }) => {
      const source = `${branch.source}${at.packet.sourcePort === undefined || parts.length < 2 ? '' : `:${at.packet.sourcePort}`}`;
      const destination = `${branch.destination}${parts.length < 2 ? '' : `:${branch.port}`}`;
      const what = parts.map((side) =>
        side === 'src' ? `source ${source}` : `destination ${destination}`,
      );
      const said = [...new Set(what)].join(' and ');
      return {
        yes: `the ipset ${name} holds ${said}`,
        no: `the ipset ${name} does not hold ${said}`,
      };
    },
    say: (_, is) => `the ipset ${name} ${is ? 'holds it' : 'does not hold it'}`,
  };
}

function addressRange(match: Match, option: MatchOption): Condition {
  const { name, negated, values } = option;
  const [low = '', high = low] = (values[0] ?? '').split('-');
  const [from, to] = [addressWords(low), addressWords(high)];
  const side = name === '--src-range' ? 'source' : 'destination';
  if (!from || !to || !['--src-range', '--dst-range'].includes(name)) return unknown(match);
  return {
    negated,
    ask: (of) => {
      const words = of[side];
      if (words) return isOrdered(from, words) && isOrdered(words, to);
      return {
        yes: `the ${side} is in ${low}-${high}`,
        no: `the ${side} is not in ${low}-${high}`,
      };
    },
    say: (of, is) => `${side} ${of.branch[side]} is ${is ? '' : 'not '}in ${low}-${high}`,
  };
}

/** Ports of a bridge are known of packets that br_netfilter shows only (net/netfilter/xt_physdev.c). */
function physdev(match: Match, option: MatchOption): Condition {
  const { negated } = option;
  const text = [option.name.replace(/^--/, ''), ...option.values].join(' ');
  return {
    negated,
    ask: (of) => {
      // A process's packet comes by no bridge's port: what is asked plainly fails, what is negated holds.
      if (of.at.packet.from.kind === 'node') return false;
      if (!option.name.startsWith('--physdev-')) return unknownOption(match, option).ask(of);
      return {
        yes: `of the bridge's ports ${text} holds`,
        no: `of the bridge's ports ${text} does not hold`,
      };
    },
    say: (_, is) => `of the bridge's ports ${text} ${is ? 'holds' : 'does not hold'}`,
  };
}

/** Whose the socket is: a packet that is forwarded has none (net/netfilter/xt_owner.c). */
function owner(match: Match, option: MatchOption): Condition {
  const rest = unknownOption(match, option);
  return {
    negated: option.negated,
    ask: (of) => (of.at.packet.from.kind === 'interface' ? false : rest.ask(of)),
    say: (of, is) =>
      of.at.packet.from.kind === 'interface' ? 'no process of the node sent it' : rest.say(of, is),
  };
}
