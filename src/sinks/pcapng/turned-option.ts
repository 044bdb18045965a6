import { CUSTOM_OPTIONS } from './copied-options.js';

/** Sizes of the numbers that an option's value has, in their order; the rest of it are octets. */
type Numbers = readonly (1 | 2 | 4 | 8)[];

const ONE_64: Numbers = [8];
/** A time stamp's words come in the same order in both byte orders (draft-ietf-opsawg-pcapng, 4.6). */
const TIME: Numbers = [4, 4];

/** By kind of block, options that hold numbers (sections 4.2 to 4.6). */
const NUMBERS: Readonly<Record<number, Readonly<Record<number, Numbers>>>> = {
  // Interface description: speed, time zone, tsoffset, speeds of sending and receiving.
  1: { 8: ONE_64, 10: [4], 14: ONE_64, 16: ONE_64, 17: ONE_64 },
  2: { 2: [4] },
  5: { 2: TIME, 3: TIME, 4: ONE_64, 5: ONE_64, 6: ONE_64, 7: ONE_64, 8: ONE_64 },
  // Enhanced packet: flags, drop count, packet id, queue, process and thread.
  6: { 2: [4], 4: ONE_64, 5: ONE_64, 6: [4], 8: [4, 4] },
};

const INTERFACE_DESCRIPTION = 1;
const IF_FILTER = 11;
/** if_filter begins with what it is: a program for BPF, of instructions (net/bpf.h: code, jt, jf, k). */
const FILTER_PROGRAM = 1;
const INSTRUCTION: Numbers = [2, 1, 1, 4];
const INSTRUCTION_BYTES = 8;

const ENHANCED_PACKET = 6;
const EPB_VERDICT = 7;
/** epb_verdict begins with whose it is; that of eBPF TC and of XDP is a number of 64 bits. */
const NUMBER_VERDICTS: readonly (number | undefined)[] = [1, 2];

/** The value of an option in the other byte order; of options that nobody knows, as it is. */
export function turnedOption(type: number, code: number, value: Uint8Array): Uint8Array {
  if (CUSTOM_OPTIONS.includes(code)) return turn(value, [4]);
  if (type === INTERFACE_DESCRIPTION && code === IF_FILTER && value[0] === FILTER_PROGRAM) {
    const count = Math.floor((value.length - 1) / INSTRUCTION_BYTES);
    return turn(value, [1, ...Array.from({ length: count }, () => INSTRUCTION).flat()]);
  }
  if (type === ENHANCED_PACKET && code === EPB_VERDICT && NUMBER_VERDICTS.includes(value[0])) {
    return turn(value, [1, 8]);
  }
  const numbers = NUMBERS[type]?.[code];
  return numbers === undefined ? value : turn(value, numbers);
}

function turn(value: Uint8Array, numbers: Numbers): Uint8Array {
  const turned = value.slice();
  let at = 0;
  for (const size of numbers) {
    if (at + size > value.length) break;
    turned.subarray(at, at + size).reverse();
    at += size;
  }
  return turned;
}
