import { MAPPED } from '../../model/address.js';
import { i32, u16 } from './bytes.js';
import { LATER_FRAGMENT, MALFORMED, tooShort } from './outcome.js';

/**
 * RFC 8200 asks for each extension header at most once, destination options twice: six. Some slack;
 * the walk must end.
 */
const MAX_EXTENSION_HEADERS = 10;

const HOP_BY_HOP = 0;
const ROUTING = 43;
const FRAGMENT = 44;
const AUTHENTICATION = 51;
const DESTINATION_OPTIONS = 60;

/** Where the parts of an IP packet lie. One object serves all packets of a decoder. */
export class IpPacket {
  family = 0;
  /** What follows all IP headers. */
  protocol = 0;
  /** Offset of the source address; the destination follows it. */
  sourceAt = 0;
  transportAt = 0;
  /** First byte after the packet, or after what was captured of it. */
  end = 0;
  /** First byte after the packet as it was sent. */
  wireEnd = 0;
  /** Bytes on the wire: the whole packet, and what follows the IP headers. */
  length = 0;
  payload = 0;
  moreFragments = false;
  ttl = 0;
  identification = 0;
}

/**
 * Reads the IP header at `at` and all that stands before the transport's; 0, or an outcome.
 *
 * A length beyond the wire is taken as it is (nothing is read by it): programs that cut packets often
 * write the cut length as the wire's, and such a file must not come out empty. A length of 0 is
 * "segmentation off-load, longer than 16 bits can say" (Linux BIG TCP) or an IPv6 jumbogram (RFC 2675):
 * then the wire's length counts.
 */
export function readIp(
  bytes: Uint8Array,
  at: number,
  end: number,
  wireEnd: number,
  into: IpPacket,
): number {
  if (at >= end) return tooShort(end, wireEnd);
  const version = (bytes[at] as number) >>> 4;
  if (version === 4) return readIpv4(bytes, at, end, wireEnd, into);
  if (version === 6) return readIpv6(bytes, at, end, wireEnd, into);
  return MALFORMED;
}

/** RFC 791, section 3.1. */
function readIpv4(
  bytes: Uint8Array,
  at: number,
  end: number,
  wireEnd: number,
  into: IpPacket,
): number {
  if (end - at < 20) return tooShort(end, wireEnd);
  const header = ((bytes[at] as number) & 0x0f) * 4;
  const said = u16(bytes, at + 2);
  const length = said === 0 ? wireEnd - at : said;
  if (header < 20 || length < header) return MALFORMED;
  if (end - at < header) return tooShort(end, wireEnd);
  const fragment = u16(bytes, at + 6);
  if ((fragment & 0x1fff) !== 0) return LATER_FRAGMENT;
  into.family = 4;
  into.protocol = bytes[at + 9] as number;
  into.sourceAt = at + 12;
  into.transportAt = at + header;
  into.end = Math.min(end, at + length);
  into.wireEnd = at + length;
  into.length = length;
  into.payload = length - header;
  into.moreFragments = (fragment & 0x2000) !== 0;
  into.ttl = bytes[at + 8] as number;
  into.identification = u16(bytes, at + 4);
  return 0;
}

/** RFC 8200, sections 3 and 4; the authentication header RFC 4302. */
function readIpv6(
  bytes: Uint8Array,
  at: number,
  end: number,
  wireEnd: number,
  into: IpPacket,
): number {
  if (end - at < 40) return tooShort(end, wireEnd);
  const said = u16(bytes, at + 4);
  const length = said === 0 ? wireEnd - at : 40 + said;
  let protocol = bytes[at + 6] as number;
  let next = at + 40;
  let moreFragments = false;
  for (let headers = 0; isExtension(protocol); headers++) {
    if (headers === MAX_EXTENSION_HEADERS) return MALFORMED;
    if (end - next < 8) return tooShort(end, wireEnd);
    const size = bytes[next + 1] as number;
    let step = (size + 1) * 8;
    if (protocol === FRAGMENT) {
      const fragment = u16(bytes, next + 2);
      if ((fragment & 0xfff8) !== 0) return LATER_FRAGMENT;
      moreFragments = (fragment & 1) !== 0;
      step = 8;
    } else if (protocol === AUTHENTICATION) {
      step = (size + 2) * 4;
    }
    protocol = bytes[next] as number;
    next += step;
  }
  if (next - at > length) return MALFORMED;
  if (next > end) return tooShort(end, wireEnd);
  into.family = 6;
  into.protocol = protocol;
  into.sourceAt = at + 8;
  into.transportAt = next;
  into.end = Math.min(end, at + length);
  into.wireEnd = at + length;
  into.length = length;
  into.payload = length - (next - at);
  into.moreFragments = moreFragments;
  into.ttl = bytes[at + 7] as number;
  into.identification = 0;
  return 0;
}

function isExtension(protocol: number): boolean {
  switch (protocol) {
    case HOP_BY_HOP:
    case ROUTING:
    case FRAGMENT:
    case AUTHENTICATION:
    case DESTINATION_OPTIONS:
      return true;
    default:
      return false;
  }
}

/** Writes the source address as four words (IPv4 mapped) to `to`. */
export function writeSource(bytes: Uint8Array, ip: IpPacket, words: Uint32Array, to: number): void {
  writeAddress(bytes, ip.sourceAt, ip.family, words, to);
}

/** Writes the destination address as four words (IPv4 mapped) to `to`. */
export function writeDestination(
  bytes: Uint8Array,
  ip: IpPacket,
  words: Uint32Array,
  to: number,
): void {
  writeAddress(bytes, ip.sourceAt + (ip.family === 4 ? 4 : 16), ip.family, words, to);
}

function writeAddress(
  bytes: Uint8Array,
  at: number,
  family: number,
  words: Uint32Array,
  to: number,
): void {
  if (family === 4) {
    words[to] = 0;
    words[to + 1] = 0;
    words[to + 2] = MAPPED;
    words[to + 3] = i32(bytes, at);
    return;
  }
  words[to] = i32(bytes, at);
  words[to + 1] = i32(bytes, at + 4);
  words[to + 2] = i32(bytes, at + 8);
  words[to + 3] = i32(bytes, at + 12);
}
