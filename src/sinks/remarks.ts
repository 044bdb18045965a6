import pc from 'picocolors';
import { formatEndpoint } from '../model/address.js';
import type { Direct, Peer } from '../model/attribution.js';
import type { Loss, Notice } from '../model/event.js';
import { timeOfDay } from './columns.js';
import { escapeText } from './escape.js';
import { Output } from './output.js';
import type { SinkOptions } from './sink.js';
import { humanCount } from './units.js';

/** Notices of one kind that are shown before they are only counted: a table must not drown in them. */
const SHOWN_OF_A_KIND = 5;

/** The second stream of the tables: what a person should know beside the rows, a line each. */
export class Remarks {
  private readonly out: Output;
  private readonly colors: ReturnType<typeof pc.createColors>;
  private readonly verbose: boolean;
  private readonly notices = new Map<string, number>();

  constructor(options: Pick<SinkOptions, 'stderr' | 'colors' | 'verbose'>) {
    this.out = new Output(options.stderr, () => undefined);
    this.colors = pc.createColors(options.colors.stderr);
    this.verbose = options.verbose;
  }

  notice(notice: Notice): void {
    const count = (this.notices.get(notice.code) ?? 0) + 1;
    this.notices.set(notice.code, count);
    if (count > SHOWN_OF_A_KIND && !this.verbose) return;
    const at = notice.time === undefined ? '' : ` ${timeOfDay(notice.time)}`;
    const of = notice.connection === undefined ? '' : ` (connection ${notice.connection})`;
    this.line(this.colors.dim, `notice${at} ${notice.code}: ${notice.detail}${of}`);
  }

  /** Not a row: nobody knows whether a Service was meant. */
  direct({ time, client, backend, outcome, candidates }: Direct): void {
    const at = time === undefined ? '' : ` ${timeOfDay(time)}`;
    const name = (peer: Peer): string =>
      peer.pod === undefined
        ? formatEndpoint(peer.ip, peer.port)
        : `${peer.pod.namespace}/${peer.pod.name} ${formatEndpoint(peer.ip, peer.port)}`;
    const of = candidates.map(({ namespace, name: service }) => `${namespace}/${service}`);
    const listed = of.length === 0 ? 'no Service lists it' : `listed by ${of.join(', ')}`;
    this.line(
      this.colors.dim,
      `direct${at} ${name(client)} -> ${name(backend)} ${outcome}; ${listed}`,
    );
  }

  loss({ source, count, from, to, detail }: Loss): void {
    const times = [from, to].filter((time) => time !== undefined).map(timeOfDay);
    const at = times.length === 0 ? '' : ` ${[...new Set(times)].join(' to ')}`;
    this.line(this.colors.yellow, `loss${at} ${source}: ${humanCount(count)}; ${detail}`);
  }

  /** Columns that the terminal has no room for. */
  leftOut(headers: readonly string[], available: number): void {
    this.line(this.colors.dim, `no room in ${available} columns for ${headers.join(', ')}`);
  }

  /** Says how many notices were only counted. */
  end(): void {
    for (const [code, count] of this.notices) {
      const hidden = this.verbose ? 0 : count - SHOWN_OF_A_KIND;
      if (hidden <= 0) continue;
      this.line(this.colors.dim, `notice ${code}: ${humanCount(hidden)} more (-v shows them)`);
    }
    this.notices.clear();
  }

  /** A remark is worth less than memory: when nobody reads them they are left out. */
  private line(paint: (text: string) => string, text: string): void {
    if (!this.out.full) this.out.write(`${paint(escapeText(text))}\n`);
  }
}
