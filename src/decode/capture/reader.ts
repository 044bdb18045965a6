import type { PacketRows } from '../../model/packet-rows.js';
import type { Problem } from '../../model/problem.js';
import type { FrameDecoder } from './frame.js';
import { type CaptureOptions, Intake, type Span } from './intake.js';
import { isPcapMagic, PCAP_HEADER_BYTES, PcapFile } from './pcap.js';
import { PcapngFile } from './pcapng.js';

/** Enough to tell what an input is. */
const MAGIC_BYTES = 4;
/** Smallest size of the buffer for items that a chunk's end cuts: a full-size frame with its header. */
const MIN_CARRY_BYTES = 2_048;

/** Recognises a capture by its first bytes (four suffice); `undefined` if it is none. */
export function isCapture(first: Uint8Array): 'pcap' | 'pcapng' | undefined {
  if (first.length < MAGIC_BYTES) return undefined;
  const view = viewOf(first);
  // A section header's type reads the same in both orders.
  if (view.getUint32(0) === 0x0a0d0d0a) return 'pcapng';
  return isPcapMagic(view, 0) ? 'pcap' : undefined;
}

/**
 * Reads a capture file, pcap or pcapng, in pieces as they come: `feed` each, then `end` once. After
 * each `feed` the caller takes `rows` (there are never more than the piece has records) and clears
 * them. Of a piece only the unfinished record at its end is copied; at most 16 MiB of one are waited
 * for. A fatal problem (or `end`) makes `feed` ignore what follows. Nothing is thrown for bad input.
 */
export class CaptureReader {
  private readonly intake: Intake;
  private file: PcapFile | PcapngFile | undefined;
  /** The item that was cut by the end of the last piece: `held` bytes of it. */
  private carry: Uint8Array = new Uint8Array(0);
  private carryView = viewOf(this.carry);
  private held = 0;
  /** Bytes of the file that were read, without what is held. */
  private done = 0;
  private ended = false;

  constructor(options: CaptureOptions) {
    this.intake = new Intake(options);
  }

  get rows(): PacketRows {
    return this.intake.rows;
  }

  /** What is wrong, in the order in which it is told; faults of single records come with `end`. */
  get problems(): readonly Problem[] {
    return this.intake.faults.problems;
  }

  /** Counters of what became of the frames. */
  get frames(): FrameDecoder {
    return this.intake.frames;
  }

  /** Packets in the file so far, whether they could be decoded or not. */
  get packets(): number {
    return this.intake.packets;
  }

  /** Bytes of the (uncompressed) file that were understood so far. */
  get bytes(): number {
    return this.done;
  }

  /** Packets that the capturing program itself says it lost (pcapng). */
  get reportedDrops(): number {
    return this.file instanceof PcapngFile ? this.file.reportedDrops() : 0;
  }

  /** What the capturing program says about each interface (pcapng), its last word. */
  statistics(): ReturnType<PcapngFile['statistics']> {
    return this.file instanceof PcapngFile ? this.file.statistics() : [];
  }

  feed(chunk: Uint8Array): void {
    let at = 0;
    while (this.held > 0 && !this.deaf) {
      const missing = this.wanted - this.held;
      const taken = Math.min(missing, chunk.length - at);
      this.hold(chunk, at, taken);
      at += taken;
      if (taken < missing) return;
      // Complete as far as was known: either it is read now, or more is wanted.
      const span = { bytes: this.carry, view: this.carryView, offset: this.done };
      const used = this.run(span, 0, this.held);
      this.done += used;
      this.held -= used;
      this.carry.copyWithin(0, used, used + this.held);
    }
    if (this.deaf) return;
    // Node's Buffer is another class to the compiler: all bytes come to the decoder as one and the same.
    const bytes = new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
    const span = { bytes, view: viewOf(chunk), offset: this.done - at };
    const next = this.run(span, at, chunk.length);
    this.done += next - at;
    if (!this.deaf) this.hold(chunk, next, chunk.length - next);
  }

  /** The input has ended: tells a cut record, and what was gathered. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    const { faults } = this.intake;
    if (this.held > 0 && !faults.fatal) {
      if (this.file === undefined) this.stopWithinHeader();
      else this.file.endWithin(this.done, this.held);
    } else if (this.file instanceof PcapngFile) {
      this.file.endBehind(this.done);
    }
    faults.finish();
    this.held = 0;
  }

  private get deaf(): boolean {
    return this.ended || this.intake.faults.fatal;
  }

  /** Bytes that the item being waited for needs, as far as is known. */
  private get wanted(): number {
    if (this.file !== undefined) return this.file.wanted;
    return this.held < MAGIC_BYTES ? MAGIC_BYTES : PCAP_HEADER_BYTES;
  }

  private run(span: Span, from: number, end: number): number {
    if (this.file !== undefined) return this.file.run(span, from, end);
    if (end - from < MAGIC_BYTES) return from;
    switch (isCapture(span.bytes.subarray(from, from + MAGIC_BYTES))) {
      case 'pcapng':
        this.file = new PcapngFile(this.intake);
        return this.file.run(span, from, end);
      case 'pcap': {
        if (end - from < PCAP_HEADER_BYTES) return from;
        this.file = new PcapFile(this.intake, span.view, from);
        if (this.intake.faults.fatal) return from;
        return this.file.run(span, from + PCAP_HEADER_BYTES, end);
      }
      case undefined:
        this.intake.faults.stop(
          'capture-not-recognised',
          { offset: 0 },
          'this is no capture: it begins neither as pcap nor as pcapng',
          'give a file that tcpdump, dumpcap, tshark or Wireshark wrote',
        );
        return from;
    }
  }

  /** Copies the beginning of an item that the rest of the input will complete. */
  private hold(chunk: Uint8Array, at: number, length: number): void {
    const needed = this.held + length;
    if (needed > this.carry.length) {
      const larger = new Uint8Array(Math.max(MIN_CARRY_BYTES, this.carry.length * 2, needed));
      larger.set(this.carry.subarray(0, this.held));
      this.carry = larger;
      this.carryView = viewOf(larger);
    }
    this.carry.set(chunk.subarray(at, at + length), this.held);
    this.held = needed;
  }

  private stopWithinHeader(): void {
    this.intake.faults.stop(
      'capture-header-cut',
      { offset: this.held },
      `the input ends within the file header, after ${this.held} bytes`,
      'the file is incomplete: copy or record it again',
    );
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
