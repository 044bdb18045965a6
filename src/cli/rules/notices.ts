import type { Notice } from '../../model/event.js';
import { escapeText } from '../../sinks/escape.js';
import type { Io } from '../io.js';

/** Tells notices on stderr, except those that what is shown says itself. */
export function tellNotices(io: Io, notices: readonly Notice[], except: ReadonlySet<string>): void {
  for (const { code, detail } of notices) {
    if (!except.has(code)) io.stderr.write(`${code}: ${escapeText(detail)}\n`);
  }
}
