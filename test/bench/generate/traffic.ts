import type { CaptureFile } from './capture-file.js';
import { ACK, type Ends, FIN, type LinkShape, PSH, SYN, writeFrame } from './frame.js';
import {
  clientAddress,
  endpointAddress,
  type Family,
  happens,
  SERVICE_PORT,
  scramble,
  serviceAddress,
  TARGET_PORT,
  type World,
} from './world.js';

/** What passes. */
export interface TrafficShape extends LinkShape {
  readonly packets: number;
  /** Each has at least OPEN_AND_CLOSE packets, both sides of the translation together; the rest carry data. */
  readonly connections: number;
  /** Connections that are open at the same time, as far as there are so many. */
  readonly live: number;
  /** Of the connections, each 0 to 1: over IPv6; with a retransmitted SYN; on the tuple of the one before. */
  readonly ipv6Share: number;
  readonly retransmitShare: number;
  readonly reuseShare: number;
  /** Bytes of data in a segment that carries any. */
  readonly payload: number;
  readonly seed: number;
}

/** SYN, SYN-ACK and a FIN from each side, each seen before and after the translation. */
export const OPEN_AND_CLOSE = 8;

/** Packets follow each other by this much: a million take four seconds of event time. */
const GAP_US = 4;

const FIRST_PORT = 1024;
const PORTS = 64_000;
/** What a real client waits before it sends a SYN again is in no proportion to a generated second; its TSval must differ. */
const RETRANSMIT_STAMP = 1000;

/** One slot of the window of open connections. */
interface Slot {
  /** Number of the connection; negative while the slot waits for its first. */
  connection: number;
  turn: number;
  turns: number;
  data: number;
  retransmits: boolean;
  tuple: number;
}

/**
 * Writes the packets of all connections. Open ones take turns, a segment and its translated copy at a
 * turn; they begin spread over the turns, so that opening and closing go on all the time.
 */
export function writeTraffic(file: CaptureFile, world: World, shape: TrafficShape): void {
  const script = new Script(file, world, shape);
  const slots: Slot[] = [];
  const window = Math.min(shape.live, shape.connections);
  let begun = 0;
  let tuples = 0;
  let open = 0;
  const spread = script.turns(shape.connections - 1);
  const begin = (slot: Slot): void => {
    const i = begun++;
    const again = slot.tuple >= 0 && happens(i, shape.seed + 1, shape.reuseShare);
    slot.connection = i;
    slot.turn = 0;
    slot.turns = script.turns(i);
    slot.data = script.data(i);
    slot.retransmits = script.retransmits(i);
    slot.tuple = again ? slot.tuple : tuples++;
    open++;
  };
  for (let round = 0; begun < shape.connections || open > 0; round++) {
    for (let k = 0; k < window; k++) {
      let slot = slots[k];
      if (slot === undefined) {
        if (begun === shape.connections || round < k % spread) continue;
        slot = { connection: -1, turn: 0, turns: 0, data: 0, retransmits: false, tuple: -1 };
        slots[k] = slot;
      }
      if (slot.turn === slot.turns) {
        if (begun === shape.connections) continue;
        begin(slot);
      }
      script.take(slot);
      slot.turn++;
      if (slot.turn === slot.turns) open--;
    }
  }
}

/** What a connection sends at which of its turns. */
class Script {
  private readonly file: CaptureFile;
  private readonly world: World;
  private readonly shape: TrafficShape;
  private readonly each: number;
  private readonly more: number;
  private packets = 0;

  constructor(file: CaptureFile, world: World, shape: TrafficShape) {
    this.file = file;
    this.world = world;
    this.shape = shape;
    this.each = Math.floor(shape.packets / shape.connections);
    this.more = shape.packets % shape.connections;
  }

  /** Packets with data of connection `i`. */
  data(i: number): number {
    const packets = this.each + (i < this.more ? 1 : 0);
    return packets - OPEN_AND_CLOSE - (this.retransmits(i) ? 2 : 0);
  }

  retransmits(i: number): boolean {
    return (
      this.each >= OPEN_AND_CLOSE + 2 && happens(i, this.shape.seed + 2, this.shape.retransmitShare)
    );
  }

  turns(i: number): number {
    return 4 + (this.retransmits(i) ? 1 : 0) + Math.ceil(this.data(i) / 2);
  }

  take(slot: Slot): void {
    const { connection: i, turn, data } = slot;
    const isn = Math.imul(i + 1, 0x9e3779b1) >>> 0;
    const back = Math.imul(i + 7, 0x85ebca6b) >>> 0;
    const opening = slot.retransmits ? 2 : 1;
    const carried = turn - opening - 1;
    if (turn < opening) this.pair(slot, true, SYN, isn, 0, turn * RETRANSMIT_STAMP);
    else if (turn === opening) this.pair(slot, false, SYN | ACK, back, isn + 1, 0);
    else if (turn === slot.turns - 2) this.pair(slot, true, FIN | ACK, isn + 1, back + 1, 1);
    else if (turn === slot.turns - 1) this.pair(slot, false, FIN | ACK, back + 1, isn + 2, 1);
    else {
      const forth = carried % 2 === 0;
      const [seq, ack] = forth ? [isn + 1, back + 1] : [back + 1, isn + 1];
      this.pair(slot, forth, PSH | ACK, seq, ack, 1, data - carried * 2);
    }
  }

  /** A segment where the client's side sees it and where the Pod's does, in the order in which it travels. */
  private pair(
    slot: Slot,
    forth: boolean,
    flags: number,
    seq: number,
    ack: number,
    later: number,
    copies = 2,
  ): void {
    const first = forth ? 0 : 1;
    const stamp = (slot.connection >>> 3) + later;
    this.one(slot, forth, first, flags, seq, ack, stamp);
    if (copies > 1) this.one(slot, forth, forth ? 1 : 0, flags, seq, ack, stamp);
  }

  private one(
    slot: Slot,
    forth: boolean,
    side: 0 | 1,
    flags: number,
    seq: number,
    ack: number,
    stamp: number,
  ): void {
    const { file, shape } = this;
    const interfaceIndex = side === 0 ? 10 : 11;
    const payload = (flags & PSH) !== 0 ? shape.payload : 0;
    const segment = { flags, seq, ack, stamp, payload, interfaceIndex };
    const length = writeFrame(
      file.bytes,
      file.frame(),
      shape,
      this.ends(slot, forth, side),
      segment,
    );
    file.add(length, this.packets++ * GAP_US, side);
  }

  private ends(slot: Slot, forth: boolean, side: 0 | 1): Ends {
    const { world, shape } = this;
    const family: Family = happens(slot.tuple, shape.seed + 3, shape.ipv6Share) ? 6 : 4;
    const client = clientAddress(family, slot.tuple % world.clients);
    const cport = FIRST_PORT + (Math.floor(slot.tuple / world.clients) % PORTS);
    const service = scramble(slot.tuple ^ shape.seed) % world.services;
    // A tuple that is used again may be given another endpoint.
    const endpoint = scramble(slot.connection ^ shape.seed) % world.endpointsEach;
    const far =
      side === 0
        ? serviceAddress(family, service)
        : endpointAddress(family, world, service, endpoint);
    const fport = side === 0 ? SERVICE_PORT : TARGET_PORT;
    return forth
      ? { family, src: client, sport: cport, dst: far, dport: fport }
      : { family, src: far, sport: fport, dst: client, dport: cport };
  }
}
