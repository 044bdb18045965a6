import type { Case, SeenPacket } from '../model/case.js';
import { onInterface } from './look.js';
import { isOpening, placesOf, wasCaptured } from './places.js';

/** Who sent an RST: an end of the connection, this node in between, or something out of this node's sight. */
type Sender = 'client' | 'backend' | 'node' | 'beyond';

export interface ResetBy {
  readonly sender: Sender;
  /** The earliest sight of it. */
  readonly rst: SeenPacket;
  /** What shows who it was. */
  readonly because: string;
}

/**
 * Who sent the RST that went this way, where the captures tell: it comes in on the interface of the end
 * that sent it; one that only goes out was made in between, if the other interface was captured.
 */
export function resetSender(it: Case, way: SeenPacket['way']): ResetBy | undefined {
  const all = it.packets.filter((packet) => packet.kind === 'rst' && packet.way === way);
  const [first] = all;
  if (first === undefined) return undefined;
  const { near, far, clientHere, backendHere } = placesOf(it);
  const source = way === 'forward' ? near : far;
  const exit = way === 'forward' ? far : near;
  const isLocal = way === 'forward' ? clientHere : backendHere;
  const end: Sender = way === 'forward' ? 'client' : 'backend';
  const entered = all.find(
    (packet) =>
      packet.interface !== undefined && packet.interface === source && packet.direction !== 'out',
  );
  if (entered !== undefined && (near !== far || isFromEnd(entered, way))) {
    const seen = `it came in ${onInterface(entered)}`;
    if (isLocal !== false) return { sender: end, rst: entered, because: seen };
    const compared = compareTtl(it, entered);
    if (compared === undefined) return { sender: 'beyond', rst: entered, because: seen };
    const { same, says } = compared;
    return { sender: same ? end : 'beyond', rst: entered, because: `${seen}, and ${says}` };
  }
  if (near === far || exit === undefined || first.interface !== exit) return undefined;
  if (!wasCaptured(it, source)) return undefined;
  return {
    sender: 'node',
    rst: first,
    because: `it went out on ${exit} and never came in on ${source}, which was captured`,
  };
}

/** Where one interface leads to both ends only the addresses tell them apart. */
function isFromEnd({ view }: SeenPacket, way: SeenPacket['way']): boolean {
  return view === (way === 'forward' ? 'original' : 'translated');
}

/** An end's packets reach one place with one TTL, as long as the route is the same. */
function compareTtl(
  it: Case,
  rst: SeenPacket,
): { readonly same: boolean; readonly says: string } | undefined {
  const other = it.packets.find(
    (packet) =>
      packet.interface === rst.interface &&
      packet.way === rst.way &&
      packet.kind !== 'rst' &&
      packet.kind !== 'icmp-error' &&
      packet.ttl !== undefined &&
      (isOpening(packet) || packet.way === 'back'),
  );
  if (other?.ttl === undefined || rst.ttl === undefined) return undefined;
  const same = other.ttl === rst.ttl;
  const says = same
    ? `its TTL is ${rst.ttl}, as that of the packets before it`
    : `its TTL is ${rst.ttl}, that of the packets before it ${other.ttl}`;
  return { same, says };
}
