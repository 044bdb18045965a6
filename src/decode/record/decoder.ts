import { ConntrackRows } from '../../model/conntrack-rows.js';
import type { InputEvent } from '../../model/event.js';
import type { Interfaces } from '../../model/interfaces.js';
import { P_INTERFACE, PACKET_WORDS } from '../../model/packet.js';
import { PacketRows } from '../../model/packet-rows.js';
import type { Problem } from '../../model/problem.js';
import type { RuleSet } from '../../model/ruleset.js';
import type { Nanos } from '../../model/time.js';
import { ByteReader } from './byte-reader.js';
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
  ITEM_RULES,
  ITEM_RULES_CHANGE,
  ITEM_TICK,
  MAX_ITEM_BYTES,
  type RecordedItem,
} from './items.js';
import { RowCodec } from './row-codec.js';
import { changedText } from './rules-change.js';
import { rulesOfText, servicesOf } from './rules-text.js';
import {
  isClusterChange,
  isInterface,
  isLoss,
  isNotice,
  isReadings,
  isRecordingHead,
  isRulesHead,
  isTexts,
  rulesKey,
} from './shapes.js';

const FIRST_BYTES = 64 * 1024;
/** A tag, and a length of 32 bits. */
const MAX_ITEM_START = 6;
/** No kind: what is read where a file has nothing but zeros. */
const NO_ITEM = 0;
/** Interfaces of one file. A hostile one is stopped at some MB; no node has so many in a day. */
const MAX_INTERFACES = 65_536;
/** Years 1677 to 2262: what 64 bits of nanoseconds hold. */
const MAX_TIME = (1n << 63n) - 1n;

const decoder = new TextDecoder();

/**
 * Turns the bytes of a recording's sequence back into items: `feed` bytes as they come, then call `next`
 * until it gives nothing. The rows of an item may be read until the next call. After a `problem`, which
 * is fatal, nothing more comes. Nothing is thrown for bad input.
 */
export class RecordDecoder {
  problem: Problem | undefined;
  /** Items of kinds that are not known here, by kind: what a later version added, and may be done without. */
  readonly unknown = new Map<number, number>();
  private readonly interfaces: Interfaces;
  private held = new Uint8Array(FIRST_BYTES);
  private from = 0;
  private to = 0;
  private items = 0;
  private readonly packetRows = new PacketRows();
  private readonly conntrackRows = new ConntrackRows();
  private readonly packets = new RowCodec(PACKET_WORDS);
  private readonly entries = new RowCodec(this.conntrackRows.stride);
  /** The last rules of each kind. */
  private readonly rules = new Map<string, RuleSet>();
  /** The run's numbers of interfaces by the recording's. */
  private readonly ids: number[] = [0];
  private tick = 0n;

  constructor(interfaces: Interfaces) {
    this.interfaces = interfaces;
  }

  feed(bytes: Uint8Array): void {
    if (this.problem !== undefined) return;
    if (this.to + bytes.length > this.held.length) {
      const left = this.to - this.from;
      const needed = left + bytes.length;
      const into =
        needed > this.held.length ? new Uint8Array(Math.max(needed, 2 * left)) : this.held;
      into.set(this.held.subarray(this.from, this.to));
      this.held = into;
      this.from = 0;
      this.to = left;
    }
    this.held.set(bytes, this.to);
    this.to += bytes.length;
  }

  /** The next item that is there as a whole. */
  next(): RecordedItem | undefined {
    while (this.problem === undefined) {
      const head = new ByteReader(this.held, this.from, this.to);
      const tag = head.byte();
      const length = head.number();
      if (head.failed) {
        if (this.to - this.from >= MAX_ITEM_START) this.stop('an item has no length');
        return undefined;
      }
      if (length > MAX_ITEM_BYTES) {
        this.stop(`an item is longer than ${MAX_ITEM_BYTES} bytes`);
        return undefined;
      }
      if (length > head.left) return undefined;
      this.from = head.place + length;
      this.items++;
      const item = this.read(tag, new ByteReader(this.held, head.place, this.from));
      if (item === undefined) this.stop(`an item of kind ${tag} does not say what it should`);
      else if (item !== 'nothing') return item;
    }
    return undefined;
  }

  /** Bytes of an item that is not complete. */
  get pending(): number {
    return this.to - this.from;
  }

  private read(tag: number, input: ByteReader): RecordedItem | 'nothing' | undefined {
    switch (tag) {
      case ITEM_HEAD: {
        const head = json(input);
        return isRecordingHead(head) ? { type: 'head', head } : undefined;
      }
      case ITEM_CONCLUDED:
        return { type: 'concluded' };
      case ITEM_RESUMED:
        return { type: 'resumed' };
      case ITEM_END:
        return { type: 'end' };
      case ITEM_INTERFACE: {
        const known = json(input);
        if (!isInterface(known) || this.ids.length >= MAX_INTERFACES) return undefined;
        this.ids.push(this.interfaces.id(known));
        return 'nothing';
      }
      case ITEM_PACKETS:
        return this.readPackets(input);
      case ITEM_CONNTRACK: {
        const rows = this.conntrackRows;
        const node = input.text();
        rows.clear();
        if (!this.entries.read(input, rows)) return undefined;
        return told({ type: 'conntrack', ...(node !== '' && { node }), rows });
      }
      case ITEM_TICK: {
        const step = input.long();
        if (input.failed) return undefined;
        this.tick += (step & 1n) === 0n ? step >> 1n : -((step + 1n) >> 1n);
        if (this.tick < 0n || this.tick > MAX_TIME) return undefined;
        return told({ type: 'tick', time: this.tick });
      }
      case ITEM_RULES:
        return this.readRules(input, false);
      case ITEM_RULES_CHANGE:
        return this.readRules(input, true);
      case ITEM_CLUSTER: {
        const { time, change } = members(json(input));
        if (!isTime(time) || !isClusterChange(change)) return undefined;
        return told({ type: 'cluster', ...timeOf(time), change });
      }
      case ITEM_ADDRESSES: {
        const { time, node, addresses } = members(json(input));
        if (!isTime(time) || !isTexts(addresses)) return undefined;
        if (node !== undefined && typeof node !== 'string') return undefined;
        const of = node === undefined ? {} : { node };
        return told({ type: 'addresses', ...timeOf(time), ...of, addresses });
      }
      case ITEM_READINGS: {
        const { time, node, readings } = members(json(input));
        if (!isTime(time) || time === undefined || !isReadings(readings)) return undefined;
        if (node !== undefined && typeof node !== 'string') return undefined;
        const of = node === undefined ? {} : { node };
        return told({ type: 'readings', time: BigInt(time), ...of, readings });
      }
      case ITEM_LOSS: {
        const { loss, from, to } = members(json(input));
        if (!isLoss(loss) || !isTime(from) || !isTime(to)) return undefined;
        const span = {
          ...(from !== undefined && { from: BigInt(from) }),
          ...(to !== undefined && { to: BigInt(to) }),
        };
        const { source, count, detail } = loss;
        return told({ type: 'loss', loss: { source, count, ...span, detail } });
      }
      case ITEM_NOTICE: {
        const { time, notice } = members(json(input));
        if (!isNotice(notice) || !isTime(time)) return undefined;
        return told({ type: 'notice', notice: { ...notice, ...timeOf(time) } });
      }
      case NO_ITEM:
        return undefined;
      default:
        // Of a later version. What nobody could do without would have another version of the block.
        this.unknown.set(tag, (this.unknown.get(tag) ?? 0) + 1);
        return 'nothing';
    }
  }

  private readPackets(input: ByteReader): RecordedItem | undefined {
    const rows = this.packetRows;
    const node = input.text();
    rows.clear();
    if (!this.packets.read(input, rows)) return undefined;
    const { words } = rows;
    for (let at = P_INTERFACE; at < rows.length * PACKET_WORDS; at += PACKET_WORDS) {
      const id = this.ids[words[at] as number];
      if (id === undefined) return undefined;
      words[at] = id;
    }
    return told({ type: 'packets', ...(node !== '' && { node }), rows });
  }

  private readRules(input: ByteReader, isChange: boolean): RecordedItem | undefined {
    const head = parsed(input.text());
    if (input.failed || !isRulesHead(head)) return undefined;
    const { node, time } = head;
    const key = rulesKey(node, head);
    const before = this.rules.get(key);
    if (isChange && before === undefined) return undefined;
    const text =
      before !== undefined && isChange ? changedText(before, input) : input.raw(input.left);
    const rules = text === undefined ? undefined : rulesOfText(head, text);
    if (rules === undefined) return undefined;
    this.rules.set(key, rules);
    const of = node === undefined ? {} : { node };
    const services = servicesOf(rules);
    return told({ type: 'rules', ...timeOf(time), ...of, rules, services });
  }

  private stop(message: string): void {
    this.problem = {
      code: 'recording-damaged',
      message,
      where: { record: this.items },
      advice:
        'what came before counts; copy the file again, or use the whichpod version that wrote it',
      fatal: true,
    };
  }
}

const told = (event: InputEvent): RecordedItem => ({ type: 'event', event });

function json(input: ByteReader): unknown {
  return parsed(decoder.decode(input.raw(input.left)));
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function members(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

function isTime(value: unknown): value is string | undefined {
  return value === undefined || (typeof value === 'string' && /^\d{1,19}$/.test(value));
}

function timeOf(time: string | undefined): { readonly time?: Nanos } {
  return time === undefined ? {} : { time: BigInt(time) };
}
