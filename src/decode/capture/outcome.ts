/**
 * What became of a frame, where no row came of it. Functions on the packet path return the word offset
 * of a row, or a byte offset, or else one of these: a number costs nothing, an object or an exception
 * for each of 30 million frames a second would.
 */
export const UNNEEDED = -1;
/** The capture's snap length cut the frame before the headers were complete. */
export const CUT = -2;
/** A header's length or version contradicts itself or the frame. */
export const MALFORMED = -3;
/** An IP protocol, or an ICMP message, that opens, closes or refuses no connection. */
export const OTHER_TRANSPORT = -4;
/** A fragment that is not the first has no ports. */
export const LATER_FRAGMENT = -5;
export const NOT_IP = -6;
export const UNSUPPORTED_LINK = -7;

/** The frame ends before a header does: because the capture was cut, or because it lies. */
export function tooShort(end: number, wireEnd: number): number {
  return wireEnd > end ? CUT : MALFORMED;
}
