import { formatAddress, formatEndpoint, sameAddress } from '../model/address.js';
import type { Outcome, Reason, Verdict } from '../model/attribution.js';
import { TCP } from '../model/packet.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  type Connection,
  CT_CLAIM,
  CT_ENDED,
  CT_UNREPLIED,
  ICMP_REFUSAL,
  NEVER,
  PK_CLAIM,
  SAW_ANSWER,
  SAW_FIN_ORIGINAL,
  SAW_FIN_REPLY,
  SAW_REFUSAL,
  SAW_RESET,
  SAW_UNREACHABLE,
  SETTLED,
  T_DPORT,
  T_DST,
  TIME_AMBIGUOUS,
} from './connection.js';
import type { State } from './state.js';
import { COARSE_NS } from './windows.js';

/** What is to be said of a connection. `claim` is the offset of the tuple that names the endpoint, or -1. */
export interface Judgement {
  verdict: Verdict | undefined;
  reason: Reason | undefined;
  outcome: Outcome;
  claim: number;
}

const judgement: Judgement = { verdict: undefined, reason: undefined, outcome: 'open', claim: -1 };

/** Judges a connection with what is known now. The result is used again by the next call. */
export function judge(state: State, c: Connection): Judgement {
  const j = judgement;
  j.verdict = undefined;
  j.reason = undefined;
  j.claim = -1;
  j.outcome = outcomeOf(state, c);
  const byConntrack = (c.bits & CT_CLAIM) !== 0;
  const byPackets = (c.bits & PK_CLAIM) !== 0;
  if (byConntrack || byPackets) {
    j.claim = byConntrack ? BY_CONNTRACK : BY_PACKETS;
    if (byConntrack && byPackets && !sameEndpoint(state, c)) {
      if (wasTriedBefore(state, c, BY_CONNTRACK)) {
        // The opening packet was sent again and given another endpoint: the later choice stands.
        j.claim = BY_PACKETS;
      } else {
        j.verdict = 'conflict';
        j.reason = disagreement(state, c);
        return j;
      }
    }
    if (!byPackets && c.timeSource === 'conntrack' && isTooCoarse(state, c)) {
      j.verdict = 'unattributed';
      j.reason = 'time-too-coarse';
      return j;
    }
    if (c.byRules === undefined && c.byCluster === undefined && state.knowsServices) {
      j.verdict = 'unattributed';
      j.reason = 'unknown-service-address';
    } else {
      j.verdict = 'attributed';
    }
    return j;
  }
  const refusedByRules =
    c.byRules !== undefined && c.byRules.action !== 'dnat' && (c.bits & SAW_ANSWER) === 0;
  // A port that the Service does not have is refused by rules of another kind: nftables mode rejects it.
  const closedPort = c.byAddress !== undefined && (c.bits & SAW_REFUSAL) !== 0;
  const refused = (refusedByRules && (c.bits & SAW_REFUSAL) !== 0) || closedPort;
  if ((c.bits & SETTLED) === 0 && !refused) return j;
  j.verdict = 'unattributed';
  if (closedPort) {
    j.reason = 'filtered';
  } else if (refusedByRules) {
    j.reason = c.byRules?.action === 'drop' ? 'filtered' : 'no-endpoints';
  } else if ((c.bits & ICMP_REFUSAL) !== 0 && hasNoEndpoints(state, c)) {
    j.reason = 'no-endpoints';
  } else if (state.lost(c.time - c.lateness, c.time + state.boundNs)) {
    j.reason = 'lost';
  } else {
    j.reason = 'no-evidence';
  }
  return j;
}

/**
 * Whether the cluster knew no endpoint of the Service then: the rules that refuse are made of this, and may be
 * younger than those that were read.
 */
function hasNoEndpoints(state: State, c: Connection): boolean {
  const service = c.byCluster?.service;
  if (service === undefined || c.time === NEVER || !state.cluster.hasSlices(service)) return false;
  const slices = state.cluster.slicesAt(service, state.clock.absolute(c.time));
  return slices.every(({ endpoints }) => endpoints.every((e) => !e.ready && !e.serving));
}

/** Whether the only time there is leaves open which connection this is, or whose its endpoint's address was. */
function isTooCoarse(state: State, c: Connection): boolean {
  if ((c.bits & TIME_AMBIGUOUS) !== 0) return true;
  if (c.resolution < COARSE_NS || c.time === NEVER) return false;
  const w = state.table.words;
  const ip = formatAddress(w, state.table.at(c) + BY_CONNTRACK + T_DST, c.family);
  const earliest = state.cluster.podAt(ip, state.clock.absolute(c.time));
  const latest = state.cluster.podAt(ip, state.clock.absolute(c.time + c.resolution));
  // One who left and nobody who came: the endpoint was there when the connection was made.
  return earliest !== undefined && latest !== undefined && earliest.uid !== latest.uid;
}

/** What came of a connection, whoever it went to. */
export function outcomeOf(state: State, c: Connection): Outcome {
  const b = c.bits;
  if ((b & SAW_ANSWER) !== 0) {
    const finished = (b & SAW_FIN_ORIGINAL) !== 0 && (b & SAW_FIN_REPLY) !== 0;
    return (b & SAW_RESET) !== 0 && !finished ? 'reset' : 'established';
  }
  const sent = (b & (CT_CLAIM | PK_CLAIM)) !== 0;
  if ((b & SAW_REFUSAL) !== 0) {
    if (sent) return 'refused';
    const byRules = c.byRules !== undefined && c.byRules.action !== 'dnat';
    return byRules || (b & ICMP_REFUSAL) !== 0 ? 'rejected' : 'refused';
  }
  if ((b & SAW_UNREACHABLE) !== 0) return 'unanswered';
  if ((b & (CT_ENDED | CT_UNREPLIED)) === (CT_ENDED | CT_UNREPLIED)) return 'unanswered';
  // Only where packets are seen does silence say something.
  if ((b & SETTLED) !== 0 && c.lastSent !== NEVER && waitedForAnswer(state, c)) return 'unanswered';
  return 'open';
}

/** A SYN is sent again after 1 s, so silence for the bound is news; a datagram may take longer, until its flow ends. */
function waitedForAnswer(state: State, c: Connection): boolean {
  if (c.endTime !== NEVER) return true;
  return (c.protocol === TCP || state.finished) && state.now - c.lastSent >= state.boundNs;
}

function sameEndpoint(state: State, c: Connection): boolean {
  const w = state.table.words;
  const at = state.table.at(c);
  if (w[at + BY_CONNTRACK + T_DPORT] !== w[at + BY_PACKETS + T_DPORT]) return false;
  return sameAddress(w, at + BY_CONNTRACK + T_DST, w, at + BY_PACKETS + T_DST);
}

/** `ip:port` of the endpoint of one of a connection's claims. */
export function endpointText(state: State, c: Connection, claim: number): string {
  const w = state.table.words;
  const at = state.table.at(c) + claim;
  return formatEndpoint(formatAddress(w, at + T_DST, c.family), w[at + T_DPORT] ?? 0);
}

function wasTriedBefore(state: State, c: Connection, claim: number): boolean {
  return c.earlier?.includes(endpointText(state, c, claim)) === true;
}

/** Which of the two is the odd one out: the one whose endpoint the rules do not know. */
function disagreement(state: State, c: Connection): Reason {
  const routes = c.byRules?.routes;
  if (routes === undefined) return 'conntrack-disagrees';
  const has = (claim: number): boolean => {
    const text = endpointText(state, c, claim);
    return routes.some((r) => formatEndpoint(r.ip, r.port) === text);
  };
  return has(BY_CONNTRACK) && !has(BY_PACKETS) ? 'packets-disagree' : 'conntrack-disagrees';
}
