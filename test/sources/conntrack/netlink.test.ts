import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Subject } from 'rxjs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import {
  C_EVENT,
  C_LATENESS,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
} from '../../../src/model/conntrack.js';
import type { InputEvent, Loss } from '../../../src/model/event.js';
import type { AddonLoad } from '../../../src/native/binding.js';
import { Backlog } from '../../../src/sources/backlog.js';
import {
  type ConntrackNetlinkOptions,
  conntrackNetlink,
  whyNoNetlink,
} from '../../../src/sources/conntrack/netlink.js';
import type { BatchCallback, NetlinkOptions } from '../../native/addon-types.js';
import { type Line, missingForKernelTests, Namespace } from '../../native/namespace.js';

const EPERM = 1;
const ENOENT = 2;
const EBUSY = 16;
const EINVAL = 22;
const REQUEST_FAILED = 3;
const little = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** A netlink message of this type: header and body (linux/netlink.h). */
function message(
  type: number,
  flags: number,
  sequence: number,
  body: readonly number[],
): Uint8Array {
  const bytes = new Uint8Array(16 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, bytes.length, little);
  view.setUint16(4, type, little);
  view.setUint16(6, flags, little);
  view.setUint32(8, sequence, little);
  bytes.set(body, 16);
  return bytes;
}

const int32 = (value: number): number[] => [...new Uint8Array(Int32Array.of(value).buffer)];
const done = (sequence: number, flags = 0): Uint8Array => message(3, flags, sequence, int32(0));
const failed = (sequence: number, errno: number): Uint8Array =>
  message(2, 0, sequence, [...int32(-errno), ...new Array<number>(16).fill(0)]);
const DUMP_INTERRUPTED = 0x10;

/** An attribute (type and value, the length is added), padded. */
function attribute(type: number, value: readonly number[]): number[] {
  const length = 4 + value.length;
  const head = [...new Uint8Array(Uint16Array.of(length, type).buffer)];
  return [...head, ...value, ...new Array<number>((4 - (length % 4)) % 4).fill(0)];
}
const NESTED = 0x8000;
const tuple = (type: number, source: number, port: number): number[] =>
  attribute(NESTED | type, [
    ...attribute(NESTED | 1, [...attribute(1, [10, 0, 0, source]), ...attribute(2, [10, 0, 0, 9])]),
    ...attribute(NESTED | 2, [
      ...attribute(1, [6]),
      ...attribute(2, [port >> 8, port & 255]),
      ...attribute(3, [0, 80]),
    ]),
  ]);

/** IPCTNL_MSG_CT_NEW or _DELETE for an IPv4 TCP entry. */
const entry = (sequence: number, port: number, { destroyed = false } = {}): Uint8Array =>
  message(0x100 | (destroyed ? 2 : 0), destroyed ? 0 : 0x600, sequence, [
    ...[2, 0, 0, 0],
    ...tuple(1, 1, port),
    ...tuple(2, 2, port),
  ]);

interface Given {
  readonly bytes: Uint8Array;
  readonly kind?: number;
  readonly waited?: number;
}

/** The addon's netlink socket by hand: the test says what comes. */
class FakeSocket {
  readonly sent: number[] = [];
  waiting = 0;
  closed = 0;
  options: NetlinkOptions | undefined;
  private callback: BatchCallback | undefined;
  readonly load: () => AddonLoad;

  constructor(refusal?: Error) {
    const self = this;
    class NetlinkSocket {
      constructor(options: NetlinkOptions, callback: BatchCallback) {
        if (refusal !== undefined) throw refusal;
        self.options = options;
        self.callback = callback;
      }
      send = () => {
        throw new Error('not expected');
      };
      request = (bytes: Uint8Array) => {
        if (self.closed > 0) throw new Error('request on a closed socket');
        self.sent.push(new DataView(bytes.buffer).getUint32(8, little));
      };
      receiveBufferBytes = () => 0;
      waiting = () => {
        if (self.closed > 0) throw new Error('waiting of a closed socket');
        return self.waiting;
      };
      close = () => {
        self.closed++;
      };
    }
    class PacketRing {
      constructor() {
        throw new Error('not expected');
      }
    }
    this.load = () => ({
      ok: true,
      addon: {
        PacketRing: PacketRing as never,
        NetlinkSocket,
        widen: () => 0,
        legacyTables: async () => [],
      },
    });
  }

  deliver(...given: readonly Given[]): void {
    const words = given.flatMap(({ bytes, kind = 0, waited = 1_000 }) => {
      const padded = Buffer.alloc((bytes.length + 3) & ~3);
      padded.set(bytes);
      return [
        ...[bytes.length, kind, 1_795_377_425, 500, waited],
        ...new Uint32Array(padded.buffer, padded.byteOffset, padded.length / 4),
      ];
    });
    this.callback?.(Uint32Array.from(words).buffer, given.length, undefined);
  }

  fail(error: Error): void {
    this.callback?.(
      new ArrayBuffer(0),
      0,
      Object.assign(error, { code: 'EIO', errno: 5, syscall: 'x' }),
    );
  }
}

function watch(fake: FakeSocket, options: ConntrackNetlinkOptions = {}) {
  const rows: [number, number][] = [];
  const losses: Loss[] = [];
  const order: string[] = [];
  const errors: unknown[] = [];
  const subscription = conntrackNetlink(options, fake.load).subscribe({
    next: (event: InputEvent) => {
      order.push(event.type);
      if (event.type === 'loss') losses.push(event.loss);
      if (event.type !== 'conntrack') return;
      for (let i = 0; i < event.rows.length; i++) {
        const at = i * event.rows.stride;
        rows.push([event.rows.words[at + C_EVENT] ?? 0, event.rows.words[at + C_LATENESS] ?? 0]);
      }
    },
    error: (error) => errors.push(error),
  });
  return { rows, losses, order, errors, subscription };
}

const gap = (dropped: number): Given => ({
  kind: 2,
  bytes: new Uint8Array(Uint32Array.of(dropped, 1_795_377_424, 0).buffer),
});

describe('conntrackNetlink, with a socket by hand', () => {
  test('joins NEW and DESTROY with a large buffer, then asks for the table', () => {
    const fake = new FakeSocket();
    watch(fake);
    expect(fake.options).toEqual({ protocol: 12, groups: [1, 3], receiveBufferBytes: 64 << 20 });
    expect(fake.sent).toEqual([1]);
  });

  test.each([
    [{ updates: true }, [1, 3, 2], 1],
    [{ list: false }, [1, 3], 0],
    [{ events: false }, [], 1],
  ])('with %j', (options, groups, requests) => {
    const fake = new FakeSocket();
    watch(fake, options);
    expect([fake.options?.groups, fake.sent.length]).toEqual([groups, requests]);
  });

  test('events and the listing come as rows; how late an event may be is what the socket says', () => {
    const fake = new FakeSocket();
    const seen = watch(fake);
    fake.deliver(
      { bytes: entry(0, 1) },
      { bytes: Uint8Array.of(...entry(1, 2), ...done(1)) },
      { bytes: entry(0, 1, { destroyed: true }), waited: 0xffff_ffff },
    );
    expect(seen.rows).toEqual([
      [EVENT_NEW, 1_000_001_000],
      [EVENT_LISTED, 0],
      [EVENT_DESTROY, 0xffff_ffff],
    ]);
    expect(seen.order).toEqual(['conntrack']);
  });

  test('tells what waits, as long as it is open', () => {
    const fake = new FakeSocket();
    const backlog = new Backlog();
    const { subscription } = watch(fake, { backlog });
    fake.waiting = 7;
    expect(backlog.size).toBe(7);
    subscription.unsubscribe();
    expect(backlog.size).toBe(0);
  });

  test('an overrun is a loss between the rows before and after it, and a new listing', () => {
    const fake = new FakeSocket();
    const seen = watch(fake);
    fake.deliver({ bytes: done(1) });
    fake.deliver({ bytes: entry(0, 1) }, gap(17), { bytes: entry(0, 2) });
    expect(seen.order).toEqual(['conntrack', 'loss', 'conntrack']);
    expect(seen.losses).toMatchObject([
      {
        source: 'netlink',
        count: 17,
        from: 1_795_377_423_000_000_000n,
        to: 1_795_377_425_000_000_500n,
      },
    ]);
    expect(fake.sent).toEqual([1, 2]);
  });

  test('an overrun that the kernel has not counted is one', () => {
    const fake = new FakeSocket();
    const seen = watch(fake);
    fake.deliver(gap(0));
    expect(seen.losses).toMatchObject([{ count: 1 }]);
  });

  test('one listing runs at a time; any number of wishes meanwhile give one more', () => {
    const fake = new FakeSocket();
    const relist = new Subject<void>();
    watch(fake, { relist });
    relist.next();
    relist.next();
    fake.deliver(gap(1));
    expect(fake.sent).toEqual([1]);
    fake.deliver({ bytes: done(1) });
    expect(fake.sent).toEqual([1, 2]);
    fake.deliver({ bytes: done(2) });
    expect(fake.sent).toEqual([1, 2]);
    relist.next();
    expect(fake.sent).toEqual([1, 2, 3]);
  });

  test('a listing under which the table changed is repeated, three times at most', () => {
    const fake = new FakeSocket();
    watch(fake);
    for (let i = 1; i <= 6; i++) fake.deliver({ bytes: done(i, DUMP_INTERRUPTED) });
    expect(fake.sent).toEqual([1, 2, 3, 4]);
  });

  test('a listing that fails is a loss, and the next wish is heard', () => {
    const fake = new FakeSocket();
    const relist = new Subject<void>();
    const seen = watch(fake, { relist });
    fake.deliver({ bytes: failed(1, ENOENT) });
    expect(seen.losses).toMatchObject([
      { source: 'netlink', detail: expect.stringContaining('errno 2') },
    ]);
    relist.next();
    expect(fake.sent).toEqual([1, 2]);
  });

  const refused = (errno: number): Given => ({
    kind: REQUEST_FAILED,
    bytes: new Uint8Array(Uint32Array.of(errno).buffer),
  });
  test.each([
    ['the kernel’s answer', (sequence: number) => ({ bytes: failed(sequence, EBUSY) })],
    ['the requests’ socket', () => refused(EINVAL)],
  ])('a passing error, told by %s, has the listing repeated, three times at most', (_, given) => {
    const fake = new FakeSocket();
    const seen = watch(fake);
    fake.deliver({ bytes: entry(1, 7) }, given(1));
    fake.deliver(given(2));
    fake.deliver(given(3));
    expect([fake.sent, seen.losses]).toEqual([[1, 2, 3, 4], []]);
    fake.deliver(given(4));
    expect(fake.sent).toEqual([1, 2, 3, 4]);
    expect(seen.losses).toMatchObject([
      { source: 'netlink', detail: expect.stringContaining('could not list') },
    ]);
    // The events go on.
    fake.deliver({ bytes: entry(0, 8) });
    expect(seen.rows.map(([event]) => event)).toEqual([EVENT_LISTED, EVENT_NEW]);
    expect(seen.errors).toEqual([]);
  });

  test('a listing that is asked for after one that failed begins its own count', () => {
    const fake = new FakeSocket();
    const relist = new Subject<void>();
    const seen = watch(fake, { relist });
    relist.next();
    for (let i = 0; i < 8; i++) fake.deliver(refused(EINVAL));
    expect(fake.sent).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(seen.losses).toHaveLength(2);
  });

  test.each([
    ['damaged', 0, /damaged|cut short/],
    ['longer than the reader’s buffer', 1, /longer/],
  ])('a message that is %s is a loss', (_, kind, detail) => {
    const fake = new FakeSocket();
    const seen = watch(fake);
    fake.deliver({ bytes: entry(0, 1).subarray(0, 40), kind }, { bytes: entry(0, 2) });
    expect(seen.losses).toMatchObject([{ count: 1, detail: expect.stringMatching(detail) }]);
    expect(seen.rows).toHaveLength(1);
  });

  test('the kernel’s refusal to list names the capability', () => {
    const fake = new FakeSocket();
    const seen = watch(fake);
    fake.deliver({ bytes: failed(1, EPERM) });
    expect(seen.errors).toMatchObject([
      { name: 'PermissionError', message: expect.stringContaining('CAP_NET_ADMIN') },
    ]);
    expect(fake.closed).toBe(1);
  });

  test.each([
    ['EPERM', EPERM, 'PermissionError', /CAP_NET_ADMIN/],
    ['ENOMEM', 12, 'Error', /refused/],
  ])('a refusal to open with %s', (code, errno, name, text) => {
    const refusal = Object.assign(new Error('refused'), { code, errno, syscall: 'socket' });
    const { errors } = watch(new FakeSocket(refusal));
    expect(errors).toMatchObject([{ name, message: expect.stringMatching(text) }]);
  });

  test('an addon that cannot be loaded is wrong usage', () => {
    const error = vi.fn();
    conntrackNetlink({}, () => ({ ok: false, reason: 'not built' })).subscribe({ error });
    expect(error.mock.calls).toMatchObject([[{ name: 'UsageError', message: 'not built' }]]);
  });

  test('whether it can work is known without opening anything', () => {
    expect(whyNoNetlink(() => ({ ok: false, reason: 'not built' }))).toBe('not built');
    expect(whyNoNetlink(new FakeSocket().load)).toBeUndefined();
  });

  test('whoever unsubscribes on an event is told nothing more', () => {
    const fake = new FakeSocket();
    let events = 0;
    const subscription = conntrackNetlink({}, fake.load).subscribe(() => {
      events++;
      subscription.unsubscribe();
    });
    fake.deliver({ bytes: entry(0, 1) }, gap(1), { bytes: entry(0, 2) });
    expect([events, fake.closed]).toEqual([1, 1]);
  });

  test('the end of reading is an error, and closes the socket', () => {
    const fake = new FakeSocket();
    const seen = watch(fake);
    fake.fail(new Error('recvmmsg: Input/output error'));
    expect(seen.errors).toMatchObject([{ code: 'EIO' }]);
    expect(fake.closed).toBe(1);
  });
});

const missing = missingForKernelTests(['iptables', 'conntrack', 'python3']);
const SOURCE = fileURLToPath(new URL('../scripts/source.mjs', import.meta.url));
const FLOWS = 3_000;
/** Datagrams to so many ports of lo, each a new entry. */
const flood = (first: number, count: number): string => `
  const socket = require('node:dgram').createSocket('udp4');
  let port = ${first};
  const next = () => (port < ${first + count} ? socket.send('x', port++, '127.0.0.1', next) : socket.close());
  next();`;
/** When it is over the pipe is closed, and with it the block. */
const FLOOD = flood(20_000, FLOWS);
const FULL_FIRST_PORT = 30_000;
const FULL_FLOWS = 20_000;
const CONNECT = `
  require('node:net').connect(Number(process.argv[1]), '127.0.0.1').on('error', () => {});`;

describe('conntrackNetlink, on this kernel', () => {
  let namespace: Namespace | undefined;
  const folder = mkdtempSync(join(tmpdir(), 'whichpod-test-'));
  beforeAll(() => {
    if (missing !== undefined) return;
    namespace = new Namespace();
    // A rule that asks for connection states is what switches tracking on in a namespace.
    const track = '-t nat -A OUTPUT -p tcp --dport 80 -j DNAT --to-destination 127.0.0.1:8080';
    namespace.run('iptables', ['-w', ...track.split(' ')]);
  });
  afterAll(async () => {
    await namespace?.destroy();
    rmSync(folder, { recursive: true });
  });

  const has = (wanted: Line) => (lines: readonly Line[]) =>
    lines.some((line) => Object.entries(wanted).every(([key, value]) => line[key] === value));

  test('a translated connection’s beginning and end', async (context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(SOURCE, ['conntrack']);
    await child.line('open');
    namespace.run(process.execPath, ['-e', CONNECT, '80']);
    const wanted = { protocol: 6, dst: '127.0.0.1', dport: 80, endpointPort: 8_080 };
    await child.until(has({ ...wanted, event: EVENT_NEW, userspace: false }));
    // Refused at once, it is in state CLOSE for ten seconds unless someone deletes it.
    execFileSync('ip', ['netns', 'exec', namespace.name, 'conntrack', '-F'], { stdio: 'ignore' });
    await child.until(has({ ...wanted, event: EVENT_DESTROY }));
    expect((await child.finish()).code).toBe(0);
    for (const line of child.lines.filter(({ type }) => type === 'entry')) {
      expect(Number(line['age'])).toBeLessThan(1);
    }
  });

  test('entries from before are listed, and again when asked', async (context) => {
    if (namespace === undefined) return context.skip(missing);
    namespace.run('python3', [
      '-c',
      'import socket; socket.socket(2, 2).sendto(b"", ("127.0.0.1", 4242))',
    ]);
    const child = namespace.start(SOURCE, ['conntrack']);
    const listed = { event: EVENT_LISTED, protocol: 17, dport: 4_242 };
    await child.until(has(listed));
    child.write('relist\n');
    await child.until((lines) => lines.filter((line) => has(listed)([line])).length === 2);
    expect((await child.finish()).code).toBe(0);
  });

  test('a table that is full from before is listed, again and again, while entries come and go', async (context) => {
    if (namespace === undefined) return context.skip(missing);
    const minutes = 'echo 600 >/proc/sys/net/netfilter/nf_conntrack_udp_timeout';
    namespace.run('sh', ['-c', minutes]);
    namespace.run(process.execPath, ['-e', flood(FULL_FIRST_PORT, FULL_FLOWS)]);
    const child = namespace.start(SOURCE, ['conntrack']);
    await child.line('open');
    const listed = (lines: readonly Line[]) => {
      const ports = lines.filter(({ event }) => event === EVENT_LISTED).map(({ dport }) => dport);
      return ports.filter((port) => Number(port) >= FULL_FIRST_PORT);
    };
    for (let round = 1; round <= 3; round++) {
      await child.until((lines) => listed(lines).length >= round * FULL_FLOWS);
      // The socket that hears these events must not hear of the listing that is asked for meanwhile.
      child.write('relist\n');
      namespace.run(process.execPath, ['-e', flood(1_000 + round * 500, 500)]);
    }
    await child.until((lines) => new Set(listed(lines)).size === FULL_FLOWS);
    expect(child.lines.filter(({ type }) => type === 'error' || type === 'loss')).toEqual([]);
    expect((await child.finish()).code).toBe(0);
    execFileSync('ip', ['netns', 'exec', namespace.name, 'conntrack', '-F'], { stdio: 'ignore' });
  }, 60_000);

  test('an overrun is told, and the new listing has what the events lack', async (context) => {
    if (namespace === undefined) return context.skip(missing);
    const child = namespace.start(SOURCE, [
      'conntrack',
      JSON.stringify({ receiveBufferBytes: 4_096 }),
    ]);
    await child.line('open');
    // The process reads the pipe, so does not come round, until the flood is over.
    const pipe = join(folder, 'pipe');
    execFileSync('mkfifo', [pipe]);
    child.write(`block ${pipe}\n`);
    namespace.run('sh', ['-c', 'exec 3>"$1"; "$2" -e "$3"', 'sh', pipe, process.execPath, FLOOD]);
    await child.line('loss');
    const ports = (lines: readonly Line[]) =>
      new Set(
        lines
          .map((line) => Number(line['dport']))
          .filter((port) => port >= 20_000 && port < 20_000 + FLOWS),
      );
    await child.until((lines) => ports(lines).size === FLOWS);
    expect((await child.finish()).code).toBe(0);
    const loss = (await child.line('loss'))['loss'] as { source: string; count: number };
    expect(loss.source).toBe('netlink');
    expect(loss.count).toBeGreaterThan(0);
    expect(child.lines.some(({ event }) => event === EVENT_LISTED)).toBe(true);
  });
});
