import { open } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { inflateRawSync } from 'node:zlib';
import { BlockScanner } from '../../decode/record/block-scanner.js';
import { RecordDecoder } from '../../decode/record/decoder.js';
import type { RecordedItem } from '../../decode/record/items.js';
import type { RecordingHead } from '../../decode/record/shapes.js';
import { MAX_STATE_BYTES } from '../../decode/record/state-block.js';
import { C_BITS, C_NSEC, C_SEC, CONNTRACK_WORDS, HAS_TIME } from '../../model/conntrack.js';
import type { InputEvent } from '../../model/event.js';
import { Interfaces } from '../../model/interfaces.js';
import type { Problem } from '../../model/problem.js';
import { type Nanos, nanosOf } from '../../model/time.js';
import { lossOf } from './losses.js';
import { packetTime, type Source, type StreamContext } from './streams.js';

/** A growing file is looked at this often: half as often as its writer writes. */
const FOLLOW_MS = 250;
const FOLLOW_BYTES = 256 * 1024;

/** How a recording is read that is still being written. */
export interface Following {
  /** Ends the waiting for more. */
  readonly signal: AbortSignal;
}

/**
 * The items of one recording, in the order in which the machine got them, and behind them, where it is cut
 * off or damaged, the loss that this is. The rows of an item may be read until the next is asked for.
 */
export async function* recordedItems(
  source: Source,
  context: StreamContext,
  following?: Following,
): AsyncGenerator<RecordedItem> {
  const { file, bytes } = source;
  const scanner = new BlockScanner();
  const decoder = new RecordDecoder(context.interfaces);
  const found: Problem[] = [];
  let last: Nanos | undefined;
  let ended = false;
  let before = 0;
  const chunks =
    following === undefined || file.form !== 'file'
      ? bytes.chunks((problem) => found.push(problem))
      : grown(file.key, following.signal);
  reading: for await (const chunk of chunks) {
    context.onRead(bytes.readBytes - before);
    before = bytes.readBytes;
    scanner.feed(chunk);
    for (let block = scanner.next(); block !== undefined; block = scanner.next()) {
      const state = inflate(block.deflated, block.stateBytes);
      if (state === undefined) {
        found.push(damaged(scanner.done, 'a block of state cannot be inflated'));
        break reading;
      }
      decoder.feed(state);
      for (let item = decoder.next(); item !== undefined; item = decoder.next()) {
        if (item.type === 'event') {
          last = timeOf(item.event) ?? last;
          const { event } = item;
          if (event.type === 'packets') context.onPackets(event.rows.length);
        }
        if (item.type === 'end') ended = true;
        yield item;
      }
      if (decoder.problem !== undefined) break reading;
    }
    // What follows the end (counts of the interfaces) says nothing to us; a follower waits for no more.
    if (scanner.problem !== undefined || (ended && following !== undefined)) break;
  }
  const passedOver = notKnown(decoder.unknown);
  if (passedOver !== undefined) context.onProblem(file.name, passedOver);
  if (ended) return;
  const fault = found[0] ?? scanner.problem ?? decoder.problem ?? cutOff(scanner.done, last);
  context.onProblem(file.name, fault);
  const loss = lossOf(file.name, fault, { from: last });
  if (loss !== undefined) yield { type: 'event', event: loss };
}

/** What the first block says; `undefined` if that cannot be read. */
export function recordingHead(first: Uint8Array): RecordingHead | undefined {
  const scanner = new BlockScanner();
  const decoder = new RecordDecoder(new Interfaces());
  scanner.feed(first);
  const block = scanner.next();
  const state = block === undefined ? undefined : inflate(block.deflated, block.stateBytes);
  if (state === undefined) return undefined;
  decoder.feed(state);
  const item = decoder.next();
  return item?.type === 'head' ? item.head : undefined;
}

function inflate(deflated: Uint8Array, length: number): Uint8Array | undefined {
  try {
    const state = inflateRawSync(deflated, { maxOutputLength: MAX_STATE_BYTES });
    return state.length === length ? state : undefined;
  } catch {
    return undefined;
  }
}

/** What a later version has added is no loss: what nobody can do without would have another version of the block. */
function notKnown(unknown: ReadonlyMap<number, number>): Problem | undefined {
  if (unknown.size === 0) return undefined;
  const kinds = [...unknown.keys()].sort((a, b) => a - b).join(', ');
  const count = [...unknown.values()].reduce((sum, one) => sum + one, 0);
  return {
    code: 'recording-newer',
    message: `${count} items of kinds that this version does not know (${kinds}) were passed over`,
    where: {},
    advice: 'the rest counts; the whichpod version that wrote it reads all of it',
    fatal: false,
  };
}

function damaged(offset: number, message: string): Problem {
  return {
    code: 'recording-damaged',
    message,
    where: { offset },
    advice: 'what came before counts; copy or record the file again',
    fatal: true,
  };
}

function cutOff(offset: number, last: Nanos | undefined): Problem {
  return {
    code: 'recording-cut',
    message:
      last === undefined
        ? 'the recording is cut off before anything happened'
        : 'the recording is cut off: it was ended by force, or not copied whole',
    where: { offset },
    advice: 'what came before counts',
    fatal: true,
  };
}

/** The moment of an event, by its last row if it has rows. */
function timeOf(event: InputEvent): Nanos | undefined {
  switch (event.type) {
    case 'packets':
      return event.rows.length === 0 ? undefined : packetTime(event.rows, event.rows.length - 1);
    case 'conntrack': {
      const { words, length } = event.rows;
      const at = (length - 1) * CONNTRACK_WORDS;
      if (length === 0 || ((words[at + C_BITS] ?? 0) & HAS_TIME) === 0) return undefined;
      return nanosOf(words[at + C_SEC] ?? 0, words[at + C_NSEC] ?? 0);
    }
    case 'loss':
      return event.loss.to;
    case 'notice':
      return event.notice.time;
    default:
      return event.time;
  }
}

/** All bytes of a file, and what is added to it, until the signal. */
async function* grown(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const handle = await open(path);
  const buffer = new Uint8Array(FOLLOW_BYTES);
  try {
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, null);
      if (bytesRead > 0) yield buffer.subarray(0, bytesRead);
      else if (signal.aborted) return;
      else await wait(FOLLOW_MS, undefined, { signal }).catch(() => undefined);
    }
  } finally {
    await handle.close();
  }
}
