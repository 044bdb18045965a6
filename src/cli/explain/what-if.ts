import { exploreWalk } from '../../explain/walk/explore.js';
import { whyNot as reasons, type WhyNotFacts } from '../../explain/why-not.js';
import type { PodRef } from '../../model/attribution.js';
import type { Explanation } from '../../model/explanation.js';
import { protocolName } from '../../model/packet.js';
import { UsageError } from '../../model/problem.js';
import type { ServiceEntry } from '../../model/services.js';
import type { Distribution, FirstPacket } from '../../model/walk.js';
import { EXIT } from '../exit.js';
import type { Io } from '../io.js';
import type { LoadedNode } from '../live/node-now.js';
import { loadNode } from './inputs.js';
import { showExplanation } from './output.js';
import type { ExplainRequest, WhatIfQuestion, WhyNotQuestion as WhyNotRequest } from './request.js';
import { anyPodOf, askedPacket, familyOf, isLoopback } from './what-if-packet.js';

/** `whichpod explain --what-if`: where a packet would go, by the rules as they are. */
export async function whatIf(
  question: WhatIfQuestion,
  request: ExplainRequest,
  io: Io,
): Promise<number> {
  const node = await loadNode(request, io);
  await showExplanation(whatIfExplanation(question, node), request.output, io);
  return EXIT.done;
}

/** `whichpod explain --why-not`: why a Pod gets nothing of a Service, or how much it should get. */
export async function whyNot(
  question: WhyNotRequest,
  request: ExplainRequest,
  io: Io,
): Promise<number> {
  const node = await loadNode(request, io);
  if (!node.looked.cluster) {
    throw new UsageError(
      '--why-not: no Kubernetes objects were given, and without them there are no Pods; add what kubectl get -o json printed',
    );
  }
  await showExplanation(whyNotExplanation(question, node), request.output, io);
  return EXIT.done;
}

function whatIfExplanation(question: WhatIfQuestion, node: LoadedNode): Explanation {
  const { packet, remarks } = askedPacket(question, node);
  const possible = exploreWalk(node.rules, packet, node.facts);
  return {
    walk: { possible, knownBy: [], pods: podsOf([possible], node) },
    findings: [],
    remarks: [...remarks, ...unknowns(node, packet)],
  };
}

/** What the answer lacks because nobody said it. */
function unknowns({ rules, facts, looked }: LoadedNode, packet: FirstPacket): string[] {
  const family = familyOf(packet.destination);
  const said: string[] = [];
  if (!rules.some((it) => it.family === family)) said.push(`no IPv${family} rules are known`);
  if (facts.addresses === undefined) said.push("the node's own addresses are not known");
  if (!looked.cluster) said.push('no Kubernetes objects were given, so addresses have no names');
  return said;
}

/** Who has the addresses that the walks lead to. */
function podsOf(
  distributions: readonly Distribution[],
  { cluster, entries }: LoadedNode,
): ReadonlyMap<string, PodRef> {
  const pods = new Map<string, PodRef>();
  for (const { packet, endings } of distributions) {
    const entry = entryAt(entries, packet);
    for (const { ip, port } of endings) {
      if (ip === undefined || port === undefined || pods.has(ip)) continue;
      const record = cluster.podAt(ip, undefined);
      if (record) {
        const { namespace, name, uid, node } = record;
        pods.set(ip, { namespace, name, uid, ...(node !== undefined && { node }) });
        continue;
      }
      // A Pod in the node's own network has no address of its own: only its EndpointSlice names it.
      const { service } = entry ?? {};
      if (service === undefined) continue;
      const protocol = protocolName(packet.protocol);
      const { portName } = service;
      const listed = cluster.endpointOf(service, portName, protocol, ip, port, undefined);
      if (listed?.pod === undefined) continue;
      pods.set(ip, { ...listed.pod, ...(listed.node !== undefined && { node: listed.node }) });
    }
  }
  return pods;
}

function entryAt(entries: readonly ServiceEntry[], packet: FirstPacket): ServiceEntry | undefined {
  const same = entries.filter((it) => it.port === packet.port && it.protocol === packet.protocol);
  return (
    same.find(({ address }) => address === packet.destination) ??
    same.find(({ address }) => address === 'local')
  );
}

/** Documentation's own addresses (RFC 5737, RFC 3849): a client from nowhere in particular. */
const OUTSIDE = { 4: '192.0.2.1', 6: '2001:db8::1' } as const;
/** The node, where none of its addresses is known: the walk assumes that this is one. */
const SOME_NODE = { 4: '192.0.2.2', 6: '2001:db8::2' } as const;

function whyNotExplanation(question: WhyNotRequest, node: LoadedNode): Explanation {
  const pod = objectName('--why-not', question.pod, 'shop/web-1');
  const service = objectName('--to', question.to, 'shop/web');
  const facts = whyNotFacts(pod, service, node);
  const [first] = facts.reach;
  const walks = facts.reach.map(({ possible }) => possible);
  return {
    ...(first && {
      walk: { possible: first.possible, knownBy: [], pods: podsOf(walks, node) },
    }),
    findings: reasons(facts),
    remarks: first
      ? [
          `asked of the rules with a client at ${first.possible.packet.source}, which stands for any that has not been here before`,
        ]
      : [],
  };
}

type Name = WhyNotFacts['pod'];

function whyNotFacts(pod: Name, service: Name, node: LoadedNode): WhyNotFacts {
  const { cluster } = node;
  const podRecord = cluster.podNamed(pod.namespace, pod.name);
  const serviceRecord = cluster.serviceAt(service, undefined);
  const nodes = cluster.nodesAt(undefined);
  const self = nodes.find(
    ({ name, addresses }) =>
      name === node.name ||
      (node.name === undefined && addresses.some((ip) => node.facts.addresses?.has(ip) === true)),
  );
  const entries = node.entries.filter(
    (it) => it.service?.namespace === service.namespace && it.service.name === service.name,
  );
  const range = (self?.podCIDRs ?? []).map(anyPodOf);
  const reach = entries.flatMap((entry) => {
    const destination = entry.address === 'local' ? ownAddress(entry, node) : entry.address;
    if (destination === undefined) return [];
    const family = familyOf(destination) ?? 4;
    const inside = range.find((ip) => ip !== undefined && familyOf(ip) === family);
    const source = entry.via === 'clusterIP' ? (inside ?? OUTSIDE[family]) : OUTSIDE[family];
    const packet: FirstPacket = {
      protocol: entry.protocol,
      source,
      destination,
      port: entry.port,
      from: { kind: 'interface' },
    };
    return [{ entry, possible: exploreWalk(node.rules, packet, node.facts) }];
  });
  return {
    pod,
    service,
    slices: cluster.slicesAt(service, undefined),
    entries,
    reach,
    ...(podRecord && { podRecord }),
    ...(serviceRecord && { serviceRecord }),
    ...(self && { node: self }),
  };
}

/** Of an entry that is reached at every address of the node: rules of either family have their own. `undefined`: the node has none. */
function ownAddress({ routes }: ServiceEntry, { facts }: LoadedNode): string | undefined {
  const family = familyOf(routes[0]?.ip) ?? 4;
  if (facts.addresses === undefined) return SOME_NODE[family];
  return [...facts.addresses].find((ip) => familyOf(ip) === family && !isLoopback(ip));
}

function objectName(option: string, text: string, example: string): Name {
  const m = /^([^/]+)\/([^/]+)$/.exec(text);
  if (!m) {
    throw new UsageError(
      `${option}: '${text}' is no NAMESPACE/NAME; write for instance ${example}`,
    );
  }
  return { namespace: m[1] ?? '', name: m[2] ?? '' };
}
