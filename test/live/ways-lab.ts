import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createLab, type Lab } from '../../src/lab/lab.js';
import type { LabOptions, LabPod, LabService } from '../../src/lab/spec.js';
import { writeKubeconfig } from '../support/kubeconfig.js';
import type { Change } from './api-server.js';

const API_SERVER = fileURLToPath(new URL('./api-server.ts', import.meta.url));

export const NODE = '192.168.77.11';
export const NODE_PORT = 30_080;
export const EMPTY_NODE_PORT = 30_090;
export const EXTERNAL_IP = '198.51.100.7';
export const WEB6 = 'fd00:10:96::a';

const NAMES = ['web-1', 'web-2', 'web-3', 'web-4', 'web-5', 'web-6', 'client'];
const PODS: readonly LabPod[] = [
  ...NAMES.map((name, i) => ({
    namespace: 'shop',
    name,
    ip: `10.244.1.${i + 2}`,
    ip6: `fd00:10:244:1::${i + 2}`,
  })),
  { namespace: 'shop', name: 'host-1', ip: NODE, hostNetwork: true },
];

const WEB: LabService = {
  namespace: 'shop',
  name: 'web',
  portName: 'http',
  protocol: 'tcp',
  port: 80,
  clusterIP: '10.96.0.10',
  targetPort: 8080,
  endpoints: ['web-1', 'web-2', 'web-3', 'web-4'],
};

/** One Service for each way that a packet can take. */
const SERVICES: readonly LabService[] = [
  { ...WEB, nodePort: NODE_PORT, externalIPs: [EXTERNAL_IP] },
  { ...WEB, clusterIP: WEB6 },
  { ...WEB, name: 'solo', clusterIP: '10.96.0.11', endpoints: ['web-1'] },
  { ...WEB, name: 'sticky', clusterIP: '10.96.0.12', affinitySeconds: 60 },
  { ...WEB, name: 'none', clusterIP: '10.96.0.13', endpoints: [], nodePort: EMPTY_NODE_PORT },
  { ...WEB, name: 'host', clusterIP: '10.96.0.14', targetPort: 18_080, endpoints: ['host-1'] },
  {
    ...WEB,
    name: 'roll',
    clusterIP: '10.96.0.15',
    endpoints: ['web-1', 'web-2'],
    standby: ['web-5', 'web-6'],
  },
  {
    namespace: 'shop',
    name: 'dns',
    protocol: 'udp',
    port: 53,
    clusterIP: '10.96.0.16',
    targetPort: 5353,
    endpoints: ['web-2', 'web-3', 'web-4'],
  },
  {
    namespace: 'shop',
    name: 'closed',
    protocol: 'udp',
    port: 54,
    clusterIP: '10.96.0.17',
    targetPort: 5454,
    endpoints: ['web-1', 'web-2'],
    deaf: true,
  },
];

const OPTIONS = {
  pods: PODS,
  services: SERVICES,
  clusterCIDR: '10.244.0.0/16',
  podCIDR: '10.244.1.0/24',
  podCIDR6: 'fd00:10:244:1::/64',
  gateway: '10.244.1.1',
  gateway6: 'fd00:10:244:1::1',
  nodeName: 'node1',
  nodeAddress: NODE,
  outsideAddress: '192.168.77.1',
} as const;

export type Shape = Pick<LabOptions, 'layout' | 'ruleBackend' | 'chainNames' | 'nftLayout'>;

/** A node with a cluster that can be asked, and whose endpoints can be replaced. */
export interface WaysLab {
  readonly lab: Lab;
  readonly kubeconfig: string;
  /** As `lab.setEndpoints`, and the API server tells of it. */
  setEndpoints: Lab['setEndpoints'];
  close(): Promise<void>;
}

export async function createWaysLab(
  shape: Shape,
  services: readonly LabService[] = SERVICES,
): Promise<WaysLab> {
  const lab = await createLab({ ...OPTIONS, services, ...shape });
  const folder = mkdtempSync(join(tmpdir(), 'whichpod-ways-'));
  let api: ApiServer | undefined;
  const close = async (): Promise<void> => {
    await api?.end();
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    // Else the kernel refuses the first few requests only, and is silent for the rest of the second.
    const unlimited = ['sh', '-c', 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit'];
    for (const where of ['node', ...NAMES]) await must(lab, where, unlimited);
    await must(lab, 'outside', ['ip', 'route', 'add', EXTERNAL_IP, 'via', NODE]);
    api = await ApiServer.start(lab);
    const kubeconfig = writeKubeconfig(folder, { server: api.url, user: {} });
    const server = api;
    const setEndpoints: Lab['setEndpoints'] = async (service, pods, options) => {
      const before = new Set(slices(lab).map((slice) => JSON.stringify(slice)));
      await lab.setEndpoints(service, pods, options);
      for (const object of slices(lab)) {
        if (before.has(JSON.stringify(object))) continue;
        // As an event has it and an item of a list has not; the server gives it its version.
        const type = { kind: 'EndpointSlice', apiVersion: 'discovery.k8s.io/v1' };
        const { resourceVersion: _, ...metadata } = object.metadata;
        server.tell({ resource: 'endpointslices', object: { ...type, ...object, metadata } });
      }
    };
    return { lab, kubeconfig, setEndpoints, close };
  } catch (error) {
    await close();
    throw error;
  }
}

function slices(lab: Lab): readonly Change['object'][] {
  return (lab.objects.endpointslices as { items: readonly Change['object'][] }).items;
}

async function must(lab: Lab, where: string, argv: readonly string[]): Promise<void> {
  const { code, stderr } = await lab.exec(where, argv);
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
}

/** An API server of its own process: it must be reached in the node's namespace. */
class ApiServer {
  readonly url: string;
  private readonly child: ChildProcessByStdio<Writable, Readable, null>;

  private constructor(child: ChildProcessByStdio<Writable, Readable, null>, url: string) {
    this.child = child;
    this.url = url;
  }

  static async start(lab: Lab): Promise<ApiServer> {
    const [command = '', ...rest] = lab.enter('node');
    const child = spawn(command, [...rest, process.execPath, '--import', 'tsx', API_SERVER], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    child.stdin.write(`${JSON.stringify(lab.objects)}\n`);
    const [url] = await once(createInterface(child.stdout), 'line');
    return new ApiServer(child, url);
  }

  tell(change: Change): void {
    this.child.stdin.write(`${JSON.stringify(change)}\n`);
  }

  async end(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill();
    if (this.child.exitCode === null) await ended;
  }
}
