import type { RequestOptions } from 'node:https';
import type { KubeConfig } from '@kubernetes/client-node';
import { UsageError } from '../../model/problem.js';

/** How the API server is reached, and as whom. */
export interface ClusterAccess {
  /** Base URL without a trailing slash. */
  readonly server: string;
  /** Headers, certificates and agent for one request. May run an exec plug-in or read a token file. */
  authorize(): Promise<RequestOptions>;
  /** Reads configuration and credentials anew, as is due when they were refused. */
  renew(): Promise<void>;
}

export interface KubeConfigOptions {
  /** A kubeconfig file; otherwise KUBECONFIG, ~/.kube/config, or the Pod's service account. */
  readonly kubeconfig?: string;
  /** A context other than the current one. */
  readonly context?: string;
  /** Where the service account's /var/run/secrets is found, to use it in place of any kubeconfig. */
  readonly serviceAccountRoot?: string;
}

/** What KubeConfig falls back to when it finds no configuration at all (client-node 1.4.0, loadFromDefault). */
const NOTHING_FOUND = 'http://localhost:8080';

/**
 * Reads the configuration. Rejects with a UsageError that says what is wrong with it. The client
 * library takes 100 ms and 25 MB to load (unbundled 0.8 s and 80 MB), so it is loaded here and not before.
 */
export async function loadClusterAccess(options: KubeConfigOptions): Promise<ClusterAccess> {
  let config = await load(options);
  const server = config.getCurrentCluster()?.server ?? '';
  return {
    server,
    authorize: async () => {
      const request: RequestOptions = {};
      await config.applyToHTTPSOptions(request);
      return request;
    },
    renew: async () => {
      config = await load(options);
    },
  };
}

async function load(options: KubeConfigOptions): Promise<KubeConfig> {
  const { newKubeConfig } = await import('./client.js');
  const config = newKubeConfig();
  const where = options.kubeconfig ?? 'kubeconfig';
  try {
    if (options.kubeconfig !== undefined) config.loadFromFile(options.kubeconfig);
    else if (options.serviceAccountRoot !== undefined) {
      config.loadFromCluster(options.serviceAccountRoot);
    } else config.loadFromDefault();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    // js-yaml draws the place on the lines below.
    const [first = ''] = reason.split('\n', 1);
    throw new UsageError(`${where} cannot be read: ${first.trimEnd()}; try: kubectl config view`);
  }
  if (options.context !== undefined) {
    const known = config.getContexts().map((context) => context.name);
    if (!known.includes(options.context)) {
      throw new UsageError(
        `${where} has no context ${options.context}; it has: ${known.join(', ') || 'none'}`,
      );
    }
    config.setCurrentContext(options.context);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) {
    throw new UsageError(
      `${where} names no cluster for its current context; choose one with --context`,
    );
  }
  if (cluster.server === NOTHING_FOUND && config.getCurrentContext() === 'loaded-context') {
    throw new UsageError(
      'no Kubernetes configuration found (KUBECONFIG, ~/.kube/config, service account); name one with --kubeconfig',
    );
  }
  if (!URL.canParse(cluster.server) || !/^https?:/.test(cluster.server)) {
    throw new UsageError(`${where}: the server ${cluster.server} is not an http or https URL`);
  }
  // As kubectl does, plain http (kubectl proxy) is taken as it is; the library asks for this flag first.
  if (cluster.server.startsWith('http:')) {
    config.clusters = config.clusters.map((it) =>
      it.name === cluster.name ? { ...it, skipTLSVerify: true } : it,
    );
  }
  config.users = config.users.map((user) =>
    user.exec ? { ...user, exec: withExecInfo(user.exec) } : user,
  );
  return config;
}

/**
 * Plug-ins that follow client-go refuse to run without KUBERNETES_EXEC_INFO
 * (client-go pkg/tools/auth/exec); client-node 1.4.0 does not set it.
 */
function withExecInfo(exec: { readonly apiVersion?: string; readonly env?: unknown }): object {
  const info = JSON.stringify({
    kind: 'ExecCredential',
    apiVersion: exec.apiVersion ?? 'client.authentication.k8s.io/v1',
    spec: { interactive: false },
  });
  const env = Array.isArray(exec.env) ? exec.env : [];
  return { ...exec, env: [...env, { name: 'KUBERNETES_EXEC_INFO', value: info }] };
}
