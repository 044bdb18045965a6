// draft-ietf-opsawg-pcapng, sections 4.1 and 4.2.
const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;

/** Headers of sections that are kept, in number and in bytes; a file of nothing else would fill the memory. */
const MAX_SECTIONS = 65_536;
const MAX_HEADER_BYTES = 16 * 1024 * 1024;

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

/** What a pcap says of all its packets. */
export interface CopiedPcap {
  readonly linkType: number;
  readonly snapLength: number;
  readonly checkBytes?: number;
  readonly nanosPerUnit: number;
}

/** Where packets of the output come from: a section of a pcapng, or a pcap, which has no header. */
interface SurveyedSection {
  /** Of the file. */
  readonly name: string;
  readonly header?: CopiedBlock;
}

/**
 * What the sections of some captures begin with. The one section into which they all are copied must tell it at its own
 * beginning, so it is gathered first: give it each capture's name, then what a reader finds in the capture.
 */
export class CaptureSurvey {
  readonly sections: SurveyedSection[] = [];
  private count = 0;
  private headerBytes = 0;
  private name = '';
  private readonly linkTypes = new Set<number>();
  private readonly snapLengths = new Set<number>();
  /** The byte order of the first pcapng; pcaps have none that matters. */
  private order: boolean | undefined;

  input(name: string): void {
    this.name = name;
  }

  get little(): boolean {
    return this.order ?? true;
  }

  /** Several sections become one. */
  get several(): boolean {
    return this.count > 1;
  }

  /** Headers that were not kept. */
  get unknown(): number {
    return this.count - this.sections.length;
  }

  /**
   * The snap length that all interfaces must state so that libpcap reads their packets from one file (sf-pcapng.c wants
   * the first one's; it also wants one link type); `undefined`: each states its own.
   */
  get snapLength(): number | undefined {
    const { linkTypes, snapLengths } = this;
    if (linkTypes.size !== 1 || snapLengths.size < 2) return undefined;
    // 0: no limit.
    return snapLengths.has(0) ? 0 : Math.max(...snapLengths);
  }

  expect(): void {
    // What is kept of a piece is copied.
  }

  pcap({ linkType, snapLength }: CopiedPcap): void {
    this.section({ name: this.name }, 0);
    this.interface(linkType, snapLength);
  }

  record(): void {
    // What a pcap begins with says all of its packets.
  }

  block(block: CopiedBlock): void {
    const { type, bytes, at, size, little } = block;
    if (type === SECTION_HEADER) {
      this.order ??= little;
      const header = { ...block, bytes: bytes.slice(at, at + size), at: 0 };
      this.section({ name: this.name, header }, size);
    } else if (type === INTERFACE_DESCRIPTION) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + at, size);
      this.interface(view.getUint16(8, little), view.getUint32(12, little));
    }
  }

  private section(section: SurveyedSection, size: number): void {
    this.count++;
    this.headerBytes += size;
    const isTooMuch = this.headerBytes > MAX_HEADER_BYTES && this.sections.length > 0;
    if (this.sections.length < MAX_SECTIONS && !isTooMuch) this.sections.push(section);
  }

  private interface(linkType: number, snapLength: number): void {
    this.linkTypes.add(linkType);
    // As many different ones as a file has interfaces are of no use.
    if (this.snapLengths.size < MAX_SECTIONS) this.snapLengths.add(snapLength);
  }
}
