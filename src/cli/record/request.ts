import { UsageError } from '../../model/problem.js';
import type { RecordRequest } from '../commands.js';
import { count, duration, given, wrong } from '../options.js';

/** As they were typed. */
export interface RecordFlags {
  readonly write?: string | undefined;
  readonly full?: boolean | undefined;
  readonly redact?: boolean | undefined;
  readonly snaplen?: string | undefined;
  readonly maxSize?: string | undefined;
  readonly maxTime?: string | undefined;
  readonly maxFiles?: string | undefined;
}

/** A frame must fit into a block of the ring (sources/capture/ring.ts). */
const MAX_SNAPLEN = 16_384;
const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  Ki: 1024,
  Mi: 1024 ** 2,
  Gi: 1024 ** 3,
};
/** A file begins with what holds at its time: much smaller ones would hold nothing else. */
const MIN_SIZE = 65_536;
const MAX_SIZE = 1e13;

/** What is to be recorded, and into what; `undefined` without `-w`. */
export function recordRequest(flags: RecordFlags): RecordRequest | undefined {
  const { write, full = false, redact = false } = flags;
  const maxBytes = size(flags.maxSize);
  const maxNs = duration('--max-time', flags.maxTime);
  const maxFiles = count('--max-files', flags.maxFiles);
  if (write === undefined) {
    const option = (['snaplen', 'maxSize', 'maxTime', 'maxFiles'] as const).find(
      (name) => flags[name] !== undefined,
    );
    const named = option ?? (full ? 'full' : redact ? 'redact' : undefined);
    if (named === undefined) return undefined;
    const asTyped = named.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
    throw new UsageError(`--${asTyped} says how to record: name a file, -w case.pcapng`);
  }
  if (write === '') throw new UsageError('-w: the path is empty; name a file, -w case.pcapng');
  const isSeries = maxBytes !== undefined || maxNs !== undefined;
  if (maxFiles !== undefined && !isSeries) {
    throw new UsageError(
      '--max-files says how many of a series are kept: say when a file is full, --max-size 100M or --max-time 10m',
    );
  }
  if (write === '-' && isSeries) {
    throw new UsageError(
      '-w -: a pipe cannot be a series of files; leave --max-size and --max-time out',
    );
  }
  if (redact && (full || flags.snaplen !== undefined)) {
    throw new UsageError(
      '--redact keeps headers only, as payload cannot be redacted: leave --full and --snaplen out',
    );
  }
  return {
    path: write,
    everything: full,
    redact,
    ...given('snaplen', snaplen(flags.snaplen)),
    ...given('maxBytes', maxBytes),
    ...given('maxNs', maxNs),
    ...given('maxFiles', maxFiles),
  };
}

function snaplen(text: string | undefined): number | undefined {
  const bytes = count('--snaplen', text);
  if (bytes !== undefined && bytes > MAX_SNAPLEN) {
    throw wrong('--snaplen', text ?? '', 'too much', `write 1 to ${MAX_SNAPLEN} bytes`);
  }
  return bytes;
}

/** `500k`, `100M`, `2G`, `1Gi` in bytes. */
function size(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const [, number, unit] = /^(\d{1,9}(?:\.\d{1,3})?)([kMG]|[KMG]i)?B?$/.exec(text) ?? [];
  const bytes = number === undefined ? 0 : Math.round(Number(number) * (UNITS[unit ?? ''] ?? 0));
  if (bytes < MIN_SIZE || bytes > MAX_SIZE) {
    throw wrong('--max-size', text, 'no such size', 'write 100M, 2G or 1Gi, at least 64Ki');
  }
  return bytes;
}
