import { Observable, type Subscriber } from 'rxjs';
import { ConntrackXmlReader } from '../../decode/conntrack/xml.js';
import {
  C_BITS,
  C_LATENESS,
  C_NSEC,
  C_RESOLUTION,
  C_SEC,
  CONNTRACK_WORDS,
  HAS_TIME,
} from '../../model/conntrack.js';
import type { ConntrackRows } from '../../model/conntrack-rows.js';
import type { InputEvent } from '../../model/event.js';
import { type Nanos, secondsOf, subsecondOf } from '../../model/time.js';
import { type RunResult, runProgram } from '../rules/run-program.js';
import { EXIT_USAGE, lastingError, lastLine } from './program.js';

/** A million entries take 3 s; a listing that takes this long hangs. */
const TIMEOUT_MS = 60_000;
/** Seven million entries of 600 bytes: far beyond what a node's memory is sized for. */
const MAX_BYTES = 4 * 1024 ** 3;
/** The clock that sources use counts milliseconds. */
const RESOLUTION_NS = 1_000_000;
/** What C_LATENESS can hold. */
const MAX_LATENESS_NS = 0xffff_ffffn;

/** Times of creation are asked for first; an older program refuses the word. */
const FORMATS = ['xml,ktimestamp', 'xml'];

/**
 * Lists the table once with `conntrack -L`, both address families, and completes. Emits `conntrack` with
 * rows that were in the table between the start of the program and the arrival of their bytes: that
 * arrival is their time, what went before it their lateness. An empty table gives nothing. A listing
 * that fails is a `loss` with source `conntrack`. Errors: UsageError without the program, PermissionError
 * without CAP_NET_ADMIN. Unsubscribing ends the program.
 */
export function listTable(command: readonly string[], now: () => Nanos): Observable<InputEvent> {
  return new Observable<InputEvent>((subscriber) => {
    const abort = new AbortController();
    subscriber.add(() => abort.abort());
    run(command, now, abort.signal, subscriber).catch((error: unknown) => subscriber.error(error));
  });
}

async function run(
  command: readonly string[],
  now: () => Nanos,
  signal: AbortSignal,
  subscriber: Subscriber<InputEvent>,
): Promise<void> {
  for (const format of FORMATS) {
    const start = now();
    const reader = new ConntrackXmlReader();
    const flush = (): void => {
      if (reader.rows.length > 0) {
        stamp(reader.rows, start, now());
        subscriber.next({ type: 'conntrack', rows: reader.rows });
      }
      reader.rows.clear();
    };
    const result = await runProgram(
      [...command, '-L', '-o', format],
      { timeoutMs: TIMEOUT_MS, maxBytes: MAX_BYTES, signal },
      (chunk) => {
        reader.feed(chunk);
        flush();
      },
    );
    if (result.end === 'aborted') return;
    const refused = result.end === 'ran' && result.code === EXIT_USAGE;
    if (refused && format !== FORMATS.at(-1)) continue;
    const lasting = failure(command, result);
    if (lasting !== undefined) {
      subscriber.error(lasting);
      return;
    }
    reader.end();
    flush();
    const why = incomplete(result, reader);
    if (why !== undefined) {
      subscriber.next({
        type: 'loss',
        loss: { source: 'conntrack', count: why.count, from: start, to: now(), detail: why.detail },
      });
    }
    break;
  }
  subscriber.complete();
}

function failure(command: readonly string[], result: RunResult): Error | undefined {
  if (result.end === 'failed') return new Error(`conntrack cannot be started: ${result.stderr}`);
  if (result.end === 'ran' && result.code === 0) return undefined;
  return lastingError(command, result.end === 'missing', result.code, result.stderr);
}

/** What of the table may be missing, and why. */
function incomplete(
  result: RunResult,
  reader: ConntrackXmlReader,
): { count: number; detail: string } | undefined {
  const { damaged } = reader.counts;
  if (result.end !== 'ran' || result.code !== 0) {
    const how = result.end === 'ran' ? `exit code ${result.code}` : result.end;
    const said = lastLine(result.stderr);
    const why = said === '' ? how : `${how}: ${said}`;
    const detail = `conntrack could not list the whole table (${why})`;
    return { count: Math.max(1, damaged), detail };
  }
  if (damaged === 0) return undefined;
  return { count: damaged, detail: 'conntrack listed entries that cannot be read' };
}

function stamp({ words, length }: ConntrackRows, start: Nanos, arrived: Nanos): void {
  const took = arrived > start ? arrived - start : 0n;
  const lateness = Number(took < MAX_LATENESS_NS ? took : MAX_LATENESS_NS);
  const seconds = secondsOf(arrived);
  const rest = subsecondOf(arrived);
  for (let at = 0; at < length * CONNTRACK_WORDS; at += CONNTRACK_WORDS) {
    words[at + C_BITS] = (words[at + C_BITS] ?? 0) | HAS_TIME;
    words[at + C_SEC] = seconds;
    words[at + C_NSEC] = rest;
    words[at + C_RESOLUTION] = RESOLUTION_NS;
    words[at + C_LATENESS] = lateness;
  }
}
