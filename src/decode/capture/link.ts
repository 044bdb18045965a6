import {
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
  DIRECTION_UNKNOWN,
} from '../../model/packet.js';
import { i32, u16 } from './bytes.js';
import {
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_VLAN,
  LINK_ETHERNET,
  LINK_IPV4,
  LINK_IPV6,
  LINK_LOOP,
  LINK_NULL,
  LINK_RAW,
  LINK_RAW_12,
  LINK_RAW_14,
  LINK_SLL,
  LINK_SLL2,
} from './link-types.js';
import { MALFORMED, NOT_IP, tooShort, UNSUPPORTED_LINK } from './outcome.js';

/** 802.1Q allows two tags, providers stack more; whoever stacks more than this is attacking the parser. */
const MAX_VLAN_TAGS = 8;

/** What a link header says beside where the packet begins. One object serves all frames of a decoder. */
export interface Link {
  /** One of the DIRECTION_ constants. */
  direction: number;
  /** Kernel interface index (LINUX_SLL2), 0 if the header has none. */
  index: number;
}

/** Where a link header of one length has the type of what follows, and how long it is. */
export interface Place {
  readonly type: number;
  readonly ip: number;
  readonly linkType: number;
}

const ETHERNET_PLACE: Place = { type: 12, ip: 14, linkType: LINK_ETHERNET };
const SLL_PLACE: Place = { type: 14, ip: 16, linkType: LINK_SLL };
const SLL2_PLACE: Place = { type: 0, ip: 20, linkType: LINK_SLL2 };

/** `undefined` for links of another kind. */
export function placeOf(linkType: number): Place | undefined {
  switch (linkType) {
    case LINK_ETHERNET:
      return ETHERNET_PLACE;
    case LINK_SLL:
      return SLL_PLACE;
    case LINK_SLL2:
      return SLL2_PLACE;
    default:
      return undefined;
  }
}

export function isSupportedLink(linkType: number): boolean {
  switch (linkType) {
    case LINK_ETHERNET:
    case LINK_SLL:
    case LINK_SLL2:
    case LINK_NULL:
    case LINK_LOOP:
    case LINK_RAW:
    case LINK_RAW_12:
    case LINK_RAW_14:
    case LINK_IPV4:
    case LINK_IPV6:
      return true;
    default:
      return false;
  }
}

/**
 * Reads the link header at `at`; the offset of the IP header, or an outcome. `end` is the first byte
 * that was not captured, `wireEnd` the first that was not sent.
 */
export function readLink(
  linkType: number,
  bytes: Uint8Array,
  at: number,
  end: number,
  wireEnd: number,
  into: Link,
): number {
  into.direction = DIRECTION_UNKNOWN;
  into.index = 0;
  switch (linkType) {
    case LINK_ETHERNET:
      return readEthernet(bytes, at, end, wireEnd);
    case LINK_SLL:
      // packet type 2, ARPHRD 2, address length 2, address 8, protocol 2
      if (end - at < 16) return tooShort(end, wireEnd);
      into.direction = directionOf(u16(bytes, at));
      return afterTags(bytes, at + 14, end, wireEnd);
    case LINK_SLL2:
      return readSll2(bytes, at, end, wireEnd, into);
    case LINK_NULL:
    case LINK_LOOP:
      return readLoopback(bytes, at, end, wireEnd);
    case LINK_RAW:
    case LINK_RAW_12:
    case LINK_RAW_14:
      return readRaw(bytes, at, end, wireEnd, 0);
    case LINK_IPV4:
      return readRaw(bytes, at, end, wireEnd, 4);
    case LINK_IPV6:
      return readRaw(bytes, at, end, wireEnd, 6);
    default:
      return UNSUPPORTED_LINK;
  }
}

/** Ethernet with any number of VLAN tags; the offset of the IP header, or an outcome. */
export function readEthernet(bytes: Uint8Array, at: number, end: number, wireEnd: number): number {
  if (end - at < 14) return tooShort(end, wireEnd);
  return afterTags(bytes, at + 12, end, wireEnd);
}

/**
 * LINUX_SLL2: protocol 2, reserved 2, interface index 4, ARPHRD 2, packet type 1, address length 1,
 * address 8. The protocol stands at the front, so a VLAN's tag follows the header without its type.
 */
function readSll2(bytes: Uint8Array, at: number, end: number, wireEnd: number, into: Link): number {
  if (end - at < 20) return tooShort(end, wireEnd);
  into.index = i32(bytes, at + 4) >>> 0;
  into.direction = directionOf(bytes[at + 10] as number);
  const type = u16(bytes, at);
  if (isIp(type)) return at + 20;
  if (!isVlan(type)) return NOT_IP;
  // The tag control word of two bytes, then a type as after any other tag.
  if (end - at < 24) return tooShort(end, wireEnd);
  return afterTags(bytes, at + 22, end, wireEnd);
}

/** Walks VLAN tags from the EtherType at `at` (inside what was captured) to the IP header. */
function afterTags(bytes: Uint8Array, at: number, end: number, wireEnd: number): number {
  let typeAt = at;
  for (let tags = 0; tags <= MAX_VLAN_TAGS; tags++) {
    const type = u16(bytes, typeAt);
    if (isIp(type)) return typeAt + 2;
    if (!isVlan(type)) return NOT_IP;
    typeAt += 4;
    if (typeAt + 2 > end) return tooShort(end, wireEnd);
  }
  return MALFORMED;
}

function isIp(type: number): boolean {
  return type === ETHERTYPE_IPV4 || type === ETHERTYPE_IPV6;
}

/** 802.1Q, 802.1ad, and what was used for stacked tags before 802.1ad. */
function isVlan(type: number): boolean {
  return type === ETHERTYPE_VLAN || type === 0x88a8 || type === 0x9100;
}

/** Packet types of linux/if_packet.h: host, broadcast, multicast, other host, outgoing. */
export function directionOf(packetType: number): number {
  if (packetType <= 2) return DIRECTION_IN;
  if (packetType === 3) return DIRECTION_OTHER_HOST;
  return packetType === 4 ? DIRECTION_OUT : DIRECTION_UNKNOWN;
}

/**
 * BSD loopback: four bytes of address family, for NULL in the byte order of the machine that captured,
 * for LOOP in network order. AF_INET is 2 everywhere; AF_INET6 is 24 (NetBSD, OpenBSD), 28 (FreeBSD),
 * 30 (Darwin) or 10 (Linux).
 */
function readLoopback(bytes: Uint8Array, at: number, end: number, wireEnd: number): number {
  if (end - at < 4) return tooShort(end, wireEnd);
  const high = u16(bytes, at);
  const low = u16(bytes, at + 2);
  // A family is below 256, so one half is zero and tells the order.
  const family = high === 0 ? low : low === 0 ? swap16(high) : -1;
  switch (family) {
    case 2:
      return readRaw(bytes, at + 4, end, wireEnd, 4);
    case 24:
    case 28:
    case 30:
    case 10:
      return readRaw(bytes, at + 4, end, wireEnd, 6);
    default:
      return NOT_IP;
  }
}

function swap16(value: number): number {
  return ((value & 0xff) << 8) | (value >>> 8);
}

/** No header: the first half byte is IP's version. `wanted` 0 takes both. */
function readRaw(
  bytes: Uint8Array,
  at: number,
  end: number,
  wireEnd: number,
  wanted: number,
): number {
  if (end - at < 1) return tooShort(end, wireEnd);
  const version = (bytes[at] as number) >>> 4;
  if (wanted !== 0) return version === wanted ? at : MALFORMED;
  return version === 4 || version === 6 ? at : NOT_IP;
}
