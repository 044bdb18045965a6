import { protocolNumber, SCTP, TCP, UDP } from '../../model/packet.js';
import type { NftJson } from '../../model/ruleset.js';
import type { Branch, Hook, HookFacts } from '../../model/walk.js';
import { field, isList, listOf, single, textOf, wholeOf } from './nftables-json.js';
import { expressionText } from './nftables-text.js';
import {
  ADDRESS_4,
  ADDRESS_6,
  CT_DIRECTION,
  CT_STATE,
  CT_STATUS,
  calculate,
  ETHERTYPE,
  FIB_TYPE,
  INTERFACE,
  type Kind,
  MARK,
  NFPROTO,
  NUMBER,
  PORT,
  PROTOCOL,
  type Scalar,
  TCP_FLAGS,
} from './nftables-values.js';
import { isLocal } from './question.js';

/** The packet at one place of its way. */
export interface Scene {
  readonly family: 4 | 6;
  readonly hook: Hook;
  /** conntrack looks at a packet at priority -200, unless a rule took it out of its hands. */
  readonly tracked: 'yes' | 'not yet' | 'never';
  readonly at: HookFacts;
  readonly branch: Branch;
  /** What was taken for granted, or done, in this walk, newest first. */
  readonly settled?: Settled;
}

export interface Settled {
  readonly text: string;
  readonly before?: Settled;
}

/** What an expression says of a packet. */
export type Got =
  | { readonly is: 'known'; readonly values: readonly Scalar[]; readonly kinds: readonly Kind[] }
  | {
      readonly is: 'unknown';
      /** `undefined` where a part is not known. */
      readonly values: readonly (Scalar | undefined)[];
      readonly kinds: readonly Kind[];
      /** The one name that it is not. */
      readonly except?: string;
    }
  /** One of `count` numbers from `first` on: at random or one after the other, or by something that nobody knows. */
  | {
      readonly is: 'spread';
      readonly drawn: 'at random' | 'in turn' | 'unknown';
      readonly first: number;
      readonly count: number;
      readonly kinds: readonly Kind[];
    }
  /** The packet has none: the rule ends there (NFT_BREAK). */
  | { readonly is: 'missing'; readonly because: string };

/** A number of which it is known only among which others it is. */
export type Spread = Extract<Got, { is: 'spread' }>;

const OPERATORS = ['&', '|', '^', '<<', '>>'];
const PORTS = new Set([TCP, UDP, SCTP]);
const ALL_BITS = 0xffff_ffff;

/** `expected`: of what kind numbers and names are that stand by themselves. */
export function evaluate(expression: NftJson, scene: Scene, expected: Kind = NUMBER): Got {
  if (typeof expression !== 'object' || expression === null) {
    const value = expected.read(expression);
    return value === undefined ? unknown(expected) : known(expected, value);
  }
  if (isList(expression)) return unknown(expected);
  const [kind = '', inner = null] = single(expression) ?? [];
  if (OPERATORS.includes(kind)) return calculated(kind, listOf(inner), scene, expected);
  switch (kind) {
    case 'payload':
      return payload(inner, scene);
    case 'meta':
      return meta(textOf(field(inner, 'key')) ?? '', scene);
    case 'ct':
      return ct(inner, scene);
    case 'fib':
      return fib(inner, scene);
    case 'numgen':
      return spread(inner, DRAWN.get(textOf(field(inner, 'mode')) ?? '') ?? 'unknown');
    case 'jhash':
    case 'symhash':
      return spread(inner, 'unknown');
    case 'concat':
      return concat(listOf(inner), scene);
    default: {
      const value = expected.read(expression);
      return value === undefined ? unknown(expected) : known(expected, value);
    }
  }
}

function known(kind: Kind, value: Scalar): Got {
  return { is: 'known', values: [value], kinds: [kind] };
}

function unknown(kind: Kind): Got {
  return { is: 'unknown', values: [undefined], kinds: [kind] };
}

function payload(inner: NftJson, scene: Scene): Got {
  const { branch, family, at } = scene;
  const { protocol } = at.packet;
  const header = textOf(field(inner, 'protocol')) ?? textOf(field(inner, 'base')) ?? '';
  const what = textOf(field(inner, 'field')) ?? rawField(inner, family);
  if (header === 'ip' || header === 'ip6' || header === 'nh') {
    if ((header === 'ip' && family === 6) || (header === 'ip6' && family === 4)) {
      return { is: 'missing', because: `it is an IPv${family} packet` };
    }
    const kind = family === 4 ? ADDRESS_4 : ADDRESS_6;
    if (what === 'saddr') return read(kind, branch.source);
    if (what === 'daddr') return read(kind, branch.destination);
    if (what === 'protocol' || what === 'nexthdr') return known(PROTOCOL, BigInt(protocol));
    return unknown(NUMBER);
  }
  const own = protocolNumber(header);
  if (header !== 'th' && own === 0) return unknown(NUMBER);
  if (own !== 0 && own !== protocol) {
    return { is: 'missing', because: `the protocol is ${PROTOCOL.write(BigInt(protocol))}` };
  }
  if (what === 'dport' && PORTS.has(protocol)) {
    return branch.port === 0 ? unknown(PORT) : known(PORT, BigInt(branch.port));
  }
  if (what === 'sport' && PORTS.has(protocol)) {
    const { sourcePort } = at.packet;
    // What a translation of the source leaves of the port nobody knows.
    if (sourcePort === undefined || branch.masquerade !== 'no') return unknown(PORT);
    return known(PORT, BigInt(sourcePort));
  }
  // The first packet of a connection is a SYN.
  if (own === TCP && what === 'flags') return known(TCP_FLAGS, 2n);
  return unknown(NUMBER);
}

/** `@th,16,16`: as nft prints what it has no name for. */
function rawField(inner: NftJson, family: 4 | 6): string {
  const place = `${String(field(inner, 'base'))} ${String(field(inner, 'offset'))} ${String(field(inner, 'len'))}`;
  switch (place) {
    case 'th 0 16':
      return 'sport';
    case 'th 16 16':
      return 'dport';
    case 'nh 96 32':
      return family === 4 ? 'saddr' : '';
    case 'nh 128 32':
      return family === 4 ? 'daddr' : '';
    default:
      return '';
  }
}

function read(kind: Kind, text: string): Got {
  const value = kind.read(text);
  return value === undefined ? unknown(kind) : known(kind, value);
}

function meta(key: string, { branch, family, at }: Scene): Got {
  switch (key) {
    case 'l4proto':
      return known(PROTOCOL, BigInt(at.packet.protocol));
    case 'protocol':
      return known(ETHERTYPE, family === 4 ? 0x0800n : 0x86ddn);
    case 'nfproto':
      return known(NFPROTO, family === 4 ? 2n : 10n);
    case 'mark':
      return known(MARK, BigInt(branch.mark >>> 0));
    // Without an interface its name is empty (nft_meta_store_ifname, linux/net/netfilter/nft_meta.c).
    case 'iif':
    case 'iifname':
      return at.in === undefined ? unknown(INTERFACE) : known(INTERFACE, at.in ?? '');
    case 'oif':
    case 'oifname':
      return at.out === undefined ? unknown(INTERFACE) : known(INTERFACE, at.out ?? '');
    default:
      return unknown(NUMBER);
  }
}

function ct(inner: NftJson, scene: Scene): Got {
  const { family, tracked, at, branch } = scene;
  const { packet } = at;
  const key = textOf(field(inner, 'key')) ?? '';
  if (key === 'state') {
    const state = tracked === 'yes' ? 8n : tracked === 'never' ? 64n : 1n;
    return known(CT_STATE, state);
  }
  if (tracked !== 'yes') return { is: 'missing', because: 'conntrack does not know the packet' };
  if (key === 'status') return known(CT_STATUS, statusOf(scene));
  if (key === 'direction') return known(CT_DIRECTION, 0n);
  if (key === 'mark') return known(MARK, BigInt((branch.connmark ?? 0) >>> 0));
  const address = family === 4 ? ADDRESS_4 : ADDRESS_6;
  const name = key.replace(/^ip6? /, '');
  if (field(inner, 'dir') !== 'original') return unknown(NUMBER);
  switch (name) {
    case 'saddr':
      return read(address, packet.source);
    case 'daddr':
      return read(address, packet.destination);
    case 'proto-dst':
      return known(PORT, BigInt(packet.port));
    case 'proto-src':
      return packet.sourcePort === undefined
        ? unknown(PORT)
        : known(PORT, BigInt(packet.sourcePort));
    default:
      return unknown(NUMBER);
  }
}

/** The entry of a first packet is new: nothing but a translation has left a bit in it. */
function statusOf({ branch, at: { packet } }: Scene): bigint {
  const { dnat } = branch;
  // A translation to what it was before is none (nf_nat_setup_info, linux/net/netfilter/nf_nat_core.c).
  const isMoved =
    dnat !== undefined && (dnat.ip !== packet.destination || dnat.port !== packet.port);
  return (isMoved ? 32n : 0n) | (branch.masquerade === 'yes' ? 16n : 0n);
}

function fib(inner: NftJson, scene: Scene): Got {
  const flags = listOf(field(inner, 'flags'));
  const [flag] = flags;
  if (field(inner, 'result') !== 'type' || flags.length !== 1) return unknown(FIB_TYPE);
  if (flag !== 'saddr' && flag !== 'daddr') return unknown(FIB_TYPE);
  const { branch } = scene;
  const address = flag === 'saddr' ? branch.source : branch.destination;
  if (isMulticast(address)) return known(FIB_TYPE, 'multicast');
  const local = isLocal(address, scene.at.facts);
  if (local === true) return known(FIB_TYPE, 'local');
  const got = { is: 'unknown', values: [undefined], kinds: [FIB_TYPE] } as const;
  return local === false ? { ...got, except: 'local' } : got;
}

function isMulticast(address: string): boolean {
  if (address.includes(':')) return address.startsWith('ff');
  const first = Number(address.split('.', 1)[0]);
  return first >= 224 && first < 240;
}

/** What `numgen` draws by (linux/net/netfilter/nft_numgen.c). */
const DRAWN: ReadonlyMap<string, Spread['drawn']> = new Map([
  ['random', 'at random'],
  ['inc', 'in turn'],
]);

function spread(inner: NftJson, drawn: Spread['drawn']): Got {
  const count = wholeOf(field(inner, 'mod')) ?? 0;
  const first = wholeOf(field(inner, 'offset')) ?? 0;
  if (count < 1 || first + count - 1 > ALL_BITS) return unknown(NUMBER);
  return { is: 'spread', drawn, first, count, kinds: [NUMBER] };
}

function calculated(op: string, parts: readonly NftJson[], scene: Scene, expected: Kind): Got {
  const [head, ...more] = parts;
  if (head === undefined || more.length === 0) return unknown(expected);
  // A list of names is a set of bits, no calculation.
  const asBits = op === '|' && expected.isBitmask ? expected.read({ '|': parts }) : undefined;
  if (asBits !== undefined) return known(expected, asBits);
  const left = evaluate(head, scene, expected);
  if (left.is === 'missing') return left;
  const kind = left.kinds[0] ?? expected;
  let value = left.is === 'known' && left.values.length === 1 ? left.values[0] : undefined;
  for (const part of more) {
    const list = isList(part) ? kind.read({ '|': part }) : undefined;
    const right = list === undefined ? evaluate(part, scene, kind) : known(kind, list);
    if (right.is === 'missing') return right;
    const b = right.is === 'known' ? right.values[0] : undefined;
    value =
      typeof value === 'bigint' && typeof b === 'bigint'
        ? calculate(op, value, b, kind.bits)
        : undefined;
  }
  return value === undefined ? unknown(kind) : known(kind, value);
}

function concat(parts: readonly NftJson[], scene: Scene): Got {
  const values: (Scalar | undefined)[] = [];
  const kinds: Kind[] = [];
  for (const part of parts) {
    const got = evaluate(part, scene);
    if (got.is === 'missing') return got;
    const kind = got.kinds[0];
    if (got.kinds.length !== 1 || kind === undefined) return unknown(NUMBER);
    kinds.push(kind);
    values.push(got.is === 'spread' ? undefined : got.values[0]);
  }
  const all = values.filter((value) => value !== undefined);
  return all.length === values.length
    ? { is: 'known', values: all, kinds }
    : { is: 'unknown', values, kinds };
}

/** `ip daddr is 10.96.0.10`. */
export function gotText(expression: NftJson, got: Got): string {
  const text = expressionText(expression);
  if (got.is === 'missing') return got.because;
  if (got.is !== 'known') {
    return got.is === 'unknown' && got.except !== undefined
      ? `${text} is not ${got.except}`
      : `${text} is not known`;
  }
  return `${text} is ${valuesText(got)}`;
}

export function valuesText({
  values,
  kinds,
}: {
  readonly values: readonly (Scalar | undefined)[];
  readonly kinds: readonly Kind[];
}): string {
  return values
    .map((value, i) => (value === undefined ? '?' : (kinds[i]?.write(value) ?? String(value))))
    .join(' . ');
}
