import type { Interfaces } from '../../model/interfaces.js';
import { PacketRows } from '../../model/packet.js';
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
  private readonly options: CaptureOptions;
  private readonly byIndex = new Map<number, number>();
  private lastIndex = 0;
  private lastId = 0;

  constructor(options: CaptureOptions) {
    this.options = options;
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
