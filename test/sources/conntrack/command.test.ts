import { lastValueFrom, type Observable, of, Subject, type Subscription, toArray } from 'rxjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  C_BITS,
  C_EVENT,
  C_LATENESS,
  C_MARK,
  C_NSEC,
  C_OSPORT,
  C_PROTOCOL,
  C_RESOLUTION,
  C_SEC,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
  HAS_TIME,
  IS_USERSPACE,
} from '../../../src/model/conntrack.js';
import type { ConntrackRows } from '../../../src/model/conntrack-rows.js';
import type { InputEvent, Loss } from '../../../src/model/event.js';
import { PermissionError, UsageError } from '../../../src/model/problem.js';
import type { Nanos } from '../../../src/model/time.js';
import { conntrackEvents, conntrackList } from '../../../src/sources/conntrack/command.js';
import { EventLog } from '../../support/event-log.js';
import { namespaceUnavailable, TrackedNamespace } from './namespace.js';

/** What a test looks at: rows are copied out, since their owner fills them again. */
type Seen =
  | { type: 'row'; event: number; sport: number; mark: number; bits: number; row: number[] }
  | { type: 'loss'; loss: Loss }
  | { type: 'notice'; code: string }
  | { type: 'error'; error: unknown };

function seen(event: InputEvent): Seen[] {
  if (event.type === 'loss') return [{ type: 'loss', loss: event.loss }];
  if (event.type === 'notice') return [{ type: 'notice', code: event.notice.code }];
  if (event.type !== 'conntrack') return [];
  return rowsOf(event.rows).map((row) => ({
    type: 'row',
    event: row[C_EVENT] ?? 0,
    sport: row[C_OSPORT] ?? 0,
    mark: row[C_MARK] ?? 0,
    bits: row[C_BITS] ?? 0,
    row,
  }));
}

function rowsOf(rows: ConntrackRows): number[][] {
  return Array.from({ length: rows.length }, (_, i) => [
    ...rows.words.slice(i * rows.stride, (i + 1) * rows.stride),
  ]);
}

const running: Subscription[] = [];

function follow(source: Observable<InputEvent>): { log: EventLog<Seen>; stop: () => void } {
  const log = new EventLog<Seen>();
  const subscription = source.subscribe({
    next: (event) => {
      for (const one of seen(event)) log.push(one);
    },
    error: (error: unknown) => log.push({ type: 'error', error }),
  });
  running.push(subscription);
  return { log, stop: () => subscription.unsubscribe() };
}

afterEach(() => {
  for (const subscription of running.splice(0)) subscription.unsubscribe();
});

const isRow =
  (event: number, sport?: number) =>
  (one: Seen): boolean =>
    one.type === 'row' && one.event === event && (sport === undefined || one.sport === sport);
const isLoss =
  (source: Loss['source']) =>
  (one: Seen): boolean =>
    one.type === 'loss' && one.loss.source === source;
const isNotice = (one: Seen): boolean => one.type === 'notice';
const isError = (one: Seen): boolean => one.type === 'error';

async function errorOf(source: Observable<InputEvent>): Promise<unknown> {
  const error = await follow(source).log.until(isError);
  return error.type === 'error' ? error.error : undefined;
}

/** Resolves when the process has gone. */
async function gone(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A program in the place of conntrack: `$1` is -E or -L, `$MARK` its process id in a shape that a row can hold. */
const fake = (script: string): readonly string[] => ['sh', '-c', script, 'conntrack'];
const line = (event: string, sport: number): string =>
  `echo "[1795377319.548954]	[${event}] ipv4 2 tcp 6 120 SYN_SENT src=10.0.0.1 dst=10.96.0.1 sport=${sport} dport=80 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=80 dport=${sport} mark=$$ id=1"`;
const flow = (sport: number): string =>
  `echo '<flow><meta direction="original"><layer3 protonum="2" protoname="ipv4"><src>10.0.0.1</src><dst>10.96.0.1</dst></layer3><layer4 protonum="6" protoname="tcp"><sport>${sport}</sport><dport>80</dport></layer4></meta><meta direction="independent"><id>1</id></meta></flow>'`;
const PROLOG = `echo '<?xml version="1.0" encoding="utf-8"?>'; echo '<conntrack>'`;
const CLOSE = "echo '</conntrack>'";

describe('a listing', () => {
  const list = (script: string, now?: () => Nanos): Observable<InputEvent> =>
    conntrackList({
      command: fake(script),
      trigger: of(0),
      minIntervalMs: 0,
      ...(now === undefined ? {} : { now }),
    });

  test('of an empty table gives nothing', async () => {
    const events = await lastValueFrom(list('echo "0 flow entries" >&2').pipe(toArray()));
    expect(events).toEqual([]);
  });

  test('has the time at which it arrived, late by what it took until then', async () => {
    let clock = 1_795_377_000_000_000_000n;
    const now = (): Nanos => {
      clock += 7_000_000n;
      return clock;
    };
    const { log } = follow(list(`${PROLOG}; ${flow(1)}; ${flow(2)}; ${CLOSE}`, now));
    await log.count(isRow(EVENT_LISTED), 2);
    for (const one of log.all) {
      if (one.type !== 'row') continue;
      expect(one.bits & HAS_TIME).not.toBe(0);
      const time = BigInt(one.row[C_SEC] ?? 0) * 1_000_000_000n + BigInt(one.row[C_NSEC] ?? 0);
      const lateness = BigInt(one.row[C_LATENESS] ?? 0);
      expect(time - lateness).toBe(1_795_377_000_007_000_000n);
      expect(lateness).toBeGreaterThan(0n);
      expect(one.row[C_RESOLUTION]).toBe(1_000_000);
    }
  });

  test('is asked for without times of creation where the program refuses them', async () => {
    const script = `case "$3" in *ktimestamp*) echo "Bad parameter" >&2; exit 2;; esac; ${PROLOG}; ${flow(9)}; ${CLOSE}`;
    const { log } = follow(list(script));
    await log.until(isRow(EVENT_LISTED, 9));
  });

  test.each<[string, string, number]>([
    ['that fails', 'echo "Operation failed: Device busy" >&2; exit 1', 1],
    ['of a program that dies', `${PROLOG}; ${flow(9)}; kill -9 $$`, 1],
    ['that is cut within an entry', `${PROLOG}; ${flow(9)}; printf '<flow><meta direc'`, 1],
    [
      'with entries that cannot be read',
      `${PROLOG}; ${flow(90_000)}; ${flow(90_001)}; ${CLOSE}`,
      2,
    ],
  ])('%s is a loss', async (_name, script, count) => {
    const events = await lastValueFrom(list(script).pipe(toArray()));
    const losses = events.flatMap((event) => (event.type === 'loss' ? [event.loss] : []));
    expect(losses).toHaveLength(1);
    expect(losses[0]).toMatchObject({ source: 'conntrack', count });
    expect(losses[0]?.from).toBeLessThanOrEqual(losses[0]?.to ?? 0n);
  });

  test('is taken once at a time, and once more for whatever was asked meanwhile', async () => {
    const trigger = new Subject<number>();
    const { log } = follow(
      conntrackList({
        command: fake(`${PROLOG}; ${flow(1)}; ${CLOSE}`),
        trigger,
        minIntervalMs: 5,
      }),
    );
    for (let i = 0; i < 10; i++) trigger.next(i);
    await log.count(isRow(EVENT_LISTED), 2);
    trigger.next(0);
    await log.count(isRow(EVENT_LISTED), 3);
    expect(log.all).toHaveLength(3);
  });

  test('ends with its program when nobody wants it any more', async () => {
    const { log, stop } = follow(
      list(`${PROLOG}; ${flow(1).replace('<id>', () => "<mark>'$$'</mark><id>")}; exec sleep 600`),
    );
    const row = await log.until(isRow(EVENT_LISTED, 1));
    stop();
    await gone(row.type === 'row' ? row.mark : 0);
  });
});

describe('errors that no restart cures', () => {
  const both = (command: readonly string[]): Observable<InputEvent>[] => [
    conntrackEvents({ command }),
    conntrackList({ command, trigger: of(0), minIntervalMs: 0 }),
  ];

  test('a missing program is named with its package', async () => {
    const commands = [
      ['whichpod-has-no-such-program'],
      fake('echo "exec of \\"conntrack\\" failed: No such file or directory" >&2; exit 1'),
      fake('echo "nsenter: failed to execute conntrack: No such file or directory" >&2; exit 127'),
    ];
    for (const source of commands.flatMap(both)) {
      const error = await errorOf(source);
      expect(error).toBeInstanceOf(UsageError);
      expect(String(error)).toContain('apt-get install conntrack');
    }
  });

  test('a missing capability is named', async () => {
    const commands = [
      'echo "mnl_socket_bind: Operation not permitted" >&2; echo "conntrack v1.4.7 (conntrack-tools): Can\'t open netlink socket" >&2; exit 1',
      'echo "conntrack v1.4.7 (conntrack-tools): Operation failed: sorry, you must be root or get CAP_NET_ADMIN capability to do this" >&2; exit 1',
    ];
    for (const source of commands.map(fake).flatMap(both)) {
      const error = await errorOf(source);
      expect(error).toBeInstanceOf(PermissionError);
      expect(String(error)).toContain('CAP_NET_ADMIN');
    }
  });

  test('a program that does not know the options is named', async () => {
    const script =
      'echo "conntrack v0: Bad parameter \\`x\'" >&2; echo "Try \\`conntrack -h\'" >&2; exit 2';
    for (const source of both(fake(script))) {
      const error = await errorOf(source);
      expect(error).toBeInstanceOf(UsageError);
      expect(String(error)).toContain('Bad parameter');
    }
  });
});

describe('events', () => {
  test('come in both formats', async () => {
    const script = `case "$5" in xml*) ${PROLOG}; ${flow(5).replace('<flow>', '<flow type="new">')};; *) ${line('NEW', 6)};; esac; exec sleep 600`;
    for (const [format, sport] of [
      ['xml', 5],
      ['text', 6],
    ] as const) {
      const { log, stop } = follow(conntrackEvents({ command: fake(script), format, list: false }));
      await log.until(isRow(EVENT_NEW, sport));
      stop();
    }
  });

  test('begin before the listing', async () => {
    const script = `if [ "$1" = -L ]; then ${PROLOG}; ${flow(7)}; ${CLOSE}; else ${line('NEW', 6)}; exec sleep 600; fi`;
    const { log } = follow(conntrackEvents({ command: fake(script) }));
    await log.until(isRow(EVENT_LISTED, 7));
    expect(log.all.map((one) => one.type === 'row' && one.sport)).toEqual([6, 7]);
  });

  test('of a program that dies are a loss, and it is started again', async () => {
    const script = `${line('NEW', 6)}; ${line('DESTROY', 6)}; exit 1`;
    const { log } = follow(conntrackEvents({ command: fake(script), list: false }));
    await log.count(isRow(EVENT_NEW, 6), 2);
    await log.count(isNotice, 2);
    const order = log.all.map((one) =>
      one.type === 'row' ? one.event : one.type === 'loss' ? one.loss.source : one.type,
    );
    expect(order.slice(0, 7)).toEqual([
      EVENT_NEW,
      EVENT_DESTROY,
      'conntrack',
      'notice',
      'conntrack',
      EVENT_NEW,
      EVENT_DESTROY,
    ]);
    const losses = log.all.flatMap((one) => (one.type === 'loss' ? [one.loss] : []));
    expect(losses[1]?.from).toBe(losses[0]?.to);
    expect(losses[1]?.to).toBeGreaterThan(losses[1]?.from ?? 0n);
  });

  test('that cannot be read are a loss', async () => {
    const script = `${line('NEW', 6)}; echo what; ${line('NEW', 8)}; exec sleep 600`;
    const { log } = follow(conntrackEvents({ command: fake(script), list: false }));
    await log.until(isRow(EVENT_NEW, 8));
    const loss = await log.until(isLoss('conntrack'));
    expect(loss.type === 'loss' && loss.loss.count).toBe(1);
  });

  test('that overran the socket are a loss, and the table is listed again', async () => {
    const warning = [
      'WARNING: We have hit ENOBUFS! We are losing events.',
      'This message means that the current netlink socket buffer size is too small.',
      'Please, check --buffer-size in conntrack(8) manpage.',
    ];
    const warn = warning.map((text) => `echo "${text}" >&2`).join('; ');
    const script = `if [ "$1" = -L ]; then ${PROLOG}; ${flow(7)}; ${CLOSE}; else ${line('NEW', 6)}; ${warn}; exec sleep 600; fi`;
    const { log } = follow(conntrackEvents({ command: fake(script) }));
    const loss = await log.until(isLoss('netlink'));
    expect(loss.type === 'loss' && loss.loss.count).toBe(1);
    await log.count(isRow(EVENT_LISTED, 7), 2);
    expect(log.all.filter(isLoss('netlink'))).toHaveLength(1);
  });

  test('of a program that never listens end with what it said', async () => {
    const error = await errorOf(
      conntrackEvents({ command: fake('echo "failed: no idea" >&2; exit 1'), list: false }),
    );
    expect(String(error)).toContain('no idea');
  });

  test('end their program, also one that does not listen to SIGTERM', async () => {
    const script = `trap '' TERM; ${line('NEW', 6)}; exec sleep 600`;
    const { log, stop } = follow(conntrackEvents({ command: fake(script), list: false }));
    const row = await log.until(isRow(EVENT_NEW, 6));
    stop();
    await gone(row.type === 'row' ? row.mark : 0);
  });

  test('end a program whose output nobody reads any more', async () => {
    const script = `trap 'exit 0' TERM; while :; do ${line('NEW', 6)}; done`;
    const { log, stop } = follow(conntrackEvents({ command: fake(script), list: false }));
    const row = await log.until(isRow(EVENT_NEW, 6));
    stop();
    await gone(row.type === 'row' ? row.mark : 0);
  });
});

describe('the real program on a real kernel', () => {
  let namespace: TrackedNamespace | undefined;

  beforeEach((context) => {
    const reason = namespaceUnavailable();
    if (reason !== undefined) context.skip(reason);
    namespace = new TrackedNamespace();
    return () => {
      for (const subscription of running.splice(0)) subscription.unsubscribe();
      namespace?.remove();
    };
  });

  const made = (): TrackedNamespace => {
    if (namespace === undefined) throw new Error('no namespace');
    return namespace;
  };

  test('lists what is there, of both families, with times of creation where the kernel keeps them', async () => {
    const ns = made();
    ns.run(['sysctl', '-qw', 'net.netfilter.nf_conntrack_timestamp=1']);
    const ports = [...ns.connect(3), ...ns.connect(2, '::1')];
    const { log } = follow(
      conntrackList({ command: ns.conntrack, trigger: of(0), minIntervalMs: 0 }),
    );
    await log.count(isRow(EVENT_LISTED), 5);
    const found = log.all.map((one) => (one.type === 'row' ? one.sport : 0));
    expect(found.sort()).toEqual(ports.sort());
  });

  test.each(['text', 'xml'] as const)(
    'tells of each connection as it comes and goes (%s)',
    async (format) => {
      const ns = made();
      ns.datagrams(1);
      const { log } = follow(conntrackEvents({ command: ns.conntrack, format }));
      await log.until(isRow(EVENT_LISTED));
      const ports = ns.connect(20);
      const isNew = (one: Seen): boolean => isRow(EVENT_NEW)(one) && tcp(one);
      const isDestroy = (one: Seen): boolean => isRow(EVENT_DESTROY)(one) && tcp(one);
      await log.count(isNew, 20);
      ns.run(['conntrack', '-D', '-p', 'tcp']);
      await log.count(isDestroy, 20);
      const sports = (fits: (one: Seen) => boolean): number[] =>
        log.all.filter(fits).map((one) => (one.type === 'row' ? one.sport : 0));
      expect(sports(isNew)).toEqual(ports);
      expect(sports(isDestroy).sort()).toEqual([...ports].sort());
      expect(
        log.all.filter(isDestroy).every((one) => one.type === 'row' && one.bits & IS_USERSPACE),
      ).toBe(true);
      expect(log.all.filter((one) => one.type !== 'row')).toEqual([]);
    },
  );

  test('is started again after it was killed, and the table is listed again', async () => {
    const ns = made();
    ns.datagrams(1);
    const { log } = follow(conntrackEvents({ command: ns.conntrack }));
    await log.until(isRow(EVENT_LISTED));
    const [pid] = ns.listeners();
    process.kill(pid ?? Number.NaN, 'SIGKILL');
    const loss = await log.until(isLoss('conntrack'));
    expect(loss.type === 'loss' && loss.loss.detail).toContain('SIGKILL');
    await log.until(isNotice);
    await log.count(isRow(EVENT_LISTED), 2);
    const [port] = ns.connect(1);
    await log.until(isRow(EVENT_NEW, port));
    expect(log.all.filter(isLoss('conntrack'))).toHaveLength(2);
  });

  test('that is overrun tells how many events were lost, and lists what it missed', async () => {
    const ns = made();
    ns.datagrams(1);
    const { log } = follow(conntrackEvents({ command: ns.conntrack }));
    await log.until(isRow(EVENT_LISTED));
    const [pid = Number.NaN] = ns.listeners();
    process.kill(pid, 'SIGSTOP');
    ns.datagrams(1_500);
    process.kill(pid, 'SIGCONT');
    const loss = await log.until(isLoss('netlink'));
    expect(loss.type === 'loss' && loss.loss.count).toBeGreaterThan(100);
    await log.count(isRow(EVENT_LISTED), 1_000);
    const [port] = ns.connect(1);
    await log.until(isRow(EVENT_NEW, port));
  });

  test('is gone when nobody listens any more', async () => {
    const ns = made();
    ns.datagrams(1);
    const { log, stop } = follow(conntrackEvents({ command: ns.conntrack }));
    await log.until(isRow(EVENT_LISTED));
    const [pid = Number.NaN] = ns.listeners();
    stop();
    await gone(pid);
  });
});

const tcp = (one: Seen): boolean => one.type === 'row' && one.row[C_PROTOCOL] === 6;
