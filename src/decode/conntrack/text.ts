import { ConntrackRows } from '../../model/conntrack-rows.js';
import type { Problem } from '../../model/problem.js';
import { HeldBytes } from './held-bytes.js';
import { isOverrun, isRemark } from './remarks.js';
import { type ConntrackCounts, ProblemReport } from './report.js';
import { LINE_OTHER_PROTOCOL, LINE_TAKEN, TextLineScanner } from './text-line.js';

/** A line takes 150 to 400 bytes; only labels (at most 128 names) and a security context could make it longer. */
const MAX_LINE_BYTES = 16 * 1024;

const LINE_FEED = 0x0a;
const ADVICE = 'the line is left out; record the input again if this repeats';

/**
 * Reads what `conntrack -L` and `conntrack -E` print as text (also with `-o extended,timestamp,id`), and
 * /proc/net/nf_conntrack, in chunks of any size. A line without an event is an entry of a listing, which
 * has no time of its own; the time of an event is that at which it was printed (`-o timestamp`). Whether
 * a flow was assured or unreplied is always known here (HAS_STATUS).
 */
export class ConntrackTextReader {
  /** The entries read so far; its user may clear it between calls. */
  readonly rows = new ConntrackRows();
  readonly counts: ConntrackCounts = { entries: 0, otherProtocols: 0, damaged: 0 };
  /** Its user may empty it between calls. */
  readonly problems: Problem[];

  private readonly held = new HeldBytes(MAX_LINE_BYTES);
  private readonly report = new ProblemReport(this.held);
  private readonly scanner = new TextLineScanner();
  /** Bytes at the start of the held ones that hold no line feed. */
  private searched = 0;
  /** In a line that is too long, on the way to its end. */
  private skipping = false;

  constructor() {
    this.problems = this.report.problems;
  }

  /** Reads all whole lines; the rest waits for the next chunk. The chunk is not kept. */
  feed(chunk: Uint8Array): void {
    let from = 0;
    while (from < chunk.length) {
      from = this.held.take(chunk, from);
      this.scan();
    }
  }

  /**
   * The input ends here. A last line without a line feed was cut, and is not read: cut within a port, it
   * would name another connection.
   */
  end(): void {
    const { held } = this;
    if (held.length > 0) {
      this.counts.damaged++;
      this.report.lost('conntrack-cut-line', 'the last line of conntrack is cut short', 0, ADVICE);
    }
    held.drop(held.length);
    this.report.close();
  }

  private scan(): void {
    const { held } = this;
    const { bytes, length } = held;
    let start = 0;
    let at = this.searched;
    for (;;) {
      while (at < length && bytes[at] !== LINE_FEED) at++;
      if (at - start > MAX_LINE_BYTES && !this.skipping) {
        this.damaged(start, `it has no end within ${MAX_LINE_BYTES} bytes`);
        this.skipping = true;
      }
      if (at === length) break;
      if (!this.skipping) this.line(start, at);
      this.skipping = false;
      at++;
      start = at;
    }
    if (this.skipping) start = length;
    held.drop(start);
    this.searched = length - start;
  }

  private line(from: number, to: number): void {
    const { bytes } = this.held;
    let start = from;
    while (start < to && (bytes[start] ?? 0) <= 0x20) start++;
    if (start === to || this.remark(start, to)) return;
    const result = this.scanner.read(bytes, start, to, this.rows);
    if (result === LINE_TAKEN) this.counts.entries++;
    else if (result === LINE_OTHER_PROTOCOL) this.counts.otherProtocols++;
    else this.damaged(from, this.scanner.failure);
  }

  /** Whether the line is one of the program's remarks, not an entry. */
  private remark(from: number, to: number): boolean {
    const { bytes } = this.held;
    if (isOverrun(bytes, from, to)) {
      this.report.lost(
        'conntrack-overrun',
        'conntrack lost events here: its netlink buffer was full',
        from,
        'connections of that moment may be missing',
      );
    }
    return isRemark(bytes, from, to);
  }

  private damaged(at: number, why: string): void {
    this.counts.damaged++;
    this.report.lost(
      'conntrack-bad-line',
      `a line of conntrack cannot be read: ${why}`,
      at,
      ADVICE,
    );
  }
}
