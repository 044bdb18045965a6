import { randomBytes } from 'node:crypto';
import { arch, release } from 'node:os';
import { deflateRawSync } from 'node:zlib';
import { headerBytes } from '../../decode/capture/headers.js';
import { RecordEncoder } from '../../decode/record/encoder.js';
import type { RecordingHead } from '../../decode/record/shapes.js';
import {
  RECORDING_APPLICATION,
  STATE_BLOCK_TYPE,
  stateBlock,
} from '../../decode/record/state-block.js';
import { formatAddress } from '../../model/address.js';
import type { OutputEvent } from '../../model/attribution.js';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';
import { CLASS_ICMP_ERROR, P_CLASS, P_DST, P_FAMILY, P_SRC } from '../../model/packet.js';
import { type Nanos, secondsOf, subsecondOf } from '../../model/time.js';
import type { BlockTarget } from '../../sinks/pcapng/file-series.js';
import { HeldPackets } from '../../sinks/pcapng/held-packets.js';
import { NameBook } from '../../sinks/pcapng/name-book.js';
import {
  PACKET_BROADCAST,
  PACKET_INBOUND,
  PACKET_MULTICAST,
  PACKET_OUTBOUND,
  PACKET_PROMISCUOUS,
  PACKET_UNICAST,
  SectionWriter,
} from '../../sinks/pcapng/section-writer.js';
import { leadsElsewhere } from '../../sources/capture/far-end.js';
import type { TappedFrame } from '../../sources/capture/frame-tap.js';
import { StateNow } from './state-now.js';

/** State is compressed as soon as there is so much of it: enough to find what repeats, a millisecond's work. */
const STATE_BYTES = 64 * 1024;
/**
 * Where more waits (a node's rules may be 40 MB), traffic must not wait for it: at each tick so many pieces are
 * compressed, some 10 ms. Putting rules into words takes about as long as two.
 */
const PIECE_BYTES = 256 * 1024;
const PIECES_AT_ONCE = 4;
const RULES_PIECES = 2;
/** And this often: what a killed recording lacks at its end. */
const FLUSH_NS = 500_000_000n;
/** Blocks are handed to the system in pieces of this size. */
const WRITE_BYTES = 256 * 1024;
/** Quick, and a fifth larger than the usual level at a third of its cost. */
const DEFLATE = { level: 1 } as const;

/** epb_flags by the kernel's packet types: to us, to all, to many, to another host, from us. */
const FLAGS = [
  PACKET_INBOUND | PACKET_UNICAST,
  PACKET_INBOUND | PACKET_BROADCAST,
  PACKET_INBOUND | PACKET_MULTICAST,
  PACKET_INBOUND | PACKET_PROMISCUOUS,
  PACKET_OUTBOUND,
];
const OUTGOING = 4;

export interface RecorderOptions {
  readonly target: BlockTarget;
  readonly interfaces: Interfaces;
  readonly head: Omit<RecordingHead, 'run' | 'file' | 'facts'>;
  /** Which sources were chosen, for people. */
  readonly sources: string;
  /** Bytes to keep of each packet; absent: its headers. */
  readonly snaplen?: number;
  /** A file is ended when it is this large, or this old. */
  readonly maxBytes?: number;
  readonly maxNs?: number;
  /** What the system calls an interface, where that is not what `interfaces` does. */
  readonly systemName?: (id: number) => string | undefined;
}

/**
 * Writes a live run into a pcapng file while it goes on: the packets with what is said of their connections,
 * the names of addresses, and everything that the machine is fed, in that order (docs/formats.md). Whoever runs
 * the machine tells it each event before the machine gets it. What `write` of the target throws comes out of
 * every call.
 */
export class Recorder {
  private readonly options: RecorderOptions;
  private readonly head: RecordingHead;
  private readonly names = new NameBook();
  private readonly held = new HeldPackets();
  private readonly findings = new Map<string, string[]>();
  /** What a later file repeats; only where there can be one. */
  private readonly state: StateNow | undefined;
  private concludedYet = false;
  private dropped = 0;
  private flushed: Nanos = 0n;
  /** State waits that one tick was not enough for. */
  private behind = false;
  private file: OpenFile;
  private files = 1;

  constructor(options: RecorderOptions) {
    this.options = options;
    this.head = {
      ...options.head,
      run: randomBytes(8).toString('hex'),
      file: 1,
      facts: { kernel: release(), architecture: arch(), sources: options.sources },
    };
    const rotates = options.maxBytes !== undefined || options.maxNs !== undefined;
    this.state = rotates ? new StateNow() : undefined;
    this.file = this.open(0n);
  }

  /** Takes what the machine gets next. */
  take(event: InputEvent): void {
    this.learn(event);
    const { encoder } = this.file;
    encoder.event(event);
    this.state?.take(event);
    if (encoder.waiting >= STATE_BYTES) this.writeState(this.file, PIECES_AT_ONCE);
    if (event.type === 'tick') this.pass(event.time);
  }

  /** The rules were read as far as they can be. */
  concluded(): void {
    this.concludedYet = true;
    this.file.encoder.concluded();
  }

  frame(frame: TappedFrame): void {
    const { file } = this;
    const number = this.interfaceOf(frame);
    const seen = file.interfaces[number];
    if (seen !== undefined) seen.received++;
    const { linkType, bytes, from } = frame;
    const { snaplen } = this.options;
    const captured =
      snaplen === undefined
        ? headerBytes(linkType, bytes, from, frame.captured)
        : Math.min(frame.captured, snaplen);
    this.held.add(
      {
        seconds: frame.seconds,
        nanoseconds: frame.nanoseconds,
        interface: number,
        flags: FLAGS[frame.packetType] ?? 0,
        bytes,
        from,
        captured,
        onWire: frame.onWire,
        words: frame.words,
        row: frame.row,
      },
      file.section,
    );
    if (file.section.waiting >= WRITE_BYTES) this.write();
  }

  /** Hears what the machine says. */
  said(events: readonly OutputEvent[]): void {
    for (const event of events) {
      if (event.type === 'attribution') {
        const { attribution } = event;
        this.held.say(attribution, this.findings.get(attribution.connection) ?? []);
      } else if (event.type === 'notice' && event.notice.connection !== undefined) {
        const { code, connection } = event.notice;
        const codes = this.findings.get(connection) ?? [];
        if (!codes.includes(code)) this.findings.set(connection, [...codes, code]);
      }
    }
  }

  /** The run is over: writes what waits, and the interfaces' counts. */
  end(time: Nanos): void {
    this.close(time);
  }

  private learn(event: InputEvent): void {
    switch (event.type) {
      case 'cluster':
        this.names.learn(event.change);
        break;
      case 'addresses': {
        const { node } = this.options.head;
        if (node !== undefined) this.names.own(node, event.addresses);
        break;
      }
      case 'loss': {
        const { source, count } = event.loss;
        if (source === 'ring' || source === 'capture' || source === 'queue') this.dropped += count;
        break;
      }
      default:
        break;
    }
  }

  private pass(time: Nanos): void {
    const { encoder } = this.file;
    if (time - this.flushed < FLUSH_NS && time >= this.flushed) {
      if (!this.behind) return;
      this.writeState(this.file, PIECES_AT_ONCE);
      this.write();
      this.behind = encoder.busy;
      return;
    }
    this.flushed = time;
    // What is found out about a connection is said with its first packets or not at all.
    this.findings.clear();
    this.held.release(secondsOf(time), subsecondOf(time), this.file.section);
    this.writeState(this.file, PIECES_AT_ONCE);
    this.write();
    this.behind = encoder.busy;
    // A file is ended at once, so not before all but a little is written.
    if (this.behind) return;
    const { maxBytes, maxNs } = this.options;
    const isFull = maxBytes !== undefined && this.file.bytes >= maxBytes;
    this.file.began ??= time;
    if (isFull || (maxNs !== undefined && time - this.file.began >= BigInt(maxNs))) {
      this.close(time);
      this.files++;
      this.file = this.open(time);
    }
  }

  /** Begins a file; a later one with what holds at its beginning. */
  private open(time: Nanos): OpenFile {
    const { target, interfaces } = this.options;
    target.begin();
    const encoder = new RecordEncoder(interfaces);
    const file: OpenFile = {
      section: new SectionWriter({
        application: `${RECORDING_APPLICATION} ${this.head.version}`,
        os: `Linux ${release()}`,
        hardware: arch(),
      }),
      encoder,
      numbers: new Map(),
      interfaces: [],
      states: 0,
      bytes: 0,
      began: undefined,
    };
    encoder.head({ ...this.head, file: this.files });
    // Alone, so that it is found in the first few bytes: by it the file is recognised.
    this.writeState(file);
    if (this.files > 1) {
      for (const event of this.state?.events() ?? []) encoder.event(event);
      if (this.concludedYet) encoder.concluded();
      // Behind the conclusion, as in the first file.
      for (const event of this.state?.connections(time) ?? []) encoder.event(event);
      encoder.resumed();
      this.behind = true;
    }
    file.section.names(this.names.all());
    this.write(file);
    return file;
  }

  private close(time: Nanos): void {
    const { file } = this;
    this.held.releaseAll(file.section);
    file.encoder.end();
    this.writeState(file);
    for (const [number, { received }] of file.interfaces.entries()) {
      // The kernel counts what it drops for all interfaces together: it is told of the first.
      const droppedBySystem = number === 0 ? this.dropped : 0;
      file.section.statistics(number, { time, received, droppedBySystem });
    }
    this.dropped = 0;
    this.write();
    this.options.target.close();
  }

  /** Compresses what of the state waits, or some pieces of it. */
  private writeState(file: OpenFile, pieces = Number.POSITIVE_INFINITY): void {
    const { encoder, section } = file;
    for (let left = pieces; left > 0 && encoder.busy; ) {
      const piece = encoder.take(PIECE_BYTES);
      if (piece === undefined) {
        left -= RULES_PIECES;
        continue;
      }
      left--;
      const deflated = deflateRawSync(piece, DEFLATE);
      section.block(
        STATE_BLOCK_TYPE,
        stateBlock({ number: file.states++, stateBytes: piece.length, deflated }),
      );
    }
  }

  private write(file = this.file): void {
    const { section } = file;
    section.names(this.names.changes());
    const bytes = section.take();
    file.bytes += bytes.length;
    if (bytes.length > 0) this.options.target.write(bytes);
  }

  /**
   * The number of a frame's interface in the file, declared when it is first seen; and once more when the Pod
   * behind it becomes known, as often by a later packet than the first, which may be a neighbour's or a multicast.
   */
  private interfaceOf(frame: TappedFrame): number {
    const { numbers, section, interfaces } = this.file;
    const key = frame.interface * 65_536 + frame.linkType;
    const known = numbers.get(key);
    if (known !== undefined && !known.mayLeadToPod) return known.number;
    const name = this.options.interfaces.name(frame.interface);
    const leads = known?.mayLeadToPod ?? this.leadsElsewhere(frame.interface);
    const description = leads ? this.podBehind(frame) : undefined;
    if (known !== undefined && description === undefined) return known.number;
    const number = section.interface({
      linkType: frame.linkType,
      snapLength: this.options.snaplen ?? 0,
      name: name ?? 'any',
      ...(description !== undefined && { description }),
    });
    numbers.set(key, { number, mayLeadToPod: leads && description === undefined });
    interfaces.push({ received: 0 });
    return number;
  }

  private leadsElsewhere(id: number): boolean {
    const { systemName, interfaces } = this.options;
    const name = systemName === undefined ? interfaces.name(id) : systemName(id);
    return name !== undefined && leadsElsewhere(name);
  }

  /** Who is behind a veth whose packet this is: the Pod that sent it or is to get it. */
  private podBehind(frame: TappedFrame): string | undefined {
    const { words, row } = frame;
    if (row < 0 || words[row + P_CLASS] === CLASS_ICMP_ERROR) return undefined;
    const side = frame.packetType === OUTGOING ? P_DST : P_SRC;
    const address = formatAddress(words, row + side, words[row + P_FAMILY] ?? 4);
    const pod = this.names.of(address, 'pod');
    return pod === undefined ? undefined : `Pod ${pod} (${address})`;
  }
}

/** The file that is being written. */
interface OpenFile {
  readonly section: SectionWriter;
  readonly encoder: RecordEncoder;
  /** Interfaces by what they are in the run, and their link type. */
  readonly numbers: Map<number, { readonly number: number; readonly mayLeadToPod: boolean }>;
  readonly interfaces: { received: number }[];
  states: number;
  bytes: number;
  began: Nanos | undefined;
}
