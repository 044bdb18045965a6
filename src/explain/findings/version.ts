import type { Finding } from '../../model/finding.js';
import { type Diagnosis, shown } from '../look.js';

/** kubernetes.io/releases/version-skew-policy: kube-proxy may be up to three minor versions older than the API server, since 1.28; and never newer. */
const MOST_BEHIND = 3;

/**
 * kube-proxy's version does not go with the API server's. Where a version is not told but a bound of it is
 * shown, the finding is made only if it holds for every version within the bound.
 */
export const version: Diagnosis = ({ case: { versions = {} } }): readonly Finding[] => {
  const { kubeProxy, kubeProxyFrom, kubeProxyTo, api, kubelet } = versions;
  const newest = minorOf(kubeProxy ?? kubeProxyTo);
  const oldest = minorOf(kubeProxy ?? kubeProxyFrom);
  // The API server is as new as the newest kubelet at least.
  const apiOldest = minorOf(api ?? kubelet);
  const apiNewest = minorOf(api);
  const behind = newest === undefined || apiOldest === undefined ? 0 : apiOldest - newest;
  const isNewer = oldest !== undefined && apiNewest !== undefined && oldest > apiNewest;
  if (behind <= MOST_BEHIND && !isNewer) return [];
  const bound = isNewer ? `${kubeProxyFrom} or newer` : `${kubeProxyTo} or older`;
  const proxy = kubeProxy ?? bound;
  const least = kubeProxy === undefined || api === undefined ? 'at least ' : '';
  return [
    {
      code: 'kube-proxy-version',
      weight: 'odd',
      title: isNewer
        ? `kube-proxy ${proxy} is newer than the API server`
        : `kube-proxy ${proxy} is ${least}${behind} minor versions older than the API server`,
      evidence: [
        kubeProxy === undefined
          ? shown('rules', `rules of this shape kube-proxy ${bound} writes`)
          : shown('node', `kube-proxy on this node is ${kubeProxy}`),
        api === undefined
          ? shown('cluster', `a kubelet is ${kubelet}, and none may be newer than the API server`)
          : shown('cluster', `the API server is ${api}`),
      ],
      meaning:
        'Kubernetes supports a kube-proxy that is at most three minor versions older than the API server, and none that is newer: fields that one of them does not know are passed over, so rules may differ from what the API says.',
      next: [
        "kubectl -n kube-system get daemonset kube-proxy -o jsonpath='{.spec.template.spec.containers[0].image}'",
        'kubectl version',
      ],
    },
  ];
};

function minorOf(text: string | undefined): number | undefined {
  const m = /^v?1\.(\d{1,3})(?:\D|$)/.exec(text ?? '');
  return m === null ? undefined : Number(m[1]);
}
