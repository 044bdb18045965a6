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

/**
 * For programs, which all run at the same time and take some 50 ms: this long only where a node holds
 * 100,000s of rules or is too busy, and then it is worth the wait to know them.
 */
const PROGRAM_MS = 5_000;
/** For each request to an API server: who asks what is wrong does not want to wait for one that is away. */
const REQUEST_MS = 1_500;

export interface NodeFactsOptions {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly uid: number | undefined;
  /** Absent: ask no cluster. */
  readonly cluster?: { readonly kubeconfig?: string; readonly context?: string };
  readonly nodeName?: string;
  readonly signal: AbortSignal;
  /** Where /proc, /sys and /run are. */
  readonly root?: string;
}

/**
 * Everything that live depends on, as it is on this node now. Changes nothing: settings are read,
 * programs list, sockets are opened and closed, requests read. What cannot be found out is absent.
 */
export async function nodeFacts(options: NodeFactsOptions): Promise<NodeFacts> {
  const { env, uid, cluster, nodeName, signal: ended, root = '/' } = options;
  const limits = { timeoutMs: PROGRAM_MS, signal: ended };
  const signal = AbortSignal.any([ended, AbortSignal.timeout(PROGRAM_MS)]);
  const [own, namespace, programs, rules, proxy, conntrack, interfaces, clock, api] =
    await Promise.all([
      processFacts({ root, uid, timeoutMs: PROGRAM_MS }),
      namespaceFacts(root, env['KUBERNETES_SERVICE_HOST'] !== undefined),
      programFacts(limits),
      ruleFacts(root, { ...limits, signal }),
      kubeProxyFacts(ended),
      conntrackFacts(root),
      interfaceFacts(root, limits),
      clockFacts(root, limits),
      cluster === undefined
        ? undefined
        : clusterFacts({
            ...cluster,
            ...(nodeName !== undefined && { nodeName }),
            env,
            timeoutMs: REQUEST_MS,
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
