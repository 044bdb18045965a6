import {
  C_BITS,
  C_EVENT,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
  EVENT_UPDATE,
  HAS_REPLY,
  HAS_START,
  HAS_TIME,
} from '../model/conntrack.js';
import { SCTP, TCP, UDP } from '../model/packet.js';
import {
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  CT_UNTRANSLATED,
  NEVER,
  PK_CLAIM,
  SERVICE,
} from './connection.js';
import {
  agrees,
  coarserThan,
  holder,
  isTranslated,
  momentOf,
  newestOf,
  sameZone,
  wasEnded,
} from './entries.js';
import { learn, take } from './entry-facts.js';
import { end, say } from './lifecycle.js';
import { onListed } from './on-listing.js';
import { onNew } from './on-new-entry.js';
import type { State } from './state.js';

/** Takes one conntrack row. `at` is the offset of its first word. */
export function onConntrack(state: State, row: Uint32Array, at: number): void {
  const protocol = row[at + C_PROTOCOL] ?? 0;
  if (protocol !== TCP && protocol !== UDP && protocol !== SCTP) return;
  const bits = row[at + C_BITS] ?? 0;
  if ((bits & HAS_REPLY) === 0) return;
  state.hasConntrack = true;
  if (state.held.due !== Number.POSITIVE_INFINITY && state.held.concerns(row, at)) {
    releaseHeld(state);
  }
  if ((bits & (HAS_TIME | HAS_START)) === 0 && row[at + C_EVENT] !== EVENT_LISTED) {
    state.noticeOnce({
      code: 'conntrack-without-times',
      detail:
        'conntrack events have no times (record them with -o timestamp): they are taken in their order, joined to no packets, so connections that packets tell of too are counted twice',
    });
  }
  if (state.hasUntimedPackets && row[at + C_EVENT] === EVENT_NEW) {
    state.noticeOnce({
      code: 'packets-without-times',
      detail:
        "packets have no times (record them in enhanced packet blocks): they are joined to none of conntrack's events, so connections that both tell of are counted twice",
    });
  }
  switch (row[at + C_EVENT]) {
    case EVENT_NEW:
      onNew(state, row, at, protocol, bits);
      break;
    case EVENT_UPDATE:
      onUpdate(state, row, at, protocol, bits);
      break;
    case EVENT_DESTROY:
      onDestroy(state, row, at, protocol, bits);
      break;
    case EVENT_LISTED:
      if ((bits & HAS_TIME) === 0) state.listing.add(row, at, state.here);
      else onListed(state, row, at, protocol, bits);
      break;
  }
}

/** Takes the entries that have waited for their packets. */
export function releaseHeld(state: State): void {
  const { here } = state;
  for (const held of state.held.release()) {
    const { row } = held;
    state.turnTo(held.here);
    onNew(state, row, 0, row[C_PROTOCOL] ?? 0, row[C_BITS] ?? 0, true);
  }
  state.turnTo(here);
}

function onUpdate(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
): void {
  state.listing.tick(row, at);
  const c = holder(state, row, at, protocol, bits);
  if (c === undefined || c.kind === CLOSED) return;
  const { time, resolution } = momentOf(state, row, at, bits);
  if (coarserThan(c, resolution)) return;
  if (time > c.lastSeen) c.lastSeen = time;
  learn(state, c, row, at, bits);
  say(state, c);
}

function onDestroy(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
): void {
  state.listing.tick(row, at);
  const { time, resolution, lateness } = momentOf(state, row, at, bits);
  if (
    state.old.delete(
      row,
      at + C_OSRC,
      at + C_ODST,
      row[at + C_OSPORT] ?? 0,
      row[at + C_ODPORT] ?? 0,
      protocol,
    )
  ) {
    return;
  }
  state.gone.delete(
    row,
    at + C_OSRC,
    at + C_ODST,
    row[at + C_OSPORT] ?? 0,
    row[at + C_ODPORT] ?? 0,
    protocol,
  );
  let c = holder(state, row, at, protocol, bits);
  if (c !== undefined && coarserThan(c, resolution)) return;
  if (c === undefined) {
    // Not if this end was told before: the same event in another form, or the same file named twice.
    if (wasEnded(state, row, at, protocol, bits, time, time + resolution)) return;
    // NEW was lost or came before us: the entry's end still tells where the connection went.
    c = joinByEnd(state, row, at, protocol, time, resolution, lateness);
    if (c === undefined) return;
    take(state, c, row, at, NEVER, 1, bits);
  }
  c.bits |= CT_ENDED;
  c.conntrackEnd = time;
  if (c.kind !== CLOSED) learn(state, c, row, at, bits);
  end(state, c, time);
  say(state, c);
}

/** A connection that packets opened, of whose entry only the end was told. */
function joinByEnd(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  time: number,
  resolution: number,
  lateness: number,
): Connection | undefined {
  if (!isTranslated(row, at)) return undefined;
  let found: Connection | undefined;
  for (let c = newestOf(state, row, at, protocol); c !== undefined; c = state.table.older(c)) {
    if (c.kind !== SERVICE || (c.bits & (CT_CLAIM | CT_UNTRANSLATED)) !== 0) continue;
    if (c.time > time + resolution || !sameZone(c, row, at)) continue;
    // A new SYN ends the entry of its tuple's last use: an end this close to it is not the new entry's.
    if (protocol === TCP && c.time >= time - lateness) continue;
    if ((c.bits & PK_CLAIM) !== 0 && !agrees(state, c, row, at)) continue;
    // More than one could have had it: the end alone cannot tell which.
    if (found !== undefined) return undefined;
    found = c;
  }
  return found;
}
