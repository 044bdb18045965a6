import { hmac } from '@noble/hashes/hmac.js';
import { sha256 } from '@noble/hashes/sha2.js';
import { formatAddress, MAPPED, parseAddress } from '../../../model/address.js';

/** Prefixes, addresses and prints whose pseudonyms are kept; with more they are worked out again, with the same result. */
const MAX_KEPT = 200_000;
/** Prints are seen again at once or not at all. */
const MAX_PRINTS = 20_000;
/** 48 bits: two of a million names share a pseudonym with a probability of 0.2 %, and then the later gets another. */
const NAME_DIGITS = 12;

/** What a name is of, as its pseudonym begins. */
export type NameKind =
  | 'ns'
  | 'svc'
  | 'pod'
  | 'node'
  | 'slice'
  | 'port'
  | 'zone'
  | 'uid'
  | 'chain'
  | 'word';

/**
 * Ranges that mean something by themselves (RFC 6890). Of whole ranges nothing is changed; the way to each in the tree
 * of prefixes is not changed either, so that nothing else is led into them.
 */
const KEPT: readonly (readonly [address: string, bits: number, whole: boolean])[] = [
  ['0.0.0.0', 32, true],
  ['127.0.0.0', 8, true],
  ['169.254.0.0', 16, false],
  ['224.0.0.0', 3, true],
  ['::', 127, true],
  ['::ffff:0:0', 96, false],
  ['fe80::', 10, false],
  ['ff00::', 8, true],
];

/** Interfaces by what makes them: a pseudonym begins in the same way, and `-i veth+` still holds. */
const MADE =
  /^(veth|cali|lxc|eth|ens|eno|enp|cni|flannel\.|docker|br|bond|tunl|vxlan|wlan|dummy|nodelocaldns|kube-ipvs|wg|if)/;
/** Names that the kernel or whichpod give. */
const STANDARD = new Set(['lo', 'any', '']);
/** IFNAMSIZ less one. */
const INTERFACE_CHARACTERS = 15;
/** 40 bits: a node has some hundred interfaces at a time, and 100,000 in a long run. */
const INTERFACE_DIGITS = 10;

const encoder = new TextEncoder();

/**
 * Stable pseudonyms under one key: of names `svc-3f9a…`, of addresses others of the same family such that two share
 * exactly as many leading bits as the originals do (Xu, Fan, Ammar, Moon: Prefix-Preserving IP Address Anonymization,
 * ICNP 2002; with HMAC-SHA256 in place of AES). Without the key nobody can tell the originals.
 */
export class Pseudonyms {
  /** Has taken the key in, and is copied for each text. */
  private readonly keyed: ReturnType<typeof hmac.create>;
  private readonly names = new Map<string, string>();
  private readonly given = new Set<string>();
  private readonly pads = new Map<string, Uint8Array>();
  private readonly addresses = new Map<string, Uint32Array>();
  private readonly texts = new Map<string, string>();
  private readonly prints = new Map<number, number>();
  private readonly words = new Uint32Array(4);
  private readonly keptPrefixes: ReadonlySet<string>;
  private readonly whole: readonly (readonly [bits: string, v4: boolean])[];

  constructor(key: Uint8Array) {
    this.keyed = hmac.create(sha256, key);
    const kept = new Set<string>();
    const whole: [string, boolean][] = [];
    for (const [address, length, isWhole] of KEPT) {
      parseAddress(address, this.words, 0);
      const v4 = isV4(this.words, 0);
      const bits = bitsOf(this.words, 0, v4);
      for (let n = 0; n < length; n++) kept.add(`${v4 ? 4 : 6}${bits.slice(0, n)}`);
      if (isWhole) whole.push([bits.slice(0, length), v4]);
    }
    this.keptPrefixes = kept;
    this.whole = whole;
  }

  /** Empty stays empty. */
  name(kind: NameKind, text: string): string {
    if (text === '') return '';
    const at = `${kind} ${text}`;
    const known = this.names.get(at);
    if (known !== undefined) return known;
    for (let again = 0; ; again++) {
      const name = `${kind}-${hex(this.mac(`name ${again} ${at}`), NAME_DIGITS)}`;
      if (this.given.has(name)) continue;
      this.given.add(name);
      this.names.set(at, name);
      return name;
    }
  }

  interfaceName(name: string): string {
    if (STANDARD.has(name)) return name;
    const begins = MADE.exec(name)?.[0];
    // A wildcard: all whose name begins so.
    if (name.endsWith('+')) return begins === name.slice(0, -1) ? name : this.unnamed(name, 'if');
    return this.unnamed(name, begins ?? 'if');
  }

  /** 16 characters as kube-proxy's hashes have them. */
  hash(text: string): string {
    return [...this.mac(`hash ${text}`).subarray(0, 16)]
      .map((byte) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.charAt(byte & 31))
      .join('');
  }

  digits(text: string, count: number): string {
    return hex(this.mac(`digits ${text}`), count);
  }

  /** A fingerprint under the key; 0 means that there is none. */
  print(value: number): number {
    if (value === 0) return 0;
    // The same packet is seen on several interfaces, and a connection's FINs look like one another.
    let print = this.prints.get(value);
    if (print === undefined) {
      print = new DataView(this.mac(`print ${value}`).buffer).getUint32(0) || 1;
      if (this.prints.size >= MAX_PRINTS) this.prints.clear();
      this.prints.set(value, print);
    }
    return print;
  }

  /** Replaces a hardware address in place; broadcast and that of loopback stay. */
  hardware(bytes: Uint8Array, at: number): void {
    const address = bytes.subarray(at, at + 6);
    if (address.every((byte) => byte === 0) || address.every((byte) => byte === 0xff)) return;
    const mac = this.mac(`hardware ${hex(address, 12)}`);
    // Locally administered; a group stays one.
    const first = ((mac[0] ?? 0) & 0xfc) | 2 | ((address[0] ?? 0) & 1);
    bytes.set(mac.subarray(0, 6), at);
    bytes[at] = first;
  }

  /** Replaces an address (four words) in place. */
  address(words: Uint32Array, at: number): void {
    const v4 = isV4(words, at);
    const key = v4
      ? String(words[at + 3])
      : `${words[at]} ${words[at + 1]} ${words[at + 2]} ${words[at + 3]}`;
    let mapped = this.addresses.get(key);
    if (mapped === undefined) {
      mapped = this.mapped(words, at, v4);
      if (this.addresses.size >= MAX_KEPT) this.addresses.clear();
      this.addresses.set(key, mapped);
    }
    words.set(mapped, v4 ? at + 3 : at);
  }

  /** An address or network as text; `undefined` if it is none. */
  addressText(text: string): string | undefined {
    // As iptables prints a single address.
    if (text.endsWith('/32') && !text.includes(':')) {
      const moved = this.addressText(text.slice(0, -3));
      return moved === undefined ? undefined : `${moved}/32`;
    }
    const known = this.texts.get(text);
    if (known !== undefined) return known;
    const moved = this.movedText(text);
    if (moved === undefined) return undefined;
    if (this.texts.size >= MAX_KEPT) this.texts.clear();
    this.texts.set(text, moved);
    return moved;
  }

  private movedText(text: string): string | undefined {
    const [, address = '', length] = /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
    const { words } = this;
    const family = parseAddress(address, words, 0);
    if (family === 0) return undefined;
    this.address(words, 0);
    if (length === undefined) return formatAddress(words, 0, family);
    const bits = Number(length);
    const all = family === 4 ? 32 : 128;
    if (bits > all) return undefined;
    const before = family === 4 ? 96 : 0;
    for (let w = 0; w < 4; w++) {
      const left = Math.min(32, Math.max(0, bits + before - w * 32));
      const mask = left === 0 ? 0 : (0xffff_ffff << (32 - left)) >>> 0;
      words[w] = ((words[w] ?? 0) & mask) >>> 0;
    }
    return `${formatAddress(words, 0, family)}/${length}`;
  }

  private unnamed(name: string, begins: string): string {
    const count = INTERFACE_CHARACTERS - begins.length;
    return begins + hex(this.mac(`interface ${name}`), Math.min(INTERFACE_DIGITS, count));
  }

  private mapped(words: Uint32Array, at: number, v4: boolean): Uint32Array {
    const bits = bitsOf(words, at, v4);
    const from = v4 ? at + 3 : at;
    const mapped = words.slice(from, v4 ? from + 1 : from + 4);
    for (const [kept, of4] of this.whole) if (of4 === v4 && bits.startsWith(kept)) return mapped;
    const family = v4 ? '4' : '6';
    let isKept = true;
    for (let byte = 0; byte < bits.length / 8; byte++) {
      // One code gives the bits for the 255 prefixes of up to 7 bits more than so many bytes.
      const pad = this.pad(family + bits.slice(0, byte * 8));
      // Numbered as the nodes of a binary tree.
      let node = 1;
      let flips = 0;
      for (let n = 0; n < 8; n++) {
        // What begins with a prefix that is not kept is not kept.
        isKept &&= this.keptPrefixes.has(family + bits.slice(0, byte * 8 + n));
        const flip = isKept ? 0 : ((pad[node >>> 3] ?? 0) >>> (node & 7)) & 1;
        flips = (flips << 1) | flip;
        node = (node << 1) | (bits.charCodeAt(byte * 8 + n) & 1);
      }
      const word = byte >>> 2;
      mapped[word] = ((mapped[word] ?? 0) ^ (flips << (24 - 8 * (byte & 3)))) >>> 0;
    }
    return mapped;
  }

  private pad(prefix: string): Uint8Array {
    let pad = this.pads.get(prefix);
    if (pad === undefined) {
      pad = this.mac(`address ${prefix}`);
      if (this.pads.size >= MAX_KEPT) this.pads.clear();
      this.pads.set(prefix, pad);
    }
    return pad;
  }

  private mac(text: string): Uint8Array {
    return this.keyed.clone().update(encoder.encode(text)).digest();
  }
}

function isV4(words: Uint32Array, at: number): boolean {
  return words[at] === 0 && words[at + 1] === 0 && words[at + 2] === MAPPED;
}

function bitsOf(words: Uint32Array, at: number, v4: boolean): string {
  let bits = '';
  for (let w = v4 ? 3 : 0; w < 4; w++) bits += (words[at + w] ?? 0).toString(2).padStart(32, '0');
  return bits;
}

function hex(bytes: Uint8Array, digits: number): string {
  let text = '';
  for (let i = 0; text.length < digits; i++) text += (bytes[i] ?? 0).toString(16).padStart(2, '0');
  return text.slice(0, digits);
}
