import { ConntrackRows } from '../../model/conntrack-rows.js';
import type { Problem } from '../../model/problem.js';
import { type OffsetAt, UTC } from '../../model/time.js';
import { HeldBytes } from './held-bytes.js';
import { type ConntrackCounts, ProblemReport } from './report.js';
import { ascii, startsAt } from './scan.js';
import {
  FLOW_DAMAGED,
  FLOW_INCOMPLETE,
  FLOW_OTHER_PROTOCOL,
  FLOW_TAKEN,
  XmlFlowScanner,
} from './xml-flow.js';

/** A flow takes 500 to 900 bytes; only labels (at most 128 names) and a security context could make it longer. */
const MAX_FLOW_BYTES = 64 * 1024;

const LT = 0x3c;
const GT = 0x3e;
const SLASH = 0x2f;
const FLOW = ascii('<flow');
const FLOW_END = ascii('</flow');
const DOCUMENT = ascii('<conntrack');
const DOCUMENT_END = ascii('</conntrack');
/** Bytes from a `<` on that tell what it begins: a name of the above and the byte behind it. */
const LOOKAHEAD = DOCUMENT_END.length + 1;

const ADVICE = 'the entry is left out; record the input again if this repeats';

/**
 * Reads what `conntrack -L -o xml` and `conntrack -E -o xml` print, in chunks of any size: whole
 * documents, several of them, documents left open, and text between the elements. It follows the
 * elements, not the lines, and after damage goes on with the next `<flow`. A flow without a type is an
 * entry of a listing, which has no time of its own; the time of an event is the second at which it was
 * printed (`<when>`). Whether a flow was assured or unreplied is always known here (HAS_STATUS).
 */
export class ConntrackXmlReader {
  /** The entries read so far; its user may clear it between calls. */
  readonly rows = new ConntrackRows();
  readonly counts: ConntrackCounts = { entries: 0, otherProtocols: 0, damaged: 0 };
  /** Its user may empty it between calls. */
  readonly problems: Problem[];

  private readonly held = new HeldBytes(MAX_FLOW_BYTES + LOOKAHEAD);
  private readonly report = new ProblemReport(this.held);
  private readonly scanner: XmlFlowScanner;
  /** A document was opened and not closed. */
  private open = false;
  /** Inside a damaged flow, on the way to its end or to the next. */
  private recovering = false;
  /** Not 0: an unfinished flow stands at the start of the held bytes; its end was looked for up to here. */
  private searched = 0;

  /** `offsetAt`: of the zone in which `<when>` was printed (default UTC). */
  constructor(options: { offsetAt?: OffsetAt } = {}) {
    this.scanner = new XmlFlowScanner(options.offsetAt ?? UTC);
    this.problems = this.report.problems;
  }

  /** Reads as far as whole flows go; the rest waits for the next chunk. The chunk is not kept. */
  feed(chunk: Uint8Array): void {
    let from = 0;
    while (from < chunk.length) {
      from = this.held.take(chunk, from);
      this.scan(false);
    }
  }

  /** The input ends here: what is left is judged, and what is missing is said. */
  end(): void {
    this.scan(true);
    if (this.open) {
      this.report.note(
        'xml-open-document',
        'the conntrack document ends without </conntrack>: the program that wrote it was killed',
        this.held.length,
        'what it had printed until then was read; later entries may be missing',
      );
      this.open = false;
    }
    this.report.close();
  }

  private scan(final: boolean): void {
    const { held, rows, scanner } = this;
    const { bytes, length } = held;
    if (this.searched > 0 && !final && length <= MAX_FLOW_BYTES && !this.endInSight()) return;
    this.searched = 0;
    let at = 0;
    for (;;) {
      while (at < length && bytes[at] !== LT) at++;
      if (at === length) break;
      if (length - at < LOOKAHEAD && !final) break;
      if (!begins(bytes, at, length, FLOW)) {
        this.betweenFlows(at);
        at++;
        continue;
      }
      this.recovering = false;
      const limit = Math.min(length, at + MAX_FLOW_BYTES);
      const result = scanner.read(bytes, at, limit, final && limit === length, rows);
      if (result === FLOW_INCOMPLETE) {
        if (limit - at === MAX_FLOW_BYTES) {
          at = this.damaged(at, `it has no end within ${MAX_FLOW_BYTES} bytes`);
          continue;
        }
        if (!final) {
          this.searched = 1;
          break;
        }
        this.counts.damaged++;
        this.report.lost('xml-cut-flow', 'the last conntrack entry is cut short', at, ADVICE);
        // One cut is told once.
        this.open = false;
        at = length;
        break;
      }
      if (result === FLOW_DAMAGED) {
        at = this.damaged(at, scanner.failure);
        continue;
      }
      if (result === FLOW_TAKEN) this.counts.entries++;
      else if (result === FLOW_OTHER_PROTOCOL) this.counts.otherProtocols++;
      at = scanner.end;
    }
    held.drop(at);
  }

  /** Something else than a flow at document level. */
  private betweenFlows(at: number): void {
    const { bytes, length } = this.held;
    if (begins(bytes, at, length, DOCUMENT)) {
      this.open = true;
    } else if (begins(bytes, at, length, DOCUMENT_END)) {
      this.open = false;
    } else if (begins(bytes, at, length, FLOW_END)) {
      // The end of a damaged flow that was told already; else of one whose beginning is not here.
      if (!this.recovering) this.damaged(at, 'its beginning is missing');
      this.recovering = false;
    }
  }

  /** Tells of the damaged flow at `at`; where to look for the next. */
  private damaged(at: number, why: string): number {
    this.counts.damaged++;
    this.recovering = true;
    this.report.lost('xml-bad-flow', `a conntrack entry cannot be read: ${why}`, at, ADVICE);
    return at + 1;
  }

  /**
   * Whether the unfinished flow's end arrived with the last piece: it is not read again before, so that
   * the smallest chunks cost no more than the largest.
   */
  private endInSight(): boolean {
    const { bytes, length } = this.held;
    const from = Math.max(0, this.searched - FLOW_END.length);
    for (let at = bytes.indexOf(LT, from); at >= 0 && at < length; at = bytes.indexOf(LT, at + 1)) {
      if (startsAt(bytes, at, length, FLOW_END)) return true;
    }
    this.searched = length;
    return false;
  }
}

/** Whether the tag `name` stands at `at`, and not one that only begins like it. */
function begins(bytes: Uint8Array, at: number, end: number, name: Uint8Array): boolean {
  if (!startsAt(bytes, at, end, name)) return false;
  const c = at + name.length < end ? (bytes[at + name.length] ?? 0) : GT;
  return c === GT || c === SLASH || c <= 0x20;
}
