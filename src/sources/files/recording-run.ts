import type { RecordedItem } from '../../decode/record/items.js';
import type { RecordingHead } from '../../decode/record/shapes.js';
import type { InputEvent } from '../../model/event.js';
import { type Following, recordedItems } from './recording.js';
import type { Source, StreamContext } from './streams.js';

/** One file of a run. */
export interface RecordingFile extends Source {
  readonly head: RecordingHead;
}

/** A run's sequence, as far as there are files of it. */
export interface OpenedRun {
  readonly head: RecordingHead;
  /** What was told before the rules were read as far as they can be. */
  readonly prelude: readonly InputEvent[];
  /** Whether that came about at all. */
  readonly concluded: boolean;
  /** The rest, in the order in which the machine got it. */
  readonly events: AsyncIterable<InputEvent>;
}

/** Files by the runs that they are of, each run's in order. */
export function byRun(files: readonly RecordingFile[]): readonly (readonly RecordingFile[])[] {
  const runs = new Map<string, RecordingFile[]>();
  for (const file of files) {
    const known = runs.get(file.head.run) ?? [];
    runs.set(file.head.run, known);
    // The same file named twice says nothing more.
    if (!known.some(({ head }) => head.file === file.head.file)) known.push(file);
  }
  return [...runs.keys()]
    .sort()
    .map((run) => (runs.get(run) ?? []).sort((a, b) => a.head.file - b.head.file));
}

/**
 * Opens a run and reads what was told before its traffic. `files` are of one run and in order; of a
 * series that goes on in another file only the last can be followed.
 */
export async function openRun(
  files: readonly [RecordingFile, ...RecordingFile[]],
  context: StreamContext,
  following: Following | undefined,
): Promise<OpenedRun> {
  const items = sequence(files, context, following);
  const prelude: InputEvent[] = [];
  let concluded = false;
  let first: InputEvent | undefined;
  for (let next = await items.next(); next.done !== true; next = await items.next()) {
    const item = next.value;
    if (item.type === 'concluded') {
      concluded = true;
      break;
    }
    if (item.type !== 'event') continue;
    // Rows are filled again, so they cannot wait; before the conclusion there are none.
    if (item.event.type === 'packets' || item.event.type === 'conntrack') {
      first = item.event;
      break;
    }
    prelude.push(item.event);
  }
  const [{ head }] = files;
  return { head, prelude, concluded, events: rest(first, items) };
}

async function* rest(
  first: InputEvent | undefined,
  items: AsyncGenerator<RecordedItem>,
): AsyncGenerator<InputEvent> {
  if (first !== undefined) yield first;
  for await (const item of items) if (item.type === 'event') yield item.event;
}

/** The items of files one after the other, as if they were one. */
async function* sequence(
  files: readonly RecordingFile[],
  context: StreamContext,
  following: Following | undefined,
): AsyncGenerator<RecordedItem> {
  let before: { readonly number: number; whole: boolean } | undefined;
  for (const file of files) {
    const { number, name } = { number: file.head.file, name: file.file.name };
    const missing = before === undefined ? 0 : number - before.number - 1;
    if (missing > 0) {
      const detail = `${name}: ${missing} files of the recording before this one are missing`;
      yield {
        type: 'event',
        event: { type: 'loss', loss: { source: 'file', count: missing, detail } },
      };
    }
    // What a file repeats of those before it is news only where one of them is not whole.
    let repeats = before?.whole === true && missing === 0;
    const known = { number, whole: false };
    before = known;
    for await (const item of recordedItems(file, context, following)) {
      if (item.type === 'end') known.whole = true;
      if (item.type === 'resumed') repeats = false;
      else if (!repeats) yield item;
    }
  }
}
