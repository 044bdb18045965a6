import { CONNTRACK_WORDS } from './conntrack.js';
import { Rows } from './rows.js';

/** A batch of entries in the order of their source. */
export class ConntrackRows extends Rows {
  constructor(capacity = 256) {
    super(CONNTRACK_WORDS, capacity);
  }
}
