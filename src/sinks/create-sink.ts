import type { Format, Sink, SinkOptions } from './sink.js';

/** Each is loaded when it is asked for: what lays out columns takes as long to load as Node to start. */
const SINKS: Readonly<
  Record<Format, () => Promise<(options: SinkOptions) => Sink | Promise<Sink>>>
> = {
  table: async () => (await import('./table.js')).createTableSink,
  wide: async () => (await import('./table.js')).createWideSink,
  ndjson: async () => (await import('./ndjson.js')).createNdjsonSink,
  summary: async () => (await import('./summary.js')).createSummarySink,
};

export async function createSink(format: Format, options: SinkOptions): Promise<Sink> {
  const create = await SINKS[format]();
  return await create(options);
}
