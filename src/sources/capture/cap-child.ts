/**
 * The child process in which cap lives, started by cap.ts. cap may end its whole process (an assertion
 * fails when a captured interface goes away, mscdex/cap#82), can be loaded once per process only, and
 * gives frames without time: here they are stamped as they arrive and sent in batches.
 */
import { FRAME_HEADER_BYTES, type FromChild, type ToChild } from './cap-messages.js';

/**
 * Only this device: cap asks for promiscuous mode always, libpcap ignores that for `any` alone, and a
 * promiscuous bridge duplicates the traffic that it shows.
 */
const DEVICE = 'any';

/** cap's snap length is 65,535. */
const FRAME_BYTES = 65_536;

/**
 * With that snap length each slot of libpcap's ring takes 64 KiB: room for 2,048 packets, half a second of
 * 500 connections a second on a busy machine. What does not fit is lost, and cap cannot say how much.
 */
const KERNEL_BUFFER_BYTES = 128 << 20;

/** A batch is sent when it is this full, or after this time. */
const BATCH_BYTES = 128 << 10;
const BATCH_MS = 1;

/** Batches that may be under way before frames are dropped and counted: a megabyte. */
const MAX_UNDER_WAY = 8;

/** The clock is set anew when it is off by more than this: it was stepped, or it has drifted. */
const MAX_CLOCK_ERROR_MS = 2;

/** Frames to be sent, and the rule that the parent must take before more is sent. */
class Outbox {
  private readonly batch = Buffer.alloc(BATCH_BYTES);
  private readonly snaplen: number;
  private used = 0;
  private count = 0;
  private dropped = 0;
  private underWay = 0;
  private timer: NodeJS.Timeout | undefined;
  private clockOffsetMs = Date.now() - performance.now();

  constructor(snaplen: number) {
    this.snaplen = snaplen;
  }

  add(frame: Buffer, length: number): void {
    const captured = Math.min(length, this.snaplen);
    const size = FRAME_HEADER_BYTES + ((captured + 3) & ~3);
    if (this.used + size > BATCH_BYTES) this.flush();
    if (this.used + size > BATCH_BYTES) {
      this.dropped++;
      return;
    }
    const nowMs = performance.now() + this.clockOffsetMs;
    const seconds = Math.floor(nowMs / 1_000);
    const microseconds = Math.floor((nowMs - seconds * 1_000) * 1_000);
    let at = this.batch.writeUInt32LE(seconds, this.used);
    at = this.batch.writeUInt32LE(microseconds * 1_000, at);
    at = this.batch.writeUInt32LE(captured, at);
    at = this.batch.writeUInt32LE(length, at);
    frame.copy(this.batch, at, 0, captured);
    this.used += size;
    this.count++;
    this.timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  /** The parent has taken a batch. */
  taken(): void {
    this.underWay--;
    if (this.used > 0 || this.dropped > 0) this.timer ??= setTimeout(() => this.flush(), BATCH_MS);
  }

  private flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.underWay >= MAX_UNDER_WAY || !process.connected) return;
    this.underWay++;
    // A copy of just what is used: the batch is filled again before this has been written.
    const bytes = Uint8Array.prototype.slice.call(this.batch, 0, this.used);
    send({ type: 'frames', bytes, count: this.count, dropped: this.dropped });
    this.used = 0;
    this.count = 0;
    this.dropped = 0;
    const offset = Date.now() - performance.now();
    if (Math.abs(offset - this.clockOffsetMs) > MAX_CLOCK_ERROR_MS) this.clockOffsetMs = offset;
  }
}

function send(message: FromChild, then?: () => void): void {
  process.send?.(message, undefined, {}, () => then?.());
}

function fail(why: 'missing' | 'permission' | 'other', error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  send({ type: 'failed', why, message }, () => process.exit(1));
}

/** libpcap tells refusals in words only. */
function whyNotOpen(error: unknown): 'permission' | 'other' {
  return /permission|not permitted/i.test(String(error)) ? 'permission' : 'other';
}

async function open(filter: string, snaplen: number): Promise<void> {
  let Cap: typeof import('cap')['Cap'];
  try {
    Cap = (await import('cap')).default.Cap;
  } catch (error) {
    fail('missing', error);
    return;
  }
  const outbox = new Outbox(snaplen);
  process.on('message', (message: ToChild) => {
    if (message.type === 'taken') outbox.taken();
  });
  // The listener below refers to it for as long as cap may write into it.
  const frame = Buffer.alloc(FRAME_BYTES);
  const capture = new Cap();
  try {
    capture.on('packet', (length) => outbox.add(frame, Math.min(length, frame.length)));
    const linkType = capture.open(DEVICE, filter, KERNEL_BUFFER_BYTES, frame);
    send({ type: 'open', linkType });
  } catch (error) {
    fail(whyNotOpen(error), error);
  }
}

process.once('message', (message: ToChild) => {
  if (message.type === 'open') void open(message.filter, message.snaplen);
});
// The parent is gone, whatever became of it.
process.on('disconnect', () => process.exit(0));
// Ctrl-C goes to the whole process group; when to end is the parent's to say.
process.on('SIGINT', () => {});
