import { formatEndpoint } from '../model/address.js';
import type { Peer } from '../model/attribution.js';
import type { Case, End } from '../model/case.js';
import { NANOS_PER_SECOND } from '../model/time.js';

const NS_PER_MS = 1_000_000;
const NS_PER_US = 1_000;

/** `10.244.1.5:80`. */
export function endText({ ip, port }: End): string {
  return formatEndpoint(ip, port);
}

/** `shop/web-1 (10.244.1.5:80)`, or the address alone where no Pod is known. */
export function peerText(peer: Peer): string {
  const name = podText(peer);
  return name === undefined ? endText(peer) : `${name} (${endText(peer)})`;
}

/** `shop/web-1`; the node's name for one of its own addresses. */
export function podText({ pod, node }: Peer): string | undefined {
  if (pod !== undefined) return `${pod.namespace}/${pod.name}`;
  return node === undefined ? undefined : `node ${node}`;
}

/** `shop/web`, or the address where no name is known. */
export function serviceText({ attribution }: Case): string {
  const { service, destination } = attribution;
  return service?.name === undefined
    ? endText(destination)
    : `${service.namespace ?? ''}/${service.name}`;
}

/** `-n shop` and the name, for kubectl; a placeholder where they are not known. */
export function kubectlService({ attribution }: Case): { namespace: string; name: string } {
  const { service } = attribution;
  return { namespace: service?.namespace ?? 'NAMESPACE', name: service?.name ?? 'SERVICE' };
}

/** `kubectl -n shop get pod web-1 -o wide`. */
export function kubectlPod(verb: string, { pod }: Peer, rest = ''): string {
  const tail = rest === '' ? '' : ` ${rest}`;
  return `kubectl -n ${pod?.namespace ?? 'NAMESPACE'} ${verb} ${pod?.name ?? 'POD'}${tail}`;
}

/** `43 µs`, `1.02 s`; never a sign. */
export function durationText(ns: number): string {
  const size = Math.abs(ns);
  if (size >= 60 * NANOS_PER_SECOND) return `${(size / (60 * NANOS_PER_SECOND)).toFixed(1)} min`;
  if (size >= NANOS_PER_SECOND) return `${(size / NANOS_PER_SECOND).toFixed(2)} s`;
  if (size >= NS_PER_MS) return `${(size / NS_PER_MS).toFixed(1)} ms`;
  if (size >= NS_PER_US) return `${Math.round(size / NS_PER_US)} µs`;
  return `${size} ns`;
}

/** `1 SYN`, `3 SYNs`. */
export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

/** `a`, `a and b`, `a, b and c`. */
export function listText(words: readonly string[]): string {
  const last = words.at(-1) ?? '';
  return words.length < 2 ? last : `${words.slice(0, -1).join(', ')} and ${last}`;
}

/** RFC 792, RFC 1812 and RFC 4443; what is not listed is told by its numbers. */
const ICMP4 = new Map([
  ['3/0', 'network unreachable'],
  ['3/1', 'host unreachable'],
  ['3/2', 'protocol unreachable'],
  ['3/3', 'port unreachable'],
  ['3/4', 'fragmentation needed'],
  ['3/9', 'network administratively prohibited'],
  ['3/10', 'host administratively prohibited'],
  ['3/13', 'administratively prohibited'],
  ['11/0', 'TTL exceeded'],
]);
const ICMP6 = new Map([
  ['1/0', 'no route'],
  ['1/1', 'administratively prohibited'],
  ['1/3', 'address unreachable'],
  ['1/4', 'port unreachable'],
  ['1/6', 'rejected route'],
  ['2/0', 'packet too big'],
  ['3/0', 'hop limit exceeded'],
]);

/** `port unreachable`; the sender's family says which ICMP it is. */
export function icmpText({
  type,
  code,
  sender,
}: {
  readonly type: number;
  readonly code: number;
  readonly sender: string;
}): string {
  const known = (sender.includes(':') ? ICMP6 : ICMP4).get(`${type}/${code}`);
  return known ?? `type ${type}, code ${code}`;
}
