import { NANOS_PER_SECOND } from '../../model/time.js';
import { BlockBuffer } from './block-buffer.js';
import { type CopiedOptions, copyOptions, isSoundBody } from './copied-options.js';
import { type NameRecord, writeNames } from './names-block.js';
import {
  PACKET_BROADCAST,
  PACKET_INBOUND,
  PACKET_MULTICAST,
  PACKET_OUTBOUND,
  PACKET_PROMISCUOUS,
  PACKET_UNICAST,
  stampWords,
} from './section-writer.js';

// draft-ietf-opsawg-pcapng, sections 4 and 11.1.
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
/** Obsolete, still written by some. */
const PACKET = 2;
const SIMPLE_PACKET = 3;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

const SHB_APPLICATION = 4;
const IF_DESCRIPTION = 3;
const IF_TSRESOL = 9;
const IF_FCSLEN = 13;
const EPB_FLAGS = 2;

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

/** A pcapng block: `size` bytes from `at`, whatever it says of its length. */
export interface CopiedBlock {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly size: number;
  readonly little: boolean;
  /** A packet block that contradicts itself: it is left out. */
  readonly contradictory: boolean;
}

interface CopiedPcap {
  readonly linkType: number;
  readonly snapLength: number;
  readonly checkBytes?: number;
  readonly nanosPerUnit: number;
}

interface CopiedRecord {
  readonly bytes: Uint8Array;
  readonly frame: number;
  readonly captured: number;
  readonly onWire: number;
  readonly seconds: number;
  readonly fraction: number;
  readonly index?: number;
  readonly packetType?: number;
}

/**
 * Copies captures into one pcapng, adding names and comments: pcapng as sections of their own, block by block in their own
 * byte order, pcap as a section with its one interface. Takes what a reader of captures found whole; `take`
 * gives whole blocks. What Wireshark could not read past (options that run out of their block, statistics of no
 * interface) is left out and counted.
 */
export class CaptureCopy {
  /** Blocks and options that no program can read. */
  readonly leftOut = { blocks: 0, options: 0 };
  private readonly application: string;
  private readonly out = new BlockBuffer(true);
  private before: Uint8Array[] = [];
  private declared = 0;
  private pcap: CopiedPcap | undefined;
  /** Numbers of a patched pcap's interfaces, by the kernel's. */
  private readonly numbers = new Map<number, number>();
  private readonly stamp = new Uint32Array(2);

  /** `application`: named as what made sections of pcap files. */
  constructor(application: string) {
    this.application = application;
  }

  get waiting(): number {
    return this.out.length;
  }

  /** The blocks since the last call; may be read until the next is copied. */
  take(): readonly Uint8Array[] {
    const taken = [...this.before, this.out.take()];
    this.before = [];
    return taken;
  }

  names(records: readonly NameRecord[]): void {
    writeNames(this.out, records);
  }

  /** Begins a section of a pcap file. */
  begin(pcap: CopiedPcap): void {
    this.turn(true);
    const { out } = this;
    this.pcap = pcap;
    this.numbers.clear();
    out.begin(SECTION_HEADER);
    this.sectionStart();
    out.option(SHB_APPLICATION, this.application);
    out.endOfOptions();
    out.end();
    this.declared = 0;
    this.declare(pcap, undefined);
  }

  /** A packet of that file. */
  record(record: CopiedRecord, comment: string | undefined): void {
    const { pcap, out, stamp } = this;
    if (pcap === undefined) return;
    const { index, packetType } = record;
    const number = index === undefined ? 0 : this.numberOf(pcap, index);
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
    if (comment !== undefined) out.option(1, comment);
    if (flags !== undefined || comment !== undefined) out.endOfOptions();
    out.end();
  }

  /** A block of a pcapng; a packet's with a comment beside those that it has. */
  block(block: CopiedBlock, comment: string | undefined): void {
    const { type, bytes, at, size, little } = block;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    switch (type) {
      case SECTION_HEADER:
        this.turn(little);
        this.declared = 0;
        this.out.begin(type);
        this.sectionStart(view.getUint16(at + 14, little));
        this.options(block, view, 24, undefined);
        this.out.end();
        break;
      case INTERFACE_DESCRIPTION:
        this.declared++;
        this.withOptions(block, view, 16, undefined);
        break;
      case INTERFACE_STATISTICS:
        if (size < 24 || view.getUint32(at + 8, little) >= this.declared) this.leftOut.blocks++;
        else this.withOptions(block, view, 20, undefined);
        break;
      case ENHANCED_PACKET:
      case PACKET:
        if (block.contradictory) this.leftOut.blocks++;
        else this.withOptions(block, view, 28 + padded(view.getUint32(at + 20, little)), comment);
        break;
      default:
        if (block.contradictory || !isSoundBody(block, view)) this.leftOut.blocks++;
        else this.verbatim(block);
        break;
    }
  }

  private verbatim({ type, bytes, at, size }: CopiedBlock): void {
    this.out.begin(type);
    this.out.padded(bytes, at + 8, size - 12);
    this.out.end();
  }

  /** A block whose options begin `from` bytes behind its own beginning. */
  private withOptions(
    block: CopiedBlock,
    view: DataView,
    from: number,
    comment: string | undefined,
  ): void {
    this.out.begin(block.type);
    this.out.padded(block.bytes, block.at + 8, from - 8);
    this.options(block, view, from, comment);
    this.out.end();
  }

  private options(
    block: CopiedBlock,
    view: DataView,
    from: number,
    comment: string | undefined,
  ): void {
    const { type, bytes, at, size, little } = block;
    const options: CopiedOptions = {
      type,
      bytes,
      view,
      from: at + from,
      end: at + size - 4,
      little,
      shorter: view.getUint32(at + 4, little) - size,
    };
    this.leftOut.options += copyOptions(this.out, options, comment);
  }

  /** Byte order, version, and a length that is not known, since the section grows. */
  private sectionStart(minor = 0): void {
    const { out } = this;
    out.u32(BYTE_ORDER_MAGIC);
    out.u16(1);
    out.u16(minor);
    out.u32(0xffff_ffff);
    out.u32(0xffff_ffff);
  }

  private declare(pcap: CopiedPcap, index: number | undefined): number {
    const { out } = this;
    out.begin(INTERFACE_DESCRIPTION);
    // LINKTYPE_ values have 16 bits; none beyond is given out.
    out.u16(pcap.linkType & 0xffff);
    out.u16(0);
    out.u32(pcap.snapLength);
    if (index !== undefined) out.option(IF_DESCRIPTION, `interface index ${index}`);
    out.option(IF_TSRESOL, pcap.nanosPerUnit === 1 ? NANOSECONDS : MICROSECONDS);
    if (pcap.checkBytes !== undefined) out.option(IF_FCSLEN, new Uint8Array([pcap.checkBytes]));
    out.endOfOptions();
    out.end();
    return this.declared++;
  }

  private numberOf(pcap: CopiedPcap, index: number): number {
    const known = this.numbers.get(index);
    if (known !== undefined) return known;
    if (this.numbers.size === MAX_INTERFACES) return 0;
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

  /** The byte order of the section that begins. */
  private turn(little: boolean): void {
    this.pcap = undefined;
    if (this.out.little === little) return;
    // The buffer's memory is used again.
    if (this.out.length > 0) this.before.push(this.out.take().slice());
    this.out.little = little;
  }
}

/** What a block is; a `bare` packet has no place for a comment. */
export function roleOfBlock(type: number): 'section' | 'packet' | 'bare' | 'other' {
  switch (type) {
    case SECTION_HEADER:
      return 'section';
    case ENHANCED_PACKET:
    case PACKET:
      return 'packet';
    case SIMPLE_PACKET:
      return 'bare';
    default:
      return 'other';
  }
}

/** Fields are padded to 32 bits. */
function padded(length: number): number {
  return (length + 3) & ~3;
}
