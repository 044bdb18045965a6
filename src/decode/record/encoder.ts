import { CONNTRACK_WORDS } from '../../model/conntrack.js';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';
import { P_INTERFACE, PACKET_WORDS } from '../../model/packet.js';
import type { Nanos } from '../../model/time.js';
import { ByteWriter } from './byte-writer.js';
import {
  ITEM_ADDRESSES,
  ITEM_CLUSTER,
  ITEM_CONCLUDED,
  ITEM_CONNTRACK,
  ITEM_END,
  ITEM_HEAD,
  ITEM_INTERFACE,
  ITEM_LOSS,
  ITEM_NOTICE,
  ITEM_PACKETS,
  ITEM_READINGS,
  ITEM_RESUMED,
  ITEM_TICK,
} from './items.js';
import { RowCodec } from './row-codec.js';
import { RulesJob } from './rules-change.js';
import { type RecordingHead, type RulesHead, rulesKey } from './shapes.js';

/** Lines of rules that are worked on at once: some milliseconds. */
const LINES_AT_ONCE = 4_096;

type RulesEvent = Extract<InputEvent, { type: 'rules' }>;

/**
 * Turns what the machine is fed into bytes that `RecordDecoder` turns back. One encoder makes one file's
 * sequence, since rows are told as differences. Rules are put into words when the caller asks for bytes, some at a
 * time; what comes behind them waits.
 */
export class RecordEncoder {
  private readonly out = new ByteWriter();
  private readonly item = new ByteWriter();
  private readonly interfaces: Interfaces;
  private readonly packets = new RowCodec(PACKET_WORDS);
  private readonly entries = new RowCodec(CONNTRACK_WORDS);
  /** What was told before `out`, or still is to be. */
  private readonly queue: (Uint8Array | RulesJob)[] = [];
  /** The last rules of each kind. */
  private readonly last = new Map<string, RulesJob>();
  /** Interfaces below this number were told. */
  private told = 1;
  private tick = 0n;

  constructor(interfaces: Interfaces) {
    this.interfaces = interfaces;
  }

  /** All that waits, rules included. Nothing is waiting then. */
  takeAll(): Uint8Array {
    const pieces: Uint8Array[] = [];
    for (;;) {
      const piece = this.take(Number.MAX_SAFE_INTEGER);
      if (piece !== undefined) pieces.push(piece.slice());
      else if (!this.busy) break;
    }
    const [first = new Uint8Array(0)] = pieces;
    if (pieces.length <= 1) return first;
    const all = new ByteWriter();
    for (const piece of pieces) all.raw(piece);
    return all.written;
  }

  /** Whether there is something to be taken, now or after some work. */
  get busy(): boolean {
    return this.queue.length > 0 || this.out.length > 0;
  }

  /** Bytes that wait behind no rules; those before are not known yet. */
  get waiting(): number {
    return this.out.length;
  }

  /**
   * The next bytes, at most `limit`; may be read until something is added. `undefined` where there are none, or
   * rules are in between: each call works on these for some milliseconds.
   */
  take(limit: number): Uint8Array | undefined {
    const [first] = this.queue;
    if (first instanceof RulesJob) {
      if (first.work(LINES_AT_ONCE)) return undefined;
      this.queue.splice(0, 1, ...(first.item() ?? [this.tooLong()]));
      return this.take(limit);
    }
    if (first !== undefined) {
      if (first.length > limit) this.queue[0] = first.subarray(limit);
      else this.queue.shift();
      return first.subarray(0, limit);
    }
    if (this.out.length === 0) return undefined;
    const { written } = this.out;
    if (written.length > limit) this.queue.push(written.slice(limit));
    this.out.clear();
    return written.subarray(0, limit);
  }

  head(head: RecordingHead): void {
    this.json(ITEM_HEAD, head);
  }

  concluded(): void {
    this.add(ITEM_CONCLUDED);
  }

  resumed(): void {
    this.add(ITEM_RESUMED);
  }

  end(): void {
    this.add(ITEM_END);
  }

  /** In place of rules that are too long to be kept stands a loss. */
  event(event: InputEvent): void {
    const { item } = this;
    switch (event.type) {
      case 'packets': {
        const { rows, from = 0, to = rows.length } = event;
        this.tellInterfaces(rows.words, from, to);
        item.text(event.node ?? '');
        this.packets.write(item, rows, from, to);
        this.add(ITEM_PACKETS);
        break;
      }
      case 'conntrack': {
        const { rows, from = 0, to = rows.length } = event;
        item.text(event.node ?? '');
        this.entries.write(item, rows, from, to);
        this.add(ITEM_CONNTRACK);
        break;
      }
      case 'tick':
        // Ticks come regularly: what has passed since the last one is short. (A clock may be set back.)
        item.long(zigzag(event.time - this.tick));
        this.tick = event.time;
        this.add(ITEM_TICK);
        break;
      case 'rules':
        this.rules(event);
        break;
      case 'cluster':
        this.json(ITEM_CLUSTER, { ...timed(event.time), change: event.change });
        break;
      case 'addresses': {
        const { node, addresses } = event;
        this.json(ITEM_ADDRESSES, { ...timed(event.time), node, addresses });
        break;
      }
      case 'readings': {
        const { time, node, readings } = event;
        this.json(ITEM_READINGS, { ...timed(time), node, readings });
        break;
      }
      case 'loss': {
        const { from, to, ...loss } = event.loss;
        this.json(ITEM_LOSS, { loss, from: decimal(from), to: decimal(to) });
        break;
      }
      case 'notice': {
        const { time, ...notice } = event.notice;
        this.json(ITEM_NOTICE, { ...timed(time), notice });
        break;
      }
    }
  }

  /** Services are not kept: they follow from the rules. */
  private rules({ time, node, rules }: RulesEvent): void {
    const { kind, family, backend, version } = rules;
    const head: RulesHead = {
      kind,
      family,
      backend,
      ...(version !== undefined && { version }),
      ...(rules.time !== undefined && { printed: String(rules.time) }),
      ...timed(time),
      ...(node !== undefined && { node }),
    };
    const key = rulesKey(node, rules);
    const before = this.last.get(key);
    // Of two that wait at once the second cannot know the lines of the first.
    const job = new RulesJob(
      rules,
      JSON.stringify(head),
      before?.done === true ? before.book : undefined,
    );
    this.last.set(key, job);
    if (this.out.length > 0) this.queue.push(this.out.written.slice());
    this.out.clear();
    this.queue.push(job);
  }

  private tooLong(): Uint8Array {
    const detail = 'a rule set was too long to be recorded';
    const loss = { source: 'rules', count: 1, detail };
    const content = new TextEncoder().encode(JSON.stringify({ loss }));
    const item = new ByteWriter();
    item.byte(ITEM_LOSS);
    item.number(content.length);
    item.raw(content);
    return item.written;
  }

  private tellInterfaces(words: Uint32Array, from: number, to: number): void {
    let highest = 0;
    for (let at = from * PACKET_WORDS; at < to * PACKET_WORDS; at += PACKET_WORDS) {
      const id = words[at + P_INTERFACE] as number;
      if (id > highest) highest = id;
    }
    for (; this.told <= highest; this.told++) {
      this.json(ITEM_INTERFACE, this.interfaces.get(this.told));
    }
  }

  private json(tag: number, value: unknown): void {
    this.item.raw(new TextEncoder().encode(JSON.stringify(value)));
    this.add(tag);
  }

  private add(tag: number): void {
    this.out.byte(tag);
    this.out.number(this.item.length);
    this.out.raw(this.item.written);
    this.item.clear();
  }
}

function zigzag(value: bigint): bigint {
  return value < 0n ? -2n * value - 1n : 2n * value;
}

function decimal(time: Nanos | undefined): string | undefined {
  return time === undefined ? undefined : String(time);
}

function timed(time: Nanos | undefined): { readonly time?: string } {
  return time === undefined ? {} : { time: String(time) };
}
