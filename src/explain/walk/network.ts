import { parseAddress } from '../../model/address.js';

const ALL = 0xffff_ffff;

/** Four words of an address, IPv4 mapped (model/address.ts); `undefined` for '' and what is no address. */
export function addressWords(text: string): Uint32Array | undefined {
  const words = new Uint32Array(4);
  return parseAddress(text, words, 0) === 0 ? undefined : words;
}

/** Addresses under a mask, which need not be contiguous: iptables takes any. */
export class Network {
  readonly words: Uint32Array;
  readonly mask: Uint32Array;

  constructor(words: Uint32Array, mask: Uint32Array) {
    this.words = words;
    this.mask = mask;
  }

  /** `10.0.0.0/8`, `10.0.0.1`, `10.0.0.0/255.0.255.0`, `fd00::/8`, `fd00::/ffff::`; `undefined`: it is none. */
  static parse(text: string): Network | undefined {
    const slash = text.indexOf('/');
    const words = new Uint32Array(4);
    const family = parseAddress(slash < 0 ? text : text.slice(0, slash), words, 0);
    if (family === 0) return undefined;
    const mask = slash < 0 ? prefix(128) : maskOf(text.slice(slash + 1), family);
    return mask && new Network(words, mask);
  }

  has(address: Uint32Array): boolean {
    const { words, mask } = this;
    for (let i = 0; i < 4; i++) {
      if ((((address[i] ?? 0) ^ (words[i] ?? 0)) & (mask[i] ?? 0)) !== 0) return false;
    }
    return true;
  }

  /** The address with this network's part in place of its own (NETMAP). */
  moved(address: Uint32Array): Uint32Array {
    return address.map((word, i) => {
      const mask = this.mask[i] ?? 0;
      return ((word & ~mask) | ((this.words[i] ?? 0) & mask)) >>> 0;
    });
  }
}

/** An address under a mask: what `recent --mask` keeps. */
export function masked(address: Uint32Array, mask: Uint32Array): string {
  return address.map((word, i) => word & (mask[i] ?? 0)).join(' ');
}

/** `255.255.255.255`, as `recent` prints it, or an IPv6 one. */
export function maskOf(text: string, family: 4 | 6): Uint32Array | undefined {
  if (/^\d{1,3}$/.test(text)) {
    const bits = Number(text);
    if (bits > (family === 4 ? 32 : 128)) return undefined;
    return prefix(family === 4 ? 96 + bits : bits);
  }
  const mask = new Uint32Array(4);
  if (parseAddress(text, mask, 0) !== family) return undefined;
  if (family === 4) mask.fill(ALL, 0, 3);
  return mask;
}

function prefix(bits: number): Uint32Array {
  const mask = new Uint32Array(4);
  for (let i = 0; i < 4; i++) {
    const here = Math.min(Math.max(bits - 32 * i, 0), 32);
    mask[i] = here === 0 ? 0 : (ALL << (32 - here)) >>> 0;
  }
  return mask;
}

/** Whether one address is not above another. */
export function isOrdered(low: Uint32Array, high: Uint32Array): boolean {
  for (let i = 0; i < 4; i++) {
    const [a, b] = [low[i] ?? 0, high[i] ?? 0];
    if (a !== b) return a < b;
  }
  return true;
}

/** An inclusive range of ports: `80`, `80:90`, `:90`, `80:`; with another separator too. */
export interface Ports {
  readonly from: number;
  readonly to: number;
}

export function portsOf(text: string, separator = ':'): Ports | undefined {
  const [first = '', last = first, ...more] = text.split(separator);
  const from = first === '' ? 0 : portOf(first);
  const to = last === '' ? 0xffff : portOf(last);
  if (from === undefined || to === undefined || more.length > 0 || text === '') return undefined;
  return { from, to };
}

function portOf(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY;
  return port <= 0xffff ? port : undefined;
}
