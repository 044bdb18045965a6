import type { EarlierConnection, End } from '../../model/case.js';
import type { Finding, FindingEvidence } from '../../model/finding.js';
import { NANOS_PER_SECOND } from '../../model/time.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { sameEnd } from '../places.js';
import { durationText, endText, kubectlService, serviceText } from '../words.js';

/** Session affinity by client address: in force, or failed. */
export const affinity: Diagnosis = (look) => {
  const { attribution, cluster, entries } = look.case;
  const seconds = cluster.service?.affinitySeconds;
  const byRules =
    attribution.rules?.affinity === true ||
    entries.some(({ routes }) => routes.some(({ rule }) => rule.affinity));
  if (attribution.backend === undefined || (seconds === undefined && !byRules)) return [];
  const before = earlierWithin(look, seconds);
  if (before !== undefined && !sameEnd(before.backend, attribution.backend)) {
    return [notKept(look, before, seconds)];
  }
  const full = fullList(look, attribution.backend);
  return [inForce(look, before, seconds), ...(full === undefined ? [] : [mayFail(look, full)])];
};

/** The connection before this one, if affinity still binds it. */
function earlierWithin(
  { case: { attribution, earlier } }: Look,
  seconds: number | undefined,
): EarlierConnection | undefined {
  const [last] = earlier ?? [];
  const { time } = attribution;
  if (last === undefined || time === undefined || seconds === undefined) return undefined;
  return Number(time - last.time) < seconds * NANOS_PER_SECOND ? last : undefined;
}

function inForce(
  look: Look,
  before: EarlierConnection | undefined,
  seconds: number | undefined,
): Finding {
  const { attribution } = look.case;
  const evidence: FindingEvidence[] = [serviceSays(look, seconds)];
  if (before !== undefined) {
    const says = `this client's connection before went to ${endText(before.backend)} too`;
    evidence.push(shown('conntrack', says, before.time));
  }
  const byAffinity = look.walk?.taken?.affinity;
  if (byAffinity !== undefined) {
    evidence.push(
      shown('rules', byAffinity ? 'the walk ends by affinity' : 'the walk ends by chance'),
    );
  } else if (before === undefined) {
    evidence.push(
      shown(
        'node',
        'not to be told: by affinity or by chance (the first of its client, or a list that was not read)',
      ),
    );
  }
  const by = byAffinity === true || before !== undefined ? 'keeps' : 'may keep';
  return {
    code: 'affinity',
    weight: 'fact',
    title: `session affinity ${by} ${attribution.client.ip} at ${endText(attribution.backend ?? attribution.destination)}`,
    evidence,
    meaning:
      'The Service has sessionAffinity ClientIP: after a client’s first connection the node sends its later ones to the same endpoint. It goes by the address that arrives at the node, so all behind one NAT are one client; each node remembers for itself.',
    next: [
      `grep . /proc/net/xt_recent/KUBE-SEP-* | grep ${attribution.client.ip}   # iptables: which endpoint's list has the client`,
      'nft list table ip kube-proxy | grep -A3 affinity   # mode nftables',
    ],
  };
}

function notKept(look: Look, before: EarlierConnection, seconds: number | undefined): Finding {
  const { attribution } = look.case;
  const { backend, time } = attribution;
  const full = fullList(look, before.backend);
  const ago = time === undefined ? '' : ` ${durationText(Number(time - before.time))} before`;
  const evidence: FindingEvidence[] = [
    serviceSays(look, seconds),
    shown(
      'conntrack',
      `this client's connection${ago} went to ${endText(before.backend)}`,
      before.time,
    ),
    shown('conntrack', `this one went to ${endText(backend ?? attribution.destination)}`, time),
  ];
  if (full !== undefined) {
    return { ...mayFail(look, full, evidence), weight: 'fault' };
  }
  const gone = !look.case.entries.some(({ routes }) =>
    routes.some((route) => sameEnd(route, before.backend)),
  );
  evidence.push(
    gone && look.case.entries.length > 0
      ? shown('rules', `the rules lead to ${endText(before.backend)} no more`, time)
      : shown(
          'node',
          'not to be told: the list of the earlier endpoint was not read, or does not explain it',
        ),
  );
  return {
    code: 'affinity-not-kept',
    weight: gone ? 'fact' : 'odd',
    title: `session affinity did not keep ${attribution.client.ip} at ${endText(before.backend)}`,
    evidence,
    meaning:
      'Within the time of affinity the client was given another endpoint. That is right where the earlier one is gone; else what was remembered was lost: the list was full, kube-proxy’s rules were made anew, or the node restarted.',
    next: [
      'cat /sys/module/xt_recent/parameters/ip_list_tot; wc -l /proc/net/xt_recent/KUBE-SEP-*',
      'kubectl -n kube-system logs -l k8s-app=kube-proxy --since=1h   # was it restarted?',
    ],
  };
}

interface FullList {
  readonly list: string;
  readonly held: number;
  readonly capacity: number;
  /** Seconds since the client that waits longest was seen. */
  readonly oldest: number;
}

/** The `recent` list of an endpoint, if it is full and does not hold the client. */
function fullList({ case: it }: Look, endpoint: End): FullList | undefined {
  const { attribution, entries, node, recentCapacity } = it;
  if (recentCapacity === undefined) return undefined;
  for (const { routes } of entries) {
    for (const route of routes) {
      const list = route.rule.path.at(-1);
      if (list === undefined || !sameEnd(route, endpoint)) continue;
      const held = node.recent?.get(list);
      if (held === undefined || held.size < recentCapacity || held.has(attribution.client.ip)) {
        continue;
      }
      return {
        list,
        held: held.size,
        capacity: recentCapacity,
        oldest: Math.max(...held.values()),
      };
    }
  }
  return undefined;
}

function mayFail(
  look: Look,
  { list, held, capacity, oldest }: FullList,
  before: readonly FindingEvidence[] = [],
): Finding {
  const { client } = look.case.attribution;
  const seconds = look.case.cluster.service?.affinitySeconds;
  const lasts = seconds === undefined ? '' : ` of ${seconds} s`;
  return {
    code: 'affinity-list-full',
    weight: 'odd',
    title: `session affinity fails: the list ${list} is full`,
    evidence: [
      ...before,
      shown('node', `${list} holds ${held} addresses of at most ${capacity}, and not ${client.ip}`),
      shown('node', `the one not seen for longest was seen ${Math.round(oldest)} s ago${lasts}`),
    ],
    meaning:
      'In iptables mode an endpoint remembers its clients in a `recent` list, which holds 100 addresses unless the module xt_recent was loaded otherwise. When it is full the oldest client is forgotten before its time and is given any endpoint again.',
    next: [
      `wc -l /proc/net/xt_recent/${list}`,
      'echo "options xt_recent ip_list_tot=10000" > /etc/modprobe.d/xt_recent.conf   # on every node; takes a restart',
      'or use kube-proxy’s mode nftables, whose sets have no such bound',
    ],
  };
}

function serviceSays({ case: it }: Look, seconds: number | undefined): FindingEvidence {
  const { name } = kubectlService(it);
  return seconds === undefined
    ? shown('rules', `the rules of ${name} hold affinity`)
    : shown('cluster', `${serviceText(it)} has sessionAffinity ClientIP for ${seconds} s`);
}
