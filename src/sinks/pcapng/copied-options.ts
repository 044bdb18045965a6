import { type BlockBuffer, utf8 } from './block-buffer.js';

// draft-ietf-opsawg-pcapng, sections 3.5 and 4.
const END = 0;
const COMMENT = 1;
const MAX_OPTION_BYTES = 65_535;

const NAME_RESOLUTION = 4;
const DECRYPTION_SECRETS = 10;
const CUSTOM = 0x0bad;
const CUSTOM_NOT_COPIED = 0x4000_0bad;
/** Type, both lengths, and a private enterprise number. */
const LEAST_CUSTOM = 16;
const NRB_IPV4 = 1;
const NRB_IPV6 = 2;

/**
 * Options of which every reader expects a certain length, by kind of block: Wireshark reads no further in a
 * file with another one.
 */
const LENGTHS: Readonly<Record<number, Readonly<Record<number, number>>>> = {
  // Interface description: IPv4 and IPv6 address, MAC, EUI, speed, tsresol, time zone, FCS, tsoffset.
  1: { 4: 8, 5: 17, 6: 6, 7: 8, 8: 8, 9: 1, 10: 4, 13: 1, 14: 8 },
  // Packet, obsolete: flags.
  2: { 2: 4 },
  // Interface statistics: times and counters.
  5: { 2: 8, 3: 8, 4: 8, 5: 8, 6: 8, 7: 8, 8: 8 },
  // Enhanced packet: flags, drop count, packet id, queue.
  6: { 2: 4, 4: 8, 5: 8, 6: 4 },
};
/** Options that are never empty: a packet's hash and verdict, an interface's filter. */
const NEVER_EMPTY: Readonly<Record<number, readonly number[]>> = { 1: [11], 2: [3], 6: [3, 7] };
/** Custom options begin with a private enterprise number. */
const CUSTOM_OPTIONS: readonly number[] = [2988, 2989, 19372, 19373];

export interface CopiedOptions {
  /** Of the block. */
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly from: number;
  readonly end: number;
  readonly little: boolean;
  /** So many bytes shorter is the block than it says. */
  readonly shorter: number;
}

/**
 * Copies the options of a block as they are, and a comment behind them unless the block has this very one.
 * The number of those that contradict themselves, and are left out.
 */
export function copyOptions(
  out: BlockBuffer,
  options: CopiedOptions,
  comment: string | undefined,
): number {
  const { type, bytes, view, from, end, little } = options;
  const mended = options.shorter === 0 ? -1 : shortened(options);
  let text = comment === undefined ? undefined : utf8(comment, MAX_OPTION_BYTES);
  let some = false;
  let wrong = 0;
  let ended = false;
  let at = from;
  while (!ended && end - at >= 4) {
    const code = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little) - (at === mended ? options.shorter : 0);
    if (code === END) {
      ended = true;
      break;
    }
    if (length > end - at - 4) break;
    if (isSoundOption(type, code, length)) {
      some = true;
      out.u16(code);
      out.u16(length);
      out.padded(bytes, at + 4, length);
      if (code === COMMENT && text !== undefined && isSame(text, bytes, at + 4, length)) {
        text = undefined;
      }
    } else {
      wrong++;
    }
    at += 4 + ((length + 3) & ~3);
  }
  if (!ended && at < end) wrong++;
  if (text !== undefined) out.option(COMMENT, text);
  // The end mark may be missing where nothing follows.
  if (ended || some || text !== undefined) out.endOfOptions();
  return wrong;
}

/**
 * Of a block whose text was shortened without its lengths, the option that has this text: with it as much shorter as
 * the block is, all options fit. -1: there is none.
 */
function shortened(options: CopiedOptions): number {
  const { view, from, end, little, shorter } = options;
  for (let at = from; end - at >= 4; ) {
    const length = view.getUint16(at + 2, little);
    if (view.getUint16(at, little) === END) return -1;
    if (length >= shorter && fitFrom(options, at + 4 + padded(length - shorter))) return at;
    at += 4 + padded(length);
    if (at > end) return -1;
  }
  return -1;
}

/** Whether whole options, and the mark of their end, fill a block from a place on. */
function fitFrom({ view, end, little }: CopiedOptions, from: number): boolean {
  for (let at = from; end - at >= 4; ) {
    const length = view.getUint16(at + 2, little);
    if (view.getUint16(at, little) === END) return length === 0 && at + 4 === end;
    at += 4 + padded(length);
  }
  return false;
}

function isSoundOption(type: number, code: number, length: number): boolean {
  if (CUSTOM_OPTIONS.includes(code)) return length >= 4;
  const wanted = LENGTHS[type]?.[code];
  if (wanted !== undefined) return length === wanted;
  return length > 0 || NEVER_EMPTY[type]?.includes(code) !== true;
}

function isSame(text: Uint8Array, bytes: Uint8Array, at: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i++) if (text[i] !== bytes[at + i]) return false;
  return true;
}

interface Body {
  readonly type: number;
  readonly at: number;
  readonly size: number;
  readonly little: boolean;
}

/** Whether the records within a block that is copied as it is fit into it. */
export function isSoundBody({ type, at, size, little }: Body, view: DataView): boolean {
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

/** Not in 32 bits: a length may be any number. */
function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
