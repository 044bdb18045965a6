/** What the straight road takes (see straight.ts). Nothing is imported here, so that the bundler writes these numbers where they are used. */

/** Not an outcome: the packet is for the long road. */
export const NOT_STRAIGHT = -101;

/** MSS of 4 bytes, then SACK permitted and time stamps: how Linux begins a SYN's options. */
export const MSS = 0x0204;
export const SACK_TIMESTAMP = 0x0402_080a;
/** Then comes NOP and the window scale, and nothing more. */
export const NOP_SCALE = 0x01_0303;
/** NOP, NOP, time stamps: all options of an established segment, a FIN among them. */
export const NOP_NOP_TIMESTAMP = 0x0101_080a;

/** So much of the packet must be at hand to try: the fixed headers of IP and TCP. */
export const STRAIGHT_BYTES_4 = 40;
export const STRAIGHT_BYTES_6 = 60;
