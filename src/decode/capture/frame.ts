import {
  DIRECTION_UNKNOWN,
  ENCAPSULATION_GENEVE,
  ENCAPSULATION_IPIP,
  ENCAPSULATION_NONE,
  ENCAPSULATION_VXLAN,
  P_DIRECTION,
  P_ENCAPSULATION,
  SCTP,
  TCP,
  TCP_NEEDED,
  UDP,
} from '../../model/packet.js';
import type { PacketRows } from '../../model/packet-rows.js';
import { u16 } from './bytes.js';
import { addIcmpError, ICMP, ICMPV6 } from './icmp.js';
import { IpPacket, readIp } from './ip.js';
import { directionOf, type Link, type Place, placeOf, readEthernet, readLink } from './link.js';
import {
  ETHERTYPE_IPV4,
  ETHERTYPE_IPV6,
  ETHERTYPE_VLAN,
  LINK_ETHERNET,
  LINK_SLL2,
} from './link-types.js';
import {
  CUT,
  LATER_FRAGMENT,
  MALFORMED,
  NOT_IP,
  OTHER_TRANSPORT,
  UNSUPPORTED_LINK,
} from './outcome.js';
import { addStraight4, addStraight6 } from './straight.js';
import { NOT_STRAIGHT, STRAIGHT_BYTES_4, STRAIGHT_BYTES_6 } from './straight-form.js';
import { addSctp, addTcp, addUdp } from './transport.js';
import {
  geneveFrame,
  geneveType,
  IP_IN_IP,
  IPV6_IN_IP,
  isGenevePort,
  isVxlanPort,
  TRANSPARENT_ETHERNET,
  vxlanFrame,
} from './tunnel.js';

/**
 * The one decoder of frames: ring blocks, capture files and cap's frames all come here. It keeps what
 * the correlator needs (TCP with SYN, FIN or RST; UDP; SCTP chunks that open or end an association; ICMP
 * errors) and counts the rest. Tunnels (VXLAN, Geneve, IP in IP) are entered one level deep: the row is
 * the inner packet's.
 *
 * The counters do not overlap; `seen` is their sum and the frames that were whole but not needed.
 */
export class FrameDecoder {
  seen = 0;
  kept = 0;
  /** Headers cut off by the capture's snap length. */
  cut = 0;
  /** Headers whose lengths lie. */
  malformed = 0;
  unsupportedLink = 0;
  nonIp = 0;
  laterFragments = 0;
  otherTransport = 0;

  private readonly rows: PacketRows;
  private readonly link: Link = { direction: 0, index: 0 };
  private readonly ip = new IpPacket();
  private readonly quoted = new IpPacket();
  private bytes: Uint8Array = new Uint8Array(0);
  private view: DataView = new DataView(new ArrayBuffer(0));

  constructor(rows: PacketRows) {
    this.rows = rows;
  }

  /** Interface index in the link header (LINUX_SLL2) of the frame that gave the last row; 0 without. */
  get linkIndex(): number {
    return this.link.index;
  }

  /**
   * Decodes the frame of `captured` bytes at `at`, which was `onWire` bytes long when it was sent.
   * Returns the word offset of the row that it gave, else -1. All of `at … at + captured` must lie in
   * `bytes`. Left for the caller to fill in: time, resolution, lateness, interface, and the direction
   * where the link header has none.
   */
  decode(
    linkType: number,
    bytes: Uint8Array,
    at: number,
    captured: number,
    onWire: number,
  ): number {
    if (bytes !== this.bytes) {
      this.bytes = bytes;
      this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    }
    const place = placeOf(linkType);
    if (place !== undefined) {
      const row = this.decodeStraight(place, this.view, at, captured);
      if (row >= 0) this.rows.words.fill(0, row, row + P_DIRECTION);
      if (row !== NOT_STRAIGHT) return row;
    }
    return this.decodeFully(linkType, bytes, at, captured, onWire);
  }

  /**
   * The same for what can be decoded by a few reads; NOT_STRAIGHT for what cannot, which is to be given
   * to `decodeFully`. Most frames are TCP segments that neither open nor close: they end here. The words
   * before P_DIRECTION hold anything then, so the caller has to write all of them.
   */
  decodeStraight(place: Place, view: DataView, at: number, captured: number): number {
    const end = at + captured;
    const typeAt = at + place.type;
    let ip = at + place.ip;
    if (end - ip < STRAIGHT_BYTES_4) return NOT_STRAIGHT;
    let type = view.getUint16(typeAt);
    if (type === ETHERTYPE_VLAN) {
      type = view.getUint16(ip + 2);
      ip += 4;
      if (end - ip < STRAIGHT_BYTES_4) return NOT_STRAIGHT;
    }
    let row = NOT_STRAIGHT;
    if (type === ETHERTYPE_IPV4) {
      // No options, and neither a fragment nor anything but TCP.
      if (view.getUint8(ip) !== 0x45 || (view.getInt32(ip + 6) & 0x3fff_00ff) !== TCP) {
        return NOT_STRAIGHT;
      }
      if ((view.getUint8(ip + 33) & TCP_NEEDED) === 0) {
        this.seen++;
        return -1;
      }
      row = addStraight4(this.rows, view, ip, end);
    } else if (type === ETHERTYPE_IPV6 && end - ip >= STRAIGHT_BYTES_6) {
      if (view.getUint8(ip) >>> 4 !== 6 || view.getUint8(ip + 6) !== TCP) {
        return NOT_STRAIGHT;
      }
      if ((view.getUint8(ip + 53) & TCP_NEEDED) === 0) {
        this.seen++;
        return -1;
      }
      row = addStraight6(this.rows, view, ip, end);
    }
    if (row < 0) return row;
    this.seen++;
    this.kept++;
    const { linkType } = place;
    this.link.index = linkType === LINK_SLL2 ? view.getUint32(at + 4) : 0;
    this.rows.words[row + P_DIRECTION] =
      linkType === LINK_ETHERNET
        ? DIRECTION_UNKNOWN
        : directionOf(linkType === LINK_SLL2 ? view.getUint8(at + 10) : view.getUint16(at));
    return row;
  }

  /** As `decode`, by the long road only. */
  decodeFully(
    linkType: number,
    bytes: Uint8Array,
    at: number,
    captured: number,
    onWire: number,
  ): number {
    this.seen++;
    const end = at + captured;
    // A wire length below the captured one is a writer's slip.
    const wireEnd = at + Math.max(captured, onWire);
    const ipAt = readLink(linkType, bytes, at, end, wireEnd, this.link);
    const row = ipAt < 0 ? ipAt : this.packet(bytes, ipAt, end, wireEnd, ENCAPSULATION_NONE);
    if (row < 0) {
      this.count(row);
      return -1;
    }
    this.kept++;
    this.rows.words[row + P_DIRECTION] = this.link.direction;
    return row;
  }

  /** The IP packet at `at`: the word offset of its row, or an outcome. */
  private packet(
    bytes: Uint8Array,
    at: number,
    end: number,
    wireEnd: number,
    encapsulation: number,
  ): number {
    const ip = this.ip;
    const status = readIp(bytes, at, end, wireEnd, ip);
    if (status < 0) return status;
    const outermost = encapsulation === ENCAPSULATION_NONE;
    let row = OTHER_TRANSPORT;
    switch (ip.protocol) {
      case TCP:
        row = addTcp(this.rows, bytes, ip);
        break;
      case UDP: {
        const inner = outermost ? this.enterUdpTunnel(bytes) : NO_TUNNEL;
        if (inner !== NO_TUNNEL) return inner;
        row = addUdp(this.rows, bytes, ip);
        break;
      }
      case SCTP:
        row = addSctp(this.rows, bytes, ip);
        break;
      case ICMP:
        if (ip.family === 4) row = addIcmpError(this.rows, bytes, ip, this.quoted);
        break;
      case ICMPV6:
        if (ip.family === 6) row = addIcmpError(this.rows, bytes, ip, this.quoted);
        break;
      case IP_IN_IP:
      case IPV6_IN_IP:
        if (outermost) {
          return this.packet(bytes, ip.transportAt, ip.end, ip.wireEnd, ENCAPSULATION_IPIP);
        }
        break;
      default:
    }
    if (row >= 0 && !outermost) this.rows.words[row + P_ENCAPSULATION] = encapsulation;
    return row;
  }

  /** Follows a datagram on a tunnel's port inwards: a row or an outcome, or NO_TUNNEL if it is an ordinary one. */
  private enterUdpTunnel(bytes: Uint8Array): number {
    const { transportAt, end, wireEnd } = this.ip;
    if (end - transportAt < 16) return NO_TUNNEL;
    const port = u16(bytes, transportAt + 2);
    const payload = transportAt + 8;
    let encapsulation = ENCAPSULATION_VXLAN;
    let inner = -1;
    if (isVxlanPort(port)) {
      inner = vxlanFrame(bytes, payload, end);
    } else if (isGenevePort(port)) {
      encapsulation = ENCAPSULATION_GENEVE;
      inner = geneveFrame(bytes, payload, end);
      if (inner >= 0 && geneveType(bytes, payload) !== TRANSPARENT_ETHERNET) {
        return this.packet(bytes, inner, end, wireEnd, encapsulation);
      }
    }
    if (inner < 0) return NO_TUNNEL;
    const ipAt = readEthernet(bytes, inner, end, wireEnd);
    return ipAt < 0 ? ipAt : this.packet(bytes, ipAt, end, wireEnd, encapsulation);
  }

  private count(outcome: number): void {
    switch (outcome) {
      case CUT:
        this.cut++;
        break;
      case MALFORMED:
        this.malformed++;
        break;
      case OTHER_TRANSPORT:
        this.otherTransport++;
        break;
      case LATER_FRAGMENT:
        this.laterFragments++;
        break;
      case NOT_IP:
        this.nonIp++;
        break;
      case UNSUPPORTED_LINK:
        this.unsupportedLink++;
        break;
      default:
        // UNNEEDED is counted by `seen` alone.
        break;
    }
  }
}

/** Not an outcome of a frame: the datagram is no tunnel's. */
const NO_TUNNEL = -100;
