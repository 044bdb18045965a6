import { canonicalAddress, formatAddress, MAPPED } from '../../model/address.js';
import type { MatchOption, Target } from '../../model/ruleset.js';
import type { Branch, Effect } from '../../model/walk.js';
import type { Asked } from './condition.js';
import { markOf } from './mark.js';
import { addressWords, isOrdered, Network, portsOf } from './network.js';

/** What a rule's target does to a packet that comes to it. */
export type Action =
  | { readonly does: 'accept' | 'drop' | 'reject' | 'return' | 'nothing' }
  | { readonly does: 'jump' | 'goto'; readonly chain: string }
  /** Changes the packet, which goes on to the next rule. */
  | { readonly does: 'change'; change(of: Asked): Way }
  /** Translates it, in one of these ways, and ends the chain's walk; nobody knows which of several. */
  | { readonly does: 'translate'; ways(of: Asked): readonly Way[] }
  | { readonly does: 'unknown'; readonly what: string };

/** What became of the packet. */
interface Way {
  readonly branch: Branch;
  readonly effect: Effect;
  /** What is taken for granted with this way rather than another, in words. */
  readonly assuming?: string;
}

/**
 * Ranges of DNAT are few addresses; of more than these each is not a way of its own. The kernel chooses by
 * a hash of the addresses with a seed of its own (find_best_ips_proto of net/netfilter/nf_nat_core.c).
 */
const MAX_ADDRESSES = 64;

/** Targets that count, log, copy, or change what no rule here asks for. */
const NO_PART = new Set([
  'AUDIT',
  'CHECKSUM',
  'CLASSIFY',
  'CONNSECMARK',
  'DSCP',
  'ECN',
  'HL',
  'IDLETIMER',
  'LED',
  'LOG',
  'NFLOG',
  'RATEEST',
  'SECMARK',
  'SET',
  'TCPMSS',
  'TCPOPTSTRIP',
  'TEE',
  'TOS',
  'TRACE',
  'TTL',
  'ULOG',
]);

const NOTHING: Action = { does: 'nothing' };

/** `isChain`: whether the table has a chain of that name. */
export function actionOf(target: Target | undefined, isChain: (name: string) => boolean): Action {
  if (!target) return NOTHING;
  const { name } = target;
  // Extensions cannot bear a chain's name; a chain is looked for first, as iptables does.
  if (isChain(name)) return { does: target.goto ? 'goto' : 'jump', chain: name };
  if (target.goto) return { does: 'unknown', what: `there is no chain ${name}` };
  if (NO_PART.has(name)) return NOTHING;
  const make = MAKERS.get(name);
  return make?.(target) ?? { does: 'unknown', what: `what the target ${name} does is not known` };
}

const MAKERS: ReadonlyMap<string, (target: Target) => Action | undefined> = new Map<
  string,
  (target: Target) => Action | undefined
>([
  ['ACCEPT', () => ({ does: 'accept' })],
  ['DROP', () => ({ does: 'drop' })],
  ['REJECT', () => ({ does: 'reject' })],
  ['RETURN', () => ({ does: 'return' })],
  ['MARK', mark],
  ['CONNMARK', connmark],
  ['NOTRACK', () => ({ does: 'change', change: untrack })],
  ['CT', (target) => (option(target, '--notrack') ? { does: 'change', change: untrack } : NOTHING)],
  ['DNAT', dnat],
  ['REDIRECT', redirect],
  ['SNAT', snat],
  ['MASQUERADE', masquerade],
  ['NETMAP', netmap],
]);

function option({ options }: Target, name: string): MatchOption | undefined {
  return options.find((one) => one.name === name);
}

/** value -> (value & ~clear) ^ flip, of which iptables' ways to set a mark are all made. */
interface MarkChange {
  readonly clear: number;
  readonly flip: number;
}

function markChange({ options }: Target): MarkChange | undefined {
  for (const { name, values } of options) {
    const to = markOf(values[0]);
    if (!to) continue;
    const { value, mask } = to;
    // libxt_MARK: --set-mark clears what it sets, too.
    if (name === '--set-xmark') return { clear: mask, flip: value };
    if (name === '--set-mark') return { clear: (mask | value) >>> 0, flip: value };
    if (name === '--or-mark') return { clear: value, flip: value };
    if (name === '--and-mark') return { clear: ~value >>> 0, flip: 0 };
    if (name === '--xor-mark') return { clear: 0, flip: value };
  }
  return undefined;
}

function changed(mark: number, { clear, flip }: MarkChange): number {
  return ((mark & ~clear) ^ flip) >>> 0;
}

function mark(target: Target): Action | undefined {
  const change = markChange(target);
  return (
    change && {
      does: 'change',
      change: ({ branch }) => {
        const now = changed(branch.mark, change);
        return { branch: { ...branch, mark: now }, effect: { does: 'mark', mark: now } };
      },
    }
  );
}

/** connmark_tg of net/netfilter/xt_connmark.c; without an entry it does nothing. */
function connmark(target: Target): Action | undefined {
  const change = markChange(target);
  const all = '0xffffffff';
  const maskOption = option(target, '--mask')?.values[0] ?? all;
  const nf = markOf(option(target, '--nfmask')?.values[0] ?? maskOption)?.value;
  const ct = markOf(option(target, '--ctmask')?.values[0] ?? maskOption)?.value;
  const saves = option(target, '--save-mark') !== undefined;
  const restores = option(target, '--restore-mark') !== undefined;
  if (nf === undefined || ct === undefined || !(change || saves || restores)) return undefined;
  return {
    does: 'change',
    change: (of) => {
      const { branch } = of;
      if (!of.hasEntry) return { branch, effect: { does: 'nothing' } };
      const held = branch.connmark ?? 0;
      if (restores) {
        const now = changed(branch.mark, { clear: nf, flip: held & ct });
        return { branch: { ...branch, mark: now }, effect: { does: 'mark', mark: now } };
      }
      const now = change
        ? changed(held, change)
        : changed(held, { clear: ct, flip: branch.mark & nf });
      return { branch: { ...branch, connmark: now }, effect: { does: 'nothing' } };
    },
  };
}

/** Only before conntrack has seen the packet (xt_ct_target of net/netfilter/xt_CT.c). */
function untrack(of: Asked): Way {
  const { branch } = of;
  const effect: Effect = { does: 'nothing' };
  return of.hasEntry ? { branch, effect } : { branch: { ...branch, untracked: true }, effect };
}

/** `10.0.0.1`, `10.0.0.1-10.0.0.4:80-90/8080`, `:80`, `[fd00::1]:80`. */
const DESTINATION =
  /^(?:\[([^\]]*)\]|([0-9.]*|[0-9a-f:.]*:[0-9a-f:.]*?(?:-[0-9a-f:.]+)?|[0-9.]+-[0-9.]+))(?::([0-9]+(?:-[0-9]+)?)(?:\/([0-9]+))?)?$/i;

interface To {
  /** None: the address stays. */
  readonly addresses: readonly string[];
  readonly ports?: { readonly from: number; readonly to: number };
  /** Ports are moved by as much as the packet's is above this. */
  readonly base?: number;
}

function destinationOf(text: string): To | undefined {
  const [, bracketed, plain, portText, baseText] = DESTINATION.exec(text) ?? [];
  const range = bracketed ?? plain;
  if (range === undefined) return undefined;
  const addresses = range === '' ? [] : addressesOf(range);
  if (!addresses) return undefined;
  const ports = portText === undefined ? undefined : portsOf(portText, '-');
  if (portText !== undefined && (!ports || ports.from > ports.to)) return undefined;
  return {
    addresses,
    ...(ports && { ports }),
    ...(baseText !== undefined && { base: Number(baseText) }),
  };
}

/** The addresses of a range, as few as they may be. */
function addressesOf(text: string): readonly string[] | undefined {
  const [low = '', high = low] = text.split('-');
  const [from, to] = [addressWords(low), addressWords(high)];
  if (!from || !to || !isOrdered(from, to)) return undefined;
  const family = from[2] === MAPPED && from[0] === 0 && from[1] === 0 ? 4 : 6;
  const isNear = from[0] === to[0] && from[1] === to[1] && from[2] === to[2];
  const count = (to[3] ?? 0) - (from[3] ?? 0) + 1;
  if (!isNear || count > MAX_ADDRESSES) return undefined;
  return Array.from({ length: count }, (_, i) => {
    const words = from.slice();
    words[3] = (from[3] ?? 0) + i;
    return formatAddress(words, 0, family);
  });
}

function dnat(target: Target): Action | undefined {
  const all = target.options.filter(({ name }) => name === '--to-destination');
  const isRandom = option(target, '--random') !== undefined;
  const to = all.map(({ values }) => destinationOf(values[0] ?? ''));
  const known = to.filter((one) => one !== undefined);
  if (known.length === 0 || known.length < to.length) return undefined;
  return {
    does: 'translate',
    ways: (of) => {
      const ways = known.flatMap((one) => {
        const port = portAfter(of.branch.port, one, isRandom);
        const addresses = one.addresses.length === 0 ? [of.branch.destination] : one.addresses;
        return addresses.map((ip) => ({ ip, port }));
      });
      return ways.map(({ ip, port }) => ({
        ...translated(of.branch, ip, port),
        ...(ways.length > 1 && {
          assuming: `of ${ways.length} addresses DNAT chooses ${ip} (${of.where})`,
        }),
      }));
    },
  };
}

/** nf_nat_l4proto_unique_tuple: a port that is in the range already stays; which else nobody knows: 0. */
function portAfter(port: number, { ports, base }: To, isRandom: boolean): number {
  if (!ports) return port;
  const { from, to } = ports;
  if (from === to) return from;
  if (port === 0) return 0;
  if (base !== undefined) {
    const size = to - from + 1;
    return from + (((((port - base) & 0xffff) % size) + size) % size);
  }
  return !isRandom && port >= from && port <= to ? port : 0;
}

function translated(branch: Branch, ip: string, port: number): Way {
  return {
    branch: { ...branch, destination: ip, port, dnat: { ip, port } },
    effect: { does: 'dnat', ...(ip !== '' && { ip }), ...(port !== 0 && { port }) },
  };
}

/** nf_nat_redirect: to 127.0.0.1 (::1) for the node's own packets, else to an address of the interface. */
function redirect(target: Target): Action | undefined {
  const text = option(target, '--to-ports')?.values[0];
  const ports = text === undefined ? undefined : portsOf(text, '-');
  const isRandom = option(target, '--random') !== undefined;
  if (text !== undefined && !ports) return undefined;
  return {
    does: 'translate',
    ways: ({ branch, hook, at }) => {
      const loopback = at.packet.destination.includes(':') ? '::1' : '127.0.0.1';
      const port = portAfter(branch.port, { addresses: [], ...(ports && { ports }) }, isRandom);
      return [translated(branch, hook === 'output' ? loopback : '', port)];
    },
  };
}

function snat(target: Target): Action | undefined {
  const to = destinationOf(option(target, '--to-source')?.values[0] ?? '');
  if (!to) return undefined;
  return {
    does: 'translate',
    ways: ({ branch }) => [sourceTranslated(branch, to.addresses)],
  };
}

function sourceTranslated(branch: Branch, addresses: readonly string[]): Way {
  const [only = branch.source] = addresses;
  const ip = addresses.length > 1 ? '' : only;
  const stays = ip !== '' && canonicalAddress(ip) === canonicalAddress(branch.source);
  return {
    branch: { ...branch, source: ip, masquerade: stays ? branch.masquerade : 'yes' },
    effect: { does: 'snat', ...(ip !== '' && { ip }) },
  };
}

function masquerade(target: Target): Action {
  const randomFully = option(target, '--random-fully') !== undefined;
  return {
    does: 'translate',
    ways: ({ branch }) => [
      {
        branch: { ...branch, source: '', masquerade: 'yes' },
        effect: { does: 'masquerade', randomFully },
      },
    ],
  };
}

/** One network for another, bit by bit; of the destination before routing, of the source behind it. */
function netmap(target: Target): Action | undefined {
  const network = Network.parse(option(target, '--to')?.values[0] ?? '');
  if (!network) return undefined;
  return {
    does: 'translate',
    ways: ({ branch, hook, source, destination, at }) => {
      const family = at.packet.destination.includes(':') ? 6 : 4;
      const moved = (words: Uint32Array | undefined): string =>
        words ? formatAddress(network.moved(words), 0, family) : '';
      if (hook === 'postrouting' || hook === 'input')
        return [sourceTranslated(branch, [moved(source)])];
      return [translated(branch, moved(destination), branch.port)];
    },
  };
}
