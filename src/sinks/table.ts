import pc from 'picocolors';
import type { Attribution, OutputEvent } from '../model/attribution.js';
import type { Nanos } from '../model/time.js';
import { type Column, TABLE, WIDE } from './columns.js';
import { eventTime } from './event-time.js';
import { GAP, layOut } from './layout.js';
import type { Lines } from './lines.js';
import { Remarks } from './remarks.js';
import type { Sink, SinkOptions } from './sink.js';
import { summaryBlock } from './summary-block.js';
import { type Renderer, TextSink } from './text-sink.js';
import { displayWidth, shorten } from './width.js';

/** A row whose outcome is not known yet waits this long (200 ms of event time): a handshake is faster. */
const HOLD_NS = 200_000_000n;
/** Rows that wait at most: beyond it the oldest goes out as it is. */
const MAX_HELD = 4096;
/** Connections whose row is remembered until they close, to tell a change: some 20 MB at most. */
const MAX_SHOWN = 65_536;
/** Rows after which a terminal gets the header again, so that it is on most screens. */
const HEADER_EVERY = 40;
/** What a cell without anything to say shows. */
const NOTHING = '—';
/** Marks a further row about a connection that has had one. */
const AGAIN = '~';

const BAD = new Set(['refused', 'reset', 'unanswered', 'rejected']);

export function createTableSink(options: SinkOptions): Sink {
  return new TextSink(new Table(TABLE, options, false), options);
}

export function createWideSink(options: SinkOptions): Sink {
  return new TextSink(new Table(WIDE, options, true), options);
}

interface Held {
  attribution: Attribution;
  readonly since: Nanos | undefined;
  settled: boolean;
  closed: boolean;
}

/** What a row has said, as far as a change of it is worth another row. */
interface Said {
  readonly where: string;
  readonly outcome: string;
}

interface Row {
  readonly cells: readonly Cell[];
  readonly attribution: Attribution;
}

interface Cell {
  readonly text: string;
  /** What to say where `text` does not fit. */
  readonly brief?: string;
}

/** One row a connection, in the order in which they were first seen. */
class Table implements Renderer {
  private readonly columns: readonly Column[];
  private readonly options: SinkOptions;
  private readonly colors: ReturnType<typeof pc.createColors>;
  private readonly remarks: Remarks;
  private readonly tellLeftOut: boolean;
  private readonly held = new Map<string, Held>();
  private readonly shown = new Map<string, Said>();
  private readonly seen: number[];
  private now: Nanos | undefined;
  private rows: Row[] = [];
  private widths: readonly number[] = [];
  private sinceHeader = 0;

  constructor(columns: readonly Column[], options: SinkOptions, tellLeftOut: boolean) {
    this.columns = columns;
    this.options = options;
    this.colors = pc.createColors(options.colors.stdout);
    this.remarks = new Remarks(options);
    this.tellLeftOut = tellLeftOut;
    this.seen = columns.map(() => 0);
  }

  render(events: readonly OutputEvent[], to: Lines): void {
    let block = '';
    for (const event of events) {
      this.advance(eventTime(event));
      switch (event.type) {
        case 'attribution':
        case 'close':
          this.take(event.attribution, event.type === 'close');
          break;
        case 'direct':
          this.remarks.direct(event.direct);
          break;
        case 'loss':
          this.remarks.loss(event.loss);
          break;
        case 'notice':
          this.remarks.notice(event.notice);
          break;
        case 'summary':
          this.release(true);
          this.remarks.end();
          block = summaryBlock(event.summary, this.colors, this.options.columns());
          break;
      }
      // After each event, so that the rows do not depend on how events were batched.
      this.release(false);
    }
    to.text(this.print() + block);
  }

  tick(now: Nanos, to: Lines): void {
    this.advance(now);
    this.release(false);
    to.text(this.print());
  }

  end(to: Lines): void {
    this.release(true);
    this.remarks.end();
    to.text(this.print());
  }

  private advance(time: Nanos | undefined): void {
    if (time !== undefined && (this.now === undefined || time > this.now)) this.now = time;
  }

  private take(attribution: Attribution, closed: boolean): void {
    const id = attribution.connection;
    const settled = closed || attribution.outcome !== 'open';
    const held = this.held.get(id);
    if (held) {
      held.attribution = attribution;
      held.settled ||= settled;
      held.closed ||= closed;
      return;
    }
    const said = this.shown.get(id);
    if (said) {
      this.tellChange(said, attribution);
      if (closed) this.shown.delete(id);
      return;
    }
    this.held.set(id, { attribution, since: this.now, settled, closed });
  }

  private tellChange(said: Said, attribution: Attribution): void {
    const now = whatIsSaid(attribution);
    if (now.where === said.where && (now.outcome === said.outcome || !BAD.has(now.outcome))) return;
    this.shown.set(attribution.connection, now);
    this.addRow(attribution, AGAIN);
  }

  /** Lets rows out from the front: those that are settled or have waited long enough, or all. */
  private release(all: boolean): void {
    for (const [id, held] of this.held) {
      if (!all && !this.due(held) && this.held.size <= MAX_HELD) return;
      this.held.delete(id);
      this.addRow(held.attribution, '');
      if (!held.closed) this.remember(id, held.attribution);
    }
  }

  private due({ settled, since }: Held): boolean {
    return settled || since === undefined || this.now === undefined || this.now - since >= HOLD_NS;
  }

  private remember(id: string, attribution: Attribution): void {
    this.shown.set(id, whatIsSaid(attribution));
    if (this.shown.size <= MAX_SHOWN) return;
    for (const oldest of this.shown.keys()) {
      this.shown.delete(oldest);
      return;
    }
  }

  private addRow(attribution: Attribution, mark: string): void {
    const cells = this.columns.map((column, i): Cell => {
      const said = column.cell(attribution) || NOTHING;
      const text = column.paint === 'result' ? mark + said : said;
      this.seen[i] = Math.max(this.seen[i] ?? 0, displayWidth(text));
      return column.brief ? { text, brief: column.brief(attribution) } : { text };
    });
    this.rows.push({ cells, attribution });
  }

  /** The rows of this batch, laid out together, with the header where it is due. */
  private print(): string {
    if (this.rows.length === 0) return '';
    let text = this.arrange();
    for (const { cells, attribution } of this.rows) {
      if (this.options.terminal && this.sinceHeader >= HEADER_EVERY) text += this.header();
      this.sinceHeader++;
      text += this.line(cells, (column, cell) => this.paint(column, cell, attribution));
    }
    this.rows = [];
    return text;
  }

  /** Fits the widths to what has been seen and to the terminal; a header if they have changed. */
  private arrange(): string {
    const available = this.options.columns();
    const widths = layOut(this.columns, this.seen, available);
    if (widths.join() === this.widths.join()) return '';
    const before = this.omitted().join();
    this.widths = widths;
    const omitted = this.omitted();
    if (
      this.tellLeftOut &&
      available !== undefined &&
      omitted.length > 0 &&
      omitted.join() !== before
    ) {
      this.remarks.leftOut(omitted, available);
    }
    return this.header();
  }

  private omitted(): string[] {
    return this.columns.filter((_, i) => this.widths[i] === 0).map(({ header }) => header);
  }

  private header(): string {
    this.sinceHeader = 0;
    const headers = this.columns.map(({ header }) => ({ text: header }));
    return this.line(headers, (_, cell) => this.colors.bold(cell));
  }

  private line(cells: readonly Cell[], paint: (column: Column, cell: string) => string): string {
    const parts: string[] = [];
    let pad = '';
    this.columns.forEach((column, i) => {
      const width = this.widths[i] ?? 0;
      if (width === 0) return;
      const text = fitted(cells[i], width, column);
      // Padding goes before the next cell, so that no line ends in spaces.
      parts.push(pad, paint(column, text));
      pad = ' '.repeat(width - displayWidth(text) + GAP);
    });
    return `${parts.join('')}\n`;
  }

  private paint(column: Column, cell: string, { verdict, outcome }: Attribution): string {
    if (column.paint === 'dim') return this.colors.dim(cell);
    if (column.paint === 'none') return cell;
    if (verdict === 'conflict' || outcome === 'open') return this.colors.yellow(cell);
    if (verdict === 'unattributed' || BAD.has(outcome)) return this.colors.red(cell);
    return this.colors.green(cell);
  }
}

function fitted(cell: Cell | undefined, width: number, { cut }: Column): string {
  const text = cell?.text ?? '';
  if (displayWidth(text) <= width) return text;
  return shorten(cell?.brief ?? text, width, cut);
}

function whatIsSaid({ verdict, reason, backend, service, outcome }: Attribution): Said {
  const pod = backend?.pod;
  const where = [
    verdict,
    reason,
    backend?.ip,
    backend?.port,
    pod?.namespace,
    pod?.name,
    service?.namespace,
    service?.name,
  ].join('\0');
  return { where, outcome };
}
