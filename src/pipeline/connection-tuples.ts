import { parseAddress, sameAddress as same } from '../model/address.js';
import type { Attribution, Peer } from '../model/attribution.js';
import type { SeenPacket } from '../model/case.js';
import {
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RDPORT,
  C_RDST,
  C_RSPORT,
  C_RSRC,
} from '../model/conntrack.js';
import { P_DPORT, P_DST, P_PROTOCOL, P_SPORT, P_SRC } from '../model/packet.js';

/** Source, destination, their ports: as the words of a row, from the client on. */
const SOURCE = 0;
const DESTINATION = 4;
const SOURCE_PORT = 8;
const DESTINATION_PORT = 9;
const WORDS = 10;

type Of = Pick<SeenPacket, 'way' | 'view'>;

const ORIGINAL: readonly [Of, Of] = [
  { way: 'forward', view: 'original' },
  { way: 'back', view: 'original' },
];
const TRANSLATED: readonly [Of, Of] = [
  { way: 'forward', view: 'translated' },
  { way: 'back', view: 'translated' },
];

/** Endpoints that one connection is tried at: each SYN that is sent again may be given another one. */
const MAX_TUPLES = 64;

/**
 * The address pairs of one connection: as its client speaks, and as endpoints see it, of which more may
 * become known while its packets are read. Made for being asked of every packet of a capture.
 */
export class ConnectionTuples {
  readonly protocol: number;
  private readonly words = new Uint32Array(WORDS * MAX_TUPLES);
  private length = 0;

  constructor(protocol: number, attribution: Attribution) {
    this.protocol = protocol;
    const { client, destination, source, backend, claims } = attribution;
    this.add(client, destination);
    for (const end of [backend, ...(claims ?? []).map((claim) => claim.backend)]) {
      if (end === undefined) continue;
      if (source !== undefined) this.add(source, end);
      // Also where the client's address is masqueraded: an answer may come without having been put right.
      this.add(client, end);
    }
  }

  private add(from: Pick<Peer, 'ip' | 'port'>, to: Pick<Peer, 'ip' | 'port'>): void {
    const row = new Uint32Array(WORDS);
    if (parseAddress(from.ip, row, SOURCE) === 0 || parseAddress(to.ip, row, DESTINATION) === 0) {
      return;
    }
    row[SOURCE_PORT] = from.port;
    row[DESTINATION_PORT] = to.port;
    this.learn(row, SOURCE, DESTINATION, SOURCE_PORT, DESTINATION_PORT);
  }

  /** What a packet is of this connection; `undefined` for one of another. */
  of(w: Uint32Array, at: number): Of | undefined {
    if (w[at + P_PROTOCOL] !== this.protocol) return undefined;
    const sport = w[at + P_SPORT];
    const dport = w[at + P_DPORT];
    const { words } = this;
    const end = this.length * WORDS;
    for (let t = 0; t < end; t += WORDS) {
      const a = words[t + SOURCE_PORT];
      const b = words[t + DESTINATION_PORT];
      if (
        sport === a &&
        dport === b &&
        same(w, at + P_SRC, words, t + SOURCE) &&
        same(w, at + P_DST, words, t + DESTINATION)
      ) {
        return (t === 0 ? ORIGINAL : TRANSLATED)[0];
      }
      if (
        sport === b &&
        dport === a &&
        same(w, at + P_SRC, words, t + DESTINATION) &&
        same(w, at + P_DST, words, t + SOURCE)
      ) {
        return (t === 0 ? ORIGINAL : TRANSLATED)[1];
      }
    }
    return undefined;
  }

  /** Whether an entry of conntrack's is for this connection's addresses. */
  isEntry(w: Uint32Array, at: number): boolean {
    const { words } = this;
    return (
      w[at + C_PROTOCOL] === this.protocol &&
      w[at + C_OSPORT] === words[SOURCE_PORT] &&
      w[at + C_ODPORT] === words[DESTINATION_PORT] &&
      same(w, at + C_OSRC, words, SOURCE) &&
      same(w, at + C_ODST, words, DESTINATION)
    );
  }

  /** Learns an endpoint from the reply tuple of an entry, which is turned around. */
  learnReply(w: Uint32Array, at: number): void {
    this.learn(w, at + C_RDST, at + C_RSRC, at + C_RDPORT, at + C_RSPORT);
  }

  /** Learns an endpoint from a packet that was sent to it. */
  learnPacket(w: Uint32Array, at: number): void {
    this.learn(w, at + P_SRC, at + P_DST, at + P_SPORT, at + P_DPORT);
  }

  /** Whether a packet comes from the client's own address and port. */
  isFromClient(w: Uint32Array, at: number): boolean {
    const { words } = this;
    return w[at + P_SPORT] === words[SOURCE_PORT] && same(w, at + P_SRC, words, SOURCE);
  }

  private learn(w: Uint32Array, src: number, dst: number, sport: number, dport: number): void {
    const { words, length } = this;
    if (length === MAX_TUPLES) return;
    for (let t = 0; t < length * WORDS; t += WORDS) {
      if (
        words[t + SOURCE_PORT] === w[sport] &&
        words[t + DESTINATION_PORT] === w[dport] &&
        same(w, src, words, t + SOURCE) &&
        same(w, dst, words, t + DESTINATION)
      ) {
        return;
      }
    }
    const row = length * WORDS;
    for (let i = 0; i < 4; i++) {
      words[row + SOURCE + i] = w[src + i] ?? 0;
      words[row + DESTINATION + i] = w[dst + i] ?? 0;
    }
    words[row + SOURCE_PORT] = w[sport] ?? 0;
    words[row + DESTINATION_PORT] = w[dport] ?? 0;
    this.length++;
  }
}
