import type { OutputEvent, Summary } from '../model/attribution.js';
import type { Sink, SinkOptions } from '../sinks/sink.js';
import type { OutputRequest } from './commands.js';
import { EXIT } from './exit.js';
import { exitCodeFor } from './fail-on.js';
import { createFilter } from './filter.js';
import type { Io } from './io.js';
import { openSink } from './open-sink.js';

/** What a run shows: its events through the filter into the sink, and the exit code that follows from them. */
export class Shown {
  readonly sink: Sink;
  private readonly filter: (events: readonly OutputEvent[]) => readonly OutputEvent[];
  private readonly failOn: OutputRequest['failOn'];
  private summary: Summary | undefined;

  static async open(
    request: OutputRequest,
    io: Io,
    overflow: SinkOptions['overflow'],
  ): Promise<Shown> {
    return new Shown(request, await openSink(request, io, overflow));
  }

  private constructor(request: OutputRequest, sink: Sink) {
    this.sink = sink;
    this.filter = createFilter(request.filter);
    this.failOn = request.failOn;
  }

  /** Shows events; gives back those that passed the filter. */
  show(events: readonly OutputEvent[]): readonly OutputEvent[] {
    for (const event of events) if (event.type === 'summary') this.summary = event.summary;
    const passed = this.filter(events);
    if (passed.length > 0) this.sink.write(passed);
    return passed;
  }

  /** Waits until everything is written; the exit code. */
  async end(): Promise<number> {
    await this.sink.end();
    if (this.summary === undefined) return EXIT.done;
    const losses = this.summary.losses + this.sink.losses;
    return exitCodeFor({ ...this.summary, losses }, this.failOn);
  }
}
