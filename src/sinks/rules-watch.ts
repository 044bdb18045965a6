import pc from 'picocolors';
import { formatEndpoint } from '../model/address.js';
import type { Traffic } from '../model/attribution.js';
import type { CounterMove } from '../model/rule-view.js';
import { formatNanos, type Nanos } from '../model/time.js';
import { escapeText } from './escape.js';
import { podWord, serviceWord } from './rules-words.js';
import { displayWidth, shorten } from './width.js';

/** Rows of the picture: it must fit on any terminal, since it is drawn over itself. */
const MAX_ROWS = 18;
const DEFAULT_COLUMNS = 80;

const counts = ({ packets, bytes }: Traffic): string => `${packets} ${bytes}`;

/** A counter that moved, as a line: `… 0 0 -> 1 60`, packets and bytes. */
export function moveLine(move: CounterMove, time: Nanos | undefined): string {
  const { service, protocol, chain, endpoint, kind, before, after } = move;
  const when = time === undefined ? '' : `${formatNanos(time).slice(11, 23)}  `;
  const { ip, port, pod } = endpoint;
  const who = pod === undefined ? '' : `${podWord(endpoint, service?.namespace)}  `;
  const to = `${escapeText(chain)} > ${escapeText(endpoint.chain ?? '')}`;
  const what =
    kind === 'reset'
      ? `set to 0 (had ${counts(before)}), since then ${counts(after)}`
      : `${counts(before)} -> ${counts(after)}`;
  const where = escapeText(formatEndpoint(ip, port));
  return `${when}${serviceWord(service, protocol)}  ${who}${where}  ${to}  ${what}\n`;
}

interface Shown {
  move: CounterMove;
  /** What was counted since watching began. */
  packets: number;
  bytes: number;
  looks: number;
}

/** The counters that moved since watching began, drawn over itself on a terminal. */
export class MovesPicture {
  private readonly rows = new Map<string, Shown>();
  private drawn = 0;
  private looks = 0;
  private resets = 0;
  private readonly colors: ReturnType<typeof pc.createColors>;

  constructor(colors: boolean) {
    this.colors = pc.createColors(colors);
  }

  /** What to write to the terminal after a look. */
  draw(moves: readonly CounterMove[], time: Nanos, columns: number | undefined): string {
    this.looks++;
    for (const move of moves) this.take(move);
    const text = this.lines(time, columns ?? DEFAULT_COLUMNS);
    const back = this.drawn === 0 ? '' : `\x1b[${this.drawn}A\x1b[0J`;
    this.drawn = text.length;
    return `${back}${text.join('\n')}\n`;
  }

  private take(move: CounterMove): void {
    const { chain, endpoint, read, before, after, kind } = move;
    if (kind === 'reset') this.resets++;
    const key = `${read} ${chain} ${endpoint.chain ?? ''}`;
    const known = this.rows.get(key);
    const from = kind === 'reset' ? { packets: 0, bytes: 0 } : before;
    this.rows.set(key, {
      move,
      packets: (known?.packets ?? 0) + after.packets - from.packets,
      bytes: (known?.bytes ?? 0) + Math.max(0, after.bytes - from.bytes),
      looks: this.looks,
    });
  }

  private lines(time: Nanos, columns: number): string[] {
    const { colors } = this;
    const all = [...this.rows.values()];
    // Those that moved last come first; among them the most.
    const rows = all.sort((a, b) => b.looks - a.looks || b.packets - a.packets).slice(0, MAX_ROWS);
    const cells = rows.map(({ move, packets }) => {
      const { service, protocol, endpoint, before, after, kind } = move;
      return [
        serviceWord(service, protocol),
        podWord(endpoint, service?.namespace),
        kind === 'reset' ? 'set to 0' : counts(before),
        counts(after),
        `+${packets}`,
        escapeText(endpoint.chain ?? ''),
      ];
    });
    const header = ['SERVICE', 'POD', 'BEFORE', 'NOW', 'SINCE START', 'CHAIN'];
    const widths = header.map((title, i) =>
      Math.max(title.length, ...cells.map((row) => displayWidth(row[i] ?? ''))),
    );
    const line = (row: readonly string[]): string =>
      shorten(
        row.map((cell, i) => cell + ' '.repeat((widths[i] ?? 0) - displayWidth(cell))).join('  '),
        columns - 1,
        'end',
      ).trimEnd();
    const more =
      all.length > rows.length ? `, ${all.length - rows.length} more have moved before` : '';
    const reset = this.resets === 0 ? '' : `, ${this.resets} set to 0 by kube-proxy`;
    const state = `${formatNanos(time).slice(11, 19)} UTC, look ${this.looks}: packets and bytes that opened connections${reset}${more}`;
    const body = rows.map((row, i) => {
      const text = line(cells[i] ?? []);
      return row.looks === this.looks ? colors.bold(text) : colors.dim(text);
    });
    const head =
      rows.length === 0 ? ['nothing has moved yet'] : [colors.dim(line(header)), ...body];
    return [shorten(state, columns - 1, 'end'), ...head];
  }
}
