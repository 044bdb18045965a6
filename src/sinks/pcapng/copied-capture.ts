import { NANOS_PER_SECOND } from '../../model/time.js';
import type { PcapngOption } from './block-buffer.js';
import type { CopiedBlock, CopiedPcap } from './capture-survey.js';
import { COMMENT_START } from './comment.js';
import { isSoundBody, NAME_RESOLUTION, namesIn, writeTurned } from './copied-body.js';
import { optionsIn, padded } from './copied-options.js';
import type { OneSection } from './one-section.js';
import {
  PACKET_BROADCAST,
  PACKET_INBOUND,
  PACKET_MULTICAST,
  PACKET_OUTBOUND,
  PACKET_PROMISCUOUS,
  PACKET_UNICAST,
  stampWords,
} from './section-writer.js';
import { turnedOption } from './turned-option.js';

// draft-ietf-opsawg-pcapng, sections 4 and 11.1.
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
/** Obsolete, still written by some. */
const PACKET = 2;
const SIMPLE_PACKET = 3;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;

const COMMENT = 1;
const IF_DESCRIPTION = 3;
const IF_TSRESOL = 9;
const IF_FCSLEN = 13;
const EPB_FLAGS = 2;
const EPB_DROPCOUNT = 4;

/** In an old packet block all ones say that nobody counted, and an interface has 16 bits. */
const DROPS_UNKNOWN = 0xffff;
const MAX_OLD_NUMBER = 0xffff;

/** if_tsresol: times count in 10^-6 and 10^-9 s. */
const MICROSECONDS = new Uint8Array([6]);
const NANOSECONDS = new Uint8Array([9]);

/** epb_flags by sll_pkttype (linux/if_packet.h): to us, to all, to a group, to another host, from us. */
const FLAGS = [
  PACKET_INBOUND | PACKET_UNICAST,
  PACKET_INBOUND | PACKET_BROADCAST,
  PACKET_INBOUND | PACKET_MULTICAST,
  PACKET_INBOUND | PACKET_PROMISCUOUS,
  PACKET_OUTBOUND,
];
/** Interfaces of one patched pcap; those beyond share one. A node has some hundred. */
const MAX_INTERFACES = 4_096;

const OURS = new TextEncoder().encode(COMMENT_START);

/** A record of a pcap. */
export interface CopiedRecord {
  readonly bytes: Uint8Array;
  readonly frame: number;
  readonly captured: number;
  readonly onWire: number;
  readonly seconds: number;
  readonly fraction: number;
  readonly index?: number;
  readonly packetType?: number;
}

interface Interface {
  /** In the output. */
  readonly number: number;
  readonly snapLength: number;
}

/**
 * Copies one capture, thing by thing as a reader finds them, into the section that holds them all. A pcapng's blocks stay as
 * they are but for the numbers of its interfaces, the byte order where the section has the other one, and packets' comments:
 * those of an earlier run of whichpod go, the new one comes behind the rest. What Wireshark could not read past (options
 * that run out of their block, statistics of no interface) is left out and counted.
 */
export class CopiedCapture {
  private readonly section: OneSection;
  private readonly name: string;
  /** Of the capture's own section that is being read. */
  private interfaces: Interface[] = [];
  private pcap: CopiedPcap | undefined;
  /** Interfaces of a patched pcap, by the kernel's numbers. */
  private readonly numbers = new Map<number, number>();
  private readonly stamp = new Uint32Array(2);

  /** `name`: of the file. */
  constructor(section: OneSection, name: string) {
    this.section = section;
    this.name = name;
  }

  /** Begins a pcap. */
  begin(pcap: CopiedPcap): void {
    this.pcap = pcap;
    this.interfaces = [{ number: this.declare(pcap, undefined), snapLength: 0 }];
  }

  /** A packet of that pcap. */
  record(record: CopiedRecord, comment: string | undefined): void {
    const { pcap, stamp } = this;
    const { out } = this.section;
    const [first] = this.interfaces;
    if (pcap === undefined || first === undefined) return;
    const { index, packetType } = record;
    const number = index === undefined ? first.number : this.numberOf(pcap, index, first.number);
    this.setStamp(pcap, record);
    out.begin(ENHANCED_PACKET);
    out.u32(number);
    out.u32(stamp[0] ?? 0);
    out.u32(stamp[1] ?? 0);
    out.u32(record.captured);
    out.u32(record.onWire);
    out.padded(record.bytes, record.frame, record.captured);
    const flags = packetType === undefined ? undefined : FLAGS[packetType];
    if (flags !== undefined) out.optionU32(EPB_FLAGS, flags);
    if (comment !== undefined) out.option(COMMENT, comment);
    if (flags !== undefined || comment !== undefined) out.endOfOptions();
    out.end();
  }

  /** A block of a pcapng; a packet's with a comment beside those that others gave it. */
  block(block: CopiedBlock, comment: string | undefined): void {
    const { type, bytes, at, size, little } = block;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    switch (type) {
      case SECTION_HEADER:
        // The one section has begun.
        this.interfaces = [];
        break;
      case INTERFACE_DESCRIPTION:
        this.describe(block, view);
        break;
      case INTERFACE_STATISTICS:
        this.statistics(block, view);
        break;
      case ENHANCED_PACKET: {
        const number = this.interfaces[view.getUint32(at + 8, little)]?.number;
        if (block.contradictory || number === undefined) this.leaveOut();
        else this.packet(block, view, number, comment);
        break;
      }
      case PACKET: {
        const number = this.interfaces[view.getUint16(at + 8, little)]?.number;
        if (block.contradictory || number === undefined) this.leaveOut();
        else this.oldPacket(block, view, number, comment);
        break;
      }
      case SIMPLE_PACKET:
        this.simplePacket(block, view);
        break;
      default: {
        const body = { type, bytes, view, at, size, little };
        if (!isSoundBody(body)) {
          this.leaveOut();
          break;
        }
        if (type === NAME_RESOLUTION) {
          for (const { address, name } of namesIn(body)) this.section.hear(address, name);
        }
        const { out } = this.section;
        out.begin(type);
        if (little === out.little) out.padded(bytes, at + 8, size - 12);
        else if (!writeTurned(out, body)) this.section.unturned++;
        out.end();
        break;
      }
    }
  }

  private leaveOut(): void {
    this.section.leftOut.blocks++;
  }

  private describe(block: CopiedBlock, view: DataView): void {
    const { at, little } = block;
    const { out, snapLength } = this.section;
    const own = view.getUint32(at + 12, little);
    const stated = snapLength ?? own;
    this.interfaces.push({ number: this.section.declare(), snapLength: own });
    out.begin(INTERFACE_DESCRIPTION);
    out.u16(view.getUint16(at + 8, little));
    out.u16(view.getUint16(at + 10, little));
    out.u32(stated);
    this.options(block, view, 16, remark(own, stated));
    out.end();
  }

  private statistics(block: CopiedBlock, view: DataView): void {
    const { at, size, little } = block;
    const number = size < 24 ? undefined : this.interfaces[view.getUint32(at + 8, little)]?.number;
    if (number === undefined) {
      this.leaveOut();
      return;
    }
    const { out } = this.section;
    out.begin(INTERFACE_STATISTICS);
    out.u32(number);
    out.u32(view.getUint32(at + 12, little));
    out.u32(view.getUint32(at + 16, little));
    this.options(block, view, 20, []);
    out.end();
  }

  private packet(
    block: CopiedBlock,
    view: DataView,
    number: number,
    comment: string | undefined,
  ): void {
    const { out } = this.section;
    out.begin(ENHANCED_PACKET);
    out.u32(number);
    this.packetOf(block, view, commented(comment));
    out.end();
  }

  private oldPacket(
    block: CopiedBlock,
    view: DataView,
    number: number,
    comment: string | undefined,
  ): void {
    const { out } = this.section;
    const drops = view.getUint16(block.at + 10, block.little);
    if (number <= MAX_OLD_NUMBER) {
      out.begin(PACKET);
      out.u16(number);
      out.u16(drops);
      this.packetOf(block, view, commented(comment));
    } else {
      // With a number that the old one has no room for it is a new one, whose options have the same codes.
      const counted = new Uint8Array(8);
      new DataView(counted.buffer).setBigUint64(0, BigInt(drops), out.little);
      out.begin(ENHANCED_PACKET);
      out.u32(number);
      const told = drops === DROPS_UNKNOWN ? [] : [{ code: EPB_DROPCOUNT, value: counted }];
      this.packetOf(block, view, [...told, ...commented(comment)]);
    }
    out.end();
  }

  /** Time, lengths, frame and options, which stand at the same places in packet blocks old and new. */
  private packetOf(block: CopiedBlock, view: DataView, more: readonly PcapngOption[]): void {
    const { bytes, at, little } = block;
    const { out } = this.section;
    const captured = view.getUint32(at + 20, little);
    out.u32(view.getUint32(at + 12, little));
    out.u32(view.getUint32(at + 16, little));
    out.u32(captured);
    out.u32(view.getUint32(at + 24, little));
    out.padded(bytes, at + 28, captured);
    this.options(block, view, 28 + padded(captured), more);
  }

  /** It is always of its section's first interface, and as long as that one's snap length lets it be. */
  private simplePacket(block: CopiedBlock, view: DataView): void {
    const { bytes, at, size, little } = block;
    const [first] = this.interfaces;
    if (block.contradictory || first === undefined) {
      this.leaveOut();
      return;
    }
    const { out } = this.section;
    const onWire = view.getUint32(at + 8, little);
    const limit = first.snapLength === 0 ? size - 16 : first.snapLength;
    const captured = Math.min(onWire, limit, size - 16);
    const { snapLength = first.snapLength } = this.section;
    const isOfFirst = first.number === 0 && snapLength === first.snapLength;
    if (isOfFirst) {
      out.begin(SIMPLE_PACKET);
    } else {
      out.begin(ENHANCED_PACKET);
      out.u32(first.number);
      // It has no time, and 0 is what readers make of that.
      out.u32(0);
      out.u32(0);
      out.u32(captured);
    }
    out.u32(onWire);
    out.padded(bytes, at + 12, isOfFirst ? size - 16 : captured);
    out.end();
  }

  /** The options that begin `from` bytes behind a block's own beginning, and more. */
  private options(
    block: CopiedBlock,
    view: DataView,
    from: number,
    more: readonly PcapngOption[],
  ): void {
    const { type, bytes, at, size, little } = block;
    const { out, leftOut } = this.section;
    const isPacket = type === ENHANCED_PACKET || type === PACKET;
    const end = at + size - 4;
    const shorter = view.getUint32(at + 4, little) - size;
    const found = optionsIn({ type, bytes, view, from: at + from, end, little, shorter });
    leftOut.options += found.wrong;
    for (const { code, value } of found.sound) {
      if (isPacket && code === COMMENT && isOurs(value)) continue;
      out.option(code, little === out.little ? value : turnedOption(type, code, value));
    }
    for (const { code, value } of more) out.option(code, value);
    if (found.ended || found.sound.length > 0 || more.length > 0) out.endOfOptions();
  }

  private declare(pcap: CopiedPcap, index: number | undefined): number {
    const { out, several, snapLength } = this.section;
    const stated = snapLength ?? pcap.snapLength;
    const described = [
      ...(several ? [this.name] : []),
      ...(index === undefined ? [] : [`interface index ${index}`]),
    ];
    out.begin(INTERFACE_DESCRIPTION);
    // LINKTYPE_ values have 16 bits; none beyond is given out.
    out.u16(pcap.linkType & 0xffff);
    out.u16(0);
    out.u32(stated);
    if (described.length > 0) out.option(IF_DESCRIPTION, described.join(', '));
    out.option(IF_TSRESOL, pcap.nanosPerUnit === 1 ? NANOSECONDS : MICROSECONDS);
    if (pcap.checkBytes !== undefined) out.option(IF_FCSLEN, new Uint8Array([pcap.checkBytes]));
    for (const { code, value } of remark(pcap.snapLength, stated)) out.option(code, value);
    out.endOfOptions();
    out.end();
    return this.section.declare();
  }

  private numberOf(pcap: CopiedPcap, index: number, otherwise: number): number {
    const known = this.numbers.get(index);
    if (known !== undefined) return known;
    if (this.numbers.size === MAX_INTERFACES) return otherwise;
    const number = this.declare(pcap, index);
    this.numbers.set(index, number);
    return number;
  }

  private setStamp({ nanosPerUnit }: CopiedPcap, { seconds, fraction }: CopiedRecord): void {
    const { stamp } = this;
    if (nanosPerUnit === 1) {
      const whole = Math.floor(fraction / NANOS_PER_SECOND);
      stampWords(seconds + whole, fraction % NANOS_PER_SECOND, stamp);
      return;
    }
    // Below 2^53.
    const micros = seconds * 1e6 + fraction;
    stamp[0] = Math.floor(micros / 0x1_0000_0000);
    stamp[1] = micros % 0x1_0000_0000;
  }
}

/** The snap length that an interface had, where it states another one. */
function remark(own: number, stated: number): readonly PcapngOption[] {
  return own === stated ? [] : [{ code: COMMENT, value: `recorded with a snap length of ${own}` }];
}

function commented(comment: string | undefined): readonly PcapngOption[] {
  return comment === undefined ? [] : [{ code: COMMENT, value: comment }];
}

function isOurs(value: Uint8Array): boolean {
  return value.length >= OURS.length && OURS.every((byte, i) => value[i] === byte);
}
