import type { BlockBuffer } from './block-buffer.js';
import { padded } from './copied-options.js';
import { turnedOption } from './turned-option.js';

// draft-ietf-opsawg-pcapng, sections 4.5, 4.7 and 4.8.
const END = 0;
export const NAME_RESOLUTION = 4;
const DECRYPTION_SECRETS = 10;
const CUSTOM = 0x0bad;
const CUSTOM_NOT_COPIED = 0x4000_0bad;
/** Type, both lengths, and a private enterprise number. */
const LEAST_CUSTOM = 16;
const NRB_IPV4 = 1;
const NRB_IPV6 = 2;

/** A block without interface, time or packet, `size` bytes from `at`. */
export interface CopiedBody {
  readonly type: number;
  readonly at: number;
  readonly size: number;
  readonly little: boolean;
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** Whether the records within a block fit into it. */
export function isSoundBody({ type, at, size, little, view }: CopiedBody): boolean {
  const end = at + size - 4;
  switch (type) {
    case NAME_RESOLUTION:
      return areSoundNames(view, at + 8, end, little);
    case DECRYPTION_SECRETS:
      return size >= 20 && padded(view.getUint32(at + 12, little)) <= end - at - 16;
    case CUSTOM:
    case CUSTOM_NOT_COPIED:
      return size >= LEAST_CUSTOM;
    default:
      return true;
  }
}

/** Records of an address and names, each ended by a zero, up to an empty one; then options. */
function areSoundNames(view: DataView, from: number, end: number, little: boolean): boolean {
  let at = from;
  for (;;) {
    if (end - at < 4) return false;
    const kind = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little);
    at += 4;
    if (kind === END) break;
    const next = at + padded(length);
    if (next > end) return false;
    const least = kind === NRB_IPV4 ? 6 : kind === NRB_IPV6 ? 18 : 0;
    if (length < least || (least > 0 && view.getUint8(at + length - 1) !== 0)) return false;
    at = next;
  }
  while (end - at >= 4 && view.getUint16(at, little) !== END) {
    const length = view.getUint16(at + 2, little);
    if (padded(length) > end - at - 4) return false;
    at += 4 + padded(length);
  }
  return true;
}

/** The names in a sound block of them: the bytes of an address, and one name for it. */
export function namesIn({ bytes, view, at, little }: CopiedBody): {
  readonly address: Uint8Array;
  readonly name: string;
}[] {
  const found: { address: Uint8Array; name: string }[] = [];
  const decoder = new TextDecoder();
  for (let record = at + 8; ; ) {
    const kind = view.getUint16(record, little);
    const length = view.getUint16(record + 2, little);
    if (kind === END) return found;
    const size = kind === NRB_IPV4 ? 4 : kind === NRB_IPV6 ? 16 : 0;
    if (size > 0) {
      const value = bytes.subarray(record + 4, record + 4 + length);
      const address = value.slice(0, size);
      for (const name of decoder.decode(value.subarray(size, length - 1)).split('\0')) {
        found.push({ address, name });
      }
    }
    record += 4 + padded(length);
  }
}

/**
 * Writes a sound body into a section of the other byte order, in which its numbers are turned. False: it is of a kind
 * of which only its own program knows what in it is a number, and its bytes were copied as they are.
 */
export function writeTurned(out: BlockBuffer, body: CopiedBody): boolean {
  const { type, bytes, view, at, size, little } = body;
  const end = at + size - 4;
  switch (type) {
    case NAME_RESOLUTION: {
      const options = turnRecords(out, body, at + 8);
      if (options < end) turnRecords(out, body, options, type);
      return true;
    }
    case DECRYPTION_SECRETS: {
      const length = view.getUint32(at + 12, little);
      out.u32(view.getUint32(at + 8, little));
      out.u32(length);
      out.padded(bytes, at + 16, length);
      const options = at + 16 + padded(length);
      if (options < end) turnRecords(out, body, options, type);
      return true;
    }
    case CUSTOM:
    case CUSTOM_NOT_COPIED:
      out.u32(view.getUint32(at + 8, little));
      out.padded(bytes, at + 12, end - at - 12);
      return false;
    default:
      out.padded(bytes, at + 8, end - at - 8);
      return false;
  }
}

/** Kind, length and value of each up to the end mark, which is written too; where the next thing begins. */
function turnRecords(out: BlockBuffer, body: CopiedBody, from: number, type?: number): number {
  const { bytes, view, at, size, little } = body;
  const end = at + size - 4;
  let record = from;
  while (end - record >= 4) {
    const kind = view.getUint16(record, little);
    const length = view.getUint16(record + 2, little);
    if (kind === END || length > end - record - 4) break;
    const value = bytes.subarray(record + 4, record + 4 + length);
    out.option(kind, type === undefined ? value : turnedOption(type, kind, value));
    record += 4 + padded(length);
  }
  out.endOfOptions();
  return record + 4;
}
