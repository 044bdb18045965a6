import type { Nanos } from '../../model/time.js';
import { BlockBuffer, type PcapngOption } from './block-buffer.js';
import { type NameRecord, writeNames } from './names-block.js';

// draft-ietf-opsawg-pcapng, sections 4 and 11.1.
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

const COMMENT = 1;
const SHB_HARDWARE = 2;
const SHB_OS = 3;
const SHB_APPLICATION = 4;
const IF_NAME = 2;
const IF_DESCRIPTION = 3;
const IF_TSRESOL = 9;
const EPB_FLAGS = 2;
const ISB_STARTTIME = 2;
const ISB_ENDTIME = 3;
const ISB_IFRECV = 4;
const ISB_IFDROP = 5;
const ISB_OSDROP = 7;

/** if_tsresol: times count in 10^-9 s. */
const NANOSECONDS = new Uint8Array([9]);

/** epb_flags, bits 0 to 1: where the packet went. */
export const PACKET_INBOUND = 1;
export const PACKET_OUTBOUND = 2;
/** epb_flags, bits 2 to 4: how it was addressed; "promiscuous" is to another host. */
export const PACKET_UNICAST = 1 << 2;
export const PACKET_MULTICAST = 2 << 2;
export const PACKET_BROADCAST = 3 << 2;
export const PACKET_PROMISCUOUS = 4 << 2;

export interface SectionOptions {
  /** What wrote it, `whichpod 1.2.3`. */
  readonly application?: string;
  readonly hardware?: string;
  readonly os?: string;
  readonly comments?: readonly string[];
  /** Further options, or those of a section that is copied. */
  readonly options?: readonly PcapngOption[];
  /** Default: little-endian. */
  readonly bigEndian?: boolean;
}

export interface InterfaceDescription {
  /** LINKTYPE_ value. */
  readonly linkType: number;
  /** 0: no limit. */
  readonly snapLength: number;
  readonly name?: string;
  readonly description?: string;
  /** Without it times are in nanoseconds, and if_tsresol says so. With it the options say it, or it is 6. */
  readonly options?: readonly PcapngOption[];
}

/** One packet. `bytes` may be used again after the call. */
export interface PacketBlock {
  /** Number that `interface` gave. */
  readonly interface: number;
  /** The time stamp's two words, in the interface's resolution: see `stampWords`. */
  readonly high: number;
  readonly low: number;
  readonly bytes: Uint8Array;
  /** The part of `bytes` that is the packet. */
  readonly from: number;
  readonly captured: number;
  readonly onWire: number;
  /** PACKET_ constants; absent: nothing is known. */
  readonly flags?: number;
  readonly comments?: readonly string[];
  readonly options?: readonly PcapngOption[];
}

export interface InterfaceCounts {
  readonly time: Nanos;
  readonly start?: Nanos;
  readonly end?: Nanos;
  readonly received?: number;
  /** Dropped by the interface, and by the operating system. */
  readonly dropped?: number;
  readonly droppedBySystem?: number;
}

/**
 * Writes one pcapng section (draft-ietf-opsawg-pcapng) into memory; the header is there from the
 * beginning. Whoever owns it takes the finished blocks with `take` and puts them where they belong: what
 * was taken is always whole blocks. Nothing is thrown; interfaces must be declared before their packets.
 */
export class SectionWriter {
  private readonly out: BlockBuffer;
  private interfaces = 0;

  constructor(options: SectionOptions = {}) {
    this.out = new BlockBuffer(options.bigEndian !== true);
    const { out } = this;
    out.begin(SECTION_HEADER);
    out.u32(BYTE_ORDER_MAGIC);
    out.u16(1);
    out.u16(0);
    // Section length -1: not known, the section goes on to the next header or the end.
    out.u32(0xffff_ffff);
    out.u32(0xffff_ffff);
    this.text(SHB_HARDWARE, options.hardware);
    this.text(SHB_OS, options.os);
    this.text(SHB_APPLICATION, options.application);
    this.rest(options.comments, options.options);
    out.endOfOptions();
    out.end();
  }

  /** Bytes that wait to be taken. */
  get waiting(): number {
    return this.out.length;
  }

  /** The blocks written since the last call; may be read until the next block is written. */
  take(): Uint8Array {
    return this.out.take();
  }

  /** Declares an interface; the number that its packets bear. */
  interface(described: InterfaceDescription): number {
    const { out } = this;
    out.begin(INTERFACE_DESCRIPTION);
    out.u16(described.linkType);
    out.u16(0);
    out.u32(described.snapLength);
    this.text(IF_NAME, described.name);
    this.text(IF_DESCRIPTION, described.description);
    if (described.options === undefined) out.option(IF_TSRESOL, NANOSECONDS);
    this.rest(undefined, described.options);
    out.endOfOptions();
    out.end();
    return this.interfaces++;
  }

  packet(packet: PacketBlock): void {
    const { out } = this;
    out.begin(ENHANCED_PACKET);
    out.u32(packet.interface);
    out.u32(packet.high);
    out.u32(packet.low);
    out.u32(packet.captured);
    out.u32(packet.onWire);
    out.padded(packet.bytes, packet.from, packet.captured);
    const { flags, comments, options } = packet;
    if (flags !== undefined || comments !== undefined || options !== undefined) {
      if (flags !== undefined) out.optionU32(EPB_FLAGS, flags);
      this.rest(comments, options);
      out.endOfOptions();
    }
    out.end();
  }

  /** Names of addresses, from here on. What is no address is left out; nothing is written for none. */
  names(records: readonly NameRecord[]): void {
    writeNames(this.out, records);
  }

  /** The counters of an interface so far. */
  statistics(number: number, counts: InterfaceCounts): void {
    const { out } = this;
    out.begin(INTERFACE_STATISTICS);
    out.u32(number);
    out.time(counts.time);
    if (counts.start !== undefined) out.optionTime(ISB_STARTTIME, counts.start);
    if (counts.end !== undefined) out.optionTime(ISB_ENDTIME, counts.end);
    if (counts.received !== undefined) out.optionU64(ISB_IFRECV, BigInt(counts.received));
    if (counts.dropped !== undefined) out.optionU64(ISB_IFDROP, BigInt(counts.dropped));
    if (counts.droppedBySystem !== undefined) {
      out.optionU64(ISB_OSDROP, BigInt(counts.droppedBySystem));
    }
    out.endOfOptions();
    out.end();
  }

  /** A block of any other type: its body as it is, padded. */
  block(type: number, body: Uint8Array): void {
    const { out } = this;
    out.begin(type);
    out.padded(body, 0, body.length);
    out.end();
  }

  private text(code: number, text: string | undefined): void {
    if (text !== undefined) this.out.option(code, text);
  }

  private rest(
    comments: readonly string[] | undefined,
    options: readonly PcapngOption[] | undefined,
  ): void {
    for (const comment of comments ?? []) this.out.option(COMMENT, comment);
    for (const { code, value } of options ?? []) this.out.option(code, value);
  }
}

/** A moment in nanoseconds since 1970 as the two words of a time stamp, without bigint: there is one a packet. */
export function stampWords(seconds: number, nanoseconds: number, into: Uint32Array): void {
  // seconds * 10^9 in two halves, so that nothing leaves the exact doubles.
  const upper = (seconds >>> 16) * 1e9;
  const low =
    (upper % 0x1_0000) * 0x1_0000 + (((seconds & 0xffff) * 1e9) % 0x1_0000_0000) + nanoseconds;
  into[0] =
    Math.floor(upper / 0x1_0000) +
    Math.floor(((seconds & 0xffff) * 1e9) / 0x1_0000_0000) +
    Math.floor(low / 0x1_0000_0000);
  into[1] = low % 0x1_0000_0000;
}
