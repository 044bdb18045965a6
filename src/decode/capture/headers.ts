import { LINK_ETHERNET, LINK_RAW, LINK_SLL, LINK_SLL2 } from './link-types.js';

const ETHERNET_BYTES = 14;
const SLL_BYTES = 16;
const SLL2_BYTES = 20;
const VLAN_BYTES = 4;
const VLAN_TYPES = new Set([0x8100, 0x88a8, 0x9100]);
const ARP = 0x0806;
/** Of Ethernet and IPv4 (RFC 826). */
const ARP_BYTES = 28;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;

const ICMP = 1;
const IPIP = 4;
const TCP = 6;
const UDP = 17;
const IPV6_IN_IP = 41;
const ICMPV6 = 58;
const SCTP = 132;
/** Hop-by-hop, routing, destination options; fragment; authentication (RFC 8200, section 4). */
const OPTIONS = new Set([0, 43, 60]);
const FRAGMENT = 44;
const AUTHENTICATION = 51;
/** More extension headers in a row than any sender has a use for. */
const MAX_EXTENSIONS = 8;
const UDP_BYTES = 8;
const ICMP_BYTES = 8;
/** Common header, and the fixed part of an INIT chunk (RFC 9260, 3.3.2). */
const SCTP_BYTES = 12 + 20;
const TCP_BYTES = 20;
const MAX_DEPTH = 3;

/**
 * How many of a frame's captured bytes are headers, from the link's to the transport's with its options: what can
 * be kept without keeping what was sent. Of an ICMP error the headers that it quotes count too; of a frame
 * that is not understood only what is.
 */
export function headerBytes(
  linkType: number,
  bytes: Uint8Array,
  from: number,
  captured: number,
): number {
  const end = from + captured;
  const u16 = (at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  let at = from;
  let type = 0;
  if (linkType === LINK_ETHERNET || linkType === LINK_SLL) {
    at += linkType === LINK_SLL ? SLL_BYTES : ETHERNET_BYTES;
    type = u16(at - 2);
    for (let tags = 0; tags < 2 && VLAN_TYPES.has(type); tags++) {
      at += VLAN_BYTES;
      type = u16(at - 2);
    }
  } else if (linkType === LINK_SLL2) {
    // The protocol stands in front, and of a VLAN's tag what is behind its type follows the header.
    type = u16(at);
    at += SLL2_BYTES;
    for (let tags = 0; tags < 2 && VLAN_TYPES.has(type); tags++) {
      at += VLAN_BYTES;
      type = u16(at - 2);
    }
  } else if (linkType === LINK_RAW) {
    type = (bytes[at] ?? 0) >>> 4 === 6 ? IPV6 : IPV4;
  }
  if (type === ARP) at += ARP_BYTES;
  else if (type === IPV4 || type === IPV6) at = network(at, 0);
  return Math.min(at, end) - from;

  /** The end of the headers of an IP packet that begins at `start`. */
  function network(start: number, depth: number): number {
    if (start >= end || depth > MAX_DEPTH) return start;
    const version = (bytes[start] ?? 0) >>> 4;
    if (version === 4) {
      const behind = start + Math.max(5, (bytes[start] ?? 0) & 15) * 4;
      // A later fragment is payload all over.
      if ((u16(start + 6) & 0x1fff) !== 0) return behind;
      return transport(behind, bytes[start + 9] ?? 0, depth);
    }
    if (version !== 6) return start;
    let protocol = bytes[start + 6] ?? 0;
    let behind = start + 40;
    for (let i = 0; i < MAX_EXTENSIONS && behind < end; i++) {
      const next = bytes[behind] ?? 0;
      const length = bytes[behind + 1] ?? 0;
      if (OPTIONS.has(protocol)) behind += (length + 1) * 8;
      else if (protocol === AUTHENTICATION) behind += (length + 2) * 4;
      else if (protocol === FRAGMENT) {
        const isLater = (u16(behind + 2) & 0xfff8) !== 0;
        behind += 8;
        if (isLater) return behind;
      } else break;
      protocol = next;
    }
    return transport(behind, protocol, depth);
  }

  function transport(start: number, protocol: number, depth: number): number {
    switch (protocol) {
      case TCP:
        return start + Math.max(TCP_BYTES, ((bytes[start + 12] ?? 0) >>> 4) * 4);
      case UDP:
        return start + UDP_BYTES;
      case SCTP:
        return start + SCTP_BYTES;
      case ICMP: {
        const icmp = bytes[start] ?? 0;
        const isError = icmp === 3 || icmp === 11 || icmp === 12;
        return isError ? network(start + ICMP_BYTES, depth + 1) : start + ICMP_BYTES;
      }
      case ICMPV6:
        return (bytes[start] ?? 0) < 128
          ? network(start + ICMP_BYTES, depth + 1)
          : start + ICMP_BYTES;
      case IPIP:
      case IPV6_IN_IP:
        return network(start, depth + 1);
      default:
        return start;
    }
  }
}
