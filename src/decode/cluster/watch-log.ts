import type { ClusterChange, ClusterKind } from '../../model/cluster.js';
import type { Problem } from '../../model/problem.js';
import { type Nanos, parseEpoch } from '../../model/time.js';
import { members } from './json-scan.js';
import { LineSplitter } from './lines.js';
import { slimObject } from './objects.js';

/**
 * Longest line that is read. etcd takes objects up to 1.5 MiB, which is at most some 3 MiB as JSON
 * with every character escaped that may be; the rest is room for what wraps the object.
 */
export const MAX_WATCH_LINE_BYTES = 8 * 1024 * 1024;

/** More bad lines than this are counted in one last problem, so that garbage stays bounded. */
const MAX_LINE_PROBLEMS = 50;

/** One line of a watch, understood. */
export type WatchLine =
  | { readonly type: 'change'; readonly change: ClusterChange; readonly resourceVersion?: string }
  /** Says only how far the watch has come. */
  | { readonly type: 'bookmark'; readonly resourceVersion?: string }
  /** The server's last word: a Status. 410 means that the watch has to begin again with a list. */
  | { readonly type: 'error'; readonly status?: number; readonly message: string }
  /** An object of a kind that is not used. */
  | { readonly type: 'other' }
  | { readonly type: 'bad'; readonly message: string };

/** What is read of an event's object here; the rest is for slimObject. */
interface Body {
  readonly kind?: unknown;
  readonly metadata?: unknown;
  readonly code?: unknown;
  readonly message?: unknown;
}

/** Plural resource names, as a recording's `resource` has them, for objects without a kind. */
const RESOURCES: ReadonlyMap<unknown, ClusterKind> = new Map([
  ['pods', 'pod'],
  ['services', 'service'],
  ['endpointslices', 'endpointslice'],
  ['nodes', 'node'],
]);

/** Reads one line of the API's watch stream (`{"type":…,"object":…}`); never throws. */
export function readWatchLine(line: string): WatchLine {
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return { type: 'bad', message: 'the line is not JSON' };
  }
  if (typeof parsed !== 'object' || parsed === null || !('type' in parsed)) {
    return { type: 'bad', message: 'the line is not a watch event' };
  }
  const raw = 'object' in parsed ? parsed.object : undefined;
  const body: Body = typeof raw === 'object' && raw !== null ? raw : {};
  const version = versionOf(body);
  switch (parsed.type) {
    case 'BOOKMARK':
      return { type: 'bookmark', ...version };
    case 'ERROR': {
      const { code, message } = body;
      return {
        type: 'error',
        message: typeof message === 'string' ? message : 'no reason given',
        ...(typeof code === 'number' ? { status: code } : {}),
      };
    }
    case 'ADDED':
    case 'MODIFIED':
    case 'DELETED': {
      const hint = 'resource' in parsed ? RESOURCES.get(parsed.resource) : undefined;
      const item = slimObject(body, hint);
      if (item !== undefined) {
        const op = parsed.type === 'DELETED' ? 'delete' : 'set';
        return { type: 'change', change: { op, item }, ...version };
      }
      if (typeof body.kind === 'string' && nameOf(body)) return { type: 'other' };
      return { type: 'bad', message: 'the event has no object with kind and name' };
    }
    default:
      return { type: 'bad', message: 'the event is of an unknown type' };
  }
}

function versionOf(body: Body): { resourceVersion?: string } {
  const metadata = body.metadata;
  if (typeof metadata !== 'object' || metadata === null || !('resourceVersion' in metadata)) {
    return {};
  }
  const { resourceVersion } = metadata;
  return typeof resourceVersion === 'string' && resourceVersion !== '' ? { resourceVersion } : {};
}

function nameOf(body: Body): boolean {
  const metadata = body.metadata;
  return typeof metadata === 'object' && metadata !== null && 'name' in metadata;
}

/**
 * Reads a file of watch events, one JSON object a line: as the API streams them, or as recorded with
 * the time of arrival in seconds (`"t": 1795377425.6520896`). Feed chunks of any size, then `end()`;
 * `events` and `problems` grow as lines are complete and may be emptied by the caller.
 */
export class WatchLogReader {
  readonly events: { readonly time?: Nanos; readonly change: ClusterChange }[] = [];
  readonly problems: Problem[] = [];
  private readonly lines = new LineSplitter(MAX_WATCH_LINE_BYTES);
  private line = 0;
  private said = 0;
  private unsaid = 0;

  feed(chunk: Uint8Array): void {
    for (const line of this.lines.push(chunk)) this.read(line);
  }

  end(): void {
    const rest = this.lines.rest();
    // The last line may lack its LF; if it cannot be read it was cut off.
    if (rest !== '') this.read(rest, true);
    if (this.unsaid > 0) {
      this.problems.push({
        code: 'watch-bad-line',
        message: `${this.unsaid} more lines that could not be read`,
        where: {},
        advice: 'record the watch again',
        fatal: false,
        lost: this.unsaid,
      });
      this.unsaid = 0;
    }
  }

  private read(line: string | undefined, last = false): void {
    this.line++;
    if (line === undefined) {
      this.report('watch-long-line', `the line is longer than ${MAX_WATCH_LINE_BYTES} bytes`);
      return;
    }
    if (line.trim() === '') return;
    const event = readWatchLine(line);
    switch (event.type) {
      case 'change': {
        const time = timeOf(line);
        if (time === 'bad') {
          this.report('watch-bad-time', 'the time t is not in decimal seconds since 1970');
          return;
        }
        this.events.push({ change: event.change, ...(time === undefined ? {} : { time }) });
        return;
      }
      case 'error':
        this.report('watch-error', `the server ended the watch: ${event.message}`);
        return;
      case 'bad':
        if (last) this.report('watch-truncated', 'the last line is cut off', true);
        else this.report('watch-bad-line', event.message);
        return;
      case 'bookmark':
      case 'other':
        return;
    }
  }

  private report(code: string, message: string, fatal = false): void {
    if (this.said >= MAX_LINE_PROBLEMS && !fatal) {
      this.unsaid++;
      return;
    }
    this.said++;
    this.problems.push({
      code,
      message,
      where: { line: this.line },
      advice: 'record the watch again, or add a list that was taken later',
      fatal,
      lost: 1,
    });
  }
}

/** The line's own `t`, from its digits: a double would lose the last ones. */
function timeOf(line: string): Nanos | undefined | 'bad' {
  for (const { key, value } of members(line)) {
    if (key === 't') return parseEpoch(line.slice(value.start, value.end)) ?? 'bad';
  }
  return undefined;
}
