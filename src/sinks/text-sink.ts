import type { OutputEvent, Summary } from '../model/attribution.js';
import type { Loss } from '../model/event.js';
import type { Nanos } from '../model/time.js';
import { eventTime } from './event-time.js';
import { Lines } from './lines.js';
import { Output } from './output.js';
import type { Sink, SinkOptions } from './sink.js';

/** Writes events as whole lines, as far as there is anything to say yet. Knows no stream. */
export interface Renderer {
  render(events: readonly OutputEvent[], to: Lines): void;
  tick(now: Nanos, to: Lines): void;
  end(to: Lines): void;
}

/** Events rendered at once: one write to the stream each, and the bound is looked at in between. */
const SLICE = 1024;

/** The part that all sinks share: the bounded stream, what is dropped and how that is told, the end. */
export class TextSink implements Sink {
  private readonly renderer: Renderer;
  private readonly out: Output;
  private readonly overflow: SinkOptions['overflow'];
  private readonly lines = new Lines();
  private readonly dropped = new Dropped();
  private reported = 0;
  private ending: Promise<void> | undefined;

  constructor(renderer: Renderer, options: Pick<SinkOptions, 'stdout' | 'overflow'>) {
    this.renderer = renderer;
    this.overflow = options.overflow;
    this.out = new Output(options.stdout, () => this.reportDropped());
  }

  get closed(): AbortSignal {
    return this.out.closed;
  }

  get losses(): number {
    return this.reported;
  }

  write(events: readonly OutputEvent[]): void {
    for (let i = 0; i < events.length && !this.deaf; i += SLICE) {
      const slice = events.length <= SLICE ? events : events.slice(i, i + SLICE);
      this.renderer.render(this.admit(slice), this.lines);
      this.flush();
    }
  }

  tick(now: Nanos): void {
    if (this.deaf || this.full) return;
    this.renderer.tick(now, this.lines);
    this.flush();
  }

  ready(): Promise<void> | undefined {
    return this.overflow === 'wait' ? this.out.ready() : undefined;
  }

  end(): Promise<void> {
    this.ending ??= this.finish();
    return this.ending;
  }

  private finish(): Promise<void> {
    if (!this.closed.aborted) {
      this.reportDropped();
      this.renderer.end(this.lines);
      this.flush();
    }
    return this.out.flush();
  }

  private flush(): void {
    if (this.lines.length === 0) return;
    this.out.write(this.lines.take());
    if (this.out.handedOver) this.lines.release();
  }

  private get deaf(): boolean {
    return this.ending !== undefined || this.closed.aborted;
  }

  private get full(): boolean {
    return this.overflow === 'drop' && this.out.full;
  }

  /** What there is room for. A loss and the summary always pass: they are few, and they say what is missing. */
  private admit(events: readonly OutputEvent[]): readonly OutputEvent[] {
    const full = this.full;
    if (!full && this.reported === 0) return events;
    const kept: OutputEvent[] = [];
    for (const event of events) {
      if (event.type === 'summary') {
        const loss = this.takeDropped();
        if (loss) kept.push(loss);
        kept.push({ type: 'summary', summary: this.completed(event.summary) });
      } else if (full && event.type !== 'loss') {
        this.dropped.add(event);
      } else {
        kept.push(event);
      }
    }
    return kept;
  }

  private completed(summary: Summary): Summary {
    return {
      ...summary,
      losses: summary.losses + this.reported,
      leftOut: this.dropped.total,
    };
  }

  private takeDropped(): OutputEvent | undefined {
    const loss = this.dropped.take();
    if (!loss) return undefined;
    this.reported++;
    return { type: 'loss', loss };
  }

  private reportDropped(): void {
    const loss = this.takeDropped();
    if (!loss) return;
    this.renderer.render([loss], this.lines);
    this.flush();
  }
}

/** Counts the events that had no room and words them as the loss that they are. */
class Dropped {
  total = 0;
  private count = 0;
  private from: Nanos | undefined;
  private to: Nanos | undefined;

  add(event: OutputEvent): void {
    this.count++;
    this.total++;
    const time = eventTime(event);
    if (time === undefined) return;
    if (this.from === undefined || time < this.from) this.from = time;
    if (this.to === undefined || time > this.to) this.to = time;
  }

  take(): Loss | undefined {
    if (this.count === 0) return undefined;
    const loss: Loss = {
      source: 'queue',
      count: this.count,
      ...(this.from === undefined ? {} : { from: this.from }),
      ...(this.to === undefined ? {} : { to: this.to }),
      detail: 'the output was read too slowly; this many events were left out of it',
    };
    this.count = 0;
    this.from = undefined;
    this.to = undefined;
    return loss;
  }
}
