import { parseAddress } from '../../model/address.js';
import type { Attribution } from '../../model/attribution.js';
import {
  CLASS_ICMP_ERROR,
  P_CLASS,
  P_DPORT,
  P_DST,
  P_FLAGS,
  P_PROTOCOL,
  P_SPORT,
  P_SRC,
  protocolNumber,
  SCTP,
  SCTP_INIT,
  TCP,
  TCP_ACK,
  TCP_SYN,
} from '../../model/packet.js';
import { commentOf } from './comment.js';
import { type SectionWriter, stampWords } from './section-writer.js';

/**
 * A packet's comment stands in its block, and what there is to say is known a little later: with conntrack
 * some milliseconds, and 1 s (the machine's bound) where nothing shows where it went. So packets wait this
 * long for their connection's word.
 */
const HOLD_NS = 1_200_000_000;
/** Packets that wait at most: those of 1.2 s at 13,000 a second. With more, they wait less. */
const MAX_PACKETS = 16_384;
const MAX_BYTES = 4 * 1024 * 1024;
/** UDP flows may have many datagrams in that time: the first few bear the word. */
const MAX_COMMENTED = 4;

const BUCKETS = 32_768;
const NONE = -1;
/** Words kept of a packet that opens a connection: source, destination, both ports, protocol. */
const TUPLE = 11;

export interface HeldPacket {
  readonly seconds: number;
  readonly nanoseconds: number;
  /** Number of the interface in the file. */
  readonly interface: number;
  readonly flags: number;
  readonly bytes: Uint8Array;
  readonly from: number;
  /** Bytes to keep. */
  readonly captured: number;
  readonly onWire: number;
  /** Words of the packet's row from `row` on; -1: it has none. */
  readonly words: Uint32Array;
  readonly row: number;
}

/** Packets on their way into a file, in order, that wait for what is said of their connections. */
export class HeldPackets {
  private readonly arena = new Uint8Array(MAX_BYTES);
  private arenaEnd = 0;
  // Columns of a queue in a circle: `first` to `next`, both counting on.
  private readonly at = new Uint32Array(MAX_PACKETS);
  private readonly captured = new Uint32Array(MAX_PACKETS);
  private readonly onWire = new Uint32Array(MAX_PACKETS);
  private readonly seconds = new Uint32Array(MAX_PACKETS);
  private readonly nanoseconds = new Uint32Array(MAX_PACKETS);
  private readonly interfaces = new Uint32Array(MAX_PACKETS);
  private readonly flags = new Uint32Array(MAX_PACKETS);
  private readonly tuples = new Uint32Array(MAX_PACKETS * TUPLE);
  private readonly comments: (string | undefined)[] = new Array(MAX_PACKETS).fill(undefined);
  /** The next older packet in the same bucket, by count. */
  private readonly older = new Float64Array(MAX_PACKETS);
  private readonly buckets = new Float64Array(BUCKETS).fill(NONE);
  private first = 0;
  private next = 0;
  private readonly wanted = new Uint32Array(TUPLE);
  private readonly stamp = new Uint32Array(2);

  /** Takes a packet in; what has waited long enough, or must make room, goes to the writer. */
  add(packet: HeldPacket, writer: SectionWriter): void {
    this.release(packet.seconds, packet.nanoseconds, writer);
    const size = (packet.captured + 3) & ~3;
    while (
      this.first < this.next &&
      (this.next - this.first === MAX_PACKETS || !this.hasRoom(size))
    ) {
      this.writeFirst(writer);
    }
    if (this.first === this.next) this.arenaEnd = 0;
    const from = this.arenaEnd + size > MAX_BYTES ? 0 : this.arenaEnd;
    this.arena.set(packet.bytes.subarray(packet.from, packet.from + packet.captured), from);
    this.arenaEnd = from + size;
    const i = this.next % MAX_PACKETS;
    this.at[i] = from;
    this.captured[i] = packet.captured;
    this.onWire[i] = packet.onWire;
    this.seconds[i] = packet.seconds;
    this.nanoseconds[i] = packet.nanoseconds;
    this.interfaces[i] = packet.interface;
    this.flags[i] = packet.flags;
    this.comments[i] = undefined;
    this.older[i] = NONE;
    this.tuples[i * TUPLE + 10] = 0;
    if (packet.row >= 0 && opens(packet.words, packet.row)) this.index(i, packet);
    this.next++;
  }

  /** Comments the packets that wait and open a connection. A later word replaces an earlier one. */
  say(attribution: Attribution, codes: readonly string[]): void {
    if (this.first === this.next) return;
    const { client, destination, backend, source = client } = attribution;
    const protocol = protocolNumber(attribution.protocol);
    let text: string | undefined;
    const tell = (from: { ip: string; port: number }, to: { ip: string; port: number }): void => {
      const found = this.find(protocol, from, to);
      if (found.length === 0) return;
      text ??= commentOf(attribution, codes);
      for (const i of found) this.comments[i] = text;
    };
    tell(client, destination);
    if (backend === undefined) return;
    tell(source, backend);
    // Between its two translations: on a bridge, say.
    if (source !== client) tell(client, backend);
  }

  /** Writes what has waited long enough at a moment. */
  release(seconds: number, nanoseconds: number, writer: SectionWriter): void {
    while (this.first < this.next) {
      const i = this.first % MAX_PACKETS;
      const waited =
        (seconds - (this.seconds[i] as number)) * 1e9 +
        nanoseconds -
        (this.nanoseconds[i] as number);
      // A clock that was set back must not keep packets for ever.
      if (waited < HOLD_NS && waited > -HOLD_NS) return;
      this.writeFirst(writer);
    }
  }

  /** Writes everything. */
  releaseAll(writer: SectionWriter): void {
    while (this.first < this.next) this.writeFirst(writer);
  }

  private hasRoom(size: number): boolean {
    const begin = this.at[this.first % MAX_PACKETS] as number;
    if (this.arenaEnd > begin) {
      return this.arenaEnd + size <= MAX_BYTES || size <= begin;
    }
    return this.arenaEnd + size <= begin;
  }

  private writeFirst(writer: SectionWriter): void {
    const i = this.first % MAX_PACKETS;
    const comment = this.comments[i];
    stampWords(this.seconds[i] as number, this.nanoseconds[i] as number, this.stamp);
    writer.packet({
      interface: this.interfaces[i] as number,
      high: this.stamp[0] as number,
      low: this.stamp[1] as number,
      bytes: this.arena,
      from: this.at[i] as number,
      captured: this.captured[i] as number,
      onWire: this.onWire[i] as number,
      flags: this.flags[i] as number,
      ...(comment !== undefined && { comments: [comment] }),
    });
    this.comments[i] = undefined;
    this.first++;
  }

  private index(i: number, { words, row }: HeldPacket): void {
    const { tuples } = this;
    const at = i * TUPLE;
    for (let w = 0; w < 4; w++) {
      tuples[at + w] = words[row + P_SRC + w] as number;
      tuples[at + 4 + w] = words[row + P_DST + w] as number;
    }
    tuples[at + 8] = words[row + P_SPORT] as number;
    tuples[at + 9] = words[row + P_DPORT] as number;
    tuples[at + 10] = words[row + P_PROTOCOL] as number;
    const bucket = hash(tuples, at);
    this.older[i] = this.buckets[bucket] as number;
    this.buckets[bucket] = this.next;
  }

  /** Places of the packets that wait from one end to another, the first few. */
  private find(
    protocol: number,
    from: { ip: string; port: number },
    to: { ip: string; port: number },
  ): number[] {
    const { wanted, tuples } = this;
    if (parseAddress(from.ip, wanted, 0) === 0 || parseAddress(to.ip, wanted, 4) === 0) return [];
    wanted[8] = from.port;
    wanted[9] = to.port;
    wanted[10] = protocol;
    const found: number[] = [];
    let it = this.buckets[hash(wanted, 0)] as number;
    // A place that was used again is of a newer packet than the one that named it, or has left.
    while (it >= this.first && it < this.next) {
      const i = it % MAX_PACKETS;
      let same = true;
      for (let w = 0; same && w < TUPLE; w++) same = tuples[i * TUPLE + w] === wanted[w];
      if (same) found.push(i);
      const older = this.older[i] as number;
      if (older >= it) break;
      it = older;
    }
    return found.reverse().slice(0, MAX_COMMENTED);
  }
}

/** Whether a packet may open a connection, of which its comment then tells. */
function opens(words: Uint32Array, row: number): boolean {
  if (words[row + P_CLASS] === CLASS_ICMP_ERROR) return false;
  const flags = words[row + P_FLAGS] as number;
  const protocol = words[row + P_PROTOCOL];
  if (protocol === TCP) return (flags & (TCP_SYN | TCP_ACK)) === TCP_SYN;
  return protocol === SCTP ? flags === SCTP_INIT : true;
}

function hash(words: Uint32Array, at: number): number {
  let h = words[at + 10] as number;
  for (let w = 0; w < 10; w++) {
    h = Math.imul(h ^ (words[at + w] as number), 0x9e37_79b1);
    h ^= h >>> 15;
  }
  return (h >>> 0) % BUCKETS;
}
