import type { OutputEvent } from '../model/attribution.js';
import { type Nanos, parseRfc3339 } from '../model/time.js';

/** Fields of our own NDJSON that hold a time; everything else is as the machine said it. */
const TIMES = new Set(['time', 'endTime', 'from', 'to']);

/** Reads back one line of our own NDJSON; `undefined` if it is none. */
export function parseEvent(line: string): OutputEvent | undefined {
  let body: unknown;
  try {
    body = JSON.parse(line, (key, value: unknown): unknown => {
      if (!TIMES.has(key) || typeof value !== 'string') return value;
      const time: Nanos | undefined = parseRfc3339(value);
      return time ?? value;
    });
  } catch {
    return undefined;
  }
  if (typeof body !== 'object' || body === null || !('schema' in body) || !('type' in body)) {
    return undefined;
  }
  const { schema: _, type, ...fields } = body;
  // The line was written by formatEvent of this same program: its shape is not in question.
  const key = type === 'close' ? 'attribution' : String(type);
  return { type, [key]: fields } as unknown as OutputEvent;
}
