import { type ChildProcess, fork } from 'node:child_process';
import { Observable, type Subscriber } from 'rxjs';
import { FrameDecoder } from '../../decode/capture/frame.js';
import { LINK_SLL } from '../../decode/capture/link-types.js';
import type { InputEvent, Loss } from '../../model/event.js';
import { P_LATENESS, P_NSEC, P_RESOLUTION, P_SEC } from '../../model/packet.js';
import { PacketRows } from '../../model/packet-rows.js';
import { PermissionError, UsageError } from '../../model/problem.js';
import type { Nanos } from '../../model/time.js';
import { builtProgram } from '../built.js';
import { wallClock } from '../wall-clock.js';
import { FRAME_HEADER_BYTES, type FromChild, type ToChild } from './cap-messages.js';
import { SNAPLEN } from './filter.js';
import { emptyFrame } from './frame-tap.js';
import { type CaptureOptions, MAX_SNAPLEN } from './ring.js';

export interface CapOptions
  extends Pick<CaptureOptions, 'tunnels' | 'onOpen' | 'tap' | 'snaplen' | 'everything'> {
  /** The child's script, if not the compiled one. */
  readonly child?: string;
  /** The first wait before a restart. */
  readonly restartMs?: number;
}

/**
 * What libpcap is asked for: the same as filter.ts, in its language. It reads TCP flags and ICMP types
 * of IPv4 only, so for IPv6 the bytes are named: next header at 6, flags at 40 + 13, type at 40.
 */
const TUNNEL_PORTS = 'port 4789 or port 8472 or port 6081';
const capFilter = (tunnels: boolean): string =>
  [
    'tcp[tcpflags] & (tcp-syn|tcp-fin|tcp-rst) != 0',
    'ip6[6] = 6 and ip6[53] & 7 != 0',
    tunnels ? 'udp' : `udp and not (${TUNNEL_PORTS})`,
    'sctp',
    'icmp[0] = 3 or icmp[0] = 11 or icmp[0] = 12',
    'ip6[6] = 58 and ip6[40] < 128',
    'ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 44 or ip6[6] = 51 or ip6[6] = 60',
  ]
    .map((part) => `(${part})`)
    .join(' or ');

/**
 * Frames are stamped when the child reads them. libpcap hands them on at once, but a child that must
 * wait for a processor stamps late: more than a hundred milliseconds were seen on two busy cores, and a
 * container whose share is used up waits longer.
 */
const LATENESS_NS = 1_000_000_000;
/** The child's clock counts microseconds. */
const RESOLUTION_NS = 1_000;

/** Waits between restarts: doubled each time up to the longest, each shortened by up to a quarter. */
const RESTART_MS = 250;
const LONGEST_RESTART_MS = 30_000;
const JITTER = 0.25;
/** A child that never came to capture this often in a row never will. */
const MAX_FALSE_STARTS = 3;
/** A child that lived this long was well: the next restart waits as briefly as the first. */
const WELL_MS = 60_000;

/** What is kept of what the child says on stderr, to explain its end. */
const STDERR_BYTES = 2_000;
/** libpcap's or cap's usual complaints that explain nothing. */
const HARMLESS = /^Warning: .*no IPv4 address assigned/;
/** The line of a stack trace or an abort that says what went wrong. */
const TELLING = /^\w*Error\b|Assertion /;

/** The lowest common denominator of SLL: `any` of every libpcap that cap can be built with. */
const EXPECTED_LINK = 'LINKTYPE_LINUX_SLL';

/**
 * Packets of all interfaces through cap (libpcap's device `any`), in a child process of its own. Starts
 * on subscription, ends on unsubscription, never ends by itself. Emits `packets` (without interface;
 * late by up to a second), `loss` with source `capture` for the time without a child or `queue` for frames
 * that it had to drop because we were slow, and a notice `capture-restart` for each restart. libpcap
 * does not let cap say what the kernel dropped. Errors: UsageError if cap is not there, PermissionError
 * without CAP_NET_RAW, or what libpcap said.
 */
export function captureCap(options: CapOptions = {}): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const keeper = new ChildKeeper(options, subscriber);
    keeper.start();
    return () => keeper.stop();
  });
}

/** Keeps a child running and turns what it sends into events. */
class ChildKeeper {
  private readonly rows = new PacketRows();
  private readonly decoder = new FrameDecoder(this.rows);
  private readonly options: CapOptions;
  private readonly subscriber: Subscriber<InputEvent>;
  private readonly tapped = emptyFrame();
  private child: ChildProcess | undefined;
  private timer: NodeJS.Timeout | undefined;
  private waitMs: number;
  private openedAtMs = 0;
  /** Since when nothing is captured; absent while something is, and before the first opening. */
  private gapFrom: Nanos | undefined;
  private lastHeard: Nanos = wallClock();
  private everOpened = false;
  private falseStarts = 0;

  constructor(options: CapOptions, subscriber: Subscriber<InputEvent>) {
    this.options = options;
    this.subscriber = subscriber;
    this.waitMs = options.restartMs ?? RESTART_MS;
  }

  start(): void {
    this.timer = undefined;
    const script = this.options.child ?? builtProgram('sources/capture/cap-child.js');
    const child = fork(script, [], {
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      execArgv: [],
    });
    this.child = child;
    let stderr = '';
    let ended = false;
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-STDERR_BYTES);
    });
    child.on('message', (message: FromChild) => this.heard(child, message));
    const end = (how: string): void => {
      if (ended) return;
      ended = true;
      this.ended(child, how, stderr);
    };
    child.on('error', (error) => end(error.message));
    child.on('close', (code, signal) => end(signal ?? `exit code ${code}`));
    const request: ToChild = {
      type: 'open',
      // libpcap takes no filter for everything.
      filter: this.options.everything === true ? '' : capFilter(this.options.tunnels === true),
      snaplen: Math.min(MAX_SNAPLEN, Math.max(SNAPLEN, this.options.snaplen ?? 0)),
    };
    // A child that is gone already is told by its end.
    child.send(request, () => {});
  }

  stop(): void {
    clearTimeout(this.timer);
    const child = this.child;
    this.child = undefined;
    child?.kill();
  }

  private heard(child: ChildProcess, message: FromChild): void {
    if (child !== this.child) return;
    switch (message.type) {
      case 'open':
        this.opened(message.linkType);
        break;
      case 'failed':
        this.failed(message.why, message.message);
        break;
      case 'frames': {
        const taken: ToChild = { type: 'taken' };
        this.frames(message.bytes, message.count);
        this.lost(message.dropped);
        this.lastHeard = wallClock();
        if (child.connected) child.send(taken, () => {});
        break;
      }
    }
  }

  private opened(linkType: string): void {
    if (linkType !== EXPECTED_LINK) {
      this.subscriber.error(
        new Error(`cap opened the device "any" with the unexpected link type ${linkType}`),
      );
      return;
    }
    const now = wallClock();
    if (!this.everOpened) this.options.onOpen?.();
    this.everOpened = true;
    this.openedAtMs = Date.now();
    if (this.gapFrom !== undefined) {
      this.lose('nothing was captured while cap’s process was started again', this.gapFrom, now);
    }
    this.gapFrom = undefined;
    this.lastHeard = now;
  }

  /** The child says why it cannot capture. What went once may go again; what never went will not. */
  private failed(why: 'missing' | 'permission' | 'other', message: string): void {
    if (why === 'missing') {
      this.subscriber.error(
        new UsageError(
          `the capture backend cap is not installed (${firstLine(message)}); it is built only where libpcap’s headers are: apt-get install libpcap-dev, then npm rebuild cap, or npm ci where it is not there at all`,
        ),
      );
    } else if (why === 'permission') {
      this.subscriber.error(
        new PermissionError(
          `capturing packets with cap needs the capability CAP_NET_RAW (${firstLine(message)}); run as root, or in a container add NET_RAW to securityContext.capabilities`,
        ),
      );
    } else if (!this.everOpened) {
      this.subscriber.error(new Error(`cap cannot capture: ${firstLine(message)}`));
    }
  }

  private ended(child: ChildProcess, how: string, stderr: string): void {
    if (child !== this.child) return;
    this.child = undefined;
    const now = wallClock();
    const said = stderr.split('\n').filter((line) => line !== '' && !HARMLESS.test(line));
    const telling = said.find((line) => TELLING.test(line)) ?? said.at(-1);
    const why = telling === undefined ? how : `${how}: ${telling}`;
    if (!this.everOpened && ++this.falseStarts === MAX_FALSE_STARTS) {
      this.subscriber.error(new Error(`cap’s process ended before it captured anything (${why})`));
      return;
    }
    if (this.gapFrom === undefined) {
      this.lose(`cap’s process ended (${why})`, this.lastHeard, now);
      this.gapFrom = now;
    }
    if (this.openedAtMs > 0 && Date.now() - this.openedAtMs >= WELL_MS) {
      this.waitMs = this.options.restartMs ?? RESTART_MS;
    }
    const wait = Math.round(this.waitMs * (1 - JITTER * Math.random()));
    this.waitMs = Math.min(this.waitMs * 2, LONGEST_RESTART_MS);
    this.openedAtMs = 0;
    this.subscriber.next({
      type: 'notice',
      notice: {
        code: 'capture-restart',
        time: now,
        detail: `cap’s process ended (${why}); it is started again in ${wait} ms`,
      },
    });
    if (this.subscriber.closed) return;
    this.timer = setTimeout(() => this.start(), wait);
  }

  private frames(bytes: Uint8Array, count: number): void {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const { rows, tapped } = this;
    const { tap } = this.options;
    rows.clear();
    let at = 0;
    for (let i = 0; i < count; i++) {
      const captured = view.getUint32(at + 8, true);
      const onWire = view.getUint32(at + 12, true);
      const row = this.decoder.decode(LINK_SLL, bytes, at + FRAME_HEADER_BYTES, captured, onWire);
      if (row >= 0) {
        rows.words[row + P_SEC] = view.getUint32(at, true);
        rows.words[row + P_NSEC] = view.getUint32(at + 4, true);
        rows.words[row + P_RESOLUTION] = RESOLUTION_NS;
        rows.words[row + P_LATENESS] = LATENESS_NS;
      }
      if (tap !== undefined) {
        tapped.seconds = view.getUint32(at, true);
        tapped.nanoseconds = view.getUint32(at + 4, true);
        // SLL's first field counts as linux/if_packet.h does.
        tapped.packetType = bytes[at + FRAME_HEADER_BYTES + 1] ?? -1;
        tapped.linkType = LINK_SLL;
        tapped.bytes = bytes;
        tapped.from = at + FRAME_HEADER_BYTES;
        tapped.captured = captured;
        tapped.onWire = onWire;
        tapped.words = rows.words;
        tapped.row = row;
        tap(tapped);
      }
      at += FRAME_HEADER_BYTES + ((captured + 3) & ~3);
    }
    if (rows.length > 0) this.subscriber.next({ type: 'packets', rows });
  }

  private lost(count: number): void {
    if (count === 0) return;
    this.subscriber.next({
      type: 'loss',
      loss: {
        source: 'queue',
        count,
        from: this.lastHeard,
        to: wallClock(),
        detail: 'cap’s process dropped frames: they were not taken in time',
      },
    });
  }

  private lose(detail: string, from: Nanos, to: Nanos): void {
    const loss: Loss = { source: 'capture', count: 1, from, to: to > from ? to : from, detail };
    this.subscriber.next({ type: 'loss', loss });
  }
}

const firstLine = (text: string): string => text.split('\n', 1)[0] ?? '';
