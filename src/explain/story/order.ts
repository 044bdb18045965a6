import type { StoryLine } from '../../model/story.js';
import type { Nanos } from '../../model/time.js';
import { durationText } from '../words.js';

/** A line with what is known of its moment. */
export interface Placed {
  readonly line: StoryLine;
  /** The true moment lies between these, both included; absent: not known at all. */
  readonly from?: Nanos;
  readonly to?: Nanos;
  /** Lines that come from one source in its order: each is not before the one before it. */
  readonly thread?: string;
}

/**
 * Puts lines in order of time. What has no time stands behind the line of its thread before it, or last.
 * Where a line's span holds other lines whose order to it nothing tells, its detail says so.
 */
export function orderLines(all: readonly Placed[]): readonly Placed[] {
  const tightened = inThread(all);
  const keyed = tightened.map((placed, index) => {
    const key = keyOf(placed);
    return { placed, index, key, side: sideOf(placed, key) };
  });
  keyed.sort((a, b) => compare(a.key, b.key) || a.side - b.side || a.index - b.index);
  return keyed.map(({ placed }) => sayUnsure(placed, tightened));
}

/** A thread's lines keep their order: none may have been before what stands before it. */
function inThread(all: readonly Placed[]): readonly Placed[] {
  const latest = new Map<string, Nanos>();
  return all.map((placed) => {
    const { thread } = placed;
    if (thread === undefined) return placed;
    const floor = latest.get(thread);
    const from =
      floor !== undefined && (placed.from === undefined || placed.from < floor)
        ? floor
        : placed.from;
    if (from === undefined) return placed;
    latest.set(thread, from);
    const { to } = placed;
    return { ...placed, from, ...(to !== undefined && { to: to < from ? from : to }) };
  });
}

/** The told time where it can be the true one, else the nearest that can. */
function keyOf({ line: { time }, from, to }: Placed): Nanos | undefined {
  if (time === undefined) return from;
  if (from !== undefined && time < from) return from;
  return to !== undefined && time > to ? to : time;
}

/** Of a line at an end of its span: what it is held behind or before has the same moment. */
function sideOf({ from, to }: Placed, key: Nanos | undefined): number {
  if (from === to) return 0;
  if (key === to) return -1;
  return key === from ? 1 : 0;
}

function compare(a: Nanos | undefined, b: Nanos | undefined): number {
  if (a === b) return 0;
  if (a === undefined) return 1;
  if (b === undefined) return -1;
  return a < b ? -1 : 1;
}

function sayUnsure(placed: Placed, all: readonly Placed[]): Placed {
  const { line, from, to, thread } = placed;
  if (from === undefined || to === undefined || from === to) return placed;
  const unsure = all.some(
    (other) =>
      other !== placed &&
      (thread === undefined || other.thread !== thread) &&
      other.from !== undefined &&
      other.to !== undefined &&
      // Merely touching ends are an order: that is how a line is held behind its cause.
      other.from < to &&
      other.to > from,
  );
  if (!unsure) return placed;
  const says = `within ${durationText(Number(to - from))}, in no known order to the lines of that time`;
  return {
    ...placed,
    line: { ...line, detail: line.detail === '' ? says : `${line.detail}; ${says}` },
  };
}
