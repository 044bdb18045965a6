import { formatAddress } from '../model/address.js';
import {
  BY_CONNTRACK,
  BY_PACKETS,
  type Connection,
  CT_CLAIM,
  NEVER,
  ORIGINAL,
  PK_CLAIM,
  STALE_TOLD,
  T_DPORT,
  T_DST,
} from './connection.js';
import { clientText, identify } from './describe.js';
import type { State } from './state.js';
import { endpointText } from './verdict.js';
import { CLOCK_SLACK_NS } from './windows.js';

/** How often a flow's endpoint is looked up again. */
const LOOK_EVERY_NS = 100_000_000;

/**
 * A UDP flow follows its conntrack entry, whatever became of the Pod: kube-proxy must delete the entry.
 * Until it does, datagrams go where nobody is. Called for each datagram of a client's.
 */
export function watchForStale(state: State, c: Connection, time: number): void {
  if ((c.bits & (CT_CLAIM | PK_CLAIM)) === 0 || (c.bits & STALE_TOLD) !== 0) return;
  // An endpoint that answers is there; a second sight of one datagram is no second question.
  if (c.lastSent === NEVER || c.lastAnswer >= c.lastSent || time < c.staleLookAt) return;
  if (time - c.lastSent < CLOCK_SLACK_NS || time - c.lastAnswer < LOOK_EVERY_NS) return;
  c.staleLookAt = time + LOOK_EVERY_NS;
  const why = staleness(state, c, time);
  if (why === undefined) return;
  c.bits |= STALE_TOLD;
  const claim = (c.bits & CT_CLAIM) !== 0 ? BY_CONNTRACK : BY_PACKETS;
  state.notice({
    code: 'stale-conntrack-entry',
    time: state.clock.absolute(time),
    connection: identify(state, c),
    detail: `datagrams of ${clientText(state, c)} still go to ${endpointText(state, c, claim)}, ${why}: their conntrack entry outlives the endpoint`,
  });
}

function staleness(state: State, c: Connection, time: number): string | undefined {
  const w = state.table.words;
  const at = state.table.at(c);
  const claim = at + ((c.bits & CT_CLAIM) !== 0 ? BY_CONNTRACK : BY_PACKETS);
  const ip = formatAddress(w, claim + T_DST, c.family);
  // Of an entry without a time nobody knows whose the address was when it began.
  const then = c.time === NEVER ? undefined : state.cluster.podAt(ip, state.clock.absolute(c.time));
  const now = state.cluster.podAt(ip, state.clock.absolute(time));
  if (then !== undefined && now === undefined) {
    return `which was ${then.namespace}/${then.name}'s until it was deleted`;
  }
  if (then !== undefined && now !== undefined && now.uid !== then.uid) {
    return `which was ${then.namespace}/${then.name}'s and is ${now.namespace}/${now.name}'s now`;
  }
  const port = w[claim + T_DPORT] ?? 0;
  const has = (routes: readonly { ip: string; port: number }[] | undefined): boolean =>
    routes?.some((route) => route.ip === ip && route.port === port) === true;
  const { byRules } = state.vantageOf(c);
  const entry = byRules.find(w, at + ORIGINAL + T_DST, w[at + ORIGINAL + T_DPORT] ?? 0, c.protocol);
  if (entry !== undefined && has(c.byRules?.routes) && !has(entry.routes)) {
    return 'to which the rules do not lead any more';
  }
  return undefined;
}
