import { isIPv4, isIPv6 } from 'node:net';
import { SaxesParser } from 'saxes';
import { canonicalAddress, formatEndpoint } from '../../../src/model/address.js';
import * as C from '../../../src/model/conntrack.js';
import { formatNanos } from '../../../src/model/time.js';
import type { Entry } from './entries.js';

/**
 * A plain, slow reader of the same format, written apart from the scanner: a general XML parser makes a
 * tree of each flow, and the tree is read with regular expressions and bigints.
 */
interface Element {
  name: string;
  attributes: Record<string, string>;
  empty: boolean;
  text: string;
  children: Element[];
}

class Unreadable extends Error {}

/** The entries, and how many flows were unreadable; `undefined` if the parser does not accept the document. */
export function referenceRead(
  text: string,
  zoneOffsetSeconds = 0,
): { entries: Entry[]; damaged: number; others: number } | undefined {
  const entries: Entry[] = [];
  let damaged = 0;
  let others = 0;
  let refused = false;
  let last: Entry | undefined;
  const open: Element[] = [];
  const parser = new SaxesParser();
  // A document left open is what SIGKILL leaves, not a fault here.
  parser.on('error', (error) => {
    if (!/unclosed tag: (conntrack|flow|meta)|document must contain a root/.test(error.message)) {
      refused = true;
    }
  });
  parser.on('opentag', (tag) => {
    if (open.length === 0 && tag.name !== 'flow') return;
    if (open.length > 0 && tag.name === 'flow') refused = true;
    const element: Element = {
      name: tag.name,
      attributes: tag.attributes as Record<string, string>,
      empty: tag.isSelfClosing,
      text: '',
      children: [],
    };
    open.at(-1)?.children.push(element);
    open.push(element);
  });
  parser.on('text', (more) => {
    const inside = open.at(-1);
    if (inside) inside.text += more;
    else if (last && /^[\t\v\f ]*\[USERSPACE\]/.test(more)) last.userspace = true;
  });
  parser.on('closetag', () => {
    const element = open.pop();
    if (!element || open.length > 0) return;
    last = undefined;
    try {
      last = readFlow(element, zoneOffsetSeconds);
      if (last) entries.push(last);
      else others++;
    } catch (error) {
      if (!(error instanceof Unreadable)) throw error;
      damaged++;
    }
  });
  parser.write(text).close();
  return refused ? undefined : { entries, damaged, others };
}

const EVENTS = new Map([
  [undefined, C.EVENT_LISTED],
  ['new', C.EVENT_NEW],
  ['update', C.EVENT_UPDATE],
  ['destroy', C.EVENT_DESTROY],
]);

const attribute = (element: Element, name: string): string | undefined => element.attributes[name];

function readFlow(flow: Element, zoneOffsetSeconds: number): Entry | undefined {
  const event = EVENTS.get(attribute(flow, 'type'));
  if (flow.empty || event === undefined) throw new Unreadable();
  const families = new Set<number>();
  let protocol: number | undefined;
  let state: string | undefined;
  let zone = 0n;
  const original: Direction = { zone: 0n };
  const reply: Direction = { zone: 0n };
  let replied = false;
  const entry: Partial<Entry> = {};
  let assured = false;
  let unreplied = false;
  let anyCounter = false;
  for (const child of flow.children) {
    if (child.name === 'when' && !child.empty) {
      entry.time = readWhen(child, zoneOffsetSeconds);
      entry.resolution = 1_010_000_000;
      entry.lateness = 1_000_000_000;
    }
    if (child.name !== 'meta' || child.empty) continue;
    const direction = attribute(child, 'direction');
    for (const part of child.children) {
      if (direction === 'independent') {
        if (part.name === 'assured') assured = true;
        if (part.name === 'unreplied') unreplied = true;
        if (part.empty) continue;
        if (part.name === 'state') state = leaf(part);
        if (part.name === 'timeout') entry.timeout = Number(number(part, 0xffffffffn, 10));
        if (part.name === 'mark') entry.mark = Number(number(part, 0xffffffffn, 10));
        if (part.name === 'id') entry.id = Number(number(part, 0xffffffffn, 10));
        if (part.name === 'zone') zone = number(part, 0xffffn, 10);
        if (part.name === 'timestamp') {
          for (const stamp of part.children) {
            if (stamp.empty) continue;
            if (stamp.name === 'start') entry.start = kernelTime(stamp);
            if (stamp.name === 'stop') entry.stop = kernelTime(stamp);
          }
        }
      }
      if (direction !== 'original' && direction !== 'reply') continue;
      if (direction === 'original' && part.name === 'layer4') {
        const told = attribute(part, 'protonum') ?? '';
        if (!/^\d{1,10}$/.test(told) || Number(told) > 255) throw new Unreadable();
        protocol = Number(told);
      }
      if (part.empty) continue;
      const into = direction === 'original' ? original : reply;
      if (part.name === 'zone') into.zone = number(part, 0xffffn, 10);
      for (const field of part.children) {
        if (field.empty) continue;
        if (part.name === 'layer3' && (field.name === 'src' || field.name === 'dst')) {
          const address = leaf(field);
          if (!isIPv4(address) && (!isIPv6(address) || address.includes('%'))) {
            throw new Unreadable();
          }
          families.add(isIPv4(address) ? 4 : 6);
          into[field.name] = canonicalAddress(address) ?? 'not canonical';
        }
        if (part.name === 'layer4' && (field.name === 'sport' || field.name === 'dport')) {
          into[field.name] = Number(number(field, 0xffffn, 10));
        }
        if (part.name === 'counters' && (field.name === 'packets' || field.name === 'bytes')) {
          into[field.name] = number(field, (1n << 64n) - 1n, 1e9);
          anyCounter = true;
        }
      }
    }
    if (direction === 'reply') replied = true;
  }
  if (families.size > 1) throw new Unreadable();
  if (protocol === undefined) {
    // Neither protocol nor addresses: nothing that could be called an entry.
    if (original.src === undefined) throw new Unreadable();
    return undefined;
  }
  if (protocol !== 6 && protocol !== 17 && protocol !== 132) {
    if (protocol === 0 && original.src === undefined) throw new Unreadable();
    return undefined;
  }
  entry.event = event;
  entry.protocol = protocol;
  entry.original = tuple(original);
  if (replied) entry.reply = tuple(reply);
  entry.zones = `${zone} ${original.zone} ${reply.zone}`;
  entry.status = `${assured ? 'assured' : ''} ${unreplied ? 'unreplied' : ''}`;
  if (
    protocol === 6 &&
    state !== undefined &&
    (C.TCP_STATES as readonly string[]).includes(state)
  ) {
    entry.state = state;
  }
  if (anyCounter) {
    const all = [original.packets, original.bytes, reply.packets, reply.bytes];
    entry.counters = all.map((n) => n ?? 0n).join(' ');
  }
  return entry as Entry;
}

interface Direction {
  src?: string;
  dst?: string;
  sport?: number;
  dport?: number;
  packets?: bigint;
  bytes?: bigint;
  zone: bigint;
}

function tuple({ src, dst, sport, dport }: Direction): string {
  if (src === undefined || dst === undefined || sport === undefined || dport === undefined) {
    throw new Unreadable();
  }
  return `${formatEndpoint(src, sport)} > ${formatEndpoint(dst, dport)}`;
}

function leaf(element: Element): string {
  if (element.children.length > 0) throw new Unreadable();
  return element.text.replace(/^[\t-\r ]+|[\t-\r ]+$/g, '');
}

function number(element: Element, most: bigint, digits: number): bigint {
  const text = leaf(element);
  if (!/^\d+$/.test(text) || text.length > digits || BigInt(text) > most) throw new Unreadable();
  return BigInt(text);
}

function kernelTime(element: Element): string {
  const nanos = number(element, (1n << 64n) - 1n, 19);
  if (nanos / 1_000_000_000n > 0xffffffffn) throw new Unreadable();
  return formatNanos(nanos);
}

function readWhen(when: Element, zoneOffsetSeconds: number): string {
  const most: Record<string, bigint> = {
    hour: 23n,
    min: 59n,
    sec: 60n,
    day: 31n,
    month: 12n,
    year: 9999n,
  };
  const told: Record<string, number> = {};
  for (const part of when.children) {
    const limit = most[part.name];
    if (limit !== undefined && !part.empty) told[part.name] = Number(number(part, limit, 10));
  }
  const { hour, min, sec, day, month, year } = told;
  if (hour === undefined || min === undefined || sec === undefined) throw new Unreadable();
  if (!day || !month || year === undefined || year < 1970) throw new Unreadable();
  const seconds = Date.UTC(year, month - 1, day, hour, min, sec) / 1000 - zoneOffsetSeconds;
  if (seconds < 0 || seconds > 0xffffffff) throw new Unreadable();
  return formatNanos(BigInt(seconds) * 1_000_000_000n);
}
