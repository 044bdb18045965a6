import { formatAddress, formatEndpoint } from '../model/address.js';
import {
  C_ID,
  C_ODPORT,
  C_ODST,
  C_OSPORT,
  C_OSRC,
  C_RSPORT,
  C_RSRC,
  C_STATE,
  HAS_ID,
  HAS_STATE,
} from '../model/conntrack.js';
import { TCP, UDP } from '../model/packet.js';
import { sentElsewhere } from './claim.js';
import {
  BY_CONNTRACK,
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  CT_LISTED,
  CT_UNTRANSLATED,
  LONE,
  NEVER,
  PK_CLAIM,
  RESET_PASSED,
  SAW_ANSWER,
  SAW_FIN_ORIGINAL,
  SAW_FIN_REPLY,
  SAW_PRE,
  SAW_REFUSAL,
  SAW_RESET,
  SERVICE,
  TIME_AMBIGUOUS,
} from './connection.js';
import { clientText, identify } from './describe.js';
import {
  agrees,
  FIRST_DATAGRAM_NS,
  isTranslated,
  KERNEL_NS,
  momentOf,
  newestOf,
  sameId,
  sameReply,
  sameZone,
} from './entries.js';
import { learn, openEntry, take } from './entry-facts.js';
import { farOf, isFar } from './far-end.js';
import { admit, isService, revive, say, supersede } from './lifecycle.js';
import { wasRefused } from './on-datagram.js';
import { LIMITS, type State } from './state.js';
import { endpointText } from './verdict.js';
import { COARSE_NS, PAIR_WINDOW_NS } from './windows.js';

/** A program that must wait for a processor was seen to tell events 1.6 s late; beyond this nobody waits for them. */
const STARVED_NS = 10_000_000_000;

/** The first SYN that is sent again comes after a second (RFC 6298); at once where an old connection's end answered it. */
const SENT_AGAIN_NS = 1_500_000_000;

const ENDED_BY_PACKETS = RESET_PASSED | SAW_FIN_ORIGINAL | SAW_FIN_REPLY;

/** TCP_CONNTRACK_ESTABLISHED, include/uapi/linux/netfilter/nf_conntrack_tcp.h */
const STATE_ESTABLISHED = 3;

/** A new entry; `held`: it has waited for its packet already. */
export function onNew(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  bits: number,
  held = false,
): void {
  const { time, resolution, lateness } = momentOf(state, row, at, bits);
  state.listing.tick(row, at);
  const newest = newestOf(state, row, at, protocol);
  if (isCopy(state, newest, row, at, time, resolution, lateness, bits)) return;
  const translated = isTranslated(row, at);
  if (!translated && state.vantages.length > 1) {
    const near = nearEnd(state, row, at, protocol, time, resolution, lateness);
    if (near !== undefined) {
      farOf(state, near);
      return;
    }
    if (isPassedOn(state, newest, time, resolution, lateness)) return;
  }
  const again = resent(state, newest, row, at, time, lateness, translated);
  if (again !== undefined && (held || again.lastSent > again.conntrackTime)) {
    chosenAnew(state, again, row, at, time, bits);
    return;
  }
  if (!held && (again !== undefined || mayBeResent(newest, row, at, time, translated))) {
    state.held.add(row, at, state.here, state.now);
    return;
  }
  const joined = joinable(state, newest, row, at, time, resolution, lateness, translated);
  if (joined === 'ambiguous') {
    state.notice({
      code: 'conntrack-time-too-coarse',
      time: state.clock.absolute(time),
      detail: `conntrack told of ${newest === undefined ? 'a connection' : clientText(state, newest)} to the whole second only, and its addresses were used more than once in that second: not joined to any of them`,
    });
    return;
  }
  if (joined === undefined && isTooLate(state, newest, row, at, time, resolution)) return;
  const c = joined ?? begin(state, row, at, protocol, time, resolution, lateness, newest);
  c.conntrackTime = time;
  c.conntrackResolution = resolution;
  c.bits &= ~CT_LISTED;
  if ((c.bits & CT_ENDED) !== 0) {
    // It was the listed entry's end, not this one's.
    c.bits &= ~CT_ENDED;
    if ((c.bits & (SAW_RESET | SAW_REFUSAL | SAW_FIN_ORIGINAL | SAW_FIN_REPLY)) === 0) {
      c.endTime = NEVER;
      c.closeAt = Number.POSITIVE_INFINITY;
    }
  }
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
  tellPickedUp(state, c, row, at, time, bits);
  say(state, c);
}

/**
 * A TCP entry begins with a SYN, so in SYN_SENT. One that begins later was made for a packet of a connection
 * that was already open (nf_conntrack_tcp_loose): its old entry was deleted, flushed or never there.
 */
function tellPickedUp(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  bits: number,
): void {
  if (c.protocol !== TCP || (bits & HAS_STATE) === 0 || c.kind !== SERVICE) return;
  if ((row[at + C_STATE] ?? 0) < STATE_ESTABLISHED || (c.bits & SAW_PRE) !== 0) return;
  state.notice({
    code: 'picked-up-mid-stream',
    ...(time !== NEVER && { time: state.clock.absolute(time) }),
    connection: identify(state, c),
    detail: `conntrack began to follow ${clientText(state, c)} in the middle of its stream: it may have been given another endpoint than its opening packet`,
  });
}

/**
 * The connection whose opening packet was sent again after its first entry had gone: this entry is the
 * second one of the same connection, with a fresh choice of the rules. Where both were told so late that the
 * first may be older than the packet, it is so only if no other connection's packet comes (`held`).
 */
function resent(
  state: State,
  newest: Connection | undefined,
  row: Uint32Array,
  at: number,
  time: number,
  lateness: number,
  translated: boolean,
): Connection | undefined {
  if (newest === undefined || newest.protocol !== TCP || !translated) return undefined;
  if (newest.retransmits === 0 || newest.kind !== SERVICE || !sameZone(newest, row, at))
    return undefined;
  if ((newest.bits & (CT_CLAIM | CT_ENDED)) !== (CT_CLAIM | CT_ENDED)) return undefined;
  // An entry for each time that it was sent, and no more.
  if (newest.laterEntries >= newest.retransmits) return undefined;
  // Sent again since the first entry was made, as far as its telling can say, and before this one was told.
  const told = newest.conntrackTime - (lateness > KERNEL_NS ? lateness : 0);
  if (newest.lastSent <= told || newest.lastSent > time + KERNEL_NS) return undefined;
  if (time - lateness > newest.lastSent + FIRST_DATAGRAM_NS) return undefined;
  return (newest.bits & PK_CLAIM) === 0 || agrees(state, newest, row, at) ? newest : undefined;
}

/**
 * Whether an entry may turn out to be such a second one: the connection before it ended unanswered so short a
 * time ago that its SYN will be sent again, and that packet may not have been read yet.
 */
function mayBeResent(
  newest: Connection | undefined,
  row: Uint32Array,
  at: number,
  time: number,
  translated: boolean,
): boolean {
  if (newest === undefined || newest.protocol !== TCP || !translated) return false;
  if (newest.kind !== SERVICE || newest.endTime === NEVER || newest.lastSent === NEVER)
    return false;
  if ((newest.bits & SAW_ANSWER) !== 0 || !sameZone(newest, row, at)) return false;
  const since = time - newest.lastSent;
  return since > 0 && since < SENT_AGAIN_NS;
}

function chosenAnew(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  bits: number,
): void {
  const before = endpointText(state, c, BY_CONNTRACK);
  const told = c.earlier?.includes(before) === true;
  c.laterEntries++;
  // An end that packets showed is this transmission's: that of the one before was taken back when it was sent again.
  if ((c.bits & ENDED_BY_PACKETS) === 0) revive(c);
  c.bits &= ~CT_ENDED;
  state.listing.tick(row, at);
  c.conntrackTime = NEVER;
  take(state, c, row, at, time, 1, bits);
  learn(state, c, row, at, bits);
  if (!told && endpointText(state, c, BY_CONNTRACK) !== before) {
    sentElsewhere(state, c, before, time, BY_CONNTRACK);
  }
  say(state, c);
}

/** The connection that another node translated to this entry's tuple, and that was open then. */
function nearEnd(
  state: State,
  row: Uint32Array,
  at: number,
  protocol: number,
  time: number,
  resolution: number,
  lateness: number,
): Connection | undefined {
  let best: Connection | undefined;
  for (
    let c = state.table.byTranslated(
      row,
      at + C_OSRC,
      at + C_ODST,
      row[at + C_OSPORT] ?? 0,
      row[at + C_ODPORT] ?? 0,
      protocol,
    );
    c !== undefined;
    c = state.table.olderTranslation(
      c,
      row,
      at + C_OSRC,
      at + C_ODST,
      row[at + C_OSPORT] ?? 0,
      row[at + C_ODPORT] ?? 0,
    )
  ) {
    if (isOpenElsewhere(state, c, time, resolution, lateness)) best ??= c;
  }
  return best;
}

/** Whether this node only passed on a connection that another node translates: to the other's NodePort. */
function isPassedOn(
  state: State,
  newest: Connection | undefined,
  time: number,
  resolution: number,
  lateness: number,
): boolean {
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    if (isOpenElsewhere(state, c, time, resolution, lateness)) return true;
  }
  return false;
}

/** Whether a connection is another node's, and was open then. */
function isOpenElsewhere(
  state: State,
  c: Connection,
  time: number,
  resolution: number,
  lateness: number,
): boolean {
  if (c.kind !== SERVICE || !isFar(state, c)) return false;
  if (c.time - c.lateness > time + resolution + PAIR_WINDOW_NS) return false;
  return c.endTime === NEVER || c.endTime + PAIR_WINDOW_NS >= time - lateness;
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
    if (isOfEarlierTransmission(c, row, at, time, resolution)) return true;
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

/** The coarser form of an entry that an earlier transmission of the same opening packet had. */
function isOfEarlierTransmission(
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  resolution: number,
): boolean {
  if (c.earlier === undefined || resolution < COARSE_NS) return false;
  if (c.time >= time + resolution + FIRST_DATAGRAM_NS) return false;
  if (c.lastSent < time - FIRST_DATAGRAM_NS) return false;
  const ip = formatAddress(row, at + C_RSRC, c.family);
  return c.earlier.includes(formatEndpoint(ip, row[at + C_RSPORT] ?? 0));
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
  let listed: Connection | undefined;
  let overdue: Connection | undefined;
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    const claimed = isClaimed(state, c, translated);
    if (c.kind === CLOSED || (claimed && (c.bits & CT_LISTED) === 0)) continue;
    if (!sameZone(c, row, at) || c.lastSent === NEVER || wasRefused(c)) continue;
    const latest = time + (resolution >= COARSE_NS ? resolution : 0) + KERNEL_NS;
    if (c.time - c.lateness > latest) continue;
    if (time - lateness > c.lastSent + c.resolution + FIRST_DATAGRAM_NS) {
      if (!claimed && isStarved(state, c, row, at, time, resolution)) overdue = c;
      continue;
    }
    if (claimed) {
      // What a listing had may be the entry that this one took the place of: its tuple's last use.
      if ((c.bits & PK_CLAIM) !== 0 && translated && agrees(state, c, row, at)) listed = c;
      continue;
    }
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
  if (listed !== undefined) return listed;
  if (overdue !== undefined) return overdue;
  // The only one that fits shows another endpoint: that is a contradiction to be told, unless it was sent again.
  return fitting === 1 ? disagreeing : undefined;
}

/** Whether conntrack told of a connection. That a node which passed it on did not translate it says nothing of another. */
function isClaimed(state: State, c: Connection, translated: boolean): boolean {
  if ((c.bits & CT_CLAIM) !== 0) return true;
  return (c.bits & CT_UNTRANSLATED) !== 0 && !(translated && isFar(state, c));
}

/**
 * Whether an event far later than its kind should be is still a TCP connection's: conntrack has not told
 * of it, and its packets went where the event says.
 */
function isStarved(
  state: State,
  c: Connection,
  row: Uint32Array,
  at: number,
  time: number,
  resolution: number,
): boolean {
  return (
    c.protocol === TCP &&
    resolution < COARSE_NS &&
    (c.bits & PK_CLAIM) !== 0 &&
    c.time - c.lateness <= time &&
    time - c.lastSent < STARVED_NS &&
    isTranslated(row, at) &&
    agrees(state, c, row, at)
  );
}

/** Whether a connection whose last word is said waited in vain for this event: it adds nothing now. */
function isTooLate(
  state: State,
  newest: Connection | undefined,
  row: Uint32Array,
  at: number,
  time: number,
  resolution: number,
): boolean {
  for (let c = newest; c !== undefined; c = state.table.older(c)) {
    if (c.kind !== CLOSED || (c.bits & (CT_CLAIM | CT_UNTRANSLATED)) !== 0) continue;
    if (!sameZone(c, row, at) || !isStarved(state, c, row, at, time, resolution)) continue;
    // The next such event is not its.
    c.bits |= CT_UNTRANSLATED;
    return true;
  }
  return false;
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
  const c = openEntry(state, row, at, protocol, time, resolution, lateness, 'conntrack');
  if (newest?.kind === LONE && newest.lastSent === NEVER && isFar(state, newest)) {
    // The untranslated entry of a node that passed it on.
    state.table.release(newest);
  } else if (newest !== undefined) {
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
