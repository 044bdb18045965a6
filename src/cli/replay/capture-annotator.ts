import type { PacketComments } from '../../pipeline/packet-comments.js';
import type { CopiedCapture } from '../../sinks/pcapng/copied-capture.js';
import type { NameTimeline } from '../../sinks/pcapng/name-timeline.js';
import type { OneSection } from '../../sinks/pcapng/one-section.js';
import { type CaptureItem, isState } from './capture-items.js';

/** Copies what is in captures, with the names of a run before the first packet, and comments. */
export class CaptureAnnotator {
  packets = 0;
  commented = 0;
  /** Blocks of recordings' state that were left out. */
  stateless = 0;
  private readonly section: OneSection;
  private readonly comments: PacketComments;
  private readonly names: NameTimeline;
  private readonly keepsState: boolean;
  /** Names stand behind what the section begins with, as whichpod's own recordings must keep their first blocks first. */
  private isNamed = false;

  /** `keepsState`: there is one capture, so what it may tell of a run is all there is to tell. */
  constructor(
    section: OneSection,
    comments: PacketComments,
    names: NameTimeline,
    keepsState: boolean,
  ) {
    this.section = section;
    this.comments = comments;
    this.names = names;
    this.keepsState = keepsState;
  }

  take(item: CaptureItem, copied: CopiedCapture): void {
    const { found, place } = item;
    if (item.isPacket) this.nameBefore(item);
    const comment = place < 0 ? undefined : this.comments.at(place);
    if (comment !== undefined) this.commented++;
    if (found.type === 'pcap') copied.begin(found.head);
    else if (found.type === 'record') copied.record(found.record, comment);
    else if (this.keepsState || !isState(item)) copied.block(found.block, comment);
    else this.stateless++;
  }

  private nameBefore({ seconds, nanoseconds }: CaptureItem): void {
    this.packets++;
    if (!this.isNamed) {
      this.isNamed = true;
      this.section.names(this.names.begin());
    }
    if (seconds < 0) return;
    const due = this.names.due(seconds, nanoseconds);
    if (due.length > 0) this.section.names(due);
  }
}
