import { formatAddress, MAPPED, parseAddress } from '../../model/address.js';
import { SCTP, TCP, UDP } from '../../model/packet.js';
import type { NftJson } from '../../model/ruleset.js';
import { field, isList, textOf, wholeOf } from './nftables-json.js';

/** What rules compare: addresses, ports, marks and sets of bits as numbers; names as text. */
export type Scalar = bigint | string;

/** What values an element stands for: from one number to another, or a name or its beginning. */
export type Pattern =
  | { readonly from: bigint; readonly to: bigint }
  | { readonly name: string; readonly isPrefix: boolean };

/** How values of one kind are read from nft's JSON and written as nft lists them. */
export interface Kind {
  readonly bits: number;
  /** Each bit says something of its own: what is compared with a list asks for one of them. */
  readonly isBitmask?: true;
  readonly isName?: true;
  read(text: NftJson): Scalar | undefined;
  /** The text by which one value is found in a map: that of JSON, where it stands for one, and that of a value. */
  key(text: NftJson): string | undefined;
  keyOf(value: Scalar): string;
  write(value: Scalar): string;
}

/** More bits than an address has nobody compares. */
const MAX_BITS = 128n;

const words = new Uint32Array(4);

function addressKind(family: 4 | 6): Kind {
  const write = (value: Scalar): string => {
    if (typeof value === 'string') return value;
    words.set(family === 4 ? [0, 0, MAPPED, Number(value)] : wordsOf(value));
    return formatAddress(words, 0, family);
  };
  return {
    bits: family === 4 ? 32 : 128,
    write,
    keyOf: write,
    key(text) {
      if (typeof text !== 'string' || parseAddress(text, words, 0) !== family) return undefined;
      // IPv4 has one spelling that is read.
      return family === 4 ? text : formatAddress(words, 0, family);
    },
    read(text) {
      if (typeof text !== 'string' || parseAddress(text, words, 0) !== family) return undefined;
      if (family === 4) return BigInt(words[3] ?? 0);
      let value = 0n;
      for (const word of words) value = (value << 32n) | BigInt(word);
      return value;
    },
  };
}

function wordsOf(value: bigint): number[] {
  return [96n, 64n, 32n, 0n].map((shift) => Number((value >> shift) & 0xffff_ffffn));
}

function numberKind(bits: number, digits?: number): Kind {
  const numberOf = (text: NftJson): number | undefined => {
    const whole = wholeOf(text);
    return whole === undefined || whole >= 2 ** bits ? undefined : whole;
  };
  return {
    bits,
    read: (text) => {
      const whole = numberOf(text);
      return whole === undefined ? undefined : BigInt(whole);
    },
    key: (text) => numberOf(text)?.toString(),
    keyOf: String,
    write: (value) =>
      digits === undefined ? String(value) : `0x${value.toString(16).padStart(digits, '0')}`,
  };
}

/** Names that stand for numbers; numbers are read too. */
function namedKind(bits: number, names: Readonly<Record<string, number>>): Kind {
  const numbers = numberKind(bits);
  const keyByName = new Map(Object.entries(names).map(([name, number]) => [name, String(number)]));
  const byNumber = new Map(Object.entries(names).map(([name, number]) => [BigInt(number), name]));
  return {
    bits,
    read: (text) => {
      if (typeof text !== 'string') return numbers.read(text);
      const number = Object.hasOwn(names, text) ? names[text] : undefined;
      return number === undefined ? undefined : BigInt(number);
    },
    key: (text) => (typeof text === 'string' ? keyByName.get(text) : numbers.key(text)),
    keyOf: String,
    write: (value) =>
      (typeof value === 'bigint' ? byNumber.get(value) : undefined) ?? String(value),
  };
}

function bitsKind(bits: number, names: Readonly<Record<string, number>>): Kind {
  const single = namedKind(bits, names);
  return {
    bits,
    isBitmask: true,
    keyOf: String,
    key(text) {
      return this.read(text)?.toString();
    },
    read(text) {
      const parts = field(text, '|') ?? text;
      if (!isList(parts)) return single.read(parts);
      let all = 0n;
      for (const part of parts) {
        const bit = single.read(part);
        if (typeof bit !== 'bigint') return undefined;
        all |= bit;
      }
      return all;
    },
    write(value) {
      if (typeof value === 'string') return value;
      const held = Object.entries(names).filter(([, bit]) => (value & BigInt(bit)) !== 0n);
      return held.length === 0 ? String(value) : held.map(([name]) => name).join(',');
    },
  };
}

export const ADDRESS_4 = addressKind(4);
export const ADDRESS_6 = addressKind(6);
export const PORT = numberKind(16);
export const NUMBER = numberKind(32);
export const MARK = numberKind(32, 8);
/** What nft may print of /etc/protocols. */
export const PROTOCOL = namedKind(8, {
  icmp: 1,
  tcp: TCP,
  udp: UDP,
  dccp: 33,
  gre: 47,
  esp: 50,
  ah: 51,
  'ipv6-icmp': 58,
  icmpv6: 58,
  comp: 108,
  sctp: SCTP,
  udplite: 136,
});
/** linux/if_ether.h */
export const ETHERTYPE = namedKind(16, { ip: 0x0800, ip6: 0x86dd, arp: 0x0806, vlan: 0x8100 });
/** linux/netfilter.h */
export const NFPROTO = namedKind(8, { ipv4: 2, ipv6: 10 });
/** NF_CT_STATE_BIT, linux/netfilter/nf_conntrack_common.h */
export const CT_STATE = bitsKind(32, {
  invalid: 1,
  established: 2,
  related: 4,
  new: 8,
  untracked: 64,
});
/** enum ip_conntrack_status, linux/netfilter/nf_conntrack_common.h */
export const CT_STATUS = bitsKind(32, {
  expected: 1,
  'seen-reply': 2,
  assured: 4,
  confirmed: 8,
  snat: 16,
  dnat: 32,
  dying: 512,
});
export const CT_DIRECTION = namedKind(8, { original: 0, reply: 1 });
/** RFC 9293, section 3.1 */
export const TCP_FLAGS = bitsKind(8, {
  fin: 1,
  syn: 2,
  rst: 4,
  psh: 8,
  ack: 16,
  urg: 32,
  ecn: 64,
  cwr: 128,
});
/** enum rt types, linux/rtnetlink.h: only names are compared. */
export const FIB_TYPE: Kind = {
  bits: 0,
  isName: true,
  read: (text) => textOf(text),
  key: (text) => textOf(text),
  keyOf: String,
  write: String,
};
export const INTERFACE: Kind = {
  bits: 0,
  isName: true,
  read: (text) => textOf(text),
  // What may be the beginning of a name, or has a star in it, is compared as a pattern.
  key: (text) => (typeof text === 'string' && !text.includes('*') ? text : undefined),
  keyOf: String,
  write: (value) => `"${value}"`,
};

export function patternOf(kind: Kind, json: NftJson): Pattern | undefined {
  const prefix = field(json, 'prefix');
  if (prefix !== undefined) {
    const address = kind.read(field(prefix, 'addr') ?? null);
    const length = wholeOf(field(prefix, 'len'));
    if (typeof address !== 'bigint' || length === undefined || length > kind.bits) return undefined;
    const free = (1n << BigInt(kind.bits - length)) - 1n;
    return { from: address & ~free, to: address | free };
  }
  const range = field(json, 'range');
  if (range !== undefined) {
    const [from, to] = isList(range) ? range.map((end) => kind.read(end)) : [];
    return typeof from === 'bigint' && typeof to === 'bigint' ? { from, to } : undefined;
  }
  const value = kind.read(json);
  if (value === undefined) return undefined;
  if (typeof value === 'bigint') return { from: value, to: value };
  // `cali*` is any name that begins so; `cali\*` is a star.
  return value.endsWith('*') && !value.endsWith('\\*') && kind === INTERFACE
    ? { name: value.slice(0, -1), isPrefix: true }
    : { name: value.replace(/\\\*$/, '*'), isPrefix: false };
}

export function fits(value: Scalar, pattern: Pattern): boolean {
  if ('name' in pattern) {
    if (typeof value !== 'string') return false;
    return pattern.isPrefix ? value.startsWith(pattern.name) : value === pattern.name;
  }
  return typeof value === 'bigint' && value >= pattern.from && value <= pattern.to;
}

/** The result of `& | ^ << >>` in as many bits as the left side has; `undefined` for any other. */
export function calculate(op: string, a: bigint, b: bigint, bits: number): bigint | undefined {
  const mask = (1n << BigInt(bits)) - 1n;
  switch (op) {
    case '&':
      return a & b;
    case '|':
      return (a | b) & mask;
    case '^':
      return (a ^ b) & mask;
    case '<<':
      return b > MAX_BITS ? 0n : (a << b) & mask;
    case '>>':
      return b > MAX_BITS ? 0n : a >> b;
    default:
      return undefined;
  }
}
