import { u16 } from './bytes.js';
import { ETHERTYPE_IPV4, ETHERTYPE_IPV6 } from './link-types.js';

/** IANA's port, and the one that Linux and flannel took before there was one. */
const VXLAN_PORT = 4789;
const VXLAN_PORT_LINUX = 8472;
const GENEVE_PORT = 6081;

/** IP in IP (RFC 2003), IPv6 in IP (RFC 4213, RFC 2473). */
export const IP_IN_IP = 4;
export const IPV6_IN_IP = 41;

export const TRANSPARENT_ETHERNET = 0x6558;

export function isVxlanPort(port: number): boolean {
  return port === VXLAN_PORT_LINUX || port === VXLAN_PORT;
}

export function isGenevePort(port: number): boolean {
  return port === GENEVE_PORT;
}

/**
 * Offset of the Ethernet frame in a VXLAN payload, -1 if it is none. RFC 7348, section 5: the only flag
 * is I, all reserved bits are zero. Linux drops what differs (drivers/net/vxlan, without extensions),
 * so an application's datagram on such a port is not taken for a tunnel.
 */
export function vxlanFrame(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 8) return -1;
  const flags = bytes[at] as number;
  const reserved = (bytes[at + 1] as number) | u16(bytes, at + 2) | (bytes[at + 7] as number);
  return flags === 0x08 && reserved === 0 ? at + 8 : -1;
}

/**
 * Offset of what a Geneve payload carries, -1 if it is none: RFC 8926, section 3.4, version 0, not a
 * control packet, reserved bits zero, options inside the datagram, and a type that we can follow
 * (`geneveType`).
 */
export function geneveFrame(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 8) return -1;
  const first = bytes[at] as number;
  // The second byte: O (control), C (critical options), six reserved bits.
  const second = bytes[at + 1] as number;
  if (first >>> 6 !== 0 || (second & 0xbf) !== 0 || bytes[at + 7] !== 0) return -1;
  const type = geneveType(bytes, at);
  if (type !== TRANSPARENT_ETHERNET && type !== ETHERTYPE_IPV4 && type !== ETHERTYPE_IPV6) {
    return -1;
  }
  const inner = at + 8 + (first & 0x3f) * 4;
  return inner <= end ? inner : -1;
}

export function geneveType(bytes: Uint8Array, at: number): number {
  return u16(bytes, at + 2);
}
