import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { InputEvent } from '../../../src/model/event.js';
import { Interfaces } from '../../../src/model/interfaces.js';
import {
  DIRECTION_IN,
  DIRECTION_OTHER_HOST,
  DIRECTION_OUT,
  DIRECTION_UNKNOWN,
  P_DIRECTION,
  P_DPORT,
  P_INTERFACE,
  P_LATENESS,
  P_NSEC,
  P_RESOLUTION,
  P_SEC,
} from '../../../src/model/packet.js';
import type { AddonLoad } from '../../../src/native/binding.js';
import { Backlog } from '../../../src/sources/backlog.js';
import { captureRing } from '../../../src/sources/capture/ring.js';
import type { BatchCallback, RingOptions } from '../../native/addon-types.js';
import { join, missingForKernelTests, Namespace } from '../../native/namespace.js';
import { BARE_MARKER, MARKER } from './frames.js';

const ETHER = 1;
const NONE = 0xfffe;

/** A packet as the addon would hand it over. */
interface Given {
  readonly frame: Uint8Array;
  readonly index?: number;
  readonly packetType?: number;
  readonly hardware?: number;
  readonly netOffset?: number;
}

/** The addon's ring by hand: the test says what comes and what was dropped. */
class FakeRing {
  drops = 0;
  waiting = 0;
  closed = 0;
  names = new Map([[3, 'veth3']]);
  options: RingOptions | undefined;
  private callback: BatchCallback | undefined;
  readonly load: () => AddonLoad;

  constructor(refusal?: Error) {
    const self = this;
    class PacketRing {
      constructor(options: RingOptions, callback: BatchCallback) {
        if (refusal !== undefined) throw refusal;
        self.options = options;
        self.callback = callback;
      }
      stats = () => {
        if (self.closed > 0) throw new Error('stats of a closed ring');
        return { packets: 0, drops: self.drops, freezes: 0 };
      };
      waiting = () => {
        if (self.closed > 0) throw new Error('waiting of a closed ring');
        return self.waiting;
      };
      interfaceName = (index: number) => self.names.get(index);
      setFilter = () => {
        throw new Error('not expected');
      };
      close = () => {
        self.closed++;
      };
    }
    class NetlinkSocket {
      constructor() {
        throw new Error('not expected');
      }
    }
    this.load = () => ({
      ok: true,
      addon: {
        PacketRing,
        NetlinkSocket: NetlinkSocket as never,
        widen: () => 0,
        legacyTables: async () => [],
      },
    });
  }

  deliver(given: readonly Given[]): void {
    const words: number[] = [];
    for (const it of given) {
      const padded = Buffer.alloc((it.frame.length + 3) & ~3);
      padded.set(it.frame);
      words.push(1_795_377_425, 123_456_789, it.index ?? 3, it.packetType ?? 0);
      words.push(it.hardware ?? ETHER, 0x0800, 0, it.netOffset ?? 14);
      words.push(it.frame.length, it.frame.length);
      words.push(...new Uint32Array(padded.buffer, padded.byteOffset, padded.length / 4));
    }
    this.callback?.(Uint32Array.from(words).buffer, given.length, undefined);
  }

  fail(error: Error): void {
    this.callback?.(
      new ArrayBuffer(0),
      0,
      Object.assign(error, { code: 'EIO', errno: 5, syscall: 'poll' }),
    );
  }
}

/** What was seen, with the words that matter copied out of the rows. */
function watch(fake: FakeRing, interfaces = new Interfaces()) {
  const rows: number[][] = [];
  const events: InputEvent[] = [];
  const errors: unknown[] = [];
  const opened = vi.fn();
  const options = { interfaces, node: 'n1', onOpen: opened };
  const subscription = captureRing(options, {}, fake.load).subscribe({
    next: (event) => {
      events.push(event);
      if (event.type !== 'packets') return;
      for (let i = 0; i < event.rows.length; i++) {
        const at = i * event.rows.stride;
        rows.push(
          [P_SEC, P_NSEC, P_RESOLUTION, P_LATENESS, P_INTERFACE, P_DIRECTION, P_DPORT].map(
            (word) => event.rows.words[at + word] ?? -1,
          ),
        );
      }
    },
    error: (error) => errors.push(error),
  });
  return { rows, events, errors, subscription, opened, interfaces };
}

describe('captureRing, with a ring by hand', () => {
  test('tells what waits, as long as it is open', () => {
    const fake = new FakeRing();
    const backlog = new Backlog();
    const options = { interfaces: new Interfaces(), backlog };
    const subscription = captureRing(options, {}, fake.load).subscribe();
    expect(backlog.size).toBe(0);
    fake.waiting = 7;
    expect(backlog.size).toBe(7);
    subscription.unsubscribe();
    expect(backlog.size).toBe(0);
  });

  beforeEach(() => {
    vi.useFakeTimers({ now: 1_795_377_425_000 });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  test('nothing is opened before it is subscribed to', () => {
    const fake = new FakeRing();
    const source = captureRing({ interfaces: new Interfaces() }, {}, fake.load);
    expect(fake.options).toBeUndefined();
    source.subscribe().unsubscribe();
    expect(fake.options?.filter.length).toBeGreaterThan(2);
    expect(fake.closed).toBe(1);
  });

  test('rows carry the kernel’s time, the interface and the direction', () => {
    const fake = new FakeRing();
    const seen = watch(fake);
    expect(seen.opened).toHaveBeenCalledOnce();
    fake.deliver([
      { frame: MARKER },
      { frame: Uint8Array.of(1, 2, 3) },
      { frame: MARKER, packetType: 4 },
      { frame: MARKER, packetType: 3 },
      { frame: MARKER, packetType: 1 },
      { frame: MARKER, packetType: 77 },
      { frame: BARE_MARKER, hardware: NONE, netOffset: 0 },
      { frame: Uint8Array.of(9, 9, 9, 9, ...BARE_MARKER), hardware: 778, netOffset: 4 },
      { frame: BARE_MARKER, hardware: NONE, netOffset: 4_000_000 },
    ]);
    const id = seen.interfaces.id({ name: 'veth3', index: 3, node: 'n1' });
    const row = (direction: number) => [1_795_377_425, 123_456_789, 1, 0, id, direction, 65_001];
    expect(seen.rows).toEqual([
      row(DIRECTION_IN),
      row(DIRECTION_OUT),
      row(DIRECTION_OTHER_HOST),
      row(DIRECTION_IN),
      row(DIRECTION_UNKNOWN),
      row(DIRECTION_IN),
      row(DIRECTION_IN),
    ]);
    expect(seen.events).toHaveLength(1);
  });

  test('a batch of which nothing is needed is not passed on', () => {
    const fake = new FakeRing();
    const seen = watch(fake);
    fake.deliver([{ frame: Uint8Array.of(1, 2, 3) }]);
    expect(seen.events).toEqual([]);
  });

  test('a name is asked for again after a second, and kept when the interface is gone', () => {
    const fake = new FakeRing();
    const seen = watch(fake);
    const name = () => seen.interfaces.name(seen.rows.at(-1)?.[4] ?? 0);
    fake.deliver([{ frame: MARKER }]);
    fake.names.set(3, 'renamed');
    fake.deliver([{ frame: MARKER }]);
    expect(name()).toBe('veth3');
    vi.advanceTimersByTime(1_000);
    fake.deliver([{ frame: MARKER }]);
    expect(name()).toBe('renamed');
    fake.names.clear();
    vi.advanceTimersByTime(1_000);
    fake.deliver([{ frame: MARKER }]);
    expect(name()).toBe('renamed');
    fake.deliver([{ frame: MARKER, index: 9 }]);
    expect(name()).toBe('if9');
  });

  test('drops become losses with their span, whether something comes or not', () => {
    const fake = new FakeRing();
    const seen = watch(fake);
    vi.advanceTimersByTime(19);
    fake.drops = 5;
    fake.deliver([{ frame: MARKER }]);
    expect(seen.events.map((event) => event.type)).toEqual(['packets']);
    vi.advanceTimersByTime(1);
    fake.deliver([{ frame: MARKER }]);
    fake.drops = 7;
    vi.advanceTimersByTime(2_980);
    const detail = 'the kernel dropped packets: the capture ring was full';
    expect(seen.events.filter((event) => event.type === 'loss')).toEqual([
      {
        type: 'loss',
        loss: {
          source: 'ring',
          count: 5,
          from: 1_795_377_425_000_000_000n,
          to: 1_795_377_425_020_000_000n,
          detail,
        },
      },
      {
        type: 'loss',
        loss: {
          source: 'ring',
          count: 2,
          from: 1_795_377_425_020_000_000n,
          to: 1_795_377_426_000_000_000n,
          detail,
        },
      },
    ]);
  });

  test('whoever unsubscribes on a packet is told nothing more', () => {
    const fake = new FakeRing();
    fake.drops = 1;
    let events = 0;
    const subscription = captureRing({ interfaces: new Interfaces() }, {}, fake.load).subscribe(
      () => {
        events++;
        subscription.unsubscribe();
      },
    );
    fake.deliver([{ frame: MARKER }]);
    expect([events, fake.closed]).toEqual([1, 1]);
  });

  test('the end of reading is an error, and closes the ring', () => {
    const fake = new FakeRing();
    const seen = watch(fake);
    fake.fail(new Error('poll: Input/output error'));
    expect(seen.errors).toMatchObject([{ code: 'EIO' }]);
    expect(fake.closed).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([
    ['EPERM', 1, 'PermissionError', /CAP_NET_RAW/],
    ['EACCES', 13, 'PermissionError', /CAP_NET_RAW/],
    ['ENOMEM', 12, 'Error', /refused/],
  ])('a refusal with %s', (code, errno, name, message) => {
    const refusal = Object.assign(new Error('refused'), { code, errno, syscall: 'socket' });
    const { errors } = watch(new FakeRing(refusal));
    expect(errors).toMatchObject([{ name, message: expect.stringMatching(message) }]);
  });

  test('an addon that cannot be loaded is wrong usage', () => {
    const errors: unknown[] = [];
    const load = () => ({ ok: false, reason: 'not built' }) as const;
    captureRing({ interfaces: new Interfaces() }, {}, load).subscribe({
      error: (error) => errors.push(error),
    });
    expect(errors).toMatchObject([{ name: 'UsageError', message: 'not built' }]);
  });
});

const missing = missingForKernelTests();
const SOURCE = fileURLToPath(new URL('../scripts/source.mjs', import.meta.url));
const REQUEST = `
  require('node:net').connect({ host: process.argv[1], port: 7 }).on('error', () => {});`;

describe('captureRing, on this kernel', () => {
  test.for([
    ['IPv4', '10.99.0.1', '10.99.0.2'],
    ['IPv6', 'fd99::1', 'fd99::2'],
  ] as const)(
    'a connection over %s is seen on its interface, in both directions',
    async ([, a, b], context) => {
      if (missing !== undefined) return context.skip(missing);
      const here = new Namespace();
      const there = new Namespace();
      context.onTestFinished(async () => {
        await here.destroy();
        await there.destroy();
      });
      join(here, there);
      const child = here.start(SOURCE, ['ring']);
      await child.line('open');
      there.run(process.execPath, ['-e', REQUEST, a]);
      await child.until((lines) => lines.some((line) => line['sport'] === 7));
      const { code } = await child.finish();
      expect(code).toBe(0);
      const packets = child.lines.filter((line) => line['sport'] === 7 || line['dport'] === 7);
      const common = { interface: 'wpa', protocol: 6, resolution: 1, lateness: 0 };
      expect(packets).toMatchObject([
        { ...common, src: b, dst: a, dport: 7, flags: 0x02, direction: DIRECTION_IN },
        { ...common, src: a, dst: b, sport: 7, flags: 0x14, direction: DIRECTION_OUT },
      ]);
      for (const packet of packets) expect(Math.abs(Number(packet['age']))).toBeLessThan(1);
    },
  );
});
