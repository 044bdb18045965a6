import { formatEndpoint } from '../model/address.js';
import { protocolName } from '../model/packet.js';
import type { EndpointView, RuleOverview, RulesRead, WayView } from '../model/rule-view.js';
import type { ClientCondition, Refusal, ServicePortName, Via } from '../model/services.js';
import { formatNanos, type Nanos } from '../model/time.js';
import type { Share } from '../model/walk.js';
import { escapeText } from './escape.js';

/** How rules are put into words for people, the same in tree, table and reports. All of it is safe for a terminal. */

const VIA: Readonly<Record<Via, string>> = {
  clusterIP: 'ClusterIP',
  nodePort: 'NodePort',
  externalIP: 'external IP',
  loadBalancerIP: 'load balancer',
  hostPort: 'hostPort',
};

const REFUSED: Readonly<Record<Refusal, string>> = {
  'no-endpoints': 'no endpoints',
  'no-local-endpoints': 'no endpoints on this node',
  'source-ranges': 'not in the source ranges',
};

export const viaWord = (via: Via): string => VIA[via];

export function serviceWord(
  service: ServicePortName | undefined,
  protocol: number | undefined,
): string {
  if (service === undefined) return 'a Service that nothing names';
  const { namespace, name, portName } = service;
  const said = escapeText(`${namespace}/${name}${portName === undefined ? '' : `:${portName}`}`);
  return protocol === undefined ? said : `${said} ${protocolName(protocol)}`;
}

export function addressWord({ address, port }: Pick<WayView, 'address' | 'port'>): string {
  return address === 'local' ? `this node:${port}` : escapeText(formatEndpoint(address, port));
}

export function refusedWord({ refused, leads }: WayView): string {
  if (refused === undefined) return '';
  const how = refused.action === 'drop' ? 'dropped' : 'rejected';
  const why = refused.refusal === undefined ? '' : `: ${REFUSED[refused.refusal]}`;
  return leads.length === 0 ? `${how}${why}` : `others ${how}${why}`;
}

/** `from 10.244.0.0/16 or this node`; '' for everyone. */
export function clientsWord(clients: readonly (readonly ClientCondition[])[] | undefined): string {
  if (clients === undefined) return '';
  const words = clients.map((conditions) => conditions.map(conditionWord).join(' and '));
  return `from ${[...new Set(words)].join(' or ')}`;
}

function conditionWord(condition: ClientCondition): string {
  const not = condition.negated ? 'not ' : '';
  switch (condition.is) {
    case 'network':
      return `${not}${escapeText(condition.network)}`;
    case 'local':
      return `${not}this node`;
    case 'interface':
      return `${not}interface ${escapeText(condition.name)}`;
  }
}

export function podWord(
  { pod, ip, port }: Pick<EndpointView, 'pod' | 'ip' | 'port'>,
  namespace: string | undefined,
): string {
  if (pod === undefined) return escapeText(formatEndpoint(ip, port));
  return escapeText(pod.namespace === namespace ? pod.name : `${pod.namespace}/${pod.name}`);
}

/** `33.33 %`; exact: `715827883/2^31`. */
export function shareWord({
  probability,
  exact,
}: Pick<EndpointView, 'probability' | 'exact'>): string {
  if (exact !== undefined) return exactWord(exact);
  return probability === undefined ? '' : percentWord(probability);
}

export function percentWord(part: number): string {
  const percent = 100 * part;
  return percent > 0 && percent < 0.01 ? '<.01 %' : `${percent.toFixed(2)} %`;
}

export function exactWord({ parts, bits }: Share): string {
  return bits === 0 ? String(parts) : `${parts}/2^${bits}`;
}

/** Of which rules: `node1, iptables (nft)`. */
export function placeWord({ node, kind, backend }: RulesRead): string {
  const where = node === undefined ? '' : `${escapeText(node)}, `;
  if (kind === 'nftables') return `${where}nftables`;
  return backend === 'unknown' ? `${where}iptables` : `${where}iptables (${backend})`;
}

/** Whether it must be said of which rules something is: of IPv4 and IPv6 the addresses tell. */
export function hasPlaces({ read, services }: RuleOverview): boolean {
  const used = new Set(services.flatMap(({ ways }) => ways.map((way) => way.read)));
  const places = new Set(read.filter((_, i) => used.has(i)).map(placeWord));
  return places.size > 1;
}

/** One line a rule set that has something in view. */
export function readWords({ read, services }: RuleOverview): string[] {
  const used = new Set(services.flatMap(({ ways }) => ways.map((way) => way.read)));
  return read.flatMap((one, i) => {
    if (!used.has(i)) return [];
    const { family, version, time, hasCounters } = one;
    const parts = [
      `${placeWord(one)}, IPv${family}`,
      ...(version === undefined
        ? []
        : [`${one.kind === 'nftables' ? 'nft' : 'iptables'} ${escapeText(version)}`]),
      ...(time === undefined ? [] : [`read ${timeWord(time)}`]),
      ...(hasCounters
        ? []
        : [one.kind === 'nftables' ? 'nothing is counted there' : 'printed without counters']),
    ];
    return [parts.join(', ')];
  });
}

/** `2026-11-22 19:55:00 UTC`. */
export function timeWord(time: Nanos): string {
  return `${formatNanos(time).slice(0, 19).replace('T', ' ')} UTC`;
}

export function plural(count: number, word: string): string {
  return `${String(count).replace(/\B(?=(?:\d{3})+$)/g, ',')} ${word}${count === 1 ? '' : 's'}`;
}
