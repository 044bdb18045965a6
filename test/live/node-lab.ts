import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { labUnavailable } from '../../src/lab/available.js';
import { createLab, type Lab } from '../../src/lab/lab.js';
import type { LabOptions, LabPod } from '../../src/lab/spec.js';
import { buildProgram, endAll } from './program.js';

type Shape = Pick<LabOptions, 'layout' | 'ruleBackend' | 'chainNames'>;

const SERVERS: readonly LabPod[] = [1, 2, 3, 4].map((i) => ({
  namespace: 'shop',
  name: `web-${i}`,
  ip: `10.244.1.${i + 1}`,
}));
const ALL = SERVERS.map((pod) => pod.name);
/** Reset in the Pods themselves, as where nobody listens. */
const REFUSING_PORT = 8081;

const OPTIONS = {
  pods: [...SERVERS, { namespace: 'shop', name: 'client', ip: '10.244.1.9' }],
  clusterCIDR: '10.244.0.0/16',
  podCIDR: '10.244.1.0/24',
  gateway: '10.244.1.1',
  nodeName: 'node1',
  nodeAddress: '192.168.77.11',
  outsideAddress: '192.168.77.1',
  services: [
    {
      name: 'web',
      protocol: 'tcp',
      port: 80,
      clusterIP: '10.96.0.10',
      targetPort: 80,
      endpoints: ALL,
    },
    {
      name: 'api',
      portName: 'http',
      protocol: 'tcp',
      port: 8080,
      clusterIP: '10.96.0.11',
      targetPort: 9090,
      endpoints: ALL.slice(0, 3),
    },
    {
      name: 'dns',
      protocol: 'udp',
      port: 53,
      clusterIP: '10.96.0.12',
      targetPort: 5353,
      endpoints: ALL.slice(1),
    },
    {
      name: 'empty',
      protocol: 'tcp',
      port: 80,
      clusterIP: '10.96.0.13',
      targetPort: 80,
      endpoints: [],
    },
    {
      name: 'deaf',
      protocol: 'tcp',
      port: 81,
      clusterIP: '10.96.0.14',
      targetPort: REFUSING_PORT,
      endpoints: ALL.slice(0, 2),
    },
  ].map((service) => ({ namespace: 'shop', ...service }) as LabOptions['services'][number]),
} as const;

/** A node under test and the folder with its cluster objects. */
export interface NodeLab {
  readonly lab: Lab;
  readonly objects: string;
  close(): Promise<void>;
}

/** A lab with Services of all kinds that these tests ask for. `bridge` needs br_netfilter, else it is routed. */
async function createNodeLab(shape: Shape): Promise<NodeLab> {
  const lab = await createLab({ ...OPTIONS, ...shape });
  const objects = await mkdtemp(join(tmpdir(), 'whichpod-live-test-'));
  // For whoever live is to be run as.
  await chmod(objects, 0o755);
  const close = async (): Promise<void> => {
    await lab.close();
    await rm(objects, { recursive: true, force: true });
  };
  try {
    for (const [name, list] of Object.entries(lab.objects)) {
      await writeFile(join(objects, `${name}.json`), JSON.stringify(list));
    }
    // Else the kernel rejects the first few requests only, and is silent for the rest of the second.
    const limit = 'echo 0 >/proc/sys/net/ipv4/icmp_ratelimit';
    const limited = await lab.exec('node', ['sh', '-c', limit]);
    if (limited.code !== 0) throw new Error(limited.stderr);
    for (const pod of ALL) {
      const refuse = `-A INPUT -p tcp --dport ${REFUSING_PORT} -j REJECT --reject-with tcp-reset`;
      const { code, stderr } = await lab.exec(pod, [shape.ruleBackend, ...refuse.split(' ')]);
      if (code !== 0) throw new Error(stderr);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { lab, objects, close };
}

/**
 * Has the tests of this file or `describe` run beside a node of this shape, given to `made` before the first; they are
 * skipped where none can be built. What they started is ended after each.
 */
export function inNodeLab(shape: Shape, made: (node: NodeLab) => void): void {
  let node: NodeLab | undefined;
  beforeEach((context) => {
    const unavailable = labUnavailable(shape);
    if (unavailable !== undefined) context.skip(unavailable);
  });
  beforeAll(async () => {
    if (labUnavailable(shape) !== undefined) return;
    buildProgram();
    node = await createNodeLab(shape);
    made(node);
  });
  afterEach(endAll);
  afterAll(() => node?.close());
}

/** Everything that a bystander must leave as it is, in text: rules of all kinds, sysctls, promiscuity. */
export async function nodeState(lab: Lab): Promise<string> {
  const script = [
    'for tool in iptables-nft iptables-legacy ip6tables-nft ip6tables-legacy; do $tool-save; done',
    'cat /proc/net/ip_tables_names /proc/net/ip6_tables_names',
    // A count of entries, and keys that are made when first looked at.
    "grep -rs '' /proc/sys/net | grep -v -e nf_conntrack_count -e stable_secret -e fastopen_key | sort",
    'ip -d -o link show | grep -o -e "^[0-9]*: [^:@]*" -e "promiscuity [0-9]*"',
  ].join('\n');
  const { stdout } = await lab.exec('node', ['sh', '-c', script]);
  return stdout.replace(/^#.*\n/gm, '').replace(/\[\d+:\d+\]/g, '');
}
