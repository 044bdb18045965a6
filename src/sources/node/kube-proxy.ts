import { get } from 'node:http';
import type { RulesFacts } from '../../model/doctor.js';

/** kube-proxy's --metrics-bind-address by default; it answers processes of its own network namespace only. */
const METRICS = 'http://127.0.0.1:10249';
/** It is on this machine: it answers at once or not at all. */
const TIMEOUT_MS = 500;
/** Ten times of what kube-proxy 1.36 prints. */
const MAX_BYTES = 1 << 20;

const MODE = /^(?:iptables|ipvs|nftables|kernelspace)$/;
/** The metric that each component of Kubernetes has (component-base/metrics, kubernetes_build_info). */
const BUILD = /^kubernetes_build_info\{[^}\n]*\bgit_version="v?([^"\n]{1,60})"/m;

/** What kube-proxy says of itself, where it runs here and may be asked. */
export async function kubeProxyFacts(
  signal: AbortSignal,
): Promise<Pick<RulesFacts, 'proxyMode' | 'proxyVersion'>> {
  const [mode, metrics] = await Promise.all([
    answer(`${METRICS}/proxyMode`, signal),
    answer(`${METRICS}/metrics`, signal),
  ]);
  const version = BUILD.exec(metrics ?? '')?.[1];
  const said = mode?.trim();
  return {
    ...(said !== undefined && MODE.test(said) && { proxyMode: said }),
    ...(version !== undefined && { proxyVersion: version }),
  };
}

/** The body of an answer with status 200; `undefined` for everything else. */
function answer(url: string, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const until = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const request = get(url, { signal: until, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
        if (text.length > MAX_BYTES) request.destroy();
      });
      response.on('error', () => resolve(undefined));
      response.on('end', () => resolve(response.statusCode === 200 ? text : undefined));
    });
    request.on('error', () => resolve(undefined));
  });
}
