import type { Case, End, SeenPacket } from '../../model/case.js';
import type { StoryLine } from '../../model/story.js';
import { sameEnd } from '../places.js';
import { resetSender } from '../resets.js';
import { countText, durationText, endText, icmpText } from '../words.js';
import type { Columns } from './columns.js';
import type { Placed } from './order.js';

/** Two captures of one interface stamp a packet alike; what a bridge delivers twice comes later. */
const SAME_SIGHT_NS = 2_000n;
/** A SYN is sent again after 1 s at first (RFC 6298); what comes sooner is the same packet, delivered twice. */
const COPY_NS = 10_000_000n;
/** So many datagrams of one kind are told one by one; what follows is one line. */
const TOLD_SINGLY = 2;

export function packetLines(it: Case, columns: Columns): readonly Placed[] {
  const sights = withoutTwins(it.packets);
  const runs = collapsed(sights);
  const told = new Set(runs.flat());
  const lines: Placed[] = [];
  for (const packet of sights) {
    if (told.has(packet)) continue;
    lines.push(placed(packet, columns, wordsOf(packet, sights, it, columns)));
  }
  for (const run of runs) lines.push(restOf(run, columns, it));
  return lines;
}

interface Words {
  readonly what: string;
  readonly detail: string;
  readonly bad: boolean;
}

function placed(packet: SeenPacket, columns: Columns, words: Words): Placed {
  const line: StoryLine = {
    time: packet.time,
    place: columns.ofPacket(packet),
    way: packet.way,
    ...words,
  };
  return { line, from: packet.time, to: packet.time };
}

/** The same packet out of two captures of one interface is told once. */
function withoutTwins(packets: readonly SeenPacket[]): readonly SeenPacket[] {
  const kept: SeenPacket[] = [];
  for (const packet of packets) {
    let twin = false;
    for (let i = kept.length - 1; i >= 0 && !twin; i--) {
      const other = kept[i];
      if (other === undefined || packet.time - other.time > SAME_SIGHT_NS) break;
      twin = isSamePlace(packet, other) && isSamePacket(packet, other);
    }
    if (!twin) kept.push(packet);
  }
  return kept;
}

function isSamePlace(a: SeenPacket, b: SeenPacket): boolean {
  return a.interface === b.interface && a.node === b.node && a.encapsulation === b.encapsulation;
}

function isSamePacket(a: SeenPacket, b: SeenPacket): boolean {
  return (
    a.kind === b.kind &&
    a.way === b.way &&
    a.sequence === b.sequence &&
    a.acknowledgement === b.acknowledgement &&
    sameEnd(a.from, b.from) &&
    sameEnd(a.to, b.to)
  );
}

function wordsOf(
  packet: SeenPacket,
  all: readonly SeenPacket[],
  it: Case,
  columns: Columns,
): Words {
  const { kind, from, to, icmp } = packet;
  const way = `${endText(from)} → ${endText(to)}`;
  const inside = packet.encapsulation === undefined ? '' : `, inside ${packet.encapsulation}`;
  const missed = isUntranslated(packet, columns);
  const suffix = missed ? ', not translated back' : translation(packet, columns, it);
  switch (kind) {
    case 'syn':
    case 'init': {
      const { again, bad } = repetition(packet, all);
      return { what: `${NAMES[kind]}${again}${suffix}`, detail: way + inside, bad };
    }
    case 'rst': {
      const by = resetSender(it, packet.way);
      const whose = by === undefined ? '' : ` by ${SENDERS[by.sender]}`;
      const ttl = packet.ttl === undefined ? '' : `, TTL ${packet.ttl}`;
      const bad = !isAfterEnd(packet, all);
      return { what: `RST${whose}${suffix}`, detail: way + ttl + inside, bad };
    }
    case 'abort':
      return { what: `ABORT${suffix}`, detail: way + inside, bad: true };
    case 'icmp-error': {
      const says = icmp === undefined ? 'error' : icmpText(icmp);
      const whose = icmp === undefined ? '' : `from ${icmp.sender}, `;
      return { what: `ICMP ${says}`, detail: `${whose}about ${way}${inside}`, bad: true };
    }
    case 'syn-ack':
    case 'init-ack': {
      const { again, bad } = repetition(packet, all);
      return { what: `${NAMES[kind]}${again}${suffix}`, detail: way + inside, bad: bad || missed };
    }
    default:
      return { what: `${NAMES[kind]}${suffix}`, detail: way + inside, bad: missed };
  }
}

const NAMES = {
  syn: 'SYN',
  'syn-ack': 'SYN-ACK',
  fin: 'FIN',
  datagram: 'datagram',
  init: 'INIT',
  'init-ack': 'INIT ACK',
  shutdown: 'SHUTDOWN',
  segment: 'segment',
} as const;

const SENDERS = {
  client: 'the client',
  backend: 'the Pod',
  node: 'this node',
  beyond: 'something beyond this node',
} as const;

/** A packet back that reaches the client with the endpoint's address: nothing translated it back. */
function isUntranslated(packet: SeenPacket, { near, far }: Columns): boolean {
  return (
    packet.way === 'back' &&
    packet.view === 'translated' &&
    packet.kind !== 'icmp-error' &&
    near !== undefined &&
    near !== far &&
    packet.interface === near &&
    packet.direction !== 'in'
  );
}

function translation(
  { way, view, interface: name }: SeenPacket,
  { near, far }: Columns,
  it: Case,
): string {
  if (way === 'forward') {
    if (view === 'original') return '';
    // The client's own interface shows what it sent itself.
    const byClient = name !== undefined && name === near && near !== far;
    return byClient ? ' to the endpoint’s own address' : ', translated';
  }
  return view === 'original' && isTranslated(it) ? ', translated back' : '';
}

/** What was never translated is not translated back: a refusal, or what the node itself answered. */
function isTranslated({ attribution, conntrack, packets }: Case): boolean {
  const { backend, destination } = attribution;
  const isOther = (end: End | undefined): boolean =>
    end !== undefined && !sameEnd(end, destination);
  return (
    isOther(backend) ||
    packets.some(({ view }) => view === 'translated') ||
    conntrack.some(({ reply }) => isOther(reply?.source))
  );
}

/** How a SYN or its answer differs from the same one that passed the same place before. */
function repetition(
  packet: SeenPacket,
  all: readonly SeenPacket[],
): { again: string; bad: boolean } {
  const before = all.filter(
    (other) =>
      other.time < packet.time &&
      other.kind === packet.kind &&
      other.way === packet.way &&
      other.view === packet.view &&
      other.sequence === packet.sequence &&
      (packet.way === 'forward' || sameEnd(other.from, packet.from)),
  );
  const last = before.at(-1);
  if (last === undefined) return { again: '', bad: false };
  if (packet.way === 'forward' && !sameEnd(last.to, packet.to)) {
    return { again: ` again, to another endpoint than ${endText(last.to)}`, bad: true };
  }
  const here = before.filter((other) => isSamePlace(other, packet)).at(-1);
  if (here === undefined) {
    // Another place may have shown the first one only: then this is a later one.
    const late = packet.time - last.time > COPY_NS;
    return late ? { again: ' again', bad: true } : { again: '', bad: false };
  }
  return packet.time - here.time > COPY_NS
    ? { again: ' again', bad: true }
    : { again: ', a copy', bad: false };
}

/** An RST after both sides have closed only cleans up. */
function isAfterEnd({ time }: SeenPacket, all: readonly SeenPacket[]): boolean {
  const closed = (way: SeenPacket['way']): boolean =>
    all.some((other) => other.kind === 'fin' && other.way === way && other.time <= time);
  return closed('forward') && closed('back');
}

/** Datagrams and segments of one place and way; others are told one by one. */
function groupOf(packet: SeenPacket): string | undefined {
  if (packet.kind !== 'datagram' && packet.kind !== 'segment') return undefined;
  const { interface: name, node, way, view, encapsulation, kind, from, to } = packet;
  return [name, node, way, view, encapsulation, kind, from.ip, from.port, to.ip, to.port].join(' ');
}

function groups(all: readonly SeenPacket[]): ReadonlyMap<string, readonly SeenPacket[]> {
  const found = new Map<string, SeenPacket[]>();
  for (const packet of all) {
    const group = groupOf(packet);
    if (group === undefined) continue;
    const of = found.get(group);
    if (of === undefined) found.set(group, [packet]);
    else of.push(packet);
  }
  return found;
}

/** What a group holds beyond those told one by one; a single one more is told too. */
function collapsed(all: readonly SeenPacket[]): readonly (readonly SeenPacket[])[] {
  return [...groups(all).values()]
    .filter((of) => of.length > TOLD_SINGLY + 1)
    .map((of) => of.slice(TOLD_SINGLY));
}

function restOf(run: readonly SeenPacket[], columns: Columns, it: Case): Placed {
  const [first] = run;
  const last = run.at(-1);
  if (first === undefined || last === undefined) throw new RangeError('no packets');
  const what = `${countText(run.length, `more ${NAMES[first.kind === 'segment' ? 'segment' : 'datagram']}`)}${translation(first, columns, it)}`;
  const detail = `over ${durationText(Number(last.time - first.time))}, ${endText(first.from)} → ${endText(first.to)}`;
  return placed(first, columns, { what, detail, bad: false });
}
