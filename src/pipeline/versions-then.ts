import { kubeProxyVersions } from '../decode/rules/kube-proxy-version.js';
import type { Versions } from '../model/case.js';
import type { NodeRecord } from '../model/cluster.js';
import type { RuleSet } from '../model/ruleset.js';

/** Which versions a node's rules and the cluster's nodes show; nothing is guessed. */
export function versionsThen(
  rules: readonly RuleSet[],
  nodes: readonly NodeRecord[],
): Versions | undefined {
  // Of several rule sets it is not known which of them is the running kube-proxy's.
  const [only] = rules.length === 1 ? rules : [];
  const { from, to } = (only && kubeProxyVersions(only)) ?? {};
  const kubelet = nodes
    .flatMap(({ kubeletVersion }) => kubeletVersion ?? [])
    .sort((a, b) => minorOf(b) - minorOf(a))[0];
  if (from === undefined && to === undefined && kubelet === undefined) return undefined;
  return {
    ...(from !== undefined && { kubeProxyFrom: from }),
    ...(to !== undefined && { kubeProxyTo: to }),
    ...(kubelet !== undefined && { kubelet }),
  };
}

/** -1 for what is no version of Kubernetes. */
function minorOf(version: string): number {
  const m = /^v?1\.(\d{1,3})(?:\D|$)/.exec(version);
  return m === null ? -1 : Number(m[1]);
}
