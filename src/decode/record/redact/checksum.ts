const ICMP = 1;
const UDP = 17;

/** Of the IPv4 header from `at` to `end` (RFC 1071), whatever stands in its place. */
export function ipv4Checksum(bytes: Uint8Array, at: number, end: number): number {
  const old = ((bytes[at + 10] ?? 0) << 8) | (bytes[at + 11] ?? 0);
  return complement(added(bytes, at, end) - old);
}

/**
 * Of the transport from `at` to `end`, the packet's end, in which it must be 0. `addresses`: where the source is,
 * behind which the destination stands. (RFC 9293, 3.1; RFC 768; RFC 8200, 8.1.)
 */
export function transportChecksum(
  bytes: Uint8Array,
  at: number,
  end: number,
  protocol: number,
  family: 4 | 6,
  addresses: number,
): number {
  const own = added(bytes, at, end);
  // That of ICMP for IPv4 is over the message alone (RFC 792).
  if (protocol === ICMP) return complement(own);
  const around = added(bytes, addresses, addresses + (family === 4 ? 8 : 32));
  const checksum = complement(own + around + protocol + (end - at));
  // Of UDP 0 says that there is none.
  return checksum === 0 && protocol === UDP ? 0xffff : checksum;
}

/** The 16-bit words of some bytes, added up; a last odd byte is the upper half of one. */
function added(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) {
    sum += ((bytes[at] ?? 0) << 8) | (at + 1 < to ? (bytes[at + 1] ?? 0) : 0);
  }
  return sum;
}

function complement(total: number): number {
  let sum = total;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}
