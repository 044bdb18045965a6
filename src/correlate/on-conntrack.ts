import type { Traffic } from '../model/attribution.js';
import {
  C_BITS,
  C_EVENT,
  C_FAMILY,
  C_ID,
  C_LATENESS,
  C_NSEC,
  C_OBYTES,
  C_ODPORT,
  C_ODST,
  C_OPACKETS,
  C_OSPORT,
  C_OSRC,
  C_PROTOCOL,
  C_RBYTES,
  C_RDPORT,
  C_RDST,
  C_RESOLUTION,
  C_RPACKETS,
  C_RSPORT,
  C_RSRC,
  C_SEC,
  C_START_NSEC,
  C_START_SEC,
  C_STATE,
  C_STOP_NSEC,
  C_STOP_SEC,
  C_ZONE,
  C_ZONE_ORIGINAL,
  EVENT_DESTROY,
  EVENT_LISTED,
  EVENT_NEW,
  EVENT_UPDATE,
  HAS_COUNTERS,
  HAS_ID,
  HAS_REPLY,
  HAS_START,
  HAS_STATE,
  HAS_STATUS,
  HAS_STOP,
  HAS_TIME,
  IS_ASSURED,
  IS_UNREPLIED,
} from '../model/conntrack.js';
import { SCTP, TCP, UDP } from '../model/packet.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  CT_LISTED,
  CT_UNREPLIED,
  CT_UNTRANSLATED,
  HAS_ISN,
  IN_LISTING,
  LONE,
  NEVER,
  PK_CLAIM,
  SAW_ANSWER,
  SAW_POST,
  SAW_REFUSAL,
  SAW_RESET,
  SERVICE,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
  TIME_AMBIGUOUS,
} from './connection.js';
import { clientText, identify } from './describe.js';
import { admit, end, isService, listingHas, say, supersede } from './lifecycle.js';
import { LIMITS, type State } from './state.js';

/** A time cut to whole seconds cannot order what happened within one. */
const COARSE_NS = 1_000_000;
/** The kernel reports an entry this soon after its packet, its own time stamps being exact. */
const KERNEL_NS = 1_000_000;
/** A flow's first datagram is at most this much older than conntrack's report of it. */
const FIRST_DATAGRAM_NS = 50_000_000;

/** TCP states in which the endpoint has answered (nf_conntrack_tcp.h: SYN_RECV to TIME_WAIT). */
const FIRST_ANSWERED_STATE = 2;
const LAST_ANSWERED_STATE = 7;
const STATE_CLOSE = 8;

/** Takes one conntrack row. `at` is the offset of its first word. */
export function onConntrack(state: State, row: Uint32Array, at: number): void {
  const protocol = row[at + C_PROTOCOL] ?? 0;
  if (protocol !== TCP && protocol !== UDP && protocol !== SCTP) return;
  const bits = row[at + C_BITS] ?? 0;
  if ((bits & HAS_REPLY) === 0) return;
  state.hasConntrack = true;
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
      if ((bits & HAS_TIME) === 0) state.listing.add(row, at);
      else onListed(state, row, at, protocol, bits);
      break;
  }
}

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
    const protocol = words[at + C_PROTOCOL] ?? 0;
    const bits = words[at + C_BITS] ?? 0;
    const c = newestOf(state, words, at, protocol);
    if (c !== undefined) {
      if (c.kind === CLOSED || (c.bits & CT_CLAIM) !== 0 || !isTranslated(words, at)) continue;
      if ((c.bits & PK_CLAIM) !== 0 && !agrees(state, c, words, at)) {
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
      const lone = open(state, words, at, protocol, NEVER, 1, 0, 'listing');
      state.table.release(lone);
      state.other++;
      continue;
    }
    const opened = open(state, words, at, protocol, NEVER, 1, 0, 'listing');
    admit(state, opened);
    take(state, opened, words, at, NEVER, 1, bits);
    learn(state, opened, words, at, bits);
    say(state, opened);
  }
}

interface Moment {
  /** The true moment lies in [time - lateness, time + resolution). */
  time: number;
  resolution: number;
  lateness: number;
}

const moment: Moment = { time: 0, resolution: 1, lateness: 0 };

function momentOf(state: State, row: Uint32Array, at: number, bits: number): Moment {
  if ((bits & HAS_START) !== 0 && row[at + C_EVENT] !== EVENT_DESTROY) {
    moment.time = state.clock.at(row[at + C_START_SEC] ?? 0, row[at + C_START_NSEC] ?? 0);
    moment.resolution = 1;
    moment.lateness = KERNEL_NS;
    return moment;
  }
  if ((bits & HAS_STOP) !== 0 && row[at + C_EVENT] === EVENT_DESTROY) {
    moment.time = state.clock.at(row[at + C_STOP_SEC] ?? 0, row[at + C_STOP_NSEC] ?? 0);
    moment.resolution = 1;
    moment.lateness = 0;
    return moment;
  }
  moment.time = state.clock.at(row[at + C_SEC] ?? 0, row[at + C_NSEC] ?? 0);
  moment.resolution = row[at + C_RESOLUTION] ?? 1;
  moment.lateness = row[at + C_LATENESS] ?? 0;
  return moment;
}

function newestOf(state: State, row: Uint32Array, at: number, protocol: number) {
  return state.table.byOriginal(
    row,
    at + C_OSRC,
    at + C_ODST,
    row[at + C_OSPORT] ?? 0,
    row[at + C_ODPORT] ?? 0,
    protocol,
  );
}

function zoneOf(row: Uint32Array, at: number): number {
  return row[at + C_ZONE] || row[at + C_ZONE_ORIGINAL] || 0;
}

/** Destination NAT: the answer comes from elsewhere than where the client sent to. */
function isTranslated(row: Uint32Array, at: number): boolean {
  if (row[at + C_RSPORT] !== row[at + C_ODPORT]) return true;
  for (let i = 0; i < 4; i++) if (row[at + C_RSRC + i] !== row[at + C_ODST + i]) return true;
  return false;
}

/** Whether a connection's conntrack tuple is this entry's: endpoint and peer. */
function sameReply(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  const w = state.table.words;
  const from = state.table.at(c) + BY_CONNTRACK;
  if (w[from + T_SPORT] !== row[at + C_RDPORT] || w[from + T_DPORT] !== row[at + C_RSPORT]) {
    return false;
  }
  for (let i = 0; i < 4; i++) {
    if (w[from + T_SRC + i] !== row[at + C_RDST + i]) return false;
    if (w[from + T_DST + i] !== row[at + C_RSRC + i]) return false;
  }
  return true;
}

/** Whether packets showed the endpoint that the entry names. */
function agrees(state: State, c: Connection, row: Uint32Array, at: number): boolean {
  const w = state.table.words;
  const from = state.table.at(c) + BY_PACKETS;
  if (w[from + T_DPORT] !== row[at + C_RSPORT]) return false;
  for (let i = 0; i < 4; i++) if (w[from + T_DST + i] !== row[at + C_RSRC + i]) return false;
  return true;
}

function sameId(c: Connection, row: Uint32Array, at: number, bits: number): boolean {
  return c.conntrackId < 0 || (bits & HAS_ID) === 0 || c.conntrackId === row[at + C_ID];
}

function sameZone(c: Connection, row: Uint32Array, at: number): boolean {
  return c.zone < 0 || c.zone === zoneOf(row, at);
}

function onNew(state: State, row: Uint32Array, at: number, protocol: number, bits: number): void {
  const { time, resolution, lateness } = momentOf(state, row, at, bits);
  state.listing.tick(row, at);
  const newest = newestOf(state, row, at, protocol);
  if (isCopy(state, newest, row, at, time, resolution, lateness, bits)) return;
  const translated = isTranslated(row, at);
  const joined = joinable(state, newest, row, at, time, resolution, lateness, translated);
  if (joined === 'ambiguous') {
    state.notice({
      code: 'conntrack-time-too-coarse',
      time: state.clock.absolute(time),
      detail: `conntrack told of ${newest === undefined ? 'a connection' : clientText(state, newest)} to the whole second only, and its addresses were used more than once in that second: not joined to any of them`,
    });
    return;
  }
  const c = joined ?? begin(state, row, at, protocol, time, resolution, lateness, newest);
  c.conntrackTime = time;
  c.conntrackResolution = resolution;
  if (translated) {
    admit(state, c);
    take(state, c, row, at, time, resolution, bits);
  } else {
    c.bits |= CT_UNTRANSLATED;
    if ((bits & HAS_ID) !== 0) c.conntrackId = row[at + C_ID] ?? 0;
    if (c.kind === LONE) {
      if (isService(state, row, at + C_ODST, row[at + C_ODPORT] ?? 0, protocol)) admit(state, c);
      else state.wake(c, state.now + LIMITS.LONE_NS);
    }
  }
  learn(state, c, row, at, bits);
  say(state, c);
}

/** Whether this NEW was told before: the same event in another form, or the same file named twice. */
function isCopy(
  state: State,
  newest: Connection | undefined,
  row: Uint32Array,
  at: number,
  time: number,
  resolution: number,
  lateness: number,
  bits: number,
): boolean {
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    if (c.conntrackTime === NEVER || !sameZone(c, row, at) || !sameId(c, row, at, bits)) continue;
    const translated = (c.bits & CT_CLAIM) !== 0;
    if (translated ? !sameReply(state, c, row, at) : isTranslated(row, at)) continue;
    if ((c.bits & (CT_LISTED | CT_ENDED)) === CT_LISTED && time - lateness <= c.conntrackTime) {
      // A listing overtook its event: they come by different ways, and an event may wait to be read.
      c.bits &= ~CT_LISTED;
      c.conntrackTime = time;
      c.conntrackResolution = resolution;
      return true;
    }
    if (time === c.conntrackTime && resolution === c.conntrackResolution) {
      // Two events of one whole second may well be two connections: only another form of it is a copy.
      // So may two that were read in one go, if the first one's end was told between them.
      if (resolution < COARSE_NS && (c.bits & CT_ENDED) === 0) return true;
      continue;
    }
    if (resolution === c.conntrackResolution) continue;
    // One of the two is cut to whole seconds: a copy if the finer one lies within the coarser one's second.
    const coarse = resolution > c.conntrackResolution ? time : c.conntrackTime;
    const fine = resolution > c.conntrackResolution ? c.conntrackTime : time;
    const width = Math.max(resolution, c.conntrackResolution);
    if (fine >= coarse - FIRST_DATAGRAM_NS && fine < coarse + width + FIRST_DATAGRAM_NS)
      return true;
  }
  return false;
}

/**
 * The connection, opened by a packet, whose entry this is. Several may fit when a tuple is used again
 * within the report's lateness: one whose translated packet names the same endpoint comes first, then
 * the first that was answered, then the last. With times of whole seconds that is not enough to tell.
 */
function joinable(
  state: State,
  newest: Connection | undefined,
  row: Uint32Array,
  at: number,
  time: number,
  resolution: number,
  lateness: number,
  translated: boolean,
): Connection | 'ambiguous' | undefined {
  let best: Connection | undefined;
  let bestRank = -1;
  let fitting = 0;
  let disagreeing: Connection | undefined;
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    if (c.kind === CLOSED || (c.bits & (CT_CLAIM | CT_UNTRANSLATED)) !== 0) continue;
    if (!sameZone(c, row, at) || c.lastSent === NEVER) continue;
    const latest = time + (resolution >= COARSE_NS ? resolution : 0) + KERNEL_NS;
    if (c.time - c.lateness > latest) continue;
    if (time - lateness > c.lastSent + c.resolution + FIRST_DATAGRAM_NS) continue;
    fitting++;
    let rank = 0;
    if ((c.bits & PK_CLAIM) !== 0) {
      if (!translated || !agrees(state, c, row, at)) {
        disagreeing ??= c;
        continue;
      }
      rank = 2;
    } else if ((c.bits & SAW_ANSWER) !== 0) {
      rank = 1;
    }
    // The chain runs from new to old: equal rank goes to the older one if it was surely open.
    if (rank > bestRank || (rank === bestRank && rank > 0)) {
      best = c;
      bestRank = rank;
    }
  }
  if (resolution >= COARSE_NS && fitting > 1 && bestRank < 2) return 'ambiguous';
  if (best !== undefined) return best;
  // The only one that fits shows another endpoint: that is a contradiction to be told, unless it was sent again.
  return fitting === 1 ? disagreeing : undefined;
}

/** A connection that conntrack tells of first. */
function begin(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  time: number,
  resolution: number,
  lateness: number,
  newest: Connection | undefined,
): Connection {
  const c = open(state, row, at, protocol, time, resolution, lateness, 'conntrack');
  if (newest !== undefined) {
    // A flow's first datagram was taken for the old flow's, whose end was told too late to know better.
    const sent = newest.lastSent;
    const first = time - FIRST_DATAGRAM_NS;
    if (
      protocol === UDP &&
      resolution < COARSE_NS &&
      sent !== NEVER &&
      sent >= first &&
      sent <= time &&
      sent > newest.time
    ) {
      c.time = sent;
      c.resolution = newest.resolution;
      c.lateness = newest.lateness;
      c.timeSource = 'packet';
      c.lastSent = sent;
      c.firstSent = sent;
      c.interfaceIn = newest.interfaceIn;
    }
    if (resolution >= COARSE_NS && newest.conntrackTime === time) {
      newest.bits |= TIME_AMBIGUOUS;
      c.bits |= TIME_AMBIGUOUS;
      say(state, newest);
      state.notice({
        code: 'reused-within-time-resolution',
        time: state.clock.absolute(time),
        detail: `${clientText(state, newest)} used the same addresses more than once in this second; conntrack's XML tells times to the second, so which request belongs to which of these connections cannot be said`,
      });
    }
    supersede(state, newest, time);
  }
  return c;
}

function open(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  time: number,
  resolution: number,
  lateness: number,
  timeSource: 'conntrack' | 'listing',
): Connection {
  const c = state.table.open(
    row,
    at + C_OSRC,
    at + C_ODST,
    row[at + C_OSPORT] ?? 0,
    row[at + C_ODPORT] ?? 0,
    protocol,
    row[at + C_FAMILY] ?? 4,
  );
  c.time = time;
  c.resolution = resolution;
  c.lateness = lateness;
  c.timeSource = timeSource;
  c.lastSeen = time;
  if (listingHas(state, c)) c.bits |= IN_LISTING;
  return c;
}

/** Takes an entry's reply tuple as conntrack's word on where the connection was sent. */
function take(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  resolution: number,
  bits: number,
): void {
  const { table } = state;
  table.setTranslated(
    c,
    0,
    row,
    at + C_RDST,
    at + C_RSRC,
    row[at + C_RDPORT] ?? 0,
    row[at + C_RSPORT] ?? 0,
  );
  c.bits |= CT_CLAIM;
  c.zone = zoneOf(row, at);
  if ((bits & HAS_ID) !== 0) c.conntrackId = row[at + C_ID] ?? 0;
  if (c.conntrackTime === NEVER) {
    c.conntrackTime = time;
    c.conntrackResolution = resolution;
  }
  if (time > c.lastSeen) c.lastSeen = time;
  absorbTranslated(state, c, row, at);
}

/** The translated copy may have been seen before conntrack told of it: then it stood as a connection of its own. */
function absorbTranslated(state: State, c: Connection, row: Uint32Array, at: number): void {
  const { table } = state;
  const found = table.byOriginal(
    row,
    at + C_RDST,
    at + C_RSRC,
    row[at + C_RDPORT] ?? 0,
    row[at + C_RSPORT] ?? 0,
    c.protocol,
  );
  if (found === undefined || found === c || found.kind !== LONE) return;
  const fits =
    (c.bits & HAS_ISN) !== 0 && (found.bits & HAS_ISN) !== 0
      ? c.isn === found.isn
      : found.time <= c.conntrackTime + c.conntrackResolution + KERNEL_NS &&
        found.lastSent >= c.conntrackTime - Math.max(c.lateness, KERNEL_NS) - FIRST_DATAGRAM_NS;
  if (!fits) return;
  table.setTranslated(
    c,
    1,
    row,
    at + C_RDST,
    at + C_RSRC,
    row[at + C_RDPORT] ?? 0,
    row[at + C_RSPORT] ?? 0,
  );
  c.bits |= PK_CLAIM | SAW_POST | (found.bits & (SAW_ANSWER | SAW_REFUSAL | SAW_RESET));
  if ((c.bits & HAS_ISN) === 0 && (found.bits & HAS_ISN) !== 0) {
    c.bits |= HAS_ISN;
    c.isn = found.isn;
    table.setSequence(c, found.isn);
  }
  c.firstPost = found.time;
  c.lastPost = found.lastSeen;
  c.interfaceOut = found.interfaceIn;
  if (c.timeSource !== 'packet' && c.id === undefined) {
    c.time = found.time;
    c.resolution = found.resolution;
    c.lateness = found.lateness;
    c.timeSource = 'packet';
  }
  if (c.lastSent === NEVER) c.lastSent = found.lastSent;
  if (c.firstSent === NEVER) c.firstSent = found.firstSent;
  if (c.answerTime === NEVER) c.answerTime = found.answerTime;
  const ended = found.endTime;
  table.release(found);
  if (ended !== NEVER) end(state, c, ended);
}

/** What an entry's state, flags and counters add. */
function learn(state: State, c: Connection, row: Uint32Array, at: number, bits: number): void {
  if ((bits & HAS_STATUS) !== 0) {
    if ((bits & IS_UNREPLIED) !== 0) {
      c.bits |= CT_UNREPLIED;
    } else {
      c.bits &= ~CT_UNREPLIED;
      if (c.protocol !== TCP) c.bits |= SAW_ANSWER;
    }
    if ((bits & IS_ASSURED) !== 0) c.bits |= SAW_ANSWER;
  }
  if (c.protocol === TCP && (bits & HAS_STATE) !== 0) {
    const tcp = row[at + C_STATE] ?? 0;
    if (tcp >= FIRST_ANSWERED_STATE && tcp <= LAST_ANSWERED_STATE) {
      c.bits |= SAW_ANSWER;
    } else if (tcp === STATE_CLOSE) {
      c.bits |= (c.bits & SAW_ANSWER) !== 0 ? SAW_RESET : SAW_REFUSAL;
    }
  }
  if ((bits & HAS_COUNTERS) !== 0) {
    c.original = traffic(row, at + C_OPACKETS, at + C_OBYTES);
    c.reply = traffic(row, at + C_RPACKETS, at + C_RBYTES);
  }
  if ((c.bits & SAW_ANSWER) !== 0) c.bits &= ~SAW_REFUSAL;
  if (c.kind === SERVICE && c.endTime === NEVER) state.wake(c, state.now + state.boundNs);
}

function traffic(row: Uint32Array, packets: number, bytes: number): Traffic {
  return { packets: wide(row, packets), bytes: wide(row, bytes) };
}

function wide(row: Uint32Array, at: number): number {
  return (row[at] ?? 0) + (row[at + 1] ?? 0) * 0x1_0000_0000;
}

/** The connection that holds this entry, if any: with its reply tuple, and not yet ended. */
function holder(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
): Connection | undefined {
  for (let c = newestOf(state, row, at, protocol); c !== undefined; c = state.table.older(c)) {
    if ((c.bits & (CT_CLAIM | CT_UNTRANSLATED)) === 0 || (c.bits & CT_ENDED) !== 0) continue;
    if (!sameZone(c, row, at) || !sameId(c, row, at, bits)) continue;
    if ((c.bits & CT_UNTRANSLATED) !== 0 ? !isTranslated(row, at) : sameReply(state, c, row, at)) {
      return c;
    }
  }
  return undefined;
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

/** An event cut to whole seconds about an entry of which finer events tell: they know better. */
function coarserThan(c: Connection, resolution: number): boolean {
  return resolution >= COARSE_NS && c.conntrackResolution < COARSE_NS && c.conntrackTime !== NEVER;
}

function onDestroy(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
): void {
  state.listing.tick(row, at);
  const { time, resolution } = momentOf(state, row, at, bits);
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
  let c = holder(state, row, at, protocol, bits);
  if (c !== undefined && coarserThan(c, resolution)) return;
  if (c === undefined) {
    // NEW was lost or came before us: the entry's end still tells where the connection went.
    c = joinByEnd(state, row, at, protocol, time, resolution);
    if (c === undefined) return;
    take(state, c, row, at, NEVER, 1, bits);
  }
  c.bits |= CT_ENDED;
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
): Connection | undefined {
  if (!isTranslated(row, at)) return undefined;
  let found: Connection | undefined;
  for (let c = newestOf(state, row, at, protocol); c !== undefined; c = state.table.older(c)) {
    if (c.kind !== SERVICE || (c.bits & (CT_CLAIM | CT_UNTRANSLATED)) !== 0) continue;
    if (c.time > time + resolution || !sameZone(c, row, at)) continue;
    if ((c.bits & PK_CLAIM) !== 0 && !agrees(state, c, row, at)) continue;
    // More than one could have had it: the end alone cannot tell which.
    if (found !== undefined) return undefined;
    found = c;
  }
  return found;
}

/** An entry of a listing whose time is known. */
function onListed(
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
  const newest = newestOf(state, row, at, protocol);
  if (newest !== undefined && sameReply(state, newest, row, at) && newest.kind === CLOSED) return;
  const { old } = state;
  const sport = row[at + C_OSPORT] ?? 0;
  const dport = row[at + C_ODPORT] ?? 0;
  if (old.find(row, at + C_OSRC, at + C_ODST, sport, dport, protocol) >= 0) return;
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
  if (state.firstListingIsOld && state.losses === 0) {
    old.set(row, at + C_OSRC, at + C_ODST, sport, dport, protocol, 1);
    if (translated) state.existing++;
    return;
  }
  if (!translated) return;
  const c = open(state, row, at, protocol, time, resolution, lateness, 'listing');
  if (newest !== undefined) supersede(state, newest, time);
  admit(state, c);
  take(state, c, row, at, time, resolution, bits);
  c.bits |= CT_LISTED;
  learn(state, c, row, at, bits);
  say(state, c);
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
  if ((newest.bits & (CT_CLAIM | CT_UNTRANSLATED)) !== 0) return undefined;
  if (newest.time > time + KERNEL_NS || !sameZone(newest, row, at)) return undefined;
  if ((newest.bits & PK_CLAIM) !== 0 && !agrees(state, newest, row, at)) return undefined;
  return newest;
}
