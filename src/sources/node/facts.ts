import type { NodeFacts } from '../../model/doctor.js';
import { clockFacts } from './clock.js';
import { clusterFacts } from './cluster.js';
import { conntrackFacts } from './conntrack.js';
import { interfaceFacts } from './interfaces.js';
import { kubeProxyFacts } from './kube-proxy.js';
import { namespaceFacts } from './namespace.js';
import { processFacts } from './process.js';
import { programFacts } from './programs.js';
import { ruleFacts } from './rules.js';

/** Each thing that is looked at, all of them at the same time: who asks what is wrong does not want to wait. */
const TIMEOUT_MS = 1_500;

export interface NodeFactsOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number | undefined;
  /** Absent: ask no cluster. */
  readonly cluster?: { readonly kubeconfig?: string; readonly context?: string };
  readonly nodeName?: string;
  readonly signal: AbortSignal;
  /** For each program and request (default 1.5 s). */
  readonly timeoutMs?: number;
  /** Where /proc, /sys and /run are. */
  readonly root?: string;
}

/**
 * Everything that live depends on, as it is on this node now. Changes nothing: settings are read,
 * programs list, sockets are opened and closed, requests read. What cannot be found out is absent.
 */
export async function nodeFacts(options: NodeFactsOptions): Promise<NodeFacts> {
  const { env, uid, cluster, nodeName, signal: ended, root = '/' } = options;
  const { timeoutMs = TIMEOUT_MS } = options;
  const signal = AbortSignal.any([ended, AbortSignal.timeout(timeoutMs)]);
  const limits = { timeoutMs, signal: ended };
  const [own, namespace, programs, rules, proxy, conntrack, interfaces, clock, api] =
    await Promise.all([
      processFacts({ root, uid, timeoutMs }),
      namespaceFacts(root, env['KUBERNETES_SERVICE_HOST'] !== undefined),
      programFacts(limits),
      ruleFacts(root, { timeoutMs, signal }),
      kubeProxyFacts(signal),
      conntrackFacts(root),
      interfaceFacts(root, limits),
      clockFacts(root, limits),
      cluster === undefined
        ? undefined
        : clusterFacts({
            ...cluster,
            ...(nodeName !== undefined && { nodeName }),
            env,
            timeoutMs,
            signal: ended,
          }),
    ]);
  return {
    process: own,
    namespace,
    programs,
    rules: { ...rules, ...proxy },
    conntrack,
    interfaces,
    ...(api !== undefined && { cluster: api }),
    clock,
  };
}
