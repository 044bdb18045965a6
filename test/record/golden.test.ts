import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inflateRawSync } from 'node:zlib';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Io } from '../../src/cli/io.js';
import { commands } from '../../src/cli/load.js';
import { runCli } from '../../src/cli/program.js';
import { BlockScanner } from '../../src/decode/record/block-scanner.js';
import { ByteReader } from '../../src/decode/record/byte-reader.js';
import { RecordDecoder } from '../../src/decode/record/decoder.js';
import {
  ITEM_ADDRESSES,
  ITEM_CLUSTER,
  ITEM_CONCLUDED,
  ITEM_CONNTRACK,
  ITEM_END,
  ITEM_HEAD,
  ITEM_INTERFACE,
  ITEM_PACKETS,
  ITEM_RULES,
  ITEM_RULES_CHANGE,
  ITEM_TICK,
} from '../../src/decode/record/items.js';
import { Interfaces } from '../../src/model/interfaces.js';
import { fakeIo } from '../cli/fake-io.js';

const FILE = fileURLToPath(new URL('data/lab.pcapng', import.meta.url));
const SAID = readFileSync(new URL('data/lab.ndjson', import.meta.url), 'utf8');

async function replay(args: readonly string[], world: Partial<Io> = {}) {
  const io = fakeIo(world);
  const code = await runCli(['replay', '-o', 'ndjson', FILE, ...args], io, commands);
  return { out: io.stdout.text, err: io.stderr.text, code };
}

/** Its items, put together. */
function sequence(): Uint8Array {
  const scanner = new BlockScanner();
  scanner.feed(readFileSync(FILE));
  const pieces: Uint8Array[] = [];
  for (let block = scanner.next(); block !== undefined; block = scanner.next()) {
    pieces.push(inflateRawSync(block.deflated));
  }
  return Buffer.concat(pieces);
}

describe('a recording that was kept', () => {
  it('is replayed to what its run said when it was made', async () => {
    expect(await replay([])).toEqual({ out: SAID, err: '', code: 0 });
  });

  it('holds every kind of item that an undisturbed run writes', () => {
    const input = new ByteReader(sequence());
    const kinds = new Set<number>();
    while (input.left > 0) {
      kinds.add(input.byte());
      input.raw(input.number());
    }
    expect(input.failed).toBe(false);
    const traffic = [ITEM_PACKETS, ITEM_CONNTRACK, ITEM_TICK, ITEM_INTERFACE, ITEM_END];
    const names = [ITEM_RULES, ITEM_RULES_CHANGE, ITEM_CLUSTER, ITEM_ADDRESSES];
    const all = [ITEM_HEAD, ITEM_CONCLUDED, ...traffic, ...names];
    for (const kind of all) expect(kinds).toContain(kind);
  });
});

describe('at recorded speed', () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  /** Replays with a clock that goes on only where somebody waits: how far it went, in ms. */
  async function paced(speed: string) {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_000_000 });
    const begin = Date.now();
    const now = (): bigint => BigInt(Date.now()) * 1_000_000n;
    let over = false;
    const replayed = replay(['--speed', speed], { now }).finally(() => {
      over = true;
    });
    while (!over) {
      await new Promise((resolve) => setImmediate(resolve));
      vi.advanceTimersToNextTimer();
    }
    return { ...(await replayed), tookMs: Date.now() - begin };
  }

  /** From the run's first tick to its last one. */
  function spanMs(): number {
    const decoder = new RecordDecoder(new Interfaces());
    decoder.feed(sequence());
    const ticks: bigint[] = [];
    for (let item = decoder.next(); item !== undefined; item = decoder.next()) {
      if (item.type === 'event' && item.event.type === 'tick') ticks.push(item.event.time);
    }
    return Number((ticks.at(-1) ?? 0n) - (ticks[0] ?? 0n)) / 1e6;
  }

  it('as much time is waited for as passed then, and the same is said', async () => {
    const { out, err, code, tookMs } = await paced('1');
    expect({ out, err, code }).toEqual({ out: SAID, err: '', code: 0 });
    // Something may have come shortly before the first tick.
    expect(tookMs).toBeGreaterThan(spanMs() - 10);
    expect(tookMs).toBeLessThan(spanMs() + 200);
  });

  it('ten times as fast is a tenth of it', async () => {
    const [slow, fast] = [await paced('1'), await paced('10')];
    expect(fast.out).toBe(SAID);
    expect(fast.tookMs).toBeGreaterThan(slow.tookMs / 10 - 60);
    expect(fast.tookMs).toBeLessThan(slow.tookMs / 10 + 60);
  });
});
