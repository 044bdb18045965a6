import type { Finding } from '../../model/finding.js';
import { type Diagnosis, type Look, shown } from '../look.js';
import { countText, endText } from '../words.js';

/** What kube-proxy has left behind, or does not follow, of the connection's Service. */
export const staleChain: Diagnosis = (look) => [...unreachable(look), ...removed(look)];

/** Names of chains are long; more of them say nothing more. */
const MAX_NAMED = 4;

function unreachable({ case: { attribution, rules, staleChains = [] } }: Look): readonly Finding[] {
  if (staleChains.length === 0) return [];
  const named = staleChains.slice(0, MAX_NAMED).join(', ');
  const more = staleChains.length > MAX_NAMED ? ` and ${staleChains.length - MAX_NAMED} more` : '';
  const [first] = staleChains;
  const isNft = rules.every(({ kind }) => kind === 'nftables');
  return [
    {
      code: 'stale-chain',
      weight: 'odd',
      title: `${countText(staleChains.length, 'chain')} of this Service to which no rule leads`,
      evidence: [
        shown('rules', `${named}${more}: no chain in force leads there`, rules[0]?.time),
        shown('rules', `${endText(attribution.destination)} is reached without them`),
      ],
      meaning:
        'Nothing comes there, so they direct no connection. kube-proxy removes chains that it does not need any more a sync later, where there are many endpoints up to an hour (--iptables-sync-period); what stays longer an earlier kube-proxy left, or somebody wrote by hand.',
      next: [
        isNft
          ? `nft list chain ip kube-proxy '${first}'`
          : `iptables-save -t nat | grep ${first}   # still there in an hour?`,
        'kubectl -n kube-system logs -l k8s-app=kube-proxy --since=1h | grep -iE "error|fail"',
      ],
    },
  ];
}

function removed({ case: { attribution, cluster, entries } }: Look): readonly Finding[] {
  const { missingService: missing } = cluster;
  if (missing === undefined) return [];
  const { namespace, name } = missing;
  const { outcome, backend } = attribution;
  const isBad = backend !== undefined && outcome !== 'established' && outcome !== 'open';
  const chain = entries.find((entry) => entry.chain !== undefined)?.chain;
  return [
    {
      code: 'service-not-in-api',
      weight: isBad ? 'fault' : 'odd',
      title: `the rules have ${namespace}/${name}, and the cluster has no such Service`,
      evidence: [
        shown(
          'rules',
          `${endText(attribution.destination)} leads to ${chain ?? 'a rule'} of ${namespace}/${name}`,
        ),
        shown(
          'cluster',
          `no Service ${namespace}/${name} among those of ${namespace}`,
          attribution.time,
        ),
      ],
      meaning:
        'The Service was removed, or the objects are those of another cluster. Its rules still direct connections: for a second after a removal that is kube-proxy’s delay, for longer kube-proxy does not follow the API or an earlier one left its rules.',
      next: [
        `kubectl -n ${namespace} get services`,
        'kubectl -n kube-system get pods -l k8s-app=kube-proxy -o wide   # does it run on this node?',
        'kubectl -n kube-system logs -l k8s-app=kube-proxy --since=1h | grep -iE "error|fail"',
      ],
    },
  ];
}
