import pc from 'picocolors';
import type { Summary } from '../model/attribution.js';
import { summaryLine } from './ndjson.js';
import type { Sink, SinkOptions } from './sink.js';
import { summaryBlock } from './summary-block.js';
import { type Renderer, TextSink } from './text-sink.js';

/** The summary alone: a block on a terminal, else its one line of NDJSON. */
export function createSummarySink(options: SinkOptions): Sink {
  const colors = pc.createColors(options.colors.stdout);
  const write = options.terminal
    ? (summary: Summary): string => summaryBlock(summary, colors, options.columns())
    : (summary: Summary): string => `${summaryLine(summary)}\n`;
  const renderer: Renderer = {
    render: (events, to) => {
      for (const event of events) if (event.type === 'summary') to.text(write(event.summary));
    },
    tick: () => undefined,
    end: () => undefined,
  };
  return new TextSink(renderer, options);
}
