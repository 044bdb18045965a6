import pc from 'picocolors';
import type { Summary } from '../model/attribution.js';
import { summaryLine } from './ndjson.js';
import type { Sink, SinkOptions } from './sink.js';
import { type Renderer, TextSink } from './text-sink.js';

/** The summary alone: a block on a terminal, else its one line of NDJSON. */
export async function createSummarySink(options: SinkOptions): Promise<Sink> {
  const write = options.terminal ? await blockWriter(options) : lineOf;
  const renderer: Renderer = {
    render: (events, to) => {
      for (const event of events) if (event.type === 'summary') to.text(write(event.summary));
    },
    tick: () => undefined,
    end: () => undefined,
  };
  return new TextSink(renderer, options);
}

const lineOf = (summary: Summary): string => `${summaryLine(summary)}\n`;

async function blockWriter(options: SinkOptions): Promise<(summary: Summary) => string> {
  const { summaryBlock } = await import('./summary-block.js');
  const colors = pc.createColors(options.colors.stdout);
  return (summary) => summaryBlock(summary, colors, options.columns());
}
