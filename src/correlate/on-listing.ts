import { formatAddress } from '../model/address.js';
import {
  C_BITS,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RSPORT,
  C_RSRC,
} from '../model/conntrack.js';
import { UDP } from '../model/packet.js';
import {
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_LISTED,
  CT_UNTRANSLATED,
  NEVER,
  PK_CLAIM,
  SERVICE,
} from './connection.js';
import { clientText, identify } from './describe.js';
import {
  agrees,
  holder,
  isTranslated,
  KERNEL_NS,
  momentOf,
  newestOf,
  sameReply,
  sameZone,
  wasEnded,
  whereTo,
} from './entries.js';
import { learn, openEntry, take } from './entry-facts.js';
import { admit, say, supersede } from './lifecycle.js';
import type { State } from './state.js';

/** Entries of undated listings that no event told of: each speaks for the newest connection of its tuple. */
export function finishListings(state: State): void {
  const { words } = state.listing.rows;
  for (const at of state.listing.ticked()) {
    const protocol = words[at + C_PROTOCOL] ?? 0;
    const c = newestOf(state, words, at, protocol);
    if (c !== undefined && c.kind === SERVICE && sameReply(state, c, words, at)) {
      learn(state, c, words, at, words[at + C_BITS] ?? 0);
      say(state, c);
    }
  }
  for (const at of state.listing.left()) {
    state.turnTo(state.listing.nodeOf(at));
    const protocol = words[at + C_PROTOCOL] ?? 0;
    const bits = words[at + C_BITS] ?? 0;
    const c = newestOf(state, words, at, protocol);
    if (c !== undefined) {
      if (c.kind === CLOSED || (c.bits & CT_CLAIM) !== 0 || !isTranslated(words, at)) continue;
      if (
        ((c.bits & PK_CLAIM) !== 0 && !agrees(state, c, words, at)) ||
        cameLater(state, c, words, at)
      ) {
        state.notice({
          code: 'listing-of-another-time',
          connection: identify(state, c),
          detail: `the listing has another endpoint for ${clientText(state, c)}: it was made before or after this connection, and does not say when`,
        });
        continue;
      }
      take(state, c, words, at, NEVER, 1, bits);
      learn(state, c, words, at, bits);
      say(state, c);
      continue;
    }
    if (!isTranslated(words, at)) {
      // Nobody told when it was open, so its destination is judged as of now.
      const lone = openEntry(state, words, at, protocol, NEVER, 1, 0, 'listing');
      state.table.release(lone);
      if (!isFarEntry(state, words, at, protocol)) state.other++;
      continue;
    }
    const opened = openEntry(state, words, at, protocol, NEVER, 1, 0, 'listing');
    admit(state, opened);
    take(state, opened, words, at, NEVER, 1, bits);
    learn(state, opened, words, at, bits);
    say(state, opened);
  }
}

/**
 * Whether a UDP entry's endpoint is a Pod that came after the flow had begun: the flow was given a new entry
 * since, and of the one that it began with the listing says nothing.
 */
function cameLater(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  if (c.protocol !== UDP || c.time === NEVER) return false;
  const ip = formatAddress(row, at + C_RSRC, c.family);
  if (state.cluster.podAt(ip, state.clock.absolute(c.time)) !== undefined) return false;
  return state.cluster.podAt(ip, state.clock.absolute(state.now)) !== undefined;
}

/** Whether an entry without translation is the far end of a connection that another node translated. */
function isFarEntry(state: State, row: Uint32Array, at: number, protocol: number): boolean {
  if (state.vantages.length < 2) return false;
  const sport = row[at + C_OSPORT] ?? 0;
  const dport = row[at + C_ODPORT] ?? 0;
  return (
    state.table.byTranslated(row, at + C_OSRC, at + C_ODST, sport, dport, protocol) !== undefined
  );
}

/** A lateness that 32 bits of nanoseconds cannot hold: the listing took longer than 4 s. */
const LATENESS_UNKNOWN = 0xffff_ffff;

/** An entry of a listing whose time is known. */
export function onListed(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
): void {
  const { time, resolution, lateness } = momentOf(state, row, at, bits);
  const held = holder(state, row, at, protocol, bits);
  if (held !== undefined) {
    if (held.kind !== CLOSED) {
      learn(state, held, row, at, bits);
      say(state, held);
    }
    return;
  }
  // Gone by now, yet still there when the listing was made.
  if (wasEnded(state, row, at, protocol, bits, time - lateness, time + resolution)) return;
  const newest = newestOf(state, row, at, protocol);
  if (newest !== undefined && newest.kind === CLOSED && wasSentTo(state, newest, row, at)) return;
  const { old } = state;
  const sport = row[at + C_OSPORT] ?? 0;
  const dport = row[at + C_ODPORT] ?? 0;
  if (old.find(row, at + C_OSRC, at + C_ODST, sport, dport, protocol) >= 0) return;
  const where = whereTo(row, at + C_RSRC, row[at + C_RSPORT] ?? 0);
  if (
    newest === undefined &&
    state.gone.has(row, at + C_OSRC, at + C_ODST, sport, dport, protocol, where)
  ) {
    return;
  }
  const translated = isTranslated(row, at);
  const waiting = listedFor(state, newest, row, at, time);
  if (waiting !== undefined) {
    if (!translated) return;
    admit(state, waiting);
    take(state, waiting, row, at, time, resolution, bits);
    waiting.bits |= CT_LISTED;
    learn(state, waiting, row, at, bits);
    say(state, waiting);
    return;
  }
  if (state.firstListingIsOld && isOfFirstListing(state, time, lateness)) {
    old.set(row, at + C_OSRC, at + C_ODST, sport, dport, protocol, 1);
    if (translated) state.existing++;
    return;
  }
  if (!translated) return;
  // It may have been read before the newest use of its tuple began, and show the one before.
  if (newest !== undefined && Math.max(newest.time, newest.conntrackTime) >= time - lateness)
    return;
  const c = openEntry(state, row, at, protocol, time, resolution, lateness, 'listing');
  if (newest !== undefined) supersede(state, newest, time);
  admit(state, c);
  take(state, c, row, at, time, resolution, bits);
  c.bits |= CT_LISTED;
  learn(state, c, row, at, bits);
  say(state, c);
}

/**
 * Whether an entry was open before we looked. The rows of one listing by a program share its start, which
 * is their time less their lateness; those of a dump over netlink, not late at all, are the first's until
 * something was lost.
 */
function isOfFirstListing(state: State, time: number, lateness: number): boolean {
  if (lateness === 0 || lateness === LATENESS_UNKNOWN) return state.losses === 0;
  const began = time - lateness;
  if (state.firstListing === NEVER) state.firstListing = began;
  return began <= state.firstListing + KERNEL_NS;
}

/** Whether a connection went where the entry says, by conntrack's word or by its packets: TCP's entries outlive it. */
function wasSentTo(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  if ((c.bits & CT_CLAIM) !== 0) return sameReply(state, c, row, at);
  return (c.bits & PK_CLAIM) !== 0 && agrees(state, c, row, at);
}

/** The newest connection of the tuple that packets opened before the listing and that conntrack has not told of. */
function listedFor(
  state: State,
  newest: Connection | undefined,
  row: Uint32Array,
  at: number,
  time: number,
): Connection | undefined {
  if (newest === undefined || newest.kind === CLOSED || newest.lastSent === NEVER) return undefined;
  const claimed = (newest.bits & (CT_CLAIM | CT_UNTRANSLATED)) !== 0;
  // An earlier listing may have had the tuple's last use: what packets agree with takes its place.
  if (claimed && ((newest.bits & CT_LISTED) === 0 || (newest.bits & PK_CLAIM) === 0)) {
    return undefined;
  }
  if (newest.time > time + KERNEL_NS || !sameZone(newest, row, at)) return undefined;
  if ((newest.bits & PK_CLAIM) !== 0 && !agrees(state, newest, row, at)) return undefined;
  return newest;
}
