import type { Finding } from '../../model/finding.js';
import { type Diagnosis, shown } from '../look.js';

/** kubernetes.io/releases/version-skew-policy: kube-proxy may be up to three minor versions older than the API server, since 1.28; and never newer. */
const MOST_BEHIND = 3;

/** kube-proxy's version does not go with the API server's. */
export const version: Diagnosis = ({ case: { versions } }): readonly Finding[] => {
  const proxy = minorOf(versions?.kubeProxy);
  const api = minorOf(versions?.api);
  if (proxy === undefined || api === undefined) return [];
  const behind = api - proxy;
  if (behind >= 0 && behind <= MOST_BEHIND) return [];
  return [
    {
      code: 'kube-proxy-version',
      weight: 'odd',
      title:
        behind < 0
          ? `kube-proxy ${versions?.kubeProxy} is newer than the API server`
          : `kube-proxy ${versions?.kubeProxy} is ${behind} minor versions older than the API server`,
      evidence: [
        shown('node', `kube-proxy on this node is ${versions?.kubeProxy}`),
        shown('cluster', `the API server is ${versions?.api}`),
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
