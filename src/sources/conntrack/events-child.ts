import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import type { Subscriber } from 'rxjs';
import { ConntrackTextReader } from '../../decode/conntrack/text.js';
import { ConntrackXmlReader } from '../../decode/conntrack/xml.js';
import type { InputEvent, Loss } from '../../model/event.js';
import type { Nanos } from '../../model/time.js';
import { Backoff } from '../cluster/backoff.js';
import { groupSocket } from './group-socket.js';
import { lastingError, lastLine } from './program.js';

/** How often, and how long, a new child is looked at to see whether it listens: it takes a few ms. */
const READY_POLL_MS = 10;
const READY_MS = 2_000;
/** A child that never listened this often in a row never will. */
const MAX_FALSE_STARTS = 3;
/** A child that lived this long was well: the next restart waits as briefly as the first. */
const WELL_MS = 60_000;
/** After SIGTERM the program prints its last words and ends at once; only a stopped one does not. */
const TERM_MS = 1_000;
/** What is kept of what it says on stderr, to explain its end. */
const STDERR_BYTES = 4_096;
/**
 * Lost events lie between the program's last reading and its complaint. It reads at once what there is,
 * so the last output tells when that was; but output also waits for us, and long quiet times lose nothing.
 */
const GAP_AT_LEAST: Nanos = 1_000_000_000n;
const GAP_AT_MOST: Nanos = 5_000_000_000n;

/** conntrack-tools 1.4.7, once an overrun. */
const OVERRUN = /^WARNING: We have hit ENOBUFS!/gm;

export interface EventsChildOptions {
  readonly command: readonly string[];
  readonly format: 'text' | 'xml';
  readonly now: () => Nanos;
  /** Changes of existing entries too. */
  readonly updates: boolean;
  /** A child listens: the table may be listed. Again after each restart and each overrun. */
  readonly onListening: () => void;
}

/**
 * The default of 208 KiB is full after 170 events, which the kernel charges with their whole buffers. This
 * is about 6,500 events, except in version 1.4.7, which enlarges the wrong one of its two sockets.
 */
const RECEIVE_BUFFER_BYTES = 8 << 20;

/** Keeps a `conntrack -E` running and turns what it prints into events, until `stop`. */
export class EventsChild {
  private readonly options: EventsChildOptions;
  private readonly subscriber: Subscriber<InputEvent>;
  private readonly backoff = new Backoff(Math.random);
  private child: ChildProcessByStdio<null, Readable, Readable> | undefined;
  private timer: NodeJS.Timeout | undefined;
  private reader: ConntrackTextReader | ConntrackXmlReader;
  private stderr = '';
  private lastHeard: Nanos;
  private listeningSince: Nanos | undefined;
  /** Since when nobody listened; absent before the first child did, and while one does. */
  private gapFrom: Nanos | undefined;
  private falseStarts = 0;
  private drops = 0;

  constructor(options: EventsChildOptions, subscriber: Subscriber<InputEvent>) {
    this.options = options;
    this.subscriber = subscriber;
    this.lastHeard = options.now();
    this.reader = newReader(options.format);
  }

  start(): void {
    const { command, format, updates } = this.options;
    const output = format === 'xml' ? 'xml,timestamp,id' : 'timestamp,extended,id';
    const kinds = updates ? 'NEW,UPDATES,DESTROY' : 'NEW,DESTROY';
    const events = ['-E', '-e', kinds, '-o', output, '-b', String(RECEIVE_BUFFER_BYTES)];
    const [program = '', ...args] = [...command, ...events];
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // XML's times are local, and tell no zone.
      env: { ...process.env, TZ: 'UTC' },
      // Not in the terminal's group: Ctrl-C is ours to answer, and would look like its death.
      detached: true,
    });
    this.child = child;
    this.reader = newReader(format);
    this.stderr = '';
    this.drops = 0;
    this.listeningSince = undefined;
    child.stdout.on('data', (chunk: Uint8Array) => this.heard(child, chunk));
    child.stderr.setEncoding('utf8').on('data', (text: string) => this.complained(child, text));
    let ended = false;
    const end = (how: string, missing: boolean, code: number): void => {
      if (ended) return;
      ended = true;
      this.ended(child, how, missing, code);
    };
    child.on('error', (error: NodeJS.ErrnoException) => {
      end(error.message, error.code === 'ENOENT', -1);
    });
    child.on('close', (code, signal) => end(signal ?? `exit code ${code}`, false, code ?? -1));
    void this.awaitListening(child);
  }

  /** Ends the child: asked first, then forced. Its output is read on and dropped, so that it can end. */
  stop(): void {
    clearTimeout(this.timer);
    const { child } = this;
    this.child = undefined;
    if (child === undefined) return;
    child.kill('SIGTERM');
    const force = setTimeout(() => child.kill('SIGKILL'), TERM_MS);
    child.on('exit', () => clearTimeout(force));
    child.on('error', () => clearTimeout(force));
  }

  private heard(child: object, chunk: Uint8Array): void {
    if (child !== this.child) return;
    this.lastHeard = this.options.now();
    this.listening();
    this.reader.feed(chunk);
    this.flush();
  }

  private flush(): void {
    const { rows, problems } = this.reader;
    if (rows.length > 0) this.subscriber.next({ type: 'conntrack', rows });
    rows.clear();
    for (const { lost, message } of problems.splice(0)) {
      if (lost !== undefined) this.lose('conntrack', lost, this.gapStart(), message);
    }
  }

  private complained(child: { readonly pid?: number | undefined }, text: string): void {
    if (child !== this.child) return;
    // The last line may not be whole yet: it is looked at again with the next piece.
    const all = this.stderr + text;
    const before = this.stderr.lastIndexOf('\n') + 1;
    const overruns = all.slice(before, all.lastIndexOf('\n') + 1).match(OVERRUN)?.length ?? 0;
    // Its word on the buffer's size explains nothing.
    this.stderr = all.replace(/^NOTICE: .*\n/gm, '').slice(-STDERR_BYTES);
    if (overruns > 0) void this.overran(child.pid ?? 0, overruns);
  }

  private async overran(pid: number, overruns: number): Promise<void> {
    const from = this.gapStart();
    const socket = await groupSocket(pid);
    if (this.subscriber.closed) return;
    const dropped = (socket?.drops ?? 0) - this.drops;
    this.drops = socket?.drops ?? this.drops;
    this.lose(
      'netlink',
      Math.max(overruns, dropped),
      from,
      'conntrack events overran the buffer of conntrack’s socket; the table is listed again',
    );
    this.options.onListening();
  }

  private async awaitListening(child: { readonly pid?: number | undefined }): Promise<void> {
    const until = Date.now() + READY_MS;
    while (child === this.child && this.listeningSince === undefined && Date.now() < until) {
      if (child.pid === undefined) return;
      if ((await groupSocket(child.pid)) !== undefined) break;
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
    if (child === this.child && child.pid !== undefined) this.listening();
  }

  /** The child was seen to listen, or has printed something; only the first time counts. */
  private listening(): void {
    if (this.listeningSince !== undefined) return;
    const { gapFrom } = this;
    this.listeningSince = this.options.now();
    this.falseStarts = 0;
    this.gapFrom = undefined;
    if (gapFrom !== undefined) {
      this.lose('conntrack', 1, gapFrom, 'nobody listened while conntrack was started again');
    }
    this.options.onListening();
  }

  private ended(child: object, how: string, missing: boolean, code: number): void {
    if (child !== this.child) return;
    this.child = undefined;
    this.reader.end();
    this.flush();
    const lasting = lastingError(this.options.command, missing, code, this.stderr || how);
    if (lasting !== undefined) {
      this.subscriber.error(lasting);
      return;
    }
    const now = this.options.now();
    const said = lastLine(this.stderr);
    const why = said === '' ? how : `${how}: ${said}`;
    if (this.listeningSince === undefined && ++this.falseStarts === MAX_FALSE_STARTS) {
      this.subscriber.error(new Error(`conntrack -E ends before it listens (${why})`));
      return;
    }
    if (this.listeningSince !== undefined) {
      if (now - this.listeningSince > BigInt(WELL_MS) * 1_000_000n) this.backoff.reset();
      this.gapFrom = this.lose('conntrack', 1, this.gapStart(), `conntrack -E ended (${why})`);
    }
    const wait = this.backoff.next();
    const detail = `conntrack -E ended (${why}); it is started again in ${wait} ms`;
    this.subscriber.next({
      type: 'notice',
      notice: { code: 'conntrack-restart', time: now, detail },
    });
    if (this.subscriber.closed) return;
    this.timer = setTimeout(() => this.start(), wait);
  }

  private gapStart(): Nanos {
    const now = this.options.now();
    const latest = now - GAP_AT_LEAST;
    const earliest = now - GAP_AT_MOST;
    const from = this.lastHeard < latest ? this.lastHeard : latest;
    return from > earliest ? from : earliest;
  }

  /** Tells of a loss from `from` until now; returns that moment. */
  private lose(source: Loss['source'], count: number, from: Nanos, detail: string): Nanos {
    const to = this.options.now();
    this.subscriber.next({ type: 'loss', loss: { source, count, from, to, detail } });
    return to;
  }
}

const newReader = (format: 'text' | 'xml'): ConntrackTextReader | ConntrackXmlReader =>
  format === 'xml' ? new ConntrackXmlReader() : new ConntrackTextReader();
