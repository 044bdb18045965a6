import { Observable, type Subscriber } from 'rxjs';
import { FrameDecoder } from '../../decode/capture/frame.js';
import { LINK_ETHERNET, LINK_RAW } from '../../decode/capture/link-types.js';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';
import {
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
  DIRECTION_UNKNOWN,
  P_DIRECTION,
  P_INTERFACE,
  P_LATENESS,
  P_NSEC,
  P_RESOLUTION,
  P_SEC,
} from '../../model/packet.js';
import { PacketRows } from '../../model/packet-rows.js';
import { PermissionError, UsageError } from '../../model/problem.js';
import {
  type AddonLoad,
  isNativeError,
  loadAddon,
  type PacketRing,
  RING_CAPTURED,
  RING_HARDWARE,
  RING_HEADER_WORDS,
  RING_INTERFACE,
  RING_NANOSECONDS,
  RING_NET_OFFSET,
  RING_ON_WIRE,
  RING_PACKET_TYPE,
  RING_SECONDS,
} from '../../native/binding.js';
import type { Backlog } from '../backlog.js';
import { wallClock } from '../wall-clock.js';
import { captureFilter, SNAPLEN } from './filter.js';
import { emptyFrame, type FrameTap } from './frame-tap.js';

export interface CaptureOptions {
  /** Gets the interfaces on which packets are seen. */
  readonly interfaces: Interfaces;
  /** This node's name, for `interfaces`. */
  readonly node?: string;
  /** Whether VXLAN and Geneve datagrams are captured too; see filter.ts. */
  readonly tunnels?: boolean;
  /** Is told what waits. */
  readonly backlog?: Backlog;
  /** Called once, when from then on every packet is captured. */
  readonly onOpen?: () => void;
  /** Hears every frame. */
  readonly tap?: FrameTap;
  /** Bytes to keep of a frame, if more than is needed to understand it: at most MAX_SNAPLEN. */
  readonly snaplen?: number;
  /** Every packet is captured, not only what the machine needs. */
  readonly everything?: boolean;
}

/** A frame must fit into one of the ring's blocks. */
export const MAX_SNAPLEN = 16_384;

export interface RingSize {
  readonly blockBytes: number;
  readonly blocks: number;
  readonly blockTimeoutMs: number;
}

/**
 * 16 MiB in many small blocks. A block that holds anything is closed after a millisecond, so at low rates
 * it is the number of blocks that says how long the reader's thread may be kept from running (half a
 * second; 130 ms were seen on two processors with ten runnable threads), and at the highest their size:
 * 16 MiB are 70,000 packets of the filter, a tenth of a second of more than any node was seen to open.
 * A block holds 150 packets, so it seldom closes before its time. What JavaScript's thread needs longer
 * for is kept by the addon.
 */
const SIZE: RingSize = { blockBytes: 32 * 1024, blocks: 512, blockTimeoutMs: 1 };

/** How often drops are looked for while nothing comes, and how long an interface's name is believed. */
const CHECK_MS = 1_000;

/** While much comes, drops are looked for this often: more would cost as much as reading a batch. */
const DROPS_MS = 20;

// linux/if_arp.h: the two that begin with an Ethernet header.
const ARPHRD_ETHER = 1;
const ARPHRD_LOOPBACK = 772;

/** linux/if_packet.h: host, broadcast, multicast, other host, outgoing. */
const DIRECTIONS = [
  DIRECTION_IN,
  DIRECTION_IN,
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
] as const;

/**
 * Packets of all interfaces of this process's network namespace, from a ring in the kernel. Opens on
 * subscription, closes on unsubscription, never ends by itself. Emits `packets` (kernel time stamps in
 * nanoseconds; the rows are filled again after each emission) and `loss` with source `ring` when the
 * kernel had to drop. Errors: PermissionError without CAP_NET_RAW, UsageError where the addon cannot be
 * loaded, or what the system said.
 */
export function captureRing(
  options: CaptureOptions,
  size: Partial<RingSize> = {},
  load: () => AddonLoad = loadAddon,
): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const loading = load();
    if (!loading.ok) {
      subscriber.error(new UsageError(loading.reason));
      return undefined;
    }
    const tunnels = options.tunnels === true;
    const filter = captureFilter({
      snaplen: Math.min(MAX_SNAPLEN, Math.max(SNAPLEN, options.snaplen ?? 0)),
      tunnels,
      everything: options.everything === true,
    });
    let reader: BatchReader | undefined;
    let ring: PacketRing;
    try {
      ring = new loading.addon.PacketRing(
        { ...SIZE, ...size, filter },
        (buffer, count, failure) => {
          reader?.batch(buffer, count);
          if (failure !== undefined) subscriber.error(failure);
        },
      );
    } catch (error) {
      subscriber.error(explainOpening(error));
      return undefined;
    }
    const opened = new BatchReader(ring, options, subscriber);
    reader = opened;
    const timer = setInterval(() => opened.check(), CHECK_MS);
    const uncount = options.backlog?.add(() => ring.waiting());
    options.onOpen?.();
    return () => {
      clearInterval(timer);
      uncount?.();
      ring.close();
    };
  });
}

function explainOpening(error: unknown): unknown {
  if (isNativeError(error) && (error.code === 'EPERM' || error.code === 'EACCES')) {
    return new PermissionError(
      `capturing packets needs the capability CAP_NET_RAW (${error.message}); run as root, or in a container add NET_RAW to securityContext.capabilities`,
      { cause: error },
    );
  }
  return error;
}

/** Turns batches into rows, and the kernel's counters into losses. */
class BatchReader {
  private readonly rows = new PacketRows();
  // The addon fills the same buffer again and again.
  private header = new Uint32Array(0);
  private bytes = new Uint8Array(0);
  private readonly decoder = new FrameDecoder(this.rows);
  /** Identifiers by kernel index: as asked within the last second, and as last known. */
  private readonly fresh = new Map<number, number>();
  private readonly known = new Map<number, number>();
  private readonly tapped = emptyFrame();
  private drops = 0;
  private checkedMs = Date.now();
  private readonly ring: PacketRing;
  private readonly options: CaptureOptions;
  private readonly subscriber: Subscriber<InputEvent>;

  constructor(ring: PacketRing, options: CaptureOptions, subscriber: Subscriber<InputEvent>) {
    this.ring = ring;
    this.options = options;
    this.subscriber = subscriber;
  }

  batch(buffer: ArrayBuffer, count: number): void {
    if (this.header.buffer !== buffer) {
      this.header = new Uint32Array(buffer);
      this.bytes = new Uint8Array(buffer);
    }
    const { header, bytes } = this;
    const { tap } = this.options;
    const rows = this.rows;
    rows.clear();
    let at = 0;
    for (let i = 0; i < count; i++) {
      const captured = header[at + RING_CAPTURED] ?? 0;
      const row = this.frame(header, at, bytes, captured);
      if (row >= 0) this.complete(header, at, row);
      if (tap !== undefined) this.tell(tap, header, at, captured, row);
      at += RING_HEADER_WORDS + ((captured + 3) >>> 2);
    }
    if (rows.length > 0) this.subscriber.next({ type: 'packets', rows });
    const since = Date.now() - this.checkedMs;
    // A clock that was set back must not put the next look off.
    if (since >= DROPS_MS || since < 0) this.countDrops();
  }

  /** Once a second. */
  check(): void {
    // A name may have changed, and an index may have been given to another interface.
    this.fresh.clear();
    this.countDrops();
  }

  private frame(header: Uint32Array, at: number, bytes: Uint8Array, captured: number): number {
    const start = (at + RING_HEADER_WORDS) * 4;
    const wire = header[at + RING_ON_WIRE] ?? 0;
    const hardware = header[at + RING_HARDWARE];
    if (hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK) {
      return this.decoder.decode(LINK_ETHERNET, bytes, start, captured, wire);
    }
    // Whatever header the others have, the kernel says where it ends.
    const skip = Math.min(header[at + RING_NET_OFFSET] ?? 0, captured);
    return this.decoder.decode(LINK_RAW, bytes, start + skip, captured - skip, wire - skip);
  }

  private complete(header: Uint32Array, at: number, row: number): void {
    const words = this.rows.words;
    words[row + P_SEC] = header[at + RING_SECONDS] ?? 0;
    words[row + P_NSEC] = header[at + RING_NANOSECONDS] ?? 0;
    words[row + P_RESOLUTION] = 1;
    words[row + P_LATENESS] = 0;
    words[row + P_INTERFACE] = this.interfaceOf(header[at + RING_INTERFACE] ?? 0);
    words[row + P_DIRECTION] = DIRECTIONS[header[at + RING_PACKET_TYPE] ?? 0] ?? DIRECTION_UNKNOWN;
  }

  /** As `frame` understood it. */
  private tell(
    tap: FrameTap,
    header: Uint32Array,
    at: number,
    captured: number,
    row: number,
  ): void {
    const { tapped } = this;
    const hardware = header[at + RING_HARDWARE];
    const whole = hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK;
    const skip = whole ? 0 : Math.min(header[at + RING_NET_OFFSET] ?? 0, captured);
    tapped.seconds = header[at + RING_SECONDS] ?? 0;
    tapped.nanoseconds = header[at + RING_NANOSECONDS] ?? 0;
    tapped.interface = this.interfaceOf(header[at + RING_INTERFACE] ?? 0);
    tapped.packetType = header[at + RING_PACKET_TYPE] ?? -1;
    tapped.linkType = whole ? LINK_ETHERNET : LINK_RAW;
    tapped.bytes = this.bytes;
    tapped.from = (at + RING_HEADER_WORDS) * 4 + skip;
    tapped.captured = captured - skip;
    tapped.onWire = (header[at + RING_ON_WIRE] ?? 0) - skip;
    tapped.words = this.rows.words;
    tapped.row = row;
    tap(tapped);
  }

  private interfaceOf(index: number): number {
    const fresh = this.fresh.get(index);
    if (fresh !== undefined) return fresh;
    const { interfaces, node } = this.options;
    const name = this.ring.interfaceName(index);
    let id = name === undefined ? this.known.get(index) : undefined;
    id ??= interfaces.id({
      index,
      ...(name !== undefined && { name }),
      ...(node !== undefined && { node }),
    });
    this.fresh.set(index, id);
    this.known.set(index, id);
    return id;
  }

  private countDrops(): void {
    // Whoever got the rows may have unsubscribed, and so closed the ring.
    if (this.subscriber.closed) return;
    const { drops } = this.ring.stats();
    const now = Date.now();
    const count = drops - this.drops;
    const from = Math.min(this.checkedMs, now);
    this.drops = drops;
    this.checkedMs = now;
    if (count === 0) return;
    this.subscriber.next({
      type: 'loss',
      loss: {
        source: 'ring',
        count,
        from: wallClock(from),
        to: wallClock(now),
        detail: 'the kernel dropped packets: the capture ring was full',
      },
    });
  }
}
