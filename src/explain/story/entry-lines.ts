import type { Case, SeenEntry, SeenPacket } from '../../model/case.js';
import type { StoryLine } from '../../model/story.js';
import type { Nanos } from '../../model/time.js';
import { isAnswer, isOpening, sameEnd } from '../places.js';
import { durationText, endText, listText } from '../words.js';
import type { Columns } from './columns.js';
import type { Placed } from './order.js';

/** Below this a time counts as exact: nothing here is told more finely. */
const EXACT_NS = 1_000_000;

/** What conntrack told of the connection. */
export function entryLines(it: Case, { nat }: Columns): readonly Placed[] {
  return withoutCoarse(it.conntrack).map((entry) => {
    const { time } = entry;
    const [from, to] = spanOf(entry, it);
    const off = time === undefined ? 0 : Math.max(distance(from, time), distance(time, to));
    const line: StoryLine = {
      ...(time !== undefined && { time }),
      ...(off > EXACT_NS && { uncertaintyNs: off }),
      place: nat,
      what: whatOf(entry),
      detail: detailOf(entry),
      bad: entry.event === 'destroy' && entry.byProgram && !isOver(entry),
    };
    return {
      line,
      ...(from !== undefined && { from }),
      ...(to !== undefined && { to }),
      thread: 'conntrack',
    };
  });
}

/** Rules and endpoints that changed, and losses. */
export function changeLines(it: Case, { cluster }: Columns): readonly Placed[] {
  const { backend } = it.attribution;
  const changes = it.changes.map(({ time, kind, what, endpoint }): Placed => {
    const bad =
      endpoint !== undefined &&
      backend !== undefined &&
      sameEnd(endpoint, backend) &&
      endpoint.became !== 'added' &&
      endpoint.became !== 'ready';
    const line: StoryLine = { time, place: cluster, what: `${kind} changed`, detail: what, bad };
    return { line, from: time, to: time };
  });
  const losses = it.losses.map(({ source, count, from, to, detail }): Placed => {
    const time = from ?? to;
    const span =
      from === undefined || to === undefined || to <= from
        ? ''
        : ` (over ${durationText(Number(to - from))})`;
    const line: StoryLine = {
      ...(time !== undefined && { time }),
      place: cluster,
      what: `lost: ${count} of ${source}`,
      detail: `${detail}${span}`,
      bad: true,
    };
    return { line, ...(time !== undefined && { from: time, to: time }) };
  });
  return [...changes, ...losses];
}

/** The same word from two programs is told once, with the finer time. */
function withoutCoarse(entries: readonly SeenEntry[]): readonly SeenEntry[] {
  return entries.filter(
    (entry) =>
      !entries.some(
        (other) => other !== entry && isFiner(other, entry) && saysTheSame(other, entry),
      ),
  );
}

function isFiner(a: SeenEntry, b: SeenEntry): boolean {
  return a.time !== undefined && (b.time === undefined || a.resolutionNs < b.resolutionNs);
}

function saysTheSame(a: SeenEntry, b: SeenEntry): boolean {
  if (a.event !== b.event || a.state !== b.state || a.byProgram !== b.byProgram) return false;
  const [r, q] = [a.reply, b.reply];
  if ((r === undefined) !== (q === undefined)) return false;
  if (r !== undefined && q !== undefined && !sameEnd(r.source, q.source)) return false;
  if (a.time === undefined || b.time === undefined) return true;
  return (
    a.time < b.time + BigInt(b.resolutionNs + a.latenessNs + 1) &&
    b.time < a.time + BigInt(a.resolutionNs + b.latenessNs + 1)
  );
}

/**
 * Between which moments it happened. Its own time says one thing; that conntrack cannot have seen it before
 * the packet that caused it says another, and a NEW is told before that packet leaves the node
 * (nf_conntrack_confirm runs at the end of POSTROUTING).
 */
function spanOf(entry: SeenEntry, it: Case): readonly [Nanos | undefined, Nanos | undefined] {
  const { time } = entry;
  if (time === undefined) return [undefined, undefined];
  let from = time - BigInt(entry.latenessNs);
  let to = time + BigInt(entry.resolutionNs > 1 ? entry.resolutionNs : 0);
  const cause = causeOf(entry, it)?.time;
  if (cause !== undefined && cause > from && cause <= to) from = cause;
  if (entry.event === 'new') {
    const left = it.packets.find(
      (packet) =>
        isOpening(packet) &&
        packet.view === 'translated' &&
        packet.time >= from &&
        entry.reply !== undefined &&
        sameEnd(packet.to, entry.reply.source),
    )?.time;
    if (left !== undefined && left < to) to = left;
  }
  return [from, to];
}

function causeOf(entry: SeenEntry, it: Case): SeenPacket | undefined {
  if (entry.event === 'new') return it.packets.find(isOpening);
  if (entry.event !== 'update') return undefined;
  switch (entry.state) {
    case 'FIN_WAIT':
    case 'CLOSE_WAIT':
    case 'LAST_ACK':
    case 'TIME_WAIT':
      return it.packets.find(({ kind }) => kind === 'fin');
    case 'CLOSE':
      return it.packets.find(({ kind }) => kind === 'rst');
    default:
      return it.packets.find(isAnswer);
  }
}

function whatOf({ event, reply, state, byProgram }: SeenEntry): string {
  switch (event) {
    case 'new':
      return reply === undefined ? 'NEW' : `NEW → ${endText(reply.source)}`;
    case 'update':
      return `UPDATE${state === undefined ? '' : ` ${state}`}`;
    case 'destroy':
      return byProgram ? 'DESTROY, by a program' : 'DESTROY';
    case 'listed':
      return `listed${state === undefined ? '' : ` as ${state}`}`;
  }
}

function detailOf(entry: SeenEntry): string {
  const { event, original, reply, state, counters } = entry;
  const words: string[] = [];
  if (reply !== undefined && (event === 'new' || event === 'listed')) {
    if (event === 'listed') words.push(`→ ${endText(reply.source)}`);
    if (!sameEnd(reply.destination, original.source)) {
      words.push(`the endpoint sees ${endText(reply.destination)}`);
    }
  }
  if (state !== undefined && (event === 'new' || event === 'destroy')) words.push(state);
  if (entry.unreplied === true) words.push('UNREPLIED');
  if (entry.assured === true) words.push('ASSURED');
  if (counters !== undefined) {
    const { original: forward, reply: back } = counters;
    words.push(`${forward.packets} packets to it and ${back.packets} back`);
  }
  return listText(words);
}

/** Its connection was over anyway. */
function isOver({ state }: SeenEntry): boolean {
  return state === 'TIME_WAIT' || state === 'CLOSE';
}

function distance(a: Nanos | undefined, b: Nanos | undefined): number {
  return a === undefined || b === undefined ? 0 : Number(b - a);
}
