import type { Interfaces } from '../../model/interfaces.js';
import { PacketRows } from '../../model/packet-rows.js';
import { Faults } from './faults.js';
import { FrameDecoder } from './frame.js';
import type { Stamp } from './stamp.js';

/** Who reads a capture, and how its interfaces are called. */
export interface CaptureOptions {
  readonly interfaces: Interfaces;
  /** The node on which the capture was taken. */
  readonly node?: string;
  /** Name of a kernel interface index (LINUX_SLL2 has no names). Asked once for each index. */
  readonly nameOfIndex?: (index: number) => string | undefined;
  readonly tap?: CaptureTap;
}

/** What a pcap's header says of all its packets. */
export interface PcapHead {
  readonly linkType: number;
  readonly snapLength: number;
  /** Bytes of frame check sequence at each packet's end, where the header tells. */
  readonly checkBytes?: number;
  /** 1 or 1,000. */
  readonly nanosPerUnit: number;
}

/** One record of a pcap. */
export interface PcapRecord {
  readonly bytes: Uint8Array;
  /** Where the frame begins in `bytes`. */
  readonly frame: number;
  readonly captured: number;
  readonly onWire: number;
  readonly seconds: number;
  /** In the file's own unit, of which there may be more than a second's. */
  readonly fraction: number;
  /** Of a patched pcap: the kernel's number of the interface, and how the packet was addressed (sll_pkttype). */
  readonly index?: number;
  readonly packetType?: number;
}

/** A pcapng block as it stands in the file, `size` bytes from `at`, but for lengths that were wrong. */
export interface PcapngBlock {
  readonly type: number;
  readonly bytes: Uint8Array;
  readonly at: number;
  /** Its real size, whatever it says. */
  readonly size: number;
  readonly little: boolean;
  /** A packet block that contradicts itself. */
  readonly contradictory: boolean;
  /** When a packet was seen, as its interface counts; absent: it has no time. Changes with the next block. */
  readonly time?: Stamp;
}

/**
 * Hears all that a capture file has, in its order, each thing after it was read. `row`: where in `words` the
 * row begins that it gave, -1 if it gave none. All bytes and words may be read until the call returns.
 */
export interface CaptureTap {
  pcap(head: PcapHead): void;
  record(record: PcapRecord, words: Uint32Array, row: number): void;
  block(block: PcapngBlock, words: Uint32Array, row: number): void;
}

/** Bytes at hand: a chunk as it was fed, or the completed item that was cut by a chunk's end. */
export interface Span {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Where `bytes` begins in the (uncompressed) file. */
  readonly offset: number;
}

/** What both file formats fill: rows, problems, counters. */
export class Intake {
  readonly rows = new PacketRows();
  readonly frames = new FrameDecoder(this.rows);
  readonly faults = new Faults();
  /** Packets in the file so far, decoded or not. */
  packets = 0;
  /** Scratch for a row's time. */
  readonly stamp: Stamp = { seconds: 0, nanoseconds: 0 };
  readonly tap: CaptureTap | undefined;
  private readonly options: CaptureOptions;
  private readonly byIndex = new Map<number, number>();
  private lastIndex = 0;
  private lastId = 0;

  constructor(options: CaptureOptions) {
    this.options = options;
    this.tap = options.tap;
  }

  /** Identifier of the interface that the frame's own header names (LINUX_SLL2), else `otherwise`. */
  interfaceOfLink(otherwise: number): number {
    const index = this.frames.linkIndex;
    if (index === 0) return otherwise;
    // Packets of one interface often come in a row.
    if (index === this.lastIndex) return this.lastId;
    let id = this.byIndex.get(index);
    if (id === undefined) {
      const name = this.options.nameOfIndex?.(index);
      id = this.interfaceId(name === undefined ? { index } : { name });
      this.byIndex.set(index, id);
    }
    this.lastIndex = index;
    this.lastId = id;
    return id;
  }

  /** Identifier of an interface on this capture's node. */
  interfaceId(known: { readonly name?: string; readonly index?: number }): number {
    const { interfaces, node } = this.options;
    return interfaces.id(node === undefined ? known : { ...known, node });
  }

  unsupportedLink(linkType: number, offset: number, record: number): void {
    this.faults.record(
      'capture-link-type',
      linkType,
      { offset, record },
      `packets of link type ${linkType} cannot be decoded`,
      'capture on Ethernet, on a tunnel (RAW), on the loopback, or on `any`',
      true,
    );
  }
}
