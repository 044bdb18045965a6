import type { Attribution, OutputEvent } from '../model/attribution.js';
import type { Loss, Notice } from '../model/event.js';
import { isMeant, nearness, type Selector } from './selector.js';

/** So many that match are kept; of more, the earliest are forgotten (with `nth`, the latest are not taken). */
const MAX_MATCHES = 10_000;
/** Connections are told about in the order in which they are known, which is nearly that of their times. */
const NTH_SLACK = 1_000;
const MAX_NEAR = 5;
const MAX_OWN_NOTICES = 20;
/** Of those who are meant and of the run as a whole. */
const MAX_NOTICES = 1_000;
const MAX_LOSSES = 1_000;

export interface Match {
  readonly attribution: Attribution;
  readonly closed: boolean;
}

/** What a run said, as far as one question needs it: those that match, and what is said about them. */
export class Choice {
  /** Connections that were told about. */
  seen = 0;
  /** Of them those that match. */
  matched = 0;
  readonly losses: Loss[] = [];
  /** Where a connection straight to a Pod would have matched, its words. */
  direct: string | undefined;
  private readonly selector: Selector;
  private readonly matches = new Map<string, Match>();
  private readonly notices: Notice[] = [];
  private readonly general: Notice[] = [];
  private readonly near: { readonly attribution: Attribution; readonly fits: number }[] = [];
  private last: string | undefined;

  constructor(selector: Selector) {
    this.selector = selector;
  }

  /** Takes what was said; what of it is about a connection that is meant. */
  hear(events: readonly OutputEvent[]): readonly Match[] {
    const meant: Match[] = [];
    for (const event of events) {
      switch (event.type) {
        case 'attribution':
        case 'close': {
          const match = { attribution: event.attribution, closed: event.type === 'close' };
          if (this.take(match)) meant.push(match);
          break;
        }
        case 'notice':
          this.note(event.notice);
          break;
        case 'loss':
          if (this.losses.length < MAX_LOSSES) this.losses.push(event.loss);
          break;
        case 'direct': {
          const { client, connection, backend } = event.direct;
          const { selector } = this;
          const its = selector.client;
          if (
            selector.id === connection ||
            (its !== undefined && 'ip' in its && its.ip === client.ip && its.port === client.port)
          ) {
            this.direct =
              backend.pod === undefined
                ? backend.ip
                : `${backend.pod.namespace}/${backend.pod.name}`;
          }
          break;
        }
        default:
          break;
      }
    }
    return meant;
  }

  /** All that are kept, in order of time. */
  get inOrder(): readonly Match[] {
    return [...this.matches.values()].sort((a, b) => {
      const [x, y] = [a.attribution.time ?? -1n, b.attribution.time ?? -1n];
      return x < y ? -1 : x > y ? 1 : 0;
    });
  }

  /** The one to be explained: as asked for, else the last that failed, else the last. */
  get chosen(): Match | undefined {
    const all = this.inOrder;
    const { nth } = this.selector;
    if (nth !== undefined) return all[nth - 1];
    return all.findLast((match) => hasFailed(match.attribution)) ?? all.at(-1);
  }

  /** Those that come nearest where none matches, the nearest first. */
  get nearest(): readonly Attribution[] {
    return this.near.map(({ attribution }) => attribution);
  }

  /** What was said about one connection, and about the run. */
  noticesFor(connection: string): readonly Notice[] {
    const own = this.notices.filter((notice) => notice.connection === connection);
    return [...own, ...this.general];
  }

  private take(match: Match): boolean {
    const { attribution } = match;
    const { connection } = attribution;
    const known = this.matches.has(connection);
    if (!known && connection !== this.last && !match.closed) this.seen++;
    this.last = connection;
    if (!isMeant(this.selector, attribution)) {
      // A correction may have made it another's.
      if (known && this.matches.delete(connection)) this.matched--;
      this.approach(attribution);
      return false;
    }
    if (!known) {
      const { nth } = this.selector;
      if (this.matches.size >= (nth === undefined ? MAX_MATCHES : nth + NTH_SLACK)) {
        this.matched++;
        if (nth !== undefined) return true;
        const [oldest] = this.matches.keys();
        if (oldest !== undefined) this.matches.delete(oldest);
      } else this.matched++;
    }
    this.matches.set(connection, match);
    return true;
  }

  private approach(attribution: Attribution): void {
    const fits = nearness(this.selector, attribution);
    const worst = this.near.at(-1);
    if (
      fits === 0 ||
      (this.near.length === MAX_NEAR && worst !== undefined && fits <= worst.fits)
    ) {
      return;
    }
    const same = this.near.findIndex(
      (one) => one.attribution.connection === attribution.connection,
    );
    if (same >= 0) this.near.splice(same, 1);
    this.near.push({ attribution, fits });
    this.near.sort((a, b) => b.fits - a.fits);
    this.near.length = Math.min(this.near.length, MAX_NEAR);
  }

  private note(notice: Notice): void {
    const { connection } = notice;
    if (connection === undefined) {
      if (this.general.length < MAX_NOTICES) this.general.push(notice);
      return;
    }
    // Notices may come before the connection is told about, so its matching is not asked for.
    const own = this.notices.filter((one) => one.connection === connection).length;
    if (own >= MAX_OWN_NOTICES) return;
    this.notices.push(notice);
    if (this.notices.length > MAX_NOTICES) this.notices.shift();
  }
}

/** Whether something went wrong with it. */
function hasFailed({ outcome, verdict }: Attribution): boolean {
  return verdict === 'conflict' || (outcome !== 'established' && outcome !== 'open');
}
