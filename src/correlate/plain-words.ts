/**
 * How plain connections (see plain.ts) lie in memory. Nothing is imported here, so that the bundler writes these numbers
 * where they are used.
 */

/** Words of a connection: one line of the cache. The N_ words: */
export const PLAIN_WORDS = 16;
export const N_SRC = 0;
export const N_DST = 1;
/** The client's port in the upper half, the Service's in the lower. */
export const N_PORTS = 2;
/** Of one that was translated (PK_CLAIM). */
export const N_ENDPOINT = 3;
/** What was seen of it, as a Connection's bits; 0: its place is free. */
export const N_BITS = 4;
/** The endpoint's port in the upper half, the opening packet's identification in the lower. */
export const N_PORT_AND_ID = 5;
export const N_ISN = 6;
export const N_ANSWER_ISN = 7;
export const N_PRINT = 8;
export const N_RESOLUTION = 9;

/** Of the same memory as moments, in relative ns: each takes two words. The M_ moments: */
export const PLAIN_MOMENTS = 8;
/** When it is to be closed or forgotten; 0: it has not ended. */
export const M_DUE = 5;
export const M_TIME = 6;
/** When it was last seen or, once it has ended, when that was. */
export const M_LAST = 7;

/** Beside a Connection's bits: its last word is said. */
export const SHUT = 1 << 30;

/** In a place of a table: from these bits on, some of the hash, so that few strangers are looked at; below them a number plus one. */
export const FLOW_BITS = 25;
export const FLOW_MASK = 0x1ff_ffff;
export const ISN_BITS = 24;
export const ISN_MASK = 0xff_ffff;

/** Words of an address in a row. */
export const ADDRESS_WORDS = 4;
/** Numbers up to this one stand for IPv6 addresses (see wide-addresses.ts). */
export const MOST_WIDE = 0xff_ffff;
/** No address of a plain connection. */
export const NOWHERE = 0;
