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
  ITEM_RESUMED,
  ITEM_RULES,
  ITEM_TICK,
  MAX_ITEM_BYTES,
} from './items.js';
import { RowCodec } from './row-codec.js';
import { textOfRules } from './rules-text.js';
import type { RecordingHead, RulesHead } from './shapes.js';

type RulesEvent = Extract<InputEvent, { type: 'rules' }>;

/**
 * Turns what the machine is fed into bytes that `RecordDecoder` turns back. One encoder makes one file's
 * sequence, since rows are told as differences. The caller takes `written` and clears it whenever it likes.
 */
export class RecordEncoder {
  private readonly out = new ByteWriter();
  private readonly item = new ByteWriter();
  private readonly interfaces: Interfaces;
  private readonly packets = new RowCodec(PACKET_WORDS);
  private readonly entries = new RowCodec(CONNTRACK_WORDS);
  /** Interfaces below this number were told. */
  private told = 1;
  private tick = 0n;

  constructor(interfaces: Interfaces) {
    this.interfaces = interfaces;
  }

  /** Whole items; may be read until the next is added. */
  get written(): Uint8Array {
    return this.out.written;
  }

  clear(): void {
    this.out.clear();
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

  /** false for rules that are too long to be kept: nothing was added then. */
  event(event: InputEvent): boolean {
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
        return this.rules(event);
      case 'cluster':
        this.json(ITEM_CLUSTER, { ...timed(event.time), change: event.change });
        break;
      case 'addresses': {
        const { node, addresses } = event;
        this.json(ITEM_ADDRESSES, { ...timed(event.time), node, addresses });
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
    return true;
  }

  /** Services are not kept: they follow from the rules. */
  private rules({ time, node, rules }: RulesEvent): boolean {
    const text = new TextEncoder().encode(textOfRules(rules));
    if (text.length > MAX_ITEM_BYTES / 2) return false;
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
    this.item.text(JSON.stringify(head));
    this.item.raw(text);
    this.add(ITEM_RULES);
    return true;
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
