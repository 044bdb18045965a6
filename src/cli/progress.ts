import { humanCount } from '../sinks/units.js';
import type { Io } from './io.js';

/** Shorter work needs no bar. */
const AFTER_MS = 700;
const EVERY_MS = 100;
const WIDTH = 30;
/** The rate is that of the last so many looks (3 s): the first moments, when rules are read, tell nothing of the rest. */
const LOOKS = 30;
/** Of less time no rate is told. */
const MEASURED_MS = 1_000;

/** Progress of reading on stderr, where that is a terminal and the work is long enough to ask about it. */
export class Progress {
  private readonly io: Io;
  private readonly started: bigint;
  private last = 0;
  private readonly looks: { readonly atMs: number; readonly done: number }[] = [];
  private drawn = false;
  /** Read so far; shown once there are any. */
  packets = 0;

  constructor(io: Io) {
    this.io = io;
    this.started = io.now();
  }

  /** `total` 0: nobody knows how much there is (a pipe). */
  show(done: number, total: number): void {
    if (!this.io.terminal.stderr) return;
    const elapsed = Number((this.io.now() - this.started) / 1_000_000n);
    if (elapsed < AFTER_MS || elapsed - this.last < EVERY_MS) return;
    this.last = elapsed;
    this.drawn = true;
    const rate = this.rate(elapsed, done);
    const packets = this.packets === 0 ? '' : `, ${humanCount(this.packets)} packets`;
    const read = `${(done / 1e6).toFixed(0)} MB${packets}`;
    const speed = rate === undefined ? '' : `  ${(rate / 1e6).toFixed(rate < 1e7 ? 1 : 0)} MB/s`;
    if (total <= 0 || done > total) {
      this.io.stderr.write(`\r\u001b[K${read}${speed}`);
      return;
    }
    const part = done / total;
    const filled = Math.round(part * WIDTH);
    const bar = `[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${Math.floor(part * 100)} %`;
    const left = rate === undefined ? '' : `  ${untilDone((total - done) / rate)}`;
    this.io.stderr.write(`\r\u001b[K${bar}  ${read}${speed}${left}`);
  }

  /** Bytes a second of late; undefined until there is enough to tell by. */
  private rate(elapsed: number, done: number): number | undefined {
    const { looks } = this;
    const [first] = looks;
    looks.push({ atMs: elapsed, done });
    if (looks.length > LOOKS) looks.shift();
    if (first === undefined || elapsed - first.atMs < MEASURED_MS) return undefined;
    const bytes = done - first.done;
    return bytes > 0 ? (bytes / (elapsed - first.atMs)) * 1e3 : undefined;
  }

  /** Takes the line away. */
  end(): void {
    if (this.drawn) this.io.stderr.write('\r\u001b[K');
    this.drawn = false;
  }
}

/** `9 s left`, `2 min 5 s left`, `3 h 4 min left`. */
function untilDone(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 60) return `${s} s left`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min ${s % 60} s left`;
  return `${Math.floor(min / 60)} h ${min % 60} min left`;
}
