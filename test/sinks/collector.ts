import { Writable } from 'node:stream';

/** Keeps what is written; while `stalled` it reads nothing until `resume()`, like a pipe that nobody empties. */
export class Collector extends Writable {
  protected readonly chunks: Buffer[] = [];
  private waiting: (() => void) | undefined;
  private stalled: boolean;

  constructor(stalled = false) {
    super({ highWaterMark: 16_384 });
    this.stalled = stalled;
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('utf8');
  }

  get lines(): string[] {
    return this.text.split('\n').slice(0, -1);
  }

  stall(): void {
    this.stalled = true;
  }

  resume(): void {
    this.stalled = false;
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.chunks.push(chunk);
    this.whenRead(done);
  }

  protected whenRead(then: () => void): void {
    if (this.stalled) this.waiting = then;
    else then();
  }
}

/** Like a file or a pipe of the system: takes a copy of what is written, which may be after a while. */
export class Descriptor extends Collector {
  readonly fd = 1;

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.whenRead(() => {
      this.chunks.push(Buffer.from(chunk));
      done();
    });
  }
}
