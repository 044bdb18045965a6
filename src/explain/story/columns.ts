import type { Case, SeenPacket } from '../../model/case.js';
import type { StoryPlace } from '../../model/story.js';
import { placesOf, wasCaptured } from '../places.js';
import { podText } from '../words.js';

/** The columns of a story. */
export interface Columns {
  readonly places: readonly StoryPlace[];
  /** Column of a packet's interface. */
  readonly ofPacket: (packet: SeenPacket) => number;
  /** Column of conntrack; of rules, the cluster and losses. */
  readonly nat: number;
  readonly cluster: number;
  readonly near?: string;
  readonly far?: string;
}

const UNNAMED = 'capture';

/** Columns from left to right as the packet goes: where it comes in, NAT, what lies between, where it leaves. */
export function columnsOf(it: Case): Columns {
  const { near, far, clientHere, backendHere } = placesOf(it);
  const { client, backend } = it.attribution;
  const clientName = podText(client);
  const backendName = backend === undefined ? undefined : podText(backend);
  const places: StoryPlace[] = [];
  const columnOf = new Map<string, number>();
  const add = (name: string, role: StoryPlace['role'], of?: string): void => {
    columnOf.set(name, places.length);
    places.push({ role, name, ...(of !== undefined && { of }) });
  };
  // An end that was captured has a column also where it shows nothing: that is part of the story.
  if (near !== undefined) {
    const isClients = clientHere !== false && (client.pod !== undefined || clientHere === true);
    add(near, isClients ? 'client' : 'uplink', isClients ? clientName : undefined);
  }
  const nat = places.length;
  places.push({ role: 'nat', name: 'conntrack' });
  for (const name of between(it, near, far)) {
    add(name, isBridge(it, name) ? 'bridge' : 'other');
  }
  if (far !== undefined && !columnOf.has(far) && (isSeen(it, far) || wasCaptured(it, far))) {
    const isBackends = backendHere !== false && backend !== undefined;
    add(far, isBackends ? 'backend' : 'uplink', isBackends ? backendName : undefined);
  }
  const cluster = places.length;
  if (it.changes.length + it.losses.length > 0) {
    places.push({ role: 'cluster', name: 'rules, cluster, losses' });
  }
  return {
    places,
    ofPacket: ({ interface: name }) => columnOf.get(name ?? UNNAMED) ?? nat,
    nat,
    cluster,
    ...(near !== undefined && { near }),
    ...(far !== undefined && { far }),
  };
}

function isSeen(it: Case, name: string): boolean {
  return it.packets.some((packet) => packet.interface === name);
}

/** Interfaces that are neither end, in the order in which they were first seen. */
function between(it: Case, near: string | undefined, far: string | undefined): readonly string[] {
  const names = it.packets.map((packet) => packet.interface ?? UNNAMED);
  return [...new Set(names)].filter((name) => name !== near && name !== far);
}

/** A bridge leads to both ends. */
function isBridge(it: Case, name: string): boolean {
  const { client, backend } = it.attribution;
  const leads = (ip: string | undefined): boolean =>
    ip !== undefined && it.node.interfaceTo?.(ip) === name;
  return leads(client.ip) || leads(backend?.ip);
}
