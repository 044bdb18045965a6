import { PACKET_WORDS } from './packet.js';
import { Rows } from './rows.js';

/** A batch of packets in the order of their source. */
export class PacketRows extends Rows {
  constructor(capacity = 1024) {
    super(PACKET_WORDS, capacity);
  }
}
