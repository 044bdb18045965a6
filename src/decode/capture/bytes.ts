/**
 * Numbers in network order out of bytes. The caller has checked that they lie inside: each header is
 * checked once, where it is entered, and read without further checks. (An index outside would give
 * zeros here, never memory of others.)
 */
export function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/** As a *signed* 32-bit number: good for comparing, and for storing into a Uint32Array. */
export function i32(bytes: Uint8Array, at: number): number {
  return (
    ((bytes[at] as number) << 24) |
    ((bytes[at + 1] as number) << 16) |
    ((bytes[at + 2] as number) << 8) |
    (bytes[at + 3] as number)
  );
}
