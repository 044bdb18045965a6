import type { InputEvent } from '../model/event.js';
import type { Interfaces } from '../model/interfaces.js';
import { mergeByTime } from './merge.js';

/**
 * The events of inputs in the order in which the machine gets them. One that kept a machine's own order
 * keeps it: there is no better one, and ticks have their places in it.
 */
export function inTime(
  inputs: {
    readonly streams: readonly AsyncIterable<InputEvent>[];
    readonly recorded?: object;
  },
  interfaces: Interfaces,
): AsyncGenerator<readonly InputEvent[]> {
  return inputs.recorded === undefined
    ? mergeByTime(inputs.streams, interfaces)
    : oneByOne(inputs.streams);
}

async function* oneByOne(
  streams: readonly AsyncIterable<InputEvent>[],
): AsyncGenerator<readonly InputEvent[]> {
  for (const stream of streams) for await (const event of stream) yield [event];
}
