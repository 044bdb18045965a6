import { formatEndpoint } from '../../model/address.js';
import type { PodRef } from '../../model/attribution.js';
import { protocolName } from '../../model/packet.js';
import type { Nanos } from '../../model/time.js';
import type { Effect, FirstPacket, Hook, WalkEnding, WalkedRule } from '../../model/walk.js';
import { timeOfDay } from '../columns.js';
import { humanDuration } from '../units.js';

/** What the pictures and the text say alike. Nothing here is escaped: whoever prints it does that. */

export const HOOK_TITLES: Readonly<Record<Hook, string>> = {
  prerouting: 'PREROUTING: as it comes in',
  input: 'INPUT: to the node itself',
  forward: 'FORWARD: through the node',
  output: 'OUTPUT: as it leaves a process of the node',
  postrouting: 'POSTROUTING: as it leaves the node',
};

const BACKENDS: Readonly<Record<WalkedRule['backend'], string>> = {
  legacy: 'iptables-legacy',
  nft: 'iptables-nft',
  unknown: 'iptables',
  nftables: 'nftables',
};

export function backendName(backend: WalkedRule['backend']): string {
  return BACKENDS[backend];
}

export function hex(mark: number): string {
  return `0x${(mark >>> 0).toString(16)}`;
}

/** What a matched rule did, for those effects that its text does not say plainly; '' for the others. */
export function effectWords(effect: Effect): string {
  switch (effect.does) {
    case 'jump':
      return `on to ${effect.chain}`;
    case 'goto':
      return `on to ${effect.chain}, not to come back`;
    case 'dnat':
      return `translated to ${target(effect)}`;
    case 'snat':
      return `its source becomes ${effect.ip ?? 'another'}`;
    case 'masquerade':
      return effect.randomFully
        ? "masqueraded: its source becomes the node's address, the port drawn at random"
        : "masqueraded: its source becomes the node's address";
    case 'mark':
      return `marked ${hex(effect.mark)}`;
    case 'remember':
      return `the client is remembered in ${effect.list}`;
    case 'accept':
      return 'accepted: this chain is done';
    case 'drop':
      return 'dropped';
    case 'reject':
      return 'rejected';
    case 'return':
      return 'back to the chain before';
    case 'nothing':
      return '';
    case 'unknown':
      return `not known what it does: ${effect.what}`;
  }
}

function target({ ip, port }: { readonly ip?: string; readonly port?: number }): string {
  if (ip === undefined) return port === undefined ? 'another' : `port ${port}`;
  return port === undefined ? ip : formatEndpoint(ip, port);
}

export function endingTarget(ending: Pick<WalkEnding, 'ip' | 'port'>): string {
  return target(ending);
}

/** `shop/web-1`; '' where nobody is known to have the address. */
export function podName(pod: PodRef | undefined): string {
  return pod === undefined ? '' : `${pod.namespace}/${pod.name}`;
}

/** How a walk ends, without where. */
export function endingWords(ending: WalkEnding): string {
  const after = ending.ip === undefined ? '' : `, after its translation to ${target(ending)}`;
  switch (ending.kind) {
    case 'endpoint':
      return `to ${target(ending)}`;
    case 'untranslated':
      return 'not translated: goes on to the address that it was sent to';
    case 'dropped':
      return `dropped${after}`;
    case 'rejected':
      return `rejected${after}`;
    case 'undecided':
      return `not known: a rule decides that cannot be followed${after}`;
  }
}

/** Whether the Pod sees the client's own address, and why. */
export function masqueradeWords(ending: WalkEnding): string {
  const mark = ending.mark === 0 ? '' : ` (mark ${hex(ending.mark)})`;
  const rule = ending.steps.find(
    ({ met, effects }) => met === 'matched' && effects.some(({ does }) => does === 'masquerade'),
  );
  switch (ending.masquerade) {
    case 'yes':
      return `masqueraded${mark}${rule === undefined ? '' : ` by ${whichRule(rule)}`}: the Pod sees an address of the node in the client's place`;
    case 'no':
      return "not masqueraded, no rule on the way does so: the Pod sees the client's own address";
    case 'unknown':
      return `whether it is masqueraded is not known${mark}`;
  }
}

/** `nat KUBE-SERVICES rule 42, line 417`, `the policy of filter FORWARD`. */
export function whichRule(rule: WalkedRule): string {
  if (rule.position === 0) return `the policy of ${rule.table} ${rule.chain}`;
  const line = rule.line === undefined ? '' : `, line ${rule.line}`;
  const handle = rule.handle === undefined ? '' : `, handle ${rule.handle}`;
  return `${rule.table} ${rule.chain} rule ${rule.position}${line}${handle}`;
}

export function packetWords(packet: FirstPacket): string {
  const source =
    packet.sourcePort === undefined
      ? packet.source
      : formatEndpoint(packet.source, packet.sourcePort);
  const destination = formatEndpoint(packet.destination, packet.port);
  const protocol = protocolName(packet.protocol);
  return `${protocol} ${source} -> ${destination}, ${fromWords(packet)}`;
}

function fromWords({ from }: FirstPacket): string {
  if (from.kind === 'node') return 'from a process of the node';
  return from.name === undefined ? 'from outside the node' : `in by ${from.name}`;
}

/** Time since the first packet, to the microsecond where that matters: `+310µs`, `-1.204ms`, `+75.120000s`. */
export function sinceWords(ns: number | undefined): string {
  if (ns === undefined) return '—';
  const sign = ns < 0 ? '-' : '+';
  const size = Math.abs(ns);
  if (size < 1e3) return `${sign}${Math.round(size)}ns`;
  if (size < 1e6) return `${sign}${Math.round(size / 1e3)}µs`;
  if (size < 1e9) return `${sign}${(size / 1e6).toFixed(3)}ms`;
  return `${sign}${(size / 1e9).toFixed(6)}s`;
}

export function uncertaintyWords(ns: number | undefined): string {
  return ns === undefined ? '' : `±${humanDuration(ns)}`;
}

/** `2026-11-22 19:55:11.436663000 UTC` in short: time of day with milliseconds. */
export function clock(time: Nanos | undefined): string {
  return time === undefined ? '' : timeOfDay(time);
}
