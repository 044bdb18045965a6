import { canonicalAddress, formatAddress, parseAddress } from '../../model/address.js';
import { protocolName, protocolNumber } from '../../model/packet.js';
import { UsageError } from '../../model/problem.js';
import type { FirstPacket } from '../../model/walk.js';
import type { LoadedNode } from '../live/node-now.js';
import type { WhatIfQuestion } from './request.js';

/** A hypothetical packet, and what was taken for granted to make one of what was typed. */
export interface Asked {
  readonly packet: FirstPacket;
  readonly remarks: readonly string[];
}

/** The packet that was asked about. Names of Pods and Services are looked up in the cluster as last known. */
export function askedPacket(question: WhatIfQuestion, node: LoadedNode): Asked {
  const { facts } = node;
  const protocol = protocolNumber(question.protocol);
  if (protocol === 0) {
    throw new UsageError(
      `--what-if: '${question.protocol}' is no protocol; write tcp, udp or sctp`,
    );
  }
  const source = readAddress(question.source);
  const destination = readAddress(question.destination);
  const wanted = familyOf(source?.ip ?? destination?.ip);
  const from = source ?? podSource(question.source, node, wanted);
  const to =
    destination ?? serviceTarget(question.destination, node, protocol, familyOf(from.ip) ?? 4);
  if (to.port === undefined) {
    throw new UsageError(
      `--what-if: '${question.destination}' has no port; write 10.96.81.51:80, [fd00::a]:80 or NAMESPACE/SERVICE:PORT`,
    );
  }
  if (familyOf(from.ip) !== familyOf(to.ip)) {
    throw new UsageError(
      `--what-if: ${from.ip} and ${to.ip} are not of one family; write both as IPv4 or both as IPv6`,
    );
  }
  const remarks: string[] = [];
  const own = facts.addresses?.has(from.ip) === true || isLoopback(from.ip);
  const fromNode = question.fromNode || (question.interface === undefined && own);
  if (fromNode && !question.fromNode) {
    remarks.push(
      `${from.ip} is the node's own address, so the packet is taken to come from a process of the node; --in INTERFACE says otherwise`,
    );
  }
  const routed =
    fromNode || question.interface !== undefined ? undefined : facts.interfaceTo?.(from.ip);
  if (routed !== undefined) {
    remarks.push(
      `it is taken to come in by ${routed}, where answers to ${from.ip} leave; --in INTERFACE says otherwise`,
    );
  }
  const name = question.interface ?? routed;
  return {
    packet: {
      protocol,
      source: from.ip,
      ...(from.port !== undefined && { sourcePort: from.port }),
      destination: to.ip,
      port: to.port,
      from: fromNode
        ? { kind: 'node' }
        : { kind: 'interface', ...(name !== undefined && { name }) },
    },
    remarks,
  };
}

interface Place {
  readonly ip: string;
  readonly port?: number;
}

/** `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]`, `[fd00::1]:80`; `undefined` if it is no address. */
function readAddress(text: string): Place | undefined {
  const bare = canonicalAddress(text);
  if (bare !== undefined) return { ip: bare };
  const m = /^(?:\[([^\]]+)\]|([\d.]+))(?::(\d{1,5}))?$/.exec(text);
  const ip = canonicalAddress(m?.[1] ?? m?.[2] ?? '');
  if (ip === undefined) return undefined;
  if (m?.[3] === undefined) return { ip };
  const port = Number(m[3]);
  if (port > 65_535) throw new UsageError(`--what-if: ${m[3]} is no port; write 1 to 65535`);
  return { ip, port };
}

const NAMED = /^([^/:]+)\/([^/:]+)(?::([^/:]+))?$/;

function podSource(text: string, { cluster }: LoadedNode, family: 4 | 6 | undefined): Place {
  const m = NAMED.exec(text);
  const pod = m && cluster.podNamed(m[1] ?? '', m[2] ?? '');
  const ip = pod?.ips.find((it) => family === undefined || familyOf(it) === family);
  if (!m || ip === undefined) {
    throw new UsageError(
      m
        ? `--what-if: no address of a Pod ${text} is known; write the client's address`
        : `--what-if: '${text}' is no client; write 10.244.1.2, 10.244.1.2:33210, fd00::2, [fd00::2]:33210 or NAMESPACE/POD`,
    );
  }
  return m[3] === undefined ? { ip } : { ip, port: Number(m[3]) };
}

function serviceTarget(
  text: string,
  { cluster }: LoadedNode,
  protocol: number,
  family: 4 | 6,
): Place {
  const m = NAMED.exec(text);
  if (!m) {
    throw new UsageError(
      `--what-if: '${text}' is no destination; write 10.96.81.51:80, [fd00::a]:80 or NAMESPACE/SERVICE:PORT`,
    );
  }
  const [, namespace = '', name = '', port] = m;
  const service = cluster.serviceAt({ namespace, name }, undefined);
  const ip = service?.clusterIPs.find((it) => familyOf(it) === family);
  if (service === undefined || ip === undefined) {
    throw new UsageError(
      `--what-if: no IPv${family} cluster address of a Service ${namespace}/${name} is known; write its address`,
    );
  }
  const ports = service.ports.filter((it) => protocolNumber(it.protocol) === protocol);
  const only = ports.length === 1 ? ports[0]?.port : undefined;
  const meant =
    port === undefined
      ? only
      : (ports.find((it) => it.name === port)?.port ??
        (/^\d{1,5}$/.test(port) ? Number(port) : undefined));
  if (meant === undefined) {
    const known = ports.map((it) => (it.name === undefined ? it.port : `${it.name} (${it.port})`));
    throw new UsageError(
      `--what-if: which port of ${namespace}/${name}? its ${protocolName(protocol)} ports are ${known.join(', ') || 'none'}`,
    );
  }
  return { ip, port: meant };
}

export function familyOf(ip: string | undefined): 4 | 6 | undefined {
  if (ip === undefined) return undefined;
  return ip.includes(':') ? 6 : 4;
}

export function isLoopback(ip: string): boolean {
  return ip.startsWith('127.') || ip === '::1';
}

/**
 * An address that stands for any Pod of a node: near the end of its range, where Pods are unlikely to be, so
 * that no rule about one Pod (hairpin, affinity) speaks of it.
 */
export function anyPodOf(podCIDR: string): string | undefined {
  const words = new Uint32Array(4);
  const family = parseAddress(podCIDR.slice(0, podCIDR.indexOf('/')), words, 0);
  if (family === 0) return undefined;
  words[3] = ((words[3] ?? 0) | 0xfe) >>> 0;
  return formatAddress(words, 0, family);
}
