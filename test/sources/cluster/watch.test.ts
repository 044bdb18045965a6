import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Subscription } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ClusterState } from '../../../src/correlate/cluster-state.js';
import type { InputEvent, Loss, Notice } from '../../../src/model/event.js';
import { UsageError } from '../../../src/model/problem.js';
import { watchCluster } from '../../../src/sources/cluster/watch.js';
import { EventLog } from '../../support/event-log.js';
import { FakeApiServer, RESOURCES, type Resource } from '../../support/fake-api-server.js';
import { writeKubeconfig } from '../../support/kubeconfig.js';
import { ManualTiming } from '../../support/manual-timing.js';
import { recorded } from '../../support/recorded.js';

/** Of the reflector: how long a watch and a page may be silent. */
const WATCH_IDLE_MS = 150_000;
const PAGE_IDLE_MS = 30_000;
const HEADERS_MS = 70_000;

let server: FakeApiServer;
let timing: ManualTiming;
let events: EventLog<InputEvent>;
let subscription: Subscription | undefined;
let folder: string;
let failure: unknown;

beforeEach(async () => {
  server = await FakeApiServer.start();
  timing = new ManualTiming();
  events = new EventLog();
  failure = undefined;
  folder = mkdtempSync(join(tmpdir(), 'whichpod-watch-'));
});
afterEach(async () => {
  expect(failure).toBeUndefined();
  subscription?.unsubscribe();
  await server.stop();
  rmSync(folder, { recursive: true });
});

function start(user: object = { token: 't' }): void {
  const kubeconfig = writeKubeconfig(folder, { server: server.url, user });
  subscription = watchCluster({ kubeconfig, timing }).subscribe({
    next: (event) => events.push(event),
    error: (error) => {
      failure = error;
      events.fail(error);
    },
  });
}

const notice = (code: string) => (event: InputEvent) =>
  event.type === 'notice' && event.notice.code === code;
const isLoss = (event: InputEvent): boolean => event.type === 'loss';
const losses = (): Loss[] => events.all.flatMap((e) => (e.type === 'loss' ? [e.loss] : []));
const notices = (): Notice[] => events.all.flatMap((e) => (e.type === 'notice' ? [e.notice] : []));
const sets = (name: string) => (event: InputEvent) =>
  event.type === 'cluster' && event.change.op === 'set' && event.change.item.name === name;
const isPodList = (event: InputEvent): boolean =>
  event.type === 'cluster' && event.change.op === 'list' && event.change.kind === 'pod';

const pod = (
  name: string,
): { kind: string; metadata: { name: string; namespace: string; uid: string } } => ({
  kind: 'Pod',
  metadata: { name, namespace: 'n', uid: `uid-${name}` },
});

/** Started, listed, and all four watches open. */
async function listed(): Promise<void> {
  start();
  await events.until(notice('cluster-listed'));
  for (const resource of RESOURCES) await server.requested(resource, 'watch');
}

interface Recorded {
  readonly resource: Resource;
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly object: {
    readonly kind: string;
    readonly metadata: { readonly name: string; readonly resourceVersion: string };
  };
}

function load(scenario: string): Recorded[] {
  const at = `sources/cluster/data/${scenario}`;
  for (const resource of RESOURCES) {
    server.load(resource, JSON.parse(recorded(`${at}/${resource}.json.gz`).toString('utf8')));
  }
  const lines = recorded(`${at}/watch.jsonl.gz`).toString('utf8').trim().split('\n');
  return lines.map((line) => JSON.parse(line));
}

/** What the cluster looks like to someone who applies all events. */
function state(): ClusterState {
  const cluster = new ClusterState();
  for (const event of events.all) {
    if (event.type === 'cluster') cluster.apply(event.change, event.time);
  }
  return cluster;
}

describe('a cluster as recorded', () => {
  test.each(['08-rolling-update', '05b-endpoint-dies'])(
    '%s is listed, then followed change by change',
    async (scenario) => {
      const changes = load(scenario);
      await listed();
      const lists = events.all.filter((e) => e.type === 'cluster');
      expect(lists.every((e) => e.type === 'cluster' && e.time === undefined)).toBe(true);
      expect(lists.map((e) => e.type === 'cluster' && e.change.op)).toEqual([
        'list',
        'list',
        'list',
        'list',
      ]);
      const begin = timing.now();
      for (const { resource, type, object } of changes) {
        timing.advance(100);
        server.change(resource, type, object);
        await events.until(
          (e) =>
            e.type === 'cluster' &&
            e.change.op !== 'list' &&
            e.change.item.resourceVersion === object.metadata.resourceVersion,
        );
      }
      const got = events.all.filter((e) => e.type === 'cluster' && e.change.op !== 'list');
      expect(
        got.map(
          (e) =>
            e.type === 'cluster' && e.change.op !== 'list' && [e.change.op, e.change.item.name],
        ),
      ).toEqual(
        changes.map((c) => [c.type === 'DELETED' ? 'delete' : 'set', c.object.metadata.name]),
      );
      expect(got.map((e) => e.type === 'cluster' && e.time)).toEqual(
        changes.map((_, i) => begin + BigInt(i + 1) * 100_000_000n),
      );
      expect(losses()).toEqual([]);
      // The Pods that the server holds in the end are those that the events leave.
      const cluster = state();
      for (const { type, object } of changes.filter((c) => c.resource === 'pods')) {
        const last = changes.findLast((c) => c.object.metadata.name === object.metadata.name);
        if (last?.object !== object) continue;
        const ip = ipOf(object);
        if (ip === undefined) continue;
        const owner = cluster.podAt(ip, timing.now());
        expect(owner?.name).toBe(type === 'DELETED' ? undefined : object.metadata.name);
      }
    },
  );

  function ipOf(object: unknown): string | undefined {
    const { status }: { status?: { podIP?: string } } = object as object;
    return status?.podIP;
  }
});

describe('listing', () => {
  test('goes page by page, and all pages make one list', async () => {
    for (let i = 0; i < 401; i++) server.change('pods', 'ADDED', pod(`p${i}`));
    await listed();
    const list = await events.until(isPodList);
    const items = list.type === 'cluster' && list.change.op === 'list' ? list.change.items : [];
    expect(items.map((item) => item.name)).toEqual(Array.from({ length: 401 }, (_, i) => `p${i}`));
    const asked = server.seen('pods', 'list');
    expect(asked.map(({ query }) => query.get('limit'))).toEqual(['200', '200', '200']);
    expect(asked.map(({ query }) => query.has('continue'))).toEqual([false, true, true]);
  });

  test('that expires in the middle gives every object once', async () => {
    for (let i = 0; i < 600; i++) server.change('pods', 'ADDED', pod(`p${i}`));
    const page = JSON.stringify({
      metadata: { resourceVersion: '3', continue: 'gone' },
      items: [{ metadata: { name: 'half-seen' } }],
    });
    server.fail('pods', 'list', { do: 'body', text: page }, { do: 'status', status: 410 });
    start();
    const list = await events.until(isPodList);
    const items = list.type === 'cluster' && list.change.op === 'list' ? list.change.items : [];
    expect(items).toHaveLength(600);
    expect(items.some((item) => item.name === 'half-seen')).toBe(false);
    expect(losses()).toEqual([]);
    expect(timing.waits).toEqual([]);
  });

  test('that expires again and again is tried again later', async () => {
    const page = JSON.stringify({
      metadata: { resourceVersion: '3', continue: 'gone' },
      items: [],
    });
    for (let i = 0; i < 4; i++) {
      server.fail('pods', 'list', { do: 'body', text: page }, { do: 'status', status: 410 });
    }
    await listed();
    expect(server.seen('pods', 'list')).toHaveLength(9);
    expect(timing.waits).toHaveLength(1);
  });

  test('with objects that have no name counts them as lost', async () => {
    const text = JSON.stringify({
      metadata: { resourceVersion: '3' },
      items: [{ metadata: { name: 'a' } }, {}, 7],
    });
    server.fail('pods', 'list', { do: 'body', text });
    start();
    const list = await events.until(isPodList);
    expect(list.type === 'cluster' && list.change.op === 'list' && list.change.items).toHaveLength(
      1,
    );
    expect(losses()).toMatchObject([{ source: 'watch', count: 2 }]);
  });

  const failures = [
    ['answers with an error', { do: 'status', status: 500 }],
    ['answers with something else', { do: 'body', text: '<html>' }],
    ['answers with JSON that is no list', { do: 'body', text: '{}' }],
    ['breaks the connection', { do: 'reset' }],
    [
      'breaks the connection in the middle of a page',
      { do: 'reset-after', text: '{"items":[{"met' },
    ],
  ] as const;
  test.each(failures)('goes on with growing waits while the server %s', async (_name, fault) => {
    server.fail('pods', 'list', ...new Array<typeof fault>(8).fill(fault));
    await listed();
    expect(server.seen('pods', 'list')).toHaveLength(9);
    // Half of each wait is chance, here three quarters of it.
    expect(timing.waits).toEqual([375, 750, 1_500, 3_000, 6_000, 12_000, 22_500, 22_500]);
    expect(notices().map((n) => n.code)).toEqual(['cluster-unreachable', 'cluster-listed']);
    expect(losses()).toEqual([]);
  });

  test('gives up a server that takes the request and does not answer', async () => {
    server.fail('pods', 'list', { do: 'no-headers' });
    start();
    await server.requested('pods', 'list');
    expect(timing.fire(HEADERS_MS)).toBeGreaterThan(0);
    await events.until(isPodList);
  });

  test('gives up a server that falls silent in the middle of a page', async () => {
    server.fail('pods', 'list', { do: 'silence' });
    start();
    await server.requested('pods', 'list');
    await waitForGuards(PAGE_IDLE_MS, 1);
    timing.fire(PAGE_IDLE_MS);
    await events.until(isPodList);
    expect(server.seen('pods', 'list')).toHaveLength(2);
  });

  test('honours the time for which the server asks to be left alone', async () => {
    server.fail('pods', 'list', { do: 'status', status: 429, headers: { 'retry-after': '7' } });
    await listed();
    expect(timing.waits).toEqual([7_000]);
  });

  test('that is not allowed says which permission is missing, once, and tries again each minute', async () => {
    server.fail('pods', 'list', { do: 'status', status: 403 }, { do: 'status', status: 403 });
    await listed();
    const told = notices().filter((n) => n.code === 'cluster-forbidden');
    expect(told).toHaveLength(1);
    expect(told[0]?.detail).toContain('not allowed to list pods');
    expect(told[0]?.detail).toContain('ClusterRole');
    expect(timing.waits).toHaveLength(2);
    for (const ms of timing.waits) expect(ms).toBeGreaterThanOrEqual(60_000);
  });

  test('that stays forbidden is told once, whatever other kinds do meanwhile', async () => {
    timing.held = true;
    server.fail('pods', 'list', { do: 'status', status: 403 }, { do: 'status', status: 403 });
    start();
    await events.until(notice('cluster-forbidden'));
    await server.requested('nodes', 'watch');
    server.change('nodes', 'ADDED', { ...pod('k'), kind: 'Node' });
    await events.until(sets('k'));
    timing.release();
    await events.until(notice('cluster-listed'));
    expect(notices().filter((n) => n.code === 'cluster-forbidden')).toHaveLength(1);
  });

  test('with credentials that are refused reads them anew', async () => {
    server.token = 'new';
    start({ token: 'old' });
    await events.until(notice('cluster-unauthorized'));
    writeKubeconfig(folder, { server: server.url, user: { token: 'new' } });
    await events.until(notice('cluster-listed'));
    const told = notices().filter((n) => n.code === 'cluster-unauthorized');
    expect(told).toHaveLength(1);
  });
});

/** Resolves once so many readers wait for bytes, each with a guard of this length. */
async function waitForGuards(ms: number, number: number): Promise<void> {
  while ([...timing.guards].filter((guard) => guard.ms === ms).length < number) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('watching', () => {
  test('asks for bookmarks, for an end, and for what came after the list', async () => {
    server.change('pods', 'ADDED', pod('a'));
    await listed();
    const [asked] = server.seen('pods', 'watch');
    expect(Object.fromEntries(asked?.query ?? [])).toEqual({
      watch: 'true',
      allowWatchBookmarks: 'true',
      resourceVersion: '1001',
      timeoutSeconds: '300',
    });
  });

  test('goes on where it was after an end in good order, without loss and without waiting', async () => {
    await listed();
    server.change('pods', 'ADDED', pod('a'));
    await events.until(sets('a'));
    timing.advance(290_000);
    server.endWatches('pods');
    await server.requested('pods', 'watch', 2);
    server.change('pods', 'ADDED', pod('b'));
    await events.until(sets('b'));
    expect(server.seen('pods', 'watch')[1]?.query.get('resourceVersion')).toBe('1001');
    expect(server.seen('pods', 'list')).toHaveLength(1);
    expect(timing.waits).toEqual([]);
    expect(losses()).toEqual([]);
  });

  test('goes on from the last bookmark', async () => {
    await listed();
    server.change('services', 'ADDED', { ...pod('s'), kind: 'Service' });
    server.bookmark('pods');
    server.change('pods', 'ADDED', pod('a'));
    await events.until(sets('a'));
    server.change('nodes', 'ADDED', { ...pod('k'), kind: 'Node' });
    server.bookmark('pods');
    timing.advance(290_000);
    server.endWatches('pods');
    await server.requested('pods', 'watch', 2);
    expect(server.seen('pods', 'watch')[1]?.query.get('resourceVersion')).toBe('1003');
  });

  test('that breaks in the middle of a line loses nothing', async () => {
    await listed();
    server.send('pods', '{"type":"ADDED","object":{"kind":"Pod","metadata":{"na');
    server.change('nodes', 'ADDED', { ...pod('k'), kind: 'Node' });
    await events.until(sets('k'));
    server.dropWatches('pods');
    server.change('pods', 'ADDED', pod('a'));
    await events.until(sets('a'));
    expect(server.seen('pods', 'list')).toHaveLength(1);
    expect(losses()).toEqual([]);
  });

  test('that the server always ends at once is not taken up again at once', async () => {
    server.fail('pods', 'watch', ...new Array<{ do: 'close' }>(20).fill({ do: 'close' }));
    await listed();
    await server.requested('pods', 'watch', 21);
    expect(timing.waits).toHaveLength(20);
    expect(timing.waits.slice(0, 3)).toEqual([375, 750, 1_500]);
    expect(timing.waits.at(-1)).toBe(22_500);
    expect(losses()).toEqual([]);
  });

  test('waits for a short time again after a watch that lasted', async () => {
    server.fail('pods', 'watch', { do: 'close' }, { do: 'close' });
    await listed();
    await server.requested('pods', 'watch', 3);
    timing.advance(60_000);
    server.fail('pods', 'watch', { do: 'close' });
    server.endWatches('pods');
    await server.requested('pods', 'watch', 5);
    expect(timing.waits).toEqual([375, 750, 375]);
  });

  test('that says nothing for too long is taken up anew, without loss', async () => {
    await listed();
    await waitForGuards(WATCH_IDLE_MS, RESOURCES.length);
    expect(timing.fire(WATCH_IDLE_MS)).toBe(RESOURCES.length);
    for (const resource of RESOURCES) await server.requested(resource, 'watch', 2);
    server.change('pods', 'ADDED', pod('a'));
    await events.until(sets('a'));
    expect(losses()).toEqual([]);
    expect(notices().map((n) => n.code)).toEqual(['cluster-listed']);
  });

  const gone = [
    ['as an event', undefined],
    ['as an answer', { do: 'status', status: 410 }],
  ] as const;
  test.each(gone)(
    'that has expired, told %s, lists again and tells the gap',
    async (_name, fault) => {
      server.change('pods', 'ADDED', pod('a'));
      await listed();
      timing.advance(5_000);
      server.change('pods', 'ADDED', pod('b'));
      await events.until(sets('b'));
      const complete = timing.now();
      timing.advance(60_000);
      if (fault !== undefined) server.fail('pods', 'watch', fault);
      server.changeUnseen('pods', () => {
        server.change('pods', 'DELETED', pod('a'));
        server.change('pods', 'ADDED', pod('c'));
      });
      await events.until(isLoss);
      const again = await events.until(isPodList, events.all.findIndex(isLoss));
      expect(again).toMatchObject({
        time: expect.any(BigInt),
        change: { items: [{ name: 'b' }, { name: 'c' }] },
      });
      expect(losses()).toMatchObject([{ source: 'watch', count: 1, from: complete }]);
      expect(losses()[0]?.to).toBe(again.type === 'cluster' && again.time);
      server.change('pods', 'ADDED', pod('d'));
      await events.until(sets('d'));
      expect(notices().map((n) => n.code)).toEqual(['cluster-listed']);
    },
  );

  const broken = [
    ['is no JSON', 'what?\n'],
    ['is cut short', '{"type":"ADDED","object":{"kind":"Pod"\n'],
    ['has no object', '{"type":"ADDED"}\n'],
    ['is of an unknown type', '{"type":"FOUND","object":{}}\n'],
  ];
  test.each(broken)(
    'with a line that %s is a loss, and a list makes up for it',
    async (_name, line) => {
      await listed();
      const began = timing.now();
      timing.advance(1_000);
      const to = timing.now();
      server.send('pods', line);
      await events.until(isLoss);
      const again = await events.until(isPodList, events.all.findIndex(isLoss));
      expect(again.type === 'cluster' && again.time).toBeDefined();
      expect(losses()).toHaveLength(1);
      expect(losses()[0]).toMatchObject({ source: 'watch', count: 1, from: began, to });
      expect(server.seen('pods', 'list')).toHaveLength(2);
    },
  );

  test('passes over empty lines and objects of other kinds', async () => {
    await listed();
    server.send('pods', '\n{"type":"ADDED","object":{"kind":"Node","metadata":{"name":"x"}}}\n');
    server.send('pods', '{"type":"ADDED","object":{"kind":"Table","metadata":{"name":"x"}}}\n');
    server.change('pods', 'ADDED', pod('a'));
    await events.until(sets('a'));
    expect(events.all.filter(sets('x'))).toEqual([]);
    expect(losses()).toEqual([]);
  });

  test('that the server refuses again and again begins anew with a list', async () => {
    server.fail(
      'pods',
      'watch',
      ...new Array<{ do: 'status'; status: 504 }>(4).fill({ do: 'status', status: 504 }),
    );
    await listed();
    await events.until(isLoss);
    expect(server.seen('pods', 'watch').length).toBeGreaterThanOrEqual(4);
    expect(server.seen('pods', 'list')).toHaveLength(2);
  });

  test('after a long outage says that changes were seen late', async () => {
    await listed();
    const resets = new Array<{ do: 'reset' }>(8).fill({ do: 'reset' });
    server.fail('pods', 'watch', ...resets);
    const began = timing.now();
    server.dropWatches('pods');
    await events.until(isLoss);
    expect(losses()).toMatchObject([{ source: 'watch', count: 1, from: began }]);
    expect(Number((losses()[0]?.to ?? 0n) - began)).toBeGreaterThan(10e9);
    expect(notices().map((n) => n.code)).toEqual(['cluster-listed', 'cluster-unreachable']);
    expect(server.seen('pods', 'list')).toHaveLength(1);
  });

  test('that breaks for a moment now and then is no outage', async () => {
    await listed();
    for (let times = 1; times <= 3; times++) {
      timing.advance(3_600_000);
      server.fail('pods', 'watch', { do: 'reset' });
      server.dropWatches('pods');
      await server.requested('pods', 'watch', 1 + 2 * times);
      server.change('pods', 'ADDED', pod(`p${times}`));
      await events.until(sets(`p${times}`));
    }
    expect(losses()).toEqual([]);
    expect(notices().map((n) => n.code)).toEqual(['cluster-listed']);
  });

  test('that is not allowed says so', async () => {
    server.fail('pods', 'watch', { do: 'status', status: 403 });
    await listed();
    const told = await events.until(notice('cluster-forbidden'));
    expect(told.type === 'notice' && told.notice.detail).toContain('not allowed to watch pods');
  });

  test('tells a trouble that meets all four kinds once', async () => {
    await listed();
    for (const resource of RESOURCES) {
      server.fail(
        resource,
        'watch',
        ...new Array<{ do: 'status'; status: 500 }>(3).fill({ do: 'status', status: 500 }),
      );
    }
    for (const resource of RESOURCES) server.endWatches(resource);
    for (const resource of RESOURCES) await server.requested(resource, 'watch', 5);
    const details = notices().map((n) => n.detail);
    expect(new Set(details).size).toBe(details.length);
  });
});

describe('a subscription', () => {
  test('reads nothing before it is made, and only the four kinds then', async () => {
    const kubeconfig = writeKubeconfig(folder, { server: server.url, user: {} });
    const source = watchCluster({ kubeconfig, timing });
    expect(server.requests.all).toEqual([]);
    subscription = source.subscribe((event) => events.push(event));
    await events.until(notice('cluster-listed'));
    expect(new Set(server.requests.all.map((r) => r.resource))).toEqual(new Set(RESOURCES));
  });

  test('closes all its connections when it ends', async () => {
    await listed();
    await waitForGuards(WATCH_IDLE_MS, RESOURCES.length);
    subscription?.unsubscribe();
    while (RESOURCES.some((resource) => server.watching(resource) > 0)) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    const before = server.requests.all.length;
    const given = events.all.length;
    server.change('pods', 'ADDED', pod('late'));
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.requests.all).toHaveLength(before);
    expect(events.all).toHaveLength(given);
    expect(timing.guards.size).toBe(0);
  });

  test('that ends while the source waits ends the waiting', async () => {
    timing.held = true;
    server.fail('pods', 'list', { do: 'reset' });
    start();
    await events.until(notice('cluster-unreachable'));
    subscription?.unsubscribe();
    timing.release();
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.seen('pods', 'list')).toHaveLength(1);
  });

  test('to a configuration that cannot be used fails with a usage error', async () => {
    const error = await new Promise((resolve) => {
      subscription = watchCluster({ kubeconfig: join(folder, 'none'), timing }).subscribe({
        error: resolve,
      });
    });
    expect(error).toBeInstanceOf(UsageError);
  });

  test('goes on when the server is not there', async () => {
    timing.held = true;
    const kubeconfig = writeKubeconfig(folder, { server: server.url, user: {} });
    await server.stop();
    subscription = watchCluster({ kubeconfig, timing }).subscribe({
      next: (event) => events.push(event),
      error: (error) => events.fail(error),
    });
    const told = await events.until(notice('cluster-unreachable'));
    expect(told.type === 'notice' && told.notice.detail).toContain('ECONNREFUSED');
    expect(subscription.closed).toBe(false);
  });
});

test('the records are slim: nothing of a Pod but what names it', async () => {
  load('08-rolling-update');
  await listed();
  const list = await events.until(isPodList);
  const items = list.type === 'cluster' && list.change.op === 'list' ? list.change.items : [];
  const keys = new Set(items.flatMap((item) => Object.keys(item)));
  const always =
    'createdAt hostNetwork ips kind name namespace node phase ready resourceVersion uid';
  expect([...keys].filter((key) => key !== 'hostPorts').sort()).toEqual(always.split(' '));
});

describe('the version of the API server', () => {
  const isVersion = (event: InputEvent): boolean => event.type === 'readings';

  test('is told once everything is listed', async () => {
    server.versionAnswer = '{"major":"1","minor":"30","gitVersion":"v1.30.4+k3s1","platform":"x"}';
    await listed();
    const told = await events.until(isVersion);
    expect(told).toMatchObject({ readings: { apiServer: 'v1.30.4+k3s1' } });
    expect(events.all.findIndex(notice('cluster-listed'))).toBeLessThan(
      events.all.findIndex(isVersion),
    );
  });

  test.each([
    ['is refused', undefined],
    ['is no JSON', '<html>'],
    ['is JSON of something else', '["v1.30.4"]'],
    ['is no version', '{"gitVersion":"\\u001b[31m"}'],
    ['never ends', `{"gitVersion":"v1.30.4","x":"${'x'.repeat(100_000)}"}`],
  ])('hinders nothing where it %s', async (_, answer) => {
    server.versionAnswer = answer;
    await listed();
    await server.versionAsked;
    server.change('pods', 'ADDED', pod('later'));
    await events.until(sets('later'));
    expect(events.all.some(isVersion)).toBe(false);
  });
});
