import type { CaptureTap, PcapHead, PcapngBlock, PcapRecord } from '../../decode/capture/intake.js';
import { P_NSEC, P_SEC } from '../../model/packet.js';
import type { PacketComments } from '../../pipeline/packet-comments.js';
import { type CaptureCopy, roleOfBlock } from '../../sinks/pcapng/capture-copy.js';
import type { NameTimeline } from '../../sinks/pcapng/name-timeline.js';

/** Copies what a reader finds in captures, with the names of a run before a section's first packet, and comments. */
export class CaptureAnnotator implements CaptureTap {
  packets = 0;
  commented = 0;
  private readonly copy: CaptureCopy;
  private readonly comments: PacketComments;
  private readonly names: NameTimeline;
  /** Names stand behind what a section begins with, as whichpod's own recordings must keep their first blocks first. */
  private isNamed = false;

  constructor(copy: CaptureCopy, comments: PacketComments, names: NameTimeline) {
    this.copy = copy;
    this.comments = comments;
    this.names = names;
  }

  pcap(head: PcapHead): void {
    this.isNamed = false;
    this.copy.begin(head);
  }

  record(record: PcapRecord, words: Uint32Array, row: number): void {
    this.nameBefore(words, row);
    this.copy.record(record, this.commentOf(words, row));
  }

  block(block: PcapngBlock, words: Uint32Array, row: number): void {
    const role = roleOfBlock(block.type);
    if (role === 'section') this.isNamed = false;
    const isPacket = (role === 'packet' || role === 'bare') && !block.contradictory;
    if (isPacket) this.nameBefore(words, row);
    this.copy.block(block, isPacket && role === 'packet' ? this.commentOf(words, row) : undefined);
  }

  private nameBefore(words: Uint32Array, row: number): void {
    this.packets++;
    if (!this.isNamed) {
      this.isNamed = true;
      this.copy.names(this.names.begin());
    }
    if (row < 0) return;
    const due = this.names.due(words[row + P_SEC] ?? 0, words[row + P_NSEC] ?? 0);
    if (due.length > 0) this.copy.names(due);
  }

  private commentOf(words: Uint32Array, row: number): string | undefined {
    const comment = row < 0 ? undefined : this.comments.of(words, row);
    if (comment !== undefined) this.commented++;
    return comment;
  }
}
