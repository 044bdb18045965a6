import { humanCount } from '../sinks/units.js';
import type { Io } from './io.js';

/** Shorter work needs no bar. */
const AFTER_MS = 700;
const EVERY_MS = 100;
const WIDTH = 30;

/** Progress of reading on stderr, where that is a terminal and the work is long enough to ask about it. */
export class Progress {
  private readonly io: Io;
  private readonly started: bigint;
  private last = 0;
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
    const rate = done / 1e6 / (elapsed / 1e3);
    const packets = this.packets === 0 ? '' : `, ${humanCount(this.packets)} packets`;
    const megabytes = `${(done / 1e6).toFixed(0)} MB${packets}`;
    if (total <= 0 || done > total) {
      this.io.stderr.write(`\r\u001b[K${megabytes}, ${rate.toFixed(0)} MB/s`);
      return;
    }
    const part = done / total;
    const filled = Math.round(part * WIDTH);
    const left = part > 0 ? (elapsed / part - elapsed) / 1e3 : 0;
    this.io.stderr.write(
      `\r\u001b[K[${'#'.repeat(filled)}${'.'.repeat(WIDTH - filled)}] ${Math.floor(part * 100)} %  ${megabytes}  ${rate.toFixed(0)} MB/s  ${left.toFixed(0)} s left`,
    );
  }

  /** Takes the line away. */
  end(): void {
    if (this.drawn) this.io.stderr.write('\r\u001b[K');
    this.drawn = false;
  }
}
