import { formatAddress } from '../model/address.js';
import type { Attribution } from '../model/attribution.js';
import { isOpenTo } from '../model/clients.js';
import { SCTP, TCP, UDP } from '../model/packet.js';
import type { ServiceEntry } from '../model/services.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  CLOSED,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  CT_LISTED,
  CT_UNTRANSLATED,
  ICMP_REFUSAL,
  IN_LISTING,
  LONE,
  NEVER,
  ORIGINAL,
  PK_CLAIM,
  RESET_PASSED,
  SAW_ANSWER,
  SAW_FIN_ORIGINAL,
  SAW_FIN_REPLY,
  SAW_POST,
  SAW_PRE,
  SAW_REFUSAL,
  SAW_RESET,
  SAW_UNREACHABLE,
  SAY_DUE,
  SERVICE,
  SETTLED,
  SUPERSEDED,
  T_DPORT,
  T_DST,
  T_SPORT,
  T_SRC,
  UNSAID,
} from './connection.js';
import { clientPlace, clientText, describe, describeDirect, identify } from './describe.js';
import { whereTo } from './entries.js';
import { outcomeIn, reasonIn, sayingOf, verdictIn } from './saying.js';
import { count, LIMITS, type State } from './state.js';
import { mix } from './tuple-map.js';
import { type Judgement, judge, outcomeOf } from './verdict.js';

const BOTH_FINS = SAW_FIN_ORIGINAL | SAW_FIN_REPLY;

/** Counts a connection as seen, from now on to be said; `node`: whose rules explain it. */
export function admit(state: State, c: Connection, node = state.here): void {
  if (c.kind === SERVICE) return;
  c.kind = SERVICE;
  state.seen++;
  state.outcomes.open++;
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  const port = w[at + T_DPORT] ?? 0;
  move(state, c, node);
  lookUp(state, c);
  if (c.byAddress !== undefined) tellClosedPort(state, c, port);
  if (c.time !== NEVER) state.wake(c, Math.max(c.time, state.now) + state.boundNs);
}

/** Asks the rules and the cluster, as the connection's node has them, whose address it was sent to. */
export function lookUp(state: State, c: Connection): void {
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  const { destinations } = state.vantageOf(c);
  const known = destinations.find(w, at + T_DST, w[at + T_DPORT] ?? 0, c.protocol);
  c.byRules = asForClient(state, c, known.byRules);
  c.byCluster = known.byCluster;
  c.byAddress = known.byAddress;
}

/** What the rules make of an address for this client: a refusal, if no way is open to it. */
function asForClient(
  state: State,
  c: Connection,
  entry: ServiceEntry | undefined,
): ServiceEntry | undefined {
  const refusal = entry && state.vantageOf(c).byRules.refusalOf(entry);
  if (entry === undefined || refusal === undefined) return entry;
  const client = clientPlace(state, c);
  return entry.routes.every(({ clients }) => isOpenTo(clients, client) === false) ? refusal : entry;
}

/** Conntrack of this node translated it: its rules are the ones that count. */
export function translatedHere(state: State, c: Connection): void {
  if (c.vantage === state.here) return;
  move(state, c, state.here);
  lookUp(state, c);
}

/** To the node that translates it, from one that passed it on: what that one told are not this one's sights and times. */
function move(state: State, c: Connection, node: number): void {
  const from = c.vantage;
  if (from === node) return;
  c.vantage = node;
  // An input that names no node may be of this one.
  if (state.vantages[from]?.name === '' || state.vantages[node]?.name === '') return;
  if (c.far?.vantage === node) c.far = undefined;
  if ((c.bits & SAW_POST) !== 0) {
    c.far ??= {
      vantage: from,
      firstSent: c.firstPost,
      answerTime: NEVER,
      interfaceIn: 0,
      interfaceOut: c.interfaceOut,
    };
  }
  c.bits &= ~(CT_UNTRANSLATED | SAW_PRE | SAW_POST);
  c.interfaceIn = 0;
  c.interfaceOut = 0;
  c.firstSent = NEVER;
  c.firstPost = NEVER;
  c.answerTime = NEVER;
  c.natNs = -1;
}

/**
 * A rule set was read that may have been in force for a while: connections that no known rules explained
 * are looked at with it.
 */
export function explainLate(state: State): void {
  const { words } = state.table;
  state.table.each((c) => {
    if (c.kind !== SERVICE) return;
    const isUnknown = isUnexplained(c);
    if (!isUnknown && (c.byRules === undefined || leadsWhereItWent(state, c, c.byRules))) return;
    const at = state.table.at(c) + ORIGINAL;
    const { byRules } = state.vantageOf(c);
    const found = byRules.find(words, at + T_DST, words[at + T_DPORT] ?? 0, c.protocol);
    if (found === undefined) return;
    if (!isUnknown) {
      // A dump is taken some time after the rules were written: the first that shows its way explains it.
      if (!leadsWhereItWent(state, c, found)) return;
      c.byRules = found;
    } else {
      c.byRules = asForClient(state, c, found);
      c.byAddress = undefined;
    }
    say(state, c);
  });
}

/** Whether an entry has a way to the endpoint that the connection was sent to; true where that is not known. */
function leadsWhereItWent(state: State, c: Connection, entry: ServiceEntry): boolean {
  const claim =
    (c.bits & CT_CLAIM) !== 0 ? BY_CONNTRACK : (c.bits & PK_CLAIM) !== 0 ? BY_PACKETS : -1;
  if (claim < 0) return true;
  const w = state.table.words;
  const at = state.table.at(c) + claim;
  const ip = formatAddress(w, at + T_DST, c.family);
  const port = w[at + T_DPORT] ?? 0;
  return entry.routes.some((route) => route.port === port && route.ip === ip);
}

/** Whether no rules and no Service are known that have the address. */
function isUnexplained(c: Connection): boolean {
  return c.byRules === undefined && c.byCluster === undefined;
}

function tellClosedPort(state: State, c: Connection, port: number): void {
  const name = c.byAddress?.service;
  const service = name === undefined ? 'the Service' : `${name.namespace}/${name.name}`;
  state.notice({
    code: 'closed-service-port',
    ...(c.time !== NEVER && { time: state.clock.absolute(c.time) }),
    connection: identify(state, c),
    detail: `${clientText(state, c)} calls port ${port} of ${service}, which has no such port`,
  });
}

/** Whether a destination belongs to a Service where the event at hand was recorded, by the rules or by the cluster; a cluster address on any port. */
export function isService(
  state: State,
  words: Uint32Array,
  dst: number,
  port: number,
  protocol: number,
): boolean {
  return state.at.destinations.find(words, dst, port, protocol).isService;
}

/** The first node, the one at hand before others, where a destination belongs to a Service. */
export function serviceNode(
  state: State,
  words: Uint32Array,
  dst: number,
  port: number,
  protocol: number,
): number | undefined {
  if (isService(state, words, dst, port, protocol)) return state.here;
  const found = state.vantages.findIndex(
    ({ name, destinations }) =>
      name !== '' && destinations.find(words, dst, port, protocol).isService,
  );
  return found < 0 ? undefined : found;
}

/** Says what is known of a connection, if it is new: to be called when something that matters has changed. */
export function say(state: State, c: Connection): void {
  if (c.kind !== SERVICE) return;
  const j = judge(state, c);
  tally(state, c, j);
  if (j.verdict === undefined) return;
  // With a verdict, what it is counted as is what is said of it now.
  if (!state.describes || !isNews(state, c, j)) return;
  const attribution = describe(state, c, j);
  const first = c.told === UNSAID;
  if (!first && toldTheSame(c, attribution)) return;
  const { backend } = attribution;
  c.told = c.said;
  c.toldBackend = backend;
  c.toldService = attribution.service;
  c.toldSource = attribution.source;
  state.out.push({ type: 'attribution', attribution });
  if (!first || backend === undefined || backend.pod !== undefined) return;
  if (!state.knowsPods) {
    state.noticeOnce({
      code: 'no-pods-known',
      detail: 'no Pods were told, so endpoints have addresses only',
    });
  } else {
    state.notice({
      code: 'endpoint-without-pod',
      ...(attribution.time !== undefined && { time: attribution.time }),
      connection: attribution.connection,
      detail: `no Pod is known to have owned ${backend.ip} at that time`,
    });
  }
}

/** Whether an attribution adds nothing to what its connection's last line told that would be worth another line. */
function toldTheSame(c: Connection, now: Attribution): boolean {
  const { toldBackend: backend, toldService: service, toldSource: source } = c;
  return (
    c.told === c.said &&
    (backend === now.backend ||
      (backend?.ip === now.backend?.ip &&
        backend?.port === now.backend?.port &&
        backend?.pod?.name === now.backend?.pod?.name &&
        backend?.pod?.namespace === now.backend?.pod?.namespace)) &&
    (service === now.service ||
      (service?.name === now.service?.name &&
        service?.namespace === now.service?.namespace &&
        service?.portName === now.service?.portName &&
        service?.via === now.service?.via)) &&
    source?.ip === now.source?.ip &&
    source?.port === now.source?.port
  );
}

/**
 * Says soon what an answer changed: its copies on other interfaces and conntrack's report follow within
 * microseconds, and then latency and evidence are whole.
 */
export function saySoon(state: State, c: Connection): void {
  if (c.kind !== SERVICE) return;
  if (!state.describes) {
    // Counts only: nobody sees a word that is taken back.
    say(state, c);
    return;
  }
  c.bits |= SAY_DUE;
  state.wake(c, state.now + LIMITS.SAY_NS);
}

/** Cheap, by numbers: whether anything that a description starts from has changed since the last look. */
function isNews(state: State, c: Connection, j: Judgement): boolean {
  const w = state.table.words;
  const at = state.table.at(c) + Math.max(0, j.claim);
  let mark = j.claim < 0 ? 0 : mix((w[at + T_SPORT] ?? 0) ^ ((w[at + T_DPORT] ?? 0) << 16));
  if (j.claim >= 0) {
    for (let i = 0; i < 4; i++) {
      mark = mix(mark ^ (w[at + T_SRC + i] ?? 0));
      mark = mix(mark ^ (w[at + T_DST + i] ?? 0));
    }
  }
  if (c.judged === c.said && c.judgedMark === mark) return false;
  c.judged = c.said;
  c.judgedMark = mark;
  return true;
}

/** Counts a connection as what it is judged to be. Without a verdict it keeps the one that it had. */
function tally(state: State, c: Connection, j: Judgement): void {
  const before = c.said;
  const verdict = j.verdict ?? verdictIn(before);
  const reason = j.verdict === undefined ? reasonIn(before) : j.reason;
  const { outcome } = j;
  const now = sayingOf({ verdict, reason, outcome });
  if (now === before) return;
  c.said = now;
  state.outcomes[outcomeIn(before)]--;
  state.outcomes[outcome]++;
  const oldVerdict = verdictIn(before);
  if (oldVerdict !== undefined) state.verdicts[oldVerdict]--;
  if (verdict !== undefined) state.verdicts[verdict]++;
  const oldReason = reasonIn(before);
  if (oldReason !== undefined) count(state.reasons, oldReason, -1);
  if (reason !== undefined) count(state.reasons, reason, 1);
}

/** Notes the end of a connection; its last word follows when late copies had time to come. */
export function end(state: State, c: Connection, time: number): void {
  if (c.endTime === NEVER) c.endTime = time;
  if (c.kind === CLOSED) {
    // Nothing more can come of an entry that conntrack has dropped.
    if ((c.bits & CT_ENDED) !== 0) reschedule(state, c, state.now + LIMITS.LINGER_NS);
    return;
  }
  if (c.kind === LONE) {
    state.wake(c, state.now + LIMITS.LONE_NS);
    return;
  }
  linger(state, c);
}

/** A connection that had ended without ever being answered goes on: its opening packet was sent again. */
export function revive(c: Connection): void {
  c.bits &= ~(SAW_RESET | SAW_REFUSAL | RESET_PASSED | ICMP_REFUSAL | SAW_UNREACHABLE);
  c.endTime = NEVER;
  c.closeAt = Number.POSITIVE_INFINITY;
}

function linger(state: State, c: Connection): void {
  const at = state.now + (isOver(state, c) ? LIMITS.OVER_NS : LIMITS.LINGER_NS);
  if (at < c.closeAt) c.closeAt = at;
  state.wake(c, c.closeAt);
}

/** A newer connection has this one's tuple. */
export function supersede(state: State, c: Connection, time: number): void {
  c.bits |= SUPERSEDED;
  if (c.kind === SERVICE && c.endTime === NEVER) end(state, c, time);
  else if (c.endTime !== NEVER) linger(state, c);
}

/** Looks at all connections that are due. */
export function runAgenda(state: State, now: number): void {
  while (state.agenda.next() <= now) {
    const c = state.table.get(state.agenda.take());
    // A slot may have passed on to another connection, or the request been replaced by a later one.
    if (c === undefined || c.wakeAt > now) continue;
    c.wakeAt = Number.POSITIVE_INFINITY;
    review(state, c, now);
  }
}

function review(state: State, c: Connection, now: number): void {
  if (c.kind === CLOSED) {
    if (staysInConntrack(state, c)) rememberEntry(state, c);
    state.table.release(c);
    return;
  }
  if (c.kind === LONE) {
    reviewLone(state, c, now);
    return;
  }
  const due = c.time + state.boundNs;
  if ((c.bits & SETTLED) === 0 && now >= due) {
    c.bits |= SETTLED;
    say(state, c);
  }
  if ((c.bits & SAY_DUE) !== 0) {
    c.bits &= ~SAY_DUE;
    say(state, c);
  }
  if (c.endTime === NEVER) {
    const idle = c.lastSeen + idleLimit(state, c);
    if (now >= idle) {
      c.endTime = c.lastSeen;
      c.closeAt = now;
    } else {
      if ((c.bits & SETTLED) !== 0 && outcomeIn(c.said) === 'open') say(state, c);
      reschedule(state, c, (c.bits & SETTLED) === 0 ? Math.min(due, idle) : idle);
      return;
    }
  }
  if (now < c.closeAt) {
    reschedule(state, c, (c.bits & SETTLED) === 0 ? Math.min(due, c.closeAt) : c.closeAt);
    return;
  }
  if (now <= state.lastRules && isUnexplained(c)) {
    reschedule(state, c, state.lastRules + 1);
    return;
  }
  // An undated listing may still speak for the newest connection of a tuple, at the end of the input.
  if ((c.bits & (IN_LISTING | SUPERSEDED)) === IN_LISTING) return;
  close(state, c);
}

/** How long silence must last until a connection counts as ended. */
function idleLimit(state: State, c: Connection): number {
  const answered = (c.bits & SAW_ANSWER) !== 0;
  if (c.protocol === UDP || c.protocol === SCTP) {
    if ((c.bits & (CT_CLAIM | CT_ENDED)) === CT_CLAIM) return LIMITS.UDP_STALE_NS;
    return answered ? state.udpAnsweredIdleNs : state.udpIdleNs;
  }
  return answered ? LIMITS.ESTABLISHED_NS : LIMITS.UNANSWERED_NS;
}

function reviewLone(state: State, c: Connection, now: number): void {
  const keep =
    c.protocol !== TCP
      ? idleLimit(state, c)
      : (c.bits & SAW_ANSWER) !== 0 || c.endTime !== NEVER
        ? LIMITS.LONE_NS
        : LIMITS.LONE_UNANSWERED_NS;
  if (now < c.lastSeen + keep) {
    reschedule(state, c, c.lastSeen + keep);
    return;
  }
  classifyLone(state, c);
  state.table.release(c);
}

/** Counts what has nothing to do with a Service seen here. */
export function classifyLone(state: State, c: Connection): void {
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  const ip = formatAddress(w, at + T_DST, c.family);
  const time = c.time === NEVER ? undefined : state.clock.absolute(c.time);
  if (state.cluster.podAt(ip, time) === undefined) {
    state.other++;
    return;
  }
  state.direct++;
  if (state.saysDirect && state.describes) {
    state.out.push({ type: 'direct', direct: describeDirect(state, c, outcomeOf(state, c)) });
  }
}

function reschedule(state: State, c: Connection, at: number): void {
  c.wakeAt = Number.POSITIVE_INFINITY;
  state.wake(c, at);
}

/** Where others are seen on both sides of their translation, one that was not has a hole in its story. */
function tellMissingCopy(state: State, c: Connection): void {
  if (!state.vantageOf(c).seesBothSides || c.lastSent === NEVER) return;
  if (outcomeIn(c.said) === 'rejected') return;
  const reason = reasonIn(c.said);
  if (reason === 'no-endpoints' || reason === 'filtered') return;
  const before = (c.bits & SAW_PRE) !== 0;
  const after = (c.bits & SAW_POST) !== 0;
  // What is translated to the node itself is delivered there, and leaves by no interface.
  if (before && isDeliveredHere(state, c)) return;
  // The node's own clients have no packet before translation: only an answer on that side tells that there was one.
  if (before === after || (!before && !c.answeredBefore)) return;
  state.notice({
    code: 'copy-missing',
    ...(c.time !== NEVER && { time: state.clock.absolute(c.time) }),
    connection: identify(state, c),
    detail: `the opening packet of ${clientText(state, c)} was seen only ${before ? 'before' : 'after'} translation: its other copy was lost, or passed where nothing was captured`,
  });
}

function isDeliveredHere(state: State, c: Connection): boolean {
  if ((c.bits & CT_CLAIM) === 0) return false;
  const at = state.table.at(c) + BY_CONNTRACK;
  return state.vantageOf(c).byRules.isOwn(state.table.words, at + T_DST) === true;
}

/** The last word on a connection. */
export function close(state: State, c: Connection): void {
  c.bits |= SETTLED;
  // The cluster may have told something since: a name that was not known when there was last something to say.
  c.judged = UNSAID;
  say(state, c);
  if (state.describes) {
    tellMissingCopy(state, c);
    state.out.push({ type: 'close', attribution: describe(state, c, judge(state, c)) });
  }
  c.kind = CLOSED;
  reschedule(state, c, state.now + keepNs(state, c));
}

/** How long a connection is kept after its last word, so that what still comes of it finds it. */
function keepNs(state: State, c: Connection): number {
  if (!state.hasConntrack) return isOver(state, c) ? LIMITS.OVER_NS : LIMITS.KEEP_NS;
  if ((c.bits & CT_ENDED) !== 0 || staysInConntrack(state, c)) return LIMITS.KEEP_NS;
  return LIMITS.KEEP_WITH_CONNTRACK_NS;
}

/** Live, a connection of whose entry an event told need not be kept for as long as the entry lasts: a note does. */
function staysInConntrack(state: State, c: Connection): boolean {
  return state.firstListingIsOld && (c.bits & (CT_CLAIM | CT_ENDED | CT_LISTED)) === CT_CLAIM;
}

function rememberEntry(state: State, c: Connection): void {
  const w = state.table.words;
  const at = state.table.at(c);
  const from = at + ORIGINAL;
  const to = at + BY_CONNTRACK;
  state.gone.add(
    w,
    from + T_SRC,
    from + T_DST,
    w[from + T_SPORT] ?? 0,
    w[from + T_DPORT] ?? 0,
    c.protocol,
    whereTo(w, to + T_DST, w[to + T_DPORT] ?? 0),
    state.now,
  );
}

/** Both sides have closed, and only packets, in order of time, can tell more: copies of what was seen. */
function isOver(state: State, c: Connection): boolean {
  return state.packetsOnly && (c.bits & BOTH_FINS) === BOTH_FINS && !isUnexplained(c);
}

/** Whether an undated listing has an entry of a connection's tuple. */
export function listingHas(state: State, c: Connection): boolean {
  if (state.listing.size === 0) return false;
  const w = state.table.words;
  const at = state.table.at(c) + ORIGINAL;
  return state.listing.has(
    w,
    at + T_SRC,
    at + T_DST,
    w[at + T_SPORT] ?? 0,
    w[at + T_DPORT] ?? 0,
    c.protocol,
  );
}
