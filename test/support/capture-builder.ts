/**
 * Builds frames and capture files by hand, right or wrong on purpose: every length, version and magic
 * can be said otherwise than it is.
 */

const EMPTY = new Uint8Array(0);

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export function bytesOf(...values: readonly number[]): Uint8Array {
  return Uint8Array.from(values);
}

function u16(value: number, little = false): Uint8Array {
  const bytes = new Uint8Array(2);
  new DataView(bytes.buffer).setUint16(0, value, little);
  return bytes;
}

function u32(value: number, little = false): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, little);
  return bytes;
}

function u64(value: bigint, little = false): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt.asUintN(64, value), little);
  return bytes;
}

/** Dotted IPv4, or IPv6 in full (eight groups) or with one `::`. */
function addressOf(text: string): Uint8Array {
  if (!text.includes(':')) return Uint8Array.from(text.split('.').map(Number));
  const [head = '', tail = ''] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((g) => parseInt(g, 16)));
  const before = groups(head);
  const after = groups(tail);
  const middle = new Array<number>(8 - before.length - after.length).fill(0);
  return concat(...[...before, ...middle, ...after].map((group) => u16(group)));
}

// Link headers

interface Tags {
  /** EtherType of the payload. */
  readonly type?: number;
  /** Tag types, outermost first: 0x8100, 0x88a8, 0x9100. */
  readonly tags?: readonly number[];
}

/** The EtherType that a payload has by its IP version. */
function typeOf(payload: Uint8Array): number {
  return (payload[0] ?? 0) >>> 4 === 6 ? 0x86dd : 0x0800;
}

function tagged(payload: Uint8Array, { type = typeOf(payload), tags = [] }: Tags): Uint8Array {
  const control = bytesOf(0x20, 0x07);
  return concat(...tags.flatMap((tag) => [u16(tag), control]), u16(type), payload);
}

export function ethernet(payload: Uint8Array, options: Tags = {}): Uint8Array {
  return concat(bytesOf(2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2), tagged(payload, options));
}

export function sll(payload: Uint8Array, options: Tags & { packetType?: number } = {}): Uint8Array {
  const { packetType = 0 } = options;
  const address = bytesOf(2, 0, 0, 0, 0, 1, 0, 0);
  return concat(u16(packetType), u16(1), u16(6), address, tagged(payload, options));
}

export function sll2(
  payload: Uint8Array,
  options: Tags & { packetType?: number; index?: number } = {},
): Uint8Array {
  const { packetType = 0, index = 7 } = options;
  const whole = tagged(payload, options);
  const head = concat(u16(0), u32(index), u16(1), bytesOf(packetType, 6, 2, 0, 0, 0, 0, 1, 0, 0));
  return concat(whole.subarray(0, 2), head, whole.subarray(2));
}

export function loopback(payload: Uint8Array, family: number, little = true): Uint8Array {
  return concat(u32(family, little), payload);
}

// IP

interface Ipv4 {
  readonly src?: string;
  readonly dst?: string;
  readonly protocol: number;
  readonly options?: Uint8Array;
  readonly ttl?: number;
  readonly id?: number;
  /** Flags and offset as the header has them: 0x2000 is "more fragments", then units of 8 bytes. */
  readonly fragment?: number;
  /** Said in place of the true ones. */
  readonly version?: number;
  readonly headerWords?: number;
  readonly length?: number;
}

export function ipv4(payload: Uint8Array, it: Ipv4): Uint8Array {
  const options = it.options ?? EMPTY;
  const header = 20 + options.length;
  return concat(
    bytesOf(((it.version ?? 4) << 4) | (it.headerWords ?? header / 4), 0),
    u16(it.length ?? header + payload.length),
    u16(it.id ?? 0x1234),
    u16(it.fragment ?? 0x4000),
    bytesOf(it.ttl ?? 64, it.protocol, 0, 0),
    addressOf(it.src ?? '10.244.1.2'),
    addressOf(it.dst ?? '10.96.81.51'),
    options,
    payload,
  );
}

interface Ipv6 {
  readonly src?: string;
  readonly dst?: string;
  readonly next: number;
  readonly hopLimit?: number;
  readonly length?: number;
}

export function ipv6(payload: Uint8Array, it: Ipv6): Uint8Array {
  return concat(
    bytesOf(0x60, 0, 0, 0),
    u16(it.length ?? payload.length),
    bytesOf(it.next, it.hopLimit ?? 64),
    addressOf(it.src ?? 'fd00:10:244:1::2'),
    addressOf(it.dst ?? 'fd00:10:96::51'),
    payload,
  );
}

/** Hop-by-hop, routing or destination options of `words` * 8 bytes before `payload`. */
export function extension(payload: Uint8Array, next: number, words = 1): Uint8Array {
  return concat(bytesOf(next, words - 1), new Uint8Array(words * 8 - 2), payload);
}

/** A fragment header; `offset` in units of 8 bytes. */
export function fragment6(
  payload: Uint8Array,
  next: number,
  offset: number,
  more: boolean,
): Uint8Array {
  return concat(bytesOf(next, 0), u16((offset << 3) | (more ? 1 : 0)), u32(99), payload);
}

/** An authentication header with 12 bytes of check value: 24 bytes in all. */
export function authentication(payload: Uint8Array, next: number): Uint8Array {
  return concat(bytesOf(next, 4), new Uint8Array(22), payload);
}

// Transport

interface Tcp {
  readonly sport?: number;
  readonly dport?: number;
  readonly seq?: number;
  readonly ack?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly options?: Uint8Array;
  readonly payload?: Uint8Array;
  readonly headerWords?: number;
}

export function tcp(it: Tcp = {}): Uint8Array {
  const options = it.options ?? EMPTY;
  return concat(
    u16(it.sport ?? 36_033),
    u16(it.dport ?? 80),
    u32(it.seq ?? 0x95fa6586),
    u32(it.ack ?? 0),
    bytesOf((it.headerWords ?? 5 + options.length / 4) << 4, it.flags ?? 2),
    u16(it.window ?? 64_240),
    u32(0),
    options,
    it.payload ?? EMPTY,
  );
}

/** Options of a SYN as Linux sends it: MSS, SACK permitted, time stamp, NOP, window scale. */
export function synOptions({ mss = 1_460, tsval = 0x703fbdc7 } = {}): Uint8Array {
  return concat(
    bytesOf(2, 4),
    u16(mss),
    bytesOf(4, 2, 8, 10),
    u32(tsval),
    u32(0),
    bytesOf(1, 3, 3, 7),
  );
}

interface Udp {
  readonly sport?: number;
  readonly dport?: number;
  readonly length?: number;
}

export function udp(payload: Uint8Array, it: Udp = {}): Uint8Array {
  const length = it.length ?? 8 + payload.length;
  return concat(u16(it.sport ?? 40_000), u16(it.dport ?? 53), u16(length), u16(0), payload);
}

interface Sctp {
  readonly sport?: number;
  readonly dport?: number;
  readonly tag?: number;
}

export function sctp(chunks: Uint8Array, it: Sctp = {}): Uint8Array {
  return concat(u16(it.sport ?? 5_000), u16(it.dport ?? 9_999), u32(it.tag ?? 0), u32(0), chunks);
}

export function chunk(type: number, body: Uint8Array, length = 4 + body.length): Uint8Array {
  return concat(bytesOf(type, 0), u16(length), body);
}

/** Body of INIT and INIT ACK. */
export function initBody(tag: number, parameters: Uint8Array = EMPTY): Uint8Array {
  return concat(u32(tag), u32(106_496), u16(10), u16(65_535), u32(0x11223344), parameters);
}

export function icmp(type: number, code: number, body: Uint8Array): Uint8Array {
  return concat(bytesOf(type, code, 0, 0), u32(0), body);
}

// Tunnels: payloads of UDP

export function vxlan(frame: Uint8Array, header: readonly number[] = VXLAN_HEADER): Uint8Array {
  return concat(Uint8Array.from(header), frame);
}

const VXLAN_HEADER = [8, 0, 0, 0, 0, 0, 1, 0];

interface Geneve {
  readonly type?: number;
  readonly options?: Uint8Array;
  readonly first?: number;
  readonly second?: number;
  readonly last?: number;
}

export function geneve(payload: Uint8Array, it: Geneve = {}): Uint8Array {
  const options = it.options ?? EMPTY;
  return concat(
    bytesOf(it.first ?? options.length / 4, it.second ?? 0),
    u16(it.type ?? 0x6558),
    bytesOf(0, 0, 5, it.last ?? 0),
    options,
    payload,
  );
}

// Files

export interface PcapRecord {
  readonly frame: Uint8Array;
  readonly seconds?: number;
  readonly fraction?: number;
  /** Said in place of the true ones. */
  readonly captured?: number;
  readonly onWire?: number;
}

interface Pcap {
  readonly little?: boolean;
  readonly magic?: number;
  readonly version?: readonly [number, number];
  readonly linkType?: number;
}

export function pcap(records: readonly PcapRecord[], it: Pcap = {}): Uint8Array {
  const little = it.little ?? true;
  const magic = it.magic ?? 0xa1b2c3d4;
  const [major, minor] = it.version ?? [2, 4];
  const rest = magic === 0xa1b2cd34 ? new Uint8Array(8) : EMPTY;
  return concat(
    u32(magic, little),
    u16(major, little),
    u16(minor, little),
    new Uint8Array(8),
    u32(65_535, little),
    u32(it.linkType ?? 1, little),
    ...records.map((record) =>
      concat(
        u32(record.seconds ?? 1_795_377_821, little),
        u32(record.fraction ?? 0, little),
        u32(record.captured ?? record.frame.length, little),
        u32(record.onWire ?? record.frame.length, little),
        rest,
        record.frame,
      ),
    ),
  );
}

interface Section {
  readonly little?: boolean;
  readonly version?: readonly [number, number];
  readonly byteOrderMagic?: number;
}

interface InterfaceBlock {
  readonly linkType?: number;
  readonly snapLength?: number;
  readonly name?: string;
  readonly tsresol?: number;
  readonly tsoffset?: bigint;
  readonly options?: Uint8Array;
}

interface PacketBlock {
  readonly interface?: number;
  /** Units since 1970, less the interface's offset. */
  readonly time?: bigint;
  readonly captured?: number;
  readonly onWire?: number;
  readonly options?: Uint8Array;
}

interface Lengths {
  /** Added to what the block says of itself at its head, and at its end. */
  readonly lie?: number;
  readonly trailerLie?: number;
}

/** Builds a pcapng file block by block; each call gives the builder back. */
export class PcapngBuilder {
  private readonly parts: Uint8Array[] = [];
  private little = true;

  bytes(): Uint8Array {
    return concat(...this.parts);
  }

  section({ little = true, version = [1, 0], byteOrderMagic = 0x1a2b3c4d }: Section = {}): this {
    this.little = little;
    return this.block(
      0x0a0d0d0a,
      concat(
        u32(byteOrderMagic, little),
        u16(version[0], little),
        u16(version[1], little),
        u64(-1n, little),
        this.option(4, new TextEncoder().encode('capture-builder')),
        this.option(0),
      ),
    );
  }

  interface(it: InterfaceBlock = {}, lengths: Lengths = {}): this {
    const { little } = this;
    return this.block(
      1,
      concat(
        u16(it.linkType ?? 1, little),
        u16(0),
        u32(it.snapLength ?? 262_144, little),
        it.name === undefined ? EMPTY : this.option(2, new TextEncoder().encode(it.name)),
        it.tsresol === undefined ? EMPTY : this.option(9, bytesOf(it.tsresol)),
        it.tsoffset === undefined ? EMPTY : this.option(14, u64(it.tsoffset, little)),
        it.options ?? EMPTY,
        this.option(0),
      ),
      lengths,
    );
  }

  enhanced(frame: Uint8Array, it: PacketBlock = {}): this {
    return this.block(6, this.packetBody(u32(it.interface ?? 0, this.little), frame, it));
  }

  /** The obsolete packet block. */
  packet(frame: Uint8Array, it: PacketBlock & { drops?: number } = {}): this {
    const head = concat(u16(it.interface ?? 0, this.little), u16(it.drops ?? 0, this.little));
    return this.block(2, this.packetBody(head, frame, it));
  }

  simple(frame: Uint8Array, onWire = frame.length): this {
    return this.block(3, concat(u32(onWire, this.little), pad(frame)));
  }

  /** An interface statistics block; counters by option code. */
  statistics(interfaceNumber: number, counters: Readonly<Record<number, bigint>>): this {
    const options = Object.entries(counters).map(([code, value]) =>
      this.option(Number(code), u64(value, this.little)),
    );
    const head = concat(u32(interfaceNumber, this.little), u32(0), u32(0));
    return this.block(5, concat(head, ...options, this.option(0)));
  }

  block(type: number, body: Uint8Array, { lie = 0, trailerLie = lie }: Lengths = {}): this {
    const length = 12 + padded(body.length);
    const head = concat(u32(type, this.little), u32(length + lie, this.little));
    this.parts.push(concat(head, pad(body), u32(length + trailerLie, this.little)));
    return this;
  }

  raw(bytes: Uint8Array): this {
    this.parts.push(bytes);
    return this;
  }

  option(code: number, value: Uint8Array = EMPTY, length = value.length): Uint8Array {
    return concat(u16(code, this.little), u16(length, this.little), pad(value));
  }

  /** The option in which packet blocks tell the direction: 1 in, 2 out. */
  flags(value: number): Uint8Array {
    return concat(this.option(2, u32(value, this.little)), this.option(0));
  }

  private packetBody(head: Uint8Array, frame: Uint8Array, it: PacketBlock): Uint8Array {
    const time = it.time ?? 1_795_377_821_000_000n;
    return concat(
      head,
      u32(Number(BigInt.asUintN(32, time >> 32n)), this.little),
      u32(Number(BigInt.asUintN(32, time)), this.little),
      u32(it.captured ?? frame.length, this.little),
      u32(it.onWire ?? frame.length, this.little),
      pad(frame),
      it.options ?? EMPTY,
    );
  }
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}

function pad(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array(padded(bytes.length) - bytes.length));
}
