import {
  DIRECTION_IN,
  DIRECTION_OUT,
  DIRECTION_UNKNOWN,
  P_DIRECTION,
  P_INTERFACE,
  P_LATENESS,
  P_NSEC,
  P_RESOLUTION,
  P_SEC,
} from '../../model/packet.js';
import { RECORDING_APPLICATION } from '../record/state-block.js';
import type { Intake, Span } from './intake.js';
import { isSupportedLink, type Place, placeOf } from './link.js';
import { type Stamp, TimeScale } from './stamp.js';
import { NOT_STRAIGHT } from './straight-form.js';

/**
 * pcapng: draft-ietf-opsawg-pcapng. Blocks of type, length, body, length again; a section header tells
 * the byte order of all that follows until the next one, and begins the numbering of interfaces anew.
 */
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
/** Obsolete, still written by some. */
const PACKET = 2;
const SIMPLE_PACKET = 3;
const INTERFACE_STATISTICS = 5;
const ENHANCED_PACKET = 6;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
/** Type, length and byte-order magic: what must be at hand to know a section header's length. */
const SECTION_START_BYTES = 12;
const BLOCK_START_BYTES = 8;

/** libpcap's INITIAL_MAX_BLOCKSIZE: a longer block is taken for damage, not waited for. */
const MAX_BLOCK_BYTES = 16 * 1024 * 1024;
/**
 * Interfaces declared in one file, over all its sections. Each costs some hundred bytes, so a hostile
 * file is stopped at about 100 MB; a thousand recordings of a node with 200 Pods in one file still pass.
 */
const MAX_INTERFACES = 262_144;

const OPTION_END = 0;
const SHB_APPLICATION = 4;
const IF_NAME = 2;
const IF_TSRESOL = 9;
const IF_TSOFFSET = 14;
/** The same in packet blocks old and new. */
const PACKET_FLAGS = 2;
const ISB_IFRECV = 4;
const ISB_IFDROP = 5;
const ISB_OSDROP = 7;

/** Microseconds, where if_tsresol is absent. */
const DEFAULT_TSRESOL = 6;

/** What a capture program says that it received and lost; numbers that it does not say are absent. */
interface InterfaceStatistics {
  /** Identifier of the interface in the run's `Interfaces`. */
  readonly interface: number;
  readonly received?: number;
  readonly droppedByInterface?: number;
  readonly droppedBySystem?: number;
}

interface Described {
  readonly linkType: number;
  readonly supported: boolean;
  /** Where the straight road can be tried. */
  readonly place: Place | undefined;
  readonly snapLength: number;
  readonly scale: TimeScale;
  readonly name?: string;
  /** Identifier in the run's `Interfaces`, -1 until a row or statistics need it. */
  id: number;
  /** The last statistics block counts: its numbers run from the start of the capture. */
  statistics?: InterfaceStatistics;
}

/** Reads the blocks of one file. */
export class PcapngFile {
  /** Bytes that the next item needs, as far as is known. */
  wanted = SECTION_START_BYTES;
  private readonly intake: Intake;
  private little = true;
  private interfaces: Described[] = [];
  /** Statistics of the sections that have ended. */
  private readonly endedStatistics: InterfaceStatistics[] = [];
  /** Lost between packets, as old packet blocks tell. */
  private droppedBetween = 0;
  private blocks = 0;
  /** The block that was read last is the section header of a whichpod recording. */
  private beginsRecording = false;
  /** The packet block that was read last contradicts itself. */
  private contradictory = false;
  private declared = 0;
  private readonly time: Stamp = { seconds: 0, nanoseconds: 0 };

  constructor(intake: Intake) {
    this.intake = intake;
  }

  /** The last word of each interface's statistics blocks. */
  statistics(): InterfaceStatistics[] {
    return [...this.endedStatistics, ...statisticsOf(this.interfaces)];
  }

  /** Packets that the capturing program says it lost. */
  reportedDrops(): number {
    let drops = this.droppedBetween;
    for (const { droppedByInterface, droppedBySystem } of this.statistics()) {
      drops += (droppedByInterface ?? 0) + (droppedBySystem ?? 0);
    }
    return drops;
  }

  /** Reads whole blocks from `at`; returns where the first unfinished one begins. */
  run(span: Span, from: number, end: number): number {
    const { view } = span;
    let at = from;
    for (;;) {
      if (end - at < BLOCK_START_BYTES) {
        this.wanted = BLOCK_START_BYTES;
        return at;
      }
      const type = view.getUint32(at, this.little);
      if (type === SECTION_HEADER) {
        if (end - at < SECTION_START_BYTES) {
          this.wanted = SECTION_START_BYTES;
          return at;
        }
        if (!this.readByteOrder(span, at)) return at;
      }
      // Signed, so that nothing here leaves the integers: a negative one is far too long.
      const said = view.getInt32(at + 4, this.little);
      if (said < 12 || (said & 3) !== 0 || said > MAX_BLOCK_BYTES) {
        this.stopAtLength(span, at, said >>> 0);
        return at;
      }
      if (end - at < said) {
        this.wanted = said;
        return at;
      }
      const describes = type === INTERFACE_DESCRIPTION || type === SECTION_HEADER;
      const size = describes ? this.sizeOfDescription(span, at, said) : said;
      if (view.getInt32(at + size - 4, this.little) !== said) {
        this.stopAtTrailer(span, at, said);
        return at;
      }
      this.blocks++;
      const { rows, tap } = this.intake;
      const before = rows.length;
      this.contradictory = false;
      this.beginsRecording = false;
      if (type === ENHANCED_PACKET) {
        this.readEnhancedPacket(span, at, size);
      } else {
        this.readOther(span, at, size, type, size < said);
        if (this.intake.faults.fatal) return at;
      }
      if (tap !== undefined) {
        const { little, contradictory } = this;
        const row = rows.length > before ? before * rows.stride : -1;
        const time = contradictory ? undefined : this.timeOf(span, at, type);
        const found = { type, bytes: span.bytes, at, size, little, contradictory };
        tap.block(time === undefined ? found : { ...found, time }, rows.words, row);
      }
      at += size;
    }
  }

  /**
   * The real size of a section header or interface description that says `said`. There are recordings
   * whose descriptive text (host, operating system) was shortened afterwards, without the lengths: such a
   * block ends before its length says, at a word that repeats this length and is followed by another
   * block. What we need of it stands before that text.
   */
  private sizeOfDescription(span: Span, at: number, said: number): number {
    const { view } = span;
    for (let size = said - 8; size >= 12; size -= 4) {
      const trailer = at + size - 4;
      if (view.getUint32(trailer, this.little) === said && this.isBlock(view, at + size)) {
        this.intake.faults.record(
          'pcapng-block-shorter',
          0,
          { offset: span.offset + at, record: this.blocks + 1 },
          `a description is ${said - size} bytes shorter than its length says`,
          'it was read as it is; other programs refuse such a file',
          false,
        );
        return size;
      }
    }
    return said;
  }

  /** Whether a block of a usual kind and a possible length begins at `at`. */
  private isBlock(view: DataView, at: number): boolean {
    const type = view.getUint32(at, this.little);
    if (type === SECTION_HEADER) return true;
    const size = view.getUint32(at + 4, this.little);
    const usual = type >= INTERFACE_DESCRIPTION && type <= ENHANCED_PACKET;
    return usual && size >= 12 && (size & 3) === 0 && size <= MAX_BLOCK_BYTES;
  }

  /** The input ended where `held` bytes of an item were at hand. */
  endWithin(offset: number, held: number): void {
    const message = `the last block is cut: ${held} of ${this.wanted} bytes are there`;
    const where = { offset, record: this.blocks + 1 };
    this.intake.faults.cutAtEnd('pcapng-block-cut', where, message);
  }

  /** The input ended behind a block. Only where a recording has but begun is it known that more should come. */
  endBehind(offset: number): void {
    if (!this.beginsRecording) return;
    const message = 'a whichpod recording is cut behind its section header';
    this.intake.faults.cutAtEnd('pcapng-block-cut', { offset, record: this.blocks + 1 }, message);
  }

  /** Fixed part: interface 4, time 4 + 4, captured 4, on wire 4; then frame, padding, options. */
  private readEnhancedPacket(span: Span, at: number, size: number): void {
    const { view } = span;
    const { little, intake } = this;
    intake.packets++;
    if (size < 32) {
      this.skipPacket(span, at, -1, 0);
      return;
    }
    const number = view.getInt32(at + 8, little);
    const captured = view.getInt32(at + 20, little);
    const described =
      number >= 0 && number < this.interfaces.length ? this.interfaces[number] : undefined;
    if (described === undefined || captured < 0 || captured > size - 32) {
      this.skipPacket(span, at, number >>> 0, captured >>> 0);
      return;
    }
    if (!described.supported) {
      intake.unsupportedLink(described.linkType, span.offset + at, this.blocks);
      return;
    }
    let row =
      described.place === undefined
        ? NOT_STRAIGHT
        : intake.frames.decodeStraight(described.place, view, at + 28, captured);
    if (row === NOT_STRAIGHT) {
      const onWire = view.getUint32(at + 24, little);
      row = intake.frames.decodeFully(described.linkType, span.bytes, at + 28, captured, onWire);
    }
    if (row < 0) return;
    this.setTime(described, view.getUint32(at + 12, little), view.getUint32(at + 16, little), row);
    this.setPlace(described, span, at + 28 + padded(captured), at + size - 4, row);
  }

  /** `shortened`: the block is shorter than it says, and that was told. */
  private readOther(span: Span, at: number, size: number, type: number, shortened: boolean): void {
    switch (type) {
      case SECTION_HEADER:
        this.readSection(span, at, size);
        break;
      case INTERFACE_DESCRIPTION:
        this.readInterface(span, at, size, shortened);
        break;
      case PACKET:
        this.readPacket(span, at, size);
        break;
      case SIMPLE_PACKET:
        this.readSimplePacket(span, at, size);
        break;
      case INTERFACE_STATISTICS:
        this.readStatistics(span, at, size);
        break;
      default:
        // Name resolution, decryption secrets, custom blocks …: nothing for us.
        break;
    }
  }

  /** The time of a sound packet block, also of one that is not decoded. */
  private timeOf({ view }: Span, at: number, type: number): Stamp | undefined {
    const { little } = this;
    let described: Described | undefined;
    if (type === ENHANCED_PACKET) described = this.interfaces[view.getUint32(at + 8, little)];
    else if (type === PACKET) described = this.interfaces[view.getUint16(at + 8, little)];
    described?.scale.read(
      view.getUint32(at + 12, little),
      view.getUint32(at + 16, little),
      this.time,
    );
    return described === undefined ? undefined : this.time;
  }

  /** Sets the order of the section that begins at `at`; false after telling that there is none. */
  private readByteOrder(span: Span, at: number): boolean {
    const { view } = span;
    if (view.getUint32(at + 8, true) === BYTE_ORDER_MAGIC) {
      this.little = true;
      return true;
    }
    if (view.getUint32(at + 8, false) === BYTE_ORDER_MAGIC) {
      this.little = false;
      return true;
    }
    this.intake.faults.stop(
      'pcapng-byte-order',
      { offset: span.offset + at + 8, record: this.blocks + 1 },
      'the section header has no byte-order magic',
      'the file is damaged here: what came before counts; record it again',
    );
    return false;
  }

  /** Byte-order magic 4, version 2 + 2, section length 8 (not needed), options. */
  private readSection(span: Span, at: number, size: number): void {
    this.endedStatistics.push(...statisticsOf(this.interfaces));
    this.interfaces = [];
    if (size < 28) {
      this.stopAtLength(span, at, size);
      return;
    }
    const major = span.view.getUint16(at + 12, this.little);
    const minor = span.view.getUint16(at + 14, this.little);
    // 1.2 was written by mistake and is the same (the draft, section 4.1).
    if (major !== 1 || (minor !== 0 && minor !== 2)) {
      this.intake.faults.stop(
        'pcapng-version',
        { offset: span.offset + at + 12, record: this.blocks },
        `pcapng version ${major}.${minor} is not known, only 1.0 and 1.2 are`,
        'convert the file with a current editcap',
      );
    }
    const end = at + size - 4;
    // What a header says about itself is of no other use, so damage to it is not told.
    for (let option = at + 24; this.hasOption(span, option, end, true); ) {
      const length = span.view.getUint16(option + 2, this.little);
      if (span.view.getUint16(option, this.little) === SHB_APPLICATION) {
        const application = textOf(span.bytes, option + 4, length);
        this.beginsRecording = application.startsWith(RECORDING_APPLICATION);
      }
      option += 4 + padded(length);
    }
  }

  /** Link type 2, reserved 2, snap length 4, options. */
  private readInterface(span: Span, at: number, size: number, shortened: boolean): void {
    const { view } = span;
    if (size < 20) {
      this.stopAtLength(span, at, size);
      return;
    }
    if (this.declared === MAX_INTERFACES) {
      this.intake.faults.stop(
        'pcapng-too-many-interfaces',
        { offset: span.offset + at, record: this.blocks },
        `more than ${MAX_INTERFACES} interfaces are declared`,
        'the file is damaged here: what came before counts; record it again',
      );
      return;
    }
    this.declared++;
    const linkType = view.getUint16(at + 8, this.little);
    let name: string | undefined;
    let tsresol = DEFAULT_TSRESOL;
    let offsetSeconds = 0;
    const end = at + size - 4;
    for (let option = at + 16; this.hasOption(span, option, end, shortened); ) {
      const length = view.getUint16(option + 2, this.little);
      const value = option + 4;
      switch (view.getUint16(option, this.little)) {
        case IF_NAME:
          name = textOf(span.bytes, value, length);
          break;
        case IF_TSRESOL:
          if (length === 1) tsresol = view.getUint8(value);
          break;
        case IF_TSOFFSET:
          if (length === 8) offsetSeconds = Number(this.signed64(view, value));
          break;
        default:
          break;
      }
      option = value + padded(length);
    }
    // `any` is libpcap's word for all interfaces, not the name of one.
    const named = name === undefined || name === '' || name === 'any' ? {} : { name };
    this.interfaces.push({
      linkType,
      supported: isSupportedLink(linkType),
      place: placeOf(linkType),
      snapLength: view.getUint32(at + 12, this.little),
      scale: new TimeScale(tsresol, offsetSeconds),
      ...named,
      id: -1,
    });
  }

  /** Interface 2, drops 2, time 4 + 4, captured 4, on wire 4; then frame, padding, options. */
  private readPacket(span: Span, at: number, size: number): void {
    const { view } = span;
    const { little, intake } = this;
    intake.packets++;
    const described = size < 32 ? undefined : this.interfaces[view.getUint16(at + 8, little)];
    const captured = size < 32 ? 0 : view.getUint32(at + 20, little);
    if (described === undefined || captured > size - 32) {
      this.skipPacket(span, at, size < 32 ? -1 : view.getUint16(at + 8, little), captured);
      return;
    }
    const drops = view.getUint16(at + 10, little);
    // 0xffff says that nobody counted.
    if (drops !== 0xffff) this.droppedBetween += drops;
    if (!described.supported) {
      intake.unsupportedLink(described.linkType, span.offset + at, this.blocks);
      return;
    }
    const onWire = view.getUint32(at + 24, little);
    const row = intake.frames.decode(described.linkType, span.bytes, at + 28, captured, onWire);
    if (row < 0) return;
    this.setTime(described, view.getUint32(at + 12, little), view.getUint32(at + 16, little), row);
    this.setPlace(described, span, at + 28 + padded(captured), at + size - 4, row);
  }

  /** On wire 4, then the frame: always of interface 0, cut to its snap length, without a time. */
  private readSimplePacket(span: Span, at: number, size: number): void {
    const { intake } = this;
    intake.packets++;
    const described = this.interfaces[0];
    if (described === undefined || size < 16) {
      this.skipPacket(span, at, size < 16 ? -1 : 0, 0);
      return;
    }
    if (!described.supported) {
      intake.unsupportedLink(described.linkType, span.offset + at, this.blocks);
      return;
    }
    const onWire = span.view.getUint32(at + 8, this.little);
    const limit = described.snapLength === 0 ? size - 16 : described.snapLength;
    const captured = Math.min(onWire, limit, size - 16);
    const row = intake.frames.decode(described.linkType, span.bytes, at + 12, captured, onWire);
    if (row < 0) return;
    // Time and resolution stay 0, as they are unknown.
    this.setPlace(described, span, at + size, at + size, row);
    intake.faults.record(
      'pcapng-no-time',
      0,
      { offset: span.offset + at, record: this.blocks },
      'packets in simple packet blocks have no time; they count as of 1970',
      'record with enhanced packet blocks (tcpdump, dumpcap and tshark do)',
      false,
    );
  }

  /** Interface 4, time 4 + 4, options. */
  private readStatistics(span: Span, at: number, size: number): void {
    const { view } = span;
    const described = size < 24 ? undefined : this.interfaces[view.getUint32(at + 8, this.little)];
    if (described === undefined) {
      this.intake.faults.record(
        'pcapng-statistics',
        0,
        { offset: span.offset + at, record: this.blocks },
        'a statistics block is too short or names an interface that was not declared',
        'its numbers of lost packets are not known',
        false,
      );
      return;
    }
    let received: number | undefined;
    let byInterface: number | undefined;
    let bySystem: number | undefined;
    const end = at + size - 4;
    for (let option = at + 20; this.hasOption(span, option, end); ) {
      const length = view.getUint16(option + 2, this.little);
      if (length === 8) {
        const value = this.counter(view, option + 4);
        const code = view.getUint16(option, this.little);
        if (code === ISB_IFRECV) received = value;
        else if (code === ISB_IFDROP) byInterface = value;
        else if (code === ISB_OSDROP) bySystem = value;
      }
      option += 4 + padded(length);
    }
    described.statistics = {
      interface: this.idOf(described),
      ...(received === undefined ? {} : { received }),
      ...(byInterface === undefined ? {} : { droppedByInterface: byInterface }),
      ...(bySystem === undefined ? {} : { droppedBySystem: bySystem }),
    };
  }

  private setTime(described: Described, high: number, low: number, row: number): void {
    const { stamp } = this.intake;
    const { words } = this.intake.rows;
    described.scale.read(high, low, stamp);
    words[row + P_SEC] = stamp.seconds;
    words[row + P_NSEC] = stamp.nanoseconds;
    words[row + P_RESOLUTION] = described.scale.resolutionNs;
    words[row + P_LATENESS] = 0;
  }

  /** Interface, and the direction out of the packet's options if the link header told none. */
  private setPlace(
    described: Described,
    span: Span,
    options: number,
    end: number,
    row: number,
  ): void {
    const { words } = this.intake.rows;
    words[row + P_INTERFACE] = this.intake.interfaceOfLink(this.idOf(described));
    if (words[row + P_DIRECTION] !== DIRECTION_UNKNOWN) return;
    for (let option = options; this.hasOption(span, option, end); ) {
      const length = span.view.getUint16(option + 2, this.little);
      if (span.view.getUint16(option, this.little) === PACKET_FLAGS && length === 4) {
        const flags = span.view.getUint32(option + 4, this.little) & 3;
        if (flags === 1) words[row + P_DIRECTION] = DIRECTION_IN;
        else if (flags === 2) words[row + P_DIRECTION] = DIRECTION_OUT;
        return;
      }
      option += 4 + padded(length);
    }
  }

  /** Whether a whole option, not the end mark, stands at `at`. One that runs out of its block is told, unless it was. */
  private hasOption(span: Span, at: number, end: number, told = false): boolean {
    if (at >= end) return false;
    const fits = end - at >= 4;
    if (fits && span.view.getUint16(at, this.little) === OPTION_END) return false;
    if (fits && span.view.getUint16(at + 2, this.little) <= end - at - 4) return true;
    if (told) return false;
    this.intake.faults.record(
      'pcapng-option-length',
      0,
      { offset: span.offset + at, record: this.blocks },
      'an option is longer than its block',
      'the options before it count; names, resolutions or directions may be missing',
      false,
    );
    return false;
  }

  private idOf(described: Described): number {
    if (described.id < 0) {
      const { name } = described;
      described.id = this.intake.interfaceId(name === undefined ? {} : { name });
    }
    return described.id;
  }

  private signed64(view: DataView, at: number): bigint {
    return view.getBigInt64(at, this.little);
  }

  /** An unsigned 64-bit counter; all ones are how some programs write "not known". */
  private counter(view: DataView, at: number): number | undefined {
    const value = view.getBigUint64(at, this.little);
    return value === 0xffff_ffff_ffff_ffffn ? undefined : Number(value);
  }

  /** A packet block that contradicts itself (`interfaceNumber` -1: too short for its kind). */
  private skipPacket(span: Span, at: number, interfaceNumber: number, captured: number): void {
    this.contradictory = true;
    const where = { offset: span.offset + at, record: this.blocks };
    const { faults } = this.intake;
    if (interfaceNumber < 0) {
      const message = 'a packet block is too short for its own fields';
      faults.record('pcapng-packet-short', 0, where, message, DAMAGED, true);
    } else if (this.interfaces[interfaceNumber] === undefined) {
      const message = `a packet names interface ${interfaceNumber}, which its section does not declare`;
      faults.record('pcapng-interface', interfaceNumber, where, message, DAMAGED, true);
    } else {
      const message = `a packet of ${captured} bytes does not fit into its block`;
      faults.record('pcapng-packet-length', 0, where, message, DAMAGED, true);
    }
  }

  private stopAtLength(span: Span, at: number, size: number): void {
    const reason =
      size > MAX_BLOCK_BYTES
        ? `is longer than the limit of ${MAX_BLOCK_BYTES} bytes`
        : (size & 3) !== 0
          ? 'is no multiple of 4'
          : 'is too short for its kind';
    this.intake.faults.stop(
      'pcapng-block-length',
      { offset: span.offset + at + 4, record: this.blocks + 1 },
      `a block's length of ${size} ${reason}`,
      'the file is damaged here: what came before counts; record it again',
    );
  }

  private stopAtTrailer(span: Span, at: number, size: number): void {
    const trailer = span.view.getUint32(at + size - 4, this.little);
    this.intake.faults.stop(
      'pcapng-block-trailer',
      { offset: span.offset + at + size - 4, record: this.blocks + 1 },
      `a block begins with length ${size} and ends with length ${trailer}`,
      'the file is damaged here: what came before counts; record it again',
    );
  }
}

const DAMAGED =
  'these packets are skipped: the program that wrote the file has a fault, or the file is damaged';

function statisticsOf(interfaces: readonly Described[]): InterfaceStatistics[] {
  return interfaces.flatMap(({ statistics }) => (statistics === undefined ? [] : [statistics]));
}

/** Fields are padded to 32 bits. */
function padded(length: number): number {
  return (length + 3) & ~3;
}

/** UTF-8, up to a zero that some programs leave at the end. */
function textOf(bytes: Uint8Array, at: number, length: number): string {
  const text = new TextDecoder().decode(bytes.subarray(at, at + length));
  const zero = text.indexOf('\0');
  return zero < 0 ? text : text.slice(0, zero);
}
