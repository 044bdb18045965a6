import { parseAddress } from '../../model/address.js';
import { type BlockBuffer, utf8 } from './block-buffer.js';

// draft-ietf-opsawg-pcapng, section 4.5.
const NAME_RESOLUTION = 4;
const NRB_IPV4 = 1;
const NRB_IPV6 = 2;

/** A block of names is ended at this length; Wireshark and libpcap refuse blocks of more than 16 MiB. */
const MAX_NAMES_BYTES = 1024 * 1024;
/** A name and its address stand in a record whose length is 16 bits; DNS allows 253. */
const MAX_NAME_BYTES = 1_024;

export interface NameRecord {
  /** Canonical text. */
  readonly address: string;
  readonly names: readonly string[];
}

/** Writes names of addresses. What is no address is left out; nothing is written for none. */
export function writeNames(out: BlockBuffer, records: readonly NameRecord[]): void {
  const words = new Uint32Array(4);
  let begun = -1;
  for (const { address, names } of records) {
    const family = parseAddress(address, words, 0);
    const text = names.filter((name) => name !== '').map((name) => utf8(name, MAX_NAME_BYTES));
    if (family === 0 || text.length === 0) continue;
    if (begun >= 0 && out.length - begun > MAX_NAMES_BYTES) {
      endNames(out);
      begun = -1;
    }
    if (begun < 0) {
      begun = out.length;
      out.begin(NAME_RESOLUTION);
    }
    const bytes = addressBytes(words, family);
    for (const name of text) {
      const value = new Uint8Array(bytes.length + name.length + 1);
      value.set(bytes);
      value.set(name, bytes.length);
      out.option(family === 4 ? NRB_IPV4 : NRB_IPV6, value);
    }
  }
  if (begun >= 0) endNames(out);
}

/** Ends the names, and the options behind them, of which there are none. */
function endNames(out: BlockBuffer): void {
  out.endOfOptions();
  out.endOfOptions();
  out.end();
}

/** An address in network order. */
export function addressBytes(words: Uint32Array, family: 4 | 6): Uint8Array {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  const first = family === 4 ? 3 : 0;
  for (let i = 0; i < bytes.length; i++) {
    bytes[i] = ((words[first + (i >> 2)] ?? 0) >>> (24 - 8 * (i & 3))) & 255;
  }
  return bytes;
}
