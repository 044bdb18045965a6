import * as P from '../../../src/model/packet.js';
import type { PacketRows } from '../../../src/model/packet-rows.js';
import { type Nanos, nanosOf } from '../../../src/model/time.js';
import {
  clientAddress,
  endpointAddress,
  SERVICE_PORT,
  START_SECONDS,
  scramble,
  serviceAddress,
  TARGET_PORT,
  type World,
} from '../generate/world.js';

/** Interfaces before and after the translation. */
export const NEAR = 1;
export const FAR = 2;

/** Packets follow each other by this much. */
const GAP_NS = 10_000;
const CLIENT_PORTS = 60_000;

/** Writes packets of numbered connections as rows, each later than the one before. */
export class Segments {
  private readonly rows: PacketRows;
  private readonly world: World;
  private seconds = START_SECONDS;
  private nanoseconds = 0;

  constructor(rows: PacketRows, world: World) {
    this.rows = rows;
    this.world = world;
  }

  now(): Nanos {
    return nanosOf(this.seconds, this.nanoseconds);
  }

  wait(seconds: number): void {
    this.seconds += seconds;
  }

  /** SYN and SYN-ACK, each on both sides. */
  open(n: number): void {
    this.pair(n, true, P.TCP_SYN, 0, 0);
    this.pair(n, false, P.TCP_SYN | P.TCP_ACK, 0, 1);
  }

  /** A FIN from each side, on both sides. */
  close(n: number): void {
    this.pair(n, true, P.TCP_FIN | P.TCP_ACK, 1, 1);
    this.pair(n, false, P.TCP_FIN | P.TCP_ACK, 1, 2);
  }

  private pair(n: number, forth: boolean, flags: number, seq: number, ack: number): void {
    this.one(n, forth, forth ? NEAR : FAR, flags, seq, ack);
    this.one(n, forth, forth ? FAR : NEAR, flags, seq, ack);
  }

  private one(
    n: number,
    forth: boolean,
    side: number,
    flags: number,
    seq: number,
    ack: number,
  ): void {
    const { world, rows } = this;
    this.nanoseconds += GAP_NS;
    if (this.nanoseconds >= 1_000_000_000) {
      this.nanoseconds -= 1_000_000_000;
      this.seconds++;
    }
    const service = scramble(n) % world.services;
    const [client] = clientAddress(4, n % world.clients);
    const cport = 1024 + (Math.floor(n / world.clients) % CLIENT_PORTS);
    const [far] =
      side === NEAR
        ? serviceAddress(4, service)
        : endpointAddress(4, world, service, scramble(n + 1) % world.endpointsEach);
    const fport = side === NEAR ? SERVICE_PORT : TARGET_PORT;
    const isn = Math.imul(n + 1, 0x9e3779b1) >>> 0;
    const back = Math.imul(n + 7, 0x85ebca6b) >>> 0;
    const at = rows.add();
    const { words } = rows;
    words[at + P.P_SEC] = this.seconds;
    words[at + P.P_NSEC] = this.nanoseconds;
    words[at + P.P_RESOLUTION] = 1;
    words[at + P.P_INTERFACE] = side;
    words[at + P.P_FAMILY] = 4;
    words[at + P.P_PROTOCOL] = P.TCP;
    words[at + P.P_FLAGS] = flags;
    ipv4(words, at + (forth ? P.P_SRC : P.P_DST), client);
    ipv4(words, at + (forth ? P.P_DST : P.P_SRC), far);
    words[at + P.P_SPORT] = forth ? cport : fport;
    words[at + P.P_DPORT] = forth ? fport : cport;
    words[at + P.P_SEQ] = (forth ? isn : back) + seq;
    words[at + P.P_ACK] = ack === 0 ? 0 : (forth ? back : isn) + ack;
    words[at + P.P_PRINT] = scramble(flags);
    words[at + P.P_IPID] = scramble(isn + flags) & 0xffff;
    words[at + P.P_TTL] = 64;
    words[at + P.P_BYTES] = 60;
  }
}

/** As in model/address.ts: ::ffff:a.b.c.d. */
function ipv4(words: Uint32Array, at: number, address: number): void {
  words[at + 2] = 0xffff;
  words[at + 3] = address;
}
