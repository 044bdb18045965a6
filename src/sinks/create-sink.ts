import { createNdjsonSink } from './ndjson.js';
import type { Format, Sink, SinkOptions } from './sink.js';
import { createSummarySink } from './summary.js';
import { createTableSink, createWideSink } from './table.js';

const SINKS: Readonly<Record<Format, (options: SinkOptions) => Sink>> = {
  table: createTableSink,
  wide: createWideSink,
  ndjson: createNdjsonSink,
  summary: createSummarySink,
};

export function createSink(format: Format, options: SinkOptions): Sink {
  return SINKS[format](options);
}
