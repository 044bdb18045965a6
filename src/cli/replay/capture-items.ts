import type { CaptureTap, PcapHead, PcapngBlock, PcapRecord } from '../../decode/capture/intake.js';
import { isStateBlock, STATE_BLOCK_TYPE } from '../../decode/record/state-block.js';
import { NANOS_PER_SECOND } from '../../model/time.js';
import type { PacketComments } from '../../pipeline/packet-comments.js';

// draft-ietf-opsawg-pcapng, sections 4.3, 4.4 and 11.1.
const PACKET = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;

/** A thing in a capture. */
export interface CaptureItem {
  readonly found:
    | { readonly type: 'pcap'; readonly head: PcapHead }
    | { readonly type: 'record'; readonly record: PcapRecord }
    | { readonly type: 'block'; readonly block: PcapngBlock };
  readonly isPacket: boolean;
  /** What it is to its connection (`PacketComments.place`). */
  readonly place: number;
  /** When it was seen; -1: it has no time, and belongs behind what stands before it. */
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** Gathers what a reader finds in a piece of a capture; it can be used until the next piece is read. */
export class CaptureItems implements CaptureTap {
  items: CaptureItem[] = [];
  private readonly comments: PacketComments;
  /** Memory that stays as it is until the next piece. */
  private lasting: ArrayBufferLike | undefined;
  private nanosPerUnit = 1;

  constructor(comments: PacketComments) {
    this.comments = comments;
  }

  /** The next piece is about to be read. */
  expect(piece: Uint8Array): void {
    this.items = [];
    this.lasting = piece.buffer;
  }

  pcap(head: PcapHead): void {
    this.nanosPerUnit = head.nanosPerUnit;
    this.add({ type: 'pcap', head }, false, -1, -1, 0);
  }

  record(record: PcapRecord, words: Uint32Array, row: number): void {
    const { seconds, fraction, bytes, frame, captured } = record;
    const nanoseconds = fraction * this.nanosPerUnit;
    const lasts = bytes.buffer === this.lasting;
    // What a reader puts together of two pieces it keeps where the next such thing will stand.
    const kept = lasts
      ? record
      : { ...record, bytes: bytes.slice(frame, frame + captured), frame: 0 };
    this.add(
      { type: 'record', record: kept },
      true,
      row < 0 ? -1 : this.comments.place(words, row),
      seconds + Math.floor(nanoseconds / NANOS_PER_SECOND),
      nanoseconds % NANOS_PER_SECOND,
    );
  }

  block(block: PcapngBlock, words: Uint32Array, row: number): void {
    const { type, contradictory, time, bytes, at, size } = block;
    const isPacket = type === ENHANCED_PACKET || type === PACKET || type === SIMPLE_PACKET;
    const hasPlace = row >= 0 && type !== SIMPLE_PACKET;
    const lasts = bytes.buffer === this.lasting;
    const kept = lasts ? block : { ...block, bytes: bytes.slice(at, at + size), at: 0 };
    this.add(
      { type: 'block', block: kept },
      isPacket && !contradictory,
      hasPlace ? this.comments.place(words, row) : -1,
      time?.seconds ?? -1,
      time?.nanoseconds ?? 0,
    );
  }

  private add(
    found: CaptureItem['found'],
    isPacket: boolean,
    place: number,
    seconds: number,
    nanoseconds: number,
  ): void {
    this.items.push({ found, isPacket, place, seconds, nanoseconds });
  }
}

/** Whether an item is a piece of the state in a whichpod recording. */
export function isState({ found }: CaptureItem): boolean {
  if (found.type !== 'block' || found.block.type !== STATE_BLOCK_TYPE) return false;
  const { bytes, at, size } = found.block;
  return isStateBlock(bytes.subarray(at + 8, at + size - 4));
}
