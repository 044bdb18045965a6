import type { PcapngOption } from './block-buffer.js';

// draft-ietf-opsawg-pcapng, sections 3.5 and 4.
const END = 0;

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
export const CUSTOM_OPTIONS: readonly number[] = [2988, 2989, 19372, 19373];

/** Where a block's options stand. */
export interface OptionsIn {
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

interface FoundOptions {
  /** As they stand in `bytes`. */
  readonly sound: readonly (PcapngOption & { readonly value: Uint8Array })[];
  /** How many contradict themselves. */
  readonly wrong: number;
  /** The mark of their end is there; it may be missing where nothing follows. */
  readonly ended: boolean;
}

const NONE: FoundOptions = { sound: [], wrong: 0, ended: false };

/** The options of a block. */
export function optionsIn(options: OptionsIn): FoundOptions {
  const { type, bytes, view, from, end, little } = options;
  if (from >= end) return NONE;
  const mended = options.shorter === 0 ? -1 : shortened(options);
  const sound: { code: number; value: Uint8Array }[] = [];
  let wrong = 0;
  let ended = false;
  let at = from;
  while (end - at >= 4) {
    const code = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little) - (at === mended ? options.shorter : 0);
    if (code === END) {
      ended = true;
      break;
    }
    if (length > end - at - 4) break;
    if (isSoundOption(type, code, length)) {
      sound.push({ code, value: bytes.subarray(at + 4, at + 4 + length) });
    } else {
      wrong++;
    }
    at += 4 + padded(length);
  }
  if (!ended && at < end) wrong++;
  return { sound, wrong, ended };
}

/**
 * Of a block whose text was shortened without its lengths, the option that has this text: with it as much shorter as
 * the block is, all options fit. -1: there is none.
 */
function shortened(options: OptionsIn): number {
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
function fitFrom({ view, end, little }: OptionsIn, from: number): boolean {
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

/** Not in 32 bits: a length may be any number. */
export function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
