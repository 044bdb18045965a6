import { Observable, type Subscriber } from 'rxjs';
import { decodeConntrackMessages, dumpRequest } from '../../decode/conntrack/netlink.js';
import {
  C_BITS,
  C_EVENT,
  C_LATENESS,
  EVENT_LISTED,
  IS_KERNEL_TIME,
} from '../../model/conntrack.js';
import { ConntrackRows } from '../../model/conntrack-rows.js';
import type { InputEvent, Loss } from '../../model/event.js';
import { PermissionError, UsageError } from '../../model/problem.js';
import { type Nanos, nanosOf } from '../../model/time.js';
import {
  type AddonLoad,
  isNativeError,
  loadAddon,
  NETLINK_HEADER_WORDS,
  NETLINK_KIND,
  NETLINK_KIND_GAP,
  NETLINK_KIND_REQUEST_FAILED,
  NETLINK_KIND_TRUNCATED,
  NETLINK_LENGTH,
  NETLINK_NANOSECONDS,
  NETLINK_SECONDS,
  NETLINK_WAITED,
  type NetlinkSocket,
} from '../../native/binding.js';
import type { Backlog } from '../backlog.js';
import { wallClock } from '../wall-clock.js';

export interface ConntrackNetlinkOptions {
  /** Changes of existing entries too (assured, state, mark): ten times the events, seldom needed. */
  readonly updates?: boolean;
  /** false: no listing at the start. After a loss, and when `relist` asks, the table is listed anyway. */
  readonly list?: boolean;
  /** false: listings only, no events. */
  readonly events?: boolean;
  /** Each emission asks for a listing; while one runs, any number of them ask for one more. */
  readonly relist?: Observable<unknown>;
  readonly receiveBufferBytes?: number;
  /** Is told what waits. */
  readonly backlog?: Backlog;
}

// linux/netlink.h, linux/netfilter/nfnetlink_compat.h
const NETLINK_NETFILTER = 12;
const GROUP_NEW = 1;
const GROUP_UPDATE = 2;
const GROUP_DESTROY = 3;
/** AF_UNSPEC: the entries of both families in one dump. */
const BOTH_FAMILIES = 0;
// include/uapi/asm-generic/errno-base.h and errno.h
const EPERM = 1;
/** A signal, no memory or room for the moment, a dump that another one is in the way of. */
const PASSING_ERRORS = new Set([4, 11, 12, 16, 22, 105]);

/** About 80,000 events, which the kernel charges with their whole buffers: seconds of a busy node. */
const RECEIVE_BUFFER_BYTES = 64 << 20;

/**
 * A listing during which the table was resized may lack entries, so it is repeated; a table that is
 * resized this often in a row is growing, and its new entries come as events anyway. One that could not be
 * made for a reason that passes is repeated as often.
 */
const MAX_REPEATS = 3;

/**
 * How late the reader may be woken although it slept until something came: 130 ms were seen on two
 * processors with ten runnable threads, and a container whose share is used up waits longer.
 */
const WAKE_LATENESS_NS = 1_000_000_000;

/** The bound that C_LATENESS is given where waiting was longer than 32 bits of nanoseconds can tell. */
const MAX_LATENESS_NS = 0xffff_ffff;

/**
 * Conntrack events and listings of this process's network namespace over ctnetlink. On subscription it
 * joins NEW and DESTROY, then lists the table once, so nothing falls between; it never ends by itself.
 * Emits `conntrack` (the rows are filled again after each emission) and `loss` with source `netlink`
 * when the socket overran, followed by a new listing. Errors: PermissionError without CAP_NET_ADMIN,
 * UsageError where the addon cannot be loaded, or what the system said.
 */
export function conntrackNetlink(
  options: ConntrackNetlinkOptions = {},
  load: () => AddonLoad = loadAddon,
): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const loading = load();
    if (!loading.ok) {
      subscriber.error(new UsageError(loading.reason));
      return undefined;
    }
    const groups = options.events === false ? [] : [GROUP_NEW, GROUP_DESTROY];
    if (options.updates === true) groups.push(GROUP_UPDATE);
    let reader: BatchReader | undefined;
    let socket: NetlinkSocket;
    try {
      socket = new loading.addon.NetlinkSocket(
        {
          protocol: NETLINK_NETFILTER,
          groups,
          receiveBufferBytes: options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES,
        },
        (buffer, count, failure) => {
          reader?.batch(buffer, count);
          if (failure !== undefined) subscriber.error(failure);
        },
      );
    } catch (error) {
      const refused = isNativeError(error) && error.errno === EPERM;
      subscriber.error(refused ? refusal(error) : error);
      return undefined;
    }
    const opened = new BatchReader(socket, subscriber);
    reader = opened;
    subscriber.add(options.backlog?.add(() => socket.waiting()));
    subscriber.add(() => socket.close());
    if (options.list !== false) opened.list();
    if (options.relist !== undefined) {
      subscriber.add(options.relist.subscribe({ next: () => opened.list() }));
    }
    return undefined;
  });
}

/** Why `conntrackNetlink` cannot work here, permissions apart; `undefined` if it can. */
export function whyNoNetlink(load: () => AddonLoad = loadAddon): string | undefined {
  const loading = load();
  return loading.ok ? undefined : loading.reason;
}

function refusal(cause: Error): PermissionError {
  return new PermissionError(
    `reading conntrack over netlink needs the capability CAP_NET_ADMIN (${cause.message}); run as root, or in a container add NET_ADMIN to securityContext.capabilities`,
    { cause },
  );
}

/** Turns batches into rows, and sees to it that listings are asked for one after the other. */
class BatchReader {
  private readonly rows = new ConntrackRows();
  // The addon fills the same buffer again and again.
  private header = new Uint32Array(0);
  private view = new DataView(new ArrayBuffer(0));
  /** Sequence number of the dump that runs, 0 for none; events have none either. */
  private running = 0;
  private lastSequence = 0;
  private again = false;
  private repeats = 0;
  private interrupted = false;
  private readonly socket: NetlinkSocket;
  private readonly subscriber: Subscriber<InputEvent>;

  constructor(socket: NetlinkSocket, subscriber: Subscriber<InputEvent>) {
    this.socket = socket;
    this.subscriber = subscriber;
  }

  /** Asks for a listing, or for one more if one is running: the kernel runs one dump at a time. */
  list(): void {
    this.repeats = 0;
    if (this.running === 0) this.request();
    else this.again = true;
  }

  batch(buffer: ArrayBuffer, count: number): void {
    if (this.view.buffer !== buffer) {
      this.header = new Uint32Array(buffer);
      this.view = new DataView(buffer);
    }
    const { header, view } = this;
    this.rows.clear();
    let at = 0;
    for (let i = 0; i < count && !this.subscriber.closed; i++) {
      const length = header[at + NETLINK_LENGTH] ?? 0;
      const kind = header[at + NETLINK_KIND];
      if (kind === NETLINK_KIND_GAP) this.gap(header, at);
      else if (kind === NETLINK_KIND_REQUEST_FAILED) {
        this.failed(header[at + NETLINK_HEADER_WORDS] ?? 0);
      } else this.datagram(header, at, view, length, kind === NETLINK_KIND_TRUNCATED);
      at += NETLINK_HEADER_WORDS + ((length + 3) >>> 2);
    }
    this.flush();
  }

  private request(): void {
    // Whoever got the last event may have unsubscribed, and so closed the socket.
    if (this.subscriber.closed) return;
    this.interrupted = false;
    this.lastSequence = (this.lastSequence % 0x7fff_ffff) + 1;
    this.running = this.lastSequence;
    this.socket.request(dumpRequest(BOTH_FAMILIES, this.running));
  }

  private datagram(
    header: Uint32Array,
    at: number,
    view: DataView,
    length: number,
    truncated: boolean,
  ): void {
    const start = (at + NETLINK_HEADER_WORDS) * 4;
    const seconds = header[at + NETLINK_SECONDS] ?? 0;
    const nanoseconds = header[at + NETLINK_NANOSECONDS] ?? 0;
    const first = this.rows.length;
    const said = decodeConntrackMessages(
      view,
      start,
      start + length,
      this.rows,
      seconds,
      nanoseconds,
    );
    this.stampLateness(first, header[at + NETLINK_WAITED] ?? 0);
    for (const problem of said.problems) {
      this.lose({
        source: 'netlink',
        count: problem.lost ?? 1,
        to: nanosOf(seconds, nanoseconds),
        detail: truncated
          ? 'a conntrack message was longer than the reader’s buffer'
          : problem.message,
      });
    }
    if (said.interrupted) this.interrupted = true;
    if (said.error !== 0) this.failed(said.error);
    else if (said.done) this.listed();
  }

  /** The socket knows better than the decoder's general bound how long an event may have waited. */
  private stampLateness(first: number, waited: number): void {
    const { words, stride, length } = this.rows;
    const lateness = Math.min(waited + WAKE_LATENESS_NS, MAX_LATENESS_NS);
    for (let i = first; i < length; i++) {
      const row = i * stride;
      if (words[row + C_EVENT] === EVENT_LISTED) continue;
      if (((words[row + C_BITS] ?? 0) & IS_KERNEL_TIME) === 0) words[row + C_LATENESS] = lateness;
    }
  }

  private gap(header: Uint32Array, at: number): void {
    const body = at + NETLINK_HEADER_WORDS;
    // The reader says when it woke, and it may have overrun before.
    const woke = nanosOf(header[body + 1] ?? 0, header[body + 2] ?? 0);
    const from = woke - BigInt(WAKE_LATENESS_NS);
    const to = nanosOf(header[at + NETLINK_SECONDS] ?? 0, header[at + NETLINK_NANOSECONDS] ?? 0);
    this.lose({
      source: 'netlink',
      count: Math.max(1, header[body] ?? 0),
      from,
      to: to > from ? to : woke,
      detail: 'conntrack events overran the socket’s buffer; the table is listed again',
    });
    this.list();
  }

  /** A dump has ended with everything that it had. */
  private listed(): void {
    if (this.running === 0) return;
    this.running = 0;
    const repeat = this.interrupted && this.repeats < MAX_REPEATS;
    if (repeat) this.repeats++;
    if (repeat || this.again) {
      this.again = false;
      this.request();
    }
  }

  private failed(errno: number): void {
    if (errno === EPERM) {
      this.flush();
      this.subscriber.error(refusal(new Error('the kernel refused the request with EPERM')));
      return;
    }
    if (PASSING_ERRORS.has(errno) && this.repeats < MAX_REPEATS) {
      this.repeats++;
      this.request();
      return;
    }
    const now: Nanos = wallClock();
    this.lose({
      source: 'netlink',
      count: 1,
      to: now,
      detail: `the kernel could not list conntrack’s table (errno ${errno})`,
    });
    this.running = 0;
    if (!this.again) return;
    this.again = false;
    this.list();
  }

  private lose(loss: Loss): void {
    this.flush();
    this.subscriber.next({ type: 'loss', loss });
  }

  private flush(): void {
    if (this.rows.length > 0) this.subscriber.next({ type: 'conntrack', rows: this.rows });
    this.rows.clear();
  }
}
