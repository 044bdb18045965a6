import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createLab, type Lab } from '../../src/lab/lab.js';
import { Processes } from '../../src/lab/processes.js';
import type { LabPod, LabService } from '../../src/lab/spec.js';
import { writeKubeconfig } from '../support/kubeconfig.js';
import { compiledChild, compiledProgram } from './compile.js';

const SERVERS: readonly LabPod[] = [1, 2].map((i) => ({
  namespace: 'bench',
  name: `web-${i}`,
  ip: `10.244.1.${i + 1}`,
}));
/** Each has ports of its own, so that a tuple is not used again at once. */
const CLIENTS: readonly LabPod[] = [1, 2].map((i) => ({
  namespace: 'bench',
  name: `client-${i}`,
  ip: `10.244.1.${i + 10}`,
}));
const SERVICE = { host: '10.96.0.10', port: 80 };
const TARGET_PORT = 8080;

/** On their way at the same time, of each client. */
const CONCURRENCY = 64;

/** What a client of churn.cc says at its end. */
interface ClientResult {
  readonly connected: number;
  readonly failed: number;
  readonly seconds: number;
}

/** What traffic came about. */
interface Churned {
  readonly connections: number;
  readonly perSecond: number;
}

/** A node with a Service, two Pods behind it and two that ask, on which connections can be churned. */
export interface ChurnLab {
  readonly lab: Lab;
  /** A folder with the cluster's objects. */
  readonly objects: string;
  /**
   * Resolves when all connections are over; rejects if one of them failed. `times` is a folder, for a file that
   * is named for each client's address (see churn.cc).
   */
  churn(connections: number, perSecond?: number, times?: string): Promise<Churned>;
  /** Serves the cluster, with so many Pods more, on the node; the path of a kubeconfig. */
  serveCluster(morePods: number): Promise<string>;
  close(): Promise<void>;
}

/** `moreServices`: beside the one on which connections are churned, with the same Pods. */
export async function createChurnLab(scratch: string, moreServices = 0): Promise<ChurnLab> {
  const service = (name: string, clusterIP: string): LabService => ({
    namespace: 'bench',
    name,
    protocol: 'tcp',
    port: SERVICE.port,
    clusterIP,
    targetPort: TARGET_PORT,
    endpoints: SERVERS.map((pod) => pod.name),
    deaf: true, // servers of our own, which do less
  });
  const more = Array.from({ length: moreServices }, (_, i) =>
    service(`more-${i}`, `10.97.${i >> 8}.${i & 255}`),
  );
  const lab = await createLab({
    layout: 'routed',
    ruleBackend: 'iptables-nft',
    chainNames: 'current',
    pods: [...SERVERS, ...CLIENTS],
    podCIDR: '10.244.1.0/24',
    clusterCIDR: '10.244.0.0/16',
    gateway: '10.244.1.1',
    nodeName: 'node1',
    nodeAddress: '192.168.77.11',
    outsideAddress: '192.168.77.1',
    services: [service('web', SERVICE.host), ...more],
  });
  const processes = new Processes();
  const close = async (): Promise<void> => {
    await processes.end();
    await lab.close();
  };
  try {
    const objects = join(scratch, 'objects');
    mkdirSync(objects, { recursive: true });
    for (const [name, list] of Object.entries(lab.objects)) {
      writeFileSync(join(objects, `${name}.json`), JSON.stringify(list));
    }
    await Promise.all([
      ...SERVERS.map((pod) => startServer(lab, processes, pod.name)),
      ...CLIENTS.map((pod) => set(lab, pod.name, 'net/ipv4/ip_local_port_range', '1024 65535')),
      // Entries of connections that were reset go after two seconds instead of ten: the table stays small.
      set(lab, 'node', 'net/netfilter/nf_conntrack_tcp_timeout_close', '2'),
    ]);
    return {
      lab,
      objects,
      churn: (n, rate, times) => churn(lab, processes, n, rate, times),
      serveCluster: (morePods) => serveCluster(lab, processes, objects, morePods),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function startServer(lab: Lab, processes: Processes, pod: string): Promise<void> {
  await set(lab, pod, 'net/core/somaxconn', '4096');
  const child = processes.start([
    ...lab.enter(pod),
    compiledProgram('churn'),
    'server',
    String(TARGET_PORT),
  ]);
  await new Promise<void>((resolve, reject) => {
    child.stdout.once('data', () => resolve());
    child.once('close', (code) => reject(new Error(`the server of ${pod} ended with ${code}`)));
  });
}

async function serveCluster(
  lab: Lab,
  processes: Processes,
  lists: string,
  morePods: number,
): Promise<string> {
  const input = JSON.stringify({ lists, morePods });
  const child = processes.start([
    ...lab.enter('node'),
    process.execPath,
    compiledChild(),
    'api-server',
    input,
  ]);
  const server = await new Promise<string>((resolve, reject) => {
    child.stdout.once('data', (said: Buffer) => resolve(said.toString().trim()));
    child.once('close', (code) => reject(new Error(`the API server ended with ${code}`)));
  });
  return writeKubeconfig(dirname(lists), { server, user: {} });
}

/** In a namespace of the lab only. */
async function set(lab: Lab, where: string, sysctl: string, value: string): Promise<void> {
  const script = `echo '${value}' >/proc/sys/${sysctl}`;
  const { code, stderr } = await lab.exec(where, ['sh', '-c', script]);
  if (code !== 0) throw new Error(`${sysctl}: ${stderr}`);
}

async function churn(
  lab: Lab,
  processes: Processes,
  connections: number,
  perSecond: number | undefined,
  times: string | undefined,
): Promise<Churned> {
  const each = Math.ceil(connections / CLIENTS.length);
  const rate = perSecond === undefined ? 0 : Math.round(perSecond / CLIENTS.length);
  const argv = ['client', SERVICE.host, SERVICE.port, each, CONCURRENCY, rate].map(String);
  const results = await Promise.all(
    CLIENTS.map(async (pod) => {
      const file = times === undefined ? [] : [join(times, pod.ip)];
      const said = await processes.must([
        ...lab.enter(pod.name),
        compiledProgram('churn'),
        ...argv,
        ...file,
      ]);
      return JSON.parse(said) as ClientResult;
    }),
  );
  const failed = results.reduce((sum, it) => sum + it.failed, 0);
  if (failed > 0) throw new Error(`${failed} of ${connections} connections failed`);
  const seconds = Math.max(...results.map((it) => it.seconds), 0.001);
  const all = each * CLIENTS.length;
  return { connections: all, perSecond: all / seconds };
}
