import { CaptureReader } from '../../decode/capture/reader.js';
import { WatchLogReader } from '../../decode/cluster/watch-log.js';
import { ConntrackTextReader } from '../../decode/conntrack/text.js';
import { ConntrackXmlReader } from '../../decode/conntrack/xml.js';
import {
  C_BITS,
  C_EVENT,
  C_LATENESS,
  C_NSEC,
  C_RESOLUTION,
  C_SEC,
  CONNTRACK_WORDS,
  EVENT_LISTED,
  HAS_TIME,
} from '../../model/conntrack.js';
import type { ConntrackRows } from '../../model/conntrack-rows.js';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';
import { P_NSEC, P_SEC, PACKET_WORDS } from '../../model/packet.js';
import type { PacketRows } from '../../model/packet-rows.js';
import type { Problem } from '../../model/problem.js';
import { type Nanos, nanosOf, type OffsetAt, secondsOf, subsecondOf } from '../../model/time.js';
import type { InputBytes } from './chunks.js';
import type { FileTime, InputFile } from './expand.js';
import { lossOf, type OnProblem } from './losses.js';

/** What the streams of one replay share. */
export interface StreamContext {
  readonly interfaces: Interfaces;
  readonly offsetAt: OffsetAt;
  readonly onProblem: OnProblem;
  /** Raw bytes read of a file since the last call. */
  readonly onRead: (bytes: number) => void;
  /** Packets read of a capture since the last call, of interest or not. */
  readonly onPackets: (packets: number) => void;
}

/** A file with the bytes in it. */
export interface Source {
  readonly file: InputFile;
  readonly bytes: InputBytes;
}

type NameOfIndex = (index: number) => string | undefined;

/** A capture reader for a file; with throw-away `interfaces` also for a look at the file's head. */
export function captureReader(
  file: InputFile,
  interfaces: Interfaces,
  nameOfIndex: NameOfIndex,
): CaptureReader {
  const { node } = file;
  return new CaptureReader({ interfaces, nameOfIndex, ...(node === undefined ? {} : { node }) });
}

/** The packets of a capture, then what it lost. */
export async function* captureStream(
  { file, bytes }: Source,
  nameOfIndex: NameOfIndex,
  context: StreamContext,
): AsyncGenerator<InputEvent> {
  const reader = captureReader(file, context.interfaces, nameOfIndex);
  const found: Problem[] = [];
  let first: Nanos | undefined;
  let last: Nanos | undefined;
  let packets = 0;
  const count = counter(bytes, context);
  for await (const chunk of bytes.chunks((problem) => found.push(problem))) {
    count();
    reader.feed(chunk);
    context.onPackets(reader.packets - packets);
    packets = reader.packets;
    const { rows } = reader;
    if (rows.length === 0) continue;
    first ??= packetTime(rows, 0);
    last = packetTime(rows, rows.length - 1);
    yield { type: 'packets', rows };
    rows.clear();
  }
  reader.end();
  for (const problem of reader.problems) {
    context.onProblem(file.name, problem);
    // What is gathered about single records may be anywhere; a cut is at the end.
    const atEnd = problem.fatal || (problem.where.offset ?? 0) >= reader.bytes;
    const loss = lossOf(file.name, problem, atEnd ? { from: last } : { from: first, to: last });
    if (loss !== undefined) yield loss;
  }
  // A file that was cut off by damage to its compression is one gap, not two.
  if (!reader.problems.some(({ fatal }) => fatal))
    yield* told(file, found, { from: last }, context);
  const drops = reader.reportedDrops;
  if (drops > 0) {
    const detail = `${file.name}: the program that captured it reports lost packets`;
    const span = {
      ...(first === undefined ? {} : { from: first }),
      ...(last === undefined ? {} : { to: last }),
    };
    yield { type: 'loss', loss: { source: 'capture', count: drops, ...span, detail } };
  }
}

/** The time of a packet. */
export function packetTime(rows: PacketRows, row: number): Nanos {
  const at = row * PACKET_WORDS;
  return nanosOf(rows.words[at + P_SEC] ?? 0, rows.words[at + P_NSEC] ?? 0);
}

/** A reader for conntrack's output in either form. */
export function conntrackReader(
  kind: 'conntrack-xml' | 'conntrack-text',
  offsetAt: OffsetAt,
): ConntrackXmlReader | ConntrackTextReader {
  return kind === 'conntrack-xml'
    ? new ConntrackXmlReader({ offsetAt })
    : new ConntrackTextReader();
}

/** The entries or events of conntrack's output. Entries of a listing get the file's time, if it has one. */
export async function* conntrackStream(
  { file, bytes }: Source,
  kind: 'conntrack-xml' | 'conntrack-text',
  context: StreamContext,
): AsyncGenerator<InputEvent> {
  const reader = conntrackReader(kind, context.offsetAt);
  const { rows } = reader;
  const found: Problem[] = [];
  let last = file.time?.time;
  function* take(): Generator<InputEvent> {
    if (file.time !== undefined) stampListed(rows, file.time);
    const from = last;
    last = lastTime(rows) ?? last;
    if (rows.length > 0) yield { type: 'conntrack', rows };
    rows.clear();
    yield* told(file, reader.problems.splice(0), { from, to: last }, context);
  }
  const count = counter(bytes, context);
  for await (const chunk of bytes.chunks((problem) => found.push(problem))) {
    count();
    reader.feed(chunk);
    yield* take();
  }
  reader.end();
  yield* take();
  yield* told(file, found, { from: last }, context);
}

/**
 * A file is named when its listing begins: entries that it holds may be younger. (In a recording with
 * traffic, by up to 110 ms.)
 */
const LISTING_TAKES_NS = 1_000_000_000;

/** Gives entries of a listing the moment at which it was taken. */
function stampListed(rows: ConntrackRows, { time, resolutionNs }: FileTime): void {
  const { words } = rows;
  for (let at = 0; at < rows.length * CONNTRACK_WORDS; at += CONNTRACK_WORDS) {
    const bits = words[at + C_BITS] ?? 0;
    if (words[at + C_EVENT] !== EVENT_LISTED || (bits & HAS_TIME) !== 0) continue;
    words[at + C_BITS] = bits | HAS_TIME;
    words[at + C_SEC] = secondsOf(time);
    words[at + C_NSEC] = subsecondOf(time);
    words[at + C_RESOLUTION] = Math.max(resolutionNs, LISTING_TAKES_NS);
    words[at + C_LATENESS] = 0;
  }
}

/** The time of the last row that has one. */
function lastTime({ words, length }: ConntrackRows): Nanos | undefined {
  for (let at = (length - 1) * CONNTRACK_WORDS; at >= 0; at -= CONNTRACK_WORDS) {
    if (((words[at + C_BITS] ?? 0) & HAS_TIME) === 0) continue;
    return nanosOf(words[at + C_SEC] ?? 0, words[at + C_NSEC] ?? 0);
  }
  return undefined;
}

/** The changes of a watch log. Those without a time of their own get the file's, if it has one. */
export async function* watchStream(
  { file, bytes }: Source,
  context: StreamContext,
): AsyncGenerator<InputEvent> {
  const reader = new WatchLogReader();
  const found: Problem[] = [];
  let last = file.time?.time;
  function* take(): Generator<InputEvent> {
    const from = last;
    for (const { time = file.time?.time, change } of reader.events.splice(0)) {
      last = time ?? last;
      yield { type: 'cluster', change, ...(time === undefined ? {} : { time }) };
    }
    yield* told(file, reader.problems.splice(0), { from, to: last }, context);
  }
  const count = counter(bytes, context);
  for await (const chunk of bytes.chunks((problem) => found.push(problem))) {
    count();
    reader.feed(chunk);
    yield* take();
  }
  reader.end();
  yield* take();
  yield* told(file, found, { from: last }, context);
}

/** Tells the progress: to be called for each chunk. (A generator around the chunks would cost more than this.) */
function counter(bytes: InputBytes, context: StreamContext): () => void {
  let before = 0;
  return () => {
    context.onRead(bytes.readBytes - before);
    before = bytes.readBytes;
  };
}

/** Tells problems, and gives the losses that they stand for. */
function* told(
  file: InputFile,
  problems: readonly Problem[],
  gap: { readonly from: Nanos | undefined; readonly to?: Nanos | undefined },
  context: StreamContext,
): Generator<InputEvent> {
  for (const problem of problems) {
    context.onProblem(file.name, problem);
    const loss = lossOf(file.name, problem, gap);
    if (loss !== undefined) yield loss;
  }
}
