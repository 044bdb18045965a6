import { formatEndpoint } from '../../model/address.js';
import type { Case, End, SeenChange, ThenEndpoint } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { sameEnd } from '../places.js';
import { countText, durationText, endText, kubectlService, serviceText } from '../words.js';
import { stateText } from './no-endpoints.js';

/** The rules and the API differ about the Service's endpoints: for the moment, or for good. */
export const drift: Diagnosis = (look) => {
  const { case: it } = look;
  const { cluster, entries, looked } = it;
  if (!looked.rules || !looked.cluster || cluster.service === undefined || entries.length === 0) {
    return [];
  }
  const stale = staleRoutes(it);
  const missing = missingRoutes(it);
  const behind = [...stale, ...missing].filter((end) => changeBefore(it, end) !== undefined);
  const proven = behind.filter((end) => isProven(it, end));
  const lasting = (ends: readonly End[]): readonly End[] =>
    ends.filter((end) => !behind.includes(end) && !isMoving(it, end));
  return [
    ...(proven.length > 0 ? [lagging(look, proven)] : []),
    ...(lasting(missing).length > 0 ? [notInRules(look, lasting(missing))] : []),
    ...(lasting(stale).length > 0 ? [notInApi(look, lasting(stale))] : []),
  ];
};

/** Endpoints that the rules lead to and should not: none of the API's, or not ready while others are. */
function staleRoutes({ cluster, entries, earlierChanges }: Case): readonly End[] {
  const { endpoints } = cluster;
  // No slice at all: they may simply not be known.
  const known = endpoints.length > 0 || earlierChanges?.some(({ kind }) => kind === 'endpoints');
  if (known !== true) return [];
  const anyReady = endpoints.some(({ ready }) => ready);
  return distinct(entries.flatMap(({ routes }) => routes)).filter((route) => {
    const said = endpoints.filter((it) => fits(it, route));
    if (said.length === 0) return true;
    return anyReady ? !said.some(({ ready }) => ready) : !said.some(({ serving }) => serving);
  });
}

/**
 * Endpoints that the rules ought to lead to (pkg/proxy/topology.go): the ready ones, or if there are none
 * those that still serve; with a Local policy, this node's. Hints may leave any out, so with them nothing is missing.
 */
function missingRoutes({ attribution, cluster, entries, node }: Case): readonly End[] {
  const { service, endpoints } = cluster;
  if (endpoints.some((it) => it.hintZones !== undefined || it.hintNodes !== undefined)) return [];
  if (entries.some(({ refusal }) => refusal === 'source-ranges')) return [];
  const internal = attribution.service?.via === 'clusterIP';
  const policy = internal ? service?.internalTrafficPolicy : service?.externalTrafficPolicy;
  if (policy === 'Local' && node.name === undefined) return [];
  const eligible = endpoints.filter((it) => policy !== 'Local' || it.node === node.name);
  const ready = eligible.filter((it) => it.ready);
  const wanted = ready.length > 0 ? ready : eligible.filter((it) => it.serving);
  const routes = entries.flatMap((entry) => entry.routes);
  const family = attribution.destination.ip.includes(':');
  return wanted
    .filter((it) => !routes.some((route) => fits(it, route)))
    .flatMap(({ addresses, port }) =>
      addresses
        .filter((ip) => ip.includes(':') === family)
        .map((ip) => ({ ip, port: port ?? attribution.destination.port })),
    );
}

function fits({ addresses, port }: ThenEndpoint, end: End): boolean {
  return addresses.includes(end.ip) && (port === undefined || port === end.port);
}

function distinct(ends: readonly End[]): readonly End[] {
  return [...new Map(ends.map((end) => [formatEndpoint(end.ip, end.port), end])).values()];
}

/** What the API told of the endpoint in the minute before. */
function changeBefore({ earlierChanges }: Case, end: End): SeenChange | undefined {
  return earlierChanges?.findLast(
    ({ kind, endpoint }) =>
      kind === 'endpoints' && endpoint !== undefined && sameEnd(endpoint, end),
  );
}

/** What changed meanwhile is on its way, and of the two sides one may have been read later. */
function isMoving({ changes }: Case, end: End): boolean {
  return changes.some(({ endpoint }) => endpoint !== undefined && sameEnd(endpoint, end));
}

/** Whether the rules were old, and not only our reading of them: they were used so, or read later than the change. */
function isProven(it: Case, end: End): boolean {
  const change = changeBefore(it, end);
  const { backend } = it.attribution;
  if (change === undefined) return false;
  if (backend !== undefined && sameEnd(backend, end)) return true;
  return it.rules.some(({ time }) => time !== undefined && time >= change.time);
}

function lagging(look: Look, ends: readonly End[]): Finding {
  const { case: it } = look;
  const { attribution } = it;
  const { backend, outcome } = attribution;
  const evidence: FindingEvidence[] = [];
  for (const end of ends) {
    const change = changeBefore(it, end);
    if (change !== undefined) evidence.push(shown('cluster', change.what, change.time));
    if (backend !== undefined && sameEnd(backend, end)) {
      const by = agoText(it, change);
      evidence.push(
        shown('conntrack', `the connection was sent to ${endText(end)}${by}`, attribution.time),
      );
    }
    const later = it.changes.find(
      ({ kind, endpoint }) => kind === 'rules' && endpoint !== undefined && sameEnd(endpoint, end),
    );
    if (later !== undefined) evidence.push(shown('rules', later.what, later.time));
  }
  const hit = backend !== undefined && ends.some((end) => sameEnd(end, backend));
  return {
    code: 'kube-proxy-behind',
    weight: hit && outcome !== 'established' && outcome !== 'open' ? 'fault' : 'odd',
    title: `the node's rules had not followed a change of ${serviceText(it)}'s endpoints yet`,
    evidence,
    meaning:
      'kube-proxy writes rules some time after the API has changed, a second at most as a rule (minSyncPeriod). Until then the node sends by the old ones. If it lasts longer kube-proxy is short of CPU, cannot reach the API server, or fails to write.',
    next: [
      'kubectl -n kube-system logs -l k8s-app=kube-proxy --since=10m   # errors of iptables-restore or nft?',
      'kube-proxy’s metrics kubeproxy_network_programming_duration_seconds, kubeproxy_sync_proxy_rules_last_timestamp_seconds',
      'let Pods go on serving for some seconds after SIGTERM',
    ],
  };
}

function agoText({ attribution }: Case, change: SeenChange | undefined): string {
  if (change === undefined || attribution.time === undefined) return '';
  return `, ${durationText(Number(attribution.time - change.time))} after that`;
}

function notInRules(look: Look, ends: readonly End[]): Finding {
  const { namespace, name } = kubectlService(look.case);
  const one = ends.length === 1;
  return {
    code: 'endpoint-missing-in-rules',
    weight: 'odd',
    title: `the rules lack ${countText(ends.length, 'endpoint')} of ${serviceText(look.case)}`,
    evidence: ends.flatMap((end) => [
      shown('cluster', `the API lists ${endText(end)} as usable`, look.case.attribution.time),
      shown('rules', `no rule of ${endText(look.case.attribution.destination)} leads there`),
    ]),
    meaning: `kube-proxy on this node does not send to ${one ? 'an endpoint' : 'endpoints'} that the API lists: ${one ? 'it gets' : 'they get'} nothing from here, and the others get more.`,
    next: drifts(namespace, name),
  };
}

function notInApi(look: Look, ends: readonly End[]): Finding {
  const { attribution, cluster } = look.case;
  const { namespace, name } = kubectlService(look.case);
  const { backend, outcome } = attribution;
  const hit = backend !== undefined && ends.some((end) => sameEnd(end, backend));
  return {
    code: 'stale-endpoint-in-rules',
    weight: hit && outcome !== 'established' && outcome !== 'open' ? 'fault' : 'odd',
    title: `the rules lead to ${countText(ends.length, 'endpoint')} that ${serviceText(look.case)} does not have`,
    evidence: ends.flatMap((end) => {
      const said = cluster.endpoints.find((it) => fits(it, end));
      const api =
        said === undefined ? 'the API does not list it' : `the API says: ${stateText(said)}`;
      return [
        shown('rules', `${chainOf(look.case, end)} leads to ${endText(end)}`),
        shown('cluster', `${endText(end)}: ${api}`, attribution.time),
      ];
    }),
    meaning:
      'A share of the connections goes to an address that is no endpoint any more: nobody answers there, or somebody else does. kube-proxy on this node does not follow the API, or chains of an earlier kube-proxy are still in force.',
    next: drifts(namespace, name),
  };
}

function chainOf({ entries }: Case, end: End): string {
  const route = entries.flatMap(({ routes }) => routes).find((it) => sameEnd(it, end));
  return route?.rule.path.at(-1) ?? 'a rule';
}

function drifts(namespace: string, name: string): readonly string[] {
  return [
    `kubectl -n ${namespace} get endpointslices -l kubernetes.io/service-name=${name} -o yaml`,
    'kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide   # does it run on this node?',
    'kubectl -n kube-system logs -l k8s-app=kube-proxy --since=1h | grep -iE "error|fail"',
    'iptables-legacy-save | grep -c KUBE-; iptables-nft-save | grep -c KUBE-; nft list table ip kube-proxy   # rules in more than one place?',
  ];
}
