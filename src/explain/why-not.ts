import { formatEndpoint } from '../model/address.js';
import type {
  EndpointRecord,
  EndpointSliceRecord,
  NodeRecord,
  PodRecord,
  ServiceRecord,
} from '../model/cluster.js';
import type { Finding, FindingEvidence } from '../model/finding.js';
import type { EndpointRoute, ServiceEntry } from '../model/services.js';
import { fraction, percent, total } from '../model/share.js';
import type { Distribution, WalkEnding } from '../model/walk.js';

/** What there is to know about a Pod and a Service that it should serve. */
export interface WhyNotFacts {
  readonly pod: ObjectName;
  readonly service: ObjectName;
  /** Absent: there is no such object. */
  readonly podRecord?: PodRecord;
  readonly serviceRecord?: ServiceRecord;
  /** All of the Service. */
  readonly slices: readonly EndpointSliceRecord[];
  /** The node whose rules these are, where it is known. */
  readonly node?: NodeRecord;
  /** The Service's addresses in the rules. */
  readonly entries: readonly ServiceEntry[];
  /** What the rules do with a new client's packet to these addresses. */
  readonly reach: readonly Reach[];
}

interface ObjectName {
  readonly namespace: string;
  readonly name: string;
}

interface Reach {
  readonly entry: ServiceEntry;
  readonly possible: Distribution;
}

/** What is asked again and again on the way. */
interface Question {
  readonly facts: WhyNotFacts;
  /** `shop/web-1` and `shop/web`. */
  readonly pod: string;
  readonly service: string;
  /** As kubectl wants them. */
  readonly podArgs: string;
  readonly serviceArgs: string;
}

/** The Pod's place in one of the Service's EndpointSlices. */
interface Listed {
  readonly slice: EndpointSliceRecord;
  readonly endpoint: EndpointRecord;
}

/**
 * Why a Pod gets nothing of a Service, or what it should get: the first reason on the way from the object
 * to the rules, each with what shows it.
 */
export function whyNot(facts: WhyNotFacts): Finding[] {
  const { pod, service } = facts;
  const question: Question = {
    facts,
    pod: `${pod.namespace}/${pod.name}`,
    service: `${service.namespace}/${service.name}`,
    podArgs: `-n ${pod.namespace} get pod ${pod.name}`,
    serviceArgs: `-n ${service.namespace}`,
  };
  const early = byService(question) ?? byPod(question);
  if (early) return [early];
  const listed = listedIn(facts);
  const missing = bySlices(question, listed);
  if (missing) return [missing];
  return [byRules(question, listed)];
}

function finding(
  code: string,
  weight: Finding['weight'],
  title: string,
  evidence: readonly FindingEvidence[],
  meaning: string,
  next: readonly string[],
): Finding {
  return { code: `why-not-${code}`, weight, title, evidence, meaning, next };
}

const cluster = (says: string): FindingEvidence => ({ from: 'cluster', says });
const rules = (says: string): FindingEvidence => ({ from: 'rules', says });

function byService({ facts, pod, service, serviceArgs }: Question): Finding | undefined {
  const { serviceRecord } = facts;
  if (serviceRecord === undefined) {
    return finding(
      'no-service',
      'fault',
      `There is no Service ${service}`,
      [cluster(`no Service of this name is known`)],
      'Nothing is sent to Pods in the name of a Service that does not exist.',
      [`kubectl ${serviceArgs} get services`],
    );
  }
  if (serviceRecord.clusterIPs.length > 0) return undefined;
  return finding(
    'no-cluster-address',
    'fact',
    `${service} has no address of its own, so no rule sends anything to ${pod}`,
    [cluster(`the Service is of type ${serviceRecord.type} and has no cluster IP`)],
    'kube-proxy makes no rules for headless and ExternalName Services: clients find their Pods by DNS, and choose themselves.',
    [`kubectl ${serviceArgs} get service ${facts.service.name} -o yaml`],
  );
}

function byPod({ facts, pod, service, podArgs }: Question): Finding | undefined {
  const { podRecord } = facts;
  if (podRecord === undefined) {
    return finding(
      'no-pod',
      'fault',
      `There is no Pod ${pod}`,
      [cluster('no Pod of this name is known')],
      `${service} can send nothing to a Pod that does not exist.`,
      [`kubectl -n ${facts.pod.namespace} get pods`],
    );
  }
  const { phase } = podRecord;
  if (phase === 'Succeeded' || phase === 'Failed') {
    return finding(
      'pod-ended',
      'fault',
      `${pod} has ended`,
      [cluster(`its phase is ${phase}`)],
      'A Pod whose containers have ended serves nothing, and its address may belong to another one by now.',
      [`kubectl ${podArgs} -o wide`],
    );
  }
  if (podRecord.ips.length > 0) return undefined;
  return finding(
    'no-address',
    'fault',
    `${pod} has no address`,
    [cluster(`its phase is ${phase ?? 'not known'}, and status.podIPs is empty`)],
    'It has not been started yet: no node has room for it, an image cannot be had, or the network plug-in fails.',
    [`kubectl -n ${facts.pod.namespace} describe pod ${facts.pod.name}`],
  );
}

function listedIn({ slices, pod, podRecord }: WhyNotFacts): Listed[] {
  const found: Listed[] = [];
  for (const slice of slices) {
    for (const endpoint of slice.endpoints) {
      const target = endpoint.pod;
      const same = target
        ? isPod(target, pod)
        : endpoint.addresses.some((ip) => podRecord?.ips.includes(ip) === true);
      if (same) found.push({ slice, endpoint });
    }
  }
  return found;
}

function bySlices(question: Question, listed: readonly Listed[]): Finding | undefined {
  const { facts, pod, service, serviceArgs } = question;
  const see = `kubectl ${serviceArgs} get endpointslices -l kubernetes.io/service-name=${facts.service.name} -o yaml`;
  if (listed.length === 0) {
    const many = facts.slices.reduce((sum, { endpoints }) => sum + endpoints.length, 0);
    return finding(
      'not-selected',
      'fault',
      `${pod} is no endpoint of ${service}`,
      [
        cluster(
          facts.slices.length === 0
            ? 'the Service has no EndpointSlice'
            : `none of the ${many} endpoints in its EndpointSlices (${facts.slices.map(({ name }) => name).join(', ')}) is this Pod`,
        ),
        ...staleRules(question),
      ],
      facts.pod.namespace === facts.service.namespace
        ? "The Pod's labels do not match the Service's selector, or the controller that writes EndpointSlices is behind."
        : 'A Service selects Pods of its own namespace only.',
      [
        `kubectl ${question.podArgs} --show-labels`,
        `kubectl ${serviceArgs} get service ${facts.service.name} -o jsonpath='{.spec.selector}'`,
        see,
      ],
    );
  }
  if (listed.some(({ endpoint }) => endpoint.ready)) return undefined;
  const [first] = listed;
  const where = listed.map(({ slice }) => slice.name).join(', ');
  if (listed.every(({ endpoint }) => endpoint.terminating)) {
    const isServing = first?.endpoint.serving === true;
    const serving = isServing ? ', and still serving' : '';
    return finding(
      'terminating',
      'fault',
      `${pod} is about to end`,
      [
        cluster(`EndpointSlice ${where} says: terminating${serving}`),
        ...staleRules(question, isServing ? 'nothing better is ready' : undefined),
      ],
      'New connections go to Pods that stay. A terminating one gets some only while there is no ready one (KEP-1669).',
      [`kubectl ${question.podArgs} -o jsonpath='{.metadata.deletionTimestamp}'`],
    );
  }
  return finding(
    'not-ready',
    'fault',
    `${pod} is not ready`,
    [cluster(`EndpointSlice ${where} says: not ready`), ...staleRules(question)],
    'kube-proxy makes rules for ready endpoints only. A readiness probe fails, or a container is not running.',
    [`kubectl -n ${facts.pod.namespace} describe pod ${facts.pod.name}`, see],
  );
}

interface Way {
  readonly entry: ServiceEntry;
  readonly route: EndpointRoute;
}

function waysTo({ facts }: Question): Way[] {
  const addresses = addressesOf(facts);
  return facts.entries.flatMap((entry) =>
    entry.routes.filter(({ ip }) => addresses.has(ip)).map((route) => ({ entry, route })),
  );
}

function addressesOf(facts: WhyNotFacts): ReadonlySet<string> {
  const listed = listedIn(facts).flatMap(({ endpoint }) => endpoint.addresses);
  return new Set([...(facts.podRecord?.ips ?? []), ...listed]);
}

/** That rules still send to what is no ready endpoint any more; `instead`: another reason than that they are old. */
function staleRules(question: Question, instead?: string): FindingEvidence[] {
  const [way] = waysTo(question);
  if (way === undefined) return [];
  const path = way.route.rule.path.join(' > ');
  const endpoints = question.facts.slices.flatMap((slice) => slice.endpoints);
  const others = endpoints.find(
    ({ pod, addresses }) =>
      pod && !isPod(pod, question.facts.pod) && addresses.includes(way.route.ip),
  )?.pod;
  if (others !== undefined) {
    const name = `${others.namespace}/${others.name}`;
    return [rules(`they lead to ${way.route.ip} (${path}), which ${name} has too: it is meant`)];
  }
  const behind = 'kube-proxy has not caught up';
  const why = instead === undefined ? behind : `${behind}, or ${instead}`;
  return [rules(`yet they still lead to it (${path}): ${why}`)];
}

function isPod(a: ObjectName, b: ObjectName): boolean {
  return a.namespace === b.namespace && a.name === b.name;
}

function byRules(question: Question, listed: readonly Listed[]): Finding {
  const { facts, pod, service, serviceArgs } = question;
  const ready = listed.find(({ endpoint }) => endpoint.ready) ?? listed[0];
  const known = cluster(`EndpointSlice ${ready?.slice.name ?? ''} says: ready`);
  const node = facts.node?.name ?? 'this node';
  if (facts.entries.length === 0) {
    return finding(
      'service-not-in-rules',
      'fault',
      `The rules of ${node} do not know ${service}`,
      [known, rules('none of its addresses stands in them')],
      'kube-proxy on this node is not running, is behind, or leaves this Service to another program (service.kubernetes.io/service-proxy-name).',
      [
        'whichpod doctor',
        `kubectl ${serviceArgs} get service ${facts.service.name} --show-labels`,
        'kubectl -n kube-system logs -l k8s-app=kube-proxy --tail=50',
      ],
    );
  }
  const ways = waysTo(question);
  if (ways.length > 0) return byShare(question, known, ways);
  return (
    byPolicy(question, known, ready?.endpoint) ??
    finding(
      'not-in-rules',
      'fault',
      `${pod} is a ready endpoint, but the rules of ${node} do not have it`,
      [known, rules(`${targets(facts.entries)}, and none of them is this Pod`)],
      'The rules are older than the EndpointSlice: kube-proxy is behind, or cannot write them.',
      [
        'kubectl -n kube-system logs -l k8s-app=kube-proxy --tail=50',
        'whichpod doctor',
        'whichpod rules, which shows the drift between rules and API',
      ],
    )
  );
}

function byPolicy(
  { facts, pod, service, serviceArgs }: Question,
  known: FindingEvidence,
  endpoint: EndpointRecord | undefined,
): Finding | undefined {
  const { serviceRecord, node } = facts;
  const here = node?.name;
  const there = endpoint?.node ?? facts.podRecord?.node;
  const see = `kubectl ${serviceArgs} get service ${facts.service.name} -o yaml`;
  const local = serviceRecord?.internalTrafficPolicy === 'Local';
  if (local && here !== undefined && there !== undefined && here !== there) {
    return finding(
      'policy-local',
      'fact',
      `${service} keeps traffic on the client's node, and ${pod} is on another one`,
      [
        known,
        cluster(`internalTrafficPolicy is Local; the Pod is on ${there}`),
        rules(`on ${here} ${targets(facts.entries)}`),
      ],
      `Clients on ${here} reach only endpoints on ${here}.`,
      [see],
    );
  }
  const { hintZones, hintNodes } = endpoint ?? {};
  const zone = node?.zone;
  const otherZone = zone !== undefined && hintZones !== undefined && !hintZones.includes(zone);
  const otherNode = here !== undefined && hintNodes !== undefined && !hintNodes.includes(here);
  if (!otherZone && !otherNode) return undefined;
  const hint = otherZone
    ? `it is for clients in zone ${hintZones?.join(', ')}; this node is in ${zone}`
    : `it is for clients on node ${hintNodes?.join(', ')}; this node is ${here}`;
  return finding(
    'hints',
    'fact',
    `Topology hints keep clients of this node away from ${pod}`,
    [known, cluster(`its hints say: ${hint}`), rules(targets(facts.entries))],
    'Topology aware routing (trafficDistribution) gives each zone endpoints of its own; this Pod serves another one.',
    [see],
  );
}

function targets(entries: readonly ServiceEntry[]): string {
  const all = [
    ...new Set(
      entries.flatMap(({ routes }) => routes.map(({ ip, port }) => formatEndpoint(ip, port))),
    ),
  ];
  if (all.length === 0) return 'they have no endpoint at all for this Service';
  const shown = all.slice(0, 8).join(', ');
  return `they lead to ${shown}${all.length > 8 ? ` and ${all.length - 8} more` : ''}`;
}

function byShare(question: Question, known: FindingEvidence, ways: readonly Way[]): Finding {
  const { facts, pod, service } = question;
  const addresses = addressesOf(facts);
  const own = ({ ip }: WalkEnding): boolean => ip !== undefined && addresses.has(ip);
  const shares = facts.reach.map(({ entry, possible }) => {
    const mine = possible.endings.filter(own);
    // Where something had to be assumed, the shares of each assumption add up to 1: the first one tells.
    const [first] = mine;
    const alike = mine.filter(
      (it) =>
        it.kind === 'endpoint' && it.assuming.join() === first?.assuming.join() && !it.affinity,
    );
    const family = possible.packet.destination.includes(':') ? 6 : 4;
    return {
      at:
        entry.address === 'local'
          ? `port ${entry.port} of the node's IPv${family} addresses (${entry.via})`
          : `${formatEndpoint(entry.address, entry.port)} (${entry.via})`,
      share: total(alike),
      refused: mine.find(({ kind }) => kind === 'dropped' || kind === 'rejected'),
    };
  });
  const chains = [...new Set(ways.map(({ route }) => route.rule.path.join(' > ')))];
  const lead = rules(`they lead to it: ${chains.join('; ')}`);
  const refused = shares.find((it) => it.refused !== undefined)?.refused;
  const some = shares.filter(({ share }) => share.parts > 0n);
  if (some.length === 0 && refused?.decidedBy) {
    const { table, chain, text, line } = refused.decidedBy;
    return finding(
      'refused-behind',
      'fault',
      `What is sent to ${pod} is ${refused.kind} behind the translation`,
      [
        known,
        lead,
        rules(`${table} ${chain}${line === undefined ? '' : `, line ${line}`}: ${text}`),
      ],
      "A rule that is not kube-proxy's (a network policy, a firewall) lets nothing through to this Pod.",
      ['kubectl get networkpolicies -A', `whichpod explain --what-if, from a client's address`],
    );
  }
  if (some.length === 0) {
    return finding(
      'shadowed',
      'fault',
      `The rules lead to ${pod}, but no new client comes so far`,
      [
        known,
        lead,
        rules('rules before it take everything, or session affinity alone leads to it'),
      ],
      'Its rule stands behind one that always matches, or the rules were changed by hand.',
      ['whichpod rules, which shows the probability of each endpoint'],
    );
  }
  const told = shares.map(({ at, share }) =>
    rules(`of new connections to ${at}: ${percent(share)} (${fraction(share)})`),
  );
  if (some.length < shares.length) {
    return finding(
      'gets-some',
      'fact',
      `${pod} gets its share of ${service} at some of its addresses only`,
      [known, lead, ...told],
      'Each address has rules of its own: for its family, by its traffic policy or source ranges. Where one should lead to the Pod, kube-proxy is behind.',
      [
        'whichpod rules, which shows the drift between rules and API',
        `kubectl ${question.serviceArgs} get service ${facts.service.name} -o yaml`,
      ],
    );
  }
  const affinity = facts.serviceRecord?.affinitySeconds;
  return finding(
    'gets-its-share',
    'fact',
    `Nothing keeps ${pod} from its share of ${service}`,
    [
      known,
      lead,
      ...told,
      ...(affinity === undefined
        ? []
        : [cluster(`session affinity: a client stays where it is for ${affinity} s`)]),
    ],
    affinity === undefined
      ? 'The choice is made once a connection: few clients that keep their connections open may never have chosen it.'
      : 'A client that has chosen another Pod stays with it; only new clients come to this one.',
    [
      `whichpod live --service ${service}`,
      'whichpod rules, whose audit holds what each endpoint got against its probability',
    ],
  );
}
