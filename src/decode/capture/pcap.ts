import { P_INTERFACE, P_LATENESS, P_NSEC, P_RESOLUTION, P_SEC } from '../../model/packet.js';
import { NANOS_PER_SECOND } from '../../model/time.js';
import type { Intake, Span } from './intake.js';
import { isSupportedLink, type Place, placeOf } from './link.js';
import { clampStamp } from './stamp.js';
import { NOT_STRAIGHT } from './straight-form.js';

/**
 * The classic capture file: draft-ietf-opsawg-pcap and libpcap's sf-pcap.c. 24 bytes of header, then
 * records of 16 bytes and the frame. All in the byte order of the machine that wrote it, which the
 * magic tells, and with it the unit of time.
 */
const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const MAGIC_NANOSECONDS = 0xa1b23c4d;
/** Alexey Kuznetsov's patched libpcap: eight more bytes a record (interface index, protocol, type). */
const MAGIC_PATCHED = 0xa1b2cd34;

export const PCAP_HEADER_BYTES = 24;
/**
 * libpcap's MAXIMUM_SNAPLEN: it writes no longer record and takes a longer one for damage. The file's
 * own snap length is not believed, since some programs write records beyond it.
 */
const MAX_RECORD_BYTES = 262_144;
/** Of the header's last word the upper bits tell of frame check sequences (LT_LINKTYPE in libpcap). */
const LINK_TYPE_BITS = 0x03ff_ffff;
const HAS_FCS = 0x0400_0000;

/** Whether four bytes begin a pcap, in either order. */
export function isPcapMagic(view: DataView, at: number): boolean {
  return isMagic(view.getUint32(at, true)) || isMagic(view.getUint32(at, false));
}

function isMagic(magic: number): boolean {
  return magic === MAGIC_MICROSECONDS || magic === MAGIC_NANOSECONDS || magic === MAGIC_PATCHED;
}

/** Reads the records of one file. */
export class PcapFile {
  /** Bytes that the next item needs, as far as is known. */
  wanted: number;
  private readonly intake: Intake;
  private readonly little: boolean;
  private readonly linkType: number;
  private readonly place: Place | undefined;
  private readonly supported: boolean;
  private readonly headerBytes: number;
  private readonly nanosPerUnit: number;

  /** From the file header, of which all `PCAP_HEADER_BYTES` are at hand. */
  constructor(intake: Intake, view: DataView, at: number) {
    this.intake = intake;
    this.little = isMagic(view.getUint32(at, true));
    const magic = view.getUint32(at, this.little);
    this.headerBytes = magic === MAGIC_PATCHED ? 24 : 16;
    this.nanosPerUnit = magic === MAGIC_NANOSECONDS ? 1 : 1_000;
    this.linkType = view.getUint32(at + 20, this.little) & LINK_TYPE_BITS;
    this.place = placeOf(this.linkType);
    this.supported = isSupportedLink(this.linkType);
    this.wanted = this.headerBytes;
    const major = view.getUint16(at + 4, this.little);
    const minor = view.getUint16(at + 6, this.little);
    if (major !== 2 || minor !== 4) {
      intake.faults.stop(
        'pcap-version',
        { offset: 4 },
        `pcap version ${major}.${minor} is not known, only 2.4 is`,
        'rewrite the file with a current tcpdump (-r OLD -w NEW) or editcap',
      );
      return;
    }
    const last = view.getUint32(at + 20, this.little);
    intake.tap?.pcap({
      linkType: this.linkType,
      snapLength: view.getUint32(at + 16, this.little),
      nanosPerUnit: this.nanosPerUnit,
      // FCS_PRESENT, and above it the length in words of 16 bits (libpcap's pcap/pcap.h).
      ...((last & HAS_FCS) !== 0 && { checkBytes: (last >>> 28) * 2 }),
    });
  }

  /** Reads whole records from `at`; returns where the first unfinished one begins. */
  run(span: Span, from: number, end: number): number {
    const { view, offset } = span;
    const { intake, little, place, headerBytes } = this;
    const { frames } = intake;
    let at = from;
    while (end - at >= headerBytes) {
      // Signed, so that nothing here leaves the integers: a negative one is far too long.
      const captured = view.getInt32(at + 8, little);
      if (captured < 0 || captured > MAX_RECORD_BYTES) {
        this.stopAtLength(captured >>> 0, offset + at);
        return at;
      }
      const frame = at + headerBytes;
      const next = frame + captured;
      if (next > end) {
        this.wanted = headerBytes + captured;
        return at;
      }
      intake.packets++;
      let row =
        place === undefined ? NOT_STRAIGHT : frames.decodeStraight(place, view, frame, captured);
      if (row === NOT_STRAIGHT) row = this.decodeFully(span, at, captured);
      if (row >= 0) this.complete(view, at, row);
      if (intake.tap !== undefined) this.tell(span, at, captured, row);
      at = next;
    }
    this.wanted = headerBytes;
    return at;
  }

  private tell({ bytes, view }: Span, at: number, captured: number, row: number): void {
    const { little, headerBytes } = this;
    const record = {
      bytes,
      frame: at + headerBytes,
      captured,
      onWire: view.getUint32(at + 12, little),
      seconds: view.getUint32(at, little),
      fraction: view.getUint32(at + 4, little),
    };
    const patched = headerBytes > 16 && {
      index: view.getUint32(at + 16, little),
      packetType: view.getUint8(at + 22),
    };
    const { tap, rows } = this.intake;
    tap?.record({ ...record, ...patched }, rows.words, row);
  }

  private decodeFully({ bytes, view, offset }: Span, at: number, captured: number): number {
    const { intake, linkType, headerBytes } = this;
    if (!this.supported) {
      intake.unsupportedLink(linkType, offset + at, intake.packets);
      return -1;
    }
    const onWire = view.getUint32(at + 12, this.little);
    return intake.frames.decodeFully(linkType, bytes, at + headerBytes, captured, onWire);
  }

  /** The input ended where `held` bytes of an item were at hand. */
  endWithin(offset: number, held: number): void {
    const record = this.intake.packets + 1;
    const message = `the last record is cut: ${held} of ${this.wanted} bytes are there`;
    this.intake.faults.cutAtEnd('pcap-record-cut', { offset, record }, message);
  }

  /** Time and interface of a row: all its words before P_DIRECTION. */
  private complete(view: DataView, at: number, row: number): void {
    const { words } = this.intake.rows;
    words[row + P_LATENESS] = 0;
    const seconds = view.getUint32(at, this.little);
    const nanoseconds = view.getUint32(at + 4, this.little) * this.nanosPerUnit;
    if (nanoseconds < NANOS_PER_SECOND) {
      words[row + P_SEC] = seconds;
      words[row + P_NSEC] = nanoseconds;
    } else {
      const { stamp } = this.intake;
      stamp.seconds = seconds;
      stamp.nanoseconds = nanoseconds;
      clampStamp(stamp);
      words[row + P_SEC] = stamp.seconds;
      words[row + P_NSEC] = stamp.nanoseconds;
    }
    words[row + P_RESOLUTION] = this.nanosPerUnit;
    words[row + P_INTERFACE] = this.intake.interfaceOfLink(0);
  }

  private stopAtLength(captured: number, offset: number): void {
    this.intake.faults.stop(
      'pcap-record-length',
      { offset, record: this.intake.packets + 1 },
      `a record of ${captured} bytes is longer than the limit of ${MAX_RECORD_BYTES}`,
      'the file is damaged here: what came before counts; record it again, or repair it with pcapfix',
    );
  }
}
