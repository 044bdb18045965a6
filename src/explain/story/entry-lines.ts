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
    const [from, to] = spanOf(entry, it);
    const time = nearest(entry.time, from, to);
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

/** The told time, or where it cannot be the true one, the possible moment that is nearest to it. */
function nearest(
  time: Nanos | undefined,
  from: Nanos | undefined,
  to: Nanos | undefined,
): Nanos | undefined {
  if (time === undefined) return undefined;
  if (from !== undefined && time < from) return from;
  return to !== undefined && time > to ? to : time;
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
 * the packet that caused it came in, nor after that packet left again, says another
 * (nf_ct_deliver_cached_events runs at the end of POSTROUTING, before an interface shows the packet).
 */
function spanOf(entry: SeenEntry, it: Case): readonly [Nanos | undefined, Nanos | undefined] {
  const { time } = entry;
  if (time === undefined) return [undefined, undefined];
  let from = time - BigInt(entry.latenessNs);
  let to = time + BigInt(entry.resolutionNs > 1 ? entry.resolutionNs : 0);
  const { cameIn, left } = causeOf(entry, it.packets);
  if (cameIn !== undefined && cameIn > from && cameIn <= to) from = cameIn;
  if (left !== undefined && left >= from && left < to) to = left;
  return [from, to];
}

interface Cause {
  /** Not before. */
  readonly cameIn?: Nanos;
  /** Not after. */
  readonly left?: Nanos;
}

function causeOf(entry: SeenEntry, packets: readonly SeenPacket[]): Cause {
  if (entry.event === 'new') {
    const to = entry.reply?.source;
    return cause(
      packets.filter(
        (packet) =>
          isOpening(packet) &&
          (packet.view === 'original' || (to !== undefined && sameEnd(packet.to, to))),
      ),
    );
  }
  if (entry.event !== 'update') return {};
  const fins = packets.filter(({ kind }) => kind === 'fin');
  const [firstFin] = fins;
  switch (entry.state) {
    case 'SYN_RECV':
      return cause(packets.filter(isAnswer));
    case 'FIN_WAIT':
      return cause(fins.filter(({ way }) => way === firstFin?.way));
    case 'CLOSE_WAIT':
    case 'LAST_ACK':
      return cause(fins.filter(({ way }) => way !== firstFin?.way));
    case 'CLOSE':
      return cause(packets.filter(({ kind }) => kind === 'rst'));
    case 'TIME_WAIT': {
      const last = fins.at(-1);
      return last === undefined ? {} : { cameIn: last.time };
    }
    default: {
      // The packet behind an answer, which is not among those that are kept.
      const answer = packets.find(isAnswer);
      return answer === undefined ? {} : { cameIn: answer.time };
    }
  }
}

/** The first sight of a packet, and the first of what became of it. */
function cause(sights: readonly SeenPacket[]): Cause {
  const [first] = sights;
  if (first === undefined) return {};
  const after = sights.find(({ view }) => view !== first.view);
  return { cameIn: first.time, ...(after !== undefined && { left: after.time }) };
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
