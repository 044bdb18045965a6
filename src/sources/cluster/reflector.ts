import { LineSplitter } from '../../decode/cluster/lines.js';
import { slimObject } from '../../decode/cluster/objects.js';
import { MAX_WATCH_LINE_BYTES, readWatchLine } from '../../decode/cluster/watch-log.js';
import type { ClusterKind, ClusterRecord } from '../../model/cluster.js';
import type { InputEvent } from '../../model/event.js';
import type { Nanos } from '../../model/time.js';
import type { Turns } from '../slices.js';
import { ApiError, readApi } from './api-request.js';
import { Backoff } from './backoff.js';
import type { ClusterAccess } from './kube-config.js';
import type { Timing } from './timing.js';

/** Where each kind is listed and watched, and its name in a rule of a ClusterRole. */
const RESOURCES: Readonly<Record<ClusterKind, { readonly path: string; readonly name: string }>> = {
  pod: { path: '/api/v1/pods', name: 'pods' },
  service: { path: '/api/v1/services', name: 'services' },
  node: { path: '/api/v1/nodes', name: 'nodes' },
  endpointslice: {
    path: '/apis/discovery.k8s.io/v1/endpointslices',
    name: 'endpointslices.discovery.k8s.io',
  },
};

/** Objects a page. client-go's pager asks for 500, but 500 Pods are 2 MB: 25 ms in which no packet is looked at. */
const PAGE_LIMIT = 200;
/** So many of a page are slimmed in one turn of the event loop: before V8 has compiled it, a Pod takes 0.1 ms. */
const AT_ONCE = 50;
/** Largest page that is read: 500 objects of a quarter of etcd's limit each, since a server may give more than were asked for. */
const MAX_PAGE_BYTES = 192 * 1024 * 1024;
/** A continue token lives about 5 minutes; if listing takes longer this often in a row, it is a failure. */
const MAX_LIST_RESTARTS = 3;
/** Silence in the middle of a page. */
const PAGE_IDLE_MS = 30_000;
/**
 * The server is asked to end each watch after about this long, so that a connection that something on
 * the way holds open cannot go stale for ever; the chance part keeps nodes out of step.
 */
const WATCH_SECONDS = 290;
const WATCH_JITTER_SECONDS = 20;
/** Bookmarks come about once a minute; two missing ones and some slack mean a dead connection. */
const WATCH_IDLE_MS = 150_000;
/** A round that lasted this long was a success: the next begins at once and with short waits again. */
const STEADY_NS = 10_000_000_000n;
/** Changes that were seen later than this carry times that mislead, and that is said. */
const OUTAGE_NS = 10_000_000_000n;
/** Waiting time after 401 and 403: somebody has to change a role first. */
const REFUSED_MS = 60_000;
/** Longest Retry-After that is honoured. */
const MAX_RETRY_AFTER_MS = 60_000;
/** Failures in a row before a user is told; before the first list everything is told at once. */
const QUIET_FAILURES = 3;
/** After so many refusals of a watch the resource version is given up (a restored etcd counts anew). */
const MAX_WATCH_REFUSALS = 3;

export interface ReflectorOptions {
  readonly kind: ClusterKind;
  readonly access: ClusterAccess;
  readonly timing: Timing;
  /** Ends the reflector. */
  readonly signal: AbortSignal;
  readonly emit: (event: InputEvent) => void;
  /** Shared by all kinds, whose pages come at the same time. */
  readonly turns: Turns;
  /** Called once, after the first list was given out. */
  readonly listed: () => void;
}

/**
 * Keeps up with one kind of object until the signal is aborted: lists, then watches from there; lists
 * again when the server no longer knows what came after. Never rejects because of the network.
 * The first list has no time (it holds from the beginning), all else the time of its arrival.
 */
export async function reflect(options: ReflectorOptions): Promise<void> {
  await new Reflector(options).run();
}

class Reflector {
  private readonly options: ReflectorOptions;
  private readonly backoff: Backoff;
  private readonly resource: { readonly path: string; readonly name: string };
  /** How far the watch has come; absent when a list is due. */
  private version: string | undefined;
  private everListed = false;
  /** Why a list is due again; absent where its loss has been told already. */
  private gap: string | undefined;
  /** Until when everything is known to have been seen. */
  private completeUntil: Nanos;
  /** When the failures in a row began. */
  private failingSince: Nanos | undefined;
  private failures = 0;
  private watchRefusals = 0;
  private told = false;

  constructor(options: ReflectorOptions) {
    this.options = options;
    this.backoff = new Backoff(() => options.timing.random());
    this.resource = RESOURCES[options.kind];
    this.completeUntil = options.timing.now();
  }

  async run(): Promise<void> {
    const { timing, signal, turns } = this.options;
    await turns.next();
    while (!signal.aborted) {
      const began = timing.now();
      let atLeastMs = 0;
      try {
        if (this.version === undefined) await this.list();
        await this.watch();
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof ApiError)) throw error;
        atLeastMs = await this.failed(error);
      }
      if (atLeastMs === 0 && timing.now() - began >= STEADY_NS) {
        this.backoff.reset();
        continue;
      }
      await timing.wait(Math.max(atLeastMs, this.backoff.next()), signal);
    }
  }

  private async list(): Promise<void> {
    const { kind, turns, signal } = this.options;
    const items: ClusterRecord[] = [];
    let token: string | undefined;
    let version: string | undefined;
    let unreadable = 0;
    let restarts = 0;
    do {
      let page: Page;
      try {
        page = await this.page(token);
      } catch (error) {
        if (!isGone(error) || token === undefined) throw error;
        // The token has expired: what was listed so far may be of another time than the rest.
        if (++restarts > MAX_LIST_RESTARTS) throw error;
        items.length = 0;
        unreadable = 0;
        token = undefined;
        version = undefined;
        continue;
      }
      for (const [i, row] of page.items.entries()) {
        if (i > 0 && i % AT_ONCE === 0) await turns.next();
        const record = slimObject(row, kind);
        if (record?.kind === kind) items.push(record);
        else unreadable++;
      }
      token = page.next;
      version = page.version;
    } while (token !== undefined || version === undefined);
    await turns.next();
    if (signal.aborted) return;
    this.giveList(items, version, unreadable);
  }

  private giveList(items: readonly ClusterRecord[], version: string, unreadable: number): void {
    const { emit, kind, timing, listed } = this.options;
    const now = timing.now();
    if (this.everListed && this.gap !== undefined) this.lose(1, now, this.gap);
    if (unreadable > 0) this.lose(unreadable, now, 'objects without a name in a list');
    emit({
      type: 'cluster',
      ...(this.everListed ? { time: now } : {}),
      change: { op: 'list', kind, items, resourceVersion: version },
    });
    this.version = version;
    this.gap = undefined;
    this.completeUntil = now;
    this.watchRefusals = 0;
    this.recovered();
    if (!this.everListed) {
      this.everListed = true;
      listed();
    }
  }

  private async page(token: string | undefined): Promise<Page> {
    const query = token === undefined ? '' : `&continue=${encodeURIComponent(token)}`;
    const chunks: Uint8Array[] = [];
    let size = 0;
    const path = `${this.resource.path}?limit=${PAGE_LIMIT}${query}`;
    for await (const chunk of this.read(path, PAGE_IDLE_MS, () => {})) {
      size += chunk.length;
      if (size > MAX_PAGE_BYTES) throw new ApiError('content', `a page of more than ${size} bytes`);
      chunks.push(chunk);
    }
    await this.options.turns.next();
    return readPage(Buffer.concat(chunks).toString('utf8'));
  }

  private async watch(): Promise<void> {
    const { timing } = this.options;
    const seconds = WATCH_SECONDS + Math.floor(timing.random() * WATCH_JITTER_SECONDS);
    const version = encodeURIComponent(this.version ?? '');
    const path = `${this.resource.path}?watch=true&allowWatchBookmarks=true&resourceVersion=${version}&timeoutSeconds=${seconds}`;
    const lines = new LineSplitter(MAX_WATCH_LINE_BYTES);
    for await (const chunk of this.read(path, WATCH_IDLE_MS, () => this.resumed())) {
      const now = timing.now();
      for (const line of lines.push(chunk)) {
        if (!this.take(line, now)) return;
      }
    }
    // Ended in good order; half a line at the end is sent again by the next watch.
    this.completeUntil = timing.now();
  }

  private read(path: string, idleMs: number, opened: () => void): AsyncGenerator<Uint8Array> {
    const { access, timing, signal } = this.options;
    return readApi(access, { path, idleMs, timing, signal, opened });
  }

  /** One line of the watch; false when a list is due. */
  private take(line: string | undefined, now: Nanos): boolean {
    if (line === '') return true;
    const event =
      line === undefined
        ? { type: 'bad' as const, message: 'a line longer than any object' }
        : readWatchLine(line);
    switch (event.type) {
      case 'change': {
        const item = event.change.op === 'list' ? undefined : event.change.item;
        if (item?.kind !== this.options.kind) return true;
        this.options.emit({ type: 'cluster', time: now, change: event.change });
        break;
      }
      case 'error':
        if (event.status === 410) {
          this.expire(`the watch had expired (${event.message})`);
          return false;
        }
        throw new ApiError('status', event.message, {
          ...(event.status === undefined ? {} : { status: event.status }),
        });
      case 'bad':
        // What changed is not known, so the state has to be taken anew.
        this.lose(1, now, `a line of the watch could not be read (${event.message})`);
        this.version = undefined;
        return false;
      case 'bookmark':
      case 'other':
        break;
    }
    if ('resourceVersion' in event) this.version = event.resourceVersion ?? this.version;
    this.completeUntil = now;
    return true;
  }

  private expire(reason: string): void {
    this.version = undefined;
    this.gap = reason;
  }

  /** The server has taken up the watch: whatever was wrong is over. */
  private resumed(): void {
    const now = this.options.timing.now();
    this.watchRefusals = 0;
    const since = this.failingSince;
    if (since !== undefined && now - since >= OUTAGE_NS) {
      const detail = 'the API server could not be reached; changes of this time were seen late';
      this.options.emit({
        type: 'loss',
        loss: { source: 'watch', count: 1, from: since, to: now, detail: this.detail(detail) },
      });
    }
    this.recovered();
  }

  private recovered(): void {
    this.failingSince = undefined;
    this.failures = 0;
    this.told = false;
  }

  /** Takes note of a failure; the least time to wait before the next attempt, in ms. */
  private async failed(error: ApiError): Promise<number> {
    const { timing, access } = this.options;
    const watching = this.version !== undefined;
    if (watching && isGone(error)) {
      this.expire(`the watch had expired (${error.message})`);
      return 0;
    }
    this.failures++;
    this.failingSince ??= timing.now();
    if (watching && error.code === 'status' && ++this.watchRefusals > MAX_WATCH_REFUSALS) {
      this.expire(`the watch was refused (${error.message})`);
    }
    if (error.status === 401 || error.status === 403) {
      this.refused(error, watching ? 'watch' : 'list');
      if (error.status === 401) await this.renew(access);
      return REFUSED_MS + Math.round(timing.random() * REFUSED_MS) / 2;
    }
    if (!this.everListed || this.failures >= QUIET_FAILURES) {
      this.tell('cluster-unreachable', `${access.server}: ${error.message}; trying again`);
    }
    return Math.min(error.retryAfterMs ?? 0, MAX_RETRY_AFTER_MS);
  }

  private async renew(access: ClusterAccess): Promise<void> {
    try {
      await access.renew();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.tell('cluster-unreachable', reason);
    }
  }

  private refused(error: ApiError, verb: 'list' | 'watch'): void {
    const { name } = this.resource;
    if (error.status === 401) {
      const detail = `the API server does not accept the credentials (${error.message}); trying again every minute`;
      this.tell('cluster-unauthorized', detail);
      return;
    }
    const detail = `not allowed to ${verb} ${name} (${error.message}); a ClusterRole with the verbs list and watch on ${name} is needed; trying again every minute`;
    this.tell('cluster-forbidden', detail);
  }

  /** Tells a user, once a row of failures. */
  private tell(code: string, detail: string): void {
    if (this.told) return;
    this.told = true;
    this.options.emit({
      type: 'notice',
      notice: { code, time: this.options.timing.now(), detail },
    });
  }

  private lose(count: number, to: Nanos, detail: string): void {
    const from = this.completeUntil;
    this.options.emit({
      type: 'loss',
      loss: { source: 'watch', count, from, to, detail: this.detail(detail) },
    });
  }

  private detail(reason: string): string {
    return `${this.resource.name}: ${reason}`;
  }
}

interface Page {
  readonly items: readonly unknown[];
  readonly version: string;
  readonly next?: string;
}

function readPage(text: string): Page {
  let page: unknown;
  try {
    page = JSON.parse(text);
  } catch (cause) {
    throw new ApiError('content', 'the answer to a list is not JSON', { cause });
  }
  const root = typeof page === 'object' && page !== null ? page : {};
  const metadata =
    'metadata' in root && typeof root.metadata === 'object' && root.metadata !== null
      ? root.metadata
      : {};
  const version = 'resourceVersion' in metadata ? metadata.resourceVersion : undefined;
  if (typeof version !== 'string' || version === '') {
    throw new ApiError('content', 'the answer to a list is no Kubernetes list');
  }
  const next = 'continue' in metadata ? metadata.continue : undefined;
  return {
    items: 'items' in root && Array.isArray(root.items) ? root.items : [],
    version,
    ...(typeof next === 'string' && next !== '' ? { next } : {}),
  };
}

/** 410 Gone: the resource version or the continue token is older than what the server still knows. */
function isGone(error: unknown): boolean {
  return error instanceof ApiError && error.status === 410;
}
